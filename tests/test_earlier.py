"""Teachers and initial weights, with networks that a test can compute by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra train")

from edge_emotion.artefacts import TrainedOn  # noqa: E402
from edge_emotion.card import InputSpec, ModelCard  # noqa: E402
from edge_emotion.errors import CheckError, UsageError  # noqa: E402
from edge_emotion.files import sha256  # noqa: E402
from edge_emotion.training.architectures import in_precision, with_softmax  # noqa: E402
from edge_emotion.training.config import Plan, TrainConfig  # noqa: E402
from edge_emotion.training.earlier import (  # noqa: E402
    Earlier,
    EarlierModel,
    Teaching,
    mean,
    open_earlier,
)
from edge_emotion.training.fit import _Batches, build, fit, mix, predict_logits  # noqa: E402
from edge_emotion.training.loading import LoadedPictures  # noqa: E402
from edge_emotion.training.train import _divide, train_model  # noqa: E402
from edge_emotion.training.weights import take_weights  # noqa: E402
from tests import tiny  # noqa: E402

# TensorFlow uses what NumPy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LABELS = ["neutral", "happiness", "angry"]
ONES = np.ones(3, np.float32)


def brightness_net(kernel: list[float]) -> Any:
    """Logits = mean brightness / 255 times `kernel`."""
    image = keras.Input((16, 16, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(len(kernel), name="logits")(x))
    model.layers[-1].set_weights([np.array([kernel], np.float32), np.zeros(len(kernel))])
    return model


def known(train: Sequence[int], valid: Sequence[int] = ()) -> TrainedOn:
    return TrainedOn(np.array(train, np.uint64), np.array(valid, np.uint64))


NONE = known([])


def teacher(kernel: list[float], labels: list[str], temperature: float = 1.0) -> EarlierModel:
    return EarlierModel("teacher", "0" * 64, brightness_net(kernel), labels, temperature, NONE)


def softmax(x: list[float]) -> Any:
    e = np.exp(np.array(x, np.float64))
    return e / e.sum()


def test_the_loss_of_teaching_is_the_weighted_cross_entropy_with_the_mean_answer() -> None:
    # Another order, a synonym, a label more, a temperature.
    one = teacher([0.0, 2.0, 9.0, 4.0], ["angry", "happy", "bored", "neutral"], temperature=2.0)
    two = teacher([1.0, 0.0, 0.0], LABELS)
    weights = np.array([0.5, 1.0, 2.0], np.float32)
    layer = Teaching([one, two], LABELS, ONES, weights, share=0.25, mirror=False)
    view = np.stack([np.full((16, 16, 1), 255.0), np.zeros((16, 16, 1))]).astype(np.float32)
    logits = np.array([[0.3, -0.2, 1.0], [2.0, 0.0, -1.0]], np.float32)
    first, second = softmax([4 / 2, 2 / 2, 0 / 2]), softmax([1, 0, 0])  # of the bright picture
    np.testing.assert_array_equal(np.asarray(layer(logits, view)), logits)
    expected = 0.0
    # The other is black: every logit is 0.
    for answer, own in zip([(first + second) / 2, np.full(3, 1 / 3)], logits, strict=True):
        log_own = own - np.log(np.exp(own).sum())
        expected += (answer @ weights) * -(answer @ log_own) / 2
    assert float(layer.losses[0]) == pytest.approx(0.25 * expected, rel=1e-5)


def test_a_mirrored_teacher_answers_for_the_picture_and_its_mirror_image() -> None:
    image = keras.Input((2, 2, 1))  # the logits are the pixels: upper left, upper right, ...
    network = keras.Model(image, keras.layers.Flatten()(image)[:, :3])
    model = EarlierModel("teacher", "0" * 64, network, LABELS, 1.0, NONE)
    layer = Teaching([model], LABELS, ONES, ONES, share=1.0, mirror=True)
    own = np.array([[0.3, -0.2, 1.0]], np.float32)
    layer(own, np.array([[[[1.0], [2.0]], [[3.0], [4.0]]]], np.float32))
    answer = (softmax([1, 2, 3]) + softmax([2, 1, 4])) / 2
    expected = -(answer @ (own[0] - np.log(np.exp(own[0]).sum())))
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-5)


def test_a_teacher_without_a_prior_is_given_that_of_the_training_pictures() -> None:
    data = teacher([1.0, 0.0, 0.0], LABELS, temperature=2.0)
    shares = np.array([60.0, 30.0, 10.0], np.float32)
    view = np.full((1, 16, 16, 1), 255.0, np.float32)
    own = np.array([[0.3, -0.2, 1.0]], np.float32)
    log_own = own[0] - np.log(np.exp(own[0]).sum())
    for prior, answer in (
        ("data", softmax([1 / 2, 0, 0])),
        ("uniform", softmax([1 / 2 + np.log(6), np.log(3), 0])),
    ):
        model = replace(data, prior=prior)
        layer = Teaching([model], LABELS, shares, ONES, share=1.0, mirror=False)
        layer(own, view)
        assert float(layer.losses[0]) == pytest.approx(-(answer @ log_own), rel=1e-5)


def test_a_teacher_is_neither_trained_nor_saved() -> None:
    layer = Teaching([teacher([1.0, 0.0, 0.0], LABELS)], LABELS, ONES, ONES, 0.5, mirror=False)
    layer(np.zeros((1, 3), np.float32), np.zeros((1, 16, 16, 1), np.float32))
    assert layer.weights == []


def test_a_teacher_that_lacks_a_label_is_refused() -> None:
    with pytest.raises(UsageError, match="--teacher teacher: it does not know neutral, angry"):
        Teaching([teacher([1.0, 2.0], ["happy", "sad"])], LABELS, ONES, ONES, 0.5, mirror=False)


def pictures(count: int = 48) -> LoadedPictures:
    """Grey pictures whose votes say nothing at all."""
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 256, count)
    pixels = np.broadcast_to(shades[:, None, None, None], (count, 16, 16, 1)).astype(np.uint8)
    targets = np.full((count, 3), 1 / 3, np.float32)
    return LoadedPictures(
        pixels, targets, np.arange(count) % 3, np.arange(count, dtype=np.uint64), None,
        [None] * count, [str(i) for i in range(count)], ["x"] * count,
    )  # fmt: skip


CONFIG = TrainConfig(
    size=16, width=0.25, epochs=12, batch_size=16, learning_rate=0.01, dropout=0.0, balance=0.0,
    brightness=0.0, contrast=0.0, gamma=0.0, blur=0.0, noise=0.0, erase=0.0, keep="last",
)  # fmt: skip


def test_what_only_the_teacher_knows_is_learnt(tmp_path: Path) -> None:
    """Bright is happy, dark is angry: the votes do not say so."""
    loaded, half = pictures(), np.arange(0, 48, 2)
    pixels = np.zeros_like(loaded.pixels)
    pixels[np.arange(48) // 2 % 2 == 1] = 255
    votes = np.tile(np.array([0.8, 0.1, 0.1], np.float32), (48, 1))
    loaded = replace(loaded, pixels=pixels, targets=votes)
    knows = teacher([0.0, 9.0, 0.0], LABELS)
    head = knows.network.layers[-1]
    head.set_weights([head.get_weights()[0], np.array([0.0, -6.0, 2.0], np.float32)])
    config = replace(CONFIG, teacher_share=1.0, epochs=40)

    def agreement(teachers: list[EarlierModel], folder: str) -> float:
        fitted = fit(config, loaded, half, half + 1, tmp_path / folder, LABELS, teachers=teachers)
        held_out = loaded.pixels[half + 1].astype(np.float32)
        own = np.asarray(fitted.logits_model(held_out, training=False)).argmax(axis=1)
        answers = np.asarray(knows.network(held_out)).argmax(axis=1)
        assert set(answers) == {1, 2}
        return float((own == answers).mean())

    assert agreement([knows], "taught") == 1
    assert agreement([], "alone") == 0


def test_validation_loss_counts_the_teacher_as_training_does(tmp_path: Path) -> None:
    loaded, everything = pictures(16), np.arange(16)
    knows = teacher([0.0, 6.0, 3.0], LABELS)
    config = replace(CONFIG, epochs=1, teacher_share=0.25)
    fitted = fit(config, loaded, everything, everything, tmp_path, LABELS, teachers=[knows])
    pixels = loaded.pixels.astype(np.float32)
    own = np.asarray(fitted.logits_model(pixels, training=False), np.float64)
    log_own = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
    answers = np.stack([softmax(list(row)) for row in np.asarray(knows.network(pixels))])
    votes = -(loaded.targets * log_own).sum(axis=1).mean()
    taught = -(answers * log_own).sum(axis=1).mean()
    assert fitted.history[0]["val_loss"] == pytest.approx(0.75 * votes + 0.25 * taught, rel=1e-4)
    assert abs(votes - taught) > 0.01


def test_the_teacher_is_shown_the_view_before_it_is_degraded(tmp_path: Path) -> None:
    """The network sees next to nothing in the dark; what it learns there is the lit answer."""
    loaded, everything = pictures(16), np.arange(16)
    loaded = replace(loaded, pixels=np.full_like(loaded.pixels, 255))
    knows = teacher([0.0, 6.0, 3.0], LABELS)
    config = replace(CONFIG, epochs=30, dark=0.99, teacher_share=1.0, learning_rate=0.01)
    fitted = fit(config, loaded, everything, everything, tmp_path, LABELS, teachers=[knows])
    dim = np.full((1, 16, 16, 1), 25.0, np.float32)
    answer = softmax(list(np.asarray(fitted.logits_model(dim, training=False))[0]))
    # By its own teacher's eyes the dim picture would be 0.26, 0.40, 0.34.
    assert answer[1] > 0.6


def test_a_mixture_has_the_same_shares_of_pixels_and_targets() -> None:
    count = 64
    pixels = np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones(
        (2, 2, 1), np.float32
    )
    targets = np.eye(count, dtype=np.float32)
    mixed, mixed_targets = mix(pixels, targets, 1.0, np.random.default_rng(1))
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        mixed,
        (mixed_targets @ np.arange(count))[:, None, None, None] * np.ones((2, 2, 1)),
        rtol=1e-5,
    )
    own = np.diag(mixed_targets)
    assert {0.1, 0.5, 0.9} <= {round(float(share), 1) for share in own}  # of each picture another


def test_a_batch_is_one_mixture(tmp_path: Path) -> None:
    """Pixels, targets and weights in the loss: in the same shares."""
    count, bright = 8, np.arange(8, dtype=np.uint8)
    loaded = replace(
        pictures(count),
        pixels=np.broadcast_to(bright[:, None, None, None], (count, 16, 16, 1)).copy(),
        targets=np.eye(count, dtype=np.float32),
    )
    weights = np.linspace(0.5, 2, count, dtype=np.float32)
    config = replace(CONFIG, batch_size=count, mixup=1.0)
    batches = _Batches(config, loaded, np.arange(count), np.ones(count), weights, epoch=0)
    pixels, targets, in_loss = batches[0]
    assert (targets.max(axis=1) < 0.99).sum() >= 4  # some picture may be its own partner
    np.testing.assert_allclose(pixels[:, 3, 3, 0], targets @ bright, rtol=1e-5)
    np.testing.assert_allclose(in_loss, targets @ weights, rtol=1e-6)
    batches.on_epoch_end()
    assert not np.allclose(batches[0][1].max(axis=1), targets.max(axis=1))


def test_the_teacher_answers_for_the_mixture(tmp_path: Path) -> None:
    """Pictures are dark or bright; what is between, only the teacher knows, and mixtures ask."""
    loaded, everything = pictures(32), np.arange(32)
    pixels = np.zeros_like(loaded.pixels)
    pixels[::2] = 255
    loaded = replace(loaded, pixels=pixels)
    knows = teacher([-16.0, 0.0, 16.0], LABELS)
    head = knows.network.layers[-1]
    head.set_weights([head.get_weights()[0], np.array([4.0, 0.0, -12.0], np.float32)])
    grey = np.full((1, 16, 16, 1), 128.0, np.float32)
    assert softmax(list(np.asarray(knows.network(grey))[0]))[1] > 0.95

    def between(mixup: float) -> float:
        config = replace(CONFIG, epochs=60, teacher_share=1.0, mixup=mixup)
        fitted = fit(
            config, loaded, everything, everything, tmp_path / str(mixup), LABELS, teachers=[knows]
        )
        ends = np.asarray(fitted.logits_model(np.stack([pixels[0], pixels[1]]).astype(np.float32)))
        assert ends.argmax(axis=1).tolist() == [2, 0]
        answer = np.asarray(fitted.logits_model(grey, training=False))[0]
        return float(softmax(list(answer))[1])

    assert between(1.0) > 0.6
    assert between(0.0) < 0.4


def test_training_begins_with_the_initial_weights(tmp_path: Path) -> None:
    source = build(CONFIG, 3)
    source.get_layer("logits").set_weights(
        [np.full_like(source.get_layer("logits").get_weights()[0], 0.5), np.array([1.0, 2.0, 3.0])]
    )
    initial = EarlierModel("first", None, source, ["sad", "happy", "angry"], 1.0, NONE)
    network = build(CONFIG, 4)
    fresh = network.get_layer("logits").get_weights()
    take_weights(network, initial, ["Anger", "neutral", "happiness", "fear"], seed=1)
    for layer in network.layers:
        if layer.name != "logits":
            for own, given in zip(
                layer.get_weights(), source.get_layer(layer.name).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(own, given)
    kernel, bias = network.get_layer("logits").get_weights()
    np.testing.assert_array_equal(bias, [3.0, 0.0, 2.0, 0.0])
    assert (kernel[:, [0, 2]] == 0.5).all()
    np.testing.assert_array_equal(kernel[:, [1, 3]], fresh[0][:, [1, 3]])

    tiny_steps = replace(CONFIG, epochs=1, learning_rate=1e-9, weight_decay=0.0)
    loaded, half = pictures(), np.arange(0, 48, 2)
    same = replace(initial, labels=LABELS)
    fitted = fit(tiny_steps, loaded, half, half + 1, tmp_path, LABELS, initial=same)
    np.testing.assert_allclose(
        fitted.logits_model.get_layer("logits").get_weights()[1], [1.0, 2.0, 3.0], atol=1e-4
    )


def test_several_networks_begin_with_the_mean_of_their_weights() -> None:
    one, two = teacher([1.0, 0.0, 4.0], LABELS), teacher([3.0, 2.0, -2.0], LABELS)
    one, two = replace(one, seen=known([1, 2])), replace(two, name="other")
    two = replace(two, seen=replace(known([2, 3]), photographs=True))
    both = mean([one, two])
    kernel = both.network.get_layer("logits").get_weights()[0]
    np.testing.assert_allclose(kernel, [[2.0, 1.0, 1.0]])
    assert both.name == "teacher + other"
    assert str(both) == f"teacher {'0' * 64} + other {'0' * 64}"
    assert mean([two]) is two
    loaded, rows = pictures(8), np.arange(8)
    learnt = Earlier(both, []).learnt(loaded, rows[:4], rows[4:])
    assert {1, 2, 3, *loaded.hashes[:4]} == set(learnt.train)
    assert not learnt.photographs


def test_what_one_of_several_networks_has_learnt_is_not_held_out() -> None:
    loaded, rows = pictures(8), np.arange(8)
    first = replace(teacher([1.0, 0.0, 4.0], LABELS), name="known", seen=known(loaded.hashes[:2]))
    begun = mean([first, replace(teacher([1.0, 0.0, 4.0], LABELS), name="old", seen=None)])
    with pytest.raises(UsageError, match="known was trained on 2 of the pictures"):
        Earlier(begun, []).check_unseen(loaded, rows, rows[:0], rows)
    (doubt,) = Earlier(begun, []).check_unseen(loaded, rows[2:], rows[:0], rows)
    assert doubt.startswith("old does not record what it has learnt")


def test_networks_of_other_strides_are_not_averaged() -> None:
    one, two = (
        EarlierModel(body, None, build(replace(CONFIG, body=body, width=1), 3), LABELS, 1.0, NONE)
        for body in ("c8 p c8", "c8/2 p c8")
    )
    with pytest.raises(UsageError, match="cannot be averaged: one has layers"):
        mean([one, two])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"network": brightness_net([1.0, 2.0])}, "layers"),
        ({"labels": LABELS[::-1]}, "labels"),
        ({"prior": "uniform"}, "a --prior"),
    ],
)
def test_networks_that_differ_are_not_averaged(other: dict[str, Any], what: str) -> None:
    one = teacher([1.0, 0.0, 4.0], LABELS)
    with pytest.raises(UsageError, match=f"a and b cannot be averaged: one has {what}"):
        mean([replace(one, name="a"), replace(one, name="b", **other)])


@pytest.mark.parametrize("body", ["c8/2 r p c16 rr", "c16k5 d8/2 r d16", "c8/2 r p c16 f"])
@pytest.mark.parametrize("times", [1.5, 2, 3])
def test_a_wider_network_begins_with_the_answers_of_a_narrow_one(body: str, times: float) -> None:
    narrow = build(replace(CONFIG, body=body, width=1), 3)
    rng = np.random.default_rng(5)
    for layer in narrow.layers:  # BatchNorm as after a training
        layer.set_weights([w + rng.uniform(0.1, 0.5, w.shape) for w in layer.get_weights()])
    wide = build(replace(CONFIG, body=body, width=times), 3)
    initial = EarlierModel("narrow", None, narrow, ["sad", *LABELS[:2]], 1.0, NONE)
    take_weights(wide, initial, [*LABELS[:2], "sad"], seed=1)
    pixels = rng.uniform(0, 255, (4, 16, 16, 1)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(wide(pixels)), np.asarray(narrow(pixels))[:, [1, 2, 0]], rtol=1e-4, atol=1e-5
    )
    # Copies of a channel are weighed differently, or they would stay copies.
    kernel = wide.get_layer("logits").get_weights()[0]
    more = round(16 * min(times, 2))
    assert (kernel[: more - 16] != kernel[16:more]).all()


@pytest.mark.parametrize("times", [1, 2])
def test_weights_of_each_place_begin_with_the_mean_of_all(times: int) -> None:
    rng = np.random.default_rng(5)
    mean = build(replace(CONFIG, body="c8/2 r p c16", width=1), 3)
    placed = build(replace(CONFIG, body="c8/2 r p c16 f", width=times), 3)
    take_weights(placed, EarlierModel("mean", None, mean, LABELS, 1.0, NONE), LABELS, seed=1)
    pixels = rng.uniform(0, 255, (4, 16, 16, 1)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(placed(pixels)), np.asarray(mean(pixels)), rtol=1e-4, atol=1e-5
    )


def test_another_body_is_refused() -> None:
    initial = EarlierModel("first", None, build(replace(CONFIG, width=0.75), 3), LABELS, 1.0, NONE)
    with pytest.raises(UsageError, match="first: its layer stage1_in_conv is another: name the"):
        take_weights(build(replace(CONFIG, width=0.5), 3), initial, LABELS, seed=1)
    other = EarlierModel("net", None, brightness_net([1.0, 2.0, 3.0]), LABELS, 1.0, NONE)
    with pytest.raises(UsageError, match="net: its layer stage1_in_conv is another"):
        take_weights(build(CONFIG, 3), other, LABELS, seed=1)


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        ("c8k5/2 r p c16 r", "stage1_in_conv"), ("c8 r p c16 r", "stage1_in_conv"),
        ("c8/2 r c16 r", "stage1_pool"), ("c8/2 r p c16", "stage2_res_conv"),
        ("c8/2 r p c16 rr", "stage2_res_1_conv"),
    ],
)  # fmt: skip
def test_a_body_of_other_layers_is_refused(body: str, layer: str) -> None:
    """Or what the weights have learnt would be lost without a word."""
    first = build(replace(CONFIG, body="c8/2 r p c16 r", width=1), 3)
    initial = EarlierModel("first", None, first, LABELS, 1.0, NONE)
    with pytest.raises(UsageError, match=f"first: its layer {layer} is another: name the"):
        take_weights(build(replace(CONFIG, body=body, width=1), 3), initial, LABELS, seed=1)


def test_mixed_precision_changes_how_a_network_computes_and_not_what_it_is(
    tmp_path: Path,
) -> None:
    config = replace(CONFIG, epochs=2, precision="mixed_bfloat16")
    network = build(config, 3)
    mixed = in_precision(network, config.precision)
    pixels = np.random.default_rng(1).uniform(0, 255, (8, 16, 16, 1)).astype(np.float32)
    full, half = np.asarray(network(pixels)), np.asarray(mixed(pixels))
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.02 * np.abs(full).max()
    assert {layer.compute_dtype for layer in mixed.layers if "conv" in layer.name} == {"bfloat16"}
    assert {w.dtype for w in mixed.weights if "seed" not in w.path} == {"float32"}

    loaded, even = pictures(), np.arange(0, 48, 2)
    teachers = [teacher([1.0, 2.0, 3.0], LABELS)]
    fitted, again = (
        fit(config, loaded, even, even + 1, tmp_path / name, LABELS, teachers=teachers)
        for name in ("one", "other")
    )
    assert {layer.compute_dtype for layer in fitted.logits_model.layers} == {"float32"}
    for one, other in zip(
        fitted.logits_model.get_weights(), again.logits_model.get_weights(), strict=True
    ):
        assert np.array_equal(one, other)
    resumed = fit(
        replace(config, epochs=3), loaded, even, even + 1, tmp_path / "one", LABELS,
        teachers=teachers, resume=True,
    )  # fmt: skip
    assert len(resumed.history) == 3


def test_pictures_that_an_earlier_model_has_learnt_cannot_be_held_out() -> None:
    model = replace(teacher([1.0], ["happy"]), seen=known([3, 5, 8], [1, 2]))
    unrecorded = replace(model, name="other", seen=None)
    loaded = replace(pictures(6), hashes=np.array([5, 3, 1, 2, 4, 7], np.uint64))
    apart, valid, test = np.arange(6), np.arange(2, 4), np.arange(4, 6)
    for earlier in (Earlier(model, [unrecorded]), Earlier(unrecorded, [model])):
        (doubt,) = earlier.check_unseen(loaded, valid, test, apart)
        assert doubt.startswith("other does not record what it has learnt")
        for parts in ((np.arange(4), test), (valid, np.array([0, 1, 4]))):
            with pytest.raises(UsageError, match="was trained on 2 of the pictures that are"):
                earlier.check_unseen(loaded, *parts, apart)
        # What has chosen it may choose again, and does not test.
        with pytest.raises(UsageError, match="was validated on 1 of the pictures that are"):
            earlier.check_unseen(loaded, valid[:1], np.arange(3, 6), apart)
    # What is nearly the same, or of one person, is said.
    alike = np.array([0, 1, 0, 3, 1, 1])
    (doubt,) = Earlier(model, []).check_unseen(loaded, valid, test, alike)
    assert doubt.startswith("3 of 4 pictures held out here are nearly the same as some that teach")
    # Another cut of a photograph that it knows is no new picture.
    cut = replace(loaded, photographs=np.array([0, 0, 8, 0, 0, 9], np.uint64))
    with pytest.raises(UsageError, match="teacher was trained on 1 of the pictures"):
        Earlier(model, []).check_unseen(cut, valid, test, apart)
    # A model that does not record photographs cannot tell another cut of them.
    cut = replace(loaded, photographs=np.array([0, 0, 7, 0, 0, 9], np.uint64))
    (doubt,) = Earlier(model, []).check_unseen(cut, valid, test, apart)
    assert doubt.startswith("teacher does not record the photographs that its pictures were cut")
    knows = replace(model, seen=replace(model.seen, photographs=True))
    assert Earlier(knows, []).check_unseen(cut, valid, test, apart) == []


def test_a_network_has_learnt_what_its_earlier_models_have() -> None:
    model = replace(teacher([1.0], ["happy"]), seen=known([8, 3], [6, 5]))
    unrecorded = replace(model, seen=None)
    loaded = replace(pictures(6), hashes=np.array([5, 3, 5, 1, 2, 4], np.uint64))
    train, valid = np.arange(3), np.array([3, 5])

    def learnt(loaded: LoadedPictures, *models: EarlierModel | None) -> tuple[list[int], bool]:
        seen = Earlier(models[0], [m for m in models[1:] if m]).learnt(loaded, train, valid)
        # What chose an earlier model, too, but what is learnt since then.
        assert set(seen.valid) - {80} == ({1, 4, 6} if any(m is model for m in models) else {1, 4})
        return seen.train.tolist(), seen.photographs

    assert learnt(loaded, model, unrecorded) == ([5, 3, 5, 8], False)
    assert learnt(loaded, None, model, model) == ([5, 3, 5, 8], False)
    assert learnt(loaded, unrecorded) == ([5, 3, 5], False)

    # Crops tell the photograph that they were cut from.
    some = replace(loaded, photographs=np.array([0, 70, 70, 80, 0, 0], np.uint64))
    assert learnt(some, None) == ([5, 3, 5, 70], False)  # not all of them do
    cut = replace(some, photographs_known=True)
    assert learnt(cut, None) == ([5, 3, 5, 70], True)
    assert learnt(cut, model) == ([5, 3, 5, 70, 8], False)
    model = replace(model, seen=replace(model.seen, photographs=True))
    assert learnt(cut, model) == ([5, 3, 5, 70, 8], True)
    assert Earlier(None, []).learnt(cut, train, valid).valid.tolist() == [1, 4, 80]


def test_the_original_protocol_still_holds_the_publishers_test_out() -> None:
    loaded = replace(pictures(12), splits=["train"] * 8 + ["test"] * 4)
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 9])  # the first is in test too
    plan = Plan(Path("m"), Path("r"), "m", "", validate_on_train=True)
    parts, dropped, words = _divide(loaded, groups, CONFIG, plan)
    assert parts["test"].tolist() == [8, 9, 10, 11]
    assert parts["train"].tolist() == parts["valid"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert dropped == {"in train, same or nearly the same as one in test": 1}
    assert words == "validation = training pictures, as in the original project"


def test_opening_reads_what_the_model_has_seen(tmp_path: Path) -> None:
    with_softmax(brightness_net([1.0, 2.0, 3.0])).save(tmp_path / "model.keras")
    np.savez(tmp_path / "trained_on.npz", hashes=np.array([7, 8, 9], np.uint64), train=2)
    checksum = sha256(tmp_path / "model.keras")
    tiny.make_card(name="m", input=InputSpec(16, 16, 1), keras_sha256=checksum).write(tmp_path)
    model = open_earlier(str(tmp_path), (16, 16, 1))
    assert (model.labels, model.seen.train.tolist()) == (["angry", "happy", "sad"], [7, 8])
    assert model.seen.valid.tolist() == [9]
    assert model.prior == "data"
    card = ModelCard.read(tmp_path)
    config = {"prior": "uniform", "body": "c8 r"}
    replace(card, training=replace(card.training, config=config)).write(tmp_path)
    other = open_earlier(str(tmp_path), (16, 16, 1))
    assert (model.body, other.prior, other.body) == (None, "uniform", "c8 r")
    (tmp_path / "trained_on.npz").unlink()
    assert open_earlier(str(tmp_path), (16, 16, 1)).seen is None
    with pytest.raises(UsageError, match="its input is 16 x 16 x 1, that of the network to be"):
        open_earlier(str(tmp_path), (48, 48, 1))


def test_the_body_is_that_of_the_model_with_which_training_begins() -> None:
    first = replace(teacher([1.0], ["happy"]), body="c8 r")
    assert Earlier(first, []).complete(CONFIG) == replace(CONFIG, body="c8 r")
    named = replace(CONFIG, body="c8 f")
    assert Earlier(first, []).complete(named) == named
    assert Earlier(replace(first, body=None), [first]).complete(CONFIG) == CONFIG
    assert Earlier(None, [first]).complete(CONFIG) == CONFIG


def test_a_division_is_taken_over_from_a_model_folder(tmp_path: Path) -> None:
    loaded = replace(pictures(12), splits=[None] * 12, hashes=np.arange(12, dtype=np.uint64))
    model = tmp_path / "m"
    model.mkdir()
    plan = Plan(Path("o"), Path("r"), "m", "", split_as=str(model))
    tiny.make_card(name="m").write(model)
    with pytest.raises(UsageError, match="does not record its pictures: leave --split-as out"):
        _divide(loaded, np.arange(12), CONFIG, plan)
    hashes = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8], np.uint64)
    np.savez(model / "trained_on.npz", hashes=hashes, train=6)
    parts, _, words = _divide(loaded, np.arange(12), CONFIG, plan)
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [0, 1, 2, 3, 4, 5], "valid": [6, 7, 8], "test": [9, 10, 11],
    }  # fmt: skip
    assert words == "test: what m has not seen; valid: that of m"


@pytest.mark.parametrize("other", [{"folds": 3}, {"validate_on_train": True}])
def test_a_division_that_is_taken_over_excludes_other_protocols(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    plan = Plan(tmp_path / "m", tmp_path / "r", "m", "", split_as="edge-cnn", **other)
    with pytest.raises(UsageError, match="--split-as goes without --folds"):
        train_model([tmp_path], CONFIG, plan)


@pytest.mark.parametrize("other", [{"folds": 3}, {"validate_on_train": True}])
def test_a_refit_excludes_protocols_without_a_validation_part(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    plan = Plan(tmp_path / "m", tmp_path / "r", "m", "", **other)
    with pytest.raises(UsageError, match="--refit goes without --folds"):
        train_model([tmp_path], replace(CONFIG, refit=0.5), plan)


def test_the_card_names_earlier_models_by_checksum_not_by_path() -> None:
    model = teacher([1.0], ["happy"])
    assert Earlier(model, [model]).record() == {
        "initial": "teacher " + "0" * 64, "teachers": ["teacher " + "0" * 64],
    }  # fmt: skip
    assert Earlier(None, []).record() == {"initial": None, "teachers": None}


def test_a_network_that_diverged_gives_no_figures() -> None:
    pixels = pictures(4).pixels
    assert predict_logits(brightness_net([1.0, 2.0, 3.0]), pixels).shape == (4, 3)
    with pytest.raises(CheckError, match="the training diverged"):
        predict_logits(brightness_net([1.0, float("nan"), 3.0]), pixels)


def taken_by_a_uniform_prior(targets: Any, balance: float, folder: Path) -> Any:
    """What `--prior uniform` adds to the logits of one training, (labels,)."""
    loaded, everything = replace(pictures(), targets=targets), np.arange(48)
    config = replace(CONFIG, epochs=1, balance=balance)
    asked = fit(config, loaded, everything, everything, folder, LABELS)
    uniform = fit(
        replace(config, prior="uniform"), loaded, everything, everything, folder, LABELS,
        resume=True,
    )  # fmt: skip
    assert asked.history == uniform.history
    pixels = loaded.pixels.astype(np.float32)
    moved = np.asarray(uniform.logits_model(pixels)) - np.asarray(asked.logits_model(pixels))
    np.testing.assert_allclose(moved, np.tile(moved[0], (48, 1)), atol=1e-4)
    return moved[0]


def test_a_uniform_prior_takes_the_labels_shares_from_the_logits(tmp_path: Path) -> None:
    targets = np.eye(3, dtype=np.float32)[np.array([0] * 32 + [1] * 12 + [2] * 4)]
    # Half balanced: what is left of 32 : 12 : 4 is its square root.
    expected = -np.log(np.sqrt([32, 12, 4]))
    moved = taken_by_a_uniform_prior(targets, 0.5, tmp_path)
    np.testing.assert_allclose(moved, expected - expected.mean(), atol=1e-4)


def test_a_uniform_prior_is_of_what_a_picture_weighs(tmp_path: Path) -> None:
    """A vote for a rare label on a picture of a common one weighs as that picture does."""
    votes = np.array([[1, 0, 0]] * 36 + [[0, 1, 0]] * 6 + [[0.5, 0, 0.5]] * 6, np.float32)
    w = 1 / np.array([39, 6, 3])  # fully balanced
    split = (w[0] + w[2]) / 2  # weight of a picture with split votes
    shares = np.log([36 * w[0] + 6 * split * 0.5, 6 * w[1], 6 * split * 0.5])
    moved = taken_by_a_uniform_prior(votes, 1.0, tmp_path)
    np.testing.assert_allclose(moved, shares.mean() - shares, atol=1e-4)


def test_a_uniform_teacher_is_given_what_a_uniform_prior_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    class Recorded(Teaching):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            given.append(self.log_prior)

    monkeypatch.setattr("edge_emotion.training.fit.Teaching", Recorded)
    targets = np.eye(3, dtype=np.float32)[np.array([0] * 32 + [1] * 12 + [2] * 4)]
    loaded, everything = replace(pictures(), targets=targets), np.arange(48)
    config = replace(CONFIG, epochs=1, balance=0.5)
    uniform = replace(teacher([1.0, 0.0, 0.0], LABELS), prior="uniform")
    fit(config, loaded, everything, everything, tmp_path, LABELS, teachers=[uniform])
    shares = np.sqrt([32, 12, 4])
    np.testing.assert_allclose(given[0], np.log(shares / shares.sum()), atol=1e-5)
