"""A labelled data set before its pictures are read."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edge_emotion.errors import UnknownNameError, UsageError
from edge_emotion.preprocess import Picture

SplitName = Literal["train", "valid", "test"]

#: Other names of the same label, so that `happy` finds `Happiness`.
SYNONYMS = {
    "anger": "angry", "happiness": "happy", "happyness": "happy", "sadness": "sad",
    "surprised": "surprise", "disgusted": "disgust", "fearful": "fear",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One labelled picture, not yet read."""

    key: str  # path inside the data set
    target: tuple[float, ...]  # probability of each label; sums to 1
    split: SplitName | None  # the publisher's, if there is one
    read: Callable[[], Picture]

    @property
    def label(self) -> int:
        """Index of the label with the most votes."""
        return int(np.argmax(self.target))


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures in the order in which they were found."""

    name: str
    layout: str
    source: str
    licence: str
    labels: list[str]
    samples: list[Sample]
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> pictures

    @property
    def has_split(self) -> bool:
        """Whether the publisher says which pictures are for testing."""
        return any(s.split == "test" for s in self.samples)


def canonical(label: str) -> str:
    """A label without case, and by its usual name."""
    folded = unicodedata.normalize("NFC", label.strip()).casefold()
    return SYNONYMS.get(folded, folded)


def choose_labels(available: Sequence[str], wanted: Sequence[str] | None) -> list[tuple[str, int]]:
    """(name for the card, index into `available`) of each label that is wanted.

    Raises:
        UnknownNameError: one that is not available.
        UsageError: one is named twice, or fewer than two are.
    """
    if wanted is None:
        return [(name, i) for i, name in enumerate(available)]
    known = {canonical(name): i for i, name in enumerate(available)}
    chosen = []
    for name in wanted:
        if canonical(name) not in known:
            raise UnknownNameError("label", name, available)
        chosen.append((name.strip(), known[canonical(name)]))
    if len({i for _, i in chosen}) != len(chosen):
        raise UsageError(f"a label is named twice: {', '.join(wanted)}")
    if len(chosen) < 2:
        raise UsageError(f"name two labels or more of {', '.join(available)}")
    return chosen


def one_hot(index: int, size: int) -> tuple[float, ...]:
    """The target of a picture with one label."""
    return tuple(float(i == index) for i in range(size))
