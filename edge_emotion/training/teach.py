"""Soft targets from trained models (Hinton et al., "Distilling the Knowledge in a Neural Network",
arXiv 1503.02531): what a model answers for a training picture is mixed into the picture's target.

Each teacher answers for the picture and for its mirror image. A teacher of fewer labels only says
how the share of its own labels is divided among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import Artefact, open_artefact
from edge_emotion.errors import UsageError
from edge_emotion.evaluation import softmax
from edge_emotion.runtimes import check_fits, open_runtime
from edge_emotion.training.loading import LoadedPictures
from edge_emotion.training.samples import canonical

BATCH = 256


def teach(
    loaded: LoadedPictures,
    train: NDArray[np.int64],
    labels: Sequence[str],
    teachers: Sequence[str],
    share: float,
) -> tuple[LoadedPictures, list[str]]:
    """Mix the mean of the teachers' answers into the targets of the training pictures.

    Args:
        loaded: the pictures.
        train: indices to teach; the targets of the others stay.
        labels: of the targets' columns.
        teachers: model folders with a Keras file and the same input.
        share: of the teachers in the new targets, 0..1.

    Returns:
        The pictures with new targets, and each teacher as "name sha256", for the card.

    Raises:
        ModelError, ChecksumError: a teacher cannot be run.
        UsageError: a teacher has another input, or a label that the data do not have.
    """
    votes = loaded.targets[train].astype(np.float64)
    answers = np.zeros_like(votes)
    names = []
    for teacher in teachers:
        artefact = open_artefact(teacher, "keras")
        columns = _columns(artefact, labels)
        own = _probabilities(artefact, loaded.pixels, train)
        taught = votes.copy()
        # A teacher of all labels divides all of the target: 1.
        taught[:, columns] = own * votes[:, columns].sum(axis=1, keepdims=True)
        answers += taught
        names.append(f"{artefact.card.name} {artefact.card.keras_sha256}")
    targets = loaded.targets.copy()
    targets[train] = (1 - share) * votes + share * answers / len(teachers)
    return replace(loaded, targets=targets), names


def _columns(artefact: Artefact, labels: Sequence[str]) -> list[int]:
    """Where the teacher's labels are among those of the targets."""
    known = {canonical(label): i for i, label in enumerate(labels)}
    missing = [label for label in artefact.card.labels if canonical(label) not in known]
    if missing:
        raise UsageError(
            f"--teacher {artefact.card.name}: no {missing[0]} among {', '.join(labels)}"
        )
    return [known[canonical(label)] for label in artefact.card.labels]


def _probabilities(
    artefact: Artefact, pixels: NDArray[np.uint8], train: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean over picture and mirror image, (len(train), labels of the teacher)."""
    card = artefact.card
    if card.input.shape != pixels.shape[1:]:
        raise UsageError(
            f"--teacher {card.name}: its input is {card.input.shape}, not that of the net"
        )
    runtime = open_runtime(artefact.path, None)
    check_fits(runtime, card.input, len(card.labels), artefact.path)
    parts = []
    for i in range(0, len(train), BATCH):
        batch = np.ascontiguousarray(pixels[train[i : i + BATCH]])
        mirrored = np.ascontiguousarray(batch[:, :, ::-1])
        temperature = card.confidence.temperature
        both = [softmax(runtime.logits(x), temperature) for x in (batch, mirrored)]
        parts.append((both[0] + both[1]) / 2)
    return np.concatenate(parts)
