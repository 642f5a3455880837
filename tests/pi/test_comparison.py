from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .comparison import NotComparableError, bits_table, compare
from .pictures import GENERATED, write_pictures


def golden(recipe: str = "onnx-int8", **changes: np.ndarray) -> dict[str, np.ndarray]:
    key = f"tiny/{recipe}"
    arrays = {
        "decoded": np.array(["a" * 64, "b" * 64]),
        "pixels/tiny": np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1),
        f"logits/{key}": np.array([[1.0, 2.0], [4.0, 3.0]], np.float32),
        f"answers/{key}": np.array(["sad", "angry"]),
        f"sha256/{key}": np.array("c" * 64),
    }
    return {**arrays, **{name.replace("__", f"/{key}"): value for name, value in changes.items()}}


def nudged(by: float) -> np.ndarray:
    return np.array([[1.0, 2.0], [4.0, 3.0 + by]], np.float32)


def test_the_same_is_good() -> None:
    (row,) = compare("Pi", golden(), golden())
    assert row.good
    assert (row.bits, row.difference, row.pictures) == (True, 0.0, 2)
    assert "bit-identical" in bits_table([row])


def test_int8_of_integers_alone_must_be_the_same_bits() -> None:
    (row,) = compare("Pi", golden("tflite-int8"), golden("tflite-int8", logits__=nudged(1e-6)))
    assert not row.good
    assert "OTHER BITS" in bits_table([row])


@pytest.mark.parametrize(
    ("by", "good", "word"), [(1.0, True, "a level off in 1"), (2.0, False, "TOO FAR")]
)
def test_int8_that_is_scaled_in_float_may_be_a_level_off(by: float, good: bool, word: str) -> None:
    (row,) = compare("Pi", golden(), golden(logits__=nudged(by)))
    assert row.good is good
    assert word in bits_table([row])


@pytest.mark.parametrize(("by", "good", "word"), [(5e-6, True, "close"), (3e-5, False, "TOO FAR")])
def test_float_may_differ_a_little(by: float, good: bool, word: str) -> None:
    (row,) = compare("Pi", golden("onnx-f32"), golden("onnx-f32", logits__=nudged(by)))
    assert row.good is good
    assert word in bits_table([row])


def test_no_number_is_never_close() -> None:
    (row,) = compare("Pi", golden("onnx-f32"), golden("onnx-f32", logits__=nudged(np.nan)))
    assert not row.good


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"decoded": np.array(["a" * 64, "c" * 64])}, "decoded"),
        ({"pixels/tiny": np.ones((2, 2, 2, 1), np.uint8)}, "pixels"),
        ({"answers__": np.array(["sad", "sad"])}, "labels"),
    ],
)
def test_pictures_pixels_and_labels_must_be_the_same(change: dict[str, Any], column: str) -> None:
    (row,) = compare("Pi", golden(), golden(**change))
    assert not row.good
    assert getattr(row, column) is False
    assert "DIFFERENT" in bits_table([row])


@pytest.mark.parametrize(
    "there",
    [
        golden("onnx-f32"),  # another set of exports
        golden(sha256__=np.array("d" * 64)),  # another file
        golden(logits__=np.zeros((1, 2), np.float32)),  # a picture less
        {"decoded": np.array(["a"])},  # no export
    ],
)
def test_other_files_are_not_compared(there: dict[str, np.ndarray]) -> None:
    with pytest.raises(NotComparableError, match=r"^Pi: "):
        compare("Pi", golden(), there)


def test_fifty_generated_pictures_and_the_synthetic_ones(tmp_path: Path) -> None:
    assert write_pictures(tmp_path / "a") == GENERATED == 50
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "faces" / "happy" / f"{i}.jpg").write_bytes(b"as it is")
    assert write_pictures(tmp_path / "b", tmp_path / "faces") == 53
    assert (tmp_path / "b" / "synthetic-1").read_bytes() == b"as it is"
    same = [p.name for p in (tmp_path / "a").iterdir()]
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in same)
