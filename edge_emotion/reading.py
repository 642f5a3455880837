"""How a program reads a picture: by its faces, by boxes that the user gives, or as one face."""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge_emotion.errors import InputError, PictureError, UsageError
from edge_emotion.faces import YUNET_ALONE, Box, best_finder, open_finder
from edge_emotion.photographs import PhotoPrediction
from edge_emotion.predictor import MAX_FACES, Predictor

#: A file of boxes may hold no more bytes.
MAX_BOXES = 64_000_000

Boxes = Mapping[str, list[Box]]
#: A path, or the bytes of a picture, to its answer.
Reader = Callable[[Path | bytes], PhotoPrediction]


def make_reader(
    predictor: Predictor,
    faces: str,
    *,
    detector: Path | None = None,
    max_faces: int = MAX_FACES,
    threads: int = 1,
    boxes: Boxes | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Reader:
    """What turns a picture into an answer.

    Args:
        predictor: of the model.
        faces: how they are found: "auto", "yunet", "hog" or "off"; ignored with `boxes`.
        detector: YuNet's file, if the user named one.
        max_faces: see `Predictor.predict_faces`.
        threads: of the finder's engine.
        boxes: path or name of a picture -> boxes of its faces; then pictures are paths.
        note: told in a line what the model cannot tell, and how faces are found where there is
            something better.

    Raises:
        ModelError: YuNet's file is not there, damaged, or another file.
        MissingExtraError: dlib is asked for and not installed.
        UsageError: a detector is named that would not be used.
    """

    def whole(path: Path | bytes) -> PhotoPrediction:
        p = predictor.predict(path)
        return PhotoPrediction(p.label, p.score, p.probabilities, p.uncertain, [])

    def by_boxes(path: Path | bytes) -> PhotoPrediction:
        assert boxes is not None
        assert isinstance(path, Path)
        for key in (str(path), path.name):
            if key in boxes:
                try:
                    return predictor.predict_photo(path, boxes=boxes[key])
                except UsageError as error:
                    raise PictureError(f"{path}: {error}") from error
        raise PictureError(f"{path}: no boxes for it in the file of --boxes")

    def by_faces(path: Path | bytes) -> PhotoPrediction:
        return predictor.predict_photo(path, max_faces=max_faces)

    if predictor.card.confidence.samples == 0:
        note(
            f"{predictor.card.name} has no threshold for its certainty: it calls no face uncertain"
        )
    if detector is not None and (boxes is not None or faces == "off"):
        raise UsageError(YUNET_ALONE)
    if boxes is not None and faces != "auto":
        raise UsageError("--boxes says where the faces are: leave --faces out")
    if boxes is not None:
        return by_boxes
    if faces == "off":
        return whole
    if faces == "auto":
        predictor.finder = best_finder(detector=detector, threads=threads)
        if predictor.finder is None:
            note(
                "reading each picture as one face: to find faces, run edge-emotion fetch yunet, "
                "or pip install 'edge-emotion[faces]'; --faces off says that this is meant"
            )
            return whole
        if predictor.finder.name == "hog":
            note("finding faces with dlib; edge-emotion fetch yunet gets a finder that sees more")
    else:
        predictor.finder = open_finder(faces, detector=detector, threads=threads)
    if predictor.card.input.face is None:
        note(
            f"{predictor.card.name} does not say how the faces of its training were cut: they are "
            "cut as FER+ has them; --faces off reads each picture whole"
        )
    return by_faces


def read_boxes(path: Path) -> Boxes:
    """Boxes of faces from a JSON file: {"picture": [[x, y, width, height], ...], ...}.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    kind = dict[str, list[tuple[float, float, float, float]]]
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BOXES + 1)
        if len(data) > MAX_BOXES:  # or without an end, as a device is
            raise ValueError(f"larger than {MAX_BOXES // 1_000_000} MB")
        boxes = msgspec.json.decode(data.removeprefix(BOM_UTF8), type=kind)
        return {str(Path(name)): own for name, own in boxes.items()}  # as pictures are named
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f'{path}: {reason}; --boxes takes {{"picture.jpg": [[x, y, width, height], ...]}}'
        ) from error


def answer_row(photo: PhotoPrediction) -> dict[str, Any]:
    """The fields of an answer in JSON."""
    return {
        "label": photo.label,
        "score": photo.score,
        "probabilities": photo.probabilities,
        "uncertain": photo.uncertain,
        "faces": [
            {
                "box": [round(v, 1) for v in face.box],
                "detection": face.detection,
                **dataclasses.asdict(face.prediction),
            }
            for face in photo.faces
        ],
    }
