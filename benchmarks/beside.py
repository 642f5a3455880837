"""int8 latency of networks that nobody has trained, beside one that is known.

Latency depends on a network's shape and not on its weights, so it can be known before hours of
training. What is timed is what users run: the exported file, in its engine, uint8 pixels in, logits
out, one thread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import RECIPES
from edge_emotion.quiet import quiet
from edge_emotion.runtimes import Runtime, open_runtime
from edge_emotion.training.architectures import multiply_adds
from edge_emotion.training.trials import Cost

from ..exporters.onnx import convert_onnx, quantize_onnx
from ..exporters.tflite import convert_tflite

ROUNDS, RUNS = 40, 25
CALIBRATION_PICTURES = 8  # of noise: ranges do not change the time


class Export:
    """An untrained network as an int8 file, ready to run."""

    def __init__(self, logits_model: Any, recipe: str) -> None:
        """Convert and load.

        Args:
            logits_model: Keras model, float32 pixels 0..255 of shape (N, H, W, C) in, logits out.
            recipe: "tflite-int8" or "onnx-int8".

        Raises:
            ConversionError: a layer has no int8 form.
            MissingExtraError: the engine is not installed.
        """
        shape = logits_model.input_shape[1:]
        noise = np.random.default_rng(0).integers(
            0, 256, (CALIBRATION_PICTURES, *shape), dtype=np.uint8
        )
        with quiet():
            if recipe == "tflite-int8":
                data = convert_tflite(logits_model, recipe, noise)
            else:
                data = quantize_onnx(convert_onnx(logits_model), noise).SerializeToString()
            with tempfile.TemporaryDirectory() as name:
                path = Path(name, RECIPES[recipe])
                path.write_bytes(data)
                runtime: Runtime = open_runtime(path, threads=1)
        self.bytes = len(data)
        picture: NDArray[np.uint8] = noise[:1]
        self.run: Callable[[], object] = partial(runtime.logits, picture)


def interleaved_ms(
    runs: Sequence[Callable[[], object]], rounds: int = ROUNDS, calls: int = RUNS
) -> list[list[float]]:
    """Mean milliseconds a call, a list for each of `runs`, one figure a round.

    In a round each is run in turn, so that what the machine does meanwhile meets all alike; every
    other round goes the other way. The first call of each turn warms the caches and is not counted.
    """
    times: list[list[float]] = [[] for _ in runs]
    for number in range(rounds):
        order = range(len(runs)) if number % 2 == 0 else reversed(range(len(runs)))
        for i in order:
            runs[i]()
            start = time.perf_counter()
            for _ in range(calls):
                runs[i]()
            times[i].append((time.perf_counter() - start) / calls * 1e3)
    return times


def ratio(own: Sequence[float], reference: Sequence[float]) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(own, reference, strict=True))


class Beside:
    """Measures networks beside a reference, which is converted once."""

    def __init__(self, reference: Any) -> None:
        """Convert the reference.

        Args:
            reference: Keras model whose ratio is 1.

        Raises:
            ConversionError: it cannot be converted.
            MissingExtraError: an extra is missing.
        """
        self._tflite = Export(reference, "tflite-int8")
        self._onnx = Export(reference, "onnx-int8")

    def __call__(self, logits_model: Any) -> Cost:
        """What a network costs; see `Cost`.

        Raises:
            ConversionError: a layer has no int8 form.
        """
        tflite, onnx = (Export(logits_model, recipe) for recipe in ("tflite-int8", "onnx-int8"))
        runs = [tflite.run, self._tflite.run, onnx.run, self._onnx.run]
        times = interleaved_ms(runs)
        return Cost(
            latency=round(ratio(times[0], times[1]), 4),
            latency_ms=round(statistics.median(times[0]), 4),
            onnx_latency=round(ratio(times[2], times[3]), 4),
            onnx_latency_ms=round(statistics.median(times[2]), 4),
            int8_bytes=tflite.bytes,
            multiply_adds=multiply_adds(logits_model),
            parameters=int(logits_model.count_params()),
        )
