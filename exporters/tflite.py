"""Keras -> TensorFlow Lite. The only file that touches ``tf.lite``: TensorFlow is dropping it."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import INPUT_NAME, OUTPUT_NAME
from edge_emotion.errors import ConversionError, MissingExtraError, OutputError

from .pictures import full_range

try:
    import keras
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from tensorflow.lite.tools import flatbuffer_utils
except ImportError as error:
    raise MissingExtraError("exporting to TFLite", "export") from error

SIGNATURE = "serving_default"
#: Scale and zero point by which a uint8 pixel is its own quantised value.
PIXELS = (1.0, 0)


def convert_tflite(
    logits_model: keras.Model, recipe: str, calibration: NDArray[np.uint8] | None
) -> bytes:
    """Convert a Keras model.

    Args:
        logits_model: float32 pixels 0..255 of shape (N, H, W, C) in, logits out.
        recipe: "tflite-f32", "tflite-int8" (every tensor an integer) or "tflite-int8-dynamic"
            (int8 weights, float activations).
        calibration: uint8 pictures (N, H, W, C) for "tflite-int8".

    Returns:
        A .tflite file with input `image` uint8 and output `logits`, int8 or float32. The batch
        is 1 and can be resized.

    Raises:
        ConversionError: the converter failed, an activation overflows, or the file is not what the
            recipe promises.
        OutputError: no room for temporary files.
    """
    size = 4 * int(logits_model.count_params())
    if recipe == "tflite-int8":
        assert calibration is not None
        pictures = full_range(calibration)
        converter = tf.lite.TFLiteConverter.from_keras_model(logits_model)
        _refuse_overflow(_convert(converter, recipe, size), pictures)
        converter = tf.lite.TFLiteConverter.from_keras_model(logits_model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [picture[None].astype(np.float32)] for picture in pictures
        )
        # Without this list a float operator slips in without a word.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        # The converter quantises at the graph's edge: uint8 pixels need no cast operator.
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.int8
    else:
        image = keras.Input(logits_model.input_shape[1:], dtype="uint8", name=INPUT_NAME)
        wrapped = keras.Model(image, logits_model(keras.ops.cast(image, "float32")))
        converter = tf.lite.TFLiteConverter.from_keras_model(wrapped)
        if recipe == "tflite-int8-dynamic":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
    data = _convert(converter, recipe, size)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    _rename(model)
    _check(model, recipe)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _convert(converter: Any, recipe: str, size: int) -> bytes:
    """Run the converter on a model of `size` bytes."""
    try:
        with warnings.catch_warnings():
            # That int8 input statistics are measured, not given, is the purpose of calibration.
            warnings.filterwarnings("ignore", "Statistics for quantized inputs")
            return bytes(converter.convert())
    except Exception as error:  # the converter raises whatever MLIR or Python did
        # It writes the model to a temporary folder, and hides that it could not.
        if shutil.disk_usage(tempfile.gettempdir()).free < 2 * size + 1_000_000:
            raise OutputError(
                f"{recipe}: {tempfile.gettempdir()} has no room for temporary files: free space, "
                "or set TMPDIR"
            ) from error
        raise ConversionError(f"{recipe}: the TFLite converter failed: {_reason(error)}") from error


def _refuse_overflow(data: bytes, pictures: NDArray[np.uint8]) -> None:
    """See that no activation of the float model is infinite: calibration would end the process.

    TFLite takes softplus and mish apart, by an exponential that overflows where Keras' does not.

    Raises:
        ConversionError: one is.
    """
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(data)).subgraphs[0]
    made = sorted({int(i) for operator in graph.operators for i in operator.outputs})
    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    for picture in pictures:
        interpreter.set_tensor(source, picture[None].astype(np.float32))
        interpreter.invoke()
        for index in made:
            try:
                values = interpreter.get_tensor(index)
            except ValueError:  # of a size that is known nowhere
                continue
            if values.dtype == np.float32 and not np.isfinite(values).all():
                raise ConversionError(
                    f"tflite-int8: activations overflow in {graph.tensors[index].name.decode()}: "
                    "scale the pixels as in training (--scale, --offset), or take another "
                    "activation"
                )


def _rename(model: Any) -> None:
    """Give input and output their names, in the signature and in the graph."""
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ConversionError(
            f"one picture in and one row of logits out, not {len(graph.inputs)} and "
            f"{len(graph.outputs)}: export a model with one input and one output"
        )
    signature.signatureKey = SIGNATURE.encode()
    signature.inputs[0].name = INPUT_NAME.encode()
    signature.outputs[0].name = OUTPUT_NAME.encode()
    graph.tensors[graph.inputs[0]].name = INPUT_NAME.encode()
    graph.tensors[graph.outputs[0]].name = OUTPUT_NAME.encode()


def _check(model: Any, recipe: str) -> None:
    """What was made is what was asked for: operators and types, read back from the file."""
    types = _tensor_types()
    custom = sorted({code.customCode.decode() for code in model.operatorCodes if code.customCode})
    if custom:
        raise ConversionError(
            f"{recipe}: operators outside TFLite's own ({', '.join(custom)}) would need Flex on "
            "the device: replace those layers"
        )
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    floats = [t.name.decode() for t in tensors if types[t.type].startswith("FLOAT")]
    if recipe == "tflite-int8" and floats:
        raise ConversionError(
            f"{recipe}: {len(floats)} tensors stayed float ({floats[0]}, ...): a layer has no int8 "
            "form; replace it, or export tflite-int8-dynamic"
        )
    if recipe == "tflite-f32" and not floats:
        raise ConversionError(f"{recipe}: no float tensor inside")
    if recipe == "tflite-int8-dynamic" and all(types[t.type] != "INT8" for t in tensors):
        raise ConversionError(
            f"{recipe}: no weights large enough for TFLite to quantise: export tflite-f32"
        )
    graph = model.subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    if types[image.type] != "UINT8":
        raise ConversionError(f"{recipe}: the input is {types[image.type]}, not UINT8")
    if recipe == "tflite-int8":
        scale, zero_point = image.quantization.scale[0], image.quantization.zeroPoint[0]
        if not np.allclose((scale, zero_point), PIXELS, atol=1e-6):
            raise ConversionError(
                f"{recipe}: the input's scale is {scale:.6g} and its zero point {zero_point}: "
                "pixels would be misread"
            )


def _tensor_types() -> dict[int, str]:
    from tensorflow.lite.python import schema_py_generated as schema

    return {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}


def _reason(error: Exception) -> str:
    """What MLIR says of an operator, without its call stack; else the first line."""
    if "tf.TensorListReserve" in str(error):
        return "TFLite has no loops of LSTM, GRU or ConvLSTM: build these layers with unroll=True"
    if operator := re.search(r"'tf\.\w+' op [^\n]*", str(error)):
        return operator[0][:300]
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
