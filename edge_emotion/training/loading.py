"""Labelled pictures as arrays, and an honest division of them.

Near-duplicates are found with a perceptual hash (pHash, Zauner 2010, from the imagehash library).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.card import InputSpec, SplitCount
from edge_emotion.errors import DataError, InputError, MissingExtraError, OutputError
from edge_emotion.preprocess import open_picture, preprocess
from edge_emotion.training.samples import Dataset, SplitName

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")

#: pHash bits (of 256) by which two pictures may differ and still count as the same picture. Looked
#: at by eye on FER+: ten of ten pairs drawn at 50 to 60 bits show one photograph, cropped or
#: watermarked differently. Unrelated pictures differ in about 128 bits.
NEAR_DUPLICATE_BITS = 60


@dataclass(frozen=True)
class LoadedPictures:
    """Pictures of a data set at a model's input size."""

    pixels: NDArray[np.uint8]  # (N, H, W, C); possibly a memory map
    targets: NDArray[np.float32]  # (N, labels), rows sum to 1
    labels: NDArray[np.int64]  # (N,), index of the label
    hashes: NDArray[np.uint64]  # (N,), see `pixel_hash`
    phashes: NDArray[np.uint64] | None  # (N, 4): 256 bits; None if not asked for
    splits: list[SplitName | None]  # the publisher's
    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)


def pixel_hash(image: Image.Image) -> int:
    """64 bits of the SHA-256 of an upright RGB image's size and pixels."""
    digest = hashlib.sha256(b"%d %d " % image.size)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest()[:8], "little")


def _phash(image: Image.Image) -> NDArray[np.uint64]:
    try:
        import imagehash
    except ImportError as error:
        raise MissingExtraError("finding near-duplicate pictures", "train") from error
    bits = imagehash.phash(image, hash_size=16).hash
    return np.packbits(bits).view(np.uint64)


def load_pictures(
    dataset: Dataset,
    spec: InputSpec,
    *,
    near: bool = False,
    cache: Path | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[LoadedPictures, Counter[str]]:
    """Read, hash and preprocess every picture of a data set.

    Args:
        dataset: what to read.
        spec: the input they are fitted to.
        near: compute perceptual hashes (extra: train).
        cache: file for the pixels, memory-mapped, for data larger than memory; None: in memory.
        progress: wraps the loop, to show how far it is.
        warn: told of each picture that cannot be read; those are left out and counted.

    Returns:
        The pictures, and what was left out: reason -> count.

    Raises:
        DataError: none can be read.
        OutputError: no room for the cache.
    """
    count = len(dataset.samples)
    shape = (count, *spec.shape)
    pixels: NDArray[np.uint8]
    if cache is None:
        pixels = np.empty(shape, np.uint8)
    else:
        pixels = _reserve(cache, shape)
    kept: list[int] = []
    hashes = np.zeros(count, np.uint64)
    phashes = np.zeros((count, 4), np.uint64)
    dropped: Counter[str] = Counter()
    for i in progress(range(count)):
        sample = dataset.samples[i]
        try:
            picture = sample.read()
            image = open_picture(picture)  # in full: the hashes do not depend on the input's size
            tensor = preprocess(picture, spec)  # as in prediction: large JPEGs by draft
        except (InputError, OSError, KeyError) as error:
            dropped["unreadable"] += 1
            warn(f"left out: {error}")
            continue
        row = len(kept)
        pixels[row] = tensor
        hashes[row] = pixel_hash(image)
        if near:
            phashes[row] = _phash(image)
        kept.append(i)
    if not kept:
        raise DataError(f"{dataset.name}: none of {count} pictures could be read")
    n = len(kept)
    samples = [dataset.samples[i] for i in kept]
    loaded = LoadedPictures(
        pixels=pixels[:n],
        targets=np.array([s.target for s in samples], np.float32),
        labels=np.array([s.label for s in samples], np.int64),
        hashes=hashes[:n],
        phashes=phashes[:n] if near else None,
        splits=[s.split for s in samples],
        keys=[s.key for s in samples],
    )
    return loaded, dropped


def _reserve(cache: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A memory map whose place on the disk is certain: a write to a hole ends in SIGBUS."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        pixels = open_memmap(cache, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with cache.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, cache.stat().st_size)
    except OSError as error:
        cache.unlink(missing_ok=True)
        raise OutputError(f"cannot write {cache}: {error.strerror or error}") from error
    return pixels


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
    loaded: LoadedPictures, bits: int = NEAR_DUPLICATE_BITS
) -> tuple[NDArray[np.int64], Counter[str]]:
    """Number the groups of pictures that are the same or nearly so.

    Returns:
        Group of each picture, int64 of shape (N,), and the pictures that share a group, by reason.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(loaded)
    _, inverse, counts = np.unique(loaded.hashes, return_inverse=True, return_counts=True)
    first = np.full(len(counts), -1, np.int64)
    pairs = []
    for i, h in enumerate(inverse):
        if first[h] < 0:
            first[h] = i
        else:
            pairs.append((first[h], i))
    reasons = Counter({"pixel-identical": int((counts[inverse] > 1).sum())})
    edges = np.array(pairs, np.int64).reshape(-1, 2)
    if loaded.phashes is not None:
        near = near_pairs(loaded.phashes, bits)
        alike = np.zeros(n, bool)
        alike[near.ravel()] = True
        reasons["near-identical"] = int((alike & (counts[inverse] == 1)).sum())
        edges = np.concatenate([edges, near])
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, groups = connected_components(graph, directed=False)
    return groups.astype(np.int64), reasons


#: Split -> indices of its pictures.
Splits = dict[str, NDArray[np.int64]]


def split_pictures(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
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

    Returns:
        Indices of each split, what was dropped (reason -> pictures), and the split in words.

    Raises:
        DataError: too few pictures to divide.
    """
    publisher = np.array([s or "train" for s in loaded.splits])
    parts: Splits = {name: np.flatnonzero(publisher == name) for name in SPLITS}
    dropped: Counter[str] = Counter()
    words = []
    for later, earlier in (("test", ("train", "valid")), ("valid", ("train",))):
        for name in earlier:
            leaked = np.isin(groups[parts[name]], groups[parts[later]])
            if leaked.any():
                dropped[f"in {name}, same or nearly the same as one in {later}"] += int(
                    leaked.sum()
                )
                parts[name] = parts[name][~leaked]
        if len(parts[later]):
            words.append(f"{later}: the publisher's")
    # Fractions are of everything: what validation takes of the rest is more if test came first.
    rest = 1.0
    for name, fraction in (("test", test_fraction), ("valid", valid_fraction)):
        if not len(parts[name]) and fraction > 0:
            parts["train"], parts[name] = _cut(
                loaded, groups, parts["train"], fraction / rest, seed
            )
            rest -= fraction
            words.append(f"{name}: {fraction:.0%}, stratified by label, duplicates kept together")
    if not len(parts["train"]):
        raise DataError("no picture is left to train on: all of them are in valid or test as well")
    return parts, dropped, "; ".join(words)


def _cut(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    indices: NDArray[np.int64],
    share: float,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, cut): some of the fewest folds that make up `share` to a hundredth."""
    taken, folds = next(
        (k, n)
        for n in range(2, 101)
        if (k := max(1, round(share * n))) < n and abs(k / n - share) <= 0.01
    )
    parts = fold_pictures(loaded, groups, indices, folds, seed)
    cut = np.sort(np.concatenate(parts[:taken]))
    return np.setdiff1d(indices, cut), cut


def fold_pictures(
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    indices: NDArray[np.int64],
    folds: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Divide `indices` into stratified folds, no group in two of them.

    Raises:
        DataError: a label has fewer pictures than there are folds, duplicates counted once.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    different = np.unique(np.stack([groups[indices], loaded.labels[indices]]), axis=1)[1]
    counts = np.bincount(different, minlength=loaded.targets.shape[1])
    if counts.min() < folds:
        raise DataError(
            f"too few pictures to divide into {folds} parts: a label has only {counts.min()} "
            "(duplicates counted once); add pictures, ask for fewer folds or larger fractions"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = splitter.split(indices, loaded.labels[indices], groups[indices])
    return [np.sort(indices[test]) for _, test in parts]


def keep_labels(
    loaded: LoadedPictures, parts: Splits, labels: Sequence[int]
) -> tuple[LoadedPictures, Splits]:
    """The pictures of some labels, numbered anew in the order of `labels`."""
    kept = np.flatnonzero(np.isin(loaded.labels, labels))
    number = {old: new for new, old in enumerate(labels)}
    targets = loaded.targets[kept][:, list(labels)]
    narrow = LoadedPictures(
        pixels=loaded.pixels[kept],
        targets=targets / targets.sum(axis=1, keepdims=True),
        labels=np.array([number[int(old)] for old in loaded.labels[kept]], np.int64),
        hashes=loaded.hashes[kept],
        phashes=None,
        splits=[loaded.splits[i] for i in kept],
        keys=[loaded.keys[i] for i in kept],
    )
    return narrow, {name: np.flatnonzero(np.isin(kept, part)) for name, part in parts.items()}


def count_splits(labels: list[str], loaded: LoadedPictures, parts: Splits) -> list[SplitCount]:
    """Pictures per split and label, for the card."""
    return [
        SplitCount(
            name,
            len(parts[name]),
            {label: int((loaded.labels[parts[name]] == i).sum()) for i, label in enumerate(labels)},
        )
        for name in SPLITS
        if len(parts[name])
    ]
