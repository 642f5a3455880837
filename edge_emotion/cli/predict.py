"""``edge-emotion predict``."""

from __future__ import annotations

import csv
import glob
import itertools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from edge_emotion.cli.terminal import complain, note, progress
from edge_emotion.errors import InputError, PictureError, UsageError

if TYPE_CHECKING:
    from edge_emotion import PhotoPrediction


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of them, globs; '-' reads paths from stdin."),
    ],
    model: ModelOption = "edge-cnn",
    runtime: RuntimeOption = None,
    threads: ThreadsOption = 1,
    faces: FacesOption = Faces.AUTO,
    detector: DetectorOption = None,
    max_faces: MaxFacesOption = 32,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help='JSON with your own boxes instead: {"picture.jpg": [[x, y, width, height], ...]}; '
            "each is read, and answered in their order."
        ),
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Read each face and its mirror image, in twice the time; cards tell the accuracy.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Folder for copies with faces and labels drawn on, NAME-annotated.jpg."),
    ] = None,
) -> None:
    """Name the expression in pictures: one line a picture, in the order given.

    The picture's answer is that of its faces, weighted by size and certainty; without a face there
    is none, which is no error. A picture that cannot be read is reported in its place, the others
    are still processed, and the exit code is 4.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")

    from edge_emotion import Predictor
    from edge_emotion.quiet import quiet
    from edge_emotion.reading import make_reader, read_boxes

    with quiet() if runtime == "keras" else nullcontext():  # TensorFlow speaks while it loads
        predictor = Predictor(model, runtime=runtime, threads=threads, mirror=mirror)
    read = make_reader(
        predictor,
        faces,
        detector=detector,
        max_faces=max_faces,
        threads=threads,
        boxes=read_boxes(boxes) if boxes else None,
        note=note,
    )
    if hasattr(sys.stdin, "reconfigure"):  # file names need not be UTF-8
        sys.stdin.reconfigure(errors="surrogateescape")
    writer = _Csv(predictor.labels) if as_csv else _JsonLines() if as_json else _Lines()
    annotator = None
    if annotate is not None:
        from edge_emotion.cli.annotate import Annotator

        annotator = Annotator(annotate, predictor.labels, map(Path, paths))
    failed = 0
    found: Any = _pictures(paths, annotate)
    if not sys.stdout.isatty() and "-" not in paths:
        found = progress("predicting")(list(found))
    for item in found:
        try:
            if isinstance(item, InputError):
                raise item
            photo = read(item)
            if annotator:
                annotator.draw(item, photo)
        except InputError as error:
            failed += 1
            complain(str(error))
            writer.error(getattr(error, "path", str(item)), str(error))
            continue
        writer.photo(str(item), photo)
    if failed:
        raise typer.Exit(InputError.exit_code)


class _NothingFoundError(PictureError):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


def _pictures(arguments: list[str], annotate: Path | None) -> Iterator[Path | _NothingFoundError]:
    """Every picture that the arguments name, or an error in its place.

    In folders, annotated copies of an earlier run in the folder `annotate` are passed over.
    """
    for argument in arguments:
        if argument == "-":
            for line in sys.stdin:
                if line.strip():
                    yield from _expand(line.rstrip("\r\n"), annotate)
        else:
            yield from _expand(argument, annotate)


def _expand(argument: str, annotate: Path | None) -> Iterator[Path | _NothingFoundError]:
    from edge_emotion.files import files_under, is_hidden
    from edge_emotion.preprocess import PICTURE_SUFFIXES

    if "\0" in argument:
        yield _NothingFoundError(repr(argument[:40]), "no path; '-' reads paths, one a line")
        return
    if not argument:
        yield _NothingFoundError("''", "an empty path; . is this folder")
        return
    path = Path(argument)
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        yield _NothingFoundError(argument, getattr(error, "strerror", None) or str(error))
        return
    if is_folder:
        closed: list[OSError] = []
        inside = [
            p for p in files_under(path, closed.append)
            if p.suffix.lower() in PICTURE_SUFFIXES and not is_hidden(p, path)
        ]  # fmt: skip
        if annotate is not None:
            from edge_emotion.cli.annotate import is_copy

            inside = [p for p in inside if not is_copy(p, annotate)]
        yield from inside
        closed = [failure for failure in closed if not is_hidden(Path(failure.filename), path)]
        for failure in closed:
            reason = f"{failure.strerror or failure}: the folder's pictures are passed over"
            yield _NothingFoundError(str(failure.filename), reason)
        if not inside and not closed:
            yield _NothingFoundError(argument, "no pictures in this folder")
    elif not os.path.lexists(path) and glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - may be absolute
        found = itertools.chain.from_iterable(_expand(match, annotate) for match in matches)
        yield from dict.fromkeys(found)  # once each: ** matches folders and what is in them
        if not matches:
            yield _NothingFoundError(argument, "no picture matches")
    else:
        yield path


class _Lines:
    """``path: label 0.97``; errors go to stderr alone."""

    def photo(self, path: str, photo: PhotoPrediction) -> None:
        path = path if path.isprintable() else repr(path)  # one line, whatever the name holds
        if photo.label is None:
            print(f"{path}: no face", flush=True)
            return
        doubt = " (uncertain)" if photo.uncertain else ""
        count = f", {len(photo.faces)} faces" if len(photo.faces) > 1 else ""
        print(f"{path}: {photo.label} {photo.score:.2f}{doubt}{count}", flush=True)

    def error(self, path: str, error: str) -> None:
        """Stderr has it."""


class _JsonLines:
    def photo(self, path: str, photo: PhotoPrediction) -> None:
        from edge_emotion.reading import answer_row

        self._print({"path": path, **answer_row(photo)})

    def error(self, path: str, error: str) -> None:
        self._print({"path": path, "error": error})

    def _print(self, row: dict[str, Any]) -> None:
        print(json.dumps(row), flush=True)


class _Csv:
    def __init__(self, labels: list[str]) -> None:
        columns = ["path", "label", "score", "uncertain", *labels, "faces", "error"]
        if len(set(columns)) < len(columns):
            twice = next(label for label in labels if columns.count(label) > 1)
            raise UsageError(f"--csv: {twice!r} is a column and a label: use --json")
        self.labels = labels
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        self.writer.writerow(columns)

    def photo(self, path: str, photo: PhotoPrediction) -> None:
        if photo.score is None:
            values = [""] * (1 + len(self.labels))
        else:
            shares = [photo.probabilities[label] for label in self.labels]
            values = [f"{value:.6f}" for value in (photo.score, *shares)]
        uncertain = str(photo.uncertain).lower()
        faces = len(photo.faces)
        label = photo.label or ""
        self.writer.writerow([path, label, values[0], uncertain, *values[1:], faces, ""])
        sys.stdout.flush()

    def error(self, path: str, error: str) -> None:
        self.writer.writerow([path, "", "", "", *("" for _ in self.labels), "", error])
        sys.stdout.flush()
