"""A model folder to measure, and pictures of which it was trained on some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_emotion.card import CALIBRATION_NAME, TRAINED_ON_NAME, Agreement, ModelCard
from edge_emotion.preprocess import open_picture
from edge_emotion.training.loading import pixel_hash
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """onnx-f32 and onnx-int8, which are the same network, and no Keras file."""
    folder = tiny.write_model_folder(tmp_path / "tiny", ("onnx-f32", "onnx-int8"))
    card = ModelCard.read(folder)
    export = card.export("onnx-int8")
    assert export is not None
    checked = Agreement("made pictures", 9, 1.0, 0.0, 0.0, 0.0, 0.9, 0.8, 0.1)
    card.with_export(replace(export, agreement=checked)).write(folder)
    pictures = np.random.default_rng(1).integers(0, 256, (16, *card.input.shape), dtype=np.uint8)
    np.savez(folder / CALIBRATION_NAME, calibration=pictures[:4], check=pictures[4:], seed=1)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures of each label, each of a shade that the network knows, larger than its input."""
    root = tmp_path / "faces"
    for shade, label in tiny.SHADES.items():
        (root / label).mkdir(parents=True)
        for i in range(2):
            picture = Image.new("RGB", (24 + i, 24), (shade, shade, shade))
            picture.save(root / label / f"{i}.png")
    return root


def record_trained_on(
    folder: Path, pictures: list[Path], valid: Sequence[Path] = (), *, photographs: bool = False
) -> None:
    """Say in a model folder that it was trained on these, and validated on those."""
    hashes = np.array([pixel_hash(open_picture(p)) for p in [*pictures, *valid]], np.uint64)
    record = {"photographs": True} if photographs else {}  # once there was no such entry
    np.savez(folder / TRAINED_ON_NAME, hashes=hashes, train=len(pictures), **record)
