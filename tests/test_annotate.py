"""Annotated copies: legible at any size, whoever looks at them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_emotion import FacePrediction, OutputError, PhotoPrediction, Prediction
from edge_emotion.cli.annotate import PALETTE, Annotator

LABELS = ["angry", "happy", "sad"]
SIZES = [(1, 1), (1, 10_000), (10_000, 1), (48, 48), (100, 1000), (640, 480), (4000, 3000)]
LONG = "a label of a user who had much to say about what a face may show, and said it"


def photo(*boxes, label="happy", uncertain=True):
    """The same answer for each box, or for the whole picture if there is none."""
    prediction = Prediction(label, 0.97, {label: 0.97}, uncertain)
    faces = [FacePrediction(box, None, 1.0, prediction) for box in boxes]
    return PhotoPrediction(label, 0.97, {label: 0.97}, uncertain, faces)


@pytest.fixture
def drawn(monkeypatch):
    """What pillow is asked for: ("rectangle", (x0, y0, x1, y1), fill) and ("text", box, text)."""
    calls = []
    rectangle, text = ImageDraw.ImageDraw.rectangle, ImageDraw.ImageDraw.text

    def note_rectangle(self, xy, fill=None, *rest, **named):
        calls.append(("rectangle", tuple(xy), fill))
        rectangle(self, xy, fill, *rest, **named)

    def note_text(self, xy, words, fill=None, font=None, **named):
        calls.append(("text", self.textbbox(xy, words, font), words, font.size))
        text(self, xy, words, fill, font, **named)

    monkeypatch.setattr(ImageDraw.ImageDraw, "rectangle", note_rectangle)
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note_text)
    return calls


def annotate(tmp_path, size, answer, labels=LABELS):
    path = tmp_path / "a.png"
    Image.new("RGB", size, (90, 120, 150)).save(path)
    Annotator(tmp_path, labels).draw(path, answer)
    with Image.open(tmp_path / "a-annotated.jpg") as image:
        return image.convert("RGB")


def boxes_for(width, height):
    """At each corner, over an edge, over everything, tiny, and far away."""
    w, h = width / 3, height / 3
    return {
        "whole": (0, 0, width, height), "first corner": (0, 0, w, h),
        "last corner": (width - w, height - h, w, h),
        "over the edge": (width - w / 2, -h / 2, w, h),
        "tiny": (width / 2, height / 2, 0.1, 0.1), "larger": (-9 * w, -9 * h, 30 * w, 30 * h),
        "far away": (1e7, 1e7, 5, 5), "huge": (-1e7, -1e7, 3e7, 3e7),
    }  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("place", boxes_for(1, 1))
@pytest.mark.parametrize("label", ["happy", LONG])
def test_the_label_is_inside_and_legible(tmp_path, drawn, size, place, label):
    answer = photo(boxes_for(*size)[place], label=label)
    image = annotate(tmp_path, size, answer, [label, "sad"])
    assert_label_inside(drawn, image)
    (words,) = [call[2] for call in drawn if call[0] == "text"]
    assert words.startswith(label[:8])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("label", ["sad", LONG, None])
def test_the_picture_s_answer_without_boxes(tmp_path, drawn, size, label):
    answer = PhotoPrediction(None, None, {}, True, []) if label is None else photo(label=label)
    image = annotate(tmp_path, size, answer, [label or "happy", "angry"])
    assert_label_inside(drawn, image)
    (words,) = [call[2] for call in drawn if call[0] == "text"]
    assert words.startswith("no face found" if label is None else label[:8])


def assert_label_inside(drawn, image):
    """The one label: its ground lies in the picture, its text in the ground, in readable points."""
    ground = next(xy for kind, xy, fill, *_ in drawn if kind == "rectangle" and fill)
    _, text, _, points = next(call for call in drawn if call[0] == "text")
    assert 0 <= ground[0] < ground[2] < image.width
    assert 0 <= ground[1] < ground[3] < image.height
    assert ground[0] <= text[0] < text[2] <= ground[2]
    assert ground[1] <= text[1] < text[3] <= ground[3]
    assert points >= 10
    # Black on light: WCAG's relative luminance, contrast of 4.5 to 1 at least.
    light = next(fill for kind, _, fill, *_ in drawn if kind == "rectangle" and fill)
    assert (luminance(light) + 0.05) / 0.05 >= 4.5


def luminance(colour):
    channels = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_a_box_is_drawn_where_the_face_is(tmp_path):
    image = np.asarray(annotate(tmp_path, (640, 480), photo((200, 150, 240, 200)))).astype(int)
    colour = np.array(PALETTE[1])  # of the second label
    for x, y in ((200, 250), (439, 250), (300, 349), (300, 150)):
        near = image[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3)
        assert np.abs(near - colour).sum(axis=1).min() < 110, (
            x,
            y,
        )  # of 147 to the ground: JPEG blurs colour
    assert np.abs(image[250, 320] - (90, 120, 150)).max() < 10  # the face itself is not covered


def test_small_pictures_are_enlarged_and_large_ones_reduced(tmp_path):
    sizes = {size: annotate(tmp_path, size, photo()).size for size in SIZES}
    assert sizes == {
        (1, 1): (480, 480), (1, 10_000): (240, 1600), (10_000, 1): (1600, 64), (48, 48): (480, 480),
        (100, 1000): (240, 1000), (640, 480): (640, 480), (4000, 3000): (1600, 1200),
    }  # fmt: skip


#: Machado, Oliveira & Fernandes, IEEE TVCG 2009: dichromats, in linear RGB.
VISION = {
    "all": np.eye(3),
    "no red": np.array([(0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
                        (-0.003882, -0.048116, 1.051998)]),
    "no green": np.array([(0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
                          (-0.011820, 0.042940, 0.968881)]),
    "no blue": np.array([(1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
                         (0.004733, 0.691367, 0.303900)]),
}  # fmt: skip


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_with_any_vision(vision):
    linear = (np.array(PALETTE) / 255) ** 2.2
    seen = 255 * np.clip(linear @ VISION[vision].T, 0, 1) ** (1 / 2.2)
    for one, other in itertools.combinations(range(len(PALETTE)), 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 30, (one, other)


def test_labels_take_the_colours_in_turns(tmp_path):
    colours = Annotator(tmp_path, [str(i) for i in range(10)]).colours
    assert list(colours.values()) == [*PALETTE, *PALETTE[:2]]


def test_a_copy_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").write_text("a file")
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(OutputError, match=r"cannot write .*folder is no folder, as is needed"):
        Annotator(tmp_path / "folder", LABELS).draw(tmp_path / "a.png", photo())


@pytest.mark.parametrize(
    ("stem", "kept"),
    [
        ("a" * 251, "a" * 200), ("ä" * 125, "ä" * 100), ("x" + "ä" * 120, "x" + "ä" * 99),
        ("猫" * 80, "猫" * 66), ("a" * 200, "a" * 200),
    ],
)  # fmt: skip
def test_long_names_are_cut_to_what_a_file_system_takes(tmp_path, stem, kept):
    """A picture's name may have 255 bytes; "-annotated-2.jpg" must fit behind what is kept."""
    path, folder = tmp_path / f"{stem}.png", tmp_path / "out"
    Image.new("RGB", (9, 9)).save(path)
    annotator = Annotator(folder, LABELS)
    annotator.draw(path, photo())
    annotator.draw(path, photo())
    names = {f"{kept}-annotated.jpg", f"{kept}-annotated-2.jpg"}
    assert {p.name for p in folder.iterdir()} == names
    assert all(len(name.encode()) <= 216 for name in names)


def test_a_picture_that_was_named_is_not_written_over(tmp_path):
    inputs = [tmp_path / "a.png", tmp_path / "a-annotated.jpg", tmp_path / "far" / "b.png"]
    for path in inputs:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(path)
    before = inputs[1].read_bytes()
    annotator = Annotator(tmp_path, LABELS, inputs)
    for path in inputs:
        annotator.draw(path, photo())
    assert inputs[1].read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {
        "a.png", "a-annotated.jpg", "a-annotated-2.jpg", "a-annotated-annotated.jpg",
        "b-annotated.jpg", "far",
    }  # fmt: skip


def test_on_a_full_disk_the_copy_that_is_there_stays(tmp_path, request):
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    Annotator(tmp_path, LABELS).draw(tmp_path / "a.png", photo())
    copy = tmp_path / "a-annotated.jpg"
    whole = copy.read_bytes()
    request.getfixturevalue("full_disk")
    with pytest.raises(OutputError, match=r"a-annotated\.jpg: File too large; free space"):
        Annotator(tmp_path, LABELS).draw(tmp_path / "a.png", photo(label="sad"))
    assert copy.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-annotated.jpg", "a.png"]
