"""Work for the plugin to count: every export of every shipped model, and fer's, between marks.

    python count.py RUNS FER FILE

FER is what the peer is called, FILE its TFLite file, see `edge_emotion.benchmarks.peer_packages`.
Runs under ``qemu -plugin instructions.so,out=MARKS``; prints a line of JSON that says what stands
between the marks: for each export {"model", "recipe", "sha256", "engine", "engine_version"}, in
the order in which it was run. Each gives three marks: before RUNS inferences, after them, and after
2 RUNS more. The plugin numbers them in the order of the list, from 0.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from edge_emotion.artefacts import read_card, shipped_models
from edge_emotion.files import sha256
from edge_emotion.runtimes import open_runtime

#: As in instructions.c.
MARK = 0x7E57000
WARMUP = 3


def mark(number: int) -> None:
    """Let the plugin write down its count."""
    with suppress(ProcessLookupError):  # there is no such process: it is the call that counts
        os.getpgid(MARK + number)


def work(infer: Callable[[], object], runs: int, first: int) -> None:
    """Run one model, with the marks `first`, `first` + 1 and `first` + 2."""
    for _ in range(WARMUP):
        infer()
    mark(first)
    for _ in range(runs):
        infer()
    mark(first + 1)
    for _ in range(2 * runs):
        infer()
    mark(first + 2)


def fer(path: Path) -> Callable[[], object]:
    """One inference of fer's file, as `peer_fer` runs it: float32 in, float32 out."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    face = np.random.default_rng(1).uniform(-1, 1, source["shape"]).astype(np.float32)

    def infer() -> object:
        interpreter.set_tensor(source["index"], face)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return infer


def main() -> None:
    """Run every export, and fer's."""
    gc.disable()  # it would run in some of the rounds and not in others
    runs, peer, file = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    done: list[dict[str, str]] = []
    for model, folder in shipped_models().items():
        for export in read_card(folder).exports:
            path = folder / export.file
            runtime = open_runtime(path, threads=1)
            pixels = np.random.default_rng(1).integers(0, 256, (1, *runtime.input_shape), np.uint8)
            work(partial(runtime.logits, pixels), runs, 3 * len(done))
            done.append({
                "model": model, "recipe": export.recipe, "sha256": sha256(path),
                "engine": runtime.engine, "engine_version": runtime.engine_version,
            })  # fmt: skip
    work(fer(file), runs, 3 * len(done))
    done.append({
        "model": peer, "recipe": "tflite-int8-dynamic", "sha256": sha256(file),
        "engine": "ai-edge-litert",
        "engine_version": importlib.metadata.version("ai-edge-litert"),
    })  # fmt: skip
    print(json.dumps(done))


if __name__ == "__main__":
    main()
