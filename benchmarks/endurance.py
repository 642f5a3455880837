"""Whether memory stays flat: one photograph after the other, ten thousand times.

    python -m edge_emotion.benchmarks.endurance PICTURES [--count 10000] [--detector FILE]

Prints the resident set after each tenth, and exits with 1 if it still grows in the second half by
more than a hundredth.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from edge_emotion.errors import EdgeEmotionError, PictureError
from edge_emotion.faces import best_finder
from edge_emotion.predictor import Predictor
from edge_emotion.preprocess import PICTURE_SUFFIXES

GROWTH = 0.01


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


def main() -> int:
    """Read, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="folder")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--model", default="edge-cnn")
    options = parser.parse_args()
    try:
        predictor = Predictor(options.model, finder=best_finder(detector=options.detector))
        found = sorted(
            p for p in options.pictures.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES
        )
        if not found:
            raise PictureError(f"{options.pictures}: no pictures")
        sizes = []
        for i, path in enumerate(itertools.islice(itertools.cycle(found), options.count), 1):
            predictor.predict_photo(path)
            if i % max(1, options.count // 10) == 0:
                sizes.append(resident())
                print(f"{i} pictures: {sizes[-1] / 1e6:.1f} MB", flush=True)
    except EdgeEmotionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    half = sizes[len(sizes) // 2 - 1] if len(sizes) > 1 else sizes[0]
    return int(sizes[-1] > half * (1 + GROWTH))


if __name__ == "__main__":
    raise SystemExit(main())
