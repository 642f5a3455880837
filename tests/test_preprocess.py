"""The pixels that a model is fed, from every kind of picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from edge_emotion import InputSpec, preprocess
from edge_emotion.preprocess import FILTERS, open_picture, to_tensor
from tests import pictures
from tests.golden.make_preprocess import GOLDEN, SPECS, digest, pixels_of

EXPECTED = json.loads(GOLDEN.read_text(encoding="utf-8"))
FULL = InputSpec(64, 96, 3)  # of `pictures.scene`: no resizing
SMALL = InputSpec(48, 48, 1)
#: What another encoder or another build of littlecms may move a pixel by.
ROUNDING = 8


def test_every_case_has_a_golden_vector_and_no_other_is_left():
    assert list(EXPECTED) == list(pictures.CASES)


@pytest.mark.parametrize("name", pictures.CASES)
def test_tensor_is_the_golden_one(name):
    case, expected = pictures.CASES[name], EXPECTED[name]
    picture = case.make()
    same_source = isinstance(picture, bytes) and expected.get("source") == digest(picture)
    exact = case.lossless or same_source
    for spec_name, spec in SPECS.items():
        tensor = preprocess(picture, spec)
        found = np.array(pixels_of(tensor))
        difference = np.abs(found - np.array(expected[spec_name]["pixels"]))
        assert difference.max() <= (0 if exact else ROUNDING)
        if exact:
            assert digest(tensor.tobytes()) == expected[spec_name]["sha256"]


@pytest.mark.parametrize(
    "name",
    ["RGB", "16-bit RGB", "BMP", "TIFF", "PPM", "APNG", "WebP animation"]
    + [f"PNG orientation {n}" for n in pictures.STORED],
)
def test_lossless_colour_is_the_pixels_themselves(name):
    tensor = preprocess(pictures.CASES[name].make(), FULL)
    np.testing.assert_array_equal(tensor, pictures.scene())


@pytest.mark.parametrize("name", ["L", "16-bit grey", "I", "I;16B", "array grey"])
def test_grey_of_any_depth_is_the_same_grey(name):
    tensor = preprocess(pictures.CASES[name].make(), InputSpec(64, 96, 1))
    np.testing.assert_array_equal(tensor[:, :, 0], pictures.grey())


@pytest.mark.parametrize("name", ["F of 0..1", "F of 0..255"])
def test_float_samples_are_scaled_and_nan_is_black(name):
    expected = pictures.grey().copy()
    expected[0, 0] = 0
    tensor = preprocess(pictures.CASES[name].make(), InputSpec(64, 96, 1))
    np.testing.assert_array_equal(tensor[:, :, 0], expected)


@pytest.mark.parametrize("number", pictures.STORED)
def test_jpeg_held_any_way_comes_out_upright(number):
    tensor = preprocess(pictures.oriented(number, quality=95, subsampling=0), FULL)
    assert np.abs(tensor.astype(int) - pictures.scene()).mean() < 4


def test_unknown_orientation_is_ignored():
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 99
    data = pictures.encode(pictures.rgb(), "PNG", exif=exif)
    np.testing.assert_array_equal(preprocess(data, FULL), pictures.scene())


def test_a_broken_exif_block_does_not_cost_the_picture():
    data = pictures.encode(pictures.rgb(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(preprocess(data, FULL), pictures.scene())


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_is_composited_on_white(mode):
    image = pictures.with_alpha(pictures.palette() if mode == "PA" else pictures.rgb())
    image = image.convert(mode) if mode == "LA" else image
    assert image.mode == mode
    colour = np.asarray(image.convert("RGBA"))[:, :, :3].astype(float)
    alpha = np.asarray(pictures.alpha()).astype(float)[:, :, None]
    tensor = preprocess(image, FULL)
    expected = (colour * alpha + 255 * (255 - alpha)) / 255
    assert np.abs(tensor - expected).max() <= 1
    np.testing.assert_array_equal(tensor[0], 255)  # transparent
    np.testing.assert_array_equal(tensor[-1], colour[-1])  # opaque


@pytest.mark.parametrize(
    ("name", "transparent"),
    [
        ("RGB with a transparent colour", (pictures.scene() == (250, 210, 30)).all(axis=-1)),
        ("P with a transparent index", pictures.grey() // 32 == 3),
        ("16-bit grey with a transparent value", pictures.grey() == 0),
    ],
)
def test_a_transparent_colour_is_white_and_the_others_stay(name, transparent):
    opaque = {"R": "RGB", "P": "P", "1": "16-bit grey"}[name[0]]
    tensor = preprocess(pictures.CASES[name].make(), FULL)
    expected = preprocess(pictures.CASES[opaque].make(), FULL).copy()
    expected[transparent] = 255
    assert transparent.any()
    np.testing.assert_array_equal(tensor, expected)


def test_of_an_animation_the_first_frame_is_taken():
    still = preprocess(pictures.encode(pictures.palette(), "PNG"), FULL)
    np.testing.assert_array_equal(preprocess(pictures.animation("GIF"), FULL), still)


def test_path_bytes_image_and_array_give_the_same_tensor(tmp_path):
    data = pictures.CASES["RGB"].make()
    path = tmp_path / "Gesicht – 顔.png"
    path.write_bytes(data)
    with Image.open(path) as image:
        inputs = [path, str(path), data, image, np.asarray(image)]
        tensors = [preprocess(picture, SMALL) for picture in inputs]
    for tensor in tensors[1:]:
        np.testing.assert_array_equal(tensor, tensors[0])


def test_grey_array_may_have_a_channel_axis_and_any_memory_layout():
    plain = preprocess(pictures.grey(), SMALL)
    backwards = np.ascontiguousarray(pictures.grey()[::-1, ::-1])[::-1, ::-1]
    for same in (pictures.grey()[:, :, None], np.asfortranarray(pictures.grey()), backwards):
        np.testing.assert_array_equal(preprocess(same, SMALL), plain)


def test_the_caller_s_picture_is_left_as_it_was():
    pixels, image = pictures.scene(), pictures.with_alpha(pictures.rgb())
    before = image.tobytes()
    preprocess(pixels, SMALL)[:] = 0
    preprocess(image, SMALL)
    np.testing.assert_array_equal(pixels, pictures.scene())
    assert (image.mode, image.tobytes()) == ("RGBA", before)


def test_an_array_of_the_model_s_size_gives_pillow_s_grey_in_every_colour():
    spec = InputSpec(256, 256, 1)
    green, blue = np.mgrid[:256, :256].astype(np.uint8)
    for red in range(256):
        pixels = np.dstack([np.full_like(green, red), green, blue])
        by_pillow = preprocess(Image.fromarray(pixels), spec)
        np.testing.assert_array_equal(preprocess(pixels, spec), by_pillow)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_of_the_model_s_size_is_copied_from_any_memory_layout(channels):
    spec = InputSpec(64, 96, channels)
    by_pillow = preprocess(Image.fromarray(pictures.scene()), spec)
    backwards = np.ascontiguousarray(pictures.scene()[::-1, ::-1])[::-1, ::-1]
    for pixels in (pictures.scene(), np.asfortranarray(pictures.scene()), backwards):
        tensor = preprocess(pixels, spec)
        np.testing.assert_array_equal(tensor, by_pillow)
        assert tensor.flags.c_contiguous
        tensor[:] = 0
        np.testing.assert_array_equal(pixels, pictures.scene())


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("side", [24, 48, 150])
def test_a_large_jpeg_decoded_at_a_fraction_is_close_to_all_of_it(progressive, side):
    data = pictures.encode(pictures.large(), "JPEG", progressive=progressive)
    spec = InputSpec(side, side, 3)
    full = to_tensor(open_picture(data), spec)
    assert np.abs(preprocess(data, spec).astype(int) - full).mean() < 2


@given(
    width=st.integers(1, 700), height=st.integers(1, 700),
    need=st.tuples(st.integers(1, 160), st.integers(1, 160)), number=st.sampled_from([1, 6]),
)  # fmt: skip
def test_draft_never_goes_below_twice_the_need(width, height, need, number):
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = number
    image = Image.new("L", (width, height))
    size = open_picture(pictures.encode(image, "JPEG", exif=exif), need).size
    upright = (width, height) if number == 1 else (height, width)
    for got, own, needed in zip(size, upright, need, strict=True):
        assert min(own, 2 * needed) <= got <= own


def test_draft_saves_most_of_the_pixels():
    data = pictures.encode(pictures.large(), "JPEG")
    assert open_picture(data, (48, 48)).size == (200, 150)


@pytest.mark.parametrize("resize", FILTERS)
def test_a_card_s_filter_is_the_one_that_is_used(resize):
    expected = pictures.rgb().resize((20, 30), FILTERS[resize])
    tensor = preprocess(pictures.scene(), InputSpec(30, 20, 3, resize))
    np.testing.assert_array_equal(tensor, np.asarray(expected))


@pytest.mark.parametrize("resize", FILTERS)
def test_far_smaller_is_what_the_filter_gives_and_bilinear_next_to_it(resize):
    image = Image.fromarray(pictures.scene()).resize((500, 700), Image.Resampling.BICUBIC)
    expected = np.asarray(image.resize((48, 48), FILTERS[resize]), np.int16)
    difference = np.abs(to_tensor(image, InputSpec(48, 48, 3, resize)) - expected)  # int16
    if resize == "bilinear":
        assert 0 < difference.mean() < 0.4
        assert difference.max() <= 4
    else:
        assert not difference.any()


def test_no_pixel_of_a_large_picture_is_passed_over():
    board = (np.indices((480, 480)).sum(0) % 2 * 255).astype(np.uint8)
    tensor = preprocess(board, SMALL).astype(np.int16)
    assert np.abs(tensor - 127).max() <= 2


def test_filters_differ():
    tensors = {preprocess(pictures.scene(), InputSpec(9, 9, 3, r)).tobytes() for r in FILTERS}
    assert len(tensors) == len(FILTERS)


@given(
    hnp.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(1, 40), st.integers(1, 40)),
            st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4])),
        ),
    ),
    st.builds(
        InputSpec, st.integers(1, 50), st.integers(1, 50), st.sampled_from([1, 3]),
        st.sampled_from(list(FILTERS)),
    ),
)  # fmt: skip
def test_any_uint8_array_gives_a_tensor_of_the_card_s_shape(pixels, spec):
    tensor = preprocess(pixels, spec)
    assert tensor.shape == spec.shape
    assert tensor.dtype == np.uint8
    assert tensor.flags.c_contiguous


def test_extreme_proportions_are_stretched():
    line = np.tile(np.arange(256, dtype=np.uint8), (1, 200))  # 1 x 51,200
    assert preprocess(line, SMALL).shape == SMALL.shape
