"""Layers of ONNX files.

Activations: the files as they were exported, no node fused, with further outputs. Of the int8 file
they are those that the next layer reads, after QuantizeLinear and DequantizeLinear. Times:
onnxruntime's own profiler on the files as it runs them, so that what it fuses is in one layer.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_emotion.card import INPUT_NAME
from edge_emotion.errors import MissingExtraError, ModelError

from .layers import Node, Noise, judge
from .worker import Looked

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
QUANTISING = ("QuantizeLinear", "DequantizeLinear")
#: What onnxruntime appends to a node's name when it rewrites it.
REWRITTEN = re.compile(r"(_token_\d+|_nchwc|_nhwc|_quant|/\w+Fusion)$")


class _File:
    """An ONNX file as a graph."""

    def __init__(self, path: Path) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtraError(f"looking into {path.name}", "export") from error
        self.path = path
        try:
            loaded = onnx.load_from_string(path.read_bytes())
            self.model: Any = onnx.shape_inference.infer_shapes(loaded)
        except Exception as error:  # protobuf and onnx share no base
            raise ModelError(f"{path.name}: cannot be read as ONNX: {error}") from error
        graph = self.model.graph
        self.nodes: list[Any] = list(graph.node)
        self.made_by = {output: node for node in self.nodes for output in node.output}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)
        self.outputs = {output.name for output in graph.output}
        self.computed = {INPUT_NAME}  # tensors that depend on the picture, not on weights alone
        for node in self.nodes:  # in an order in which they can run
            if self.computed.intersection(node.input):
                self.computed.update(node.output)
        self.weights = {w.name: tuple(w.dims) for w in graph.initializer}
        self.shapes = {
            value.name: [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
            for value in [*graph.value_info, *graph.output]
        }

    def session(self, tensors: list[str]) -> Any:
        """Runs the graph as it stands, and gives these tensors."""
        import onnx

        model = type(self.model)()
        model.CopyFrom(self.model)
        for name in tensors:
            if name not in self.outputs:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def weight_of(self, node: Any) -> str | None:
        """The weights of a convolution or matrix product, which may be dequantised first."""
        if node.op_type not in WITH_WEIGHTS:
            return None
        name = str(node.input[1])
        maker = self.made_by.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            name = str(maker.input[0])
        return name if name in self.weights else None


def look(
    reference: Path, path: Path, pictures: NDArray[np.uint8], warmup: int, runs: int
) -> Looked:
    """Compare two files; see `layers.run_layers`."""
    exact, quantised = _File(reference), _File(path)
    layers, unmatched = _layers(exact, quantised)
    nodes = [node for node, _ in layers]
    theirs = [tensor for _, tensor in layers]
    noises = [Noise() for _ in layers]
    one, other = exact.session([node.key for node in nodes]), quantised.session(theirs)
    for picture in pictures:
        feed = {INPUT_NAME: picture[None]}
        x = one.run([node.key for node in nodes], feed)
        y = other.run(theirs, feed)
        for noise, a, b in zip(noises, x, y, strict=True):
            noise.add(a.astype(np.float64), b.astype(np.float64))
    keys = [node.key for node in nodes]
    slow, slow_other = _times(exact, keys, pictures[0], warmup, runs)
    fast, fast_other = _times(quantised, keys, pictures[0], warmup, runs)
    return Looked(judge(nodes, noises, slow, fast), unmatched, slow_other, fast_other, [])


def _layers(exact: _File, quantised: _File) -> tuple[list[tuple[Node, str]], list[str]]:
    """Nodes that compute, each with the int8 file's tensor to compare; and the unmatched ones."""
    found: list[tuple[Node, str]] = []
    unmatched = []
    position: dict[str, int] = {}  # tensor -> node that made it

    def reads(name: str) -> set[int]:
        if name in position:
            return {position[name]}
        maker = quantised.made_by.get(name)
        return set() if maker is None else set().union(*map(reads, maker.input))

    for node in quantised.nodes:
        if node.op_type in QUANTISING or node.output[0] not in quantised.computed:
            continue
        after = _after(quantised, node.output[0])
        key = _key(after)
        weight = quantised.weight_of(node)
        name = (weight or node.name or key).removesuffix("_quantized")
        if key not in exact.made_by:
            unmatched.append(name)
            continue
        inputs = tuple(sorted(set().union(*map(reads, node.input))))
        position[node.output[0]] = position[after] = len(found)
        adds = _multiply_adds(quantised, node, weight)
        found.append((Node(name, node.op_type.lower(), adds, inputs, key), after))
    return found, unmatched


def _after(file: _File, name: str) -> str:
    """What the readers of a tensor get: after its QuantizeLinear and DequantizeLinear, if any."""
    for kind in QUANTISING:
        readers = [node for node in file.readers[name] if node.op_type == kind]
        if not readers:
            return name
        name = readers[0].output[0]
    return name


def _multiply_adds(file: _File, node: Any, weight: str | None) -> int | None:
    shape = file.shapes.get(node.output[0])
    if weight is None or shape is None:
        return None
    sides = file.weights[weight]
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    each = sides[1:] if node.op_type == "Conv" or transposed else sides[:1]
    return int(np.prod(shape)) * int(np.prod(each))


def _times(
    file: _File, keys: list[str], picture: NDArray[np.uint8], warmup: int, runs: int
) -> tuple[list[float | None], float]:
    """Microseconds of each layer's kernels, medians, and of those that belong to none."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        session = onnxruntime.InferenceSession(
            file.path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(warmup + runs):
            session.run(None, {INPUT_NAME: picture[None]})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    durations: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["name"]].append(event["dur"])
    place = {key: i for i, key in enumerate(keys)}
    found: list[float | None] = [None] * len(keys)
    other = 0.0
    for name, values in durations.items():
        median = float(np.median(values[-runs:]))
        layer = _layer_of(file, name, place)
        if layer is None:
            other += median
        else:
            found[layer] = (found[layer] or 0.0) + median
    return found, round(other, 1)


def _layer_of(file: _File, event: str, place: dict[str, int]) -> int | None:
    """The layer of a profiled kernel, which is named after a node or a tensor; None: of none."""
    names = {
        node.name: node.output[0]
        for node in file.nodes
        if node.name and node.op_type not in QUANTISING
    }
    stem = event.removesuffix("_kernel_time")
    while stem not in names and stem not in file.made_by and REWRITTEN.search(stem):
        stem = REWRITTEN.sub("", stem)
    tensor = names.get(stem, stem)
    # A node whose result only the next node reads, such as a Conv before its Relu, is of that
    # layer: the int8 file has no tensor between them.
    while _key(_after(file, tensor)) not in place:
        readers = file.readers.get(tensor, [])
        if len(readers) != 1:
            return None
        tensor = readers[0].output[0]
    return place[_key(_after(file, tensor))]


def _key(tensor: str) -> str:
    """The name that a tensor has in the float file too."""
    return tensor.removesuffix("_DequantizeLinear_Output")
