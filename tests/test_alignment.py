"""A face, wherever and however it is held, comes out upright and of one size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.alignment import EYES_TO_MOUTH, Square, cut_square, face_square
from edge_emotion.card import FaceCrop
from tests import pictures

CROP = FaceCrop(margin=2.5, drop=0.32)
SIDE = 96
#: Eyes one apart, the middle of the mouth one below that of the eyes.
EYES, MOUTH = ((-0.5, 0.0), (0.5, 0.0)), ((-0.3, 1.0), (0.3, 1.0))


def landmarks(x: float, y: float, eyes: float, roll: float, mouth: float = 1.0) -> NDArray:
    """Five points of a face.

    Args:
        x: of the middle of the eyes, pixels.
        y: likewise.
        eyes: their distance, pixels.
        roll: clockwise, radians.
        mouth: distance from the eyes to it, in distances of the eyes.
    """
    points = np.array([*EYES, (0.1, 0.5), *((u, v * mouth) for u, v in MOUTH)]) * eyes
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    return points @ turn + (x, y)


def dots(points: NDArray, width: int, height: int) -> Image.Image:
    """Blurred dots on black: left eye red, right eye green, corners of the mouth blue."""
    y, x = np.mgrid[:height, :width] + 0.5
    spread = 2 * (0.07 * math.dist(points[0], points[1])) ** 2
    image = np.zeros((height, width, 3))
    for (u, v), channel in zip(points[[0, 1, 3, 4]], (0, 1, 2, 2), strict=True):
        image[:, :, channel] += 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / spread)
    return Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))


def centres(image: Image.Image) -> NDArray:
    """(3, 2): x and y of the middle of what is in each channel."""
    pixels = np.asarray(image).astype(float)
    y, x = np.mgrid[: image.height, : image.width] + 0.5
    return np.array([[(pixels[:, :, c] * a).sum() / pixels[:, :, c].sum() for a in (x, y)]
                     for c in range(3)])  # fmt: skip


def expected(mouth: float = 1.0, crop: FaceCrop = CROP) -> NDArray:
    """Where eyes and mouth lie in the result, by hand: pixels a distance of the eyes, first."""
    unit = SIDE / (crop.margin * max(1.0, EYES_TO_MOUTH * mouth))
    level = SIDE / 2 - crop.drop * mouth * unit
    middle = SIDE / 2
    return np.array([
        (middle - unit / 2, level), (middle + unit / 2, level), (middle, level + mouth * unit)
    ])  # fmt: skip


@pytest.mark.parametrize("degrees", [0, 7, -30, 90, -135, 180])
@pytest.mark.parametrize(("eyes", "x", "y"), [(12, 200, 150), (60, 333.3, 210.7), (200, 350, 300)])
def test_a_face_comes_out_upright_wherever_it_is(degrees, eyes, x, y):
    points = landmarks(x, y, eyes, math.radians(degrees))
    square = face_square(points, CROP)
    assert square.angle == pytest.approx(math.radians(degrees)) or abs(degrees) == 180
    assert square.side == pytest.approx(2.5 * eyes)
    result = cut_square(dots(points, 700, 600), square, SIDE)
    assert np.abs(centres(result) - expected()).max() < 0.35  # pixels of 96


@settings(max_examples=40)
@given(
    st.floats(-math.pi, math.pi), st.floats(15, 120), st.floats(-40, 40), st.floats(-40, 40),
    st.floats(0.7, 2.0), st.floats(2.0, 4.0), st.floats(0.0, 0.6),
)  # fmt: skip
def test_landmarks_lie_where_the_crop_says(roll, eyes, x, y, mouth, margin, drop):
    crop = FaceCrop(margin, drop)
    points = landmarks(300 + x, 300 + y, eyes, roll, mouth)
    result = cut_square(dots(points, 600, 600), face_square(points, crop), SIDE)
    # A dot at the edge of the square would be cut: the middle of what is left lies elsewhere.
    wanted = expected(mouth, crop)
    seen = (wanted.min(axis=1) > 12) & (wanted.max(axis=1) < SIDE - 12)
    assert np.abs(centres(result) - wanted)[seen].max(initial=0) < 0.5


def test_a_turned_head_is_not_cut_closer():
    """Seen from the side the eyes are near each other; their distance to the mouth stays."""
    front = face_square(landmarks(300, 300, 60, 0), CROP)
    points = landmarks(300, 300, 20, 0, mouth=3.0)
    assert face_square(points, CROP).side == pytest.approx(CROP.margin * EYES_TO_MOUTH * 60)
    assert face_square(points, CROP).side == pytest.approx(0.9 * front.side)


def test_the_nose_counts_for_nothing():
    points = landmarks(100, 100, 30, 0.3)
    moved = points.copy()
    moved[2] += 25
    assert face_square(points, CROP) == face_square(moved, CROP)


@pytest.mark.parametrize("place", [(0.0, 0.0), (50.0, 20.0), (-300.0, 1e6)])
def test_landmarks_in_one_point_crash_nothing(place):
    square = face_square([place] * 5, CROP)
    assert (square.x, square.y, square.angle) == (*place, 0)
    assert square.side > 0
    assert cut_square(pictures.rgb(), square, 48).size == (48, 48)


def test_a_level_square_of_the_same_size_is_a_copy_of_the_pixels():
    scene = pictures.scene(200, 150)
    result = cut_square(Image.fromarray(scene), Square(80, 70, 96, 0), 96)
    assert np.array_equal(np.asarray(result), scene[22:118, 32:128])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    """A face rolled clockwise is turned back, against the clock."""
    scene = pictures.scene(200, 150)
    square = Square(80, 70, 96, turns * math.pi / 2)
    result = np.asarray(cut_square(Image.fromarray(scene), square, 96)).astype(int)
    assert np.abs(result - np.rot90(scene[22:118, 32:128], turns)).max() <= 1


def test_beyond_the_edge_its_pixels_are_repeated():
    rows = np.arange(40, 140, dtype=np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(rows[:, None], 60, axis=1)[:, :, None], 3, axis=2))
    beside = np.asarray(cut_square(image, Square(0, 50, 40, 0), 40))
    assert np.array_equal(beside[:, :, 0], np.repeat(rows[30:70, None], 40, axis=1))
    corner = np.asarray(cut_square(image, Square(0, 0, 40, 0), 40))
    assert (corner[:20] == 40).all()
    assert (np.asarray(cut_square(image, Square(900, 1e5, 40, 0.7), 40)) == 139).all()


def test_reduction_takes_all_pixels_into_account():
    """A chequerboard of single pixels is grey from afar, not black or white."""
    board = (np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = Image.fromarray(np.repeat(board[:, :, None], 3, axis=2))
    result = np.asarray(cut_square(image, Square(400, 400, 700, 0.4), 48))
    assert np.abs(result.astype(int) - 127).max() <= 12


NUMBERS = st.floats(-100, 200) | st.floats(-1e9, 1e9) | st.floats(-1e300, 1e300)


@given(
    st.integers(1, 70), st.integers(1, 70), NUMBERS, NUMBERS,
    st.floats(1e-3, 300) | st.floats(1e-3, 1e9), st.floats(-10, 10), st.integers(8, 96),
)  # fmt: skip
def test_any_square_of_any_picture(width, height, x, y, size, angle, side):
    """Never an error, and never a pixel that is not made of the picture's own."""
    rng = np.random.default_rng([width, height])
    image = Image.fromarray(rng.integers(100, 200, (height, width, 3), dtype=np.uint8))
    result = cut_square(image, Square(x, y, size, angle), side)
    assert (result.size, result.mode) == ((side, side), "RGB")
    pixels = np.asarray(result)
    assert pixels.min() >= 99
    assert pixels.max() <= 200


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (1, 5_000_000)])
@pytest.mark.parametrize("square", [(0, 0, 10), (0.5, 5000, 10_000), (1e6, 1e6, 1e6)])
def test_pictures_that_are_lines_take_no_memory(size, square):
    import tracemalloc

    image = Image.new("RGB", size, (9, 8, 7))
    tracemalloc.start()
    result = cut_square(image, Square(*square, 0.5), 48)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.getextrema() == ((9, 9), (8, 8), (7, 7))
    assert peak < 2_000_000  # bytes; padding to the picture's own sides would take gigabytes
