"""An honest division of labelled pictures.

Near-duplicates are found with a perceptual hash (pHash, Zauner 2010, from the imagehash library).
"""

from __future__ import annotations

import re
import warnings
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import TrainedOn
from edge_emotion.errors import DataError, UsageError
from edge_emotion.training.loading import SPLITS, LoadedPictures, Splits

#: pHash bits (of 256) by which two pictures may differ and still count as the same picture. Looked
#: at by eye on FER+: of pairs at 50 to 60 bits ten of ten show one photograph, cropped or marked
#: differently, at 62 and 64 bits 22 of 24, at 66 to 70 about half. A pair too many costs a training
#: picture, one too few an honest figure. From 76 bits on chance pairs chain hundreds of pictures
#: together. Unrelated pictures differ in about 128 bits.
NEAR_DUPLICATE_BITS = 70
#: Of validation pictures, in the words on a split.
TOO_FEW = "too few to divide for a refit"


def near_pairs(
    phashes: NDArray[np.uint64], bits: int = NEAR_DUPLICATE_BITS, chunk: int = 512
) -> NDArray[np.int64]:
    """Pairs (i, j), i < j, whose perceptual hashes differ in at most `bits` bits.

    Every pair is compared: some seconds for 30,000 pictures, growing with the square.

    Returns:
        int64 of shape (pairs, 2).
    """
    found = []
    for start in range(0, len(phashes), chunk):
        block = phashes[start : start + chunk]
        distance = np.zeros((len(block), len(phashes) - start), np.uint16)
        for word in range(phashes.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ phashes[None, start:, word])
        i, j = np.nonzero(distance <= bits)
        upper = i < j
        found.append(np.stack([i[upper], j[upper]], axis=1) + start)
    return np.concatenate(found).astype(np.int64) if found else np.empty((0, 2), np.int64)


def duplicate_groups(
    loaded: LoadedPictures, bits: int = NEAR_DUPLICATE_BITS, subject: str | None = None
) -> tuple[NDArray[np.int64], Counter[str]]:
    """Number the groups of pictures that are the same, nearly so, or of one subject.

    Args:
        loaded: the pictures.
        bits: see `near_pairs`.
        subject: regular expression; pictures of one data set in whose keys it finds the same text
            are of one subject. None: nothing is known of subjects.

    Returns:
        Group of each picture, int64 of shape (N,), and the pictures that share a group, by reason.

    Raises:
        UsageError: `subject` is no regular expression.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(loaded)
    _, inverse, counts = np.unique(loaded.hashes, return_inverse=True, return_counts=True)
    reasons = Counter({"pixel-identical": int((counts[inverse] > 1).sum())})
    same = _sharing(loaded.hashes, np.arange(n))
    if loaded.photographs is not None:  # a crop is of one with other crops, and with the whole
        cut = np.flatnonzero(loaded.photographs)
        origins = np.concatenate([loaded.hashes, loaded.photographs[cut]])
        same = _sharing(origins, np.concatenate([np.arange(n), cut]))
        alike = np.unique(same[np.isin(same, cut).any(axis=1)])
        reasons["of one photograph"] = int((counts[inverse[alike]] == 1).sum())
    pairs: list[tuple[int, int]] = []
    if subject is not None:
        try:
            re.compile(subject)
        except re.error as error:
            raise UsageError(f"--subject {subject!r} is no regular expression: {error}") from error
        seen: dict[tuple[str, str], int] = {}
        for i, (dataset, key) in enumerate(zip(loaded.datasets, loaded.keys, strict=True)):
            found = re.search(subject, key)
            if found is None or not found.group():
                continue
            other = seen.setdefault((dataset, found.group()), i)
            if other != i:
                pairs.append((other, i))
                reasons["of a subject seen before"] += 1
    edges = np.concatenate([same, np.array(pairs, np.int64).reshape(-1, 2)])
    if loaded.phashes is not None:
        near = near_pairs(loaded.phashes, bits)
        alike = np.zeros(n, bool)
        alike[near.ravel()] = True
        reasons["near-identical"] = int((alike & (counts[inverse] == 1)).sum())
        edges = np.concatenate([edges, near])
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, groups = connected_components(graph, directed=False)
    return groups.astype(np.int64), +reasons


def _sharing(keys: NDArray[np.uint64], owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of owners of equal keys that chain all of them, (pairs, 2)."""
    order = np.argsort(keys, kind="stable")
    equal = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    return np.stack([owners[order][equal], owners[order][equal + 1]], axis=1)


def split_pictures(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
    like: tuple[str, TrainedOn] | None = None,
    refit: float = 0.0,
) -> tuple[Splits, Counter[str], str]:
    """Divide pictures into train, valid and test, no group on two sides.

    A publisher's split is kept; what also lies in its test is taken out of train and valid, and
    what lies in valid out of train. A part that the publisher does not have is cut from train.
    Without a publisher's split the parts are stratified by label.

    Args:
        loaded: the pictures.
        groups: from `duplicate_groups`.
        seed: of the division.
        valid_fraction: share for validation where the publisher has none, 0 < f < 0.5.
        test_fraction: share for testing where the publisher has none, 0 <= f < 0.5.
        like: a model's name and pictures: in place of the shares, what it was validated on
            validates, and what it has not seen tests (unless `test_fraction` is 0). What it was
            trained on trains, though the publisher has it in validation.
        refit: share of what would validate that trains, 0 <= f < 1; stratified by label, groups
            kept together.

    Returns:
        Indices of each split, what was dropped (reason -> pictures), and the split in words.

    Raises:
        DataError: too few pictures to divide, or none that `like` was validated on.
        UsageError: `like` has seen no picture of a label.
    """
    publisher = np.array([s or "train" for s in loaded.splits])
    parts: Splits = {name: np.flatnonzero(publisher == name) for name in SPLITS}
    whole = dict(parts)
    drop_leaks(whole, groups)  # parts are cut from what is left then
    datasets = np.array(loaded.datasets)
    words = []
    for dataset in dict.fromkeys(loaded.datasets):
        own = np.flatnonzero(datasets == dataset)
        where = f"{dataset}: " if len(set(loaded.datasets)) > 1 else ""
        rest = 1.0
        left = np.intersect1d(own, whole["train"])
        free = len(left)  # what the publisher has not set apart
        for name, fraction in (("test", test_fraction), ("valid", valid_fraction)):
            if np.isin(own, whole[name]).any():
                cut, how = np.intersect1d(own, parts[name]), "the publisher's"
            elif fraction > 0 and free:
                # Fractions are of everything: what validation takes of the rest is more if test
                # came first.
                if like is None:
                    cut = cut_share(loaded, groups, left, fraction / rest, seed)
                    how = f"{len(cut) / free:.0%}, stratified by label, duplicates kept together"
                else:
                    cut, how = _cut_like(loaded, left, like, name)
                left = np.setdiff1d(left, cut)
                parts["train"] = np.setdiff1d(parts["train"], cut)
                parts[name] = np.union1d(parts[name], cut)
                rest -= fraction
            else:
                continue
            if name == "valid":
                learnt, how = _learnt(loaded, groups, cut, how, like, refit, seed)
                parts["valid"] = np.setdiff1d(parts["valid"], learnt)
                parts["train"] = np.union1d(parts["train"], learnt)
            if len(cut):
                words.append(f"{where}{name}: {how}")
    dropped = drop_leaks(parts, groups)
    if not len(parts["train"]):
        raise DataError("no picture is left to train on: all of them are in valid or test as well")
    if not len(parts["valid"]):
        raise DataError(
            "no picture is left to validate on: name other data"
            + (f", or leave --split-as out ({like[0]} has learnt them all)" if like else "")
        )
    if like is not None and set(loaded.labels[whole["train"]]) - set(loaded.labels[parts["train"]]):
        raise UsageError(
            f"--split-as: of a label {like[0]} has seen no picture, so that all of them would "
            "test: with --test-fraction 0 what it has not seen trains"
        )
    return parts, dropped, "; ".join(words)


def _learnt(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    valid: NDArray[np.int64],
    how: str,
    like: tuple[str, TrainedOn] | None,
    refit: float,
    seed: int,
) -> tuple[NDArray[np.int64], str]:
    """What of one data set's validation pictures trains after all, and those that stay in words."""
    learnt = np.empty(0, np.int64)
    if like is not None:  # which may have been refitted
        learnt = valid[loaded.known_to(like[1].train)[valid]]
        if len(learnt):
            how = f"{how} without what {like[0]} was trained on"
    if refit:
        try:
            left = np.setdiff1d(valid, learnt)
            cut = cut_share(loaded, groups, left, refit, seed, rare=True)
        except DataError:
            return learnt, f"{how} ({TOO_FEW})"
        learnt = np.union1d(learnt, cut)
        how = f"{1 - len(cut) / len(left):.0%} of {how}"
    return learnt, how


def drop_leaks(parts: Splits, groups: NDArray[np.int64]) -> Counter[str]:
    """Take out of `parts` what is the same, or nearly the same, as a picture of a later part."""
    dropped: Counter[str] = Counter()
    for later, earlier in (("test", ("train", "valid")), ("valid", ("train",))):
        for name in earlier:
            leaked = np.isin(groups[parts[name]], groups[parts[later]])
            if leaked.any():
                dropped[f"in {name}, same or nearly the same as one in {later}"] += int(
                    leaked.sum()
                )
                parts[name] = parts[name][~leaked]
    return dropped


def cut_share(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    indices: NDArray[np.int64],
    share: float,
    seed: int,
    *,
    rare: bool = False,
) -> NDArray[np.int64]:
    """Some of the fewest folds that make up `share`, to a hundredth and a fifteenth of itself."""
    found = [(min(n - 1, max(1, round(share * n))), n) for n in range(2, 101)]
    near = [(k, n) for k, n in found if abs(k / n - share) <= min(0.01, share / 15)]
    taken, folds = near[0] if near else min(found, key=lambda kn: abs(kn[0] / kn[1] - share))
    parts = fold_pictures(loaded, groups, indices, folds, seed, rare=rare)
    return np.sort(np.concatenate(parts[:taken]))


def _cut_like(
    loaded: LoadedPictures, indices: NDArray[np.int64], like: tuple[str, TrainedOn], name: str
) -> tuple[NDArray[np.int64], str]:
    """Those of `indices` that are in the split `name` by a model's training, and that in words."""
    model, known = like
    if name == "test":
        return indices[~loaded.known_to(known.all)[indices]], f"what {model} has not seen"
    cut = indices[loaded.known_to(known.valid)[indices]]
    if not len(cut):
        raise DataError(
            f"{model} was validated on none of these pictures: name the same data sets as in its "
            "training, or leave --split-as out"
        )
    return cut, f"that of {model}"


def fold_pictures(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    indices: NDArray[np.int64],
    folds: int,
    seed: int,
    *,
    rare: bool = False,
) -> list[NDArray[np.int64]]:
    """Divide `indices` into stratified folds, no group in two of them.

    Args:
        loaded: the pictures.
        groups: from `duplicate_groups`.
        indices: which of them.
        folds: how many.
        seed: of the division.
        rare: whether a label may have too few pictures to be in each fold.

    Raises:
        DataError: a label has fewer pictures than there are folds, duplicates counted once. One of
            several data sets may lack a label.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    different = np.unique(np.stack([groups[indices], loaded.labels[indices]]), axis=1)[1]
    counts = np.bincount(different, minlength=loaded.targets.shape[1])
    if len(set(loaded.datasets)) > 1:
        counts = counts[counts > 0]
    fewest = counts.max() if rare else counts.min()
    if fewest < folds:
        raise DataError(
            f"too few pictures to divide: a label has only {fewest} (duplicates counted once), and "
            f"{folds} are needed; add pictures, ask for fewer folds or larger fractions"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(splitter.split(indices, loaded.labels[indices], groups[indices]))
    return [np.sort(indices[test]) for _, test in parts]
