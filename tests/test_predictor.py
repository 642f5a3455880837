"""From a picture to a label."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import edge_emotion.artefacts
from edge_emotion import (
    MissingExtraError,
    ModelError,
    PictureError,
    Prediction,
    Predictor,
    UnknownNameError,
    UsageError,
)
from edge_emotion.card import Confidence, InputSpec
from tests import pictures, tiny


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(tiny.write_model_folder(tmp_path_factory.mktemp("models") / "tiny"))


def predictor_with(tmp_path, **changes) -> Predictor:
    return Predictor(tiny.write_model_folder(tmp_path / "own", card=tiny.make_card(**changes)))


@pytest.mark.parametrize(("value", "label"), tiny.SHADES.items())
def test_label_and_probabilities_are_those_of_the_network(predictor, value, label):
    prediction = predictor.predict(tiny.shade(value))
    logits = tiny.expected_logits(tiny.shade(value)[None, :, :, None])[0]
    exponent = np.exp(logits / 2.0)  # the card's temperature
    expected = exponent / exponent.sum()
    assert prediction.label == label
    assert list(prediction.probabilities) == tiny.LABELS
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected, atol=1e-5)
    assert prediction.score == prediction.probabilities[label]


def test_prediction_is_plain_python_that_json_takes(predictor):
    prediction = predictor.predict(tiny.shade(128))
    assert json.loads(json.dumps(vars(prediction))) == vars(prediction)
    assert [type(v) for v in vars(prediction).values()] == [str, float, dict, bool]
    assert {type(p) for p in prediction.probabilities.values()} == {float}


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20))
def test_probabilities_sum_to_one_and_the_label_has_the_largest(predictor, values):
    for prediction in predictor.predict_many(map(tiny.shade, values)):
        assert math.isclose(sum(prediction.probabilities.values()), 1)
        assert prediction.label == max(
            prediction.probabilities, key=prediction.probabilities.__getitem__
        )


def test_every_kind_of_picture_is_taken(predictor, tmp_path):
    image = Image.fromarray(np.dstack([tiny.shade(250)] * 3))
    path = tmp_path / "face.png"
    image.save(path)
    kinds = [path, str(path), path.read_bytes(), image, np.asarray(image), tiny.shade(250)]
    assert [p.label for p in predictor.predict_many(kinds)] == ["happy"] * 6


@pytest.mark.parametrize(("threshold", "uncertain"), [(0.0, False), (0.7, False), (0.9, True)])
def test_a_score_under_the_card_s_threshold_is_uncertain(tmp_path, threshold, uncertain):
    predictor = predictor_with(tmp_path, confidence=Confidence(threshold=threshold))
    prediction = predictor.predict(tiny.shade(100))  # angry 1.5, sad 0, happy -5.5
    assert 0.8 < prediction.score < 0.85
    assert prediction.uncertain is uncertain


def test_a_score_at_the_threshold_is_certain(tmp_path, predictor):
    score = predictor.predict(tiny.shade(100)).score
    own = predictor_with(tmp_path, confidence=Confidence(temperature=2.0, threshold=score))
    assert not own.predict(tiny.shade(100)).uncertain


def test_not_a_number_is_uncertain(predictor, monkeypatch):
    nothing = np.full((1, 3), np.nan, np.float32)
    monkeypatch.setattr(predictor._runtime, "logits", lambda batch: nothing)
    assert predictor.predict(tiny.shade(1)).uncertain


def test_many_are_in_order_and_as_each_alone(predictor):
    values = list(range(0, 256, 7))
    alone = [predictor.predict(tiny.shade(v)) for v in values]
    for batch_size in (1, 2, 16, 1000):
        many = list(predictor.predict_many(map(tiny.shade, values), batch_size=batch_size))
        assert [p.label for p in many] == [p.label for p in alone]
        np.testing.assert_allclose([p.score for p in many], [p.score for p in alone], rtol=1e-6)


def test_many_reads_no_further_than_one_batch_ahead(predictor):
    read = []

    def camera():
        for i in range(1_000_000):
            read.append(i)
            yield tiny.shade(i % 256)

    stream = predictor.predict_many(camera(), batch_size=4)
    assert read == [], "nothing before the first is asked for"
    for taken in range(1, 11):
        next(stream)
        assert taken <= len(read) <= taken + 3


def test_many_keeps_no_picture_that_it_has_answered(predictor):
    alive = set()

    class Frame(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    most = 0

    def camera():
        nonlocal most
        for _ in range(100):
            frame = np.full((8, 8), 7, np.uint8).view(Frame)
            alive.add(id(frame))
            most = max(most, len(alive))
            yield frame
            del frame

    assert sum(1 for _ in predictor.predict_many(camera(), batch_size=5)) == 100
    assert 5 <= most <= 11  # the batch that runs, and the one that is read


def test_nothing_in_nothing_out(predictor):
    assert list(predictor.predict_many([])) == []


BAD = [tiny.shade(20), b"no picture", tiny.shade(250), "missing.png", tiny.shade(128)]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16])
def test_bad_pictures_are_returned_in_their_place(predictor, batch_size):
    results = list(predictor.predict_many(BAD, batch_size=batch_size, on_error="return"))
    found = [r.label if isinstance(r, Prediction) else type(r) for r in results]
    assert found == ["sad", PictureError, "happy", PictureError, "angry"]
    assert "missing.png" in str(results[3])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16])
def test_first_bad_picture_ends_the_stream_after_those_before_it(predictor, batch_size):
    stream = predictor.predict_many([*BAD[::2], "missing.png", b"", BAD[0]], batch_size=batch_size)
    assert [next(stream).label for _ in range(3)] == ["sad", "happy", "angry"]
    with pytest.raises(PictureError, match=r"missing\.png"):
        next(stream)
    assert list(stream) == []


def test_all_bad(predictor):
    results = list(predictor.predict_many([b"", b"x"], on_error="return"))
    assert [type(r) for r in results] == [PictureError, PictureError]


def test_what_is_no_iterable_is_explained(predictor):
    with pytest.raises(UsageError, match="takes an iterable of pictures, not None"):
        predictor.predict_many(None)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "2", None, 10**30])
def test_batch_size_is_checked_at_once(predictor, batch_size):
    with pytest.raises(UsageError, match=f"batch_size must be 1 to 1000000, not {batch_size!r}$"):
        predictor.predict_many([tiny.shade(1)], batch_size=batch_size)
    assert len(list(predictor.predict_many([tiny.shade(1)] * 3, batch_size=np.int64(2)))) == 3


def test_mistyped_on_error_is_not_taken_for_another(predictor):
    with pytest.raises(UnknownNameError, match="did you mean 'return'"):
        predictor.predict_many([], on_error="retrun")


@pytest.mark.parametrize(
    "one",
    [
        "face.jpg",
        b"\x89PNG",
        Image.new("RGB", (4, 4)),
        *(np.zeros(shape, np.uint8) for shape in [(48, 48), (48, 48, 1), (48, 48, 3), (48, 48, 4)]),
    ],
    ids=lambda one: f"{type(one).__name__}{getattr(one, 'shape', '')}",
)
def test_one_picture_given_as_many_is_explained(predictor, one):
    with pytest.raises(UsageError, match="use predict for one"):
        predictor.predict_many(one)


def test_an_array_of_several_pictures_is_read_one_by_one(predictor):
    several = np.stack([tiny.shade(value) for value in tiny.SHADES])
    for array in (several, np.stack([several] * 3, axis=-1)):  # grey, and RGB
        assert [p.label for p in predictor.predict_many(array)] == list(tiny.SHADES.values())


def test_mirror_is_the_mean_of_a_picture_s_and_its_mirror_image_s_answer(tmp_path, monkeypatch):
    predictor = predictor_with(tmp_path)
    mirrored = Predictor(predictor.path.parent, mirror=True)

    def logits(batch):  # bright at the left is angry, at the right sad
        left, right = (batch[:, :, half].mean(axis=(1, 2, 3)) for half in (slice(4), slice(4, 8)))
        return np.stack([left / 64, np.full(len(batch), 1.0), right / 32], axis=1)

    for own in (predictor, mirrored):
        monkeypatch.setattr(own._runtime, "logits", logits)
    picture = np.hstack([np.full((8, 4), 200, np.uint8), np.full((8, 4), 40, np.uint8)])
    one, other = predictor.predict(picture), predictor.predict(picture[:, ::-1])
    assert (one.label, other.label) == ("angry", "sad")
    expected = {k: (one.probabilities[k] + other.probabilities[k]) / 2 for k in tiny.LABELS}
    for way in (picture, picture[:, ::-1]):
        both = mirrored.predict(way)
        assert both.probabilities == pytest.approx(expected)
        assert (both.label, both.score) == ("sad", both.probabilities["sad"])


def test_bad_picture_alone(predictor):
    with pytest.raises(PictureError, match=r"missing\.jpg: No such file"):
        predictor.predict("missing.jpg")


def test_tensors_of_another_shape(predictor):
    with pytest.raises(UsageError, match=r"\(N, 8, 8, 1\)"):
        predictor.predict_tensors(np.zeros((1, 9, 9, 1), np.uint8))
    with pytest.raises(UsageError, match=r"a batch is uint8 of shape \(N, 8, 8, 1\), not list$"):
        predictor.predict_tensors([1])


def test_card_and_labels_are_there_to_read(predictor):
    assert predictor.labels == predictor.card.labels == tiny.LABELS
    predictor.labels.append("x")
    assert predictor.labels == tiny.LABELS
    assert predictor.recipe == "onnx-int8"
    assert predictor.path.name == "model-int8.onnx"


def test_two_streams_of_one_predictor_do_not_mix(predictor):
    one = predictor.predict_many(map(tiny.shade, [20] * 9), batch_size=2)
    other = predictor.predict_many(map(tiny.shade, [250] * 9), batch_size=3)
    assert {(a.label, b.label) for a, b in zip(one, other, strict=True)} == {("sad", "happy")}


@pytest.mark.parametrize(
    "changes",
    [{"labels": ["angry", "happy"]}, {"input": InputSpec(16, 8, 1)}],
)
def test_card_that_does_not_fit_its_network(tmp_path, changes):
    with pytest.raises(ModelError, match="but its card says"):
        predictor_with(tmp_path, **changes)


def test_names_that_do_not_exist(model_folder, monkeypatch):
    shipped = {"edge-cnn": model_folder, "baseline-cnn": model_folder}
    monkeypatch.setattr(edge_emotion.artefacts, "shipped_models", lambda: shipped)
    with pytest.raises(UnknownNameError, match="did you mean 'edge-cnn'"):
        Predictor("edge_cnn")
    with pytest.raises(UnknownNameError, match="did you mean 'onnx'"):
        Predictor(model_folder, runtime="onx")
    assert Predictor("baseline-cnn").predict(tiny.shade(250)).label == "happy"
    assert Predictor().labels == tiny.LABELS


def test_runtime_of_another_engine_than_the_file(model_folder):
    with pytest.raises(UsageError, match="is run by onnx, not by litert"):
        Predictor(model_folder / "model-int8.onnx", runtime="litert")


def test_threads(model_folder):
    assert Predictor(model_folder, threads=2).predict(tiny.shade(20)).label == "sad"
    assert Predictor(model_folder, threads=np.int64(2)).predict(tiny.shade(20)).label == "sad"
    for threads in (0, 1.5, "2"):
        with pytest.raises(UsageError, match=f"threads must be 1 to 256, not {threads!r}$"):
            Predictor(model_folder, threads=threads)


def test_engine_that_is_not_installed(tmp_path, monkeypatch):
    folder = tiny.write_model_folder(tmp_path / "tiny", ("tflite-int8",))
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edge-emotion\[litert\]'"):
        Predictor(folder, runtime="litert")


def test_tflite_agrees_with_onnx(tmp_path, predictor):
    pytest.importorskip("ai_edge_litert")
    folder = tiny.write_model_folder(tmp_path / "tiny", ("tflite-int8",))
    litert = Predictor(folder, runtime="litert")
    values = [20, 60, 110, 150, 190, 250]
    pairs = zip(
        litert.predict_many(map(tiny.shade, values), batch_size=4),
        predictor.predict_many(map(tiny.shade, values)), strict=True,
    )  # fmt: skip
    for one, other in pairs:
        assert one.label == other.label
        assert one.score == pytest.approx(other.score, abs=0.03)


def test_a_large_photograph_is_read_whole(predictor):
    data = pictures.encode(Image.new("RGB", (3000, 2000), (250, 250, 250)), "JPEG")
    assert predictor.predict(data).label == "happy"
