"""Work for the plugin to count: every export of every shipped model, between marks.

    python count.py RUNS

Runs under ``qemu -plugin instructions.so,out=MARKS``; prints a line of JSON that says what stands
between the marks: for each export {"model", "recipe", "sha256", "engine", "engine_version"}, in
the order in which it was run. Each gives three marks: before RUNS inferences, after them, and after
2 RUNS more. The plugin numbers them in the order of the list, from 0.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import suppress

import numpy as np

from edge_emotion.artefacts import read_card, shipped_models
from edge_emotion.files import sha256
from edge_emotion.runtimes import Runtime, open_runtime

#: As in instructions.c.
MARK = 0x7E57000
WARMUP = 3


def mark(number: int) -> None:
    """Let the plugin write down its count."""
    with suppress(ProcessLookupError):  # there is no such process: it is the call that counts
        os.getpgid(MARK + number)


def work(runtime: Runtime, runs: int, first: int) -> None:
    """Run one export, with the marks `first`, `first` + 1 and `first` + 2."""
    pixels = np.random.default_rng(1).integers(0, 256, (1, *runtime.input_shape), np.uint8)
    for _ in range(WARMUP):
        runtime.logits(pixels)
    mark(first)
    for _ in range(runs):
        runtime.logits(pixels)
    mark(first + 1)
    for _ in range(2 * runs):
        runtime.logits(pixels)
    mark(first + 2)


def main() -> None:
    """Run every export."""
    gc.disable()  # it would run in some of the rounds and not in others
    done: list[dict[str, str]] = []
    for model, folder in shipped_models().items():
        for export in read_card(folder).exports:
            path = folder / export.file
            runtime = open_runtime(path, threads=1)
            work(runtime, int(sys.argv[1]), 3 * len(done))
            done.append({
                "model": model, "recipe": export.recipe, "sha256": sha256(path),
                "engine": runtime.engine, "engine_version": runtime.engine_version,
            })  # fmt: skip
    print(json.dumps(done))


if __name__ == "__main__":
    main()
