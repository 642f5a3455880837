"""Views of a picture: known ones move a dot where they should, random ones stay in their range."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the extra train")

from edge_emotion.training import augment
from edge_emotion.training.augment import RandomQuality, RandomView, degradation
from edge_emotion.training.config import TrainConfig

# TensorFlow uses what NumPy and it itself deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SIDE, WIDE = 48, 72
STILL = {
    "flip": False, "rotation": 0.0, "zoom": 0.0, "framing": 0.0, "stretch": 0.0, "shift": 0.0,
    "shear": 0.0, "brightness": 0.0, "contrast": 0.0, "gamma": 0.0, "blur": 0.0, "sharpen": 0.0,
    "dark": 0.0, "noise": 0.0, "erase": 0.0,
}  # fmt: skip


def look(**changes) -> RandomView:
    return RandomView(TrainConfig(**(STILL | changes)), SIDE, SIDE)


def view(**changes):
    """The network's view, which without framing and stretch is the teachers', too."""

    def one(pictures, *, training):
        own, teachers = look(**changes)(pictures, training=training)
        assert teachers is own
        return own

    return one


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0, 255, (5, WIDE, WIDE, 1)).astype(np.float32)


def middle(pictures):
    edge = (WIDE - SIDE) // 2
    return pictures[:, edge:-edge, edge:-edge]


def dot(x: float, y: float):
    """(1, WIDE, WIDE, 1): a blurred dot, `x` and `y` pixels from the middle."""
    v, u = np.mgrid[:WIDE, :WIDE] - (WIDE - 1) / 2
    return 255 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 8)[None, :, :, None].astype(np.float32)


def place(picture):
    """(x, y) of what is in a picture, pixels from its middle."""
    picture = np.asarray(picture)[0, :, :, 0]
    height, width = picture.shape
    v, u = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    return (u * picture).sum() / picture.sum(), (v * picture).sum() / picture.sum()


@pytest.fixture
def highest(monkeypatch):
    """No dice: each random number is the highest of its range."""
    from keras import ops

    monkeypatch.setattr(
        augment.keras.random, "uniform", lambda shape, low, high, seed: ops.full(shape, high)
    )


@pytest.fixture
def lowest(monkeypatch):
    from keras import ops

    monkeypatch.setattr(
        augment.keras.random, "uniform", lambda shape, low, high, seed: ops.full(shape, low)
    )


def test_without_training_the_middle_and_nothing_else(pictures):
    strong = view(flip=True, rotation=90.0, zoom=0.5, shift=0.4, shear=0.5)
    assert np.array_equal(np.asarray(strong(pictures, training=False)), middle(pictures))


def test_with_no_strength_training_sees_the_middle_too(pictures):
    seen = np.asarray(view()(pictures, training=True))
    assert np.allclose(seen, middle(pictures), atol=0.01)  # of 255


@pytest.mark.parametrize(("height", "width"), [(48, 48), (72, 72), (40, 56), (47, 48)])
def test_shapes(pictures, height, width):
    layer = RandomView(TrainConfig(), height, width)
    for training in (True, False):
        for seen in layer(pictures, training=training):
            assert seen.shape == (5, height, width, 1)


@pytest.mark.usefixtures("highest")
@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"shift": 0.25}, (0, 0), (-12, -12)),  # a quarter of the network's input
        ({"shift": 0.25}, (28, 20), (16, 8)),  # it came from outside of the middle
        ({"rotation": 90.0}, (15, 0), (0, -15)),  # against the clock
        ({"rotation": 30.0}, (0, 16), (8, 13.856)),
        ({"zoom": 0.5}, (15, -9), (10, -6)),
        ({"shear": 0.5}, (0, 10), (-5, 10)),
        ({"shear": 0.5}, (10, 0), (10, 0)),
        ({"flip": True}, (10, 5), (10, 5)),
        ({"rotation": 90.0, "shift": 0.125}, (15, 0), (-6, -9)),  # 6 pixels, then turned
    ],
)
def test_the_highest_numbers_move_a_dot(changes, before, after):
    moved = place(view(**changes)(dot(*before), training=True))
    assert moved == pytest.approx(after, abs=0.15)


@pytest.mark.usefixtures("lowest")
@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"shift": 0.25}, (0, 0), (12, 12)),
        ({"rotation": 90.0}, (15, 0), (0, 15)),
        ({"zoom": 0.5}, (10, -6), (15, -9)),  # as much larger as it was smaller
        ({"flip": True}, (10, 5), (-10, 5)),
    ],
)
def test_the_lowest_numbers_move_it_the_other_way(changes, before, after):
    moved = place(view(**changes)(dot(*before), training=True))
    assert moved == pytest.approx(after, abs=0.15)


@pytest.mark.usefixtures("highest")
@pytest.mark.parametrize(
    ("changes", "before", "shared", "own"),
    [
        ({"zoom": 0.2, "framing": 0.25}, (12, -15), (-12.5, -10), (-10, -8)),
        # Along the sides of the view, whichever way the face was turned.
        ({"stretch": 0.44}, (12, -10), (-10, -12), (-12, -10)),
    ],
)
def test_framing_makes_the_face_smaller_and_stretch_wider_for_the_network_alone(
    changes, before, shared, own
):
    seen, teachers = look(**changes, rotation=90.0)(dot(*before), training=True)
    assert place(teachers) == pytest.approx(shared, abs=0.15)
    assert place(seen) == pytest.approx(own, abs=0.15)


@pytest.mark.usefixtures("lowest")
@pytest.mark.parametrize(
    ("changes", "before", "own"),
    [
        ({"framing": 0.6}, (10, -5), (16, -8)),
        ({"stretch": 0.44}, (12, -10), (10, -12)),
        ({"stretch": 0.44, "framing": 0.2}, (12, -10), (12, -14.4)),
    ],
)
def test_they_make_it_as_much_larger_and_taller(changes, before, own):
    seen, teachers = look(**changes)(dot(*before), training=True)
    assert place(teachers) == pytest.approx(before, abs=0.15)
    assert place(seen) == pytest.approx(own, abs=0.15)


def test_framing_leaves_the_teachers_view_as_it_is_without(pictures):
    moves = {"rotation": 20.0, "zoom": 0.2, "shift": 0.1, "shear": 0.1, "flip": True}
    own, teachers = look(**moves, framing=0.4)(pictures, training=True)
    assert np.array_equal(np.asarray(teachers), np.asarray(view(**moves)(pictures, training=True)))
    assert not np.allclose(np.asarray(own), np.asarray(teachers), atol=1.0)
    own, teachers = look(**moves, framing=0.4)(pictures, training=False)
    assert np.array_equal(np.asarray(own), middle(pictures))
    assert np.array_equal(np.asarray(teachers), middle(pictures))


@pytest.mark.usefixtures("lowest")
def test_a_flip_is_the_mirrored_picture(pictures):
    seen = np.asarray(view(flip=True)(pictures, training=True))
    assert np.allclose(seen, middle(pictures)[:, :, ::-1], atol=0.01)


def transforms(**changes):
    """(turn in degrees, scale, mirrored) of 2,000 random views; and their rows."""
    rows = np.asarray(look(**changes)._transforms(None, 2000, WIDE, WIDE)[0])
    a, c = rows[:, 0], rows[:, 3]
    mirror = np.sign(rows[:, 0] * rows[:, 4] - rows[:, 1] * rows[:, 3])
    return np.degrees(np.arctan2(mirror * c, mirror * a)), np.hypot(a, c), mirror, rows


def test_random_numbers_fill_their_range_and_stay_in_it():
    turns, scales, mirrors, _ = transforms(rotation=15.0, zoom=0.2)
    assert np.abs(turns).max() <= 15.001
    assert turns.min() < -14 < 14 < turns.max()
    assert scales.max() <= 1.2001
    assert scales.min() >= 1 / 1.2001
    assert np.median(scales) == pytest.approx(1, abs=0.02)
    assert (mirrors == 1).all()
    flat = transforms(shift=0.1)[3]
    for column in (2, 5):
        assert np.abs(flat[:, column]).max() <= 4.8001
        assert flat[:, column].min() < -4.5 < 4.5 < flat[:, column].max()
    assert np.corrcoef(flat[:, 2], flat[:, 5])[0, 1] == pytest.approx(0, abs=0.1)


def test_half_of_the_pictures_are_flipped():
    assert (transforms(flip=True)[2] == -1).mean() == pytest.approx(0.5, abs=0.05)


def test_each_picture_of_a_batch_has_a_view_of_its_own():
    batch = np.repeat(dot(0, 0), 8, axis=0)
    seen = np.asarray(view(shift=0.2)(batch, training=True))
    places = {tuple(np.round(place(seen[i : i + 1]), 3)) for i in range(8)}
    assert len(places) == 8


def test_beyond_the_surroundings_they_are_mirrored():
    """A grey picture stays grey whatever the view: no black comes in."""
    grey = np.full((4, SIDE, SIDE, 1), 100, np.float32)
    seen = np.asarray(view(rotation=45.0, shift=0.4, zoom=0.5)(grey, training=True))
    assert np.allclose(seen, 100, atol=0.1)


def test_quality_changes_nothing_outside_of_training_and_stays_in_range(pictures):
    layer = RandomQuality(TrainConfig(gamma=1.0, blur=1.0, noise=0.3))
    assert np.array_equal(np.asarray(layer(pictures, training=False)), pictures)
    seen = np.asarray(layer(pictures, training=True))
    assert seen.shape == pictures.shape
    assert (seen.min() >= 0, seen.max() <= 255) == (True, True)
    assert np.abs(seen - pictures).mean() > 5


def test_quality_without_strength_is_the_picture(pictures):
    seen = np.asarray(RandomQuality(TrainConfig(**STILL))(pictures, training=True))
    assert np.array_equal(seen, pictures)


@pytest.mark.usefixtures("highest")
def test_gamma_is_an_exponent():
    grey = np.full((1, 8, 8, 1), 127.5, np.float32)
    seen = np.asarray(RandomQuality(TrainConfig(**(STILL | {"gamma": 1.0})))(grey, training=True))
    assert np.allclose(seen, 255 * 0.5**2, atol=0.01)


def test_blur_reaches_the_share_of_the_pictures_that_was_asked_for():
    """A dot's peak is lower in about a fifth of them."""
    batch = np.zeros((1000, 9, 9, 1), np.float32)
    batch[:, 4, 4] = 255
    seen = np.asarray(RandomQuality(TrainConfig(**(STILL | {"blur": 0.2})))(batch, training=True))
    peaks = seen[:, 4, 4, 0]
    assert (peaks < 254.9).mean() == pytest.approx(0.2, abs=0.04)
    # Of the second step's kernel, two binomials, the second with holes.
    strongest = (6 / 16) ** 2 + 2 * (4 / 16) * (1 / 16)
    assert 255 * strongest**2 - 0.1 <= peaks.min() < 255 * (6 / 16) ** 2


@pytest.mark.usefixtures("highest")
def test_blur_brings_no_black_in_at_the_edges():
    grey = np.full((1, 16, 16, 1), 100, np.float32)
    seen = np.asarray(RandomQuality(TrainConfig(**(STILL | {"blur": 0.2})))(grey, training=True))
    assert np.allclose(seen, 100, atol=0.01)


@pytest.mark.usefixtures("highest")
def test_the_strongest_blur_has_the_deviation_that_is_documented():
    dot = np.zeros((1, 31, 31, 1), np.float32)
    dot[:, 15, 15] = 255
    seen = np.asarray(RandomQuality(TrainConfig(**(STILL | {"blur": 0.2})))(dot, training=True))
    across = seen[0, :, :, 0].sum(axis=0) / 255
    assert across.sum() == pytest.approx(1, abs=1e-4)
    variance = (across * (np.arange(31) - 15) ** 2).sum()
    assert np.sqrt(variance) == pytest.approx(2.236, abs=0.01)


def test_half_of_the_pictures_are_sharpened_up_to_what_was_asked_for():
    """A dot's peak rises by as many times as it would lose by the first step of blur."""
    batch = np.zeros((2000, 9, 9, 1), np.float32)
    batch[:, 4, 4] = 100
    layer = RandomQuality(TrainConfig(**(STILL | {"sharpen": 1.5})))
    rise = np.asarray(layer(batch, training=True))[:, 4, 4, 0] / 100 - 1
    assert (rise > 1e-4).mean() == pytest.approx(0.5, abs=0.05)
    assert rise.min() == pytest.approx(0, abs=1e-5)
    assert rise.max() == pytest.approx(1.5 * (1 - (6 / 16) ** 2), abs=0.02)


def test_half_of_the_pictures_lose_light_down_to_what_was_asked_for():
    """Evenly in stops: 1 - 0.75 is two of them, so half of the darker ones lose more than one."""
    grey = np.full((2000, 2, 2, 1), 200, np.float32)
    seen = np.asarray(RandomQuality(TrainConfig(**(STILL | {"dark": 0.75})))(grey, training=True))
    left = seen.mean(axis=(1, 2, 3)) / 200
    assert (left > 0.999).mean() == pytest.approx(0.5, abs=0.05)
    assert (left.min(), left.max()) == pytest.approx((0.25, 1.0), abs=0.01)
    assert np.median(left[left < 0.999]) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"noise": 0.1}, ["quality"]),
        ({"dark": 0.1}, ["quality"]),
        ({"sharpen": 0.1}, ["quality"]),
        ({"brightness": 0.1, "erase": 0.1}, ["random_brightness", "random_erasing"]),
    ],
)
def test_what_has_no_strength_costs_nothing(changes, names):
    layers = degradation(TrainConfig(**(STILL | changes))).layers
    assert [layer.name.rstrip("_0123456789") for layer in layers] == names


def test_contrast_is_raised_and_lowered_by_what_was_asked_for():
    stripes = np.full((500, 8, 8, 1), 100, np.float32)
    stripes[:, ::2] = 140
    seen = np.asarray(
        degradation(TrainConfig(**(STILL | {"contrast": 0.3})))(stripes, training=True)
    )
    factors = (seen[:, ::2].mean(axis=(1, 2, 3)) - seen[:, 1::2].mean(axis=(1, 2, 3))) / 40
    assert (factors.min(), factors.max()) == pytest.approx((0.7, 1.3), abs=0.01)


def test_half_the_share_of_the_pictures_that_erase_names_lose_a_rectangle():
    grey = np.full((3000, 16, 16, 1), 100, np.float32)
    layer = degradation(TrainConfig(**(STILL | {"erase": 0.4})))
    changed = np.asarray(layer(grey, training=True)) != grey
    assert changed.any(axis=(1, 2, 3)).mean() == pytest.approx(0.2, abs=0.03)


def test_without_any_strength_the_view_is_seen_as_it_is(pictures):
    assert degradation(TrainConfig(**STILL))(pictures) is pictures


def test_the_network_is_fed_its_own_size_from_surroundings():
    layer, degrade = RandomView(TrainConfig(), SIDE, SIDE), degradation(TrainConfig())
    batch = np.random.default_rng(1).uniform(0, 255, (3, WIDE, WIDE, 1)).astype(np.float32)
    still = degrade(layer(batch, training=False)[0], training=False)
    assert np.array_equal(np.asarray(still), middle(batch))
    seen = np.asarray(degrade(layer(batch, training=True)[0], training=True))
    assert seen.shape == (3, SIDE, SIDE, 1)
    assert math.isfinite(float(seen.mean()))


def test_half_of_the_pictures_get_a_grain_of_their_own_up_to_what_was_asked_for():
    grey = np.full((1000, 24, 24, 1), 127, np.float32)
    layer = RandomQuality(TrainConfig(**(STILL | {"noise": 0.1})))
    change = np.asarray(layer(grey, training=True))[..., 0] / 255 - 127 / 255
    strength = change.std(axis=(1, 2))
    assert (strength > 1e-5).mean() == pytest.approx(0.5, abs=0.05)
    assert strength.max() == pytest.approx(0.1, abs=0.01)
    strong = change[strength > 0.05][:20].reshape(20, -1)
    assert np.abs(np.corrcoef(strong) - np.eye(20)).max() < 0.3


def test_brightness_is_a_share_of_white():
    grey = np.full((500, 4, 4, 1), 127, np.float32)
    seen = np.asarray(
        degradation(TrainConfig(**(STILL | {"brightness": 0.2})))(grey, training=True)
    )
    light = seen.mean(axis=(1, 2, 3)) - 127
    assert (light.min(), light.max()) == pytest.approx((-51, 51), abs=1)
