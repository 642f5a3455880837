"""In a worker: one artefact on faces cut out of pictures, as `peers` asks for it."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    crops = Crops(Path(request.crops), request.shapes)

    def probabilities(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
        tensor = preprocess(crop, request.input)[None]
        row: NDArray[np.float64] = softmax(runtime.logits(tensor), request.temperature)[0]
        return row

    crop = crops[0]
    before = time.perf_counter()
    probabilities(crop)
    first = time.perf_counter()
    gc.collect()
    gc.disable()
    for i in range(request.warmup):
        probabilities(crops[i % len(crops)])
    latency = []
    for i in range(request.runs):
        crop = crops[i % len(crops)]
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


class Crops(Sequence[NDArray[np.uint8]]):
    """Faces in the file that `peers` writes: (H, W, 3) uint8 RGB, each read when it is asked for.

    Not mapped into memory, where those that were asked for would count as the model's.
    """

    def __init__(self, path: Path, shapes: list[tuple[int, int]]) -> None:
        self.path, self.shapes = path, shapes
        sizes = [height * width * 3 for height, width in shapes]
        self.starts = [0, *np.cumsum(sizes).tolist()]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: Any) -> Any:
        start, end = self.starts[i], self.starts[i + 1]
        pixels = np.fromfile(self.path, np.uint8, end - start, offset=start)
        return pixels.reshape(*self.shapes[i], 3)
