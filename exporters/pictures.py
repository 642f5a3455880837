"""The pictures of an export: which calibrate, which check, and that no picture does both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import TrainedOn, read_arrays, read_trained_on
from edge_emotion.card import (
    CALIBRATION_NAME,
    CalibrationKind,
    CalibrationRecord,
    ModelCard,
)
from edge_emotion.errors import DataError, ModelError, UsageError
from edge_emotion.training.data import read_dataset_for
from edge_emotion.training.loading import LoadedPictures, load_pictures
from edge_emotion.training.samples import OTHER_LABEL

#: The value of `calibration` that stands for the model folder's own pictures.
FROM_CARD = "card"


@dataclass(frozen=True)
class CalibrationSet:
    """uint8 pictures (N, H, W, C) on which activation ranges are measured."""

    pixels: NDArray[np.uint8]
    record: CalibrationRecord


@dataclass(frozen=True)
class CheckSet:
    """uint8 pictures (N, H, W, C) on which an export is compared with the float model."""

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None  # (N,); None: they have none


def card_pictures(folder: Path, card: ModelCard) -> tuple[CalibrationSet, CheckSet] | None:
    """The distilled pictures of a model folder, for calibration and for the check; None if none.

    Raises:
        ModelError: the file is damaged or does not fit the model.
    """
    path = folder / CALIBRATION_NAME
    arrays = read_arrays(path, lambda file: (file["calibration"], file["check"], int(file["seed"])))
    if arrays is None:
        return None
    calibration, check, seed = arrays
    for pixels in (calibration, check):
        if pixels.dtype != np.uint8 or pixels.shape[1:] != card.input.shape or not len(pixels):
            raise ModelError(f"{path}: not pictures of the model's input {card.input.shape}")
    return (
        _calibration(calibration, "distilled", "distilled from BatchNorm statistics", seed),
        CheckSet("distilled pictures", check, None),
    )


@dataclass(frozen=True)
class DataSides:
    """A folder of labelled pictures, divided by what the model has seen."""

    name: str
    loaded: LoadedPictures
    train: NDArray[np.int64]  # indices of training pictures
    held_out: NDArray[np.int64]  # indices of pictures that the model has never seen
    held_out_name: str
    context: float  # side of the pictures in face squares; 1: they have no surroundings


def load_sides(
    path: Path,
    card: ModelCard,
    trained_on: TrainedOn | None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    log: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
) -> DataSides:
    """Read labelled pictures and tell training pictures from held-out ones.

    By the record of what the model was trained on; pictures that it does not know are held out
    if the publisher puts them into test, or if the publisher has no split. A training picture of
    the publisher that the model has not seen is neither. Without a record the publisher's split is
    believed, and without a split it is the user who says, by --calibration and --data, which
    pictures are which.
    """
    dataset = read_dataset_for(path, card.labels)
    loaded, dropped = load_pictures(dataset, card.input, progress=progress, warn=warn)
    if dropped["unreadable"] * 2 > len(dataset.samples):
        raise DataError(f"{path}: more than half of the pictures cannot be read")
    there = set(loaded.labels.tolist())
    if missing := [label for i, label in enumerate(card.labels) if i not in there]:
        others = dataset.dropped[OTHER_LABEL]
        log(
            f"{path}: no picture of {', '.join(missing)}"
            + (f"; {others} of labels that the model does not have are left out" * bool(others))
        )
    publisher = np.array([s or "" for s in loaded.splits])
    if trained_on is None:
        train = np.flatnonzero(publisher == "train" if dataset.has_split else publisher != "test")
        held_out = np.flatnonzero(publisher == "test" if dataset.has_split else publisher != "test")
    else:
        train = np.flatnonzero(loaded.known_to(trained_on.train))
        unseen = ~loaded.known_to(trained_on.all)
        held_out = np.flatnonzero(unseen & (publisher == "test") if dataset.has_split else unseen)
        if not loaded.is_told_by(trained_on):
            log(
                f"{path}: {card.name} does not record the photographs that its pictures were cut "
                "from: some of these may be other crops of them"
            )
    part = "test" if dataset.has_split else "pictures"
    if trained_on is not None and not dataset.has_split:
        part += " not trained on"
    context = max(sample.context for sample in dataset.samples)
    return DataSides(dataset.name, loaded, train, held_out, f"{dataset.name} {part}", context)


def calibration_from(sides: DataSides, samples: int, seed: int) -> CalibrationSet:
    """Draw calibration pictures from the training side: balanced by label, seeded.

    Raises:
        DataError: there are fewer than 32 training pictures to draw from.
    """
    random = np.random.default_rng(seed)
    labels = sides.loaded.labels[sides.train]
    per_label = -(-samples // sides.loaded.targets.shape[1])
    drawn = [
        random.permutation(sides.train[labels == label])[:per_label]
        for label in range(sides.loaded.targets.shape[1])
    ]
    chosen = np.sort(np.concatenate(drawn))
    if len(chosen) < 32:
        raise DataError(
            f"{sides.name}: {len(chosen)} training pictures to calibrate on, 32 are the least and "
            "100 to 500 are usual; name the data that the model was trained on"
        )
    return _calibration(
        sides.loaded.pixels[chosen], "pictures", f"{sides.name} training pictures", seed
    )


def check_from(sides: DataSides) -> CheckSet | None:
    """The held-out pictures with their labels; None if there are none."""
    if not len(sides.held_out):
        return None
    loaded = sides.loaded
    return CheckSet(
        sides.held_out_name, loaded.pixels[sides.held_out], loaded.labels[sides.held_out]
    )


def full_range(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Calibration pictures with 0 and 255 among their pixels, uint8 (N, H, W, C).

    The range of an int8 input is what calibration has seen. Pictures taken in a dim room would have
    it end below 255, and what a camera sees brighter would be cut off (ONNX) or, where the bytes of
    a picture are the quantised input, misread (TFLite). If one of the two is missing, a copy is
    returned in which the first picture has them in two opposite corners.
    """
    if pixels.min() == 0 and pixels.max() == 255:
        return pixels
    pixels = pixels.copy()
    pixels[0, 0, 0], pixels[0, -1, -1] = 0, 255
    return pixels


def without_checked(
    sides: DataSides, checking: DataSides | None, check: CheckSet, log: Callable[[str], None]
) -> DataSides:
    """The same without the training pictures that are in the check, too: no picture does both.

    A few are: FER2013 has the same pictures in train and test.

    Args:
        sides: pictures to calibrate on.
        checking: what the pictures of the check were taken from, if that is labelled pictures.
        check: pictures to check on.
        log: told how many were left out.

    Raises:
        UsageError: most of them are, so that one folder seems to have been named for both.
    """
    checked = {pixels.tobytes() for pixels in check.pixels}
    shared = np.array([sides.loaded.pixels[i].tobytes() in checked for i in sides.train], np.bool_)
    if checking is not None and len(checking.held_out):  # also cut, or fitted, otherwise
        known = sides.loaded.known_to(checking.loaded.seen(checking.held_out))
        shared |= known[sides.train]
    count, total = int(shared.sum()), len(sides.train)
    if 2 * count > total:
        raise UsageError(
            f"{count} of {total} calibration pictures are also pictures of the check "
            f"({check.name}), which needs others: name them as --data"
        )
    if count:
        log(f"{count} of {total} training pictures are also in {check.name}: none calibrates")
    return replace(sides, train=sides.train[~shared])


def gather_pictures(
    folder: Path,
    card: ModelCard,
    calibrated: Sequence[str],
    calibration: str | Path,
    data: Path | None,
    samples: int,
    seed: int,
    progress: Callable[[Iterable[int]], Iterable[int]],
    log: Callable[[str], None],
    warn: Callable[[str], None],
) -> tuple[list[CalibrationSet], CheckSet]:
    """Calibration sets, the one to use first, and the pictures to check on.

    Where both distilled and real pictures are at hand the second set is only measured, so that
    the card shows what distilled pictures cost.

    Args:
        folder: the model folder.
        card: its card.
        calibrated: recipes that need calibration pictures; without any there are no sets.
        calibration: see `edge_emotion.exporters.export.export_model`, as `data`, `samples`,
            `seed`, `progress`, `log` and `warn`.

    Raises:
        UsageError: pictures are missing, or most of them both calibrate and check.
        DataError: they cannot be read, or there are too few.
    """
    trained_on = read_trained_on(folder)
    own = card_pictures(folder, card)
    calibrating = checking = None
    if str(calibration) != FROM_CARD:
        calibrating = checking = load_sides(
            Path(calibration), card, trained_on, progress, log, warn
        )
    if data is not None and (calibrating is None or data.resolve() != Path(calibration).resolve()):
        checking = load_sides(data, card, trained_on, progress, log, warn)
    for sides in {id(one): one for one in (calibrating, checking) if one}.values():
        if sides.context > 1 and card.input.face is None:
            log(
                f"{sides.name}: crops with surroundings (crops.json): the face square within is "
                f"read, 1/{sides.context:g} of the side; crop --context 1 makes crops without"
            )
    held_out = check_from(checking) if checking else None
    if data is not None and held_out is None:
        raise DataError(
            f"{data}: no held-out picture in it: the model has been trained on them all"
        )
    check = held_out or (own[1] if own else None)
    if calibrated and calibrating is None and own is None:
        raise UsageError(
            f"for {', '.join(calibrated)} calibration pictures are needed and {card.name} carries "
            "none: pass --calibration with the pictures that the model was trained on"
        )
    if check is None:
        raise UsageError(
            f"nothing to check the exports on: {card.name} carries no pictures: pass --data with "
            "labelled pictures that the model has not been trained on"
        )
    if not calibrated:
        return [], check
    sets = [own[0]] if own else []
    if calibrating is not None:
        drawn = calibration_from(without_checked(calibrating, checking, check, log), samples, seed)
        sets.insert(0, drawn)
    elif checking is not None and not np.intersect1d(checking.train, checking.held_out).size:
        # What is not known to be training pictures is for the check alone.
        checking = without_checked(checking, checking, check, log)
        if len(checking.train) >= samples:
            sets.append(calibration_from(checking, samples, seed))
    return sets, check


def _calibration(
    pixels: NDArray[np.uint8], kind: CalibrationKind, source: str, seed: int
) -> CalibrationSet:
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return CalibrationSet(pixels, CalibrationRecord(kind, source, len(pixels), seed, digest))
