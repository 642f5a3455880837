"""Boxes and faces from elsewhere, a user's or a user's finder's, checked before they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from edge_emotion.alignment import check_landmarks
from edge_emotion.errors import UsageError
from edge_emotion.faces import Box, Face, is_share, typical_landmarks
from edge_emotion.preprocess import MAX_PIXELS


def is_box(box: object) -> bool:
    """Whether these are x, y, width and height of an area, in pixels of any picture."""
    if not isinstance(box, (Sequence, np.ndarray)) or isinstance(box, bytes) or len(box) != 4:
        return False
    if not all(isinstance(v, (int, float, np.integer, np.floating)) for v in box):
        return False
    # NaN is never within; an int too large for a float is compared as it is.
    return all(abs(v) <= MAX_PIXELS for v in box) and bool(min(box[2], box[3]) > 0)


def boxed_faces(boxes: Sequence[Box], image: Image.Image, original: tuple[int, int]) -> list[Face]:
    """A user's boxes as faces, with landmarks where they usually are.

    Args:
        boxes: (x, y, width, height) in pixels of the upright original.
        image: the decoded picture, which may be smaller.
        original: its width and height, pixels.

    Returns:
        Faces in pixels of `image`, in the order of the boxes.

    Raises:
        UsageError: no boxes, or one of under 2 pixels, or more than half outside the picture.
    """
    try:
        items = list(boxes)
    except TypeError:
        raise UsageError(
            f"boxes are a list of [x, y, width, height], not {_short(boxes)}"
        ) from None
    return [_boxed(box, image, *original) for box in items]


def _boxed(box: Box, image: Image.Image, width: int, height: int) -> Face:
    if not is_box(box):
        raise UsageError(f"a box is [x, y, width, height] with an area, not {_short(box)}")
    x, y, w, h = (float(v) for v in box)
    inside = max(0.0, min(x + w, width) - max(x, 0.0)) * max(0.0, min(y + h, height) - max(y, 0.0))
    if min(w, h) < 2 or inside < w * h / 2:
        raise UsageError(
            f"box {[x, y, w, h]} holds no face: under 2 pixels, or more than half outside the "
            f"picture of {width} x {height}"
        )
    scale_x, scale_y = image.width / width, image.height / height
    scaled = (x * scale_x, y * scale_y, w * scale_x, h * scale_y)
    return Face(scaled, 1.0, typical_landmarks(scaled))


def check_faces(found: Any, finder: object) -> list[Face]:
    """What a finder gave, if it is what `edge_emotion.faces.Finder` promises.

    Returns:
        Its faces, in numbers of Python: those of numpy overflow, and JSON does not take them.

    Raises:
        UsageError: it is not; names the finder and what is wrong.
    """
    name = getattr(finder, "name", type(finder).__name__)
    if not isinstance(found, (list, tuple)) or not all(isinstance(f, Face) for f in found):
        raise UsageError(
            f"the finder {name} must give a list of edge_emotion.faces.Face, not {_short(found)}"
        )
    faces = []
    for face in found:
        if not is_box(face.box):
            raise UsageError(
                f"the finder {name}: a box is (x, y, width, height) with an area, not "
                f"{_short(face.box)}"
            )
        if not is_share(face.score):
            raise UsageError(f"the finder {name}: a score is 0 to 1, not {_short(face.score)}")
        try:
            points = check_landmarks(face.landmarks)
        except UsageError as error:
            raise UsageError(f"the finder {name}: {error}") from error
        x, y, w, h = (float(v) for v in face.box)
        landmarks = tuple((float(u), float(v)) for u, v in points)
        faces.append(Face((x, y, w, h), float(face.score), landmarks))
    return faces


def _short(value: object) -> str:
    """One line of it, whatever it is."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
