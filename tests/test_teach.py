"""Soft targets from trained models, with a teacher that a test can compute by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_emotion.card import InputSpec
from edge_emotion.errors import UsageError
from edge_emotion.training import teach as module
from edge_emotion.training.loading import LoadedPictures
from edge_emotion.training.teach import teach
from tests import tiny

LABELS = ["neutral", "happiness", "sad", "angry"]


class LeftIsHappy:
    """Logit of its second label: the brightness of the left half; the others have 0."""

    input_shape = (4, 4, 1)

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    def logits(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        result = np.zeros((len(batch), self.outputs), np.float32)
        result[:, 1] = batch[:, :, :2].mean(axis=(1, 2, 3)) / 100
        return result


@pytest.fixture(autouse=True)
def teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = {
        "three": tiny.make_card(name="three", input=InputSpec(4, 4, 1), keras_sha256="3" * 64),
        "four": tiny.make_card(
            name="four", labels=["neutral", "happy", "sad", "angry"], input=InputSpec(4, 4, 1),
            keras_sha256="4" * 64,
        ),
        "large": tiny.make_card(name="large", input=InputSpec(8, 8, 1)),
        "other": tiny.make_card(name="other", labels=["happy", "bored"], input=InputSpec(4, 4, 1)),
    }  # fmt: skip

    def open_artefact(name: str, runtime: str) -> SimpleNamespace:
        assert runtime == "keras"
        return SimpleNamespace(card=cards[name], path=name)

    monkeypatch.setattr(module, "open_artefact", open_artefact)
    monkeypatch.setattr(
        module, "open_runtime", lambda path, threads: LeftIsHappy(len(cards[path].labels))
    )


def pictures() -> LoadedPictures:
    """Three pictures: bright at the left, at the right, nowhere."""
    pixels = np.zeros((3, 4, 4, 1), np.uint8)
    pixels[0, :, :2] = pixels[1, :, 2:] = 200
    targets = np.array([[0, 0.5, 0.5, 0], [0.4, 0.6, 0, 0], [0, 0, 0, 1]], np.float32)
    zeros = np.zeros(3, np.uint64)
    return LoadedPictures(
        pixels, targets, targets.argmax(axis=1), zeros, None, [None] * 3, list("abc"), ["x"] * 3
    )


def happy(temperature: float, outputs: int) -> float:
    """The answer to a picture that is bright on one side and to its mirror image, in the mean."""
    bright = np.exp(2 / temperature)
    return float((bright / (bright + outputs - 1) + 1 / outputs) / 2)


def test_a_teacher_of_all_labels_is_mixed_in_with_its_mirror_image() -> None:
    taught, names = teach(pictures(), np.array([0, 1, 2]), LABELS, ["four"], 0.5)
    p = happy(tiny.make_card().confidence.temperature, 4)
    rest = (1 - p) / 3
    expected = [[rest / 2, 0.25 + p / 2, 0.25 + rest / 2, rest / 2]]
    np.testing.assert_allclose(taught.targets[:1], expected, atol=1e-6)
    # Mirroring makes left and right one and the same.
    np.testing.assert_allclose(taught.targets[1], [0.2 + rest / 2, 0.3 + p / 2, rest / 2, rest / 2],
                               atol=1e-6)  # fmt: skip
    assert names == ["four " + "4" * 64]


def test_a_teacher_of_fewer_labels_divides_their_share_only() -> None:
    taught, _ = teach(pictures(), np.array([1]), LABELS, ["three"], 1.0)
    p = happy(tiny.make_card().confidence.temperature, 3)  # of angry, happy, sad
    expected = [0.4, 0.6 * p, 0.6 * (1 - p) / 2, 0.6 * (1 - p) / 2]
    np.testing.assert_allclose(taught.targets[1], expected, atol=1e-6)


def test_targets_stay_distributions_and_the_rest_is_not_touched() -> None:
    before = pictures()
    taught, _ = teach(before, np.array([0, 1]), LABELS, ["three", "four"], 0.7)
    np.testing.assert_allclose(taught.targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(taught.targets[2], before.targets[2])
    np.testing.assert_array_equal(before.targets, pictures().targets)
    assert taught.pixels is before.pixels


def test_no_share_changes_nothing() -> None:
    taught, _ = teach(pictures(), np.arange(3), LABELS, ["four"], 0.0)
    np.testing.assert_allclose(taught.targets, pictures().targets, atol=1e-7)


def test_another_input_or_label_is_refused() -> None:
    with pytest.raises(UsageError, match="large: its input is"):
        teach(pictures(), np.arange(3), LABELS, ["large"], 0.5)
    with pytest.raises(UsageError, match="other: no bored among neutral, happiness"):
        teach(pictures(), np.arange(3), LABELS, ["other"], 0.5)


def test_surroundings_stay() -> None:
    wide = np.zeros((3, 6, 6, 1), np.uint8)
    taught, _ = teach(replace(pictures(), surroundings=wide), np.arange(3), LABELS, ["four"], 0.5)
    assert taught.surroundings is wide
