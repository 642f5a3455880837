"""What is said of a photograph: of each face, of the picture, and where."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_emotion import (
    FacePrediction,
    MissingExtraError,
    Prediction,
    Predictor,
    UsageError,
    combine,
)
from edge_emotion.faces import Face, YuNet, typical_landmarks
from edge_emotion.predictor import FACE_VIEW
from edge_emotion.preprocess import open_scaled
from tests import patches, pictures, tiny

CARD = tiny.make_card()  # threshold 0.6
KNOWN = {"angry": (1.0, 0.0, 0.0), "happy": (0.0, 1.0, 0.0), "sad": (0.0, 0.0, 1.0)}


def face(x: float, side: float, shares: tuple[float, ...]) -> FacePrediction:
    """A face of side x side pixels with these probabilities."""
    probabilities = dict(zip(tiny.LABELS, shares, strict=True))
    label = max(probabilities, key=probabilities.__getitem__)
    prediction = Prediction(label, probabilities[label], probabilities, False)
    return FacePrediction((x, 0.0, side, side), None, 1.0, prediction)


# The picture's answer


def test_no_face_is_no_answer_and_no_guess():
    photo = combine([], CARD)
    assert (photo.label, photo.score, photo.probabilities) == (None, None, {})
    assert photo.uncertain
    assert photo.faces == []


def test_one_face_is_the_picture():
    one = face(3, 50, (0.2, 0.7, 0.1))
    photo = combine([one], CARD)
    assert (photo.label, photo.score) == ("happy", pytest.approx(0.7))
    assert photo.probabilities == pytest.approx(one.prediction.probabilities)
    assert (photo.uncertain, photo.faces) == (False, [one])


def test_a_face_counts_by_the_side_of_its_box():
    photo = combine([face(0, 100, KNOWN["sad"]), face(200, 25, KNOWN["happy"])], CARD)
    assert photo.probabilities == pytest.approx({"angry": 0, "happy": 0.2, "sad": 0.8})
    assert (photo.label, photo.uncertain) == ("sad", False)


def test_a_face_counts_by_its_certainty():
    """Half-half of three labels: 1 - ln 2 / ln 3 of a face that is sure."""
    share = 1 - math.log(2) / math.log(3)
    photo = combine([face(0, 60, (0.5, 0.5, 0.0)), face(99, 60, KNOWN["sad"])], CARD)
    assert photo.probabilities["sad"] == pytest.approx(1 / (1 + share))
    knows_nothing = combine([face(0, 60, (1 / 3,) * 3), face(99, 60, KNOWN["sad"])], CARD)
    assert knows_nothing.probabilities["sad"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("side", "uncertain"), [(40, False), (60, True)])
def test_faces_that_disagree_are_uncertain(side, uncertain):
    """Of sides 100 and 40 five sevenths agree, of 100 and 60 five eighths: less than two thirds."""
    photo = combine([face(0, 100, KNOWN["sad"]), face(200, side, KNOWN["happy"])], CARD)
    assert photo.label == "sad"
    assert photo.score > 0.6
    assert photo.uncertain is uncertain


def test_faces_that_agree_weakly_are_uncertain():
    faces = [face(0, 100, (0.1, 0.55, 0.35)), face(200, 100, (0.35, 0.55, 0.1))]
    photo = combine(faces, CARD)
    assert (photo.label, photo.score) == ("happy", pytest.approx(0.55))
    assert photo.uncertain


SHARES = st.tuples(*[st.floats(0.001, 1)] * 3).map(lambda p: tuple(v / sum(p) for v in p))
FACES = st.lists(st.builds(face, st.floats(-99, 999), st.floats(0, 999), SHARES), min_size=1,
                 max_size=6)  # fmt: skip


@given(FACES)
def test_the_answer_is_a_mean_of_the_faces(faces):
    photo = combine(faces, CARD)
    assert math.isclose(sum(photo.probabilities.values()), 1)
    for label, share in photo.probabilities.items():
        own = [f.prediction.probabilities[label] for f in faces]
        assert min(own) - 1e-9 <= share <= max(own) + 1e-9
    assert photo.score == max(photo.probabilities.values()) == photo.probabilities[photo.label]
    assert [f.box[0] for f in photo.faces] == sorted(f.box[0] for f in faces)
    assert combine(faces[::-1], CARD).probabilities == pytest.approx(photo.probabilities)


# Faces of a picture, by the stub finder


GREEN, BLUE = patches.GREEN, patches.BLUE


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tiny.write_model_folder(tmp_path_factory.mktemp("models") / "tiny")
    return Predictor(folder, finder=YuNet(patches.FILE))


def test_each_face_is_read_and_all_as_one_batch(predictor, monkeypatch):
    batches = []
    right = predictor.predict_tensors
    monkeypatch.setattr(
        predictor, "predict_tensors", lambda batch: (batches.append(batch), right(batch))[1]
    )
    faces = predictor.predict_faces(patches.two_faces())
    assert [f.prediction.label for f in faces] == ["happy", "sad"]
    assert [f.box for f in faces] == [pytest.approx(GREEN), pytest.approx(BLUE)]
    assert [f.detection for f in faces] == [1, 1]
    assert np.allclose(faces[1].landmarks, patches.landmarks_around(32, 240, 112), atol=1e-3)
    assert [batch.shape for batch in batches] == [(2, *CARD.input.shape)]


def test_a_picture_without_a_face(predictor):
    assert predictor.predict_faces(Image.new("RGB", (320, 240))) == []
    assert predictor.predict_photo(Image.new("RGB", (320, 240))).label is None


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("number", pictures.STORED)
def test_places_are_in_the_upright_picture_however_it_is_stored(predictor, number, form):
    image, method = patches.two_faces(), pictures.STORED[number]
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = number
    stored = image if method is None else image.transpose(method)
    faces = predictor.predict_faces(pictures.encode(stored, form, exif=exif))
    assert [f.box for f in faces] == [pytest.approx(GREEN, abs=0.1), pytest.approx(BLUE, abs=0.1)]
    assert [f.prediction.label for f in faces] == ["happy", "sad"]


@pytest.mark.parametrize("number", [1, 3, 6, 8])
def test_places_are_in_the_original_of_a_jpeg_decoded_at_half_its_size(predictor, number):
    image, method = patches.two_faces().resize((2560, 1920), 0), pictures.STORED[number]
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = number
    stored = image if method is None else image.transpose(method)
    data = pictures.encode(stored, "JPEG", exif=exif, quality=90)
    decoded, size = open_scaled(data, FACE_VIEW)
    assert (decoded.size, size) == ((1280, 960), (2560, 1920))
    found = predictor.predict_faces(data)
    assert [f.box for f in found] == [
        pytest.approx([8 * v for v in GREEN], abs=1), pytest.approx([8 * v for v in BLUE], abs=1)
    ]  # fmt: skip
    expected = np.array(patches.landmarks_around(32, 240, 112)) * 8
    assert np.allclose(found[1].landmarks, expected, atol=1)
    given_boxes = predictor.predict_faces(data, boxes=[tuple(8 * v for v in BLUE)])
    assert [f.prediction.label for f in given_boxes] == ["sad"]
    assert given_boxes[0].box == pytest.approx([8 * v for v in BLUE])


def test_your_own_boxes_are_read_where_they_are_and_nothing_is_looked_for(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "finder", None)
    monkeypatch.setitem(sys.modules, "dlib", None)
    faces = predictor.predict_faces(patches.two_faces(), boxes=[BLUE, GREEN, (300, 0, 9, 9)])
    assert [f.box for f in faces] == [pytest.approx(b) for b in (GREEN, BLUE, (300, 0, 9, 9))]
    assert [f.prediction.label for f in faces] == ["happy", "sad", "sad"]
    assert [(f.landmarks, f.detection) for f in faces] == [(None, 1)] * 3
    assert predictor.predict_faces(patches.two_faces(), boxes=[]) == []
    with pytest.raises(MissingExtraError, match=r"fetch yunet.*edge-emotion\[faces\]"):
        predictor.predict_faces(patches.two_faces())


@pytest.mark.parametrize("box", [(-500, -500, 9, 9), (5000, 0, 1e6, 1e6), (0, 0, 1e-9, 1e-9)])
def test_boxes_beyond_the_picture_or_of_any_size_are_read(predictor, box):
    (one,) = predictor.predict_faces(patches.two_faces(), boxes=[box])
    assert one.box == pytest.approx(box)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, math.nan, 5), (0, 0, math.inf, 5), (0, 0, 5), (),
     (1e30, 0, 5, 5), (0, 0, 1, 2, 3)],
)  # fmt: skip
def test_what_is_no_box(predictor, box):
    with pytest.raises(UsageError, match=r"a box is \[x, y, width, height\]"):
        predictor.predict_faces(patches.two_faces(), boxes=[BLUE, box])


class ManyFaces:
    """Finds 200 faces of sides 10 to 209, in no order."""

    name = "many"

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        sides = rng.permutation(np.arange(10, 210))
        places = rng.uniform(0, 2000, 200)
        self.boxes = [
            (float(x), 5.0, float(s), float(s)) for x, s in zip(places, sides, strict=True)
        ]

    def find(self, image: Image.Image) -> list[Face]:
        return [Face(box, 0.9, typical_landmarks(box)) for box in self.boxes]


@pytest.mark.parametrize("count", [1, 7, 32, 200, 500])
def test_of_many_faces_the_largest_are_read_from_left_to_right(model_folder, count):
    finder = ManyFaces()
    faces = Predictor(model_folder, finder=finder).predict_faces(
        Image.new("RGB", (2000, 300)), max_faces=count
    )
    largest = sorted(finder.boxes, key=lambda box: -box[2])[:count]
    assert [f.box for f in faces] == sorted(largest)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_face(predictor, count):
    with pytest.raises(UsageError, match="max_faces must be 1 or more"):
        predictor.predict_faces(patches.two_faces(), max_faces=count)


@pytest.mark.shared
def test_two_hundred_real_faces(shared_data, real_yunet, model_folder):
    files = sorted((shared_data / "synthetic-faces").rglob("*.jpg"))
    files += sorted((shared_data / "synthetic-faces").rglob("*.png"))
    mosaic = Image.new("RGB", (2000, 1000))
    for number, file in zip(range(200), itertools.cycle(files), strict=False):
        with Image.open(file) as image:
            tile = image.convert("RGB").resize((100, 100) if number % 5 else (84, 84))
        mosaic.paste(tile, (number % 20 * 100, number // 20 * 100))
    finder = YuNet(real_yunet)
    found = finder.find(mosaic)
    assert len(found) >= 180
    faces = Predictor(model_folder, finder=finder).predict_faces(mosaic)
    assert len(faces) == 32
    assert [f.box[0] for f in faces] == sorted(f.box[0] for f in faces)
    smallest = min(f.box[2] * f.box[3] for f in faces)
    assert sum(f.box[2] * f.box[3] > smallest + 1e-3 for f in found) == 31
