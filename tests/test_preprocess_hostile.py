"""What is no picture, or a damaged one, ends in one clear line and nothing else."""

from __future__ import annotations

import io
import os
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_emotion import InputSpec, PictureError, preprocess
from edge_emotion.preprocess import MAX_PIXELS, open_picture
from tests import pictures

SPEC = InputSpec(16, 16, 1)


def refused(picture) -> str:
    with pytest.raises(PictureError) as caught:
        preprocess(picture, SPEC)
    line = str(caught.value)
    assert line.isprintable(), "one line, nothing that upsets a terminal"
    return line


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\0", "not a picture"),
        (b"Dear customer,\nplease find attached\n", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (bytes(range(256)) * 40, "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
    ],
)
def test_what_is_no_picture_is_called_so(data, words, tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    assert words in refused(data)
    line = refused(path)
    assert words in line
    assert str(path) in line


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_truncated_picture_is_refused(form):
    data = pictures.encode(pictures.rgb(), form)
    assert "bytes" in refused(data[: len(data) // 2])


def test_truncated_picture_that_pillow_opened_is_refused():
    data = pictures.encode(pictures.rgb(), "JPEG")
    with Image.open(io.BytesIO(data[:1500])) as lazy:
        assert "truncated" in refused(lazy)


def test_picture_that_was_closed_is_refused():
    image = Image.open(io.BytesIO(pictures.encode(pictures.rgb(), "PNG")))
    image.close()
    assert "closed" in refused(image)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_000), (89_478_486, 1)])
def test_bomb_is_refused_before_it_is_decoded(width, height):
    assert width * height > MAX_PIXELS
    assert "too large" in refused(pictures.png(width, height, 8, 2, b""))


def test_bomb_is_refused_whatever_limit_pillow_was_given(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "60000 x 60000" in refused(pictures.png(60_000, 60_000, 8, 2, b""))


def test_bomb_as_array_is_refused():
    huge = np.broadcast_to(np.uint8(7), (1_000_000, 1_000_000))
    assert "too large" in refused(huge)


def test_postscript_is_refused_because_reading_it_would_run_it(monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.check_call", run)
    assert "PostScript" in refused(pictures.encode(pictures.rgb(), "EPS"))


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_picture_without_pixels_is_refused(size):
    refused(Image.new("RGB", size))
    refused(np.zeros(size, np.uint8))


def test_paths_that_cannot_be_read(tmp_path):
    assert "Is a directory" in refused(tmp_path)
    assert refused("") == "'': Is a directory"
    assert "No such file" in refused(tmp_path / "missing.png")
    assert "too long" in refused("x" * 5000)
    assert "null" in refused("a\0b.png")
    assert r"line\nbreak" in refused(tmp_path / "line\nbreak.png")
    assert r"\x1b[31m" in refused("\x1b[31mred.png")
    refused("\udcff.png")  # a name that is not UTF-8
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    refused(loop)


def test_picture_may_come_through_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = pictures.CASES["RGB"].make()
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    try:
        np.testing.assert_array_equal(preprocess(pipe, SPEC), preprocess(data, SPEC))
    finally:
        writer.join()


def test_file_without_an_end_is_not_read_for_ever(monkeypatch):
    monkeypatch.setitem(preprocess.__globals__, "MAX_BYTES", 10_000_000)
    assert "larger than 10 MB" in refused("/dev/zero")


def test_running_out_of_memory_is_said_and_leaves_the_next_picture_alone(monkeypatch):
    def load(self):
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
        assert "memory" in refused(pictures.CASES["RGB"].make())
    assert preprocess(pictures.CASES["RGB"].make(), SPEC).shape == SPEC.shape


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4, 2), np.uint8), r"(4, 4, 2)"),
        (np.zeros((3, 4, 5), np.uint8), r"(3, 4, 5)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"(1, 4, 4, 3)"),
        (np.zeros(4, np.uint8), r"(4,)"),
        (np.uint8(4)[()] * np.ones((), np.uint8), "uint8"),
        ([[1, 2], [3, 4]], "list"),
        (bytearray(b"x"), "bytearray"),
        (None, "NoneType"),
        (7, "int"),
    ],
)
def test_other_values_are_refused_by_what_they_are(pixels, words):
    assert words in refused(pixels)


def _bases() -> dict[str, bytes]:
    image, indexed = Image.fromarray(pictures.scene(24, 18)), pictures.palette().resize((24, 18))
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6
    frames = {"save_all": True, "append_images": [indexed.rotate(90)]}
    return {
        "PNG": pictures.encode(image, "PNG", exif=exif),
        "PNG palette": pictures.encode(indexed, "PNG", transparency=3),
        "PNG 16 bit": pictures.encode(Image.fromarray(pictures.deep()[:18, :24]), "PNG"),
        "JPEG": pictures.encode(image, "JPEG", exif=exif),
        "JPEG progressive": pictures.encode(image, "JPEG", progressive=True),
        "JPEG CMYK": pictures.encode(image.convert("CMYK"), "JPEG"),
        "GIF": pictures.encode(indexed, "GIF", transparency=2, **frames),
        "WEBP": pictures.encode(image, "WEBP", exif=exif),
        "WEBP animation": pictures.encode(image, "WEBP", **frames),
        "TIFF": pictures.encode(image, "TIFF", exif=exif),
        "TIFF 16 bit": pictures.encode(Image.fromarray(pictures.deep()[:18, :24]), "TIFF"),
        "BMP": pictures.encode(image, "BMP"),
        "BMP palette": pictures.encode(indexed, "BMP"),
    }


BASES = _bases()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut"]),
        # Headers are short and decide most: half of the edits go there.
        st.one_of(st.integers(0, 80), st.integers(0, 4000)),
        st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255)),
    ),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    result = bytearray(data)
    for kind, place, value in edits:
        place = min(place, len(result))
        if kind == "insert":
            result.insert(place, value)
        elif kind == "cut" and place > 8:
            del result[place:]
        elif kind == "delete":
            del result[place : place + 1]
        elif place < len(result):
            result[place] = value
    return bytes(result)


def picture_or_picture_error(data: bytes) -> None:
    """Warnings are errors here, so none may come out either."""
    with suppress(PictureError):
        tensor = preprocess(data, SPEC)
        assert (tensor.shape, tensor.dtype) == (SPEC.shape, np.uint8)


@pytest.mark.parametrize("name", BASES)
def test_fuzz_bases_are_pictures(name):
    assert preprocess(BASES[name], SPEC).shape == SPEC.shape


@settings(max_examples=800)
@given(st.sampled_from(list(BASES)), EDITS)
def test_damaged_pictures_raise_nothing_but_picture_error(name, edits):
    picture_or_picture_error(edited(BASES[name], edits))


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_picture_error(data):
    picture_or_picture_error(data)


@pytest.mark.parametrize("name", BASES)
def test_a_picture_cut_anywhere_raises_nothing_but_picture_error(name):
    for end in range(0, len(BASES[name]), 7):
        picture_or_picture_error(BASES[name][:end])


def test_threads_leave_the_filters_of_warnings_as_they_were(tmp_path):
    """They are the whole process's: no thread may take those of another for its own."""
    data = pictures.encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG")
    before = list(warnings.filters)
    reading = []
    for name in ("first", "second"):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        thread = threading.Thread(target=open_picture, args=(pipe,))
        thread.start()
        reading.append((thread, pipe.open("wb")))  # it waits for the picture
    for thread, writer in reading:  # the first to begin is the first to end
        with writer:
            writer.write(data)
        thread.join()
    assert list(warnings.filters) == before
