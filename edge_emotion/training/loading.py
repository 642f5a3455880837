"""Labelled pictures as arrays."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.artefacts import TrainedOn
from edge_emotion.card import InputSpec, SplitCount
from edge_emotion.errors import DataError, InputError, MissingExtraError, OutputError
from edge_emotion.preprocess import open_picture, preprocess, to_tensor
from edge_emotion.training.samples import Dataset, Sample, SplitName

#: Text chunk of a crop's PNG: `pixel_hash` of its photograph, hexadecimal.
PHOTOGRAPH = "edge-emotion photograph"

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


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
    datasets: list[str]  # name of the data set of each
    #: (N, H + 2 m, W + 2 m, C): `pixels` with what is around them, for augmentation; None: m = 0.
    surroundings: NDArray[np.uint8] | None = None
    #: (N,), `pixel_hash` of the photograph of which each is a crop; 0: of none, or not recorded.
    photographs: NDArray[np.uint64] | None = None
    photographs_known: bool = False  # whether every crop records it

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def source(self) -> NDArray[np.uint8]:
        """What augmented views are cut from; its middle is `pixels`."""
        return self.pixels if self.surroundings is None else self.surroundings

    def known_to(self, seen: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each picture, or the photograph that it was cut from, is among `seen`, (N,)."""
        known: NDArray[np.bool_] = np.isin(self.hashes, seen)
        if self.photographs is not None:
            known |= (self.photographs > 0) & np.isin(self.photographs, seen)
        return known

    def is_told_by(self, seen: TrainedOn) -> bool:
        """Whether `known_to` tells all: other crops of what was seen only if photographs are."""
        return seen.photographs or self.photographs is None or not self.photographs.any()

    def seen(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """`pixel_hash` of some pictures and, as far as recorded, of their photographs."""
        if self.photographs is None:
            return self.hashes[rows]
        photographs = np.unique(self.photographs[rows])
        return np.concatenate([self.hashes[rows], photographs[photographs > 0]])


def pixel_hash(image: Image.Image) -> int:
    """64 bits of the SHA-256 of an upright RGB image's size and pixels."""
    digest = hashlib.sha256(b"%d %d " % image.size)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest()[:8], "little")


def photograph_of(crop: Image.Image) -> int:
    """`pixel_hash` of the photograph that a crop records; 0: none."""
    try:
        return int(crop.info.get(PHOTOGRAPH, "0"), 16) & (2**64 - 1)
    except (TypeError, ValueError):  # not ours
        return 0


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
    middle: bool = False,
    cache: Path | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[LoadedPictures, Counter[str]]:
    """Read, hash and preprocess every picture of a data set.

    Args:
        dataset: what to read.
        spec: the input they are fitted to.
        near: compute perceptual hashes (extra: train).
        middle: of crops the face square alone, which is all that a network sees; what lies around
            it serves augmentation.
        cache: file for the pixels, memory-mapped, for data larger than memory; None: in memory.
        progress: wraps the loop, to show how far it is.
        warn: told of each picture that cannot be read; those are left out and counted.

    Returns:
        The pictures, and what was left out: reason -> count.

    Raises:
        DataError: none can be read, or crops are of an impossible size.
        OutputError: no room for the cache.
    """
    count = len(dataset.samples)
    borders = [_border(sample, spec) for sample in dataset.samples]
    above, beside = (0, 0) if middle else (max(b[axis] for b in borders) for axis in (0, 1))
    shape = (count, spec.height + 2 * above, spec.width + 2 * beside, spec.channels)
    wide: NDArray[np.uint8]
    if cache is None:
        wide = np.empty(shape, np.uint8)
    else:
        wide = _reserve(cache, shape)
    kept: list[int] = []
    hashes = np.zeros(count, np.uint64)
    phashes = np.zeros((count, 4), np.uint64)
    photographs = np.zeros(count, np.uint64)
    dropped: Counter[str] = Counter()
    for i in progress(range(count)):
        sample = dataset.samples[i]
        try:
            picture = sample.read()
            image = open_picture(picture)  # in full: the hashes do not depend on the input's size
            if any(borders[i]):
                y, x = borders[i]
                wider = replace(spec, height=spec.height + 2 * y, width=spec.width + 2 * x)
                tensor = to_tensor(image, wider)
            else:
                tensor = preprocess(picture, spec)  # as in prediction: large JPEGs by draft
            tensor = _frame(_frame(tensor, 0, shape[1]), 1, shape[2])
        except (InputError, OSError, KeyError) as error:
            dropped["unreadable"] += 1
            warn(sample.left_out(error))
            continue
        row = len(kept)
        wide[row] = tensor
        hashes[row] = pixel_hash(image)
        if sample.crop:
            photographs[row] = photograph_of(image)
        if near:
            phashes[row] = _phash(image)
        kept.append(i)
    if not kept:
        raise DataError(f"{dataset.name}: none of {count} pictures could be read")
    n = len(kept)
    samples = [dataset.samples[i] for i in kept]
    recorded = all(photographs[row] for row, sample in enumerate(samples) if sample.crop)
    loaded = LoadedPictures(
        pixels=wide[:n, above : above + spec.height, beside : beside + spec.width],
        targets=np.array([s.target for s in samples], np.float32),
        labels=np.array([s.label for s in samples], np.int64),
        hashes=hashes[:n],
        phashes=phashes[:n] if near else None,
        splits=[s.split for s in samples],
        keys=[s.key for s in samples],
        datasets=[s.dataset for s in samples],
        surroundings=wide[:n] if above or beside else None,
        photographs=photographs[:n],
        photographs_known=recorded,
    )
    return loaded, dropped


def _frame(pixels: NDArray[np.uint8], axis: int, side: int) -> NDArray[np.uint8]:
    """The middle of a picture along an axis, or the picture with its edges mirrored around it."""
    more = (side - pixels.shape[axis]) // 2
    if more == 0:
        return pixels
    if more < 0:
        return pixels.take(range(-more, side - more), axis)
    pad = [(more, more) if i == axis else (0, 0) for i in range(pixels.ndim)]
    return np.pad(pixels, pad, mode="symmetric")


def _border(sample: Sample, spec: InputSpec) -> tuple[int, int]:
    """How many pixels of a sample's picture lie above and below, left and right of the face square.

    Raises:
        DataError: the picture is said to be smaller than the square, or far larger.
    """
    if not 1 <= sample.context <= 4:
        raise DataError(
            f"{sample.dataset}: crops of {sample.context} face squares are not within 1 to 4: "
            "make the folder again"
        )
    around = (sample.context - 1) / 2
    return round(spec.height * around), round(spec.width * around)


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


#: Split -> indices of its pictures.
Splits = dict[str, NDArray[np.int64]]


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
        datasets=[loaded.datasets[i] for i in kept],
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
