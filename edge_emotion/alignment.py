"""A face, found -> the square of the picture that a model is fed.

The square is level with the face and sized by it, after the rule of FFHQ (Karras et al., "A
Style-Based Generator Architecture for Generative Adversarial Networks", CVPR 2019): its size
follows the distance of the eyes or that from eyes to mouth, whichever counts more, so that a head
turned aside or nodding is not cut closer than one seen from the front. How much of the head is in
it is the model's to say (`edge_emotion.card.FaceCrop`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.card import FaceCrop
from edge_emotion.errors import UsageError
from edge_emotion.preprocess import MAX_PIXELS, REDUCING_GAP

#: Distance of the eyes, in units of that from the eyes' middle to the mouth's: FFHQ's 1.8 / 2.0.
EYES_TO_MOUTH = 0.9


@dataclass(frozen=True)
class Square:
    """A square in a picture, in pixels; it may be turned and may reach over the edge."""

    x: float  # of the centre
    y: float  # of the centre
    side: float
    angle: float  # by which the face is rolled clockwise, radians


def check_landmarks(landmarks: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """The five landmarks of a face, of shape (5, 2).

    Raises:
        UsageError: others than five pairs of numbers within any picture's reach.
    """
    try:
        points = np.asarray(landmarks, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    if points.shape != (5, 2) or not (np.abs(points) <= MAX_PIXELS).all():  # nor is NaN
        said = " ".join(repr(landmarks).split())
        raise UsageError(
            "a face needs five landmarks (x, y), eyes, nose and corners of the mouth "
            "(edge_emotion.faces.typical_landmarks guesses them from a box), not "
            + (said if len(said) <= 120 else f"{said[:119]}…")
        )
    return points


def face_square(landmarks: Sequence[tuple[float, float]], crop: FaceCrop) -> Square:
    """The square around a face.

    Args:
        landmarks: five, see `edge_emotion.faces.Face`, in pixels.
        crop: the model's.

    Raises:
        UsageError: other landmarks, see `check_landmarks`.
    """
    left, right, _, mouth_left, mouth_right = check_landmarks(landmarks)
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    across, down = right - left, mouth - eyes
    # The eyes' direction, and the perpendicular of the one from eyes to mouth.
    direction = across[0] + down[1], across[1] - down[0]
    size = max(math.hypot(*across), EYES_TO_MOUTH * math.hypot(*down), 1e-3)
    x, y = eyes + crop.drop * down
    return Square(float(x), float(y), crop.margin * size, math.atan2(direction[1], direction[0]))


def cut_square(image: Image.Image, square: Square, side: int) -> Image.Image:
    """Cut a square out of a picture, level it and scale it to `side` pixels.

    Beyond the picture's edge its outermost pixels are repeated.

    Args:
        image: upright RGB.
        square: in pixels of `image`.
        side: of the result, pixels.

    Returns:
        RGB of side x side pixels.
    """
    cos, sin = math.cos(square.angle), math.sin(square.angle)
    # An upright box around the turned square, scaled first, with a filter that takes all pixels
    # into account: the rotation that follows looks at its four nearest neighbours only.
    reach = square.side / 2 * (abs(cos) + abs(sin))
    scale = min(1.0, 2 * side / square.side)
    spare = 2 / scale
    # A square beyond the picture sees the same repeated pixels however far away it is.
    far = reach + spare + 1
    middle_x = min(max(square.x, -far), image.width + far)
    middle_y = min(max(square.y, -far), image.height + far)
    box = (
        math.floor(middle_x - reach - spare), math.floor(middle_y - reach - spare),
        math.ceil(middle_x + reach + spare), math.ceil(middle_y + reach + spare),
    )  # fmt: skip
    inside = (
        min(max(box[0], 0), image.width - 1), min(max(box[1], 0), image.height - 1),
        max(min(box[2], image.width), 1), max(min(box[3], image.height), 1),
    )  # fmt: skip
    inside = (
        inside[0], inside[1], max(inside[2], inside[0] + 1), max(inside[3], inside[1] + 1)
    )  # fmt: skip
    size = tuple(max(1, round((inside[i + 2] - inside[i]) * scale)) for i in (0, 1))
    part = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, inside, REDUCING_GAP)
    # Along a side of one pixel all is repeated: no scale is wrong, and the small one pads little.
    scales = tuple(n / (inside[i + 2] - inside[i]) if n > 1 else scale for i, n in enumerate(size))
    pads = [
        (max(0, math.ceil((inside[i] - box[i]) * scales[i])),
         max(0, math.ceil((box[i + 2] - inside[i + 2]) * scales[i])))
        for i in (0, 1)
    ]  # fmt: skip
    if any(any(pair) for pair in pads):
        pixels = np.pad(np.asarray(part), (pads[1], pads[0], (0, 0)), mode="edge")
        part = Image.fromarray(pixels)
    step = square.side / side
    # Pillow wants, for each pixel of the result, where it comes from.
    centre = (
        (middle_x - inside[0]) * scales[0] + pads[0][0],
        (middle_y - inside[1]) * scales[1] + pads[1][0],
    )
    ax, bx = cos * step * scales[0], -sin * step * scales[0]
    ay, by = sin * step * scales[1], cos * step * scales[1]
    half = side / 2
    coefficients = (
        ax, bx, centre[0] - half * (ax + bx),
        ay, by, centre[1] - half * (ay + by),
    )  # fmt: skip
    return part.transform(
        (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
