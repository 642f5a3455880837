"""Reading labelled pictures, whatever the layout.

Nothing here imports TensorFlow, so a benchmark on a Raspberry Pi reads data sets too.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from edge_emotion.card import FaceCrop
from edge_emotion.errors import DataError, UnknownNameError
from edge_emotion.files import files_under
from edge_emotion.preprocess import PICTURE_SUFFIXES
from edge_emotion.training.fer import FolderTree, ZipTree, read_fer2013, read_ferplus
from edge_emotion.training.samples import (
    OTHER_LABEL,
    Dataset,
    Sample,
    SplitName,
    canonical,
    choose_labels,
    one_hot,
)

#: What `edge-emotion crop` writes beside the pictures.
CROPS_NAME = "crops.json"


@dataclass(frozen=True)
class CropRecord:
    """How the pictures of a folder were cut out of photographs."""

    context: float  # side of the pictures / side of the face square in their middle
    face: FaceCrop  # the square
    finder: str
    pictures: int
    without_face: int  # photographs in which none was found
    unreadable: int = 0  # photographs that could not be read


SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train", "training": "train",
    "val": "valid", "valid": "valid", "validation": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip


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
        DataError: nothing there, no layout that is known, or it cannot be read.
        UnknownNameError: a label that the data do not have.
        UsageError: a label named twice, or fewer than two.
    """
    try:
        dataset = _read_layout(path, labels)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from error
    if not dataset.samples:
        raise DataError(f"{path}: no pictures with the labels {', '.join(dataset.labels)}")
    for name in (dataset.name, *dataset.labels):
        try:
            name.encode()
        except UnicodeEncodeError as error:  # no card could name it, after hours of training
            raise DataError(f"{path}: the name {name!a} is not UTF-8: rename the folder") from error
        if not name.isprintable():
            raise DataError(f"{path}: the name {name!a} is not one line of text: rename the folder")
    crops = _crops(path)
    context = crops.context if crops else 1.0
    samples = [
        replace(s, dataset=dataset.name, context=context, crop=crops is not None)
        for s in dataset.samples
    ]
    return replace(dataset, samples=samples, face=crops.face if crops else dataset.face)


def read_dataset_for(path: Path, labels: Sequence[str]) -> Dataset:
    """A data set with a model's labels, some of which it may lack.

    Args:
        path: see `read_dataset`, as for what it raises.
        labels: of the model.

    Raises:
        UnknownNameError: the data have fewer than two of them.
    """
    try:
        return read_dataset(path, labels)
    except UnknownNameError:
        available = [canonical(label) for label in read_dataset(path).labels]
        there = [i for i, label in enumerate(labels) if canonical(label) in available]
        if len(there) < 2:
            raise
    dataset = read_dataset(path, [labels[i] for i in there])

    def spread(target: tuple[float, ...]) -> tuple[float, ...]:
        shares = dict(zip(there, target, strict=True))
        return tuple(shares.get(i, 0.0) for i in range(len(labels)))

    samples = [replace(sample, target=spread(sample.target)) for sample in dataset.samples]
    return replace(dataset, labels=list(labels), samples=samples)


def _read_layout(path: Path, labels: Sequence[str] | None) -> Dataset:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: neither a file nor a folder")
    if path.is_file() and path.suffix.lower() == ".csv":
        return read_fer2013(path, labels)
    if path.is_file():
        return read_ferplus(path, ZipTree(path), labels)
    tree = FolderTree(path)
    if tree.ferplus_root() is not None:
        return read_ferplus(path, tree, labels)
    return _read_class_folders(path, labels)


def _crops(path: Path) -> CropRecord | None:
    """How the pictures of a folder were cut out, if `edge-emotion crop` made it."""
    file = path / CROPS_NAME
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=CropRecord)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: damaged: {error}: make the folder again") from error


def _read_class_folders(path: Path, labels: Sequence[str] | None) -> Dataset:
    """``class/**/picture`` or ``split/class/**/picture``; hidden files and folders are skipped."""

    def folders(parent: Path) -> list[Path]:
        return sorted(p for p in parent.iterdir() if p.is_dir() and not hidden(p.name))

    def hidden(folder: str) -> bool:
        return folder.startswith((".", "_"))

    def failed(error: OSError) -> None:
        if not any(map(hidden, Path(error.filename).relative_to(path).parts)):
            raise error

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
            for file in files_under(folder, failed):
                inside = file.relative_to(path).parts[:-1]
                if file.name.startswith(".") or any(map(hidden, inside)):
                    continue
                if file.suffix.lower() not in PICTURE_SUFFIXES:
                    dropped["not a picture by its ending"] += 1
                elif folder.name not in position:
                    dropped[OTHER_LABEL] += 1
                else:
                    target = one_hot(position[folder.name], len(chosen))
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
