"""Figures from logits: accuracy and its kin, calibration, one model beside another.

`fit_confidence` and tests need scipy, `evaluate` scikit-learn as well (extras ``export``, ``train``
and ``bench`` bring both); the rest, also `compare` without labels, needs numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import (
    Agreement,
    ClassMetrics,
    Confidence,
    Evaluation,
    Interval,
    Protocol,
)
from edge_emotion.errors import DataError, MissingExtraError

Logits = NDArray[np.float32]  # (N, labels)
Labels = NDArray[np.int64]  # (N,)

#: Standard normal quantile of 95 % intervals.
Z = NormalDist().inv_cdf(0.975)
ECE_BINS = 15
#: Share of the pictures whose accuracy says what abstaining from the rest would give.
MOST_CERTAIN = 0.9
#: Standard deviation of the prior of a temperature's logarithm: within a factor of 2, mostly.
LOG_TEMPERATURE_SPREAD = math.log(2)


def softmax(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of shape (N, labels): softmax(logits / temperature) in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponent = np.exp(scaled)
    result: NDArray[np.float64] = exponent / exponent.sum(axis=-1, keepdims=True)
    return result


def wilson(successes: int, samples: int) -> Interval:
    """95 % interval of a share (Wilson 1927), (0, 1) for no samples."""
    if samples == 0:
        return 0.0, 1.0
    share, extra = successes / samples, Z**2 / samples
    half = math.sqrt(extra * share * (1 - share) + extra**2 / 4)
    low, high = ((share + extra / 2 + side * half) / (1 + extra) for side in (-1, 1))
    return (low if successes else 0.0), (high if successes < samples else 1.0)


def balanced_interval(evaluation: Evaluation) -> Interval:
    """95 % interval of the balanced accuracy.

    From Wilson's interval of each recall, put together as for any mean of independent shares: Zou,
    Huang & Zhang, "A note on confidence interval estimation for a linear function of binomial
    proportions", Computational Statistics & Data Analysis 2009.
    """
    below = above = 0.0
    present = [(row[i], sum(row)) for i, row in enumerate(evaluation.confusion) if sum(row)]
    for correct, samples in present:
        low, high = wilson(correct, samples)
        below += (correct / samples - low) ** 2
        above += (high - correct / samples) ** 2
    mean, labels = evaluation.balanced_accuracy, len(present)
    return mean - math.sqrt(below) / labels, mean + math.sqrt(above) / labels


def may_be_guessing(evaluation: Evaluation) -> bool:
    """Whether the balanced accuracy may be that of one label for all pictures, or of chance.

    The 95 % interval reaches down to one part in as many as there are labels among the pictures.
    """
    present = sum(any(row) for row in evaluation.confusion)
    return present > 1 and balanced_interval(evaluation)[0] <= 1 / present


def evaluate(
    logits: Logits,
    labels: Labels,
    names: Sequence[str],
    *,
    data: str,
    protocol: Protocol,
    temperature: float = 1.0,
    mirrored: Logits | None = None,
) -> Evaluation:
    """Score one model on labelled pictures.

    Args:
        logits: (N, labels).
        labels: (N,), the true index of each.
        names: of the labels, in the order of the logits.
        data: what to call the pictures.
        protocol: whether the model was trained on them.
        temperature: for the expected calibration error, and to tell which answers are certain.
        mirrored: logits of the mirror images, (N, labels), if they were read too.

    Raises:
        DataError: there are no pictures.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("measuring accuracy", "bench") from error
    if not len(labels):
        raise DataError(f"{data}: no pictures to measure on")
    predicted = logits.argmax(axis=1)
    indices = list(range(len(names)))
    confusion = metrics.confusion_matrix(labels, predicted, labels=indices)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=0.0
    )
    correct = int((predicted == labels).sum())
    present = support > 0
    probabilities = softmax(logits, temperature)
    most_certain = np.argsort(-probabilities.max(axis=1), kind="stable")
    most_certain = most_certain[: math.ceil(MOST_CERTAIN * len(labels))]
    accuracy_mirrored = None
    if mirrored is not None:
        both = probabilities + softmax(mirrored, temperature)
        accuracy_mirrored = float((both.argmax(axis=1) == labels).mean())
    return Evaluation(
        data=data,
        protocol=protocol,
        samples=len(labels),
        accuracy=correct / len(labels),
        accuracy_interval=wilson(correct, len(labels)),
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        ece=expected_calibration_error(probabilities, labels),
        per_label={
            name: ClassMetrics(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(names)
        },
        confusion=confusion.tolist(),
        accuracy_most_certain=float((predicted == labels)[most_certain].mean()),
        accuracy_mirrored=accuracy_mirrored,
    )


def reliability(
    probabilities: NDArray[np.float64], labels: Labels, bins: int = ECE_BINS
) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, pictures) of each equal-width bin that is not empty."""
    top = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    which = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    return [
        (float(top[which == b].mean()), float(correct[which == b].mean()), int((which == b).sum()))
        for b in range(bins)
        if (which == b).any()
    ]


def expected_calibration_error(
    probabilities: NDArray[np.float64], labels: Labels, bins: int = ECE_BINS
) -> float:
    """ECE, 0..1: |accuracy - confidence| averaged over pictures (Guo et al., ICML 2017)."""
    rows = reliability(probabilities, labels, bins)
    return sum(abs(acc - conf) * count for conf, acc, count in rows) / len(labels)


def fit_confidence(logits: Logits, labels: Labels, coverage: float, fitted_on: str) -> Confidence:
    """Fit temperature and threshold on validation pictures.

    The temperature minimises the negative log likelihood (Guo et al., ICML 2017), with a weak prior
    for 1: a dozen pictures that are all read rightly would have it at 0, and every answer certain.
    The threshold is the highest top probability of a picture that at least the share `coverage`
    reaches.

    Args:
        logits: (N, labels).
        labels: (N,).
        coverage: share of pictures that shall not be "uncertain", 0 < coverage <= 1.
        fitted_on: what to call the pictures; never a test split.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, math.exp(log_temperature))
        likelihood = np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).sum()
        return float((log_temperature / LOG_TEMPERATURE_SPREAD) ** 2 / 2 - likelihood)

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    temperature = math.exp(float(found.x))
    top = softmax(logits, temperature).max(axis=1)
    certain = math.ceil(coverage * len(top) - 1e-9)  # 0.9 * 10 may be a little more than 9
    threshold = float(np.sort(top)[len(top) - certain])
    return Confidence(
        temperature=temperature,
        threshold=threshold,
        coverage=float((top >= threshold).mean()),
        fitted_on=fitted_on,
        samples=len(labels),
    )


def compare(
    reference: Logits,
    export: Logits,
    *,
    data: str,
    labels: Labels | None = None,
    temperature: float = 1.0,
) -> Agreement:
    """An export beside the float model on the same pictures.

    Args:
        reference: logits of the float Keras model, (N, labels).
        export: logits of the export, (N, labels).
        data: what to call the pictures.
        labels: (N,), the true index of each, if known.
        temperature: of the softmax.
    """
    p, q = softmax(reference, temperature), softmax(export, temperature)
    difference = np.abs(p - q)
    kl = (p * (np.log(p + 1e-12) - np.log(q + 1e-12))).sum(axis=1)
    one, other = reference.argmax(axis=1), export.argmax(axis=1)
    result = Agreement(
        data=data,
        samples=len(reference),
        label_agreement=float((one == other).mean()),
        max_probability_difference=float(difference.max()),
        mean_probability_difference=float(difference.mean()),
        kl_divergence=float(max(0.0, kl.mean())),
    )
    if labels is None:
        return result
    lost = int(((one == labels) & (other != labels)).sum())
    gained = int(((one != labels) & (other == labels)).sum())
    return replace(
        result,
        accuracy_float=float((one == labels).mean()),
        accuracy_export=float((other == labels).mean()),
        accuracy_drop=(lost - gained) / len(labels),
        accuracy_drop_interval=paired_interval(lost, gained, len(labels)),
        mcnemar_p=mcnemar(lost, gained),
    )


def paired_interval(lost: int, gained: int, samples: int) -> Interval:
    """95 % interval of a difference of two paired shares, (lost - gained) / samples.

    Agresti & Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 2005: Wald's interval after adding 0.5 to each cell. It does not shrink
    to nothing when no picture changes sides.
    """
    n, b, c = samples + 2, lost + 0.5, gained + 0.5
    middle = (b - c) / n
    half = Z * math.sqrt((b + c) - (b - c) ** 2 / n) / n
    return middle - half, middle + half


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided McNemar test (1947): p of a split this uneven if neither model is better."""
    if lost + gained == 0:
        return 1.0
    return float(_stats().binomtest(lost, lost + gained, 0.5).pvalue)


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError("measuring accuracy", "bench") from error
    return stats
