from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_emotion import ModelCard
from edge_emotion.benchmarks.markdown import (
    RESULTS,
    block,
    contents,
    main,
    markdown_table,
    read_results,
    updated,
)
from edge_emotion.benchmarks.robustness_report import RobustnessReport
from edge_emotion.benchmarks.schema import KERAS
from edge_emotion.benchmarks.verdict import explain
from edge_emotion.errors import CheckError, UsageError
from edge_emotion.machine import Conditions
from edge_emotion.model_readme import BENCH_END as END
from edge_emotion.model_readme import BENCH_START as START

from .made import make_artefact, make_distribution, make_evaluation, make_report

ROOT = Path(__file__).parents[2]
PAGE = f"# Title\n\n{START}\nold\n{END}\n\nAfter.\n"


def test_no_page_of_this_repository_has_drifted_from_its_results() -> None:
    found = contents(ROOT)
    assert {ROOT / "README.md", ROOT / "models/edge-cnn/README.md"} <= set(found)
    reports = [path for path in found if path.suffix == ".json"]
    assert len(reports) == len(read_results(ROOT / RESULTS)) > 1
    stale = [str(path.relative_to(ROOT)) for path, new in found.items() if path.read_bytes() != new]
    assert stale == [], "python -m edge_emotion.benchmarks.markdown makes them anew"


def test_committed_results_are_named_by_environment_and_hold_full_runs() -> None:
    reports = read_results(ROOT / RESULTS)
    assert reports
    for report in reports:
        assert (ROOT / RESULTS / report.file_name).is_file()
        assert not report.settings.quick
        assert report.settings.total_runs >= 200


def test_committed_results_are_of_the_files_that_ship() -> None:
    benches = [
        (report.model.name, {a.recipe: a.sha256 for a in report.artefacts})
        for report in read_results(ROOT / RESULTS)
    ]
    robustness = [
        (report.model, report.sha256)
        for report in map(RobustnessReport.read, (ROOT / RESULTS).glob("robustness-*.json"))
    ]
    assert benches
    assert robustness
    for name, measured in [*benches, *robustness]:
        card = ModelCard.read(ROOT / "models" / name)
        shipped = {KERAS: card.keras_sha256} | {e.recipe: e.sha256 for e in card.exports}
        assert measured.items() <= shipped.items(), f"{name} has changed: measure it again"


def test_a_table_has_every_artefact_and_what_it_rests_on() -> None:
    table = markdown_table(make_report(recommended="onnx-int8"))
    lines = table.splitlines()
    assert lines[0].startswith("**tiny** on Made CPU, x86_64, 2 cores, avx512_vnni avx2")
    assert "400 runs behind each percentile" in lines[0]
    assert "FER+ test, 1000 pictures" in lines[0]
    assert lines[-1] == (
        "| **onnx-int8** | 300 kB | 0.220 | 2.42 | 0.33 | 60.0 MB | 90.0% (88.0% to 92.0%) | "
        "+0.10 (-0.20 to +0.40) | 99.5% |"
    )
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_noise_and_other_programs_are_told_above_the_table() -> None:
    noisy = make_artefact("onnx-f32", 0.4, rounds=(1.0, 1.3))
    report = make_report(noisy, reference="onnx-f32", before=Conditions(None, 1.6, None, 1.4))
    head = markdown_table(report).splitlines()[0]
    assert "medians of the rounds differ by up to 30% (onnx-f32, model)" in head
    assert "Other programs were running: 1.4 of 2 cores were busy" in head
    assert "Other programs" not in markdown_table(make_report())


def test_noise_in_the_other_column_is_told_too() -> None:
    calm = make_artefact("onnx-f32", 0.4)
    (one, two), slow = calm.timings, make_distribution(2.6, (1.0, 1.58))
    noisy = replace(one, picture=replace(one.picture, total=slow))
    report = make_report(replace(calm, timings=[noisy, two]), reference="onnx-f32")
    head = markdown_table(report).splitlines()[0]
    assert "medians of the rounds differ by up to 58% (onnx-f32, JPEG to label)" in head


def test_pictures_of_unknown_origin_are_told_above_the_table() -> None:
    report = make_report()
    assert "is not known" not in markdown_table(report)
    unknown = replace(report, data=replace(report.data, trained_on_known=False))
    assert "trained on some of these pictures, or on other crops of their" in markdown_table(
        unknown
    )


def test_training_set_figures_are_marked_in_the_table() -> None:
    report = make_report(
        make_artefact("keras", 1.0, evaluation=make_evaluation(protocol="training-set"))
    )
    data = replace(report.data, protocol="training-set")
    assert "accuracy (training-set figure) (95 %)" in markdown_table(replace(report, data=data))


def test_what_is_between_the_markers_alone_is_updated() -> None:
    blocks = {"bench": block([make_report()]), "absent": "nowhere"}
    text = updated(PAGE, blocks)
    assert text.startswith(f"# Title\n\n{START}\n**tiny**")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert updated(text, blocks) == text


def test_two_reports_come_with_a_warning() -> None:
    assert "never between two of them" in block([make_report(), make_report()])


def test_a_page_without_markers_is_left_alone() -> None:
    assert updated("# Title\n", {"bench": block([make_report()])}) == "# Title\n"


def test_the_command_checks_and_refreshes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    results = Path("benchmarks/results")
    results.mkdir(parents=True)
    report = make_report()
    (results / report.file_name).write_bytes(report.to_json())
    Path("models/tiny").mkdir(parents=True)
    Path("models/other").mkdir()
    for page in ("README.md", "models/tiny/README.md", "models/other/README.md"):
        Path(page).write_text(PAGE)
    with pytest.raises(CheckError, match=rf"README\.md, models/other.*{report.file_name}: python"):
        main(["--check"])
    with pytest.raises(SystemExit):
        main(["--chekc"])  # writes nothing
    assert Path("README.md").read_text() == PAGE
    main([])
    assert capsys.readouterr().out.split() == [
        "README.md", "models/other/README.md", "models/tiny/README.md",
        str(results / report.file_name),
    ]  # fmt: skip
    main(["--check"])
    (told,) = read_results(results)
    assert told == replace(report, verdict=explain(report))
    assert told.verdict
    assert "**tiny**" in Path("models/tiny/README.md").read_text()
    assert "No results yet." in Path("models/other/README.md").read_text()


def test_elsewhere_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no benchmarks/results here: run it in the repository"):
        main(["--check"])
