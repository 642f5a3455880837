"""Reading labelled pictures: class folders, FER+, the FER2013 csv.

Nothing here imports TensorFlow, so a benchmark on a Raspberry Pi reads data sets too.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from edge_emotion.errors import DataError, UnknownNameError, UsageError
from edge_emotion.preprocess import PICTURE_SUFFIXES, Picture

SplitName = Literal["train", "valid", "test"]

SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train", "training": "train",
    "val": "valid", "valid": "valid", "validation": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
FERPLUS_FOLDERS: dict[str, SplitName] = {
    "FER2013Train": "train",
    "FER2013Valid": "valid",
    "FER2013Test": "test",
}
FER2013_USAGE: dict[str, SplitName] = {
    "Training": "train",
    "PublicTest": "valid",
    "PrivateTest": "test",
}
#: The vote columns of FER+, in its order. The last two are no expressions.
FERPLUS_VOTES = (
    "neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt",
    "unknown", "no face",
)  # fmt: skip
FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
#: Other names of the same label, so that `happy` finds `Happiness`.
SYNONYMS = {
    "anger": "angry", "happiness": "happy", "happyness": "happy", "sadness": "sad",
    "surprised": "surprise", "disgusted": "disgust", "fearful": "fear",
}  # fmt: skip
FER_SOURCE = "FER2013 (Goodfellow et al., 2013)"
FER_LICENCE = "images: FER2013, research use as published on Kaggle"


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


def read_dataset(path: Path, labels: Sequence[str] | None = None) -> Dataset:
    """Find the labelled pictures under `path`, whatever the layout.

    - a folder of class folders, or of ``train``, ``valid``, ``test`` folders of class folders;
    - FER+ in its official layout, a folder or a zip; votes become soft targets over the
      chosen labels, and pictures whose first choice is another, or tied, are dropped;
    - a FER2013 csv (``emotion,pixels,Usage``), joined to ``fer2013new.csv`` if that lies beside it.

    Args:
        path: folder, zip or csv.
        labels: which labels, in this order; matched without case, `happiness` is `happy`.
            None: all that the data have.

    Raises:
        DataError: nothing there, or no layout that is known.
        UnknownNameError: a label that the data do not have.
        UsageError: a label named twice, or fewer than two.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_file() and path.suffix.lower() == ".csv":
        dataset = _read_fer2013(path, labels)
    elif path.is_file():
        dataset = _read_ferplus(path, _ZipTree(path), labels)
    else:
        tree = _FolderTree(path)
        if tree.ferplus_root() is not None:
            dataset = _read_ferplus(path, tree, labels)
        else:
            dataset = _read_class_folders(path, labels)
    if not dataset.samples:
        raise DataError(f"{path}: no pictures with the labels {', '.join(dataset.labels)}")
    return dataset


class _FolderTree:
    def __init__(self, root: Path) -> None:
        self.root = root

    def ferplus_root(self) -> str | None:
        for root in (".", "ferplus", "FERPlus", "data"):
            if any((self.root / root / f / "label.csv").is_file() for f in FERPLUS_FOLDERS):
                return root
        return None

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


class _ZipTree:
    def __init__(self, path: Path) -> None:
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a zip, a csv or a folder: {error}") from error
        self.names = set(self.zip.namelist())

    def ferplus_root(self) -> str | None:
        for name in sorted(self.names):
            parts = PurePosixPath(name)
            if parts.name == "label.csv" and parts.parent.name in FERPLUS_FOLDERS:
                return str(parts.parent.parent)
        return None

    def has(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str) -> bytes:
        try:
            return self.zip.read(name)
        except Exception as error:  # zipfile and its decompressors share no base
            raise DataError(f"{name} in the zip: {str(error) or 'damaged'}") from error


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


def _rows(lines: Iterable[str], where: str) -> Iterator[tuple[int, list[str]]]:
    """(number counted from 1, columns) of each row of a csv that is not blank."""
    rows = csv.reader(lines)
    try:
        for number, row in enumerate(rows, 1):
            if row:
                yield number, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{where} line {rows.line_num + 1}: not a csv: {error}") from error


def _lines(data: bytes) -> Iterable[str]:
    return io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")


def _votes(columns: Sequence[str]) -> list[int]:
    votes = [int(v or 0) for v in columns]
    if len(votes) != 10 or min(votes) < 0:
        raise ValueError("expected ten counts of votes")
    return votes


def _one_hot(index: int, size: int) -> tuple[float, ...]:
    return tuple(float(i == index) for i in range(size))


def _from_votes(
    votes: Sequence[int],
    chosen: Sequence[tuple[str, int]],
    split: SplitName,
    dropped: Counter[str],
) -> tuple[float, ...] | None:
    """Votes -> soft target over the chosen labels; None if the picture is not used.

    Validation and test take the pictures on which more than half of the raters agree, as is usual
    for FER+. Training also takes those with a plurality: their soft targets say how sure they are.
    """
    top = max(votes)
    if top == 0 or list(votes).count(top) != 1:
        dropped["votes are tied"] += 1
        return None
    if split != "train" and 2 * top <= sum(votes):
        dropped[f"no majority of the votes, in {split}"] += 1
        return None
    if list(votes).index(top) not in {i for _, i in chosen}:
        dropped["a label that was not asked for"] += 1
        return None
    kept = [votes[i] for _, i in chosen]
    return tuple(v / sum(kept) for v in kept)


def _read_ferplus(
    path: Path, tree: _FolderTree | _ZipTree, labels: Sequence[str] | None
) -> Dataset:
    root = tree.ferplus_root()
    if root is None:
        raise DataError(f"{path}: no FER2013Train|Valid|Test/label.csv inside")
    chosen = choose_labels(FERPLUS_VOTES[:8], labels)
    dropped: Counter[str] = Counter()
    samples = []
    for folder, split in FERPLUS_FOLDERS.items():
        base = str(PurePosixPath(root) / folder)
        if not tree.has(f"{base}/label.csv"):
            continue
        where = f"{base}/label.csv"
        for number, row in _rows(_lines(tree.read(where)), where):
            try:
                votes = _votes(row[2:12])
                if len(re.findall(r"-?\d+", row[1])) != 4:
                    raise ValueError("expected a box in the second column")
            except ValueError as error:
                raise DataError(f"{where} line {number}: not FER+: {error}") from error
            target = _from_votes(votes, chosen, split, dropped)
            if target is None:
                continue
            name = f"{base}/{row[0]}"
            samples.append(Sample(f"{folder}/{row[0]}", target, split, partial(tree.read, name)))
    return Dataset(
        name="FER+",
        layout="FER+",
        source=f"{FER_SOURCE}; votes: FER+ (Barsoum et al., 2016, arXiv 1608.01041)",
        licence=f"{FER_LICENCE}; votes: MIT",
        labels=[name for name, _ in chosen],
        samples=samples,
        dropped=dropped,
    )


def _read_fer2013(path: Path, labels: Sequence[str] | None) -> Dataset:
    votes_path = path.with_name("fer2013new.csv")
    if path.name == votes_path.name:
        raise DataError(f"{path} holds votes without pictures: name the fer2013.csv beside it")
    votes_rows: Iterator[tuple[int, list[str]]] | None = None
    if votes_path.exists():
        votes_rows = _rows(_lines(votes_path.read_bytes()), str(votes_path))
        next(votes_rows, None)
    chosen = choose_labels(FERPLUS_VOTES[:8] if votes_rows else FER2013_LABELS, labels)
    position = {index: i for i, (_, index) in enumerate(chosen)}
    dropped: Counter[str] = Counter()
    samples = []
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = _rows(file, str(path))
        _, header = next(rows, (1, []))
        if [name.strip().casefold() for name in header[:3]] != ["emotion", "pixels", "usage"]:
            raise DataError(f"{path}: not FER2013: the header is not emotion,pixels,Usage")
        for number, row in rows:
            try:
                if len(row) < 3 or row[2].strip() not in FER2013_USAGE:
                    raise ValueError(f"expected three columns, the last one of {[*FER2013_USAGE]}")
                emotion, text, usage = int(row[0]), row[1], FER2013_USAGE[row[2].strip()]
                if not 0 <= emotion < len(FER2013_LABELS):
                    raise ValueError(f"emotion {emotion} is not 0..6")
                votes = None
                if votes_rows is not None:
                    _, votes_row = next(votes_rows, (0, []))
                    if not votes_row or votes_row[0].strip() != row[2].strip():
                        raise ValueError(f"{votes_path.name} is of other rows than {path.name}")
                    votes = _votes(votes_row[2:12])
            except ValueError as error:
                raise DataError(f"{path} line {number}: not FER2013: {error}") from error
            target: tuple[float, ...] | None
            if votes is not None:
                target = _from_votes(votes, chosen, usage, dropped)
            elif emotion in position:
                target = _one_hot(position[emotion], len(chosen))
            else:
                dropped["a label that was not asked for"] += 1
                target = None
            if target is not None:
                key = f"{path.name}:{number}"
                samples.append(Sample(key, target, usage, partial(_parse_pixels, text, key)))
    votes_source = "; votes: FER+ (Barsoum et al., 2016, arXiv 1608.01041)" if votes_rows else ""
    return Dataset(
        name="FER+" if votes_rows else "FER2013",
        layout="FER2013 csv" + (" with FER+ votes" if votes_rows else ""),
        source=FER_SOURCE + votes_source,
        licence=FER_LICENCE + ("; votes: MIT" if votes_rows else ""),
        labels=[name for name, _ in chosen],
        samples=samples,
        dropped=dropped,
    )


def _parse_pixels(text: str, key: str) -> Picture:
    try:
        values = np.array(text.split(), dtype=np.uint8)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{key}: pixels are not 0..255: {error}") from error
    side = round(values.size**0.5)
    if side < 1 or side * side != values.size:
        raise DataError(f"{key}: {values.size} pixels are not a square")
    return values.reshape(side, side)


def _read_class_folders(path: Path, labels: Sequence[str] | None) -> Dataset:
    """``class/**/picture`` or ``split/class/**/picture``; hidden files and folders are skipped."""

    def folders(parent: Path) -> list[Path]:
        return sorted(p for p in parent.iterdir() if p.is_dir() and not hidden(p.name))

    def hidden(folder: str) -> bool:
        return folder.startswith((".", "_"))

    children = folders(path)
    by_split = [(SPLIT_FOLDERS.get(p.name.casefold()), p) for p in children]
    divided = [p for split, p in by_split if split is not None and folders(p)]
    roots: list[tuple[SplitName | None, Path]]
    if len({split for split, _ in by_split} - {None}) >= 2 and divided:
        strays = [p.name for split, p in by_split if split is None]
        if strays:
            raise DataError(
                f"{path}: {', '.join(strays)} beside {', '.join(p.name for p in divided)}: neither "
                "a split nor a label; move it elsewhere"
            )
        roots = by_split
    else:
        roots = [(None, path)]
    classes = sorted({p.name for _, root in roots for p in folders(root)})
    if len(classes) < 2:
        raise DataError(
            f"{path}: expected a folder with a sub-folder of pictures for each label "
            f"(found {len(classes)}), FER+ or a FER2013 csv"
        )
    for one, other in itertools.combinations(classes, 2):
        if canonical(one) == canonical(other):
            raise DataError(f"{path}: folders {one} and {other} name one label: rename one")
    chosen = choose_labels(classes, labels)
    samples: list[Sample] = []
    dropped: Counter[str] = Counter()
    position = {classes[index]: i for i, (_, index) in enumerate(chosen)}
    for split, root in roots:
        for folder in folders(root):
            files = sorted(
                p
                for p in folder.rglob("*")
                if p.is_file()
                and not p.name.startswith(".")
                and not any(map(hidden, p.relative_to(folder).parts[:-1]))
            )
            for file in files:
                if file.suffix.lower() not in PICTURE_SUFFIXES:
                    dropped["not a picture by its ending"] += 1
                elif folder.name not in position:
                    dropped["a label that was not asked for"] += 1
                else:
                    target = _one_hot(position[folder.name], len(chosen))
                    key = file.relative_to(path).as_posix()
                    samples.append(Sample(key, target, split, partial(Path, file)))
    return Dataset(
        name=path.resolve().name,
        layout="class folders",
        source="the user's folder; see its publisher",
        licence="unknown: set by the publisher of the pictures",
        labels=[name for name, _ in chosen],
        samples=samples,
        dropped=dropped,
    )
