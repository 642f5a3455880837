"""Photographs -> a folder of face crops that `edge-emotion train` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from edge_emotion.alignment import cut_square, face_square
from edge_emotion.card import FaceCrop
from edge_emotion.errors import DataError, InputError, UsageError
from edge_emotion.faces import Finder
from edge_emotion.files import replacing, write_bytes
from edge_emotion.preprocess import open_picture
from edge_emotion.training.data import CROPS_NAME, CropRecord, read_dataset
from edge_emotion.training.samples import Sample


def crop_faces(
    data: Path,
    out: Path,
    finder: Finder,
    *,
    face: FaceCrop,
    context: float = 1.5,
    side: int = 96,
    progress: Callable[[Iterable[Sample]], Iterable[Sample]] = lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> CropRecord:
    """Cut the largest face out of each labelled photograph, level, with its surroundings.

    Photographs without a face are left out and counted. What an earlier, interrupted run made is
    kept.

    Args:
        data: class folders, see `edge_emotion.training.data.read_dataset`.
        out: folder for ``CLASS/NAME.png`` and ``crops.json``.
        finder: finds the faces.
        face: the square around a face.
        context: side of a crop, in sides of that square; 1 or more.
        side: of a crop, pixels.
        progress: wraps the loop.
        warn: told of each photograph that cannot be read, or has no face.

    Returns:
        What was made.

    Raises:
        DataError: no class folders.
        UsageError: context or side out of range.
        OutputError: the folder cannot be written.
    """
    if not (1 <= context <= 4 and 8 <= side <= 1024):
        raise UsageError("--context must be 1 to 4 and --size 8 to 1024 pixels")
    dataset = read_dataset(data)
    if dataset.layout != "class folders":
        raise DataError(f"{data}: photographs in class folders are needed, not {dataset.layout}")
    wide = FaceCrop(face.margin * context, face.drop)
    made = without = 0
    for sample in progress(dataset.samples):
        path = out / Path(sample.key).with_suffix(".png")
        if path.exists():
            made += 1
            continue
        try:
            image = open_picture(sample.read())
            faces = finder.find(image)
        except InputError as error:
            warn(f"left out: {error}")
            continue
        if not faces:
            warn(f"left out: {sample.key}: no face found")
            without += 1
            continue
        largest = max(faces, key=lambda f: f.box[2] * f.box[3])
        crop = cut_square(image, face_square(largest.landmarks, wide), side)
        with replacing(path) as temporary:
            crop.save(temporary, "PNG")
        made += 1
    record = CropRecord(context, face, finder.name, made, without)
    write_bytes(out / CROPS_NAME, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return record
