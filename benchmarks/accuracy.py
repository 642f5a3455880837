"""Accuracy and agreement: the pictures, and the logits that each artefact gives for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import read_trained_on
from edge_emotion.card import Agreement, Evaluation, ModelCard, Protocol
from edge_emotion.errors import DataError, EdgeEmotionError, UsageError, require
from edge_emotion.evaluation import Logits, compare, evaluate, reliability, softmax
from edge_emotion.training.data import read_dataset_for
from edge_emotion.training.loading import load_pictures

from ..exporters.pictures import card_pictures
from .processes import TIME_LIMIT, run_artefact
from .schema import REFERENCES, Data, ReliabilityBin
from .subjects import Subject
from .worker import LogitsRequest


@dataclass(frozen=True)
class Pictures:
    """What the artefacts are run on. The pixels are in a file, since workers read them."""

    data: Data
    pixels: Path  # .npy, uint8 (N, H, W, C)
    rows: NDArray[np.int64]  # those that count, indices into the file
    labels: NDArray[np.int64] | None  # of `rows`


@dataclass(frozen=True)
class Measured:
    """What the pictures said of one artefact."""

    evaluation: Evaluation | None
    reliability: list[ReliabilityBin]
    agreement: Agreement | None  # None for the reference itself


def labelled_pictures(
    path: Path,
    card: ModelCard,
    folder: Path | None,
    into: Path,
    *,
    include_training: bool = False,
    divided: bool = False,
    validation: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> Pictures:
    """Read labelled pictures: the publisher's test split if there is one, else all.

    Pictures that the model was trained or validated on are left out and counted.

    Args:
        path: a data set; see `read_dataset_for`.
        card: of the model.
        folder: of the model, which records what it was trained on; None: not known.
        into: folder for the pixels.
        include_training: do not leave them out, and call the figures what they then are.
        divided: instead, what a cross-validation divides: all but the publisher's test split.
        validation: instead, the pictures that the model was validated on, and no others: choices
            between models are made on them, so that test pictures choose nothing.
        progress: wraps the loop over pictures.
        warn: told of each picture that cannot be read.

    Raises:
        DataError: no data set, or nothing left of it.
        UsageError: `validation`, and the model does not record its pictures.
        UnknownNameError: the data have fewer than two labels of the model.
        MissingExtraError: scikit-learn is not installed; said before anything is measured.
    """
    require("sklearn", "measuring accuracy", "bench")
    dataset = read_dataset_for(path, card.labels)
    left_out = Counter(dataset.dropped)
    name = dataset.name
    known = read_trained_on(folder) if folder is not None else None
    if validation and known is None:
        raise UsageError(f"{card.name} does not record which pictures it was validated on")
    split = "valid" if validation else "test"
    part = [s for s in dataset.samples if (s.split == split) is not divided]
    if divided:
        left_out["in the publisher's test split"] += len(dataset.samples) - len(part)
    elif part:
        left_out[f"not in the publisher's {split} split"] += len(dataset.samples) - len(part)
    if part:
        dataset = replace(dataset, samples=part)
    if not divided and (part or validation):
        name += f" {split}"
    pixels = into / "labelled.npy"
    loaded, unreadable = load_pictures(
        dataset, card.input, middle=True, cache=pixels, progress=progress, warn=warn
    )
    left_out.update(unreadable)
    seen = None if known is None else loaded.known_to(known.all)
    trained_on = int(seen.sum()) if seen is not None else 0
    protocol: Protocol = "held-out"
    rows = np.arange(len(loaded))
    if validation and known is not None:  # a publisher without a split had it cut from train
        valid = loaded.known_to(known.valid)
        rows = np.flatnonzero(valid & ~loaded.known_to(known.train))
        trained_on = 0
        left_out["not among the model's validation pictures"] += len(loaded) - len(rows)
        if not len(rows):
            raise DataError(
                f"{path}: {card.name} was validated on none of its pictures that it was not "
                "trained on"
            )
    elif seen is not None and trained_on and include_training:
        protocol = "training-set"
    elif seen is not None:
        rows = np.flatnonzero(~seen)
    if not len(rows):
        raise DataError(
            f"{path}: the model has been trained on all of its {len(loaded)} pictures: name "
            "others, or pass --include-training-pictures for a training-set figure"
        )
    data = Data(
        kind="labelled",
        name=name,
        samples=len(rows),
        protocol=protocol,
        left_out={reason: count for reason, count in left_out.items() if count},
        trained_on=trained_on,
        trained_on_known=known is not None and loaded.is_told_by(known),
    )
    return Pictures(data, pixels, rows, loaded.labels[rows])


def unlabelled_pictures(card: ModelCard, folder: Path | None, into: Path) -> Pictures | None:
    """The model folder's own pictures that did not calibrate it; None if it carries none."""
    own = card_pictures(folder, card) if folder is not None else None
    if own is None:
        return None
    check = own[1]
    path = into / "unlabelled.npy"
    np.save(path, check.pixels)
    count = len(check.pixels)
    data = Data("unlabelled", check.name, count, None, {}, 0, trained_on_known=True)
    return Pictures(data, path, np.arange(count), None)


def no_pictures() -> Data:
    """Neither labelled pictures nor a folder that carries some."""
    return Data("none", "", 0, None, {}, 0, trained_on_known=False)


def run_subjects(
    subjects: Sequence[Subject],
    pictures: Pictures,
    *,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    run: Callable[[LogitsRequest, float], None] = run_artefact,
) -> tuple[dict[str, Logits], dict[str, EdgeEmotionError]]:
    """Logits of each artefact on the pictures, a process for each.

    Returns:
        Recipe -> logits of shape (rows, labels), and recipe -> error.
    """
    logits: dict[str, Logits] = {}
    errors: dict[str, EdgeEmotionError] = {}
    for i in progress(range(len(subjects))):
        subject = subjects[i]
        out = pictures.pixels.with_name(f"{subject.recipe}.npy")
        request = LogitsRequest(str(subject.path), str(pictures.pixels), str(out))
        try:
            run(request, TIME_LIMIT + len(pictures.rows))
        except EdgeEmotionError as error:
            errors[subject.recipe] = error
        else:
            logits[subject.recipe] = np.load(out)[pictures.rows]
    return logits, errors


def judge(
    logits: dict[str, Logits], pictures: Pictures, card: ModelCard
) -> tuple[str | None, dict[str, Measured]]:
    """Score each artefact, and compare it with the float reference.

    Returns:
        The reference's recipe (None: no float model ran), and recipe -> figures.
    """
    reference = next((recipe for recipe in REFERENCES if recipe in logits), None)
    temperature = card.confidence.temperature
    data, labels = pictures.data, pictures.labels
    measured = {}
    for recipe, own in logits.items():
        evaluation, bins = None, []
        if labels is not None:
            assert data.protocol is not None  # labelled pictures have one
            evaluation = evaluate(
                own, labels, card.labels,
                data=data.name, protocol=data.protocol, temperature=temperature,
            )  # fmt: skip
            rows = reliability(softmax(own, temperature), labels)
            bins = [ReliabilityBin(*row) for row in rows]
        agreement = None
        if reference is not None and recipe != reference:
            agreement = compare(
                logits[reference], own, data=data.name, labels=labels, temperature=temperature
            )
        measured[recipe] = Measured(evaluation, bins, agreement)
    return reference, measured
