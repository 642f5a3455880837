"""What counts how much in training: rare labels in the loss, small data sets in an epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import DataError


def times_shown(datasets: Sequence[str], balance: float) -> NDArray[np.float64]:
    """How often a picture is shown in an epoch: by its data set, the largest one's pictures once.

    Sampling in proportion to a power of the size, as of languages in Arivazhagan et al.,
    "Massively multilingual neural machine translation in the wild", 2019 (arXiv 1907.05019).

    Args:
        datasets: name of each picture's data set, N.
        balance: exponent of the inverse size: 0 (each picture once) to 1 (each data set equally).

    Returns:
        float64 (N,), 1 or more; not whole numbers, see `draw`.
    """
    sizes = Counter(datasets)
    largest = max(sizes.values())
    return np.array([(largest / sizes[name]) ** balance for name in datasets])


def draw(times: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """The pictures of an epoch, in no order: as many in each.

    A picture that is shown 2.3 times is drawn twice, and in three tenths of the epochs once more.

    Args:
        times: see `times_shown`, (N,).
        random: draws what is shown once more.

    Returns:
        Indices 0..N-1.
    """
    drawn = []
    for value in np.unique(times):
        own = np.flatnonzero(times == value)
        whole, more = divmod(round(value * len(own)), len(own))
        drawn.append(np.repeat(own, whole))
        if more:
            drawn.append(random.choice(own, more, replace=False))
    return np.concatenate(drawn)


def label_weights(mass: NDArray[np.float32], balance: float) -> NDArray[np.float32]:
    """Weight of each label in the loss: inverse frequency to the power `balance`, mean 1.

    Args:
        mass: how often each label is shown, of any sum, (labels,).
        balance: 0 (none) to 1 (full).

    Raises:
        DataError: a label without a picture.
    """
    if (mass == 0).any():
        raise DataError("a label has no training picture: add pictures or leave the label out")
    weights = mass**-balance
    result: NDArray[np.float32] = (weights / (weights @ mass / mass.sum())).astype(np.float32)
    return result
