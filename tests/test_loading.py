"""Labelled pictures as arrays."""

from __future__ import annotations

import errno
import os
from functools import partial

import numpy as np
import pytest
from PIL import Image

from edge_emotion import DataError, InputError, InputSpec, OutputError, preprocess
from edge_emotion.cli.terminal import LeftOut
from edge_emotion.preprocess import open_picture
from edge_emotion.training.data import read_dataset
from edge_emotion.training.loading import load_pictures, pixel_hash
from edge_emotion.training.samples import Dataset, Sample
from tests import pictures
from tests.datasets import (
    ferplus_files,
    write_class_folders,
    write_ferplus,
    write_ferplus_zip,
    write_picture,
)

SPEC = InputSpec(16, 16, 1)
LABELS = ["angry", "happy", "sad"]


@pytest.fixture
def faces(tmp_path):
    return write_class_folders(
        tmp_path / "faces", [f"{label}/{i}.png" for label in LABELS for i in range(3)]
    )


def test_pictures_come_as_in_prediction(faces):
    """The tensors are `preprocess`'s, also of large JPEGs, which it decodes at a fraction."""
    Image.fromarray(pictures.scene(1600, 1200)).save(faces / "sad" / "large.jpg")
    dataset = read_dataset(faces)
    loaded, dropped = load_pictures(dataset, SPEC)
    assert dropped == {}
    assert loaded.keys == [s.key for s in dataset.samples]
    assert loaded.pixels.shape == (10, 16, 16, 1)
    for sample, tensor in zip(dataset.samples, loaded.pixels, strict=True):
        np.testing.assert_array_equal(tensor, preprocess(sample.read(), SPEC))
    assert [dataset.labels[i] for i in loaded.labels] == [k.split("/")[0] for k in loaded.keys]
    np.testing.assert_array_equal(loaded.targets.argmax(axis=1), loaded.labels)


def test_hashes_do_not_depend_on_the_input_s_size(faces):
    Image.fromarray(pictures.scene(1600, 1200)).save(faces / "sad" / "large.jpg")
    dataset = read_dataset(faces)
    small = load_pictures(dataset, InputSpec(8, 8, 1))[0]
    large = load_pictures(dataset, InputSpec(150, 150, 3))[0]
    np.testing.assert_array_equal(small.hashes, large.hashes)


def test_unreadable_pictures_are_counted_and_told_of_and_the_rest_stays_in_order(faces):
    (faces / "angry" / "1.png").write_bytes(b"no picture")
    (faces / "sad" / "0.png").write_bytes(b"")
    dataset = read_dataset(faces)
    (faces / "happy" / "2.png").unlink()
    told: list[str] = []
    loaded, dropped = load_pictures(dataset, SPEC, warn=told.append)
    assert dropped == {"unreadable": 3}
    assert loaded.keys == [
        "angry/0.png", "angry/2.png", "happy/0.png", "happy/1.png", "sad/1.png", "sad/2.png",
    ]  # fmt: skip
    for key, tensor in zip(loaded.keys, loaded.pixels, strict=True):
        np.testing.assert_array_equal(tensor, preprocess(faces / key, SPEC))
    assert loaded.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert loaded.hashes.tolist() == [pixel_hash(open_picture(faces / k)) for k in loaded.keys]
    assert len(told) == 3
    for line, name in zip(told, ("1.png: not a pic", "2.png: No such file", "0.png: the file is"),
                          strict=True):  # fmt: skip
        assert line.startswith("left out: ")
        assert name in line


def test_perceptual_hashes_stay_with_their_pictures_when_others_are_unreadable(faces):
    pytest.importorskip("imagehash", reason="needs the extra train")
    dataset = read_dataset(faces)
    whole = load_pictures(dataset, SPEC, near=True)[0]
    (faces / "angry" / "1.png").write_bytes(b"no picture")
    (faces / "sad" / "0.png").write_bytes(b"")
    loaded = load_pictures(dataset, SPEC, near=True)[0]
    assert len(loaded) == 7
    rows = [whole.keys.index(key) for key in loaded.keys]
    np.testing.assert_array_equal(loaded.phashes, whole.phashes[rows])
    assert len(np.unique(whole.phashes, axis=0)) == 9


def test_the_publisher_s_splits_stay_with_their_pictures_when_others_are_unreadable(tmp_path):
    names = ("test", "train", "valid")
    files = [f"{split}/{label}/{i}.png" for split in names for label in LABELS for i in range(2)]
    faces = write_class_folders(tmp_path / "faces", files)
    (faces / files[0]).write_bytes(b"no picture")
    loaded, dropped = load_pictures(read_dataset(faces), SPEC)
    assert dropped == {"unreadable": 1}
    assert loaded.keys == files[1:]
    assert loaded.splits == [key.split("/")[0] for key in loaded.keys]


@pytest.mark.parametrize("write", [write_ferplus, partial(write_ferplus_zip, prefix="any/")])
def test_damaged_pictures_of_ferplus_are_named_and_counted_one_by_one(tmp_path, write, capsys):
    damaged = [f"FER2013Train/fer{number:07}.png" for number in (0, 1, 2)]
    files = ferplus_files() | dict.fromkeys(damaged, b"no picture")
    dataset = read_dataset(write(tmp_path / "f", files=files))
    left_out = LeftOut()
    for _ in range(2):  # a second pass tells of the same ones
        _, dropped = load_pictures(dataset, SPEC, warn=left_out)
        assert dropped == {"unreadable": 3}
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {key}: not a picture in a format that pillow reads" for key in damaged
    ]
    with pytest.raises(InputError, match=r"^3 pictures could not be read; the others"):
        left_out.raise_if_any()


def test_no_readable_picture_at_all(faces):
    for path in faces.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="none of 9 pictures could be read"):
        load_pictures(read_dataset(faces), SPEC)


def test_memory_map_holds_what_memory_would(faces, tmp_path):
    (faces / "angry" / "1.png").write_bytes(b"no picture")
    dataset = read_dataset(faces)
    cache = tmp_path / "new" / "pixels.npy"
    mapped, in_memory = (load_pictures(dataset, SPEC, cache=c)[0] for c in (cache, None))
    assert isinstance(mapped.pixels, np.memmap)
    np.testing.assert_array_equal(mapped.pixels, in_memory.pixels)
    np.testing.assert_array_equal(np.load(cache)[: len(mapped)], in_memory.pixels)


def test_memory_map_beyond_what_the_kernel_allows(faces, tmp_path):
    import resource
    import signal

    cache = tmp_path / "pixels.npy"
    dataset = read_dataset(faces)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*pixels\.npy: File too large"):
            load_pictures(dataset, SPEC, cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not cache.exists()


def test_full_disk_is_found_out_before_a_write_to_the_map_kills_the_process(
    faces, tmp_path, monkeypatch
):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    cache = tmp_path / "pixels.npy"
    with pytest.raises(OutputError, match=r"cannot write .*pixels\.npy: No space left on device"):
        load_pictures(read_dataset(faces), SPEC, cache=cache)
    assert not cache.exists()


def test_progress_sees_every_picture(faces):
    seen: list[int] = []

    def progress(items):
        for item in items:
            seen.append(item)
            yield item

    load_pictures(read_dataset(faces), SPEC, progress=progress)
    assert seen == list(range(9))


def test_soft_targets_are_kept(tmp_path):
    path = write_picture(tmp_path / "a.png", 1)
    sample = Sample("a", (0.25, 0.75, 0.0), "valid", lambda: path)
    dataset = Dataset("made", "FER+", "", "", LABELS, [sample])
    loaded = load_pictures(dataset, SPEC)[0]
    assert loaded.targets.tolist() == [[0.25, 0.75, 0.0]]
    assert (loaded.labels.tolist(), loaded.splits) == ([1], ["valid"])
