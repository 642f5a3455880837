from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edge_emotion.benchmarks.accuracy import (
    judge,
    labelled_pictures,
    run_subjects,
    unlabelled_pictures,
)
from edge_emotion.benchmarks.schema import Data
from edge_emotion.benchmarks.subjects import Subject
from edge_emotion.benchmarks.worker import LogitsRequest
from edge_emotion.card import CALIBRATION_NAME, TRAINED_ON_NAME, FaceCrop, ModelCard
from edge_emotion.errors import CheckError, DataError, ModelError, UnknownNameError, UsageError
from edge_emotion.files import write_bytes
from edge_emotion.training.data import CROPS_NAME, CropRecord
from edge_emotion.training.loading import PHOTOGRAPH
from tests import tiny
from tests.tiny import make_card

from .conftest import record_trained_on

SUBJECTS = [Subject(r, Path(f"{r}.bin"), None) for r in ("onnx-f32", "onnx-int8")]


def test_all_pictures_count_if_the_model_saw_none(folder: Path, data: Path, tmp_path: Path) -> None:
    record_trained_on(folder, [])
    found = labelled_pictures(data, make_card(), folder, tmp_path)
    assert found.data == Data("labelled", "faces", 6, "held-out", {}, 0, trained_on_known=True)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.load(found.pixels)[:, 0, 0, 0].tolist() == [128, 128, 250, 250, 20, 20]


def test_of_crops_the_models_see_the_face_without_its_surroundings(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    record_trained_on(folder, [])
    record = CropRecord(1.5, FaceCrop(), "yunet", 6, 0, 0)
    (data / CROPS_NAME).write_bytes(msgspec.json.encode(record))
    found = labelled_pictures(data, make_card(), folder, tmp_path)
    pixels = np.load(found.pixels)
    assert pixels.shape == (6, *make_card().input.shape)
    assert pixels[:, 0, 0, 0].tolist() == [128, 128, 250, 250, 20, 20]


def test_pictures_trained_on_are_left_out_and_counted(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    record_trained_on(folder, [data / "happy" / "0.png", data / "sad" / "1.png"])
    found = labelled_pictures(data, make_card(), folder, tmp_path)
    assert (found.data.samples, found.data.trained_on) == (4, 2)
    assert found.data.protocol == "held-out"
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 2]


def test_kept_training_pictures_make_it_a_training_set_figure(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    record_trained_on(folder, [data / "happy" / "0.png"])
    found = labelled_pictures(data, make_card(), folder, tmp_path, include_training=True)
    assert (found.data.samples, found.data.trained_on) == (6, 1)
    assert found.data.protocol == "training-set"


def test_validation_pictures_are_those_that_the_model_recorded(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    validated = [data / "happy" / "1.png", data / "sad" / "1.png"]
    record_trained_on(folder, [data / "happy" / "0.png"], validated)
    found = labelled_pictures(data, make_card(), folder, tmp_path, validation=True)
    reason = "not among the model's validation pictures"
    assert found.data == Data(
        "labelled", "faces valid", 2, "held-out", {reason: 4}, 0, trained_on_known=True
    )
    assert found.labels is not None
    assert found.labels.tolist() == [1, 2]


def test_what_validated_first_and_trained_later_validates_no_more(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    both = data / "happy" / "1.png"
    record_trained_on(folder, [both], [both, data / "sad" / "1.png"])
    found = labelled_pictures(data, make_card(), folder, tmp_path, validation=True)
    assert found.labels is not None
    assert found.labels.tolist() == [2]


def test_a_model_that_was_validated_on_other_pictures_says_so(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="does not record which pictures it was validated on"):
        labelled_pictures(data, make_card(), folder, tmp_path, validation=True)
    record_trained_on(folder, [data / "happy" / "0.png"])
    with pytest.raises(DataError, match="was validated on none of its pictures"):
        labelled_pictures(data, make_card(), folder, tmp_path, validation=True)


def test_another_cut_of_a_photograph_is_no_new_picture(folder: Path, tmp_path: Path) -> None:
    """Crops of another size or context have other pixels; they record what they were cut from."""
    cuts = tmp_path / "cuts"
    for shade, label in tiny.SHADES.items():
        (cuts / label).mkdir(parents=True)
        record = PngInfo()
        record.add_text(PHOTOGRAPH, f"{1000 + shade:x}")
        Image.new("RGB", (24, 24), (shade, shade, shade)).save(
            cuts / label / "a.png", pnginfo=record
        )
    write_bytes(cuts / CROPS_NAME, msgspec.json.encode(CropRecord(1.5, FaceCrop(), "yunet", 3, 0)))
    shades = list(tiny.SHADES)
    known = np.array([1000 + shades[0], 1000 + shades[1]], np.uint64)
    np.savez(folder / TRAINED_ON_NAME, hashes=known, train=1, photographs=True)
    found = labelled_pictures(cuts, make_card(), folder, tmp_path)
    assert (found.data.samples, found.data.trained_on) == (1, 2)
    assert found.data.trained_on_known
    np.savez(folder / TRAINED_ON_NAME, hashes=known, train=1)  # of an older training
    assert not labelled_pictures(cuts, make_card(), folder, tmp_path).data.trained_on_known
    valid = labelled_pictures(cuts, make_card(), folder, tmp_path, validation=True)
    assert valid.data.samples == 1


def test_keeping_them_where_there_are_none_changes_nothing(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    record_trained_on(folder, [])
    found = labelled_pictures(data, make_card(), folder, tmp_path, include_training=True)
    assert found.data.protocol == "held-out"


def test_a_model_trained_on_everything_has_nothing_to_show(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    record_trained_on(folder, sorted(data.rglob("*.png")))
    with pytest.raises(DataError, match="trained on all of its 6 pictures"):
        labelled_pictures(data, make_card(), folder, tmp_path)


def test_without_a_record_it_is_not_known(folder: Path, data: Path, tmp_path: Path) -> None:
    assert not labelled_pictures(data, make_card(), folder, tmp_path).data.trained_on_known
    assert not labelled_pictures(data, make_card(), None, tmp_path).data.trained_on_known


def test_only_the_publishers_test_split_counts(folder: Path, data: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    for name in ("train", "test"):
        shutil.copytree(data, split / name)
    found = labelled_pictures(split, make_card(), folder, tmp_path)
    assert (found.data.name, found.data.samples) == ("split test", 6)
    assert found.data.left_out == {"not in the publisher's test split": 6}


def test_a_damaged_picture_is_left_out_and_told_of(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    (data / "happy" / "0.png").write_bytes(b"no picture")
    told: list[str] = []
    found = labelled_pictures(data, make_card(), folder, tmp_path, warn=told.append)
    assert (found.data.samples, found.data.left_out) == (5, {"unreadable": 1})
    assert len(told) == 1


def test_data_may_lack_a_label_of_the_model_and_not_all_but_one(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    card = make_card(labels=["angry", "fear", "happy"])
    found = labelled_pictures(data, card, folder, tmp_path)
    assert found.labels is not None
    assert sorted(set(found.labels)) == [0, 2]
    card = make_card(labels=["angry", "disgust", "fear"])
    with pytest.raises(UnknownNameError, match="unknown label 'disgust'"):
        labelled_pictures(data, card, folder, tmp_path)


def test_the_models_own_pictures_are_those_that_did_not_calibrate(
    folder: Path, tmp_path: Path
) -> None:
    found = unlabelled_pictures(ModelCard.read(folder), folder, tmp_path)
    assert found is not None
    assert (found.data.kind, found.data.samples, found.labels) == ("unlabelled", 12, None)
    with np.load(folder / CALIBRATION_NAME) as file:
        assert np.array_equal(np.load(found.pixels), file["check"])


def test_a_file_alone_has_no_pictures(tmp_path: Path) -> None:
    assert unlabelled_pictures(make_card(), None, tmp_path) is None


def write_logits(request: LogitsRequest, limit: float) -> None:
    """Right on all six; "int8" takes the last sad one for a happy one."""
    logits = 4 * np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    if "int8" in request.path:
        logits[-1] = [0, 4, 0]
    np.save(request.out, logits)


def test_figures_are_those_of_the_rows_that_count(folder: Path, data: Path, tmp_path: Path) -> None:
    record_trained_on(folder, [data / "angry" / "0.png", data / "angry" / "1.png"])
    pictures = labelled_pictures(data, make_card(), folder, tmp_path)
    logits, errors = run_subjects(SUBJECTS, pictures, run=write_logits)
    reference, measured = judge(logits, pictures, make_card())
    assert (reference, errors) == ("onnx-f32", {})
    assert measured["onnx-f32"].agreement is None
    int8 = measured["onnx-int8"]
    assert int8.evaluation is not None
    assert int8.agreement is not None
    assert int8.evaluation.accuracy == 0.75
    assert int8.evaluation.confusion == [[0, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert int8.agreement.label_agreement == 0.75
    assert int8.agreement.accuracy_drop == 0.25
    assert int8.agreement.mcnemar_p == 1.0
    assert sum(b.pictures for b in int8.reliability) == 4
    sure = np.exp(4 / 2)  # the card's temperature
    assert measured["onnx-f32"].evaluation is not None
    assert measured["onnx-f32"].evaluation.ece == pytest.approx(2 / (sure + 2))
    assert int8.agreement.max_probability_difference == pytest.approx((sure - 1) / (sure + 2))


def test_the_next_float_model_is_the_reference_if_one_fails(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    def run(request: LogitsRequest, limit: float) -> None:
        if "keras" in request.path:
            raise CheckError("model.keras: crashed")
        write_logits(request, limit)

    subjects = [Subject("keras", Path("keras.bin"), None), *SUBJECTS]
    pictures = labelled_pictures(data, make_card(), folder, tmp_path)
    logits, errors = run_subjects(subjects, pictures, run=run)
    assert judge(logits, pictures, make_card())[0] == "onnx-f32"
    assert list(errors) == ["keras"]


def test_int8_alone_has_no_reference(folder: Path, data: Path, tmp_path: Path) -> None:
    pictures = labelled_pictures(data, make_card(), folder, tmp_path)
    logits, _ = run_subjects(SUBJECTS[1:], pictures, run=write_logits)
    reference, measured = judge(logits, pictures, make_card())
    assert reference is None
    assert measured["onnx-int8"].agreement is None


def test_damaged_calibration_pictures_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / CALIBRATION_NAME).write_bytes(b"PK")
    with pytest.raises(ModelError, match="damaged"):
        unlabelled_pictures(ModelCard.read(folder), folder, tmp_path)
