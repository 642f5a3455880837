"""Corruptions change what they should and no more; the clean figures are those of `bench`."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_emotion.benchmarks import robustness
from edge_emotion.benchmarks.accuracy import Pictures, labelled_pictures
from edge_emotion.benchmarks.corruptions import CORRUPTIONS, STRENGTHS, Corruption
from edge_emotion.benchmarks.markdown import RESULTS, pages, read_results
from edge_emotion.benchmarks.module import raise_failures
from edge_emotion.benchmarks.report_json import to_json
from edge_emotion.benchmarks.robustness import accuracies, corrupt, main, run_robustness
from edge_emotion.benchmarks.robustness_report import Corrupted, RobustnessReport, robustness_table
from edge_emotion.benchmarks.schema import Data
from edge_emotion.benchmarks.subjects import Subject, find_subjects
from edge_emotion.card import ModelCard
from edge_emotion.errors import EdgeEmotionError, ModelError, UsageError
from tests import tiny
from tests.generated import LABELS, draw_face

from .conftest import record_trained_on

every = pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda c: c.name)


def faces(channels: int, size: int = 48) -> list[NDArray[np.uint8]]:
    mode = "L" if channels == 1 else "RGB"
    drawn = [draw_face(label, seed).resize((size, size)) for label in LABELS for seed in range(4)]
    return [np.array(face.convert(mode)).reshape(size, size, channels) for face in drawn]


@every
@pytest.mark.parametrize(("channels", "size"), [(1, 48), (3, 64)])
def test_pixels_change_more_with_every_strength_and_keep_their_form(
    corruption: Corruption, channels: int, size: int
) -> None:
    changes = []
    for strength in STRENGTHS:
        differences = []
        for number, face in enumerate(faces(channels, size)):
            before = face.copy()
            changed = corruption.apply(face, strength, number)
            assert changed.shape == face.shape
            assert changed.dtype == np.uint8
            assert (face == before).all()
            differences.append(np.abs(changed.astype(float) - face).mean())
        changes.append(np.mean(differences))
    assert changes[0] > 0.2  # grey levels
    assert all(weaker < stronger for weaker, stronger in itertools.pairwise(changes))


@every
def test_the_same_picture_is_corrupted_the_same_way_each_time(corruption: Corruption) -> None:
    face = faces(1)[0]
    assert (corruption.apply(face, 3, 7) == corruption.apply(face, 3, 7)).all()


@pytest.mark.parametrize("name", ["noise", "rotation", "occlusion"])
def test_what_is_drawn_differs_from_picture_to_picture(name: str) -> None:
    (corruption,) = [c for c in CORRUPTIONS if c.name == name]
    face = faces(1)[0]
    changed = {corruption.apply(face, 3, number).tobytes() for number in range(8)}
    assert len(changed) >= 2


@every
def test_strength_0_leaves_a_face_as_it_is(corruption: Corruption) -> None:
    face = faces(3)[0]
    changed = corruption.apply(face, 0, 5)
    assert (changed == face).all()
    assert changed is not face


def test_what_the_parameters_mean() -> None:
    grey = np.full((48, 48, 1), 100, np.uint8)
    by_name = {c.name: c for c in CORRUPTIONS}
    assert (by_name["darker"].apply(grey, 2, 0) == 50).all()
    assert (by_name["brighter"].apply(grey, 5, 0) == 250).all()
    covered = by_name["occlusion"].apply(grey, 4, 0) == 0
    assert covered.mean() == pytest.approx(0.20, abs=0.01)
    noise = by_name["noise"].apply(np.full((200, 200, 1), 128, np.uint8), 2, 0).astype(float) - 128
    assert noise.std() == pytest.approx(16, rel=0.02)
    # Turning a flat picture, or one without detail, leaves no wedge at the corners.
    assert (by_name["rotation"].apply(grey, 5, 0) == 100).all()
    assert (by_name["looser crop"].apply(grey, 5, 0) == 100).all()
    # A white square of 24 pixels grows and shrinks about the middle.
    square = np.zeros((48, 48, 1), np.uint8)
    square[12:36, 12:36] = 255
    for name, factor in (("tighter crop", 0.6), ("looser crop", 1.75)):
        seen = by_name[name].apply(square, 5, 0)
        assert (seen > 127).sum() ** 0.5 == pytest.approx(24 / factor, abs=1)
        assert seen[24, 24, 0] == 255
        assert seen[0, 0, 0] == 0
    for name, wide, tall in (("wider", 30, 20), ("taller", 20, 30)):  # the square root of 1.5
        seen = by_name[name].apply(square, 4, 0) > 127
        assert (seen.any(axis=0).sum(), seen.any(axis=1).sum()) == pytest.approx(
            (wide, tall), abs=1
        )
        assert seen.sum() == pytest.approx(24 * 24, rel=0.05)
    pale = by_name["paler"].apply(square, 2, 0)
    mean = 255 / 4
    assert (pale[24, 24, 0], pale[0, 0, 0]) == pytest.approx(((255 + mean) / 2, mean / 2), abs=1)
    edge = np.full((48, 48, 1), 80, np.uint8)
    edge[:, 24:] = 120
    sharp = by_name["sharper"].apply(edge, 2, 0)[24, :, 0]
    assert (sharp[0], sharp[-1]) == (80, 120)
    assert sharp[23] < 75
    assert sharp[24] > 125
    small = by_name["down-scaling"].apply(faces(1)[0], 5, 0)
    assert len(np.unique(small)) > 8
    # Stripes of 2 pixels stay in half as many pixels and go in a quarter, whatever the width.
    for width in (48, 96):
        stripes = np.zeros((48, width, 1), np.uint8)
        stripes[:, np.arange(width) % 4 < 2] = 255
        half, quarter = (by_name["down-scaling"].apply(stripes, n, 0) for n in (2, 4))
        assert half.std() > 60
        assert quarter.std() < 1


@pytest.mark.parametrize(("strength", "degrees"), [(2, 10), (4, 20), (5, 30)])
def test_a_rotation_turns_about_the_middle_by_its_degrees_to_either_side(
    strength: int, degrees: int
) -> None:
    (rotation,) = [c for c in CORRUPTIONS if c.name == "rotation"]
    dot = np.zeros((48, 48, 1), np.uint8)
    dot[23:25, 38:40] = 255  # 15 pixels right of the middle
    y, x = np.mgrid[:48, :48] - 23.5
    sides = set()
    for number in range(8):
        turned = rotation.apply(dot, strength, number)[:, :, 0].astype(float)
        right, down = ((turned * place).sum() / turned.sum() for place in (x, y))
        assert math.hypot(right, down) == pytest.approx(15, abs=0.05)
        angle = math.degrees(math.atan2(down, right))
        assert abs(angle) == pytest.approx(degrees, abs=0.3)
        sides.add(angle > 0)
    assert sides == {False, True}


@pytest.mark.parametrize("width", [48, 96])
@pytest.mark.parametrize(("strength", "sigma"), [(2, 1), (4, 2), (5, 3)])
def test_a_blur_s_deviation_is_in_pixels_of_a_face_48_wide(
    strength: int, sigma: int, width: int
) -> None:
    """What blurs an edge is what its differences from pixel to pixel then look like."""
    (blur,) = [c for c in CORRUPTIONS if c.name == "blur"]
    edge = np.zeros((48, width, 1), np.uint8)
    edge[:, width // 2 :] = 255
    seen = np.diff(blur.apply(edge, strength, 0)[24, :, 0].astype(float)) / 255
    place = np.arange(width - 1) - (width / 2 - 1)
    assert (seen.sum(), (seen * place).sum()) == pytest.approx((1, 0), abs=0.01)
    assert (seen * place**2).sum() ** 0.5 == pytest.approx(sigma * width / 48, rel=0.03)


@pytest.fixture
def pictures(folder: Path, data: Path, tmp_path: Path) -> Pictures:
    return labelled_pictures(data, ModelCard.read(folder), folder, tmp_path)


def test_strength_0_gives_the_clean_accuracy(
    folder: Path, pictures: Pictures, tmp_path: Path
) -> None:
    subjects = [s for s in find_subjects(folder).files if not s.missing]
    clean, _ = accuracies(subjects, pictures, 1)
    for corruption in CORRUPTIONS:
        same = corrupt(pictures, corruption, [0, 0], tmp_path / "corrupted.npy")
        found, errors = accuracies(subjects, same, 2)
        assert errors == {}
        assert found == {recipe: [values[0]] * 2 for recipe, values in clean.items()}
    assert clean == {"onnx-f32": [1.0], "onnx-int8": [1.0]}


def test_a_run_measures_each_export_at_each_strength(folder: Path, data: Path) -> None:
    chosen = [c for c in CORRUPTIONS if c.name in ("darker", "brighter")]
    report, failures = run_robustness(folder, data, corruptions=chosen)
    assert failures == []
    assert report.clean == {"onnx-f32": 1.0, "onnx-int8": 1.0}
    darker, brighter = report.corrupted
    # Shades 20, 128, 250 with borders at 85 and 170: 128 x 0.7 = 90 is angry still, 64 is not;
    # 250 x 0.7 = 175 is happy still, 125 is not.
    assert darker.accuracy["onnx-int8"] == [1.0, *[pytest.approx(1 / 3, abs=1e-6)] * 4]
    # 20 + 30 and 20 + 60 are sad still, 128 + 30 angry still; then one after the other goes.
    assert brighter.accuracy["onnx-f32"] == [
        pytest.approx(x, abs=1e-6) for x in (1.0, 2 / 3, 1 / 3, 1 / 3, 1 / 3)
    ]
    assert report.mean("onnx-f32") == pytest.approx((1 + 4 / 3 + 1 + 2 / 3 + 3 / 3) / 10)


def test_an_export_that_is_not_there_is_named(folder: Path, data: Path) -> None:
    (folder / "model-int8.onnx").unlink()
    report, failures = run_robustness(folder, data, corruptions=CORRUPTIONS[:1])
    assert list(report.clean) == ["onnx-f32"]
    assert report.not_measured == {
        "onnx-int8": "model-int8.onnx is in card.json but not in the folder"
    }
    assert [str(f) for f in failures] == list(report.not_measured.values())
    with pytest.raises(ModelError, match="1 of 2 failed; the others were measured"):
        raise_failures(failures, 2)
    assert "onnx-int8 was not measured: model-int8.onnx" in robustness_table(report)
    (folder / "model-f32.onnx").unlink()
    with pytest.raises(ModelError):
        run_robustness(folder, data)


def test_an_export_that_fails_on_the_way_costs_only_its_own_figures(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def one_dies(
        subjects: Sequence[Subject], pictures: Pictures, strengths: int
    ) -> tuple[dict[str, list[float]], dict[str, EdgeEmotionError]]:
        nonlocal calls
        calls += 1
        found, errors = accuracies(subjects, pictures, strengths)
        if calls == 3:  # clean, first corruption, second
            del found["onnx-int8"]
            errors["onnx-int8"] = ModelError("onnx-int8: killed by signal 9")
        return found, errors

    monkeypatch.setattr(robustness, "accuracies", one_dies)
    found, failures = run_robustness(folder, data, corruptions=CORRUPTIONS[:3])
    assert calls == 4
    assert list(found.clean) == ["onnx-f32"]
    assert [list(row.accuracy) for row in found.corrupted] == [["onnx-f32"]] * 3
    assert found.not_measured == {"onnx-int8": "onnx-int8: killed by signal 9"}
    assert [str(f) for f in failures] == ["onnx-int8: killed by signal 9"]
    assert "onnx-int8 was not measured: onnx-int8: killed" in robustness_table(found)


@pytest.fixture
def report() -> RobustnessReport:
    f32 = [0.9, 0.8, 0.7, 0.6, 0.5]
    return RobustnessReport(
        created="2026-11-23T10:00:00+00:00",
        model="tiny",
        labels=tiny.LABELS,
        keras_sha256="0" * 64,
        packages={},
        data=Data("labelled", "FER+ test", 1000, "held-out", {}, 0, trained_on_known=True),
        sha256={},
        clean={"onnx-f32": 0.95, "tflite-f32": 0.95, "onnx-int8": 0.94},
        corrupted=[
            Corrupted(
                "blur", "pixels", [1, 2, 3, 4, 5.5],
                {"onnx-f32": f32, "tflite-f32": f32, "onnx-int8": [0.9, 0.8, 0.7, 0.5, 0.45]},
            )
        ],
        not_measured={},
    )  # fmt: skip


def test_the_table_has_float_and_int8_beside_each_other(report: RobustnessReport) -> None:
    table = robustness_table(report).splitlines()
    assert "onnx-f32 and tflite-f32 (the same) / onnx-int8. Uncorrupted: 95.0 / 94.0" in table[0]
    assert "Hardest is blur." in table[0]
    assert "Furthest behind its float original is onnx-int8 under blur 4: by 10.0" in table[0]
    assert table[4] == (
        "| blur (pixels) | 1: 90.0 / 90.0 | 2: 80.0 / 80.0 | 3: 70.0 / 70.0 | 4: 60.0 / 50.0 | "
        "5.5: 50.0 / 45.0 | 70.0 / 67.0 |"
    )
    assert table[5] == "| **all** | | | | | | **70.0 / 67.0** |"


def test_pictures_of_unknown_origin_are_told(report: RobustnessReport) -> None:
    assert "is not known" not in robustness_table(report)
    data = replace(report.data, trained_on_known=False)
    line = robustness_table(replace(report, data=data)).splitlines()[0]
    assert "trained on some of these pictures, or on other crops" in line


def test_int8_that_is_never_behind_is_not_said_to_be(report: RobustnessReport) -> None:
    row = report.corrupted[0]
    better = {**row.accuracy, "onnx-int8": [share + 0.01 for share in row.accuracy["onnx-f32"]]}
    line = robustness_table(replace(report, corrupted=[replace(row, accuracy=better)]))
    assert "Hardest is blur. int8 is nowhere behind float." in line


def test_a_page_gets_the_committed_tables(report: RobustnessReport, tmp_path: Path) -> None:
    results = tmp_path / RESULTS
    results.mkdir(parents=True)
    (results / report.file_name).write_bytes(to_json(report))
    assert RobustnessReport.read(results / report.file_name) == report
    assert read_results(results) == []
    page = tmp_path / "docs/accuracy.md"
    page.parent.mkdir()
    page.write_text("<!-- robustness:start -->\n<!-- robustness:end -->\n")
    assert pages(tmp_path)[page]["robustness"] == robustness_table(report)


def test_the_command_writes_a_named_report(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    main([str(folder), "--data", str(data), "--json", str(tmp_path / "results")])
    out, err = capsys.readouterr()
    assert out.startswith("**tiny** on faces, 6 pictures")
    path = tmp_path / "results/robustness-tiny.json"
    assert err == f"wrote {path}\n"
    report = RobustnessReport.read(path)
    assert [row.name for row in report.corrupted] == [c.name for c in CORRUPTIONS]
    assert str(tmp_path) not in path.read_text("utf-8")
    with pytest.raises(UsageError, match="reports there are of test pictures: name a file"):
        main([str(folder), "--data", str(data), "--validation", "--json", str(path.parent)])


def test_training_pictures_are_measured_when_asked_for(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_trained_on(folder, [data / "sad" / "0.png"])
    for options, count in (([], 5), (["--include-training-pictures"], 6)):
        main([str(folder), "--data", str(data), *options])
        head = capsys.readouterr().out.splitlines()[0]
        assert f"**tiny** on faces, {count} pictures" in head


def test_errors_are_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_emotion.benchmarks.robustness"]
    wrong = [*command, "no-such-model", "--data", tmp_path]
    done = subprocess.run(wrong, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("edge-emotion: unknown model 'no-such-model'")
    assert len(done.stderr.splitlines()) == 1
    assert subprocess.run(command, capture_output=True).returncode == 2
