"""Layers of .tflite files.

Activations are those of LiteRT's own kernels with every tensor kept, without the XNNPACK delegate,
which keeps none. There are no times: LiteRT's profiler cannot be reached from its Python package.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import MissingExtraError, ModelError, one_line

from .layers import Activations, Node, Noise, judge
from .worker import Looked

NO_TIMES = "No times: the Python package of LiteRT gives no access to its profiler"
#: The first one of a float and of an int8 file: uint8 pixels to what the next layer takes.
ENTRY = ("CAST", "QUANTIZE")


class _File:
    """A .tflite file with every tensor kept."""

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise MissingExtraError(f"looking into {path.name}", "litert") from error
        try:
            self.interpreter = Interpreter(
                model_content=path.read_bytes(),
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            reason = one_line(error)
            raise ModelError(f"{path.name}: LiteRT cannot load it: {reason}") from error
        self.source = self.interpreter.get_input_details()[0]["index"]
        # The only list of operators that the package has; the name says it may change.
        self.operators: list[dict[str, Any]] = self.interpreter._get_ops_details()
        self.tensors = {t["index"]: t for t in self.interpreter.get_tensor_details()}

    def run(self, picture: NDArray[np.uint8]) -> None:
        self.interpreter.set_tensor(self.source, picture[None])
        self.interpreter.invoke()

    def output(self, operator: int) -> dict[str, Any]:
        tensor: dict[str, Any] = self.tensors[int(self.operators[operator]["outputs"][0])]
        return tensor

    def activations(self, operator: int) -> Activations:
        """What an operator gave, integers scaled back."""
        tensor = self.output(operator)
        raw: Activations = self.interpreter.get_tensor(tensor["index"]).astype(np.float64)
        scale, zero = tensor["quantization"]
        return (raw - zero) * scale if scale else raw

    def signature(self, operator: int) -> tuple[str, tuple[int, ...]]:
        """By which operators of two files are matched."""
        kind = self.operators[operator]["op_name"]
        kind = "entry" if operator == 0 and kind in ENTRY else kind
        return kind, tuple(int(side) for side in self.output(operator)["shape"])


def look(
    reference: Path, path: Path, pictures: NDArray[np.uint8], warmup: int, runs: int
) -> Looked:
    """Compare the activations of two files; see `layers.run_layers`."""
    exact, quantised = _File(reference), _File(path)
    counts = len(exact.operators), len(quantised.operators)
    matcher = difflib.SequenceMatcher(
        None,
        [exact.signature(i) for i in range(counts[0])],
        [quantised.signature(i) for i in range(counts[1])],
        autojunk=False,
    )
    pairs = [(b.a + i, b.b + i) for b in matcher.get_matching_blocks() for i in range(b.size)]
    noises = [Noise() for _ in pairs]
    for picture in pictures:
        exact.run(picture)
        quantised.run(picture)
        for noise, (one, other) in zip(noises, pairs, strict=True):
            noise.add(exact.activations(one), quantised.activations(other))
    nodes = _nodes(quantised, [other for _, other in pairs])
    matched = {other for _, other in pairs}
    unmatched = [quantised.output(i)["name"] for i in range(counts[1]) if i not in matched]
    nothing = [None] * len(nodes)
    return Looked(judge(nodes, noises, nothing, nothing), unmatched, None, None, [NO_TIMES])


def _nodes(file: _File, operators: list[int]) -> list[Node]:
    made_by = {int(t): i for i, op in enumerate(file.operators) for t in op["outputs"]}
    position = {operator: i for i, operator in enumerate(operators)}
    nodes = []

    def reads(operator: int) -> set[int]:
        """Positions of what it reads from, through operators that were not matched."""
        tensors = map(int, file.operators[operator]["inputs"])
        makers = [made_by[tensor] for tensor in tensors if tensor in made_by]
        return set().union(*({position[i]} if i in position else reads(i) for i in makers))

    for operator in operators:
        details = file.operators[operator]
        output = file.output(operator)
        nodes.append(
            Node(
                name=output["name"],
                kind=details["op_name"].lower(),
                multiply_adds=_multiply_adds(file, details, output),
                inputs=tuple(sorted(reads(operator))),
                key=output["name"],
            )
        )
    return nodes


def _multiply_adds(file: _File, details: dict[str, Any], output: dict[str, Any]) -> int | None:
    kind = details["op_name"]
    if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return None
    weights = [int(side) for side in file.tensors[int(details["inputs"][1])]["shape"]]
    each = weights[1:3] if kind == "DEPTHWISE_CONV_2D" else weights[1:]
    return int(np.prod(output["shape"])) * int(np.prod(each))
