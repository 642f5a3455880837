"""What a model says of a photograph: of each face in it, and of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_emotion.card import ModelCard
from edge_emotion.faces import Box, Face, Point

#: Faces of which the labels hold less than this share of the weight disagree.
AGREEMENT = 2 / 3


@dataclass(frozen=True)
class Prediction:
    """What the model says of one face. Plain Python values: JSON takes them as they are.

    The label names an expression that is shown, not what a person feels.
    """

    label: str
    score: float  # probability of the label, 0..1
    probabilities: dict[str, float]  # label -> probability, sums to 1
    uncertain: bool  # the score is under the card's threshold


@dataclass(frozen=True)
class FacePrediction:
    """One face of a picture. In pixels of the upright original; a box may reach over its edge."""

    box: Box  # x, y, width, height
    landmarks: tuple[Point, ...] | None  # see `edge_emotion.faces.Face`; None: a box was given
    detection: float  # the finder's score, 0..1; 1 for a box that was given
    prediction: Prediction


@dataclass(frozen=True)
class PhotoPrediction:
    """The answer for a whole picture, from the faces in it."""

    label: str | None  # None: no face was found
    score: float | None  # mean probability of the label, 0..1
    probabilities: dict[str, float]  # empty if no face was found
    uncertain: bool
    faces: list[FacePrediction]  # left to right


def combine(faces: Sequence[FacePrediction], card: ModelCard) -> PhotoPrediction:
    """The picture's answer: mean of the faces, weighted by size and certainty.

    A face counts by the side of its box, and by how far its answer is from knowing nothing
    (1 - entropy / highest entropy). The answer is uncertain if its probability is under the card's
    threshold, or if faces of less than two thirds of the weight have its label.

    Args:
        faces: of one picture.
        card: of the model.
    """
    if not faces:
        return PhotoPrediction(None, None, {}, True, [])
    weights = [
        math.sqrt(max(face.box[2] * face.box[3], 1e-6)) * max(_certainty(face.prediction), 1e-3)
        for face in faces
    ]
    total = sum(weights)
    probabilities = {
        label: sum(
            w * face.prediction.probabilities[label] for w, face in zip(weights, faces, strict=True)
        )
        / total
        for label in card.labels
    }
    label = max(probabilities, key=probabilities.__getitem__)
    agreeing = sum(
        w for w, face in zip(weights, faces, strict=True) if face.prediction.label == label
    )
    score = probabilities[label]
    uncertain = not score >= card.confidence.threshold or agreeing < AGREEMENT * total
    return PhotoPrediction(
        label, score, probabilities, uncertain, sorted(faces, key=lambda face: face.box[0])
    )


def _certainty(prediction: Prediction) -> float:
    """1 for a single label, 0 for all labels alike."""
    values = prediction.probabilities.values()
    entropy = -sum(p * math.log(p) for p in values if p > 0)
    return 1 - entropy / math.log(len(values))


def largest(faces: Sequence[Face], count: int) -> list[Face]:
    """The `count` largest faces, from left to right."""
    by_size = sorted(faces, key=lambda face: -face.box[2] * face.box[3])[:count]
    return sorted(by_size, key=lambda face: face.box[0])
