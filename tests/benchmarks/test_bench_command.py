"""The whole command, with worker processes, on a network of 195 multiply-adds."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_emotion.benchmarks import timing
from edge_emotion.benchmarks.schema import BenchReport
from edge_emotion.card import ModelCard
from edge_emotion.cli import app
from edge_emotion.cli.terminal import table_console
from edge_emotion.errors import OutputError
from edge_emotion.files import write_bytes
from tests import tiny
from tests.benchmarks.conftest import record_trained_on

FAST = ("--quick", "--rounds", "1", "--runs", "5", "--threads", "1")


def bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["bench", *(str(a) for a in (*arguments, *FAST))])


def read(path: Path) -> BenchReport:
    return BenchReport.read(path)


def test_a_folder_to_tables_json_and_html(folder: Path, tmp_path: Path) -> None:
    json, html = tmp_path / "r.json", tmp_path / "r.html"
    result = bench(folder, "--json", json, "--html", html)
    assert result.exit_code == 0, result.output
    assert "Model latency: tensor to logits" in result.stdout
    assert f"wrote {json}" in result.stderr
    report = read(json)
    assert [(a.recipe, a.status) for a in report.artefacts] == [
        ("keras", "skipped"), ("onnx-f32", "measured"), ("onnx-int8", "measured"),
    ]  # fmt: skip
    assert report.reference == "onnx-f32"
    assert report.data.samples == 12
    int8 = report.artefacts[2]
    assert int8.agreement is not None
    assert int8.agreement.label_agreement == 1.0
    assert int8.recorded[0].accuracy == 0.8
    assert int8.timings[0].model.runs == 5
    assert int8.timings[0].peak_rss > 10_000_000
    assert html.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert str(tmp_path) not in json.read_text("utf-8") + html.read_text("utf-8")


def test_accuracy_on_labelled_pictures(folder: Path, data: Path, tmp_path: Path) -> None:
    result = bench(folder, "--data", data, "--json", tmp_path / "r.json", "--gate")
    assert result.exit_code == 0, result.output
    assert "Accuracy on faces, 6 pictures" in result.stdout
    evaluation = read(tmp_path / "r.json").artefacts[2].evaluation
    assert evaluation is not None
    assert evaluation.accuracy == 1.0
    assert evaluation.confusion == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), (5, 1, "held-out")), (("--include-training-pictures",), (6, 1, "training-set"))],
    ids=["left out", "included"],
)
def test_training_pictures_are_left_out_or_the_figures_say_so(
    folder: Path,
    data: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    expected: tuple[int, int, str],
) -> None:
    record_trained_on(folder, [data / "happy" / "0.png"])
    result = bench(folder, "--data", data, *options, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    report = read(tmp_path / "r.json")
    assert (report.data.samples, report.data.trained_on, report.data.protocol) == expected
    evaluation = report.artefacts[2].evaluation
    assert evaluation is not None
    assert (evaluation.samples, evaluation.protocol) == (expected[0], expected[2])
    caveat = " (training-set figure)" if options else ""
    title = f"Accuracy on faces, {expected[0]} pictures{caveat}"
    assert title in [line.strip() for line in result.stdout.splitlines()]
    assert ("The accuracies are training-set figures" in result.stdout) == bool(options)


def test_a_reader_that_leaves_does_not_cost_the_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(report: BenchReport) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("edge_emotion.benchmarks.terminal.print_report", leave)
    assert bench(folder, "--json", tmp_path / "r.json").exit_code != 0
    assert read(tmp_path / "r.json").model.name == "tiny"


def test_a_reader_that_leaves_a_table_is_no_check_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Code 5, by `BrokenPipeError`; rich's own way is code 1."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("sys.stdout", os.fdopen(writer, "w"))
    console = table_console(80)
    with pytest.raises(BrokenPipeError):
        console.print("a table")
    with pytest.raises(BrokenPipeError):
        sys.stdout.close()


def test_one_file_for_two_reports_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench(folder, "--json", tmp_path / "r.html", "--html", "r.html")
    assert result.exit_code == 2
    assert "--json and --html both name r.html" in result.stderr
    assert not (tmp_path / "r.html").exists()


def test_a_full_disk_does_not_cost_the_tables(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".json":
            raise OutputError(f"cannot write {path}: No space left on device")
        write_bytes(path, data)

    monkeypatch.setattr("edge_emotion.cli.bench.write_bytes", full)
    result = bench(folder, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert result.exit_code == 5
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert "Model latency: tensor to logits" in result.stdout
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize(
    ("option", "where"),
    [
        ("--html", "."),
        *itertools.product(
            ["--json", "--html"], ["/dev/full", "/proc/no/such", "file/r", "x" * 300]
        ),
    ],
)
def test_a_place_that_takes_no_file_is_said_before_anything_is_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, where: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge_emotion.benchmarks.run.run_benchmark", pytest.fail)
    result = bench(folder, option, where)
    assert result.exit_code == 5
    assert "name another place" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if path != folder] == ["file"]


def test_json_on_stdout_replaces_the_tables(folder: Path) -> None:
    result = bench(folder, "--json", "-")
    assert BenchReport.from_json(result.stdout, "stdout").model.name == "tiny"


def test_json_into_a_folder_is_named_by_environment_and_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert bench(folder, "--json", tmp_path / "results").exit_code == 0
    (name,) = [p.name for p in (tmp_path / "results").iterdir()]
    assert re.fullmatch(r"[a-z0-9_]+-[a-z0-9-]+-py3\d\d-tiny\.json", name)


def test_the_gate_is_an_exit_code(folder: Path, tmp_path: Path) -> None:
    # The random pictures are grey, so angry; with these weights everything is sad.
    wrong = tiny.export_bytes("onnx-int8").replace(
        tiny.WEIGHTS.tobytes(), (-tiny.WEIGHTS).tobytes()
    )
    (folder / "model-int8.onnx").write_bytes(wrong)
    ModelCard.read(folder).with_export(tiny.make_record("onnx-int8", wrong)).write(folder)
    assert bench(folder).exit_code == 0
    result = bench(folder, "--gate", "--json", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "edge-emotion: onnx-int8: label agreement 0." in result.stderr
    assert read(tmp_path / "r.json").recommended == "onnx-f32"


def test_a_gate_with_nothing_to_compare_does_not_pass(folder: Path) -> None:
    result = bench(folder / "model-int8.onnx", "--gate")
    assert result.exit_code == 1
    assert "no export was compared with a float model" in result.stderr


def test_one_file_is_measured_alone(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "model-int8.onnx"
    alone.parent.mkdir()
    alone.write_bytes((folder / "model-int8.onnx").read_bytes())
    result = bench(alone, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    report = read(tmp_path / "r.json")
    assert [a.recipe for a in report.artefacts] == ["onnx-int8"]
    assert (report.reference, report.data.kind) == (None, "none")
    assert "it was not compared with the float model in this run" in report.verdict[0]


def test_a_missing_export_fails_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    (folder / "model-int8.onnx").unlink()
    result = bench(folder, "--json", tmp_path / "r.json")
    assert result.exit_code == 4
    assert "model-int8.onnx is in card.json but not in the folder" in result.stderr
    report = read(tmp_path / "r.json")
    assert [(a.recipe, a.status) for a in report.artefacts][1:] == [
        ("onnx-f32", "measured"), ("onnx-int8", "failed"),
    ]  # fmt: skip


def test_a_file_that_is_another_is_not_measured(folder: Path) -> None:
    with (folder / "model-int8.onnx").open("ab") as file:
        file.write(b"\0")
    result = bench(folder)
    assert result.exit_code == 1
    assert "SHA-256 differs" in result.stderr
    assert result.stdout == ""


@pytest.fixture
def with_tflite(tmp_path: Path) -> Path:
    return tiny.write_model_folder(tmp_path / "both", ("onnx-f32", "tflite-int8"))


def _stub_litert(root: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What workers import for ai_edge_litert."""
    package = root / "stub" / "ai_edge_litert"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(root / "stub"))


def test_a_missing_extra_skips_with_the_pip_command(
    with_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub_litert(tmp_path, "raise ImportError('not installed')", monkeypatch)
    result = bench(with_tflite, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    skipped = read(tmp_path / "r.json").artefacts[2]
    assert skipped.status == "skipped"
    assert "pip install 'edge-emotion[litert]'" in skipped.reason
    alone = bench(with_tflite / "model-int8.tflite")
    assert alone.exit_code == 3
    assert "pip install 'edge-emotion[litert]'" in alone.stderr


def test_a_crash_is_one_artefacts_failure(
    with_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub_litert(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGILL)", monkeypatch)
    result = bench(with_tflite, "--json", tmp_path / "r.json")
    assert result.exit_code == 1
    report = read(tmp_path / "r.json")
    assert report.artefacts[1].status == "measured"
    assert report.artefacts[2].reason == (
        "model-int8.tflite: killed by SIGILL (an instruction that this processor does not have)"
    )


def test_what_an_engine_prints_does_not_reach_the_answer(
    with_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = "import os; print('noise'); os.write(1, b'noise'); raise ImportError('gone')"
    _stub_litert(tmp_path, noise, monkeypatch)
    result = bench(with_tflite, "--json", "-")
    assert BenchReport.from_json(result.stdout, "stdout").artefacts[2].status == "skipped"


def test_an_interruption_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timing.time_subjects, "__kwdefaults__",
                        {**timing.time_subjects.__kwdefaults__, "measure": interrupt})  # fmt: skip
    result = bench(folder, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert result.exit_code == 130
    assert not list(tmp_path.glob("*r.*"))


def test_measuring_without_data_loads_no_extra() -> None:
    """A Raspberry Pi with the base install benches, too."""
    code = (
        "import sys, edge_emotion.benchmarks.run, edge_emotion.benchmarks.terminal; "
        "print({'sklearn', 'scipy', 'matplotlib', 'onnx', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_wrong_number_is_a_usage_error(folder: Path) -> None:
    result = CliRunner().invoke(app, ["bench", str(folder), "--rounds", "0"])
    assert result.exit_code == 2
    assert "--rounds must be 1 or more" in result.stderr


def test_html_without_matplotlib_is_refused_before_measuring(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = bench(folder, "--html", tmp_path / "r.html")
    assert result.exit_code == 3
    assert "pip install 'edge-emotion[bench]'" in result.stderr
    assert result.stdout == ""
