"""Labelled pictures in the layouts that users have: class folders. FER+ is in test_ferplus."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter

import pytest

from edge_emotion import DataError, UnknownNameError, UsageError
from edge_emotion.preprocess import open_picture
from edge_emotion.training.data import read_dataset, read_dataset_for
from edge_emotion.training.samples import canonical
from tests.datasets import close_folder, write_class_folders, write_picture

FILES = ["Angry/a.jpg", "Angry/b.PNG", "Happy/c.jpeg", "Happy/deep/er/d.png", "Sad/e.jpg"]


@pytest.fixture
def folder(tmp_path):
    return write_class_folders(tmp_path / "faces", FILES)


def by_label(dataset) -> Counter[str]:
    return Counter(dataset.labels[s.label] for s in dataset.samples)


def test_class_folders(folder):
    dataset = read_dataset(folder)
    assert dataset.labels == ["Angry", "Happy", "Sad"]
    assert [s.key for s in dataset.samples] == FILES
    assert by_label(dataset) == {"Angry": 2, "Happy": 2, "Sad": 1}
    assert {s.split for s in dataset.samples} == {None}
    assert not dataset.has_split
    assert (dataset.name, dataset.layout) == ("faces", "class folders")
    assert dataset.samples[2].target == (0.0, 1.0, 0.0)
    assert open_picture(dataset.samples[3].read()).size == (48, 48)


def test_labels_are_chosen_and_ordered_as_asked(folder):
    dataset = read_dataset(folder, ["sad", "ANGRY"])
    assert dataset.labels == ["sad", "ANGRY"]
    assert by_label(dataset) == {"sad": 1, "ANGRY": 2}
    assert dataset.dropped == {"a label that was not asked for": 2}


@pytest.mark.parametrize("typed", ["happiness", "Happyness", " HAPPY ", "happy"])
def test_other_names_of_a_label_find_it(folder, typed):
    dataset = read_dataset(folder, [typed, "sadness", "anger"])
    assert dataset.labels == [typed.strip(), "sadness", "anger"]
    assert by_label(dataset)[typed.strip()] == 2


def test_unknown_label_suggests_the_nearest(folder):
    with pytest.raises(UnknownNameError, match=r"unknown label 'hapy': did you mean 'Happy'\?"):
        read_dataset(folder, ["hapy", "sad"])


@pytest.mark.parametrize("labels", [["happy", "sad", "Happiness"], ["happy"], []])
def test_a_label_twice_or_too_few(folder, labels):
    with pytest.raises(UsageError, match=r"named twice|two labels or more"):
        read_dataset(folder, labels)


def test_a_folder_that_cannot_be_listed_is_an_error_unless_hidden(folder, monkeypatch):
    for name in ("Angry/later", "Angry/.trash"):
        (folder / name).mkdir()
        close_folder(monkeypatch, folder / name)
        if ".trash" in name:
            assert read_dataset(folder).samples
        else:
            with pytest.raises(DataError, match="later: Permission denied"):
                read_dataset(folder)
        monkeypatch.undo()


def test_hidden_files_and_folders_are_no_pictures(folder):
    for name in (
        "Angry/.hidden.jpg", "Angry/._b.png", "Angry/.thumbnails/a.jpg", "Sad/__MACOSX/x/e.jpg",
        ".git/objects/x.jpg", "__pycache__/y.jpg",
    ):  # fmt: skip
        write_picture(folder / name, 99)
    dataset = read_dataset(folder)
    assert [s.key for s in dataset.samples] == FILES
    assert dataset.labels == ["Angry", "Happy", "Sad"]


def test_files_that_are_no_pictures_by_their_ending_are_counted(folder):
    for name in ("Angry/Thumbs.db", "Angry/notes.txt", "Happy/video.mp4", "Sad/no_ending"):
        (folder / name).write_bytes(b"x")
    (folder / "README.md").write_text("beside the classes")
    dataset = read_dataset(folder)
    assert [s.key for s in dataset.samples] == FILES
    assert dataset.dropped == {"not a picture by its ending": 4}


def test_a_picture_by_its_ending_is_listed_even_if_it_is_none(folder):
    (folder / "Sad" / "broken.jpg").write_bytes(b"no picture")
    assert len(read_dataset(folder).samples) == len(FILES) + 1


def test_names_in_any_script(tmp_path):
    files = ["Fröhlich/Gesicht 1.png", "悲しい/顔.png", "Fröhlich/😀.png"]
    dataset = read_dataset(write_class_folders(tmp_path / "Gesichter", files))
    assert dataset.labels == ["Fröhlich", "悲しい"]
    assert {s.key for s in dataset.samples} == set(files)
    composed = read_dataset(tmp_path / "Gesichter", ["fröhlich", "悲しい"])
    decomposed = unicodedata.normalize("NFD", "fröhlich")
    assert decomposed != "fröhlich"
    also = read_dataset(tmp_path / "Gesichter", [decomposed, "悲しい"])
    assert [s.target for s in also.samples] == [s.target for s in composed.samples]


def test_a_class_without_pictures_stays_a_label(folder):
    (folder / "Fear").mkdir()
    dataset = read_dataset(folder)
    assert dataset.labels == ["Angry", "Fear", "Happy", "Sad"]
    assert by_label(dataset)["Fear"] == 0


def test_order_does_not_depend_on_the_file_system(tmp_path):
    one = write_class_folders(tmp_path / "one", FILES)
    other = write_class_folders(tmp_path / "other", reversed(FILES))
    keys = [[s.key for s in read_dataset(root).samples] for root in (one, other)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "test"), ("train", "test")),
        (("Training", "Validation", "Testing"), ("train", "valid", "test")),
        (("train", "val", "valid"), ("train", "valid", "valid")),
    ],
)
def test_split_folders_are_the_publisher_s_split(tmp_path, folders, splits):
    files = [f"{f}/{label}/{f}.png" for f in folders for label in ("Happy", "Sad")]
    dataset = read_dataset(write_class_folders(tmp_path, files))
    assert dataset.labels == ["Happy", "Sad"]
    found = {s.key: s.split for s in dataset.samples}
    assert found == {
        f"{f}/{label}/{f}.png": split
        for f, split in zip(folders, splits, strict=True)
        for label in ("Happy", "Sad")
    }
    assert dataset.has_split == ("test" in splits)


def test_a_split_that_lacks_a_class(tmp_path):
    files = ["train/Happy/a.png", "train/Sad/b.png", "test/Sad/c.png"]
    dataset = read_dataset(write_class_folders(tmp_path, files))
    assert dataset.labels == ["Happy", "Sad"]


def test_a_stray_folder_beside_a_split_does_not_turn_splits_into_labels(tmp_path):
    files = ["train/Happy/a.png", "train/Sad/b.png", "test/Sad/c.png", "extra/Sad/d.png"]
    with pytest.raises(DataError, match="extra beside test, train: neither a split nor a label"):
        read_dataset(write_class_folders(tmp_path, files))


def test_labels_may_be_called_like_splits_if_there_are_only_pictures_below(tmp_path):
    dataset = read_dataset(write_class_folders(tmp_path, ["test/a.png", "train/b.png"]))
    assert dataset.labels == ["test", "train"]


@pytest.mark.parametrize("other", ["happy", "Happiness", "HAPPY "])
def test_two_folders_of_one_label_are_not_two_labels(folder, other):
    write_picture(folder / other / "x.png", 1)
    with pytest.raises(DataError, match="name one label: rename one"):
        read_dataset(folder)


def test_one_folder_only_is_no_data_set(tmp_path):
    write_picture(tmp_path / "Happy" / "a.png", 1)
    with pytest.raises(DataError, match=r"a sub-folder of pictures for each label \(found 1\)"):
        read_dataset(tmp_path)


def test_folders_without_pictures(tmp_path):
    for name in ("Happy", "Sad"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="no pictures with the labels Happy, Sad"):
        read_dataset(tmp_path)


def test_a_path_that_is_not_there_or_no_data_set(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read_dataset(tmp_path / "missing")
    with pytest.raises(DataError, match=r"found 0"):
        read_dataset(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("x")
    with pytest.raises(DataError, match="not a zip, a csv or a folder"):
        read_dataset(text)


def test_what_the_system_refuses_to_read_is_an_input_that_cannot_be_read(tmp_path):
    name = "x" * 300
    with pytest.raises(DataError, match=f"{name}: File name too long"):
        read_dataset(tmp_path / name)
    memory = tmp_path / "fer2013.csv"
    memory.symlink_to("/proc/self/mem")  # opens, and cannot be read from its beginning
    with pytest.raises(DataError, match="Input/output error"):
        read_dataset(memory)


@pytest.mark.parametrize("name", [b"data/fr\xf6hlich", b"d\xf6ta/happy"])
def test_names_that_no_card_can_hold_are_found_before_the_training(tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    write_class_folders(folder.parent, [f"{folder.name}/a.png", "sad/b.png"])
    with pytest.raises(DataError, match=r"\\udcf6.* is not UTF-8: rename the folder"):
        read_dataset(folder.parent)


def test_a_link_to_a_folder_is_a_folder_and_a_dangling_one_is_nothing(folder, tmp_path):
    (tmp_path / "linked").mkdir()
    for name in ("Angry", "Happy"):
        (tmp_path / "linked" / name).symlink_to(folder / name)
    (tmp_path / "linked" / "Sad").symlink_to(folder / "missing")
    dataset = read_dataset(tmp_path / "linked")
    assert by_label(dataset) == {"Angry": 2, "Happy": 2}


def test_canonical_names():
    assert {canonical(n) for n in ("Happiness", "HAPPY", " happy")} == {"happy"}
    assert canonical("Contempt") == "contempt"


def test_a_model_reads_data_that_lack_some_of_its_labels(tmp_path):
    root = write_class_folders(tmp_path / "d", ["Sad/1.png", "Happy/1.png", "Happy/2.png"])
    dataset = read_dataset_for(root, ["angry", "happy", "neutral", "sad"])
    assert dataset.labels == ["angry", "happy", "neutral", "sad"]
    assert [(s.key, s.target) for s in dataset.samples] == [
        ("Happy/1.png", (0.0, 1.0, 0.0, 0.0)), ("Happy/2.png", (0.0, 1.0, 0.0, 0.0)),
        ("Sad/1.png", (0.0, 0.0, 0.0, 1.0)),
    ]  # fmt: skip
    assert read_dataset_for(root, ["sad", "happy"]).samples[0].target == (0.0, 1.0)
    with pytest.raises(UnknownNameError, match="unknown label 'fear'"):
        read_dataset_for(root, ["fear", "happy", "neutral"])
