"""Two models side by side on the pictures that validated both."""

from __future__ import annotations

import math
import re
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_emotion import Predictor
from edge_emotion.benchmarks.accuracy import run_subjects
from edge_emotion.benchmarks.between import between_table, main, measure_between
from edge_emotion.card import ModelCard
from edge_emotion.errors import DataError, MissingExtraError, UsageError
from edge_emotion.files import sha256
from tests import tiny

from .conftest import record_trained_on


def with_bias(folder: Path, bias: list[float]) -> Path:
    """The same model with another bias."""
    network = tiny.ONNX.replace(tiny.BIAS.tobytes(), np.array(bias, np.float32).tobytes())
    assert network != tiny.ONNX
    inside = tiny.make_card().for_embedding(tiny.make_record("onnx-f32"), network)
    changed = tiny.onnx_with(inside.to_json(), network)
    (folder / "model-f32.onnx").write_bytes(changed)
    ModelCard.read(folder).with_export(tiny.make_record("onnx-f32", changed)).write(folder)
    return folder


@pytest.fixture
def other(folder: Path) -> Path:
    """Calls happy pictures angry."""
    copy = Path(shutil.copytree(folder, folder.parent / "other"))
    return with_bias(copy, [-8.5, -60.0, 0.0])


def test_pictures_that_validated_both_are_counted(folder: Path, other: Path, data: Path) -> None:
    with_bias(folder, [-0.5, -17.5, 0.0])  # calls sad pictures angry
    angry, second, happy, *rest = sorted(data.rglob("*.png"))
    record_trained_on(folder, [angry], [second, happy, *rest])
    record_trained_on(other, [happy], [angry, second, *rest])
    found = measure_between([folder, other], data)
    assert found.labels.tolist() == [0, 1, 2, 2]
    assert [right.tolist() for right in found.right] == [
        [True, True, False, False], [True, False, True, True],
    ]  # fmt: skip
    assert found.alone == (1, 2)
    assert found.balanced(0) == found.balanced(1) == pytest.approx(2 / 3)
    row, again, together = between_table([found, found]).splitlines()[2:]
    assert row == again
    assert row.startswith("| faces valid | 4 | 2, 1 | 66.7%, 66.7% | 1, 2 | 1.7 | 1.000 | ")
    assert together.startswith("| together | 8 | 4, 2 | 66.7%, 66.7% | 2, 4 | 2.4 | ")
    own, others = (
        [-math.log(reads.predict(p).probabilities[p.parent.name]) for p in (second, *rest)]
        for reads in (Predictor(model / "model-f32.onnx") for model in (folder, other))
    )
    less = [a - b for a, b in zip(own, others, strict=True)]
    middle, half = statistics.mean(less), 1.96 * statistics.pstdev(less) / 2
    figures = [float(x) for x in re.findall(r"[-+]?\d+\.\d{4}", row)]
    expected = [statistics.mean(own), statistics.mean(others), middle, middle - half, middle + half]
    assert figures == pytest.approx(expected, abs=2e-4)
    again = [float(x) for x in re.findall(r"[-+]?\d+\.\d{4}", together)]
    half /= math.sqrt(2)
    assert again == pytest.approx([*expected[:3], middle - half, middle + half], abs=2e-4)


def test_the_float_onnx_file_stands_for_a_keras_file_that_cannot_be_run(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_trained_on(folder, [], sorted(data.rglob("*.png")))
    card = ModelCard.read(folder)
    (folder / "model.keras").write_bytes(b"no TensorFlow reads this")
    replace(card, keras_sha256=sha256(folder / "model.keras")).write(folder)
    asked = []

    def run(subjects, pictures):
        asked.append(subjects[0].recipe)
        if asked[-1] == "keras":
            return {}, {"keras": MissingExtraError("a Keras file", "train")}
        return run_subjects(subjects, pictures)

    monkeypatch.setattr("edge_emotion.benchmarks.between.run_subjects", run)
    assert measure_between([folder, folder], data).right[0].all()
    assert asked == ["keras", "onnx-f32"] * 2
    (folder / "model-f32.onnx").unlink()
    with pytest.raises(MissingExtraError, match="a Keras file"):
        measure_between([folder, folder], data)


def test_a_model_and_itself_differ_in_nothing(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_trained_on(folder, [], sorted(data.rglob("*.png")))
    main([str(folder), str(folder), "--data", str(data)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| faces valid | 6 | 0, 0 | 100.0%, 100.0% | 0, 0 | 0.0 | 1.000 | ")
    assert last.endswith("| +0.0000 (+0.0000 to +0.0000) |")


def test_what_cannot_be_compared(folder: Path, other: Path, data: Path) -> None:
    pictures = sorted(data.rglob("*.png"))
    record_trained_on(folder, pictures[:3], pictures[3:])
    record_trained_on(other, pictures[3:], pictures[:3])
    with pytest.raises(UsageError, match="no picture validated both"):
        measure_between([folder, other], data)
    with pytest.raises(UsageError, match="other labels"):
        measure_between([folder, "edge-cnn-8"], data)
    with pytest.raises(UsageError, match="would count twice"):
        main([str(folder), str(other), "--data", str(data), "--data", f"{data}/../{data.name}"])
    # Said before the first is measured.
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        main([str(folder), str(other), "--data", str(data), "--data", "nowhere"])


def test_what_validated_and_trained_chooses_nothing(folder: Path, data: Path) -> None:
    """The original project's protocol: its validation pictures are its training pictures."""
    pictures = sorted(data.rglob("*.png"))
    record_trained_on(folder, pictures, pictures)
    with pytest.raises(DataError, match="validated on none of its pictures that it was not"):
        measure_between([folder, folder], data)
