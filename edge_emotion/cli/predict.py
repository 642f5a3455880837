"""``edge-emotion predict``."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_emotion.cli.terminal import complain, progress
from edge_emotion.errors import InputError, PictureError, UsageError

if TYPE_CHECKING:
    from edge_emotion import Prediction


class Faces(StrEnum):
    """How faces are found."""

    OFF = "off"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of them, globs; '-' reads paths from stdin."),
    ],
    model: Annotated[
        str, typer.Option(help="Shipped model's name, model folder, or model file.")
    ] = "edge-cnn",
    runtime: Annotated[
        str | None,
        typer.Option(help="onnx, litert or keras.  [default: onnx, or what runs the file]"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Of the engine.")] = 1,
    faces: Annotated[
        Faces, typer.Option(help="off: each picture is one face, cropped to it.")
    ] = Faces.OFF,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Folder for copies with their label drawn on, NAME-annotated.jpg."),
    ] = None,
) -> None:
    """Name the expression in pictures: one line a picture, in the order given.

    A picture that cannot be read is reported in its place, the others are still processed, and the
    exit code is 4.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")

    from edge_emotion import Predictor

    predictor = Predictor(model, runtime=runtime, threads=threads)
    if hasattr(sys.stdout, "reconfigure"):  # file names need not be UTF-8
        sys.stdout.reconfigure(errors="surrogateescape")
    writer = _Csv(predictor.labels) if as_csv else _JsonLines() if as_json else _Lines()
    annotator = _Annotator(annotate) if annotate else None
    failed = 0
    found: Any = _pictures(paths)
    if not sys.stdout.isatty() and "-" not in paths:
        found = progress("predicting")(list(found))
    for item in found:
        try:
            if isinstance(item, InputError):
                raise item
            prediction = predictor.predict(item)
        except InputError as error:
            failed += 1
            complain(str(error))
            writer.error(getattr(error, "path", str(item)), str(error))
            continue
        writer.prediction(str(item), prediction)
        if annotator:
            annotator.draw(item, prediction)
    if failed:
        raise typer.Exit(InputError.exit_code)


class _NothingFoundError(PictureError):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


def _pictures(arguments: list[str]) -> Iterator[Path | _NothingFoundError]:
    """Every picture that the arguments name, or an error in its place."""
    for argument in arguments:
        if argument == "-":
            for line in sys.stdin:
                if line.strip():
                    yield from _expand(line.rstrip("\r\n"))
        else:
            yield from _expand(argument)


def _expand(argument: str) -> Iterator[Path | _NothingFoundError]:
    from edge_emotion.preprocess import PICTURE_SUFFIXES

    if "\0" in argument:
        yield _NothingFoundError(repr(argument[:40]), "no path; '-' reads paths, one a line")
        return
    path = Path(argument)
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        yield _NothingFoundError(argument, str(error))
        return
    if is_folder:
        inside = sorted(
            p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()
        )
        yield from inside
        if not inside:
            yield _NothingFoundError(argument, "no pictures in this folder")
    elif not os.path.lexists(path) and glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - may be absolute
        for match in matches:
            yield from _expand(match)
        if not matches:
            yield _NothingFoundError(argument, "no picture matches")
    else:
        yield path


class _Lines:
    """``path: label 0.97``; errors go to stderr alone."""

    def prediction(self, path: str, prediction: Prediction) -> None:
        doubt = " (uncertain)" if prediction.uncertain else ""
        path = path if path.isprintable() else repr(path)  # one line, whatever the name holds
        print(f"{path}: {prediction.label} {prediction.score:.2f}{doubt}", flush=True)

    def error(self, path: str, error: str) -> None:
        """Stderr has it."""


class _JsonLines:
    def prediction(self, path: str, prediction: Prediction) -> None:
        self._print(
            {
                "path": path,
                "label": prediction.label,
                "score": prediction.score,
                "probabilities": prediction.probabilities,
                "uncertain": prediction.uncertain,
                "faces": [],
            }
        )

    def error(self, path: str, error: str) -> None:
        self._print({"path": path, "error": error})

    def _print(self, row: dict[str, Any]) -> None:
        print(json.dumps(row), flush=True)


class _Csv:
    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        self.writer.writerow(["path", "label", "score", "uncertain", *labels, "error"])

    def prediction(self, path: str, prediction: Prediction) -> None:
        shares = [f"{prediction.probabilities[label]:.6f}" for label in self.labels]
        uncertain = str(prediction.uncertain).lower()
        score = f"{prediction.score:.6f}"
        self.writer.writerow([path, prediction.label, score, uncertain, *shares, ""])
        sys.stdout.flush()

    def error(self, path: str, error: str) -> None:
        self.writer.writerow([path, "", "", "", *("" for _ in self.labels), error])
        sys.stdout.flush()


class _Annotator:
    """Copies of pictures with a caption. Never writes over anything but its own kind of name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: set[str] = set()

    def draw(self, path: Path, prediction: Prediction) -> None:
        from PIL import ImageDraw, ImageFont

        from edge_emotion.files import replacing
        from edge_emotion.preprocess import open_picture

        image = open_picture(path)
        image.thumbnail((1600, 1600))
        size = max(10, min(image.width, image.height) // 14)
        font = ImageFont.load_default(size)
        text = f"{prediction.label} {prediction.score:.0%}"
        if prediction.uncertain:
            text += " (uncertain)"
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, image.height - 1.6 * size, image.width, image.height), fill="black")
        middle = (image.width / 2, image.height - 0.8 * size)
        draw.text(middle, text, fill="white", font=font, anchor="mm")
        name, number = f"{path.stem}-annotated.jpg", 1
        while name in self.taken:
            number += 1
            name = f"{path.stem}-annotated-{number}.jpg"
        self.taken.add(name)
        with replacing(self.folder / name) as temporary:
            image.save(temporary, quality=92)
