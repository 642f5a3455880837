"""Photographs with a finder that knows which have a face; the network reads shades."""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_emotion.artefacts import read_trained_on
from edge_emotion.benchmarks import photos
from edge_emotion.benchmarks.caveats import photographs
from edge_emotion.benchmarks.schema import BenchReport, FinderResult, PhotoReport
from edge_emotion.card import ModelCard
from edge_emotion.cli import app
from edge_emotion.errors import DataError, MissingExtraError, ModelError
from edge_emotion.faces import Face, typical_landmarks
from tests import tiny

from .conftest import record_trained_on
from .made import make_report

LABELS = list(tiny.SHADES.values())


class NarrowPicturesHaveAFace:
    name = "yunet"

    def find(self, image: Image.Image) -> list[Face]:
        if image.width > 60:
            return []
        box = (0.0, 0.0, float(image.width), float(image.height))
        return [Face(box, 0.9, typical_landmarks(box))]


@pytest.fixture(autouse=True)
def finders(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_finder(name: str, *, detector: Path | None = None) -> NarrowPicturesHaveAFace:
        if name == "hog":
            raise MissingExtraError("the face finder hog", "faces")
        return NarrowPicturesHaveAFace()

    monkeypatch.setattr(photos, "open_finder", open_finder)
    monkeypatch.setattr(photos, "detector_path", lambda path: path or Path("yunet.onnx"))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Of each label a picture with a face and one without; one with a face that lies."""
    root = tmp_path / "scenes"
    for shade, label in tiny.SHADES.items():
        (root / label).mkdir(parents=True)
        for width in (48, 96):
            Image.new("RGB", (width, 48), (shade,) * 3).save(root / label / f"{width}.png")
    liar, truth = list(tiny.SHADES.items())[:2]
    Image.new("RGB", (40, 40), (liar[0],) * 3).save(root / truth[1] / "lie.png")
    (root / truth[1] / "broken.png").write_bytes(b"no picture")
    return root


def measure(scenes: Path, folder: Path) -> PhotoReport:
    card = ModelCard.read(folder)
    plan = photos.plan_photos(scenes, card.labels, trained_on=read_trained_on(folder))
    return photos.measure_photos(plan, folder, card)


def by_finder(report: PhotoReport, finder: str) -> FinderResult:
    return next(r for r in report.results if r.finder == finder)


def test_counts_with_and_without_a_face(scenes: Path, folder: Path) -> None:
    report = measure(scenes, folder)
    assert (report.samples, report.unreadable) == (7, 1)
    found = by_finder(report, "yunet")
    assert found.found is not None
    assert found.accuracy is not None
    assert found.accuracy_with_face is not None
    assert (found.found.count, found.found.of) == (4, 7)
    assert (found.accuracy.count, found.accuracy.of) == (3, 7)
    assert (found.accuracy_with_face.count, found.accuracy_with_face.of) == (3, 4)
    # One of each label is answered and one is not; the lie is in the column of what it shows.
    labels = ModelCard.read(folder).labels
    liar, truth = list(tiny.SHADES.values())[:2]
    expected = [[int(i == j) for j in range(3)] + [1] for i in range(3)]
    expected[labels.index(truth)][labels.index(liar)] += 1
    assert found.confusion == expected


def test_a_class_that_the_model_does_not_know_is_told(scenes: Path, folder: Path) -> None:
    (scenes / "bored").mkdir()
    Image.new("RGB", (48, 48)).save(scenes / "bored" / "a.png")
    report = measure(scenes, folder)
    assert (report.samples, report.left_out) == (7, {"a label that was not asked for": 1})
    (line, *_) = photographs(replace(make_report(), photos=report))
    assert line == "Of the files in scenes were left out: 1 a label that was not asked for."


def test_balanced_accuracy_is_the_mean_over_labels(scenes: Path, folder: Path) -> None:
    found = by_finder(measure(scenes, folder), "yunet")
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)


def test_steps_are_timed_and_add_up(scenes: Path, folder: Path) -> None:
    steps = by_finder(measure(scenes, folder), "yunet").steps
    assert steps is not None
    assert steps.total.runs == 7 * photos.TIMING_ROUNDS
    parts = sum(d.mean for d in (steps.decode, steps.find, steps.crop, steps.read))
    assert parts == pytest.approx(steps.total.mean, rel=0.01, abs=0.001)


def test_a_finder_that_is_not_there_is_named(scenes: Path, folder: Path) -> None:
    hog = by_finder(measure(scenes, folder), "hog")
    assert hog.status == "skipped"
    assert "pip install 'edge-emotion[faces]'" in hog.reason


def test_without_a_finder_each_picture_is_one_face(scenes: Path, folder: Path) -> None:
    whole = by_finder(measure(scenes, folder), "off")
    assert whole.found is not None
    assert whole.accuracy is not None
    assert whole.found.count == 7
    assert whole.accuracy.count == 6
    assert whole.steps is None


def test_nothing_readable_is_said(folder: Path, tmp_path: Path) -> None:
    for label in LABELS:
        path = tmp_path / "broken" / label / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of its photographs"):
        measure(tmp_path / "broken", folder)


def test_photographs_that_the_model_knows_are_left_out(scenes: Path, folder: Path) -> None:
    assert measure(scenes, folder).trained_on_known is False
    everything = sorted(p for p in scenes.rglob("*.png") if p.name != "broken.png")
    record_trained_on(folder, everything[:1], everything[1:3])
    report = measure(scenes, folder)
    assert (report.samples, report.unreadable, report.trained_on) == (4, 1, 3)
    assert report.trained_on_known is False  # an older record, without the photographs of crops
    record_trained_on(folder, everything[:1], photographs=True)
    report = measure(scenes, folder)
    assert (report.trained_on, report.trained_on_known) == (1, True)
    next(scenes.rglob("broken.png")).unlink()
    record_trained_on(folder, everything)
    with pytest.raises(DataError, match="trained on all of its 7 photographs"):
        measure(scenes, folder)


def test_bench_says_which_photographs_it_left_out(
    scenes: Path, folder: Path, tmp_path: Path
) -> None:
    known = sorted(scenes.rglob("48.png"))[:1]
    record_trained_on(folder, known)
    json = tmp_path / "r.json"
    CliRunner().invoke(
        app, ["bench", str(folder), "--photos", str(scenes), "--json", str(json), *QUICK]
    )
    verdict = " ".join(BenchReport.read(json).verdict)
    assert "1 photographs were left out: the model was trained or validated on them" in verdict
    assert "faces in some of these photographs is not known" in verdict
    record_trained_on(folder, known, photographs=True)
    CliRunner().invoke(
        app, ["bench", str(folder), "--photos", str(scenes), "--json", str(json), *QUICK]
    )
    assert "is not known" not in " ".join(BenchReport.read(json).verdict)


QUICK = ("--quick", "--rounds", "1", "--runs", "5", "--threads", "1")


def test_the_file_that_was_named_reads_them(scenes: Path, folder: Path, tmp_path: Path) -> None:
    json = tmp_path / "r.json"
    named = ["bench", str(folder / "model-f32.onnx"), "--photos", str(scenes), "--json", str(json)]
    CliRunner().invoke(app, [*named, *QUICK])
    found = BenchReport.read(json)
    assert found.photos is not None
    assert found.photos.recipe == "onnx-f32"
    assert measure(scenes, folder).recipe == "onnx-int8"  # of a folder


def test_without_an_onnx_export_the_one_that_was_measured_reads_them(
    scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    next(scenes.rglob("broken.png")).unlink()
    folder = tiny.write_model_folder(tmp_path / "lite", ("tflite-f32", "tflite-int8"))
    json = tmp_path / "r.json"
    command = ["bench", str(folder), "--photos", str(scenes), "--json", str(json)]
    result = CliRunner().invoke(app, [*command, *QUICK])
    assert result.exit_code == 0, result.output
    found = BenchReport.read(json)
    assert found.photos is not None
    assert (found.photos.recipe, found.photos.samples) == ("tflite-int8", 7)


def test_a_model_that_nothing_runs_says_why_the_first_engine_does_not(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    folder = tiny.write_model_folder(tmp_path / "lite", ("tflite-int8",))
    with pytest.raises(ModelError, match=r"no export that onnx runs, only model-int8\.tflite"):
        measure(scenes, folder)


def test_of_a_publisher_s_split_the_test_part_is_read(
    scenes: Path, folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        shutil.copytree(scenes, tmp_path / "split" / split)
    (tmp_path / "split" / "test" / LABELS[0] / "48.png").unlink()
    report = measure(tmp_path / "split", folder)
    assert (report.data, report.samples, report.unreadable) == ("split test", 6, 1)
    assert report.left_out == {"not in the publisher's test split": 8}
    (line, *_) = photographs(replace(make_report(), photos=report))
    assert line == (
        "Of the files in split test were left out: 8 not in the publisher's test split."
    )


def test_no_readable_photograph_does_not_cost_what_was_measured(
    folder: Path, tmp_path: Path
) -> None:
    for label in LABELS:
        path = tmp_path / "broken" / label / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no picture")
    json = tmp_path / "r.json"
    command = ["bench", str(folder), "--photos", str(path.parents[1]), "--json", str(json)]
    result = CliRunner().invoke(app, [*command, *QUICK])
    assert result.exit_code == 4
    assert "none of its photographs could be read" in result.stderr
    assert result.stderr.splitlines()[-1] == "edge-emotion: 1 failed; the others were measured"
    report = BenchReport.read(json)
    assert report.photos is None
    assert len(report.measured) == 2


def test_timed_photographs_are_spread_over_the_labels(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shade, label in tiny.SHADES.items():
        (tmp_path / "many" / label).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (48, 48), (shade,) * 3).save(tmp_path / "many" / label / f"{i}.png")
    monkeypatch.setattr(photos, "TIMED", 3)
    timed: list[int] = []

    def note(picture: bytes, *_: object) -> tuple[float, ...]:
        with Image.open(io.BytesIO(picture)) as image:
            timed.append(image.convert("L").getpixel((0, 0)))
        return (1.0,) * 5

    monkeypatch.setattr(photos, "_clock", note)
    report = measure(tmp_path / "many", folder)
    assert sorted(set(timed)) == sorted(tiny.SHADES)
    assert report.timed.startswith("3 photographs")


def test_the_command_writes_them_into_table_json_and_html(
    scenes: Path, folder: Path, tmp_path: Path
) -> None:
    json, html = tmp_path / "r.json", tmp_path / "r.html"
    command = ["bench", str(folder), "--photos", str(scenes)]
    command += ["--json", str(json), "--html", str(html)]
    result = CliRunner().invoke(app, [*command, *QUICK])
    assert result.exit_code == 4, result.output  # of the broken one, when all is written
    assert "42.9% (3 of 7)" in result.stdout
    assert "75.0% (3 of 4)" in result.stdout
    assert "no face" in result.stdout
    assert "faces by hog" in result.stdout
    assert result.stderr.count("broken.png") == 1
    report = BenchReport.read(json)
    assert report.photos is not None
    assert report.photos.samples == 7
    assert "Photograph to answer" in html.read_text("utf-8")
    assert str(tmp_path) not in json.read_text("utf-8")
