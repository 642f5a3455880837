"""Pictures for the stub detector of `golden/make_tiny_yunet.py`: squares of colour for faces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

from edge_emotion.faces import Box, Point
from tests.golden.make_tiny_yunet import BOX, COLOURS, LANDMARKS, PATCH

FILE = Path(__file__).with_name("golden") / "tiny_yunet.onnx"
#: Sets the network's answer by the shade around a square: see `tests.tiny`.
GROUND = (90, 90, 90)


def scene(
    size: tuple[int, int], squares: Iterable[tuple[int, int, int]], scale: float = 1.0
) -> Image.Image:
    """A grey picture with squares.

    Args:
        size: width and height, pixels.
        squares: stride, and x, y of the middle in pixels.
        scale: of the view in which the detector sees the picture: sides are divided by it.
    """
    image = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(image)
    for stride, x, y in squares:
        half = PATCH * stride / scale / 2
        draw.rectangle((x - half, y - half, x + half - 1, y + half - 1), COLOURS[stride])
    return image


def box_around(stride: int, x: float, y: float, scale: float = 1.0) -> Box:
    """The box that the stub gives a square in the middle of a cell, in pixels of the picture."""
    side = BOX * stride / scale
    return x - side / 2, y - side / 2, side, side


def landmarks_around(stride: int, x: float, y: float, scale: float = 1.0) -> list[Point]:
    """The landmarks likewise."""
    return [(x + u * stride / scale, y + v * stride / scale) for u, v in LANDMARKS]


def two_faces(ground: str = "black") -> Image.Image:
    """Green on white reads as happy, blue on black as sad."""
    image = Image.new("RGB", (320, 240), "white")
    image.paste(ground, (160, 0, 320, 240))
    image.paste((0, 255, 0), (40 - 24 + 48, 72 - 24 + 48, 40 + 24 + 48, 72 + 24 + 48))
    image.paste((0, 0, 255), (240 - 48, 112 - 48, 240 + 48, 112 + 48))
    return image


#: The boxes of its faces, from left to right.
GREEN, BLUE = box_around(16, 88, 120), box_around(32, 240, 112)
