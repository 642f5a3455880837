"""Copies of pictures with faces and answers drawn on."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from edge_emotion.files import write_bytes
from edge_emotion.preprocess import open_picture

if TYPE_CHECKING:
    from edge_emotion import PhotoPrediction
    from edge_emotion.faces import Box

#: Okabe & Ito, "Color Universal Design" (2008): told apart with any colour vision. Labels take
#: turns; the text says the same.
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), (220, 220, 220),
)  # fmt: skip
SMALLEST, LARGEST = 480, 1600  # longest side of a copy, pixels


LONGEST_STEM = 200  # bytes
COPY = re.compile(r".*-annotated(-\d+)?\.jpg", re.DOTALL)


def is_copy(path: Path, folder: Path) -> bool:
    """Whether a picture is by its name an annotated copy, in the folder of copies."""
    return COPY.fullmatch(path.name) is not None and path.parent.resolve() == folder.resolve()


class Annotator:
    """Never writes over anything but its own kind of name, nor over one of `inputs`."""

    def __init__(self, folder: Path, labels: list[str], inputs: Iterable[Path] = ()) -> None:
        self.folder = folder
        self.colours = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}
        self.taken = {path.name for path in inputs if is_copy(path, folder)}

    def draw(self, path: Path, photo: PhotoPrediction) -> None:
        """Write the annotated copy of one picture.

        Raises:
            PictureError: it cannot be read.
            OutputError: the copy cannot be written.
        """
        original = open_picture(path)
        image, scale = _resized(original)
        draw = ImageDraw.Draw(image)
        unit = max(2, max(image.size) // 300)  # width of a line, pixels
        for face in photo.faces:
            x, y, w, h = _near(face.box, scale, image.size)
            colour = self.colours[face.prediction.label]
            draw.rectangle(
                (x - unit, y - unit, x + w + unit, y + h + unit), None, "black", 3 * unit
            )
            draw.rectangle((x, y, x + w, y + h), None, colour, unit)
        for face in photo.faces:  # text last: no box hides it
            x, y, w, _ = _near(face.box, scale, image.size)
            p = face.prediction
            size = min(max(12, round(w / 5)), max(12, max(image.size) // 24))
            text = f"{p.label} {p.score:.0%}" + (" ?" if p.uncertain else "")
            _label(draw, image.size, (x, y), text, size, self.colours[p.label])
        if not photo.faces:
            text = "no face found"
            if photo.label is not None:
                text = f"{photo.label} {photo.score:.0%}" + (" (uncertain)" * photo.uncertain)
            size = max(14, min(image.size) // 16)
            _label(draw, image.size, (0, image.height), text, size, (220, 220, 220))
        buffer = io.BytesIO()  # on a full disk pillow leaves half a file, and says nothing
        image.save(buffer, "JPEG", quality=92)
        write_bytes(self.folder / self._name(path), buffer.getvalue())

    def _name(self, path: Path) -> str:
        # File systems take 255 bytes of name; a character cut in two goes.
        stem = os.fsencode(path.stem)[:LONGEST_STEM].decode(errors="ignore") or "picture"
        name, number = f"{stem}-annotated.jpg", 1
        while name in self.taken:
            number += 1
            name = f"{stem}-annotated-{number}.jpg"
        self.taken.add(name)
        return name


def _resized(image: Image.Image) -> tuple[Image.Image, float]:
    """A copy on which text can be read, and its scale."""
    longest = max(image.size)
    scale = min(max(longest, SMALLEST), LARGEST) / longest
    size = tuple(max(1, round(side * scale)) for side in image.size)
    copy = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if size[0] < 240 or size[1] < 64:  # room for a line of text beside a narrow picture
        wide = Image.new("RGB", (max(size[0], 240), max(size[1], 64)), "white")
        wide.paste(copy)
        return wide, scale
    return copy.copy(), scale


def _near(box: Box, scale: float, size: tuple[int, int]) -> Box:
    """A box in pixels of the copy, cut a little beyond its edge: pillow walks along far lines."""
    edges = [
        min(max(v * scale, -50.0), side + 50.0)
        for v, side in zip(
            (box[0], box[1], box[0] + box[2], box[1] + box[3]), (*size, *size), strict=True
        )
    ]
    return edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]


def _label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    points: int,
    colour: tuple[int, int, int],
) -> None:
    """Black text on a coloured ground, above `corner` if there is room, always inside.

    Text that is too wide is made smaller, then cut.
    """
    while True:
        font = ImageFont.load_default(points)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        pad = points // 4
        width, height = right - left + 2 * pad, bottom - top + 2 * pad
        if width < size[0] and height < size[1]:
            break
        if points > 12:
            points -= 2
        else:
            text = text.rstrip("…")[:-1] + "…"
    x = max(0.0, min(corner[0], size[0] - 1 - width))
    y = max(0.0, min(corner[1] - height, size[1] - 1 - height))
    light = colour if sum(colour) > 330 else tuple((c + 255) // 2 for c in colour)
    draw.rectangle((x, y, x + width, y + height), light, "black")
    draw.text((x + pad - left, y + pad - top), text, "black", font)
