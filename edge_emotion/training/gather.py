"""What every training begins with: data sets read, merged, loaded, duplicates found."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import UsageError
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.data import read_dataset
from edge_emotion.training.fit import input_spec
from edge_emotion.training.loading import SPLITS, LoadedPictures, Splits, load_pictures
from edge_emotion.training.samples import Dataset, choose_labels, merge_datasets
from edge_emotion.training.splits import duplicate_groups


@dataclass(frozen=True)
class Labelled:
    """What will be read."""

    dataset: Dataset  # its labels are those that are learnt
    chosen: list[tuple[str, int]]  # labels of the model, and the index of each into the dataset's


@dataclass(frozen=True)
class Gathered:
    """Labelled pictures before they are divided."""

    dataset: Dataset  # as in `Labelled`
    chosen: list[tuple[str, int]]
    loaded: LoadedPictures
    unreadable: Counter[str]  # reason -> pictures that were left out
    groups: NDArray[np.int64]  # (N,), see `duplicate_groups`
    alike: Counter[str]  # reason -> pictures that share a group


def read_labelled(data: Sequence[Path], config: TrainConfig) -> Labelled:
    """List the pictures of one data set or more; none is read yet.

    Args:
        data: see `edge_emotion.training.data.read_dataset`; the labels are those of the first.
        config: labels.

    Raises:
        DataError: no data set.
        UnknownNameError: it does not have a label that is named.
    """
    wanted = None if config.learn_all else config.labels
    dataset = merge_datasets(
        [read_dataset(path, None if number else wanted) for number, path in enumerate(data)]
    )
    return Labelled(dataset, choose_labels(dataset.labels, config.labels))


def gather(
    labelled: Labelled,
    config: TrainConfig,
    cache: Path,
    *,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]],
    log: Callable[[str], None],
    warn: Callable[[str], None],
) -> Gathered:
    """Read pictures at the input size of `config`, with groups of duplicates.

    Args:
        labelled: from `read_labelled`.
        config: input, subjects.
        cache: file for the pixels.
        progress: title -> wrapper of a loop.
        log: told in a line of subjects that not every picture has, and of pictures under several
            labels.
        warn: told in a line of each picture that cannot be read.

    Raises:
        DataError: the pictures cannot be read.
        UsageError: no picture has a subject, or all have the same.
        OutputError: no room for the cache.
    """
    dataset = labelled.dataset
    loaded, unreadable = load_pictures(
        dataset,
        input_spec(config),
        near=True,
        cache=cache,
        progress=progress(f"reading {dataset.name}"),
        warn=warn,
    )
    if said_twice := _under_several_labels(loaded):
        log(
            f"{len(said_twice)} pictures are under more than one label, pixel by pixel the same, "
            f"such as {loaded.keys[said_twice[0]]}: no network can have all of them right"
        )
    groups, alike = duplicate_groups(loaded, subject=config.subject)
    if config.subject is not None:
        texts = [match[0] for key in loaded.keys if (match := re.search(config.subject, key))]
        if not texts:
            raise UsageError(
                f"--subject {config.subject!r} is in no picture's path, such as {loaded.keys[0]}"
            )
        if len(texts) < len(loaded):
            log(f"--subject: {len(texts)} of {len(loaded)} pictures have it in their path")
        elif len(set(texts)) == 1:
            raise UsageError(
                f"--subject {config.subject!r} finds {texts[0]!r} in every picture's path, such as "
                f"{loaded.keys[0]}: it must tell people apart"
            )
    return Gathered(dataset, labelled.chosen, loaded, unreadable, groups, alike)


def _under_several_labels(loaded: LoadedPictures) -> list[int]:
    pairs = np.unique(np.stack([loaded.hashes, loaded.labels.astype(np.uint64)]), axis=1)
    hashes, labels = np.unique(pairs[0], return_counts=True)
    found: list[int] = np.flatnonzero(np.isin(loaded.hashes, hashes[labels > 1])).tolist()
    return found


def fingerprint(loaded: LoadedPictures, parts: Splits) -> str:
    """A checksum of pictures, labels and division; the input size has no part in it."""
    digest = hashlib.sha256(loaded.hashes.tobytes() + loaded.targets.tobytes())
    for name in SPLITS:
        digest.update(parts[name].tobytes() + b".")
    return digest.hexdigest()


def thin(
    indices: NDArray[np.int64], labels: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.int64]:
    """A share of each label's pictures, one at least, drawn by the seed alone.

    Args:
        indices: to draw from.
        labels: (N,) of all pictures.
        fraction: above 0, at most 1.
        seed: of the draw.
    """
    if fraction == 1:
        return indices
    draw = np.random.default_rng(seed)
    kept = [
        draw.permutation(own)[: max(1, round(fraction * len(own)))]
        for own in (indices[labels[indices] == label] for label in np.unique(labels[indices]))
    ]
    return np.sort(np.concatenate(kept))
