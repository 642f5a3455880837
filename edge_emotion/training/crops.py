"""Photographs -> a folder of face crops that `edge-emotion train` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edge_emotion.alignment import cut_square, face_square
from edge_emotion.card import FaceCrop
from edge_emotion.errors import DataError, PictureError, UsageError
from edge_emotion.faces import Finder
from edge_emotion.files import is_hidden, replacing, write_bytes
from edge_emotion.preprocess import open_picture
from edge_emotion.training.data import CROPS_NAME, CropRecord, read_dataset
from edge_emotion.training.loading import PHOTOGRAPH, photograph_of, pixel_hash
from edge_emotion.training.samples import Sample

#: As many crops of photographs that are gone are named.
STRAYS = 10


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

    Each crop records which photograph it is of, so that a model knows on which it must not be
    measured. Photographs without a face are left out and counted. What an earlier, interrupted run
    with the same settings made is kept.

    Args:
        data: class folders, see `edge_emotion.training.data.read_dataset`.
        out: folder for ``CLASS/NAME.png`` and ``crops.json``. Where two photographs of a class
            have one name, their endings are kept: ``NAME.jpg.png``.
        finder: finds the faces.
        face: the square around a face.
        context: side of a crop, in sides of that square; 1 or more.
        side: of a crop, pixels.
        progress: wraps the loop.
        warn: told of each photograph that cannot be read, or has no face.

    Returns:
        What was made.

    Raises:
        DataError: no class folders, or what an earlier run made is damaged.
        UsageError: context or side out of range, or `out` holds the photographs or other crops,
            also of photographs that are not there any more: `train` would read them.
        ModelError: the finder cannot be run.
        OutputError: the folder cannot be written.
    """
    if not (1 <= context <= 4 and 8 <= side <= 1024):
        raise UsageError("--context must be 1 to 4 and --size 8 to 1024 pixels")
    dataset = read_dataset(data)
    if dataset.layout != "class folders":
        raise DataError(f"{data}: photographs in class folders are needed, not {dataset.layout}")
    if out.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"--out {out} is among the photographs: name a folder outside of {data}")
    try:
        wide = FaceCrop(face.margin * context, face.drop)
    except ValueError as error:
        raise UsageError(f"--margin times --context: {error}") from error
    paths = _places(dataset.samples, out)
    there = {path for path in out.rglob("*.png") if not is_hidden(path, out)}
    if there and not (out / CROPS_NAME).exists():
        raise UsageError(f"{out} holds pictures that are not crops: name a new folder")
    # First, so that the crops of an interrupted run are not taken for whole pictures.
    _claim(out, CropRecord(context, face, finder.name, 0, 0))
    if strays := sorted(there - set(paths.values())):
        named = ", ".join(map(str, strays[:STRAYS])) + (", ..." if len(strays) > STRAYS else "")
        raise UsageError(
            f"{out} holds crops of {len(strays)} photographs that are not in {data} (any more): "
            f"remove them, or name another --out: {named}"
        )
    made = without = unreadable = 0
    for sample in progress(dataset.samples):
        path = paths[sample.key]
        recorded = None
        if path.exists():
            try:
                with Image.open(path) as earlier:
                    width, height = earlier.size
                    recorded = photograph_of(earlier)
            except OSError as error:
                raise DataError(f"{path}: damaged: remove it, or name another --out") from error
            if (width, height) != (side, side):
                raise UsageError(
                    f"{path} is of an earlier run with --size {width}: name another "
                    "--out, or that size"
                )
        try:
            image = open_picture(sample.read())
            photograph = pixel_hash(image)
            if recorded == photograph:  # no time stamp tells: another data set has the same names
                made += 1
                continue
            path.unlink(missing_ok=True)  # also if there is no face in the new one
            faces = finder.find(image)
        except PictureError as error:
            path.unlink(missing_ok=True)
            warn(sample.left_out(error))
            unreadable += 1
            continue
        if not faces:
            warn(f"left out: {sample.key}: no face found")
            without += 1
            continue
        largest = max(faces, key=lambda f: f.box[2] * f.box[3])
        crop = cut_square(image, face_square(largest.landmarks, wide), side)
        record = PngInfo()
        record.add_text(PHOTOGRAPH, f"{photograph:x}")
        with replacing(path) as temporary:
            crop.save(temporary, "PNG", pnginfo=record)
        made += 1
    cut = CropRecord(context, face, finder.name, made, without, unreadable)
    _write(out, cut)
    return cut


def _places(samples: Sequence[Sample], out: Path) -> dict[str, Path]:
    """Where the crop of each photograph goes."""
    names = Counter(Path(sample.key).with_suffix("") for sample in samples)
    places = {}
    taken: dict[Path, str] = {}
    for sample in samples:
        name = Path(sample.key).with_suffix("")
        path = out / (f"{sample.key}.png" if names[name] > 1 else f"{name}.png")
        if path in taken:
            raise UsageError(f"{taken[path]} and {sample.key} have one name: rename one of them")
        taken[path] = sample.key
        places[sample.key] = path
    return places


def _write(out: Path, record: CropRecord) -> None:
    write_bytes(out / CROPS_NAME, msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def _claim(out: Path, record: CropRecord) -> None:
    """Say what the crops of a folder are, unless it says something else already."""
    path = out / CROPS_NAME
    if path.exists():
        try:
            earlier = msgspec.json.decode(path.read_bytes(), type=CropRecord)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: damaged: {error}: name another --out") from error
        same = replace(earlier, pictures=0, without_face=0, unreadable=0)
        if same != record:
            raise UsageError(
                f"{out} holds crops made with another finder, --margin or --context "
                f"({CROPS_NAME}): name another --out"
            )
        return
    _write(out, record)
