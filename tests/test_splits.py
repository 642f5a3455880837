"""An honest division: no picture, and no copy of one, on two sides."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_emotion import DataError
from edge_emotion.artefacts import TrainedOn
from edge_emotion.errors import UsageError
from edge_emotion.training.loading import SPLITS, LoadedPictures, count_splits
from edge_emotion.training.splits import duplicate_groups, fold_pictures, split_pictures

pytest.importorskip("sklearn", reason="needs the extra train")
LABELS = ["angry", "happy", "sad"]


def labelled(labels, splits=None, keys=None, datasets=None) -> LoadedPictures:
    """Pictures of which only the labels and splits matter."""
    labels = np.asarray(labels, np.int64)
    n = len(labels)
    return LoadedPictures(
        pixels=np.zeros((n, 1, 1, 1), np.uint8),
        targets=np.eye(3, dtype=np.float32)[labels],
        labels=labels,
        hashes=np.arange(n, dtype=np.uint64),
        phashes=None,
        splits=list(splits) if splits is not None else [None] * n,
        keys=list(keys) if keys is not None else [str(i) for i in range(n)],
        datasets=list(datasets) if datasets is not None else ["made"] * n,
    )


def divide(loaded, groups, seed=1, valid=0.15, test=0.15):
    return split_pictures(loaded, groups, seed=seed, valid_fraction=valid, test_fraction=test)


def assert_honest(parts, groups, n_kept):
    """Every kept picture is in one part, and no group is in two."""
    indices = np.concatenate([parts[name] for name in SPLITS])
    assert len(indices) == len(set(indices)) == n_kept
    for one in SPLITS:
        for other in SPLITS:
            if one != other:
                assert not set(groups[parts[one]]) & set(groups[parts[other]])


SEEDS = st.integers(0, 2**32 - 1)


def random_groups(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, groups): rare and common labels, most pictures alone, some groups large."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(150, 400))
    labels = rng.choice(3, n, p=[0.2, 0.5, 0.3])
    groups = rng.integers(0, n, n)
    groups[rng.random(n) < 0.1] = rng.integers(0, 3)
    return labels, groups


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.1, 0.15, 0.25, 0.4]), st.sampled_from([0.0, 0.1, 0.15, 0.3]))
def test_no_group_lies_on_two_sides_whatever_seed_and_fractions(seed, valid, test):
    labels, groups = random_groups(seed)
    parts, dropped, _ = divide(labelled(labels), groups, seed, valid, test)
    assert_honest(parts, groups, len(labels))
    assert not dropped
    assert len(parts["train"])
    assert len(parts["valid"])
    assert bool(len(parts["test"])) == (test > 0)


@pytest.mark.parametrize("valid", [0.1, 0.15, 0.4])
@pytest.mark.parametrize("test", [0.0, 0.15, 0.3])
def test_fractions_are_of_everything_and_of_each_label(valid, test):
    labels = np.repeat([0, 1, 2], [60, 180, 120])
    loaded = labelled(labels)
    parts, _, words = divide(loaded, np.arange(360), valid=valid, test=test)
    for name, fraction in (("valid", valid), ("test", test)):
        assert len(parts[name]) / 360 == pytest.approx(fraction, abs=0.015)
        shares = np.bincount(labels[parts[name]], minlength=3) / [60, 180, 120]
        np.testing.assert_allclose(shares, fraction, atol=0.03)
        share = len(parts[name]) / 360  # what was cut, not what was asked for
        assert (f"{name}: {share:.0%}, stratified" in words) == (fraction > 0)


@pytest.mark.parametrize("valid", [0.02, 0.03, 0.05, 0.07])
def test_small_fractions_are_small(valid):
    loaded = labelled(np.repeat([0, 1, 2], [400, 1200, 800]))
    parts, _, _ = divide(loaded, np.arange(2400), valid=valid, test=0.0)
    assert len(parts["valid"]) / 2400 == pytest.approx(valid, rel=0.12)


def test_halves_leave_next_to_nothing_and_do_not_crash():
    parts, _, _ = divide(labelled(np.arange(1200) % 3), np.arange(1200), valid=0.499, test=0.499)
    assert 0 < len(parts["train"]) < 30


def test_a_subject_is_not_nothing():
    loaded = labelled(np.arange(30) % 3)
    groups, reasons = duplicate_groups(loaded, subject="x*")
    assert len(set(groups)) == 30
    assert not reasons["of a subject seen before"]


def test_the_same_seed_divides_the_same_and_another_does_not():
    loaded, groups = labelled(np.arange(300) % 3), np.arange(300)
    one, again, other = (divide(loaded, groups, seed)[0] for seed in (1, 1, 2))
    for name in SPLITS:
        np.testing.assert_array_equal(one[name], again[name])
    assert not np.array_equal(one["test"], other["test"])


def test_the_publisher_s_test_is_kept_and_what_leaks_into_it_leaves_train_and_valid():
    splits = ["train"] * 6 + ["valid"] * 3 + ["test"] * 3
    #         in test   |in valid | train alone       valid           test
    groups = np.array([9, 9, 6, 1, 2, 3, 6, 10, 7, 9, 10, 11])
    loaded = labelled(np.arange(12) % 3, splits)
    parts, dropped, words = divide(loaded, groups)
    assert parts["test"].tolist() == [9, 10, 11]
    assert parts["valid"].tolist() == [6, 8]  # 7 is in test too
    assert parts["train"].tolist() == [3, 4, 5]  # 0 and 1 are in test, 2 in valid
    assert dropped == {
        "in train, same or nearly the same as one in test": 2,
        "in valid, same or nearly the same as one in test": 1,
        "in train, same or nearly the same as one in valid": 1,
    }
    assert words == "test: the publisher's; valid: the publisher's"


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([("train", "test"), ("train", "valid", "test")]))
def test_publisher_s_test_is_whole_and_honest_whatever_leaks(seed, names):
    labels, groups = random_groups(seed)
    shares = [1 - 0.1 * (len(names) - 1)] + [0.1] * (len(names) - 1)
    splits = np.random.default_rng(seed).choice(names, len(labels), p=shares)
    parts, dropped, _ = divide(labelled(labels, splits), groups, seed)
    np.testing.assert_array_equal(parts["test"], np.flatnonzero(splits == "test"))
    assert_honest(parts, groups, len(labels) - sum(dropped.values()))
    assert dropped, "some leak in every example"
    assert len(parts["valid"])


def test_a_part_that_the_publisher_lacks_is_cut_from_train():
    splits = ["train"] * 240 + ["test"] * 60
    parts, _, words = divide(labelled(np.arange(300) % 3, splits), np.arange(300), valid=0.25)
    assert parts["test"].tolist() == list(range(240, 300))
    assert len(parts["valid"]) == 60
    assert words == (
        "test: the publisher's; valid: 25%, stratified by label, duplicates kept together"
    )


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0, 1, 2], [0, 1, 2]),  # one of each
        ([0] * 50 + [1] * 50, range(100)),  # a label without pictures
        ([0] * 50 + [1] * 50 + [2] * 3, range(103)),
        ([0, 1, 2] * 40, [0] * 120),  # the same picture again and again
        ([0] * 50 + [1] * 50 + [2] * 50, [*range(100)] + [100] * 50),
    ],
)
def test_too_few_pictures(labels, groups):
    with pytest.raises(DataError, match=r"too few pictures to divide: a label has"):
        divide(labelled(labels), np.array(groups))


def test_nothing_left_to_train_on():
    splits = ["train"] * 9 + ["valid"] * 9 + ["test"] * 9
    groups = np.array([*range(9), *range(20, 29), *range(9)])  # train is test
    with pytest.raises(DataError, match="no picture is left to train on"):
        divide(labelled(np.arange(27) % 3, splits), groups)


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 8))
def test_folds_hold_every_picture_once_and_no_group_twice(seed, folds):
    labels, groups = random_groups(seed)
    indices = np.arange(0, len(labels), 2)
    parts = fold_pictures(labelled(labels), groups, indices, folds, seed)
    assert len(parts) == folds
    assert sorted(np.concatenate(parts).tolist()) == indices.tolist()
    owners = Counter(g for part in parts for g in set(groups[part]))
    assert set(owners.values()) == {1}


def test_folds_are_stratified():
    labels = np.repeat([0, 1, 2], [50, 200, 100])
    parts = fold_pictures(labelled(labels), np.arange(350), np.arange(350), 5, seed=3)
    for part in parts:
        assert np.bincount(labels[part]).tolist() == [10, 40, 20]


def test_more_folds_than_a_label_has_pictures():
    with pytest.raises(DataError, match="ask for fewer folds"):
        fold_pictures(labelled([0, 1, 2] * 4), np.arange(12), np.arange(12), 5, seed=1)


def test_splits_are_counted_for_the_card():
    loaded = labelled([0, 0, 1, 2, 2, 2])
    parts = {"train": np.array([0, 2, 3, 4]), "valid": np.array([1, 5]), "test": np.array([], int)}
    counts = count_splits(LABELS, loaded, parts)
    assert [(c.name, c.pictures, c.per_label) for c in counts] == [
        ("train", 4, {"angry": 1, "happy": 1, "sad": 2}),
        ("valid", 2, {"angry": 1, "happy": 0, "sad": 1}),
    ]


def test_an_earlier_model_s_division_is_taken_over_whatever_the_labels():
    known = TrainedOn(np.arange(0, 60, dtype=np.uint64), np.arange(60, 80, dtype=np.uint64))
    loaded = labelled(np.arange(100) % 3)
    kept = np.flatnonzero(loaded.labels != 1)  # as with two labels of three
    fewer = labelled(loaded.labels[kept])
    fewer.hashes[:] = loaded.hashes[kept]
    for pictures, hashes in ((loaded, np.arange(100)), (fewer, kept)):
        n = len(hashes)
        parts, dropped, words = split_pictures(
            pictures, np.arange(n), seed=1, valid_fraction=0.3, test_fraction=0.1,
            like=("known", known),
        )  # fmt: skip
        assert not dropped
        assert set(hashes[parts["train"]]) == {h for h in hashes if h < 60}
        assert set(hashes[parts["valid"]]) == {h for h in hashes if 60 <= h < 80}
        assert set(hashes[parts["test"]]) == {h for h in hashes if h >= 80}
        assert words == "test: what known has not seen; valid: that of known"


def test_without_a_test_share_what_the_earlier_model_has_not_seen_trains():
    known = TrainedOn(np.arange(0, 60, dtype=np.uint64), np.arange(60, 80, dtype=np.uint64))
    loaded = labelled(np.arange(100) % 3, ["test"] * 10 + [None] * 90)
    parts, _, words = split_pictures(
        loaded, np.arange(100), seed=1, valid_fraction=0.3, test_fraction=0, like=("known", known)
    )
    assert parts["test"].tolist() == list(range(10))  # the publisher's
    assert parts["valid"].tolist() == list(range(60, 80))
    assert parts["train"].tolist() == [*range(10, 60), *range(80, 100)]
    assert words == "test: the publisher's; valid: that of known"


def test_a_division_knows_new_cuts_of_the_same_photographs():
    loaded = labelled([0, 1, 2] * 4)
    cut = replace(loaded, photographs=np.arange(100, 112, dtype=np.uint64))
    known = TrainedOn(np.arange(100, 106, dtype=np.uint64), np.array([106, 107], np.uint64), True)
    parts, _, _ = split_pictures(
        cut, np.arange(12), seed=1, valid_fraction=0.2, test_fraction=0.2, like=("m", known)
    )
    assert parts["valid"].tolist() == [6, 7]
    assert parts["test"].tolist() == [8, 9, 10, 11]


def test_a_division_of_other_pictures_is_refused():
    known = TrainedOn(np.array([900], np.uint64), np.array([901], np.uint64))
    for test_fraction in (0, 0.1):
        with pytest.raises(DataError, match="known was validated on none of these pictures"):
            split_pictures(
                labelled(np.arange(30) % 3), np.arange(30), seed=1, valid_fraction=0.3,
                test_fraction=test_fraction, like=("known", known),
            )  # fmt: skip


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.2, 0.5, 0.75]))
def test_a_share_of_what_would_validate_trains_after_all(seed, refit):
    labels, groups = random_groups(seed)
    loaded = labelled(labels)
    before, _, _ = divide(loaded, groups, seed, 0.4, 0.1)
    parts, dropped, words = split_pictures(
        loaded, groups, seed=seed, valid_fraction=0.4, test_fraction=0.1, refit=refit
    )
    assert_honest(parts, groups, len(labels))
    assert not dropped
    assert parts["test"].tolist() == before["test"].tolist()
    assert set(parts["valid"]) < set(before["valid"])
    alone = np.bincount(groups)[groups[before["valid"]]] == 1  # large groups cannot be cut in two
    if alone.all():
        assert len(parts["valid"]) == pytest.approx((1 - refit) * len(before["valid"]), rel=0.1)
    assert f"valid: {len(parts['valid']) / len(before['valid']):.0%} of " in words


def test_of_a_publisher_s_validation_split_and_of_an_earlier_model_s_a_share_trains():
    own = np.repeat(["train", "valid", "test"], [30, 24, 6])
    loaded = labelled(
        np.arange(120) % 3, [*own, *[None] * 60], datasets=["FER+"] * 60 + ["press"] * 60
    )
    groups = np.arange(120)
    groups[0] = 30  # one of train and one of valid are the same
    known = TrainedOn(np.arange(60, 96, dtype=np.uint64), np.arange(96, 120, dtype=np.uint64))
    parts, dropped, words = split_pictures(
        loaded, groups, seed=1, valid_fraction=0.2, test_fraction=0, like=("m", known), refit=0.5
    )
    assert_honest(parts, groups, 120 - sum(dropped.values()))
    assert parts["test"].tolist() == list(range(54, 60))
    for first, last in ((30, 54), (96, 120)):
        valid = parts["valid"][(first <= parts["valid"]) & (parts["valid"] < last)]
        assert len(valid) == 12
        assert np.bincount(loaded.labels[valid]).tolist() == [4, 4, 4]
        moved = np.setdiff1d(np.arange(first, last), valid)
        assert set(moved) <= set(parts["train"])
    # Only what still validates costs training pictures.
    assert dropped == ({} if 30 in parts["train"] else {
        "in train, same or nearly the same as one in valid": 1
    })  # fmt: skip
    assert words == (
        "FER+: test: the publisher's; FER+: valid: 50% of the publisher's; "
        "press: valid: 50% of that of m"
    )


def test_a_refit_that_cannot_take_its_share_says_what_is_left():
    """A person of 30 pictures is on one side."""
    loaded = labelled(np.arange(100) % 2, ["train"] * 40 + ["valid"] * 60)
    groups = np.arange(100)
    groups[40:70] = 40
    parts, _, words = split_pictures(
        loaded, groups, seed=1, valid_fraction=0.2, test_fraction=0, refit=0.2
    )
    left = len(parts["valid"])
    assert left != 48
    assert f"valid: {left / 60:.0%} of the publisher's" in words


def test_a_refit_takes_its_share_of_what_an_earlier_one_left():
    loaded = labelled(np.arange(100) % 2, ["train"] * 40 + ["valid"] * 60)
    known = TrainedOn(np.arange(60, dtype=np.uint64), np.arange(60, 100, dtype=np.uint64))
    parts, _, words = split_pictures(
        loaded, np.arange(100), seed=1, valid_fraction=0.2, test_fraction=0, refit=0.5,
        like=("m", known),
    )  # fmt: skip
    assert len(parts["valid"]) == 20
    assert words == "valid: 50% of the publisher's without what m was trained on"


@pytest.mark.parametrize("publisher", [True, False])
def test_a_model_that_has_learnt_all_that_would_validate_is_named(publisher):
    """As one of the original project's protocol, or one refitted on the publisher's part."""
    loaded = labelled(
        np.arange(60) % 3, (["train"] * 45 + ["valid"] * 15) if publisher else [None] * 60
    )
    everything = np.arange(60, dtype=np.uint64)
    with pytest.raises(DataError, match=r"no picture is left to validate on: .*m has learnt them"):
        split_pictures(
            loaded, np.arange(60), seed=1, valid_fraction=0.2, test_fraction=0.2,
            like=("m", TrainedOn(everything, everything)),
        )  # fmt: skip


def test_a_label_too_rare_to_be_divided_does_not_keep_others_from_a_refit(recwarn):
    labels = np.repeat([0, 1, 2], [40, 40, 3])
    groups = np.arange(83)
    groups[80:] = 80  # one person
    loaded = labelled(labels, ["train"] * 20 + ["valid"] * 20 + ["train"] * 20 + ["valid"] * 23)
    parts, _, _ = split_pictures(
        loaded, groups, seed=1, valid_fraction=0.2, test_fraction=0, refit=0.5
    )
    assert_honest(parts, groups, 83)
    assert np.bincount(labels[parts["valid"]])[:2].tolist() == [10, 10]
    assert not recwarn


def test_a_data_set_too_small_for_a_refit_validates_as_it_would():
    own = ["train"] * 60 + ["valid"] * 30
    loaded = labelled(
        np.arange(95) % 3, [*own, *["train"] * 3, "valid", "valid"],
        datasets=["many"] * 90 + ["few"] * 5,
    )  # fmt: skip
    parts, _, words = split_pictures(
        loaded, np.arange(95), seed=1, valid_fraction=0.2, test_fraction=0, refit=0.5
    )
    assert (parts["valid"] < 90).sum() == 15
    assert {93, 94} <= set(parts["valid"])
    assert "few: valid: the publisher's (too few to divide for a refit)" in words


def test_a_refit_leaves_the_test_pictures_what_they_were():
    """Where the publisher has validation and no test, too, which is cut from train."""
    loaded = labelled(np.arange(180) % 3, ["train"] * 120 + ["valid"] * 60)
    before, after = (
        split_pictures(
            loaded, np.arange(180), seed=1, valid_fraction=0.2, test_fraction=0.15, refit=refit
        )[0]
        for refit in (0.0, 0.5)
    )
    assert after["test"].tolist() == before["test"].tolist()
    assert len(after["valid"]) == 30
    assert set(before["valid"]) - set(after["valid"]) <= set(after["train"])


def test_who_divides_as_a_refitted_model_did_holds_out_what_it_held_out():
    loaded = labelled(
        np.arange(180) % 3, ["train"] * 60 + ["valid"] * 30 + ["test"] * 30 + [None] * 60,
        datasets=["FER+"] * 120 + ["press"] * 60,
    )  # fmt: skip
    settled = {"seed": 1, "valid_fraction": 0.3, "test_fraction": 0}
    first, _, _ = split_pictures(loaded, np.arange(180), refit=0.5, **settled)
    known = TrainedOn(loaded.hashes[first["train"]], loaded.hashes[first["valid"]])
    again, _, words = split_pictures(loaded, np.arange(180), like=("m", known), **settled)
    for name in SPLITS:
        assert again[name].tolist() == first[name].tolist()
    assert "FER+: valid: the publisher's without what m was trained on" in words


def test_a_label_that_the_earlier_model_has_not_seen_is_told_of():
    known = TrainedOn(np.arange(0, 20, dtype=np.uint64), np.arange(20, 30, dtype=np.uint64))
    loaded = labelled([*np.arange(30) % 2, *[2] * 10])
    settled = {"seed": 1, "valid_fraction": 0.3, "like": ("m", known)}
    with pytest.raises(UsageError, match="of a label m has seen no picture"):
        split_pictures(loaded, np.arange(40), test_fraction=0.1, **settled)
    parts, _, _ = split_pictures(loaded, np.arange(40), test_fraction=0, **settled)
    assert set(range(30, 40)) <= set(parts["train"])
