"""What counts how much in training: labels in the loss, data sets in an epoch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_emotion.errors import DataError
from edge_emotion.training.balance import draw, label_weights, times_shown

from . import tiny

NAMES = ["large"] * 18 + ["small"] * 2 + ["middle"] * 8


def test_label_weights_by_hand() -> None:
    np.testing.assert_allclose(label_weights(np.array([16.0, 4.0], np.float32), 0), [1, 1])
    # 1/4 : 1/2 with a mean of 1 over twenty pictures: 16 a + 4 * 2 a = 20
    half = label_weights(np.array([16.0, 4.0], np.float32), 0.5)
    np.testing.assert_allclose(half, [5 / 6, 5 / 3], rtol=1e-6)
    with pytest.raises(DataError, match="a label has no training picture"):
        label_weights(np.array([16.0, 0.0], np.float32), 0.5)


@pytest.mark.parametrize(
    ("balance", "small", "middle"), [(0.0, 1, 1), (0.5, 3, 1.5), (1.0, 9, 2.25)]
)
def test_small_data_sets_are_shown_more_often(balance: float, small: float, middle: float) -> None:
    times = times_shown(NAMES, balance)
    assert dict(zip(NAMES, times, strict=True)) == {"large": 1, "small": small, "middle": middle}


def test_a_broken_number_of_times_is_kept_in_the_mean_and_the_length_in_each_epoch() -> None:
    times = times_shown(NAMES, 1.0)
    random = np.random.default_rng(0)
    counts = np.stack([np.bincount(draw(times, random), minlength=28) for _ in range(400)])
    assert (counts.sum(axis=1) == 18 + 18 + 18).all()
    assert (counts[:, :18] == 1).all()
    assert (counts[:, 18:20] == 9).all()
    assert set(np.unique(counts[:, 20:])) == {2, 3}
    np.testing.assert_allclose(counts.mean(axis=0), times, atol=0.1)


def test_pictures_of_one_size_are_all_shown_once_and_nothing_is_drawn() -> None:
    """So that runs without the option stay what they were."""
    random = np.random.default_rng(0)
    assert draw(times_shown(NAMES, 0.0), random).tolist() == list(range(28))
    assert random.integers(1000) == np.random.default_rng(0).integers(1000)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow uses what NumPy deprecates
def test_training_shows_small_data_sets_more_often(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra train")
    from edge_emotion.training.config import TrainConfig
    from edge_emotion.training.fit import _Batches, fit
    from edge_emotion.training.loading import LoadedPictures

    # 16 pictures of one label in one data set, 4 of the other in another.
    label = np.array([0] * 16 + [1] * 4)
    loaded = LoadedPictures(
        pixels=np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), np.uint8),
        targets=np.eye(2, dtype=np.float32)[label],
        labels=label,
        hashes=np.arange(20, dtype=np.uint64),
        phashes=None,
        splits=[None] * 20,
        keys=[str(i) for i in range(20)],
        datasets=["many" if own == 0 else "few" for own in label],
    )
    everything = np.arange(20)
    config = TrainConfig(
        size=16, body=tiny.BODY, epochs=1, batch_size=8, balance=0.0, balance_data=0.5
    )
    times = times_shown(loaded.datasets, config.balance_data)
    batches = _Batches(config, loaded, everything, times, np.ones(2, np.float32), epoch=0)
    assert len(batches) == 3  # 16 + 2 * 4 pictures
    shown = Counter(int(row) for i in range(3) for row in batches[i][1].argmax(axis=1))
    assert shown == {0: 16, 1: 8}

    def moved(config: TrainConfig, folder: Path) -> np.ndarray:
        """What a uniform prior takes from the logits: the shares in the loss."""
        one = fit(config, loaded, everything, everything, folder, ["a", "b"])
        other = fit(
            replace(config, prior="uniform"), loaded, everything, everything, folder, ["a", "b"],
            resume=True,
        )  # fmt: skip
        bias = [model.logits_model.layers[-1].get_weights()[1] for model in (one, other)]
        return np.asarray(bias[1] - bias[0])

    for balance_data, ratio in ((0.0, 4.0), (0.5, 2.0), (1.0, 1.0)):
        own = replace(config, balance_data=balance_data)
        found = moved(own, tmp_path / str(balance_data))
        assert found[1] - found[0] == pytest.approx(np.log(ratio), abs=1e-5)
