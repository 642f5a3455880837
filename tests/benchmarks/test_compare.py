from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_emotion.benchmarks.compare import common_reference, compare_reports, read_reports
from edge_emotion.benchmarks.schema import BenchReport
from edge_emotion.cli import app
from edge_emotion.machine import Conditions, Machine

from .made import make_artefact, make_report

PI = Machine(
    "Cortex-A72", "Raspberry Pi 4 Model B Rev 1.4", "aarch64", 4, [], "ondemand", "Debian",
    "3.11.2", {},
)  # fmt: skip


def laptop() -> BenchReport:
    return replace(make_report(), recommended="onnx-int8")


def pi() -> BenchReport:
    return make_report(
        make_artefact("onnx-f32", 8.0), make_artefact("onnx-int8", 10.0),
        machine=PI, reference="onnx-f32", recommended="onnx-f32",
    )  # fmt: skip


def compared(*names: str | Path) -> Result:
    return CliRunner().invoke(app, ["bench", "--compare", *(str(name) for name in names)])


def test_ratios_are_to_a_float_model_that_all_measured() -> None:
    comparison = compare_reports([laptop(), pi()])
    assert comparison.table.header == ["artefact", "[1]", "[2]"]
    assert comparison.table.rows == [
        ["keras", "3.00 ms  0.15 x", "-"],
        ["onnx-f32", "0.440 ms  1.00 x", "8.00 ms  1.00 x *"],
        ["onnx-int8", "0.220 ms  2.00 x *", "10.0 ms  0.80 x"],
    ]
    assert comparison.machines[1].startswith("[2] tiny on Raspberry Pi 4 Model B Rev 1.4")
    assert comparison.notes[0].startswith("x: times as fast as onnx-f32 in the same report.")


def test_one_report_alone_is_compared_with_its_own_original() -> None:
    comparison = compare_reports([laptop()])
    assert comparison.table.rows[2] == ["onnx-int8", "0.220 ms  13.64 x *"]


def test_without_a_common_float_model_each_has_its_own_and_it_is_said() -> None:
    other = make_report(make_artefact("tflite-f32", 4.0), reference="tflite-f32")
    comparison = compare_reports([pi(), other])
    assert common_reference([pi(), other]) is None
    assert "other bases: [1] onnx-f32, [2] tflite-f32" in "\n".join(comparison.notes)


def test_another_model_is_named() -> None:
    other = replace(pi(), model=replace(pi().model, keras_sha256="f" * 64))
    notes = "\n".join(compare_reports([laptop(), other]).notes)
    assert "not the same model: Keras file [1] 000000000000, [2] ffffffffffff" in notes


def test_another_export_of_the_same_model_is_named() -> None:
    other = make_report(
        make_artefact("onnx-f32", 8.0), make_artefact("onnx-int8", 10.0, sha256="e" * 64)
    )
    notes = "\n".join(compare_reports([laptop(), other]).notes)
    assert "onnx-int8 is not the same file everywhere" in notes
    assert "[1] 111111111111, [2] eeeeeeeeeeee" in notes
    assert "onnx-f32 is not the same file" not in notes


def test_the_same_files_need_no_word() -> None:
    assert "not the same" not in "\n".join(compare_reports([laptop(), pi()]).notes)


def test_noise_throttling_and_haste_go_with_their_report() -> None:
    hot = replace(
        pi(),
        after=Conditions(85.0, 0.1, ["throttled now"]),
        settings=replace(pi().settings, quick=True),
        artefacts=[make_artefact("onnx-f32", 8.0, rounds=(1.0, 1.4))],
    )
    notes = compare_reports([laptop(), hot]).notes
    assert any(n.startswith("[2] The machine was noisy") for n in notes)
    assert "[2] The board was not at full speed: its firmware reports throttled now." in notes
    assert "[2] This is a quick run." in notes
    assert not any(n.startswith("[1]") for n in notes)


def test_a_time_of_zero_has_no_ratio() -> None:
    report = make_report(make_artefact("onnx-f32", 1.0), make_artefact("onnx-int8", 1.0))
    timing = report.artefacts[1].timings[0]
    nothing = replace(timing, model=replace(timing.model, p50=0.0))
    zero = replace(report.artefacts[1], timings=[nothing])
    rows = compare_reports([replace(report, artefacts=[report.artefacts[0], zero])]).table.rows
    assert rows[1] == ["onnx-int8", "0.000 ms"]


# The command


def test_the_command_prints_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(laptop().to_json())
    (tmp_path / "b.json").write_bytes(pi().to_json())
    result = compared(tmp_path / "a.json", tmp_path / "b.json")
    assert result.exit_code == 0, result.output
    assert "8.00 ms  1.00 x *" in result.stdout
    assert result.stderr == ""


def test_what_cannot_be_read_is_reported_and_the_others_are_shown(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_bytes(laptop().to_json())
    (tmp_path / "cut.json").write_bytes(laptop().to_json()[:500])
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    names = ["cut.json", "binary.json", "missing.json", "."]
    result = compared(*(tmp_path / name for name in names), good)
    assert result.exit_code == 4
    assert "0.220 ms" in result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"edge-emotion: {tmp_path}") for line in lines)
    assert "No such file" in lines[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('"schema_version": 9', "schema_version 9 is not 1"),
        ('"threads": []', "settings name no number of threads"),
        ('"threads": [7]', "has no timing with 7 threads"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(
    tmp_path: Path, change: str, message: str
) -> None:
    text = laptop().to_json().decode()
    key = change.partition(":")[0]
    old = {'"schema_version"': '"schema_version": 1', '"threads"': '"threads": [1, 2]'}[key]
    assert old in text
    path = tmp_path / "r.json"
    path.write_text(text.replace(old, change, 1))
    _, (error,) = read_reports([path])
    assert message in str(error)
    assert compared(path).stdout == ""


def test_a_report_that_no_run_writes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    good = laptop()
    timing = good.artefacts[0].timings[1]
    times = {
        "zero": replace(timing.model, p50=0.0),
        "less": replace(timing.model, round_medians=[1.0, -1.0]),
        "none": replace(timing.model, round_medians=[]),
    }
    wrong = {
        name: replace(
            good.artefacts[0],
            timings=[good.artefacts[0].timings[0], replace(timing, model=model)],
        )
        for name, model in times.items()
    }
    time = "keras has a time that is not above 0, or none"
    for report, words in (
        *((replace(good, artefacts=[a, *good.artefacts[1:]]), time) for a in wrong.values()),
        (replace(good, artefacts=[]), "it has no artefacts"),
        (replace(good, reference="onnx-f16"), "reference is onnx-f16, which it did not measure"),
        (replace(good, recommended="tflite-int8"), "recommended is tflite-int8, which it did not"),
        (
            replace(good, artefacts=[*good.artefacts, make_artefact("onnx-f16", 1.0)]),
            "unknown recipe onnx-f16",
        ),
    ):
        path.write_bytes(report.to_json())
        result = compared(path)
        assert (result.exit_code, result.stdout) == (4, "")
        assert result.stderr.startswith(f"edge-emotion: {path}: not a benchmark report: {words}")
        assert len(result.stderr.splitlines()) == 1


def test_a_report_nested_too_deep_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}")
    result = compared(path)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == f"edge-emotion: {path}: not a benchmark report: too deep\n"


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """Not those of a report, nor those of its name: in the output, and in complaints."""
    evil = "\x1b]0;owned\x07\x9b31m\u202eback\r\n\tline"
    good = laptop()
    shown = replace(
        good,
        model=replace(good.model, name=evil, keras_sha256=evil),
        machine=replace(good.machine, board=evil, governor=evil, int8_flags=[evil]),
        after=Conditions(None, 0.1, [evil]),
        created="\x1b[2J 2026",
    )
    path, refused = tmp_path / "r.json", tmp_path / "\x1b[31m.json"
    path.write_bytes(shown.to_json())
    refused.write_bytes(replace(good, reference=evil).to_json())
    result = compared(path, refused, tmp_path / "good\x1b.json")
    assert result.exit_code == 4
    assert "\\x1b]0;owned\\x07\\x9b31m\\u202eback" in result.stdout
    assert len(result.stderr.splitlines()) == 2
    for text in (result.stdout, result.stderr):
        assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_usage() -> None:
    assert compared().exit_code == 2
    result = compared("a.json", "--json", "out.json", "--gate")  # which would pass nothing
    assert result.exit_code == 2
    assert "--compare only prints: leave --json, --gate out" in result.stderr
    result = CliRunner().invoke(app, ["bench", "edge-cnn", "baseline-cnn"])
    assert result.exit_code == 2
    assert "one model at a time" in result.stderr
