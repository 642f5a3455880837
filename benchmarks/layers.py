"""Layer by layer: what takes the time, and where int8 loses accuracy. Runs in a worker.

The error of a layer is the signal-to-quantisation-noise ratio of its activations, float beside
int8, over all pictures: ``10 log10(sum x^2 / sum (x - y)^2)`` in dB. Errors travel on, so a layer
is judged by what it *loses*: the ratio of its worst input (at best that of 8 bits) less its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.runtimes import runtime_name

from .layer import EIGHT_BITS_DB, Layer
from .worker import LayersRequest, Looked

Activations = NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """A layer as the two files hold it, before anything is measured."""

    name: str  # of its tensor or node: a path of scopes
    kind: str
    multiply_adds: int | None
    inputs: tuple[int, ...]  # positions of the nodes that it reads from
    key: str  # tensor, for looking up activations and times


class Noise:
    """Sums the squares of one tensor and of its error, picture by picture."""

    def __init__(self) -> None:
        self.signal = 0.0
        self.noise = 0.0

    def add(self, exact: Activations, quantised: Activations) -> None:
        """One picture's activations, of the same shape."""
        self.signal += float((exact**2).sum())
        self.noise += float(((exact - quantised) ** 2).sum())

    @property
    def sqnr(self) -> float | None:
        """In dB; None: no error at all."""
        if self.noise == 0:
            return None
        if self.signal == 0:
            return -math.inf
        return 10 * math.log10(self.signal / self.noise)


def run_layers(request: LayersRequest) -> Looked:
    """Answer a LayersRequest.

    Raises:
        ModelError: a file cannot be run.
        MissingExtraError: what looks into the files is not installed.
    """
    pixels = np.load(request.pixels, mmap_mode="r")
    pictures = np.stack([pixels[row] for row in request.rows])
    if runtime_name(Path(request.path)) == "onnx":
        from .layers_onnx import look
    else:
        from .layers_tflite import look
    return look(Path(request.reference), Path(request.path), pictures, request.warmup, request.runs)


def judge(
    nodes: Sequence[Node],
    noises: Sequence[Noise],
    float_us: Sequence[float | None],
    int8_us: Sequence[float | None],
) -> list[Layer]:
    """Layers from what was measured of each, in the order in which they run."""
    found: list[Layer] = []
    for node, noise, slow, fast in zip(nodes, noises, float_us, int8_us, strict=True):
        own = noise.sqnr
        own = None if own is None else max(own, -99.0)  # JSON has no infinity
        read = [found[i].sqnr for i in node.inputs]
        comes_in = min([EIGHT_BITS_DB, *(s for s in read if s is not None)])
        lost = None if own is None else round(comes_in - own, 2)
        sqnr = None if own is None else round(own, 2)
        found.append(Layer(node.name, node.kind, node.multiply_adds, slow, fast, sqnr, lost))
    return found
