"""What the two converters make of a network whose answers a test can compute."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="needs the extra export")

import onnx

from edge_emotion.errors import ConversionError, OutputError
from edge_emotion.exporters import tflite
from edge_emotion.exporters.adopt import adopt_model
from edge_emotion.exporters.onnx import _check_quantized, convert_onnx, quantize_onnx
from edge_emotion.exporters.pictures import full_range
from edge_emotion.exporters.tflite import convert_tflite
from edge_emotion.runtimes import open_runtime
from edge_emotion.runtimes.keras import load_keras_model

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


def _graph(*steps: Any) -> Any:
    """Pictures through `steps`, then a mean and two logits."""
    import keras

    keras.utils.set_random_seed(3)
    image = x = keras.Input((16, 16, 3))
    for step in steps:
        x = step(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2, name="logits")(x))


def _answers(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"image": pixels})[0]


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("scale", "offset", "padding", "left"),
    [
        (1 / 255, 0.0, "same", []),
        (1 / 127.5, -1.0, "same", ["Add"]),  # zeros are padded after it
        (2.0, 0.5, "valid", ["Add"]),
    ],
)
def test_a_factor_before_a_convolution_goes_into_its_weights(
    scale: float, offset: float, padding: str, left: list[str], pixels: NDArray[np.uint8]
) -> None:
    from keras import layers

    net = _graph(layers.Rescaling(scale, offset), layers.Conv2D(4, 3, padding=padding))
    model = convert_onnx(net)
    before = [node.op_type for node in model.graph.node]
    before = before[: before.index("Conv")]
    assert [kind for kind in before if kind in ("Mul", "Add")] == left
    (conv,) = [node for node in model.graph.node if node.op_type == "Conv"]
    assert "/conv2d" in conv.input[1]  # by which bench --layers names the layer
    expected = np.asarray(net(pixels.astype(np.float32)))
    np.testing.assert_allclose(_answers(model, pixels), expected, rtol=1e-4, atol=1e-5)
    quantized = quantize_onnx(model, pixels)
    assert np.abs(_answers(quantized, pixels) - expected).max() < 0.02 * np.ptp(expected)


def test_factors_in_a_row_all_go_into_the_weights(pixels: NDArray[np.uint8]) -> None:
    from keras import layers

    steps = [
        layers.Rescaling(1 / 255),
        layers.Rescaling(2, -1),
        layers.Conv2D(4, 3, padding="same"),
    ]
    net = _graph(*steps)
    model = convert_onnx(net)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[: kinds.index("Conv")].count("Add") == 1
    assert "Mul" not in kinds
    expected = np.asarray(net(pixels.astype(np.float32)))
    np.testing.assert_allclose(_answers(model, pixels), expected, rtol=1e-4, atol=1e-5)


def test_a_factor_that_others_read_stays(pixels: NDArray[np.uint8]) -> None:
    from keras import layers

    def both(x: Any) -> Any:
        return layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(x), x])

    net = _graph(layers.Rescaling(1 / 255), both)
    expected = np.asarray(net(pixels.astype(np.float32)))
    np.testing.assert_allclose(_answers(convert_onnx(net), pixels), expected, rtol=1e-4, atol=1e-5)


def test_one_convolution_of_two_factors_has_its_weights_twice(pixels: NDArray[np.uint8]) -> None:
    from keras import layers

    conv = layers.Conv2D(4, 3)

    def twice(x: Any) -> Any:
        return layers.Add()([conv(layers.Rescaling(1 / 255)(x)), conv(layers.Rescaling(0.1)(x))])

    net = _graph(twice)
    model = convert_onnx(net)
    assert "Mul" not in {node.op_type for node in model.graph.node}
    expected = np.asarray(net(pixels.astype(np.float32)))
    np.testing.assert_allclose(_answers(model, pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ["normalization", "gelu"])
def test_layers_that_tf2onnx_does_not_know_as_keras_makes_them(
    layer: str, pixels: NDArray[np.uint8]
) -> None:
    from keras import layers

    steps = {
        "normalization": [
            layers.Normalization(mean=[100.0, 120.0, 140.0], variance=[900.0, 400.0, 1600.0]),
            layers.Conv2D(4, 3),
        ],
        "gelu": [layers.Rescaling(1 / 50, -2), layers.Conv2D(4, 3, activation="gelu")],
    }
    net = _graph(*steps[layer])
    model = convert_onnx(net)
    assert [value.name for value in model.graph.input] == ["image"]
    expected = np.asarray(net(pixels.astype(np.float32)))
    np.testing.assert_allclose(_answers(model, pixels), expected, rtol=1e-3, atol=1e-5)


def test_an_operator_that_tf2onnx_lacks_is_named_with_what_to_do() -> None:
    from keras import layers

    with pytest.raises(ConversionError, match=r"does not know TensorFlow's \w+: replace the layer"):
        convert_onnx(_graph(layers.Conv2D(6, 3, groups=3)))


def test_a_network_in_mixed_precision_is_exported_in_float32(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    import keras

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        inner = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.ReLU()])
        net = _graph(keras.layers.Rescaling(1 / 51), lambda x: x / 5.0, inner)
        whole = keras.Model(net.input, keras.layers.Softmax()(net.output))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    whole.save(tmp_path / "mixed.keras")
    adopt_model(tmp_path / "mixed.keras", ["a", "b"], tmp_path / "m")
    adopted = load_keras_model(tmp_path / "m" / "model.keras")
    probabilities = np.asarray(whole(pixels.astype(np.float32)))
    np.testing.assert_allclose(
        np.asarray(adopted(pixels.astype(np.float32))), probabilities, atol=0.01
    )
    logits = keras.Model(adopted.input, adopted.layers[-1].input)
    kinds = {value.data_type for value in convert_onnx(logits).graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in kinds
    assert convert_tflite(logits, "tflite-f32", None)


def test_an_inner_network_that_leaves_the_size_open_is_adopted(tmp_path: Path) -> None:
    import keras

    open_size = keras.Input((None, None, 3))
    inner = keras.Model(open_size, keras.layers.Conv2D(4, 3, strides=2)(open_size))
    net = _graph(inner)
    net.save(tmp_path / "open.keras")
    card = adopt_model(tmp_path / "open.keras", ["a", "b"], tmp_path / "m")
    assert card.training.multiply_adds == 7 * 7 * 4 * 27 + 4 * 2


def test_int8_weights_have_seven_bits_and_a_scale_for_each_channel() -> None:
    """Eight bits are wrong on x86 without VNNI alone, so that answers do not tell everywhere."""
    import keras

    pixels = np.random.default_rng(2).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    model = quantize_onnx(convert_onnx(_graph(keras.layers.Conv2D(4, 3))), pixels)
    values = {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}
    (conv,) = [n for n in model.graph.node if n.op_type == "Conv"]
    (dequantized,) = [n for n in model.graph.node if conv.input[1] in n.output]
    weights, scale = (values[name] for name in dequantized.input[:2])
    assert weights.dtype == np.int8
    assert 60 < np.abs(weights.astype(int)).max() <= 64
    assert scale.shape == (4,)


def test_what_stayed_float_is_no_int8() -> None:
    import keras

    with pytest.raises(ConversionError, match=r"onnx-int8: Conv .* stayed float"):
        _check_quantized(convert_onnx(_graph(keras.layers.Conv2D(4, 3))))
    with pytest.raises(ConversionError, match="tensors stayed float"):
        tflite._check(
            tflite.flatbuffer_utils.read_model_from_bytearray(
                bytearray(tflite.convert_tflite(shade_net(), "tflite-f32", None))
            ),
            "tflite-int8",
        )


def test_activations_that_overflow_are_told_before_they_end_the_process(
    pixels: NDArray[np.uint8],
) -> None:
    """Softplus in TFLite is an exponential; of 255 times a thousand it is infinite."""
    from keras import layers

    net = _graph(layers.Rescaling(1000.0), layers.Activation("softplus"))
    assert np.isfinite(np.asarray(net(pixels.astype(np.float32)))).all()
    with pytest.raises(ConversionError, match=r"activations overflow in .*Softplus.*--scale"):
        convert_tflite(net, "tflite-int8", pixels)
    assert convert_tflite(_graph(layers.Activation("relu")), "tflite-int8", pixels)


def test_a_recurrent_layer_is_converted_unrolled_and_else_named() -> None:
    from keras import layers

    def net(layer: Any) -> Any:
        return _graph(layers.Reshape((4, 192)), layer, layers.Reshape((1, 1, 2)))

    for layer in (layers.LSTM, layers.GRU):
        with pytest.raises(ConversionError, match=r"LSTM, GRU or ConvLSTM: .* unroll=True"):
            convert_tflite(net(layer(2)), "tflite-f32", None)
        assert convert_tflite(net(layer(2, unroll=True)), "tflite-f32", None)


def test_no_room_for_temporary_files_is_not_the_converters_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keras import layers

    class Converter:
        def convert(self) -> None:
            raise TypeError("'NoneType' object is not callable")

    monkeypatch.setattr(
        tflite.tf.lite.TFLiteConverter, "from_keras_model", lambda model: Converter()
    )
    net = _graph(layers.Activation("relu"))
    with pytest.raises(ConversionError, match="the TFLite converter failed"):
        convert_tflite(net, "tflite-f32", None)
    usage = shutil.disk_usage(".")._replace(free=500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"no room for temporary files: .*TMPDIR"):
        convert_tflite(net, "tflite-f32", None)
