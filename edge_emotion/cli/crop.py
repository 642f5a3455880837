"""``edge-emotion crop``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_emotion.cli.options import DetectorOption
from edge_emotion.cli.terminal import note, progress


def crop(
    data: Annotated[Path, typer.Argument(help="Folder of class folders of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the crops, CLASS/NAME.png.")],
    faces: Annotated[str, typer.Option(help="yunet or hog.")] = "yunet",
    detector: DetectorOption = None,
    margin: Annotated[
        float, typer.Option(help="Side of the face square, in distances of the eyes.")
    ] = 2.5,
    context: Annotated[
        float,
        typer.Option(help="Side of a crop in face squares: what augmentation may look beyond."),
    ] = 1.5,
    size: Annotated[int, typer.Option(help="Side of a crop, pixels.")] = 96,
) -> None:
    """Cut the largest face out of labelled photographs, for "edge-emotion train".

    Photographs without a face, and damaged ones, are left out, named on stderr and counted; damaged
    ones make the exit code 4. Run again, it goes on where it was interrupted.
    """
    from dataclasses import replace

    from edge_emotion.card import FaceCrop
    from edge_emotion.errors import InputError, UsageError
    from edge_emotion.faces import open_finder
    from edge_emotion.training.crops import crop_faces

    try:
        square = replace(FaceCrop(), margin=margin)
    except ValueError as error:
        raise UsageError(f"--margin {margin}: {error}") from error
    record = crop_faces(
        data,
        out,
        open_finder(faces, detector=detector),
        face=square,
        context=context,
        side=size,
        progress=progress("cutting out faces"),
        warn=note,
    )
    print(f"{out}: {record.pictures} faces, {record.without_face} photographs without one")
    if record.unreadable:
        raise typer.Exit(InputError.exit_code)
