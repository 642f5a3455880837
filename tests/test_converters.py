"""What the two converters make of a network whose answers a test can compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the extra export")

from edge_emotion.errors import ConversionError
from edge_emotion.exporters.onnx import convert_onnx, quantize_onnx
from edge_emotion.exporters.pictures import full_range
from edge_emotion.exporters.tflite import convert_tflite
from edge_emotion.runtimes import open_runtime

# TensorFlow and its converters use what NumPy and they themselves deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def shade_net() -> Any:
    """Two logits: the brightest shade / 255, and what the darkest lacks of 1."""
    import keras

    image = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(2, 1, name="shades")(x)
    model = keras.Model(image, keras.layers.GlobalMaxPooling2D()(x))
    model.get_layer("shades").set_weights(
        [np.array([[[[1.0, -1.0]]]], np.float32), np.array([0.0, 1.0], np.float32)]
    )
    return model


@pytest.mark.parametrize("form", ["onnx-int8", "tflite-int8"])
def test_an_export_calibrated_in_the_dark_sees_what_is_bright(tmp_path: Path, form: str) -> None:
    """The range of a picture is 0 to 255, whatever the calibration pictures show."""
    dim = np.random.default_rng(1).integers(40, 90, (32, 8, 8, 1)).astype(np.uint8)
    path = tmp_path / f"model.{form.split('-')[0]}"
    if form == "onnx-int8":
        data = quantize_onnx(convert_onnx(shade_net()), dim).SerializeToString()
    else:
        data = convert_tflite(shade_net(), form, dim)
    path.write_bytes(data)
    runtime = open_runtime(path)
    for shade in (0, 60, 200, 255):
        bright, lack = runtime.logits(np.full((1, 8, 8, 1), shade, np.uint8))[0]
        assert bright == pytest.approx(shade / 255, abs=0.02)
        assert lack == pytest.approx(1 - shade / 255, abs=0.02)


def test_pictures_of_the_full_range_are_left_as_they_are() -> None:
    pictures = np.full((3, 4, 4, 3), 100, np.uint8)
    made = full_range(pictures)
    assert (made.min(), made.max()) == (0, 255)
    assert (made != pictures).sum() == 6  # two pixels of three channels
    assert (pictures == 100).all()  # the caller's own
    assert full_range(made) is made


def test_dynamic_int8_without_a_weight_that_is_int8_is_refused() -> None:
    with pytest.raises(ConversionError, match="no weights large enough"):
        convert_tflite(shade_net(), "tflite-int8-dynamic", None)
