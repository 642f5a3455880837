"""Whether memory stays flat: one photograph after the other, ten thousand times.

    python -m edge_emotion.benchmarks.endurance PICTURES [--count 10000] [--detector FILE]

Prints the resident set after each tenth. Exit code 1 if it still grows in the second half by more
than a hundredth.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from edge_emotion.errors import CheckError, DataError, UsageError
from edge_emotion.faces import best_finder
from edge_emotion.predictor import Predictor
from edge_emotion.preprocess import PICTURE_SUFFIXES

from .module import named_path, run_module

GROWTH = 0.01


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    # Not statm, which counts pages: those of a Raspberry Pi 5 have 16 kB, others 4.
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def main(arguments: list[str]) -> None:
    """Read, print, judge.

    Raises:
        CheckError: memory still grows.
        UsageError: fewer than two pictures to read: nothing can grow.
        DataError: no pictures.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.endurance", description=__doc__.splitlines()[0]
    )
    parser.add_argument("pictures", type=named_path, help="folder")
    parser.add_argument("--count", type=int, default=10_000, help="[default: 10000]")
    parser.add_argument("--detector", type=named_path, help="YuNet's file")
    parser.add_argument("--model", default="edge-cnn", help="[default: edge-cnn]")
    options = parser.parse_args(arguments)
    if options.count < 2:
        raise UsageError(f"--count must be 2 or more, not {options.count}")
    predictor = Predictor(options.model, finder=best_finder(detector=options.detector))
    found = sorted(p for p in options.pictures.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise DataError(f"{options.pictures}: no pictures")
    sizes = []
    for i, path in enumerate(itertools.islice(itertools.cycle(found), options.count), 1):
        predictor.predict_photo(path)
        if i % max(1, options.count // 10) == 0:
            sizes.append(resident())
            print(f"{i} pictures: {sizes[-1] / 1e6:.1f} MB", flush=True)
    growth = sizes[-1] / sizes[len(sizes) // 2 - 1] - 1
    if growth > GROWTH:
        raise CheckError(f"memory still grows: by {growth:.1%} in the second half")


if __name__ == "__main__":
    run_module(main)
