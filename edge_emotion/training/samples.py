"""A labelled data set before its pictures are read."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from edge_emotion.card import FaceCrop
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
    dataset: str = ""  # name of the data set
    context: float = 1.0  # side of the picture / side of the face square in its middle
    crop: bool = False  # cut out of a photograph by `edge-emotion crop`

    @property
    def label(self) -> int:
        """Index of the label with the most votes."""
        return int(np.argmax(self.target))

    def left_out(self, error: Exception) -> str:
        """The line that says why this picture is left out.

        An error of bytes, as FER+'s pictures are read, does not know whose they are; a path's does.
        """
        reason = str(error)
        if reason.startswith("bytes: "):
            reason = self.key + reason.removeprefix("bytes")
        return f"left out: {reason}"


#: Why a picture is dropped that has a label beside those that were chosen.
OTHER_LABEL = "a label that was not asked for"


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
    face: FaceCrop | None = None  # the square that was cut around faces, if it was

    @property
    def has_split(self) -> bool:
        """Whether the publisher says which pictures are for testing."""
        return any(s.split == "test" for s in self.samples)


def merge_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """Several data sets as one, with the labels of the first.

    Labels are matched as in `choose_labels`; pictures with a label that the first data set does not
    have are dropped and counted.

    Raises:
        UsageError: two data sets have one name, share no label, or were cut around faces otherwise.
    """
    first = datasets[0]
    if len(datasets) == 1:
        return first
    names = [d.name for d in datasets]
    if len(set(names)) != len(names):
        raise UsageError(f"two data sets have one name: {', '.join(names)}: rename a folder")
    if len({d.face for d in datasets} - {None}) > 1:
        raise UsageError(f"{', '.join(names)}: cut out with other margins: crop them alike")
    position = {canonical(label): i for i, label in enumerate(first.labels)}
    samples: list[Sample] = []
    dropped: Counter[str] = Counter()
    for dataset in datasets:
        columns = [position.get(canonical(label)) for label in dataset.labels]
        if all(column is None for column in columns):
            raise UsageError(
                f"{dataset.name} has none of the labels {', '.join(first.labels)}, "
                f"only {', '.join(dataset.labels)}"
            )
        dropped += dataset.dropped
        for sample in dataset.samples:
            target = [0.0] * len(first.labels)
            for column, share in zip(columns, sample.target, strict=True):
                if column is not None:
                    target[column] += share
            if columns[sample.label] is None:
                dropped[OTHER_LABEL] += 1
                continue
            total = sum(target)
            samples.append(replace(sample, target=tuple(share / total for share in target)))

    def joined(values: Sequence[str]) -> str:
        return "; ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))

    return Dataset(
        name=" and ".join(names),
        layout=joined([d.layout for d in datasets]),
        source=joined([d.source for d in datasets]),
        licence=joined([d.licence for d in datasets]),
        labels=first.labels,
        samples=samples,
        dropped=dropped,
        face=next((d.face for d in datasets if d.face is not None), None),
    )


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
