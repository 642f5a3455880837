"""Two models side by side on the pictures that validated both."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_emotion.benchmarks.between import between_table, main, measure_between
from edge_emotion.card import ModelCard
from edge_emotion.errors import UsageError
from tests import tiny

from .conftest import record_trained_on


@pytest.fixture
def other(folder: Path) -> Path:
    """The same model with its weights turned round: it takes bright for dark."""
    wrong = tiny.export_bytes("onnx-f32").replace(tiny.WEIGHTS.tobytes(), (-tiny.WEIGHTS).tobytes())
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    (other / "model-f32.onnx").write_bytes(wrong)
    ModelCard.read(other).with_export(tiny.make_record("onnx-f32", wrong)).write(other)
    return other


def test_pictures_that_validated_both_are_counted(folder: Path, other: Path, data: Path) -> None:
    pictures = sorted(data.rglob("*.png"))
    record_trained_on(folder, pictures[:1], pictures[1:])
    record_trained_on(other, pictures[1:2], [pictures[0], *pictures[2:]])
    found = measure_between([folder, other], data)
    assert len(found.labels) == 4  # neither of the first two
    one, two = found.right
    assert one.all()
    assert not two.all()
    assert found.alone == (int((~two).sum()), 0)
    assert found.balanced(0) == 1.0
    assert found.balanced(1) == pytest.approx(two.mean())  # as many of each label
    table = between_table([found, found]).splitlines()
    assert len(table) == 5
    assert table[2].startswith(f"| faces valid | 4 | 0, {(~two).sum()} | 100.0%, ")
    assert table[4].startswith(f"| together | 8 | 0, {2 * (~two).sum()} | 100.0%, ")


def test_a_model_and_itself_differ_in_nothing(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_trained_on(folder, [], sorted(data.rglob("*.png")))
    main([str(folder), str(folder), "--data", str(data)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "| faces valid | 6 | 0, 0 | 100.0%, 100.0% | 0, 0 | 0.0 | 1.000 |"


def test_what_cannot_be_compared(folder: Path, other: Path, data: Path) -> None:
    pictures = sorted(data.rglob("*.png"))
    record_trained_on(folder, pictures[:3], pictures[3:])
    record_trained_on(other, pictures[3:], pictures[:3])
    with pytest.raises(UsageError, match="no picture validated both"):
        measure_between([folder, other], data)
    with pytest.raises(UsageError, match="other labels"):
        measure_between([folder, "edge-cnn-8"], data)
