"""Factors into weights: what ONNX Runtime leaves as an operator of its own."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from edge_emotion.errors import MissingExtraError

try:
    import onnx
    from onnx import numpy_helper
except ImportError as error:
    raise MissingExtraError("exporting to ONNX", "export") from error


def fold_factors(graph: onnx.GraphProto) -> None:
    """Put the factor of a ``Rescaling`` before a convolution into its weights, in place.

    ONNX Runtime would multiply each pixel by it, which in int8 takes longer than any convolution of
    a small net. What ``Rescaling`` adds stays where it is, divided by the factor: the convolution
    pads with zeros after it. A sum with 0 goes.

    Args:
        graph: float32. Only numbers are folded, not one for each channel.
    """
    values = {value.name: value for value in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Add"]:
        step = _step(node, values)
        if step is not None and step.number == 0:
            _leave_out(step, graph)
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        while _fold_into(node, graph):  # one factor at a time
            pass
    used = {name for node in graph.node for name in node.input}
    for value in [value for value in graph.initializer if value.name not in used]:
        graph.initializer.remove(value)


@dataclass(frozen=True)
class _Step:
    """A sum or a product of what comes in and a number."""

    node: onnx.NodeProto
    source: str
    number: float


def _fold_into(conv: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    values = {value.name: value for value in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    added: _Step | None = None
    name = conv.input[0]
    while name in made_by and readers[name] == 1:
        node = made_by[name]
        step = _step(node, values)
        if node.op_type in ("Reshape", "Transpose"):
            name = node.input[0]
        elif node.op_type == "Add" and step is not None and added is None:
            added, name = step, step.source
        elif node.op_type == "Mul" and step is not None and step.number != 0:
            break
        else:
            return False
    else:
        return False
    if conv.input[1] not in values:
        return False
    weights = numpy_helper.to_array(values[conv.input[1]]) * np.float32(step.number)
    conv.input[1] = _constant(graph, f"{conv.input[1]}_{conv.name}", weights)
    if added is not None:
        number = np.float32(added.number / step.number)
        shift = _constant(graph, f"{added.node.input[1]}_{conv.name}", number)
        added.node.input[:] = [added.source, shift]
    _leave_out(step, graph)
    return True


def _step(node: onnx.NodeProto, values: dict[str, onnx.TensorProto]) -> _Step | None:
    if len(node.input) != 2:
        return None
    for source, other in (node.input, reversed(node.input)):
        if other in values and math.prod(values[other].dims) == 1 and len(values[other].dims) <= 1:
            array = numpy_helper.to_array(values[other])
            if array.dtype == np.float32:
                return _Step(node, source, float(array.item()))
    return None


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray | np.floating) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _leave_out(step: _Step, graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == step.node.output[0]:
                node.input[i] = step.source
    graph.node.remove(step.node)
