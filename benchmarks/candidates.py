"""How long candidate bodies of `edge-cnn` take in int8, before any of them is trained.

    python -m edge_emotion.benchmarks.candidates

Multiply-adds say little: 16 channels at full resolution keep an int8 engine waiting for memory.
Weights are random; rounds are interleaved in one process, one thread. Extra: export.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

from rich.table import Table

from edge_emotion.cli.terminal import table_console
from edge_emotion.quiet import quiet

from .module import run_module

LABELS = 8

#: Name -> body, see `edge_emotion.training.body`.
CANDIDATES = {
    "first edge-cnn": "c16 r p c32 r p c64 r p r",
    "second edge-cnn": "c32/2 r p c64 r p r",
    "edge-cnn": "c32/2 r p c64 r p c96 r",
    "each place": "c32/2 r p c64 r p c96 r f",
    "wider, each place": "c32/2 r p c64 r p c112 r f",
    "wider at the end": "c32/2 r p c64 r p c128 r",
    "longer at the end": "c32/2 r p c64 r p r r r",
    "longer before": "c32/2 r p c64 r r p c96 r",
    "5 x 5 stem": "c32k5/2 r p c64 r p c96 r",
    "strided, 5 x 5": "c24k5/2 r c48/2 r r c64/2 r",
    "full-size stem": "c16 c32/2 r c64/2 r c64/2 r",
    "deeper": "c32k5/2 r r c64/2 r r c64/2 r",
    "two-layer units": "c32k5/2 rr c64/2 rr c96/2 r",
    "late and wide": "c16k5/2 r c64/2 r r r c96/2 r",
    "depthwise": "c32/2 r p d64 r p d96 r",
    "depthwise only": "c32/2 d32 p d64 d64 p d96 d96",
}


def main(arguments: list[str]) -> None:
    """Convert all, time all, print a table.

    Raises:
        MissingExtraError: TensorFlow, tf2onnx or LiteRT is not installed.
    """
    argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.candidates", description=__doc__.splitlines()[0]
    ).parse_args(arguments)
    with quiet():
        from edge_emotion.training.architectures import multiply_adds
        from edge_emotion.training.config import TrainConfig
        from edge_emotion.training.fit import build

        from .beside import Export, interleaved_ms, ratio

    rows: list[tuple[str, float, int, int]] = []
    runs: list[Callable[[], object]] = []
    for name, body in CANDIDATES.items():
        model = build(TrainConfig(body=body), LABELS)
        export = Export(model, "tflite-int8")
        runs.append(export.run)
        rows.append((name, multiply_adds(model) / 1e6, model.count_params(), export.bytes))
    times = interleaved_ms(runs)
    table = Table()
    for column in ("body", "stages", "M multiply-adds", "parameters", "kB", "ms", "of the first"):
        table.add_column(column)
    for (name, millions, parameters, size), own in zip(rows, times, strict=True):
        table.add_row(
            name, CANDIDATES[name], f"{millions:.1f}", f"{parameters / 1e3:.0f} k",
            f"{size / 1e3:.0f}", f"{statistics.median(own):.3f}", f"{ratio(own, times[0]):.2f}",
        )  # fmt: skip
    table_console(120).print(table)


if __name__ == "__main__":
    run_module(main)
