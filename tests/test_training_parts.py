"""Parts of a training and of what follows it, each by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytest.importorskip("onnx")
import onnx  # noqa: E402

from edge_emotion.errors import ConversionError  # noqa: E402
from edge_emotion.exporters import tflite  # noqa: E402
from edge_emotion.exporters.onnx import _check_quantized, convert_onnx, quantize_onnx  # noqa: E402
from edge_emotion.training import outcome  # noqa: E402
from edge_emotion.training.augment import RandomQuality, degradation  # noqa: E402
from edge_emotion.training.config import Plan, TrainConfig  # noqa: E402
from edge_emotion.training.distill import distill_pictures  # noqa: E402
from edge_emotion.training.fit import _optimizer, build, fit  # noqa: E402
from edge_emotion.training.loading import keep_labels  # noqa: E402
from tests.test_augment import STILL  # noqa: E402
from tests.test_converters import _graph, shade_net  # noqa: E402
from tests.test_earlier import CONFIG, LABELS, pictures  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_int8_weights_have_seven_bits_and_a_scale_for_each_channel():
    """Eight bits are wrong on x86 without VNNI alone, so that answers do not tell everywhere."""
    pixels = np.random.default_rng(2).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    model = quantize_onnx(convert_onnx(_graph(keras.layers.Conv2D(4, 3))), pixels)
    values = {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}
    (conv,) = [n for n in model.graph.node if n.op_type == "Conv"]
    (dequantized,) = [n for n in model.graph.node if conv.input[1] in n.output]
    weights, scale = (values[name] for name in dequantized.input[:2])
    assert weights.dtype == np.int8
    assert 60 < np.abs(weights.astype(int)).max() <= 64
    assert scale.shape == (4,)


def test_what_stayed_float_is_no_int8():
    with pytest.raises(ConversionError, match=r"onnx-int8: Conv .* stayed float"):
        _check_quantized(convert_onnx(_graph(keras.layers.Conv2D(4, 3))))
    with pytest.raises(ConversionError, match="tensors stayed float"):
        tflite._check(
            tflite.flatbuffer_utils.read_model_from_bytearray(
                bytearray(tflite.convert_tflite(shade_net(), "tflite-f32", None))
            ),
            "tflite-int8",
        )


def test_half_of_the_pictures_get_a_grain_of_their_own_up_to_what_was_asked_for():
    grey = np.full((1000, 24, 24, 1), 127, np.float32)
    layer = RandomQuality(TrainConfig(**(STILL | {"noise": 0.1})))
    change = np.asarray(layer(grey, training=True))[..., 0] / 255 - 127 / 255
    strength = change.std(axis=(1, 2))
    assert (strength > 1e-5).mean() == pytest.approx(0.5, abs=0.05)
    assert strength.max() == pytest.approx(0.1, abs=0.01)
    strong = change[strength > 0.05][:20].reshape(20, -1)
    assert np.abs(np.corrcoef(strong) - np.eye(20)).max() < 0.3


def test_brightness_is_a_share_of_white():
    grey = np.full((500, 4, 4, 1), 127, np.float32)
    seen = np.asarray(
        degradation(TrainConfig(**(STILL | {"brightness": 0.2})))(grey, training=True)
    )
    light = seen.mean(axis=(1, 2, 3)) - 127
    assert (light.min(), light.max()) == pytest.approx((-51, 51), abs=1)


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


def test_distilled_pictures_have_the_statistics_of_the_training_and_every_label():
    image = keras.Input((16, 16, 1))
    norm = keras.layers.BatchNormalization()
    x = keras.layers.GlobalAveragePooling2D()(norm(image))
    net = keras.Model(image, keras.layers.Dense(3)(x))
    gamma, beta, *_ = norm.get_weights()
    norm.set_weights([gamma, beta, np.array([60.0]), np.array([400.0])])
    made = distill_pictures(net, 12, seed=1, steps=60).astype(float)
    assert (made.mean(), made.std()) == (pytest.approx(60, abs=4), pytest.approx(20, abs=4))


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
