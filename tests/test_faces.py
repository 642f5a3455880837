"""Finding faces: what YuNet's outputs mean, and what either finder finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_emotion import ModelError, UsageError, fetch
from edge_emotion.faces import (
    HOG_LANDMARKS,
    Hog,
    YuNet,
    open_finder,
    suppress_overlaps,
    typical_landmarks,
)
from tests import patches
from tests.generated import PORTRAIT, draw_portrait
from tests.golden.make_tiny_yunet import tiny_yunet as make_tiny_yunet

CELLS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


#: (stride, number of the cell) -> kind -> values
Cells = dict[tuple[int, int], dict[str, list[float]]]


class FakeSession:
    """An engine that says that nothing is there, but in the cells that a test names."""

    def __init__(self, views: tuple[Cells, ...]) -> None:
        self.views = views  # one after the other; nothing is in any further view
        self.fed: list[np.ndarray] = []

    def run(self, outputs: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        (image,) = feed.values()
        cells = self.views[len(self.fed)] if len(self.fed) < len(self.views) else {}
        self.fed.append(image)
        result = []
        for name in outputs:
            kind, stride = name.split("_")[0], int(name.split("_")[1])
            height, width = image.shape[2] // stride, image.shape[3] // stride
            values = np.zeros((1, height * width, CELLS[kind]), np.float32)
            for (own, number), cell in cells.items():
                if own == stride:
                    values[0, number] = cell.get(kind, values[0, number])
            result.append(values)
        return result


@pytest.fixture
def yunet() -> YuNet:
    return YuNet(patches.FILE)


def fake(yunet: YuNet, *views: Cells):
    session = FakeSession(views)
    yunet._session = session
    return session


#: Of stride 16: middle a quarter and a half into the cell, 2 x 3 strides; landmarks in strides.
CELL = {
    "cls": [0.81], "obj": [1.0], "bbox": [0.25, 0.5, np.log(2), np.log(3)],
    "kps": [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1],
}  # fmt: skip


def test_a_cell_is_a_box_and_landmarks(yunet):
    fake(yunet, {(16, 22): CELL})  # second row, third column of 320 / 16 = 20
    (face,) = yunet.find(Image.new("RGB", (320, 160)))
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx((2.25 * 16 - 16, 1.5 * 16 - 24, 32, 48))
    assert np.allclose(face.landmarks, [(32, 16), (48, 16), (40, 24), (32, 32), (48, 32)])


def test_what_is_found_in_a_view_is_told_in_pixels_of_the_picture(yunet):
    fake(yunet, {(16, 22): CELL})
    (face,) = yunet.find(Image.new("RGB", (1600, 800)))
    assert face.box == pytest.approx((100, 0, 160, 240))
    assert np.allclose(face.landmarks[0], (160, 80))


def test_the_network_is_fed_bgr_padded_with_black(yunet):
    session = fake(yunet)
    yunet.find(Image.new("RGB", (310, 150), (10, 20, 30)))
    image = session.fed[0]
    assert (image.shape, image.dtype) == ((1, 3, 160, 320), np.float32)
    assert [image[0, c, :150, :310].mean() for c in range(3)] == [30, 20, 10]
    assert image[0, :, 150:].max() == image[0, :, :, 310:].max() == 0


@pytest.mark.parametrize(("score", "found"), [(0.59, 0), (0.61, 1)])
def test_weak_cells_are_nothing(yunet, score, found):
    fake(yunet, {(32, 4): CELL | {"cls": [score], "obj": [score]}})
    assert len(yunet.find(Image.new("RGB", (320, 160)))) == found


def test_outputs_beyond_their_range_are_taken_as_its_ends(yunet):
    fake(yunet, {(32, 4): CELL | {"cls": [7.0], "bbox": [0, 0, 1e9, 1e9]}, (32, 5): {"obj": [-1]}})
    (face,) = yunet.find(Image.new("RGB", (320, 160)))
    assert face.score == 1
    assert np.isfinite(face.box).all()


@pytest.mark.parametrize(
    ("size", "views"),
    [
        ((1000, 500), [(320, 160), (640, 320)]),
        ((500, 1000), [(160, 320), (320, 640)]),
        ((640, 400), [(320, 224)]),  # the small view has a face
        ((641, 400), [(320, 224), (640, 416)]),  # padded
        ((320, 64), [(320, 64)]),
        ((250, 200), [(256, 224)]),  # as it is
        ((48, 24), [(192, 96)]),  # a thumbnail, enlarged
        ((1, 1), [(192, 192)]),
        ((10_000, 1), [(320, 32), (640, 32)]),
    ],
)
def test_the_small_view_and_the_large_one(yunet, size, views):
    session = fake(yunet, {(32, 0): CELL | {"bbox": [0.5, 0.5, 1, 1]}})
    assert len(yunet.find(Image.new("RGB", size))) == 1
    assert [image.shape[:1:-1] for image in session.fed] == views


def test_a_small_picture_is_looked_at_whole_where_the_small_view_has_nothing(yunet):
    session = fake(yunet, {})
    assert yunet.find(Image.new("RGB", (500, 400))) == []
    assert [image.shape[:1:-1] for image in session.fed] == [(320, 256), (512, 416)]


#: The face of CELL in cell 22 of the small view of 1000 x 500 pixels, as the large view has it: in
#: its cell 84, fourth of the third row of 40.
AGAIN = {
    "bbox": [0.5, 1.0, np.log(4), np.log(6)], "kps": [0, 0, 2, 0, 1, 1, 0, 2, 2, 2]
}  # fmt: skip


@pytest.mark.parametrize(("small", "large"), [(0.81, 0.64), (0.64, 0.81)])
def test_a_face_in_both_views_is_one_as_the_small_one_has_it(yunet, small, large):
    fake(
        yunet,
        {(16, 22): CELL | {"cls": [small]}},
        {(16, 84): CELL | AGAIN | {"cls": [large]}},
    )
    (face,) = yunet.find(Image.new("RGB", (1000, 500)))
    assert face.score == pytest.approx(small**0.5)
    assert face.box == pytest.approx((62.5, 0, 100, 150))
    assert np.allclose(face.landmarks[:2], [(100, 50), (150, 50)])


def test_faces_of_both_views_are_put_together_best_first(yunet):
    fake(
        yunet,
        {(16, 22): CELL | {"cls": [0.7]}},
        {(16, 84): CELL | AGAIN | {"cls": [0.5]}, (16, 110): CELL},
    )
    faces = yunet.find(Image.new("RGB", (1000, 500)))
    assert [round(face.score**2, 2) for face in faces] == [0.81, 0.7]
    assert faces[0].box == pytest.approx(
        ((30.25 * 16 - 16) / 0.64, (2.5 * 16 - 24) / 0.64, 32 / 0.64, 48 / 0.64)
    )


#: In a picture of 1280 x 960: a square that the view of 320 knows, and three that that of 640 does.
CLOSE, BEHIND = (32, 448, 448), ((8, 920, 120), (8, 1080, 760), (16, 816, 432))


def test_a_close_face_and_small_ones_behind_it_are_all_found(yunet):
    image = patches.scene((1280, 960), [CLOSE], scale=0.25)
    image.paste(patches.scene((640, 960), [(s, x - 640, y) for s, x, y in BEHIND], 0.5), (640, 0))

    def boxes():
        return sorted(face.box for face in yunet.find(image))

    close = [pytest.approx(patches.box_around(*CLOSE, 0.25))]
    behind = [pytest.approx(b) for b in sorted(patches.box_around(*s, 0.5) for s in BEHIND)]
    assert boxes() == close + behind
    yunet.sides = (320,)
    assert boxes() == close
    yunet.sides = (640,)
    assert boxes() == behind


@pytest.mark.parametrize(("size", "side", "found"), [
    ((320, 320), 15.9, 0), ((320, 320), 16.1, 1),
    ((1280, 640), 3.9, 0), ((1280, 640), 4.1, 1),  # of the picture, not of the view
    ((48, 48), 31, 0), ((48, 48), 33, 1),  # a sixth of a thumbnail: 8 pixels, enlarged by 4
])  # fmt: skip
def test_smaller_faces_are_dropped(yunet, size, side, found):
    box = [0, 0, np.log(side / 8), np.log(side / 8)]
    fake(yunet, {(8, 3): CELL | {"bbox": box}})
    assert len(yunet.find(Image.new("RGB", size))) == found


def test_best_score_first_and_overlaps_suppressed(yunet):
    cell = CELL | {"bbox": [0.5, 0.5, np.log(2), np.log(2)]}
    fake(yunet, {
        (32, 0): cell | {"cls": [0.5]}, (32, 1): cell | {"cls": [0.9]},  # overlap by a third
        (32, 6): cell | {"cls": [0.95]}, (16, 199): cell,
    })  # fmt: skip
    faces = yunet.find(Image.new("RGB", (320, 160)))
    assert [round(face.score**2, 2) for face in faces] == [0.95, 0.9, 0.81]


BOXES = st.tuples(*[st.integers(-20, 20)] * 2, *[st.integers(0, 20)] * 2)


@given(
    st.lists(st.tuples(BOXES, st.integers(0, 5)), max_size=12),
    st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)
def test_suppression_is_the_plain_one(items, overlap):
    def too_near(one, other):
        w = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
        h = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
        shared = max(w, 0) * max(h, 0)
        return shared > overlap * (one[2] * one[3] + other[2] * other[3] - shared)

    expected: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: -items[i][1]):
        if not any(too_near(items[i][0], items[k][0]) for k in expected):
            expected.append(i)
    boxes = np.array([box for box, _ in items], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in items], np.float32)
    assert suppress_overlaps(boxes, scores, overlap) == expected


def test_the_stub_finds_its_squares_where_they_are(yunet):
    squares = [(8, 28, 20), (16, 232, 200), (32, 112, 112)]
    faces = yunet.find(patches.scene((320, 240), squares))
    assert len(faces) == 3
    by_size = sorted(faces, key=lambda face: face.box[2])
    for face, square in zip(by_size, squares, strict=True):
        assert face.box == pytest.approx(patches.box_around(*square), abs=1e-3)
        assert np.allclose(face.landmarks, patches.landmarks_around(*square), atol=1e-3)


def test_the_committed_stub_is_what_its_script_makes():
    pytest.importorskip("onnx")
    assert make_tiny_yunet() == patches.FILE.read_bytes()


def test_typical_landmarks_are_shares_of_the_box():
    shares = ((0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0))
    assert typical_landmarks((10, 20, 4, 8), shares) == (
        (10, 20), (14, 20), (12, 24), (10, 28), (14, 28)
    )  # fmt: skip
    left, right, nose, mouth_left, mouth_right = typical_landmarks((0, 0, 1, 1))
    assert left[0] < nose[0] < right[0]
    assert left[1] < nose[1] < mouth_left[1]
    assert (left[1], mouth_left[1]) == (right[1], mouth_right[1])


def test_an_engine_that_fails_is_no_picture_without_faces(yunet, monkeypatch):
    def fail(*args):
        raise RuntimeError("no memory")

    monkeypatch.setattr(yunet, "_session", type("Session", (), {"run": fail})())
    with pytest.raises(ModelError, match="cannot be run: no memory"):
        yunet.find(Image.new("RGB", (64, 64)))


@pytest.mark.parametrize("arguments", [
    {"threads": 0}, {"threads": -1}, {"threads": 1.5}, {"threads": "2"}, {"threads": None},
    {"score": -0.1}, {"score": 1.1}, {"score": float("nan")}, {"score": "0.6"}, {"score": None},
])  # fmt: skip
def test_what_yunet_is_not_opened_with(arguments):
    (name,) = arguments
    with pytest.raises(UsageError, match="threads must be" if name == "threads" else "least score"):
        YuNet(patches.FILE, **arguments)


@pytest.mark.parametrize("score", [0, 1, np.float32(0.5)])
def test_the_least_score_may_be_any_share(score):
    assert YuNet(patches.FILE, score=score).find(Image.new("RGB", (64, 64))) == []


# The finders themselves


@pytest.fixture(params=["stub", "hog", pytest.param("yunet", marks=pytest.mark.shared)])
def finder(request):
    if request.param == "hog":
        return Hog()
    if request.param == "stub":
        return YuNet(patches.FILE)
    return YuNet(request.getfixturevalue("real_yunet"))


def noise(height, width):
    rng = np.random.default_rng([height, width])
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


SIZES = [(1, 1), (1, 10_000), (10_000, 1), (2, 3), (48, 48), (480, 640), (4000, 5000)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_no_face_in_black_or_noise_of_any_size(finder, size, request):
    stub = request.node.callspec.params["finder"] == "stub"
    assert finder.find(Image.new("RGB", size[::-1])) == []
    image = noise(*size)
    if stub:  # to which a pixel of colour is all that it looks for
        image = image.convert("L").convert("RGB")
    assert finder.find(image) == []


MODES = ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_other_modes_than_rgb_are_converted(mode):
    """A portrait by dlib, which is colour-blind, and a red square by the stub, which is not."""
    portrait = draw_portrait(240)
    if mode in ("I;16", "F"):
        grey = np.asarray(portrait.convert("L"))
        grey = grey.astype(np.uint16) * 257 if mode == "I;16" else grey.astype(np.float32)
        image = Image.fromarray(grey)
    else:
        image = portrait.convert(mode)
    assert image.mode == mode
    (face,) = Hog().find(image)
    assert np.allclose(face.box, Hog().find(portrait)[0].box, atol=12)
    stub = YuNet(patches.FILE)
    if mode in ("P", "RGBA", "CMYK", "YCbCr", "HSV"):
        (face,) = stub.find(patches.scene((320, 240), [(32, 112, 112)]).convert(mode))
        assert face.box == pytest.approx(patches.box_around(32, 112, 112), abs=0.1)
    else:
        assert stub.find(image) == []


def test_transparency_is_white_as_everywhere():
    image = patches.scene((320, 240), [(32, 112, 112)]).convert("RGBA")
    image.putalpha(0)
    assert YuNet(patches.FILE).find(image) == []


@pytest.mark.parametrize("name", ["hog", pytest.param("yunet", marks=pytest.mark.shared)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_drawn_face_is_found_where_it_is(request, name, scale):
    finder = Hog() if name == "hog" else YuNet(request.getfixturevalue("real_yunet"))
    side = round(240 * scale)
    image = Image.new("RGB", (round(640 * scale), round(480 * scale)), (120, 120, 120))
    image.paste(draw_portrait(side), (round(100 * scale), round(60 * scale)))
    (face,) = finder.find(image)
    assert 0.5 < face.score <= 1
    expected = [((100 + 240 * u) * scale, (60 + 240 * v) * scale) for u, v in PORTRAIT]
    # HOG has no landmarks: its box is a guess of them.
    allowed = 0.1 if name == "hog" else 0.04
    assert np.allclose(face.landmarks, expected, atol=allowed * side)


def test_hog_s_landmarks_are_those_of_its_box():
    (face,) = Hog().find(draw_portrait(300))
    assert face.landmarks == typical_landmarks(face.box, HOG_LANDMARKS)


def test_hog_gives_the_surest_first():
    image = Image.new("RGB", (900, 300), (120, 120, 120))
    for i, side in enumerate((300, 200, 260)):
        image.paste(draw_portrait(side), (300 * i, 0))
    scores = [face.score for face in Hog().find(image)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


# The real YuNet, on faces that nobody has


@pytest.fixture(scope="module")
def synthetic(shared_data):
    files = sorted(p for p in (shared_data / "synthetic-faces").rglob("*") if p.suffix in
                   (".jpg", ".png", ".webp"))  # fmt: skip
    assert len(files) == 73
    return [Image.open(path).convert("RGB") for path in files]


@pytest.mark.shared
def test_real_yunet_is_the_pinned_file(real_yunet):
    assert fetch.is_whole(real_yunet, fetch.YUNET)
    assert open_finder("yunet", detector=real_yunet).name == "yunet"


@pytest.mark.shared
def test_real_yunet_of_a_fixed_size_is_refused(real_yunet):
    with pytest.raises(ModelError, match="fixed at"):
        YuNet(real_yunet.with_name("face_detection_yunet_2023mar.onnx"))


@pytest.mark.shared
def test_real_yunet_finds_synthetic_faces(real_yunet, synthetic):
    finder = YuNet(real_yunet)
    found = [len(finder.find(image)) for image in synthetic]
    assert sum(n > 0 for n in found) / len(found) >= 0.95
    assert sum(n > 1 for n in found) <= 2


@pytest.mark.shared
def test_real_yunet_finds_a_close_face_and_small_ones_behind_it(real_yunet, synthetic):
    """A face 260 to 640 pixels wide, and six of 30 to 130 beside it, in 1600 x 1200."""
    finder = YuNet(real_yunet)
    found = {(320,): [0, 0], (640,): [0, 0], (320, 640): [0, 0]}
    for number, image in enumerate(synthetic[::9]):
        canvas = Image.new("RGB", (1600, 1200), (128, 128, 128))
        canvas.paste(image.resize((1000, 1000)), (0, 200))
        for i, other in enumerate(synthetic[6 * number : 6 * number + 6]):
            canvas.paste(other.resize((140, 140)), (1060 + i % 3 * 180, 200 + i // 3 * 500))
        for sides, counts in found.items():
            finder.sides = sides
            large = [face.box[2] > 200 for face in finder.find(canvas)]
            counts[0] += sum(large)
            counts[1] += len(large) - sum(large)
    close, small = found[YuNet.sides]
    assert close == 9
    assert small >= 0.9 * 54
    assert small > 1.5 * found[(320,)][1]


@pytest.mark.shared
@pytest.mark.parametrize("x", [0, 0.5, 1])
@pytest.mark.parametrize("y", [0, 0.5, 1])
def test_real_yunet_finds_a_face_at_each_edge_and_corner(real_yunet, synthetic, x, y):
    finder = YuNet(real_yunet)
    found = 0
    for image in synthetic[::7]:
        small = image.resize((240, 240))
        canvas = Image.new("RGB", (1200, 900), (128, 128, 128))
        left, top = round(x * 960), round(y * 660)
        canvas.paste(small, (left, top))
        for face in finder.find(canvas):
            middle = np.mean(face.landmarks, axis=0)
            found += bool(np.linalg.norm(middle - (left + 120, top + 130)) < 60)
    assert found >= len(synthetic[::7]) - 1


@pytest.mark.shared
def test_real_yunet_takes_a_face_cut_by_any_edge(real_yunet, synthetic):
    finder = YuNet(real_yunet)

    @given(st.integers(0, 72), st.integers(-240, 640), st.integers(-240, 480))
    def take(number, left, top):
        canvas = Image.new("RGB", (640, 480), (128, 128, 128))
        canvas.paste(synthetic[number].resize((240, 240)), (left, top))
        for face in finder.find(canvas):
            assert 0.6 < face.score <= 1
            assert np.isfinite(face.box).all()
            assert min(face.box[2:]) >= finder.smallest
            assert np.isfinite(face.landmarks).all()

    take()
