"""Which pictures calibrate and which check an export."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edge_emotion.artefacts import TrainedOn
from edge_emotion.card import CALIBRATION_NAME, FaceCrop
from edge_emotion.exporters.pictures import calibration_from, card_pictures, check_from, load_sides
from edge_emotion.files import write_bytes
from edge_emotion.training.data import CROPS_NAME, CropRecord, read_dataset
from edge_emotion.training.loading import PHOTOGRAPH, load_pictures
from tests import tiny


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A publisher's train and test; angry is twice as common."""
    rng = np.random.default_rng(0)
    for part, counts in (("train", (40, 20, 20)), ("test", (4, 4, 4))):
        for label, count in zip(tiny.LABELS, counts, strict=True):
            (tmp_path / "d" / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "d" / part / label / f"{i}.png")
    return tmp_path / "d"


def test_training_pictures_calibrate_and_unseen_test_pictures_check(split: Path) -> None:
    card = tiny.make_card()
    loaded = load_pictures(read_dataset(split), card.input)[0]
    part = np.array(loaded.splits)
    train, test = np.flatnonzero(part == "train"), np.flatnonzero(part == "test")
    # Of test two were trained on, of train every tenth validated.
    learnt = np.union1d(np.setdiff1d(train, train[::10]), test[:2])
    known = TrainedOn(loaded.hashes[learnt], loaded.hashes[train[::10]])
    sides = load_sides(split, card, known)
    assert sides.train.tolist() == learnt.tolist()
    assert sides.held_out.tolist() == test[2:].tolist()
    check = check_from(sides)
    assert check is not None
    np.testing.assert_array_equal(check.pixels, loaded.pixels[test[2:]])
    assert check.labels is not None
    assert check.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]  # four of each, less two
    unrecorded = load_sides(split, card, None)
    assert (unrecorded.train.tolist(), unrecorded.held_out.tolist()) == (
        train.tolist(),
        test.tolist(),
    )

    rows = {pixels.tobytes(): i for i, pixels in enumerate(loaded.pixels)}
    drawn, again, other = (
        [rows[p.tobytes()] for p in calibration_from(sides, 48, seed).pixels] for seed in (1, 1, 2)
    )
    assert set(drawn) <= set(learnt.tolist())
    assert len(set(drawn)) == 48
    assert np.bincount(loaded.labels[drawn]).tolist() == [16, 16, 16]
    assert drawn == again != other


def test_a_folder_s_own_pictures_calibrate_or_check(tmp_path: Path) -> None:
    one, other = (np.full((4, 8, 8, 1), value, np.uint8) for value in (1, 2))
    np.savez(tmp_path / CALIBRATION_NAME, calibration=one, check=other, seed=1)
    found = card_pictures(tmp_path, tiny.make_card())
    assert found is not None
    assert (found[0].pixels == 1).all()
    assert (found[1].pixels == 2).all()


def test_crops_of_photographs_that_a_model_does_not_record_are_told(tmp_path: Path) -> None:
    card = tiny.make_card()
    for label in tiny.LABELS:
        (tmp_path / "cuts" / label).mkdir(parents=True)
        record = PngInfo()
        record.add_text(PHOTOGRAPH, "2a")
        Image.new("L", (8, 8), len(label)).save(tmp_path / "cuts" / label / "a.png", pnginfo=record)
    crops = CropRecord(1.0, FaceCrop(), "yunet", 3, 0)
    write_bytes(tmp_path / "cuts" / CROPS_NAME, msgspec.json.encode(crops))
    for photographs in False, True:
        known = TrainedOn(np.array([7], np.uint64), np.array([8], np.uint64), photographs)
        lines: list[str] = []
        load_sides(tmp_path / "cuts", card, known, log=lines.append)
        said = [line for line in lines if "tiny does not record the photographs" in line]
        assert len(said) == (not photographs)
