"""Teachers that are asked once, about a few views of each picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra train")

from edge_emotion.training.answers import ANSWERS_NAME, Answers, ask  # noqa: E402
from edge_emotion.training.augment import RandomView  # noqa: E402
from edge_emotion.training.earlier import EarlierModel, Teaching  # noqa: E402
from edge_emotion.training.fit import _Batches, fit  # noqa: E402
from edge_emotion.training.loading import LoadedPictures  # noqa: E402
from tests.test_earlier import CONFIG, LABELS, NONE, ONES, pictures, teacher  # noqa: E402

# TensorFlow uses what NumPy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STILL = replace(CONFIG, flip=False, rotation=0.0, zoom=0.0, shear=0.0, shift=0.0)


def patterned(count: int = 20) -> LoadedPictures:
    """Each with surroundings of 4 pixels, and other wherever it is looked at."""
    source = np.random.default_rng(5).integers(0, 256, (count, 24, 24, 1)).astype(np.uint8)
    return replace(pictures(count), pixels=source[:, 4:-4, 4:-4], surroundings=source)


def where_it_is_bright() -> EarlierModel:
    """A teacher whose answer depends on the view: three pixels of it, none in the middle column."""
    image = keras.Input((16, 16, 1))
    places = [image[:, y, x] / 64 for y, x in ((3, 2), (12, 5), (7, 13))]
    return EarlierModel(
        "places", "1" * 64, keras.Model(image, keras.layers.concatenate(places)), LABELS, 1.0, NONE
    )


def asked(
    config: Any, loaded: LoadedPictures, folder: Path, one: EarlierModel, titles: list[str]
) -> Answers:
    train, valid = np.arange(4, len(loaded)), np.arange(4)
    teaching = Teaching([one], LABELS, ONES, ONES, 1.0, mirror=config.flip)

    def progress(title: str) -> Any:
        titles.append(title)
        return lambda items: items

    return ask(teaching, config, loaded, train, valid, folder, progress)


def test_a_teacher_asked_once_teaches_what_it_does_when_asked_in_each_step(tmp_path: Path) -> None:
    loaded, everything = patterned(), np.arange(20)
    config = replace(STILL, epochs=2, teacher_share=0.5)
    live, once, other = (
        fit(
            replace(config, teacher_views=views), loaded, everything, everything[:7],
            tmp_path / name, LABELS, teachers=[knows],
        ).history
        for views, name, knows in (
            (0, "live", where_it_is_bright()), (3, "once", where_it_is_bright()),
            (3, "other", teacher([1.0, 2.0, 3.0], LABELS)),
        )
    )  # fmt: skip
    for name in ("loss", "val_loss"):
        values = [[epoch[name] for epoch in history] for history in (live, once, other)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-4)
        assert np.abs(np.subtract(values[2], values[0])).max() > 0.002


@pytest.mark.parametrize("flip", [True, False])
def test_answers_are_to_the_views_that_are_shown(tmp_path: Path, flip: bool) -> None:
    loaded, knows = patterned(), where_it_is_bright()
    config = replace(
        CONFIG, flip=flip, rotation=25.0, zoom=0.3, shear=0.2, shift=0.2, teacher_views=3,
        framing=0.4, batch_size=8,
    )  # fmt: skip
    answers = asked(config, loaded, tmp_path, knows, [])
    train = np.arange(4, 20)
    batches = _Batches(config, loaded, train, np.ones(16), ONES, 0, answers)
    teaching = Teaching([knows], LABELS, ONES, ONES, 1.0, mirror=flip)
    look = RandomView(config, 16, 16)
    shown, upright = [], []
    for _ in range(2):
        for (images, drawn, stored), _, _ in (batches[i] for i in range(len(batches))):
            _, view = look(images, drawn, training=True)
            np.testing.assert_allclose(np.asarray(teaching.answers(view)), stored, atol=2e-4)
            shown.append(stored)
            upright.append(np.asarray(teaching.answers(look(images)[1])))
        batches.on_epoch_end()
    # The views are other than the picture, and other in the second epoch.
    assert np.abs(np.concatenate(shown) - np.concatenate(upright)).max(axis=1).min() > 0.001
    assert len(np.unique(np.round(np.concatenate(shown), 4), axis=0)) > 20
    valid = np.asarray(teaching.answers(loaded.pixels[:4].astype(np.float32)))
    np.testing.assert_allclose(answers.valid, valid, atol=1e-5)


def test_what_teachers_said_before_an_interruption_is_not_asked_again(tmp_path: Path) -> None:
    loaded, config = patterned(), replace(STILL, rotation=20.0, teacher_views=3)
    whole = asked(config, loaded, tmp_path / "whole", where_it_is_bright(), [])
    titles: list[str] = []

    class Stop(list):  # type: ignore[type-arg]
        def append(self, title: str) -> None:
            super().append(title)
            if "view 3" in title:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(config, loaded, tmp_path, where_it_is_bright(), Stop())
    again = asked(config, loaded, tmp_path, where_it_is_bright(), titles)
    assert titles == ["asking the teachers, view 3 of 3"]
    for name in ("drawn", "train", "valid"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    titles.clear()
    asked(
        replace(config, teacher_views=4, dark=0.5), loaded, tmp_path, where_it_is_bright(), titles
    )
    assert titles == ["asking the teachers, view 4 of 4"]
    assert len(asked(config, loaded, tmp_path, where_it_is_bright(), titles).train) == 3


def test_answers_to_something_else_are_asked_anew(tmp_path: Path) -> None:
    loaded, config, knows = patterned(), replace(STILL, teacher_views=1), where_it_is_bright()
    asked(config, loaded, tmp_path, knows, [])
    other = replace(loaded, hashes=loaded.hashes + np.uint64(1))
    turned = replace(knows, labels=LABELS[::-1])
    for given in (
        (replace(config, seed=2), loaded, knows),
        (replace(config, zoom=0.1), loaded, knows),
        (replace(config, resize="lanczos"), loaded, knows),
        (config, other, knows),
        (config, loaded, turned),
        (config, loaded, teacher([1.0, 2.0, 3.0], LABELS)),
    ):
        titles: list[str] = []
        asked(given[0], given[1], tmp_path, given[2], titles)
        assert len(titles) == 2
    asked(config, loaded, tmp_path, knows, [])
    with np.load(tmp_path / ANSWERS_NAME) as file:
        key, *said = [file[name] for name in file.files]
    short, nan = said[1][:-1], np.full_like(said[1], np.nan)
    for spoilt in (short, nan, said[1][:, :-1], said[1].astype("U8"), said[1].astype(np.float64)):
        np.savez(tmp_path / ANSWERS_NAME, key, said[0], spoilt)
        titles.clear()
        asked(config, loaded, tmp_path, knows, titles)
        assert len(titles) == 2
    (tmp_path / ANSWERS_NAME).write_bytes(b"PK\x03\x04 cut off")
    titles.clear()
    asked(config, loaded, tmp_path, knows, titles)
    assert len(titles) == 2


def test_checkpoints_hold_no_teacher(tmp_path: Path) -> None:
    loaded, everything = patterned(), np.arange(20)
    config = replace(CONFIG, epochs=1)
    sizes = []
    for name, knows in (("alone", []), ("taught", [where_it_is_bright()])):
        settings = replace(config, teacher_views=2 if knows else 0)
        fit(settings, loaded, everything, everything, tmp_path / name, LABELS, teachers=knows)
        with np.load(tmp_path / name / "epoch-1.npz") as file:
            sizes.append([file[key].shape for key in file.files])
    assert sizes[0] == sizes[1]
