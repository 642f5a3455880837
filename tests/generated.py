"""Labelled pictures drawn by code: faces of a few strokes, no photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

LABELS = ("angry", "happy", "sad")


def draw_face(label: str, seed: int, size: int = 96) -> Image.Image:
    """A face whose mouth and brows show `label`; place, size and colours depend on `seed`."""
    random = np.random.default_rng([seed, LABELS.index(label)])
    # A ground of its own for each picture: to a perceptual hash, the same face drawn twice on
    # grounds alike is one picture.
    ground = random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = Image.fromarray(ground).resize((size, size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    unit = size / 96 * random.uniform(0.75, 1.0)
    cx, cy = size / 2 + random.uniform(-8, 8, 2)
    skin = tuple(int(v) for v in random.integers(150, 250, 3))

    def box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return cx + x0 * unit, cy + y0 * unit, cx + x1 * unit, cy + y1 * unit

    draw.ellipse(box(-38, -42, 38, 42), fill=skin)
    tilt = {"angry": 8, "happy": -2, "sad": -8}[label] + random.uniform(-2, 2)
    for side in (-1, 1):
        draw.ellipse(box(side * 15 - 5, -12, side * 15 + 5, -2), fill="black")
        inner, outer = (side * 6, -20 + tilt), (side * 24, -20 - tilt / 2)
        draw.line(
            [(cx + x * unit, cy + y * unit) for x, y in (inner, outer)], fill="black", width=4
        )
    if label == "happy":
        draw.arc(box(-20, 0, 20, 28), 10, 170, fill="black", width=5)
    elif label == "sad":
        draw.arc(box(-16, 18, 16, 40), 190, 350, fill="black", width=5)
    else:
        draw.line([(cx - 16 * unit, cy + 22 * unit), (cx + 16 * unit, cy + 22 * unit)], "black", 5)
    return image


def write_class_folders(root: Path, per_label: int, first_seed: int = 0) -> Path:
    """``root/label/NNN.png``, `per_label` of each label."""
    for label in LABELS:
        folder = root / label
        folder.mkdir(parents=True)
        for i in range(per_label):
            draw_face(label, first_seed + i).save(folder / f"{i:03d}.png")
    return root


#: Landmarks of `draw_portrait` in shares of its side: eyes, nose, corners of the mouth.
PORTRAIT = ((0.39, 0.44), (0.61, 0.44), (0.5, 0.6), (0.405, 0.7), (0.595, 0.7))


def draw_portrait(size: int = 240, ground: int = 120) -> Image.Image:
    """A shaded face seen from the front, so much a face that real finders find it."""
    image = Image.new("L", (size, size), ground)
    draw = ImageDraw.Draw(image)
    unit = size / 100

    def ellipse(x: float, y: float, rx: float, ry: float, shade: int) -> None:
        draw.ellipse([v * unit for v in (x - rx, y - ry, x + rx, y + ry)], fill=shade)

    def line(points: list[tuple[float, float]], shade: int, width: float) -> None:
        draw.line([(x * unit, y * unit) for x, y in points], shade, max(1, round(width * unit)))

    ellipse(50, 50, 30, 38, 50)  # hair
    ellipse(50, 54, 25, 33, 200)
    for side in (-1, 1):
        ellipse(50 + side * 11, 44, 7, 3.6, 150)
        ellipse(50 + side * 11, 44, 5.5, 2.6, 235)
        ellipse(50 + side * 11, 44, 2.6, 2.6, 40)
        line([(50 + side * 5, 38), (50 + side * 11, 35.5), (50 + side * 18, 38)], 60, 2.2)
        ellipse(50 + side * 2.8, 59.5, 1.4, 0.9, 80)
    line([(48, 46), (46.5, 58), (50, 60), (53.5, 58)], 140, 1.2)
    ellipse(50, 70, 9.5, 3.0, 120)
    line([(40.5, 70), (59.5, 70)], 60, 1)
    return image.filter(ImageFilter.GaussianBlur(0.9 * unit)).convert("RGB")
