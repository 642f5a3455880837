"""In a worker: one artefact on faces cut out of pictures, as `peers` asks for it."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.evaluation import softmax
from edge_emotion.preprocess import preprocess
from edge_emotion.runtimes import open_runtime

from .worker import CropRequest, CropTimes, import_engine, peak_rss


def run_crops(request: CropRequest, started: float) -> CropTimes:
    """Answer a CropRequest.

    Args:
        request: what to run.
        started: `time.perf_counter()` from before edge_emotion was imported.
    """
    path = Path(request.path)
    import_engine(path)
    imported = time.perf_counter()
    runtime = open_runtime(path, 1)
    loaded = time.perf_counter()
    crops = read_crops(Path(request.crops), request.shapes)

    def probabilities(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
        tensor = preprocess(crop, request.input)[None]
        row: NDArray[np.float64] = softmax(runtime.logits(tensor), request.temperature)[0]
        return row

    before = time.perf_counter()
    probabilities(crops[0])
    first = time.perf_counter()
    gc.collect()
    gc.disable()
    for i in range(request.warmup):
        probabilities(crops[i % len(crops)])
    latency = []
    for i in range(request.runs):
        crop = np.array(crops[i % len(crops)])  # in memory
        start = time.perf_counter_ns()
        probabilities(crop)
        latency.append((time.perf_counter_ns() - start) / 1e6)
    peak = peak_rss()
    if request.out is not None:
        np.array([probabilities(crop) for crop in crops], np.float32).tofile(request.out)
    return CropTimes(
        engine=runtime.engine,
        engine_version=runtime.engine_version,
        import_s=imported - started,
        load_s=loaded - imported,
        first_prediction_s=first - before,
        latency=latency,
        peak_rss=peak,
    )


def read_crops(path: Path, shapes: list[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """Faces from the file that `peers` writes: views of (H, W, 3) uint8 RGB, not in memory yet."""
    pixels = np.memmap(path, np.uint8, "r")
    ends = np.cumsum([height * width * 3 for height, width in shapes])
    parts = np.split(pixels, ends[:-1])
    return [part.reshape(*shape, 3) for part, shape in zip(parts, shapes, strict=True)]
