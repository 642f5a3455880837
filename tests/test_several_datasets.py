"""Training on several data sets: one set of labels, a division of each, subjects kept together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_emotion import FaceCrop, UsageError
from edge_emotion.training.data import read_dataset
from edge_emotion.training.loading import SPLITS
from edge_emotion.training.samples import Dataset, Sample, merge_datasets
from edge_emotion.training.splits import duplicate_groups, split_pictures
from tests.datasets import write_class_folders, write_ferplus
from tests.test_splits import assert_honest, labelled

pytest.importorskip("sklearn", reason="needs the extra train")


def made(name, labels, targets, dropped=None) -> Dataset:
    samples = [
        Sample(str(i), target, None, lambda: b"", dataset=name) for i, target in enumerate(targets)
    ]
    return Dataset(name, f"{name}'s layout", f"{name}'s source", f"{name}'s licence", labels,
                   samples, Counter(dropped or {}))  # fmt: skip


ONE = made("one", ["angry", "happy", "sad"], [(1.0, 0.0, 0.0), (0.0, 0.5, 0.5)], {"tied": 2})
#: Named otherwise, in another order, with a label that the first does not have.
OTHER = made(
    "other", ["Sadness", "Neutral", "Happiness"],
    [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.25, 0.25, 0.5)], {"tied": 1, "odd": 4},
)  # fmt: skip


def test_labels_are_those_of_the_first_and_matched_by_meaning():
    merged = merge_datasets([ONE, OTHER])
    assert merged.labels == ["angry", "happy", "sad"]
    assert [sample.target for sample in merged.samples] == [
        (1.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 1.0),
        (0.0, pytest.approx(2 / 3), pytest.approx(1 / 3)),  # the neutral votes go
    ]  # fmt: skip
    assert [sample.dataset for sample in merged.samples] == ["one", "one", "other", "other"]
    assert merged.dropped == {"tied": 3, "odd": 4, "a label that was not asked for": 1}


def test_a_card_can_say_where_each_came_from():
    merged = merge_datasets([ONE, OTHER])
    assert merged.name == "one and other"
    assert merged.source == "one: one's source; other: other's source"
    assert merged.licence == "one: one's licence; other: other's licence"
    assert merged.layout == "one: one's layout; other: other's layout"


def test_one_data_set_stays_as_it_is():
    assert merge_datasets([OTHER]) is OTHER


def test_two_of_one_name_could_not_be_told_apart():
    with pytest.raises(UsageError, match="two data sets have one name: one, other, one"):
        merge_datasets([ONE, OTHER, ONE])


def test_crops_of_different_margins_are_not_one_input():
    """The margin is part of the model's input; whole pictures beside crops say nothing of it."""
    wide, narrow = FaceCrop(margin=3.0), FaceCrop(margin=2.5)
    assert merge_datasets([ONE, replace(OTHER, face=wide)]).face == wide
    assert merge_datasets([replace(ONE, face=wide), replace(OTHER, face=wide)]).face == wide
    with pytest.raises(UsageError, match="one, other: cut out with other margins"):
        merge_datasets([replace(ONE, face=wide), replace(OTHER, face=narrow)])


def test_without_a_label_in_common():
    alien = made("alien", ["cats", "dogs"], [(1.0, 0.0)])
    with pytest.raises(UsageError, match="alien has none of the labels angry, happy, sad"):
        merge_datasets([ONE, alien])


def test_folders_and_votes_together(tmp_path):
    folder = write_class_folders(tmp_path / "mine", ["Happy/a.png", "Sad/b.png"])
    votes = write_ferplus(tmp_path / "ferplus")
    merged = merge_datasets([read_dataset(folder), read_dataset(votes)])
    assert merged.labels == ["Happy", "Sad"]
    by_split = Counter((sample.dataset, sample.split) for sample in merged.samples)
    assert by_split == {
        ("mine", None): 2, ("FER+", "train"): 2, ("FER+", "valid"): 1, ("FER+", "test"): 1,
    }  # fmt: skip
    assert all(sum(sample.target) == pytest.approx(1) for sample in merged.samples)


def divide(loaded, groups, seed=1):
    return split_pictures(loaded, groups, seed=seed, valid_fraction=0.2, test_fraction=0.3)


def test_each_data_set_is_divided_by_itself():
    """A large one of happy faces and a small one of sad ones: each gives its share to each part."""
    labels = np.array([1] * 300 + [0] * 100 + [2] * 50 + [0, 1, 2] * 20)
    datasets = ["large"] * 450 + ["small"] * 60
    # Labels are stratified within a data set, so each must have all of them.
    parts, dropped, words = divide(labelled(labels, datasets=datasets), np.arange(510))
    assert not dropped
    small = np.arange(510) >= 450
    for name, share in (("train", 0.5), ("valid", 0.2), ("test", 0.3)):
        for own, size in ((~small, 450), (small, 60)):
            assert own[parts[name]].sum() / size == pytest.approx(share, abs=0.04)
            for label in range(3):
                all_of_it = (own & (labels == label)).sum()
                part = (labels[parts[name]][own[parts[name]]] == label).sum()
                assert part / all_of_it == pytest.approx(share, abs=0.06)
    assert words == "; ".join(
        f"{dataset}: {name}: {share}, stratified by label, duplicates kept together"
        for dataset in ("large", "small")
        for name, share in (("test", "30%"), ("valid", "20%"))
    )


def test_a_data_set_without_one_of_the_labels():
    """Happy and sad faces of one's own beside all three of another."""
    labels = np.concatenate([np.arange(300) % 3, 1 + np.arange(100) % 2])
    datasets = ["large"] * 300 + ["own"] * 100
    parts, _, words = divide(labelled(labels, datasets=datasets), np.arange(400))
    assert len(np.intersect1d(parts["valid"], np.arange(300, 400))) == pytest.approx(20, abs=2)
    assert "own: valid: 20%" in words


def test_a_data_set_of_test_pictures_alone():
    splits = [None] * 300 + ["test"] * 50
    datasets = ["large"] * 300 + ["benchmark"] * 50
    loaded = labelled(np.arange(350) % 3, splits, datasets=datasets)
    parts, _, words = divide(loaded, np.arange(350))
    assert set(range(300, 350)) <= set(parts["test"].tolist())
    assert "benchmark: test: the publisher's" in words
    assert "benchmark: valid" not in words


def test_one_publisher_s_split_beside_a_folder_without():
    splits = ["train"] * 80 + ["valid"] * 10 + ["test"] * 10 + [None] * 100
    datasets = ["official"] * 100 + ["folder"] * 100
    parts, _, words = divide(
        labelled(np.arange(200) % 3, splits, datasets=datasets), np.arange(200)
    )
    official = {name: part[part < 100].tolist() for name, part in parts.items()}
    assert official == {
        "train": list(range(80)), "valid": list(range(80, 90)), "test": list(range(90, 100)),
    }  # fmt: skip
    assert len(parts["test"]) == pytest.approx(10 + 30, abs=2)
    assert "official: test: the publisher's; official: valid: the publisher's" in words
    assert "folder: test: 30%" in words


def test_a_picture_of_one_data_set_that_is_in_another_leaks_nowhere():
    """Each picture of `copies` is one of `official`, whose test part stays whole."""
    splits = ["train"] * 60 + ["test"] * 30 + [None] * 90
    datasets = ["official"] * 90 + ["copies"] * 90
    groups = np.concatenate([np.arange(90), np.arange(90)])
    loaded = labelled(np.arange(180) % 3, splits, datasets=datasets)
    parts, dropped, _ = divide(loaded, groups)
    assert_honest(parts, groups, 180 - sum(dropped.values()))
    assert set(range(60, 90)) <= set(parts["test"].tolist())
    assert dropped["in train, same or nearly the same as one in test"] >= 30


# Subjects


def people(n_people: int, each: int, seed: int = 0):
    """(labels, keys): pictures of people, `happy/person0007_2.png`, of any label."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n_people * each) % 3)
    names = ["angry", "happy", "sad"]
    keys = [
        f"{names[label]}/person{i // each:04d}_{i % each}.png" for i, label in enumerate(labels)
    ]
    return labels, keys


def owner(loaded, i):
    return loaded.datasets[i], loaded.keys[i].split("/")[1].split("_")[0]


def assert_nobody_is_in_two_parts(loaded, parts):
    seen = {name: {owner(loaded, i) for i in parts[name]} for name in SPLITS}
    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not seen[one] & seen[other]
    return seen


def test_pictures_of_one_subject_are_one_group():
    labels, keys = people(20, 4)
    groups, reasons = duplicate_groups(labelled(labels, keys=keys), subject=r"person\d+")
    assert groups.tolist() == np.repeat(np.arange(20), 4).tolist()
    assert reasons["of a subject seen before"] == 60
    alone, reasons = duplicate_groups(labelled(labels, keys=keys))
    assert len(set(alone)) == 80
    assert "of a subject seen before" not in reasons


def test_subjects_are_told_apart_by_data_set_and_others_stay_alone():
    keys = ["a/person1_1.png", "a/person1_2.png", "a/person1_1.png", "a/stranger.png", "b/stranger"]
    loaded = labelled([0] * 5, keys=keys, datasets=["one", "one", "other", "one", "one"])
    groups, _ = duplicate_groups(loaded, subject=r"person\d+")
    assert groups[0] == groups[1]
    assert len(set(groups)) == 4


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(40, 80), st.integers(1, 6))
def test_nobody_is_on_two_sides(seed, n_people, each):
    labels, keys = people(n_people, each, seed)
    loaded = labelled(np.concatenate([labels, labels]), keys=keys * 2,
                      datasets=["one"] * len(keys) + ["other"] * len(keys))  # fmt: skip
    groups, _ = duplicate_groups(loaded, subject=r"person\d+")
    parts, dropped, _ = divide(loaded, groups, seed)
    assert not dropped
    assert sum(map(len, parts.values())) == len(loaded)
    seen = assert_nobody_is_in_two_parts(loaded, parts)
    assert all(seen.values())


def test_a_copy_of_someone_in_test_takes_all_of_that_person_out_of_train():
    """The leak goes by way of the person: one picture of five is a copy, the others are not."""
    labels, keys = people(30, 5)
    n = len(keys)
    splits = [None] * n + ["train"] * 60 + ["test"] * 6
    loaded = labelled(
        np.concatenate([labels, np.arange(66) % 3]), splits,
        keys=keys + [f"sad/person{9000 + i}_0.png" for i in range(66)],
        datasets=["people"] * n + ["official"] * 66,
    )  # fmt: skip
    loaded.hashes[n + 60] = loaded.hashes[7]  # person0001 is in the official test part
    groups, reasons = duplicate_groups(loaded, subject=r"person\d+")
    assert reasons["pixel-identical"] == 2
    parts, dropped, _ = divide(loaded, groups)
    seen = assert_nobody_is_in_two_parts(loaded, parts)
    assert n + 60 in parts["test"]
    assert ("people", "person0001") not in seen["train"] | seen["valid"]
    assert sum(map(len, parts.values())) + sum(dropped.values()) == len(loaded)
    assert_honest(parts, groups, len(loaded) - sum(dropped.values()))


@pytest.mark.parametrize("subject", ["person(", "*", "[0-9"])
def test_what_is_no_regular_expression(subject):
    with pytest.raises(UsageError, match="is no regular expression"):
        duplicate_groups(labelled([0, 1]), subject=subject)
