"""FER+ in its official layout, and the FER2013 csv with or without FER+'s votes."""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from edge_emotion.card import FaceCrop
from edge_emotion.errors import DataError
from edge_emotion.preprocess import Picture
from edge_emotion.training.samples import (
    OTHER_LABEL,
    Dataset,
    Sample,
    SplitName,
    choose_labels,
    one_hot,
)

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
FER_SOURCE = "FER2013 (Goodfellow et al., 2013)"
FER_LICENCE = "images: FER2013, research use as published on Kaggle"


class FolderTree:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ferplus_root(self) -> str | None:
        """The folder that holds FER2013Train and the others; None if there is none."""
        for root in (".", "ferplus", "FERPlus", "data"):
            if any((self.root / root / f / "label.csv").is_file() for f in FERPLUS_FOLDERS):
                return root
        return None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        """All of a file."""
        return (self.root / name).read_bytes()


class ZipTree:
    """Files in a zip."""

    def __init__(self, path: Path) -> None:
        try:
            self.zip = zipfile.ZipFile(path)
        except Exception as error:  # damaged ones raise nearly anything
            raise DataError(f"{path}: not a zip, a csv or a folder: {error}") from error
        self.names = set(self.zip.namelist())

    def ferplus_root(self) -> str | None:
        """The folder that holds FER2013Train and the others; None if there is none."""
        for name in sorted(self.names):
            parts = PurePosixPath(name)
            if parts.name == "label.csv" and parts.parent.name in FERPLUS_FOLDERS:
                return str(parts.parent.parent)
        return None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.names

    def read(self, name: str) -> bytes:
        """All of a file."""
        try:
            return self.zip.read(name)
        except Exception as error:  # zipfile and its decompressors share no base
            raise DataError(f"{name} in the zip: {str(error) or 'damaged'}") from error


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
        dropped[OTHER_LABEL] += 1
        return None
    kept = [votes[i] for _, i in chosen]
    return tuple(v / sum(kept) for v in kept)


def read_ferplus(path: Path, tree: FolderTree | ZipTree, labels: Sequence[str] | None) -> Dataset:
    """FER+ in its official layout; see `edge_emotion.training.data.read_dataset`."""
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
                if "\0" in row[0]:
                    raise ValueError("expected a name in the first column")
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
        face=FaceCrop(),
    )


def read_fer2013(path: Path, labels: Sequence[str] | None) -> Dataset:
    """The FER2013 csv; see `edge_emotion.training.data.read_dataset`."""
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
                target = one_hot(position[emotion], len(chosen))
            else:
                dropped[OTHER_LABEL] += 1
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
        face=FaceCrop(),
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
