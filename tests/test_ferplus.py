"""FER+ in its official layout, and the FER2013 csv alone and joined to FER+'s votes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edge_emotion import DataError, InputSpec, UnknownNameError
from edge_emotion.preprocess import open_picture
from edge_emotion.training.data import read_dataset
from edge_emotion.training.fer import FERPLUS_VOTES
from edge_emotion.training.loading import load_pictures
from tests.datasets import (
    FERPLUS,
    USAGE,
    ferplus_files,
    noise,
    write_fer2013,
    write_ferplus,
    write_ferplus_zip,
    write_votes,
)

THREE = ["angry", "happy", "sad"]
USAGES = [USAGE[folder] for folder, rows in FERPLUS.items() for _ in rows]
VOTES = [row for rows in FERPLUS.values() for row in rows]


@pytest.fixture(params=["folder", "folder below", "zip", "zip below", "csv"])
def ferplus(request, tmp_path):
    """The same pictures and votes in each of the forms in which people have them."""
    if request.param == "folder":
        return write_ferplus(tmp_path)
    if request.param == "folder below":
        write_ferplus(tmp_path / "ferplus")
        return tmp_path
    if request.param == "csv":
        write_votes(tmp_path / "fer2013new.csv", USAGES, VOTES)
        return write_fer2013(tmp_path / "fer2013.csv", [6] * len(USAGES), USAGES)
    prefix = "data/ferplus/" if request.param == "zip below" else ""
    return write_ferplus_zip(tmp_path / "any name.zip", prefix)


def test_votes_become_soft_targets(ferplus):
    dataset = read_dataset(ferplus, THREE)
    assert dataset.name == "FER+"
    assert dataset.has_split
    found = [(s.split, s.target) for s in dataset.samples]
    assert found == [
        ("train", (0.0, 1.0, 0.0)),
        ("train", (pytest.approx(1 / 3), 0.0, pytest.approx(2 / 3))),
        ("train", (1.0, 0.0, 0.0)),
        ("valid", (0.4, 0.6, 0.0)),
        ("test", (1.0, 0.0, 0.0)),
        ("test", (0.0, 0.0, 1.0)),
    ]
    assert dataset.dropped == {
        "votes are tied": 2,  # one of them: nobody voted
        "a label that was not asked for": 3,  # unknown, no face, neutral
        "no majority of the votes, in valid": 1,
        "no majority of the votes, in test": 1,
    }


def test_all_eight_labels_without_a_choice(ferplus):
    dataset = read_dataset(ferplus)
    assert dataset.labels == list(FERPLUS_VOTES[:8])
    assert Counter(dataset.labels[s.label] for s in dataset.samples) == {
        "happy": 2, "sad": 2, "angry": 2, "neutral": 1,
    }  # fmt: skip
    assert dataset.samples[2].target == (0.3, 0, 0, 0, 0.4, 0, 0.3, 0)


def test_pictures_are_those_of_the_rows(ferplus):
    dataset = read_dataset(ferplus, THREE)
    seeds = [0, 1, 2, 8, 10, 12]
    for sample, seed in zip(dataset.samples, seeds, strict=True):
        pixels = np.asarray(open_picture(sample.read()))[:, :, 0]
        np.testing.assert_array_equal(pixels, noise(seed))


def test_official_names_of_the_labels_find_them(ferplus):
    dataset = read_dataset(ferplus, ["anger", "happiness", "sadness"])
    assert dataset.labels == ["anger", "happiness", "sadness"]
    assert len(dataset.samples) == 6
    with pytest.raises(UnknownNameError, match="did you mean 'contempt'"):
        read_dataset(ferplus, ["happy", "contemt"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("fer1.png,(0 0 48 48)", "expected ten counts"),
        ("fer1.png,(0 0 48 48),1,2,3,4,5,6,7,8,9", "expected ten counts"),
        ('fer1.png,"(0, 0, 48)",1,2,3,4,5,6,7,8,9,0', "expected a box"),
        ("fer1.png,(0 0 48 48),1,2,3,x,5,6,7,8,9,0", "invalid literal"),
        ("fer1.png,(0 0 48 48),1,2,3,-4,5,6,7,8,9,0", "expected ten counts"),
        ("fer1.png", "expected ten counts"),
    ],
)
def test_malformed_row_is_named_by_its_line(tmp_path, row, words):
    files = ferplus_files()
    files["FER2013Test/label.csv"] += row.encode() + b"\n"
    for path in (
        write_ferplus(tmp_path / "folder", files), write_ferplus_zip(tmp_path / "a.zip", "", files)
    ):  # fmt: skip
        with pytest.raises(
            DataError, match=r"FER2013Test/label\.csv line 4: not FER\+: "
        ) as caught:
            read_dataset(path)
        assert words in str(caught.value)


def test_what_editors_do_to_a_csv_is_harmless(tmp_path):
    files = ferplus_files()
    text = files["FER2013Train/label.csv"].decode()
    files["FER2013Train/label.csv"] = ("\ufeff" + text.replace("\n", "\r\n") + "\r\n\r\n").encode()
    dataset = read_dataset(write_ferplus(tmp_path, files), THREE)
    loaded, dropped = load_pictures(dataset, InputSpec(8, 8, 1))
    assert (len(loaded), dropped) == (6, {})


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b'"never closed\n' * 20_000])
def test_labels_that_are_no_csv(tmp_path, data):
    files = ferplus_files() | {"FER2013Valid/label.csv": data}
    with pytest.raises(DataError, match=r"FER2013Valid/label\.csv line"):
        read_dataset(write_ferplus(tmp_path, files))


def test_a_part_that_is_missing_is_not_needed(tmp_path):
    files = {k: v for k, v in ferplus_files().items() if not k.startswith("FER2013Test")}
    dataset = read_dataset(write_ferplus(tmp_path, files), THREE)
    assert {s.split for s in dataset.samples} == {"train", "valid"}
    assert not dataset.has_split


def test_a_zip_of_something_else(tmp_path):
    path = write_ferplus_zip(tmp_path / "a.zip", "", {"Happy/a.png": b"", "Sad/b.png": b""})
    with pytest.raises(DataError, match=r"no FER2013Train\|Valid\|Test/label\.csv inside"):
        read_dataset(path)


def test_a_zip_with_a_damaged_directory(tmp_path):
    path = write_ferplus_zip(tmp_path / "a.zip", "")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99  # the version that is needed to extract
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip: not a zip.*version 9\.9"):
        read_dataset(path)


def test_missing_and_damaged_pictures_are_left_out_and_counted(tmp_path):
    files = ferplus_files()
    del files["FER2013Train/fer0000000.png"]
    path = write_ferplus_zip(tmp_path / "a.zip", "", files)
    data = bytearray(path.read_bytes())
    place = data.index(files["FER2013Train/fer0000001.png"]) + 200
    data[place] ^= 255  # the zip's checksum no longer fits
    path.write_bytes(data)
    write_ferplus(tmp_path / "folder", files)
    for root, missing in ((path, 2), (tmp_path / "folder", 1)):
        told: list[str] = []
        loaded, dropped = load_pictures(
            read_dataset(root, THREE), InputSpec(8, 8, 1), warn=told.append
        )
        assert (dropped, len(told), len(loaded)) == ({"unreadable": missing}, missing, 6 - missing)
        assert "fer0000000.png" in told[0]


# FER2013 csv

EMOTIONS = [0, 1, 2, 3, 4, 5, 6, 3]
PARTS = ["Training"] * 4 + ["PublicTest"] * 2 + ["PrivateTest"] * 2


def test_fer2013_alone(tmp_path):
    dataset = read_dataset(write_fer2013(tmp_path / "fer2013.csv", EMOTIONS, PARTS))
    assert dataset.name == "FER2013"
    assert [dataset.labels[s.label] for s in dataset.samples] == [
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "happy",
    ]  # fmt: skip
    assert [s.split for s in dataset.samples] == ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    np.testing.assert_array_equal(dataset.samples[5].read(), noise(5))
    chosen = read_dataset(tmp_path / "fer2013.csv", ["Happiness", "anger"])
    assert [chosen.labels[s.label] for s in chosen.samples] == ["anger", "Happiness", "Happiness"]
    assert chosen.dropped == {"a label that was not asked for": 5}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("7,1 2 3 4,Training", "emotion 7 is not 0..6"),
        ("-1,1 2 3 4,Training", "emotion -1"),
        ("x,1 2 3 4,Training", "invalid literal"),
        ("3,1 2 3 4,Holdout", "Training"),
        ("3,1 2 3 4", "three columns"),
        ("3", "three columns"),
    ],
)
def test_malformed_csv_row_is_named_by_its_line(tmp_path, row, words):
    path = write_fer2013(tmp_path / "fer2013.csv", EMOTIONS, PARTS)
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(DataError, match=r"fer2013\.csv line 10: not FER2013: ") as caught:
        read_dataset(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 256", "1 2 3 -4", "1 2 3 x", "", "1.5 2 3 4"])
def test_malformed_pixels_cost_that_picture_only(tmp_path, text):
    path = write_fer2013(tmp_path / "fer2013.csv", EMOTIONS, PARTS)
    path.write_text(path.read_text() + f"3,{text},Training\n")
    told: list[str] = []
    loaded, dropped = load_pictures(read_dataset(path), InputSpec(8, 8, 1), warn=told.append)
    assert (len(loaded), dropped) == (8, {"unreadable": 1})
    assert "fer2013.csv:10" in told[0]


@pytest.mark.parametrize("header", ["", "a,b,c\n", "emotion,pixels\n", "\xff\xfe"])
def test_another_csv(tmp_path, header):
    path = tmp_path / "data.csv"
    path.write_bytes(header.encode("latin-1"))
    with pytest.raises(DataError, match=r"data\.csv"):
        read_dataset(path)


def test_votes_of_other_rows_are_not_joined(tmp_path):
    path = write_fer2013(tmp_path / "fer2013.csv", [6] * len(USAGES), USAGES)
    for usages, votes in ((USAGES[:-1], VOTES[:-1]), (USAGES[::-1], VOTES[::-1])):
        write_votes(tmp_path / "fer2013new.csv", usages, votes)
        with pytest.raises(DataError, match=r"fer2013new\.csv is of other rows than fer2013\.csv"):
            read_dataset(path)


@pytest.mark.parametrize("votes", [[(1, 2, 3)], [()]])
def test_malformed_votes(tmp_path, votes):
    path = write_fer2013(tmp_path / "fer2013.csv", [3], ["Training"])
    write_votes(tmp_path / "fer2013new.csv", ["Training"], votes)
    with pytest.raises(DataError, match=r"fer2013\.csv line 2: .*ten counts"):
        read_dataset(path)


def test_votes_alone_point_to_the_pictures(tmp_path):
    path = write_votes(tmp_path / "fer2013new.csv", USAGES, VOTES)
    with pytest.raises(DataError, match=r"votes without pictures: name the fer2013\.csv"):
        read_dataset(path)


@pytest.mark.shared
def test_real_ferplus_has_the_published_counts(shared_data):
    dataset = read_dataset(shared_data / "ferplus.zip", THREE)
    counts = Counter((s.split, dataset.labels[s.label]) for s in dataset.samples)
    assert [counts["valid", label] for label in THREE] == [235, 845, 277]
    assert [counts["test", label] for label in THREE] == [211, 874, 297]
    assert len(dataset.samples) + sum(dataset.dropped.values()) == 28_558 + 3_579 + 3_573
    assert open_picture(dataset.samples[-1].read()).size == (48, 48)
