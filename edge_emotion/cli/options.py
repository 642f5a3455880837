"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Faces(StrEnum):
    """How faces are found; see `edge_emotion.reading.make_reader`."""

    AUTO = "auto"
    YUNET = "yunet"
    HOG = "hog"
    OFF = "off"


ModelOption = Annotated[
    str, typer.Option(help="Shipped model's name, model folder, or model file.")
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(help="onnx, litert or keras.  [default: onnx, or what runs the file]"),
]
ThreadsOption = Annotated[int, typer.Option(help="Threads of the inference engine.")]
FacesOption = Annotated[
    Faces,
    typer.Option(
        help="auto: YuNet if there is its file, else dlib's finder if it is installed, else off; "
        "off: each picture is one face, cropped to it."
    ),
]
DetectorOption = Annotated[
    Path | None,
    typer.Option(
        help="YuNet's file.  [default: EDGE_EMOTION_DETECTOR, or the one installed by a bundle, or "
        "fetched]"
    ),
]
MaxFacesOption = Annotated[
    int, typer.Option(min=1, help="How many faces of a picture are read at most, largest first.")
]
LabelsOption = Annotated[
    str | None, typer.Option(help="Comma-separated, in order.  [default: all of the data]")
]
LearnAllOption = Annotated[
    bool | None,
    typer.Option(
        "--learn-all", help="Train on all labels of the data, then keep the outputs of --labels."
    ),
]
SubjectOption = Annotated[
    str | None,
    typer.Option(
        help="Regular expression: pictures in whose paths it finds the same text stay on one side "
        "of the split, such as person[0-9]+."
    ),
]


def listed(text: str) -> list[str]:
    """What stands between commas, without spaces around it."""
    return [word.strip() for word in text.split(",") if word.strip()]
