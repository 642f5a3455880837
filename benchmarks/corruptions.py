"""What goes wrong with pictures, at five strengths each (idea: ImageNet-C, Hendrycks & Dietterich,
ICLR 2019).

Each takes and gives uint8 pixels of a face at a model's input size, (H, W, C). What is drawn
(noise, side, place) depends on the picture's number alone: a stronger corruption is more of the
same one. Lengths are in pixels of a face 48 wide and grow with the input.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Random = np.random.Generator

SEED = 1
WIDTH = 48  # of the face to which lengths refer


@dataclass(frozen=True)
class Corruption:
    """One thing that goes wrong."""

    name: str
    unit: str  # what the parameter is
    parameters: tuple[float, float, float, float, float]  # from weak to strong
    change: Callable[[Pixels, float, Random], Pixels]

    def apply(self, pixels: Pixels, strength: int, number: int) -> Pixels:
        """Corrupt one face.

        Args:
            pixels: uint8 (H, W, C).
            strength: 1 to 5; 0 leaves the face as it is.
            number: of the picture; seeds what is drawn.

        Returns:
            uint8 of the same shape.
        """
        if strength == 0:
            return pixels.copy()
        random = np.random.default_rng([SEED, number])
        return self.change(pixels, self.parameters[strength - 1], random)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _pixels(image: Image.Image, shape: tuple[int, ...]) -> Pixels:
    return np.array(image, np.uint8).reshape(shape)


def _clipped(values: NDArray[np.floating]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def _blur(pixels: Pixels, sigma: float, random: Random) -> Pixels:
    blurred = _image(pixels).filter(ImageFilter.GaussianBlur(sigma * pixels.shape[1] / WIDTH))
    return _pixels(blurred, pixels.shape)


def _noise(pixels: Pixels, deviation: float, random: Random) -> Pixels:
    # The same on all channels: a grey model and a colour model see the same grain.
    grain = random.standard_normal((*pixels.shape[:2], 1))
    return _clipped(pixels + deviation * grain)


def _jpeg(pixels: Pixels, quality: float, random: Random) -> Pixels:
    file = io.BytesIO()
    _image(pixels).save(file, "JPEG", quality=int(quality))
    return _pixels(Image.open(file), pixels.shape)


def _darker(pixels: Pixels, factor: float, random: Random) -> Pixels:
    return _clipped(pixels * factor)


def _brighter(pixels: Pixels, added: float, random: Random) -> Pixels:
    return _clipped(pixels + np.float64(added))


def _paler(pixels: Pixels, factor: float, random: Random) -> Pixels:
    mean = pixels.mean(axis=(0, 1))
    return _clipped(mean + factor * (pixels - mean))


def _sharper(pixels: Pixels, percent: float, random: Random) -> Pixels:
    mask = ImageFilter.UnsharpMask(pixels.shape[1] / WIDTH, int(percent), threshold=0)
    return _pixels(_image(pixels).filter(mask), pixels.shape)


def _rotation(pixels: Pixels, degrees: float, random: Random) -> Pixels:
    side = random.choice([-1, 1])
    height, width = pixels.shape[:2]
    # What comes in at the corners repeats the edge: no black wedges that no camera makes.
    margin = math.ceil(max(height, width) / 2)
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    turned = _image(padded).rotate(side * degrees, Image.Resampling.BILINEAR)
    return _pixels(turned.crop((margin, margin, margin + width, margin + height)), pixels.shape)


def _occlusion(pixels: Pixels, share: float, random: Random) -> Pixels:
    height, width = pixels.shape[:2]
    y, x = random.uniform(size=2)  # the same middle for every share
    tall, wide = (max(1, round(side * math.sqrt(share / 100))) for side in (height, width))
    top = min(max(round(y * height - tall / 2), 0), height - tall)
    left = min(max(round(x * width - wide / 2), 0), width - wide)
    covered = pixels.copy()
    covered[top : top + tall, left : left + wide] = 0
    return covered


def _downscaling(pixels: Pixels, side: float, random: Random) -> Pixels:
    height, width = pixels.shape[:2]
    small = max(1, round(side * width / WIDTH)), max(1, round(side * height / WIDTH))
    image = _image(pixels).resize(small, Image.Resampling.BOX)
    return _pixels(image.resize((width, height), Image.Resampling.BILINEAR), pixels.shape)


def _box(pixels: Pixels, across: float, down: float) -> Pixels:
    """What is in a box about the middle, whose sides are given as shares of the picture's."""
    height, width = pixels.shape[:2]
    # Around the face the edge is repeated: what was there is not known.
    margin = math.ceil(max(height, width) * max(0.0, across - 1, down - 1) / 2)
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    x, y = margin + width / 2, margin + height / 2
    reach_x, reach_y = across * width / 2, down * height / 2
    box = (x - reach_x, y - reach_y, x + reach_x, y + reach_y)
    framed = _image(padded).resize((width, height), Image.Resampling.BILINEAR, box)
    return _pixels(framed, pixels.shape)


def _framing(pixels: Pixels, factor: float, random: Random) -> Pixels:
    return _box(pixels, factor, factor)


def _wider(pixels: Pixels, ratio: float, random: Random) -> Pixels:
    return _box(pixels, ratio**-0.5, ratio**0.5)


def _taller(pixels: Pixels, ratio: float, random: Random) -> Pixels:
    return _box(pixels, ratio**0.5, ratio**-0.5)


CORRUPTIONS = (
    Corruption("blur", "Gaussian, standard deviation in pixels", (0.5, 1, 1.5, 2, 3), _blur),
    Corruption("noise", "Gaussian, standard deviation in grey levels", (8, 16, 24, 32, 48), _noise),
    Corruption("JPEG", "quality", (50, 30, 20, 10, 5), _jpeg),
    Corruption("darker", "times", (0.7, 0.5, 0.35, 0.2, 0.1), _darker),
    Corruption("brighter", "grey levels added", (30, 60, 90, 120, 150), _brighter),
    Corruption("paler", "contrast, times", (0.7, 0.5, 0.35, 0.2, 0.1), _paler),
    Corruption("sharper", "unsharp mask of 1 pixel, %", (50, 100, 150, 200, 300), _sharper),
    Corruption("rotation", "degrees, to either side", (5, 10, 15, 20, 30), _rotation),
    Corruption("occlusion", "black rectangle, % of the area", (5, 10, 15, 20, 30), _occlusion),
    Corruption("down-scaling", "pixels that are left, of 48", (36, 24, 18, 12, 8), _downscaling),
    Corruption("tighter crop", "of the side", (0.9, 0.8, 0.75, 0.7, 0.6), _framing),
    Corruption("looser crop", "of the side", (1.1, 1.2, 1.35, 1.5, 1.75), _framing),
    # A tall box, as face detectors draw, made square: its faces get wider.
    Corruption("wider", "sides of the box, 1 to", (1.1, 1.2, 1.35, 1.5, 1.75), _wider),
    Corruption("taller", "sides of the box, to 1", (1.1, 1.2, 1.35, 1.5, 1.75), _taller),
)
STRENGTHS = (1, 2, 3, 4, 5)
