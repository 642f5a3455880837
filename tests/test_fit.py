"""Parts of a training and of what follows it, each by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the extra train")

import keras

from edge_emotion.training import outcome
from edge_emotion.training.checkpoints import is_over, kept_epoch
from edge_emotion.training.config import Plan
from edge_emotion.training.distill import distill_pictures
from edge_emotion.training.fit import _optimizer, build, fit
from edge_emotion.training.loading import keep_labels

from .test_earlier import CONFIG, LABELS, pictures

# TensorFlow uses what NumPy and it itself deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_weight_decay_spares_norms_and_biases():
    network = build(CONFIG, 3)
    optimizer = _optimizer(
        replace(CONFIG, schedule="constant", learning_rate=0.1, weight_decay=0.1), 1
    )
    variables = network.trainable_variables
    for v in variables:
        v.assign(v + 1)
    before = [np.array(v) for v in variables]
    optimizer.apply([keras.ops.zeros_like(v) for v in variables], variables)
    for v, old in zip(variables, before, strict=True):
        np.testing.assert_allclose(v, old * (0.99 if "kernel" in v.name else 1), rtol=1e-5)


def test_the_rate_rises_for_an_epoch_or_a_tenth_and_falls_to_nothing():
    rate = _optimizer(replace(CONFIG, schedule="cosine", learning_rate=0.1, epochs=20), 10)
    rate = rate._learning_rate
    found = [float(rate(step)) for step in (0, 5, 10, 105, 200)]
    assert found == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-6)


def test_validation_loss_weighs_labels_and_smooths_them_as_training_does(tmp_path):
    loaded, everything = pictures(24), np.arange(24)
    label = np.array([0] * 16 + [1] * 6 + [2] * 2)
    loaded = replace(loaded, targets=np.eye(3, dtype=np.float32)[label], labels=label)
    config = replace(CONFIG, epochs=1, balance=1.0, label_smoothing=0.3)
    fitted = fit(config, loaded, everything, everything, tmp_path, LABELS)
    own = np.asarray(fitted.logits_model(loaded.pixels.astype(np.float32)), np.float64)
    log_own = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
    weights = 24 / 3 / np.array([16, 6, 2])[label]  # mean 1
    smooth = 0.7 * loaded.targets + 0.1
    expected = -(weights * (smooth * log_own).sum(axis=1)).mean()
    assert fitted.history[0]["val_loss"] == pytest.approx(expected, rel=1e-4)


def history_of(*losses):
    return [{"loss": 1.0, "val_loss": loss, "accuracy": 0.5} for loss in losses]


def test_the_best_epoch_is_the_first_of_the_lowest_validation_loss():
    best, last = replace(CONFIG, keep="best"), replace(CONFIG, keep="last")
    losses = history_of(1.0, 0.5, 0.7, 0.5)
    assert (kept_epoch(losses, best), kept_epoch(losses, last)) == (2, 4)
    assert kept_epoch(history_of(float("nan"), 0.9), best) == 2


def test_patience_counts_from_the_best_epoch():
    best = replace(CONFIG, keep="best", patience=2, epochs=5)
    assert not is_over(history_of(1.0, 0.5, 0.7), best)
    assert is_over(history_of(1.0, 0.5, 0.7, 0.6), best)
    assert not is_over(history_of(1.0, 0.5, 0.7, 0.4), best)
    assert is_over(history_of(1.0, 0.9, 0.8, 0.7, 0.6), best)
    assert not is_over(history_of(0.1, 0.5, 0.7, 0.6), replace(best, keep="last"))
    assert not is_over([], best)


def test_the_weights_are_those_of_the_best_epoch_and_training_stops_after_patience(tmp_path):
    """Votes that say nothing: at this rate the loss goes up and down."""
    loaded, everything = pictures(24), np.arange(24)
    config = replace(
        CONFIG, keep="best", patience=3, epochs=40, learning_rate=0.1, schedule="constant"
    )
    fitted = fit(config, loaded, everything, everything[:7], tmp_path, LABELS)
    losses = [row["val_loss"] for row in fitted.history]
    assert fitted.best_epoch == 1 + int(np.argmin(losses)) == len(losses) - 3 < 40
    own = np.asarray(fitted.logits_model(loaded.pixels[:7].astype(np.float32)), np.float64)
    log_own = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
    assert -(loaded.targets[:7] * log_own).sum(axis=1).mean() == pytest.approx(
        min(losses), rel=1e-4
    )
    assert losses[-1] > 1.001 * min(losses)


def test_distilled_pictures_have_the_statistics_of_the_training():
    image = keras.Input((16, 16, 1))
    norm = keras.layers.BatchNormalization()
    x = keras.layers.GlobalAveragePooling2D()(norm(image))
    net = keras.Model(image, keras.layers.Dense(3)(x))
    gamma, beta, *_ = norm.get_weights()
    norm.set_weights([gamma, beta, np.array([60.0]), np.array([400.0])])
    made = distill_pictures(net, 12, seed=1, steps=60).astype(float)
    assert (made.mean(), made.std()) == (pytest.approx(60, abs=4), pytest.approx(20, abs=4))


def test_distilled_pictures_take_turns_at_the_labels():
    """A net that is right about a picture whose upper, middle or lower third is bright."""
    image = keras.Input((12, 12, 1))
    norm = keras.layers.BatchNormalization()
    thirds = keras.layers.Reshape((3, 48))(norm(image))
    x = keras.layers.GlobalAveragePooling1D(data_format="channels_first")(thirds)
    net = keras.Model(image, keras.layers.Dense(3, use_bias=False)(x))
    gamma, beta, *_ = norm.get_weights()
    norm.set_weights([gamma, beta, np.array([60.0]), np.array([400.0])])
    net.layers[-1].set_weights([8 * np.eye(3)])
    made = distill_pictures(net, 12, seed=1, steps=60).astype(np.float32)
    assert np.asarray(net(made)).argmax(axis=1).tolist() == [0, 1, 2] * 4


def test_some_labels_are_kept_in_the_order_in_which_they_are_named():
    loaded = pictures(4)
    targets = np.array([[1, 0, 0], [0, 1, 0], [0.25, 0.25, 0.5], [0.5, 0, 0.5]], np.float32)
    loaded = replace(loaded, targets=targets, labels=np.array([0, 1, 2, 0]))
    parts = {"train": np.array([0, 1]), "valid": np.array([2]), "test": np.array([3])}
    kept, own = keep_labels(loaded, parts, [2, 0])
    assert kept.labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(kept.targets, [[0, 1], [2 / 3, 1 / 3], [0.5, 0.5]], rtol=1e-6)
    assert {name: part.tolist() for name, part in own.items()} == {
        "train": [0],
        "valid": [1],
        "test": [2],
    }


def test_temperature_is_fitted_on_validation_and_mirrors_are_left_to_right(tmp_path, monkeypatch):
    """Right in validation, wrong in test: fitted on test the temperature would be high."""
    loaded = pictures(36)
    pixels = np.zeros((36, 4, 4, 1), np.uint8)
    pixels[:, :, 0] = 200  # bright at the left: the label 0
    label = np.array([0] * 24 + [1] * 12)
    loaded = replace(loaded, pixels=pixels, labels=label)

    def logits(model, pixels):
        left, right = pixels[:, :, 0].mean(axis=(1, 2)), pixels[:, :, -1].mean(axis=(1, 2))
        return np.stack([left / 40, right / 10, np.zeros(len(pixels))], 1).astype(np.float32)

    monkeypatch.setattr(outcome, "predict_logits", logits)
    parts = {"train": np.arange(0), "valid": np.arange(24), "test": np.arange(24, 36)}

    class Made:
        name, labels = "made", LABELS

    class Fit:
        logits_model = None

    confidence, (valid, test), shown = outcome.measure(
        Fit, Made, loaded, parts, CONFIG, Plan(tmp_path, tmp_path, "m", "")
    )
    assert (confidence.samples, shown) == (24, "test")
    assert confidence.temperature < 1
    assert (valid.accuracy, test.accuracy) == (1, 0)
    assert (valid.accuracy_mirrored, test.accuracy_mirrored) == (0, 1)
