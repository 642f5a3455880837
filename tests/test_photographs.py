"""What is said of a photograph: of each face, of the picture, and where."""

from __future__ import annotations

import itertools
import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_emotion import (
    FacePrediction,
    InputSpec,
    MissingExtraError,
    Prediction,
    Predictor,
    UsageError,
    combine,
)
from edge_emotion.card import FaceCrop
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


@pytest.mark.parametrize(("margin", "labels"), [(1.0, ["angry", "sad"]), (2.5, ["happy", "sad"])])
def test_a_face_is_cut_as_wide_as_its_card_says(tmp_path, margin, labels):
    """Green is of shade 150; with its eyes 25.6 pixels apart a margin of 1 sees nothing else.

    A margin of 2.5 is a square of 64 pixels, 48 x 48 of them green, the others white: 196.
    """
    card = tiny.make_card(input=InputSpec(8, 8, 1, face=FaceCrop(margin=margin)))
    folder = tiny.write_model_folder(tmp_path / "tiny", card=card)
    faces = Predictor(folder, finder=YuNet(patches.FILE)).predict_faces(patches.two_faces())
    assert [f.prediction.label for f in faces] == labels


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
    assert [f.box for f in faces] == [pytest.approx(b) for b in (BLUE, GREEN, (300, 0, 9, 9))]
    assert [f.prediction.label for f in faces] == ["sad", "happy", "sad"]
    assert [(f.landmarks, f.detection) for f in faces] == [(None, 1)] * 3
    assert predictor.predict_faces(patches.two_faces(), boxes=[]) == []
    with pytest.raises(MissingExtraError, match=r"fetch yunet.*edge-emotion\[faces\]"):
        predictor.predict_faces(patches.two_faces())


def test_each_of_your_own_boxes_has_its_answer_in_their_order(predictor):
    boxes = [BLUE, GREEN] * 40
    faces = predictor.predict_faces(patches.two_faces(), boxes=boxes, max_faces=1)
    assert [f.box for f in faces] == [pytest.approx(b) for b in boxes]
    assert [f.prediction.label for f in faces] == ["sad", "happy"] * 40


#: Of 320 x 240 pixels.
HALF_INSIDE = [(0, 0, 320, 240), (-50, 0, 100, 100), (0, 190, 100, 100), (318, 238, 2, 2),
               (0, 0, 320, 480), (270, 0, 100, 100)]  # fmt: skip
HARDLY_INSIDE = [(-51, 0, 100, 100), (0, 191, 100, 100), (-40, -40, 100, 100), (0, 0, 320, 481),
                 (-500, -500, 9, 9), (5000, 0, 1e6, 1e6), (0, 0, 1e-9, 1e-9), (0, 0, 1.9, 50),
                 (0, 0, 50, 1.9), (271, 0, 100, 100)]  # fmt: skip


@pytest.mark.parametrize("box", HALF_INSIDE)
def test_boxes_half_inside_the_picture_are_read(predictor, box):
    (one,) = predictor.predict_faces(patches.two_faces(), boxes=[box])
    assert one.box == pytest.approx(box)
    assert math.isfinite(one.prediction.score)


@pytest.mark.parametrize("box", HARDLY_INSIDE)
def test_boxes_that_hold_no_face_are_refused(predictor, box):
    with pytest.raises(UsageError, match=r"holds no face: under 2 pixels.* of 320 x 240") as caught:
        predictor.predict_faces(patches.two_faces(), boxes=[BLUE, box])
    assert "\n" not in str(caught.value)


def test_what_a_box_holds_is_measured_in_the_original_of_a_reduced_jpeg(predictor):
    data = pictures.encode(Image.new("RGB", (2560, 1920), "white"), "JPEG")
    (one,) = predictor.predict_faces(data, boxes=[(2510, 1850, 100, 70)])
    assert one.box == pytest.approx((2510, 1850, 100, 70))
    with pytest.raises(UsageError, match="of 2560 x 1920"):
        predictor.predict_faces(data, boxes=[(2511, 1850, 100, 70)])


@pytest.mark.parametrize(
    "box",
    [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, math.nan, 5), (0, 0, math.inf, 5), (0, 0, 5), (),
     (1e30, 0, 5, 5), (10**400, 0, 5, 5), (0, 0, 1, 2, 3), 7, None, "1234", "box",
     ("1", "2", "3", "4"), {1, 2, 3, 4},
     (1, 2, 3, None), ((1, 2), 3, 4, 5), {"x": 1, "y": 2, "w": 3, "h": 4}, np.zeros((4, 4))],
    ids=repr,
)  # fmt: skip
def test_what_is_no_box(predictor, box):
    with pytest.raises(UsageError, match=r"a box is \[x, y, width, height\]") as caught:
        predictor.predict_faces(patches.two_faces(), boxes=[BLUE, box])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("boxes", [7, 0.5, (0, 0, 50, 50), "a.png", {"a.png": [BLUE]}], ids=repr)
def test_what_are_no_boxes(predictor, boxes):
    with pytest.raises(UsageError, match=r"\[x, y, width, height\]"):
        predictor.predict_faces(patches.two_faces(), boxes=boxes)


def test_boxes_may_be_an_array(predictor):
    faces = predictor.predict_faces(patches.two_faces(), boxes=np.array([BLUE, GREEN], np.float32))
    assert [f.prediction.label for f in faces] == ["sad", "happy"]


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


@pytest.mark.parametrize("count", [2.0, "2", None, math.nan])
def test_no_whole_number_of_faces(predictor, count):
    with pytest.raises(UsageError, match="max_faces must be a whole number, not"):
        predictor.predict_photo(patches.two_faces(), max_faces=count)
    assert len(predictor.predict_faces(patches.two_faces(), max_faces=np.int64(1))) == 1


# Finders of a user's own


class Own:
    """Finds what a test says."""

    name = "own"

    def __init__(self, found) -> None:
        self.found = found

    def find(self, image):
        return self.found


POINTS = typical_landmarks(GREEN)
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("box", [
    (NAN, 0, 9, 9), (0, 0, NAN, 9), (0, 0, INF, 9), (0, 0, 0, 9), (0, 0, 9, -9), (1, 2, 3), None,
])  # fmt: skip
def test_a_finder_s_box_that_is_none(model_folder, box):
    predictor = Predictor(model_folder, finder=Own([Face(GREEN, 1, POINTS), Face(box, 1, POINTS)]))
    for read in (predictor.predict_faces, predictor.predict_photo):
        with pytest.raises(UsageError, match=r"^the finder own: a box is \(x, y, width, height\)"):
            read(patches.two_faces())


@pytest.mark.parametrize("points", [
    (), POINTS[:2], POINTS[:4], (*POINTS, (1.0, 2.0)), None, POINTS[0], "five",
    ((NAN, 1.0), *POINTS[1:]), (*POINTS[:4], (1.0, INF)), ((1e300, 0.0), *POINTS[1:]),
    (*POINTS[:4], (1.0,)), (*POINTS[:4], (1.0, "b")), [[(1.0, 2.0)] * 5] * 40,
], ids=lambda points: repr(points)[-20:])  # fmt: skip
def test_a_finder_s_landmarks_that_are_not_five_points(model_folder, points):
    predictor = Predictor(model_folder, finder=Own([Face(GREEN, 1.0, points)]))
    words = r"^the finder own: a face needs five landmarks \(x, y\).*typical_landmarks"
    with pytest.raises(UsageError, match=words) as caught:
        predictor.predict_photo(patches.two_faces())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350


@pytest.mark.parametrize("score", [NAN, INF, -0.1, 1.1, None, "high"])
def test_a_finder_s_score_that_is_no_share(model_folder, score):
    predictor = Predictor(model_folder, finder=Own([Face(GREEN, score, POINTS)]))
    with pytest.raises(UsageError, match=r"^the finder own: a score is 0 to 1, not"):
        predictor.predict_faces(patches.two_faces())


@pytest.mark.parametrize(
    "found", [None, 3, [GREEN], [None], iter([])], ids=lambda found: type(found).__name__
)
def test_a_finder_that_gives_no_faces(model_folder, found):
    predictor = Predictor(model_folder, finder=Own(found))
    with pytest.raises(UsageError, match=r"the finder own must give a list of .*faces\.Face, not"):
        predictor.predict_faces(patches.two_faces())


def test_what_a_finder_may_give(model_folder):
    """Numbers of numpy, arrays, a box over the edge, points in one place or far outside."""
    found = (
        Face(np.array(GREEN), np.float32(0.5), np.array(POINTS)),
        Face((-50, -50, 100.0, np.int64(100)), 0, [(20, 20)] * 5),
        Face(BLUE, 1, tuple((x + 9e6, y) for x, y in POINTS)),
    )
    faces = Predictor(model_folder, finder=Own(found)).predict_faces(patches.two_faces())
    assert [f.box[0] for f in faces] == [-50, GREEN[0], BLUE[0]]
    assert json.loads(json.dumps([(f.box, f.landmarks, f.detection) for f in faces]))
    for f in faces:
        assert math.isclose(sum(f.prediction.probabilities.values()), 1, abs_tol=1e-6)


def test_the_largest_face_is_so_in_small_integers_too(model_folder):
    """In 16 bits 300 x 300 is 24,464, and 200 x 200 is 40,000."""
    boxes = [np.array([0, 0, side, side], np.uint16) for side in (200, 300)]
    found = [Face(box, 1, typical_landmarks(box)) for box in boxes]
    (face,) = Predictor(model_folder, finder=Own(found)).predict_faces(
        patches.two_faces(), max_faces=1
    )
    assert face.box == (0, 0, 300, 300)


@pytest.mark.parametrize(
    "finder",
    ["yunet", b"hog", YuNet, 7, object(), patches.FILE],
    ids=lambda finder: type(finder).__name__,
)
def test_what_is_no_finder_is_said_before_a_picture_is_read(model_folder, finder):
    with pytest.raises(UsageError, match=r'such as open_finder\("yunet"\) gives, not'):
        Predictor(model_folder, finder=finder)


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
