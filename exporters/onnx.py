"""Keras -> ONNX by tf2onnx, and ONNX float -> int8 by onnxruntime's static quantisation."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import INPUT_NAME, OUTPUT_NAME
from edge_emotion.errors import ConversionError, MissingExtraError, OutputError, one_line

from .fold import fold_factors
from .pictures import full_range

try:
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from tf2onnx.handler import tf_op
except ImportError as error:
    raise MissingExtraError("exporting to ONNX", "export") from error

OPSET = 17
BATCH = "batch"


def convert_onnx(logits_model: keras.Model) -> onnx.ModelProto:
    """Convert a Keras model to float32 ONNX.

    Args:
        logits_model: float32 pixels 0..255 of shape (N, H, W, C) in, logits out.

    Returns:
        ONNX with input `image` uint8 (batch, H, W, C) and output `logits` float32 (batch, labels).

    Raises:
        ConversionError: tf2onnx failed.
    """
    signature = tf.TensorSpec((None, *logits_model.input_shape[1:]), tf.uint8, name=INPUT_NAME)
    function = tf.function(lambda image: logits_model(tf.cast(image, tf.float32), training=False))
    try:
        with _calm("tf2onnx"):
            # from_keras does not work with Keras 3; from_function does.
            model, _ = tf2onnx.convert.from_function(function, [signature], opset=OPSET)
        _keep_constants(model.graph, function.get_concrete_function(signature))
        _rename(model, logits_model.output_shape[-1])
        fold_factors(model.graph)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # tf2onnx and onnx raise whatever their parts did
        reason = one_line(error)[:300]
        if (unknown := re.search(r"No Op registered for (\w+)", reason)) is not None:
            reason = (
                f"it does not know TensorFlow's {unknown[1]}: replace the layer that needs it (a "
                "grouped convolution, an activation), or export to TFLite"
            )
        raise ConversionError(f"onnx-f32: tf2onnx failed: {reason}") from error
    return model


@tf_op("Erfc")
class _Erfc:
    """1 - erf, of which the exact GELU is made: tf2onnx knows erf alone."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        output = node.output[0]
        like = {"dtypes": [ctx.get_dtype(output)], "shapes": [ctx.get_shape(output)]}
        one = ctx.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
        argument = node.input[0]
        ctx.remove_node(node.name)
        erf = ctx.make_node("Erf", [argument], **like).output[0]
        ctx.make_node("Sub", [one, erf], name=node.name, outputs=[output], **like)


def _keep_constants(graph: onnx.GraphProto, function: Any) -> None:
    """Arrays that a layer holds beside its weights, as Normalization does, are no inputs.

    tf2onnx makes one of each that TensorFlow's function has captured.
    """
    captured = function.captured_inputs
    names = [tensor.name for tensor in function.inputs[len(function.inputs) - len(captured) :]]
    for name, tensor in zip(names, captured, strict=True):
        for value in [value for value in graph.input if value.name == name]:
            graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
            graph.input.remove(value)


def _rename(model: onnx.ModelProto, labels: int) -> None:
    """`logits` instead of `Identity:0`, `batch` instead of `unk__49`."""
    graph = model.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ValueError("one picture in and one row of logits out is what can be exported")
    old = graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = OUTPUT_NAME
    graph.output[0].name = OUTPUT_NAME
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = labels
    del graph.value_info[:]
    graph.name = "edge-emotion"


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._batches = iter([{INPUT_NAME: picture[None]} for picture in pictures])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def quantize_onnx(model: onnx.ModelProto, calibration: NDArray[np.uint8]) -> onnx.ModelProto:
    """Quantise float ONNX to int8: QDQ, per channel, static ranges.

    Weights are int8 in 7 bits (`reduce_range`): with 8, x86 processors without VNNI saturate in
    their 16-bit sums, and probabilities there are off by up to 0.2 without a word.

    Args:
        model: from `convert_onnx`.
        calibration: uint8 pictures (N, H, W, C).

    Raises:
        ConversionError: onnxruntime failed, or a convolution or matrix product stayed float.
        OutputError: no room for temporary files.
    """
    with tempfile.TemporaryDirectory() as name:
        source, prepared, target = (Path(name, f"{i}.onnx") for i in range(3))
        onnx.save(model, source)
        try:
            with _calm(None):
                # Folds BatchNorm and fuses ReLU. Symbolic shapes would need sympy, for nothing.
                quant_pre_process(source, prepared, skip_symbolic_shape=True)
                quantize_static(
                    prepared,
                    target,
                    _Pictures(full_range(calibration)),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax,
                )
        except OSError as error:
            raise OutputError(
                f"onnx-int8: cannot write temporary files: {error.strerror or error}; free space, "
                "or set TMPDIR"
            ) from error
        except Exception as error:  # onnxruntime raises pybind types without a common base
            raise ConversionError(f"onnx-int8: onnxruntime's quantiser failed: {error}") from error
        quantized = onnx.load(target)
    _check_quantized(quantized)
    return quantized


def _check_quantized(model: onnx.ModelProto) -> None:
    """Every convolution and matrix product reads dequantised int8 on both sides."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    heavy = [n for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm")]
    for node in heavy:
        for name in node.input[:2]:
            if name not in made_by or made_by[name].op_type != "DequantizeLinear":
                raise ConversionError(f"onnx-int8: {node.op_type} {node.name} stayed float")
    if not heavy:
        raise ConversionError("onnx-int8: nothing to quantise: no convolution, no matrix product")


@contextlib.contextmanager
def _calm(logger: str | None) -> Iterator[None]:
    """Only errors from a chatty logger."""
    log: Any = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
