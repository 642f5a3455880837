"""The same picture twice is found; other pictures are left apart."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw, ImageEnhance

from edge_emotion import InputSpec, MissingExtraError
from edge_emotion.training.loading import LoadedPictures, load_pictures, pixel_hash
from edge_emotion.training.samples import Dataset, Sample
from edge_emotion.training.splits import NEAR_DUPLICATE_BITS, duplicate_groups, near_pairs

pytest.importorskip("imagehash", reason="needs the extra train")
SPEC = InputSpec(16, 16, 1)


def picture(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Clouds of colour with some edges, like no other seed's."""
    rng = np.random.default_rng(seed)
    ground = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    image = ground.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.integers(0, width), rng.integers(0, height)
        size = int(rng.integers(20, 90))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.ellipse((x, y, x + size, y + size), fill=colour)
    return image


def load(images: list[Image.Image], near: bool = True) -> LoadedPictures:
    samples = [
        Sample(str(i), (1.0, 0.0), None, lambda image=image: image)
        for i, image in enumerate(images)
    ]
    dataset = Dataset("made", "made", "made", "CC0-1.0", ["a", "b"], samples)
    return load_pictures(dataset, SPEC, near=near)[0]


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


def watermarked(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).text((20, 200), "© some agency, 2021", fill="white", font_size=24)
    return image


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved as JPEG": as_jpeg,
    "cropped a little": lambda i: i.crop((5, 4, i.width - 5, i.height - 4)),
    "resized": lambda i: i.resize((150, 110)),
    "watermarked": watermarked,
    "grey": lambda i: i.convert("L"),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.15),
    "all at once": lambda i: as_jpeg(watermarked(i.resize((300, 225)))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change):
    images = [picture(seed) for seed in range(12)]
    groups, reasons = duplicate_groups(load([*images, CHANGES[change](images[7])]))
    assert groups[12] == groups[7]
    assert len(set(groups)) == 12
    assert reasons["near-identical"] == 2
    assert reasons["pixel-identical"] == 0


def test_unrelated_pictures_are_far_apart():
    loaded = load([picture(seed) for seed in range(40)])
    assert loaded.phashes is not None
    assert len(near_pairs(loaded.phashes, NEAR_DUPLICATE_BITS + 20)) == 0


def test_exact_copies_are_found_without_perceptual_hashes_too():
    images = [picture(0), picture(1), picture(0), picture(2), picture(0)]
    groups, reasons = duplicate_groups(load(images, near=False))
    assert groups[0] == groups[2] == groups[4]
    assert len(set(groups)) == 3
    assert reasons == {"pixel-identical": 3}


def test_exact_copies_are_not_counted_as_near_ones_as_well():
    images = [picture(0), picture(0), CHANGES["saved as JPEG"](picture(0)), picture(1)]
    groups, reasons = duplicate_groups(load(images))
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert reasons == {"pixel-identical": 2, "near-identical": 1}


def test_no_pictures_alike():
    groups, reasons = duplicate_groups(load([picture(0), picture(1)]))
    assert len(set(groups)) == 2
    assert +reasons == {}


def test_pixel_hash_tells_size_and_pixels_apart_and_nothing_else():
    image = Image.new("RGB", (4, 6), "red")
    assert pixel_hash(image) == pixel_hash(image.copy())
    assert pixel_hash(image) != pixel_hash(Image.new("RGB", (6, 4), "red"))
    assert pixel_hash(image) != pixel_hash(Image.new("RGB", (4, 6), "blue"))
    lossless = io.BytesIO()
    image.save(lossless, "PNG")
    assert pixel_hash(image) == pixel_hash(Image.open(lossless))
    assert 0 <= pixel_hash(image) < 2**64


@given(
    hnp.arrays(np.uint64, st.tuples(st.integers(0, 12), st.just(4)),
               elements=st.integers(0, 7) | st.integers(0, 2**64 - 1)),
    st.integers(0, 256), st.integers(1, 5),
)  # fmt: skip
def test_near_pairs_are_all_pairs_within_the_bits(phashes, bits, chunk):
    def distance(i: int, j: int) -> int:
        return sum(
            (int(a) ^ int(b)).bit_count() for a, b in zip(phashes[i], phashes[j], strict=True)
        )

    n = len(phashes)
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if distance(i, j) <= bits}
    found = near_pairs(phashes, bits, chunk)
    assert found.shape == (len(expected), 2)
    assert {(int(i), int(j)) for i, j in found} == expected


def test_without_imagehash_the_pip_command_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edge-emotion\[train\]'"):
        load([picture(0)])
    assert len(load([picture(0)], near=False)) == 1


@pytest.mark.shared
def test_real_photographs_are_the_same_or_far_apart(shared_data):
    """156 from the web: ten pairs saved, scaled or watermarked anew. Harder crops stay unseen."""
    from edge_emotion.training.data import read_dataset

    dataset = read_dataset(shared_data / "human-face-emotions")
    told: list[str] = []
    loaded, dropped = load_pictures(dataset, SPEC, near=True, warn=told.append)
    assert (len(loaded), +dropped, told) == (156, {}, [])
    assert loaded.phashes is not None
    pairs = [len(near_pairs(loaded.phashes, NEAR_DUPLICATE_BITS + more)) for more in (-40, 0, 10)]
    assert pairs == [10, 10, 10]


def test_crops_of_one_photograph_are_one_group_with_each_other_and_with_the_photograph():
    """However they were cut: perceptual hashes of two cuts have nothing in common."""
    loaded = load([picture(seed) for seed in range(6)], near=False)
    whole = loaded.hashes[5]
    groups, reasons = duplicate_groups(
        replace(loaded, photographs=np.array([7, 0, 7, 9, whole, 0], np.uint64))
    )
    assert groups[0] == groups[2]
    assert groups[4] == groups[5]
    assert len(set(groups)) == 4
    assert reasons == {"of one photograph": 4}
    assert len(set(duplicate_groups(loaded)[0])) == 6


def test_a_picture_is_known_by_itself_or_by_its_photograph():
    loaded = replace(
        load([picture(seed) for seed in range(4)], near=False),
        hashes=np.array([1, 2, 3, 4], np.uint64),
        photographs=np.array([0, 8, 9, 0], np.uint64),
    )
    assert loaded.known_to(np.array([0, 1, 9], np.uint64)).tolist() == [True, False, True, False]
    assert not replace(loaded, photographs=None).known_to(np.array([9], np.uint64)).any()
