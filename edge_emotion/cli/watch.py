"""``edge-emotion watch``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from edge_emotion.cli.options import (
    DetectorOption,
    Faces,
    FacesOption,
    MaxFacesOption,
    ModelOption,
    RuntimeOption,
    ThreadsOption,
)
from edge_emotion.errors import UsageError


def watch(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of pictures; its sub-folders are watched too."),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File of results, one JSON object a line.", show_default=False),
    ],
    model: ModelOption = "edge-cnn",
    runtime: RuntimeOption = None,
    threads: ThreadsOption = 1,
    faces: FacesOption = Faces.AUTO,
    detector: DetectorOption = None,
    max_faces: MaxFacesOption = 32,
    interval: Annotated[
        float, typer.Option(min=0.01, max=3600, help="Seconds between two looks at the folder.")
    ] = 1.0,
    memory: Annotated[
        int,
        typer.Option(
            min=32,
            max=1_000_000,
            envvar="EDGE_EMOTION_MEMORY",
            help="MB that reading a picture may take beside the model.",
        ),
    ] = 300,
    once: Annotated[
        bool, typer.Option("--once", help="End when every picture has its line.")
    ] = False,
) -> None:
    """Predict each new picture of a folder once, across restarts and power cuts.

    A picture is new until its line is in the results, which are the only memory: path, size and
    time tell pictures apart. It is read when it has not changed from one look to the next. A
    damaged one gets a line with "error". Names that begin with a dot and symbolic links are passed
    over. SIGTERM ends the program between two pictures, with exit code 0.
    """
    from edge_emotion.cli.terminal import complain, note
    from edge_emotion.errors import InputError
    from edge_emotion.preprocess import PICTURE_SUFFIXES
    from edge_emotion.watch import Results, Stop, Watcher
    from edge_emotion.watch.run import limit_memory, warm_up

    if str(out) == "-":
        raise UsageError("--out -: name a file; watch also reads its results")
    if out.suffix.lower() in PICTURE_SUFFIXES:  # in the folder it would be read, again and again
        raise UsageError(f"--out {out}: {out.suffix} is a picture's ending; results.jsonl is none")
    if math.isnan(interval):
        raise UsageError("--interval nan is no number of seconds")
    with Stop() as stop:
        if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
            raise InputError(f"cannot watch {folder}: name a folder of pictures")
        results = Results(out, note)
        try:
            from edge_emotion import Predictor
            from edge_emotion.reading import make_reader

            read = make_reader(
                Predictor(model, runtime=runtime, threads=threads), faces,
                detector=detector, max_faces=max_faces, threads=threads, note=note,
            )  # fmt: skip
            note(f"watching {folder}: {len(results)} pictures have their line in {out}")
            warm_up(read)
            limit_memory(memory * 1_000_000)
            watcher = Watcher(folder, results, read, stop, interval=interval, note=complain)
            watcher.run(once)
        finally:
            results.close()
    if once and watcher.failed:
        raise typer.Exit(InputError.exit_code)
