"""The process in which one artefact is measured: a JSON request on stdin, a JSON answer on stdout.

A fresh process for each artefact, number of threads and round: nothing that one engine loaded,
cached or started can help or hinder another. `processes.ask` starts it; only what prediction
itself needs is imported here, since the time and memory of that are measured.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import InputSpec
from edge_emotion.errors import EdgeEmotionError, InputError, MissingExtraError
from edge_emotion.evaluation import softmax
from edge_emotion.preprocess import open_picture, preprocess, to_tensor
from edge_emotion.runtimes import (
    Runtime,
    RuntimeName,
    check_fits,
    logits_of,
    open_runtime,
    runtime_name,
)

from .layer import Layer

#: What a user's program has imported before its first prediction.
ENGINE_MODULES: dict[RuntimeName, tuple[str, ...]] = {
    "onnx": ("edge_emotion.runtimes.onnx",),
    "litert": ("edge_emotion.runtimes.litert", "ai_edge_litert.interpreter"),
    "keras": ("edge_emotion.runtimes.keras", "keras"),
}


class TimeRequest(msgspec.Struct, frozen=True, tag="time"):
    """Measure one artefact."""

    path: str
    input: InputSpec
    labels: int  # how many
    temperature: float
    threads: int
    warmup: int
    runs: int
    batches: list[int]
    throughput_s: float
    picture: bytes  # encoded


class LogitsRequest(msgspec.Struct, frozen=True, tag="logits"):
    """Run an artefact on pictures."""

    path: str
    pixels: str  # .npy, uint8 (N, H, W, C)
    out: str  # .npy to write, float32 (N, labels)


class CropRequest(msgspec.Struct, frozen=True, tag="crops"):
    """Run an artefact on faces cut out of pictures, one by one, as a program that has found them.

    The peers' workers take the same, with what they need beside it.
    """

    path: str
    input: InputSpec
    temperature: float
    crops: str  # raw uint8 RGB pixels of all faces, one after the other
    shapes: list[tuple[int, int]]  # height, width of each
    warmup: int
    runs: int  # timed, over the faces in turn
    out: str | None  # raw float32 probabilities (N, labels) to write; None: of no interest


class LayersRequest(msgspec.Struct, frozen=True, tag="layers"):
    """Look into an int8 artefact beside its float original."""

    path: str  # int8
    reference: str  # float, of the same engine
    pixels: str  # .npy, uint8 (N, H, W, C)
    rows: list[int]  # which of them
    warmup: int
    runs: int  # profiled, one picture each


class Timed(msgspec.Struct, frozen=True, tag="timed"):
    """Answer to a TimeRequest. Lists hold one value a run, in milliseconds."""

    engine: str
    engine_version: str
    import_s: float
    load_s: float
    first_prediction_s: float
    model: list[float]
    decode: list[float]
    preprocess: list[float]
    infer: list[float]
    pictures_per_s: list[float]  # one a batch size
    peak_rss: int  # bytes


class Written(msgspec.Struct, frozen=True, tag="written"):
    """Answer to a LogitsRequest."""


class CropTimes(msgspec.Struct, frozen=True, tag="crop-times"):
    """Answer to a CropRequest."""

    engine: str
    engine_version: str
    import_s: float
    load_s: float
    first_prediction_s: float
    latency: list[float]  # milliseconds a run, uint8 pixels to probabilities
    peak_rss: int  # bytes


class Looked(msgspec.Struct, frozen=True, tag="looked"):
    """Answer to a LayersRequest."""

    layers: list[Layer]
    unmatched: list[str]  # layers of the int8 file that the float one has not
    other_float_us: float | None  # microseconds in what belongs to no layer
    other_int8_us: float | None
    notes: list[str]  # what could not be measured, and why


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An error that was raised on purpose."""

    message: str
    kind: Literal["input", "check"]
    extra: str | None = None  # set if an optional dependency is missing
    what: str = ""  # needs the extra


Request = TimeRequest | LogitsRequest | CropRequest | LayersRequest
Answer = Timed | Written | CropTimes | Looked | Failure


def main(started: float) -> None:
    """Answer the request on stdin.

    Args:
        started: `time.perf_counter()` from before edge_emotion was imported.
    """
    # Engines print what they like on file descriptor 1. The answer keeps it; they get stderr.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    request: Request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    answer: Answer
    try:
        if isinstance(request, TimeRequest):
            answer = _time(request, started)
        elif isinstance(request, CropRequest):
            from .crops import run_crops  # not before: its import would be in others' times

            answer = run_crops(request, started)
        elif isinstance(request, LayersRequest):
            from .layers import run_layers

            answer = run_layers(request)
        else:
            answer = _logits(request)
    except MissingExtraError as error:
        answer = Failure(str(error), "input", error.extra, error.what)
    except EdgeEmotionError as error:
        answer = Failure(str(error), "input" if isinstance(error, InputError) else "check")
    with os.fdopen(answer_to, "wb") as stdout:
        stdout.write(msgspec.json.encode(answer))


def _time(request: TimeRequest, started: float) -> Timed:
    path = Path(request.path)
    import_engine(path)
    imported = time.perf_counter()
    runtime = open_runtime(path, request.threads)
    loaded = time.perf_counter()
    check_fits(runtime, request.input, request.labels, path)
    _predict(runtime, request)
    first = time.perf_counter()

    tensor = preprocess(request.picture, request.input)[None]
    gc.collect()
    gc.disable()  # a collection in the middle of a run is not the model's latency
    model = _time_model(runtime, tensor, request.warmup, request.runs)
    for _ in range(request.warmup):
        _predict(runtime, request)
    steps = np.array([_predict(runtime, request) for _ in range(request.runs)]).reshape(-1, 3)
    peak = peak_rss()  # before the large batches, which need more than prediction does
    return Timed(
        engine=runtime.engine,
        engine_version=runtime.engine_version,
        import_s=imported - started,
        load_s=loaded - imported,
        first_prediction_s=first - loaded,
        model=model,
        decode=steps[:, 0].tolist(),
        preprocess=steps[:, 1].tolist(),
        infer=steps[:, 2].tolist(),
        pictures_per_s=[
            _throughput(runtime, np.repeat(tensor, size, axis=0), request.throughput_s)
            for size in request.batches
        ],
        peak_rss=peak,
    )


def import_engine(path: Path) -> None:
    """Import what a user's program has imported before it opens the file."""
    with suppress(ImportError):  # open_runtime says which extra is missing
        for module in ENGINE_MODULES[runtime_name(path)]:
            importlib.import_module(module)


def _predict(runtime: Runtime, request: TimeRequest) -> tuple[float, float, float]:
    """Picture to probabilities as `Predictor` does; ms of decode, preprocess and infer."""
    spec = request.input
    start = time.perf_counter_ns()
    image = open_picture(request.picture, (spec.width, spec.height))
    decoded = time.perf_counter_ns()
    tensor = to_tensor(image, spec)[None]
    prepared = time.perf_counter_ns()
    softmax(runtime.logits(tensor), request.temperature)
    done = time.perf_counter_ns()
    return (decoded - start) / 1e6, (prepared - decoded) / 1e6, (done - prepared) / 1e6


def _time_model(runtime: Runtime, tensor: NDArray[np.uint8], warmup: int, runs: int) -> list[float]:
    for _ in range(warmup):
        runtime.logits(tensor)
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        runtime.logits(tensor)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _throughput(runtime: Runtime, batch: NDArray[np.uint8], seconds: float) -> float:
    """Pictures per second. The first call is not counted: it may allocate for a new batch size."""
    runtime.logits(batch)
    start = time.perf_counter()
    calls = 0
    while (passed := time.perf_counter() - start) < seconds or not calls:
        runtime.logits(batch)
        calls += 1
    return calls * len(batch) / passed


def peak_rss() -> int:
    """The highest resident set of this process, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _logits(request: LogitsRequest) -> Written:
    runtime = open_runtime(Path(request.path))
    pixels = np.load(request.pixels, mmap_mode="r")
    np.save(request.out, logits_of(runtime, pixels))
    return Written()
