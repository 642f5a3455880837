"""Figures, against values computed by hand, from textbooks, and by scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_emotion import MissingExtraError
from edge_emotion.evaluation import (
    balanced_interval,
    compare,
    evaluate,
    expected_calibration_error,
    fit_confidence,
    may_be_guessing,
    mcnemar,
    paired_interval,
    reliability,
    softmax,
    wilson,
)

stats = pytest.importorskip("scipy.stats", reason="needs one of the extras bench, export, train")
metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra bench")

NAMES = ["angry", "happy", "sad"]
LOGITS = hnp.arrays(np.float32, (7, 3), elements=st.floats(-50, 50, width=32))


def logits_for(predicted: list[int], confidence: float = 0.9, labels: int = 3) -> np.ndarray:
    """Logits whose softmax gives `confidence` to each predicted label."""
    logits = np.zeros((len(predicted), labels), np.float32)
    rest = (1 - confidence) / (labels - 1)
    logits[np.arange(len(predicted)), predicted] = math.log(confidence / rest)
    return logits


def score(predicted, labels, **changes):
    arguments = {"data": "test", "protocol": "held-out"} | changes
    return evaluate(logits_for(predicted), np.array(labels), NAMES, **arguments)


# softmax


def test_softmax_by_hand():
    np.testing.assert_allclose(
        softmax(np.log(np.array([[1, 2, 5]], np.float32))), [[0.125, 0.25, 0.625]], rtol=1e-6
    )


def test_temperature_divides_logits():
    np.testing.assert_allclose(
        softmax(np.array([[4, 0]], np.float32), 2.0), softmax(np.array([[2, 0]], np.float32))
    )
    hot = softmax(np.array([[4, 0, 1]], np.float32), 1e9)
    np.testing.assert_allclose(hot, 1 / 3)


@given(LOGITS, st.floats(0.05, 20))
def test_softmax_rows_are_distributions_in_the_order_of_the_logits(logits, temperature):
    probabilities = softmax(logits, temperature)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    best = probabilities[np.arange(7), logits.argmax(axis=1)]
    np.testing.assert_array_equal(best, probabilities.max(axis=1))


def test_softmax_of_huge_logits_does_not_overflow_and_changes_nothing():
    logits = np.array([[3e38, -3e38], [1000, 1000]], np.float32)
    before = logits.copy()
    np.testing.assert_array_equal(softmax(logits), [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(logits, before)


# evaluate


def test_figures_by_hand():
    #        true: 4 angry, 3 happy, 2 sad
    labels = [0, 0, 0, 0, 1, 1, 1, 2, 2]
    found = score([0, 0, 0, 1, 1, 1, 2, 2, 0], labels)
    assert found.confusion == [[3, 1, 0], [0, 2, 1], [1, 0, 1]]
    assert found.samples == 9
    assert found.accuracy == pytest.approx(6 / 9)
    assert found.balanced_accuracy == pytest.approx((3 / 4 + 2 / 3 + 1 / 2) / 3)
    angry = found.per_label["angry"]
    assert (angry.precision, angry.recall, angry.support) == (0.75, 0.75, 4)
    assert found.per_label["sad"].f1 == pytest.approx(0.5)
    assert found.accuracy_interval == wilson(6, 9)
    assert found.ece == pytest.approx(0.9 - 6 / 9, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_figures_are_those_of_scikit_learn(pairs):
    labels, predicted = (list(side) for side in zip(*pairs, strict=True))
    found = score(predicted, labels)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    present = sorted(set(labels))
    recalls = metrics.recall_score(
        labels, predicted, labels=present, average="macro", zero_division=0.0
    )
    f1 = metrics.f1_score(labels, predicted, labels=present, average="macro", zero_division=0.0)
    assert found.balanced_accuracy == pytest.approx(recalls)
    assert found.macro_f1 == pytest.approx(f1)
    assert np.sum(found.confusion) == len(pairs) == sum(m.support for m in found.per_label.values())


def test_label_without_pictures_does_not_pull_the_means_down():
    found = score([0, 0, 1], [0, 0, 1])
    assert (found.balanced_accuracy, found.macro_f1) == (1.0, 1.0)
    assert found.per_label["sad"].support == 0
    assert found.confusion[2] == [0, 0, 0]


def test_one_label_only():
    found = score([0, 1, 0], [0, 0, 0])
    assert found.balanced_accuracy == pytest.approx(2 / 3)
    assert found.confusion == [[2, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_temperature_moves_the_calibration_error_and_nothing_else():
    cold, hot = score([0, 1], [0, 1]), score([0, 1], [0, 1], temperature=100.0)
    assert hot.ece > cold.ece + 0.4
    assert hot.accuracy == cold.accuracy


def test_without_scikit_learn_the_pip_command_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edge-emotion\[bench\]'"):
        score([0], [0])


def test_the_most_certain_nine_tenths_by_hand():
    """Of eleven answers the least certain is left out, whether it is wrong or right."""
    predicted = [0] * 11
    logits = np.concatenate(
        [logits_for([0], confidence) for confidence in np.linspace(0.5, 0.99, 11)]
    )
    one_wrong = np.array([1] + [0] * 10)
    found = evaluate(logits, one_wrong, NAMES, data="test", protocol="held-out")
    assert (found.accuracy, found.accuracy_most_certain) == (10 / 11, 1)
    found = evaluate(logits[::-1], one_wrong, NAMES, data="test", protocol="held-out")
    assert (found.accuracy, found.accuracy_most_certain) == (10 / 11, 9 / 10)
    assert score(predicted, predicted).accuracy_most_certain == 1


def test_the_mirrored_answer_is_the_mean_of_the_two_probabilities():
    """Of probabilities, as `Predictor` has it."""
    plain = np.log(np.array([[0.45, 0.05, 0.5], [0.2, 0.7, 0.1]], np.float32))
    mirrored = np.log(np.array([[0.2, 0.75, 0.05], [0.7, 0.1, 0.2]], np.float32))
    found = evaluate(
        plain, np.array([1, 0]), NAMES, mirrored=mirrored, data="test", protocol="held-out"
    )
    # 0.65 / 0.8 / 0.55, and 0.9 / 0.8 / 0.3; by the mean of the logits the first were angry.
    assert (found.accuracy, found.accuracy_mirrored) == (0, 1)
    assert score([0], [0]).accuracy_mirrored is None


# calibration error


def test_perfectly_calibrated_has_no_error():
    probabilities = np.tile([0.75, 0.25], (8, 1))
    assert expected_calibration_error(probabilities, np.array([0] * 6 + [1] * 2)) == 0


def test_confident_and_always_wrong_is_all_error():
    probabilities = np.tile([1.0, 0.0], (5, 1))
    assert expected_calibration_error(probabilities, np.ones(5, np.int64)) == 1


def test_error_of_two_bins_by_hand():
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 6)
    labels = np.array([0, 0, 0, 1] + [0] * 3 + [1] * 3)
    # 4 at 0.9, 3 right: 0.15; 6 at 0.6, 3 right: 0.1
    expected = 0.4 * 0.15 + 0.6 * 0.1
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)
    rows = reliability(probabilities, labels)
    assert [(round(c, 9), a, n) for c, a, n in rows] == [(0.6, 0.5, 6), (0.9, 0.75, 4)]


def test_a_confidence_on_the_border_belongs_to_the_lower_bin():
    """(m - 1) / M < confidence <= m / M, as in the paper."""
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    rows = reliability(probabilities, np.zeros(3, np.int64), bins=2)
    assert [count for _, _, count in rows] == [1, 2]


@given(LOGITS, st.integers(1, 30))
def test_bins_hold_every_picture_once(logits, bins):
    labels = np.arange(7) % 3
    rows = reliability(softmax(logits), labels, bins)
    assert sum(count for _, _, count in rows) == 7
    assert 0 <= expected_calibration_error(softmax(logits), labels, bins) <= 1


# intervals and tests


@pytest.mark.parametrize(
    ("successes", "samples", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_textbook_s(successes, samples, low, high):
    assert wilson(successes, samples) == (
        pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5),
    )  # fmt: skip


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_scipys(counts):
    interval = stats.binomtest(*counts).proportion_ci(method="wilson")
    assert wilson(*counts) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_interval_of_nothing_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_two_sided_binomial(lost, gained):
    n, k = lost + gained, min(lost, gained)
    p = min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
    assert mcnemar(lost, gained) == pytest.approx(p)


def test_paired_interval_by_hand():
    """Agresti & Min: 0.5 in each cell, then Wald."""
    low, high = paired_interval(16, 4, 100)
    difference = 12 / 102
    error = math.sqrt(21 - 12**2 / 102) / 102
    assert (low + high) / 2 == pytest.approx(difference)
    assert (high - low) / 2 == pytest.approx(1.959964 * error)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 1000))
def test_paired_interval_never_vanishes_and_mirrors(lost, gained, same):
    assume(lost + gained + same > 0)
    low, high = paired_interval(lost, gained, lost + gained + same)
    assert high - low > 0
    assert paired_interval(gained, lost, lost + gained + same) == (
        pytest.approx(-high), pytest.approx(-low),
    )  # fmt: skip


def test_paired_interval_narrows_with_more_pictures():
    widths = [high - low for low, high in (paired_interval(0, 0, n) for n in (10, 100, 1000))]
    assert widths[0] > 5 * widths[1] > 25 * widths[2]


# temperature and threshold


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_known_scaling(scale):
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, (4000, 3)).astype(np.float32)
    labels = np.array([rng.choice(3, p=p) for p in softmax(true)])
    fitted = fit_confidence(true * np.float32(scale), labels, 0.9, "valid")
    assert fitted.temperature == pytest.approx(scale, rel=0.06)
    error = expected_calibration_error(softmax(true * scale, fitted.temperature), labels)
    assert error < 0.03


def test_always_right_and_always_wrong_give_bounded_temperatures():
    logits = logits_for([0, 1, 2] * 5)
    right = fit_confidence(logits, np.array([0, 1, 2] * 5), 1.0, "valid").temperature
    wrong = fit_confidence(logits, np.array([1, 2, 0] * 5), 1.0, "valid").temperature
    assert 0.05 <= right < 1 < wrong <= 20


@pytest.mark.parametrize("count", [5, 15, 60])
def test_a_few_pictures_that_are_all_right_do_not_make_every_answer_certain(count):
    """By likelihood alone the temperature would be 0."""
    random = np.random.default_rng(count)
    labels = random.integers(0, 3, count)
    logits = (4.0 * np.eye(3)[labels] + random.normal(0, 0.5, (count, 3))).astype(np.float32)
    assert (logits.argmax(axis=1) == labels).all()
    fitted = fit_confidence(logits, labels, 0.9, "valid")
    assert 0.4 < fitted.temperature < 1
    assert softmax(np.array([[1.0, 0.0, 0.0]], np.float32), fitted.temperature).max() < 0.9


def test_the_prior_is_nothing_beside_a_thousand_pictures():
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, (1000, 3)).astype(np.float32)
    labels = np.array([rng.choice(3, p=p) for p in softmax(true)])
    fitted = fit_confidence(true * np.float32(8), labels, 0.9, "valid").temperature
    negative = {
        t: -np.log(softmax(true * np.float32(8), t)[np.arange(1000), labels]).sum()
        for t in np.geomspace(4, 16, 400)
    }
    assert fitted == pytest.approx(min(negative, key=negative.__getitem__), rel=0.02)


@pytest.mark.parametrize("count", [10, 20, 100, 1000])
def test_nine_tenths_are_nine_tenths(count):
    logits = np.stack([np.linspace(0, 3, count), np.zeros(count)], axis=1).astype(np.float32)
    fitted = fit_confidence(logits, np.arange(count) % 2, 0.9, "valid")
    assert fitted.coverage == pytest.approx(0.9)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)),
               elements=st.floats(-5, 5, width=32)),
    st.floats(0.01, 1),
)  # fmt: skip
def test_threshold_leaves_at_least_the_coverage_certain(logits, coverage):
    labels = np.arange(len(logits)) % 3
    fitted = fit_confidence(logits, labels, coverage, "valid")
    top = softmax(logits, fitted.temperature).max(axis=1)
    certain = (top >= fitted.threshold).mean()
    assert certain >= coverage - 1e-9
    assert fitted.coverage == certain, "the card says what was reached"
    above = (top > fitted.threshold).mean()
    assert above < coverage, "and no lower than it has to be"
    assert (fitted.samples, fitted.fitted_on) == (len(logits), "valid")


# one model beside another


def test_the_same_logits_agree_in_everything():
    logits = logits_for([0, 1, 2, 0])
    same = compare(logits, logits, data="test", labels=np.array([0, 1, 1, 0]))
    assert (same.label_agreement, same.max_probability_difference, same.kl_divergence) == (1, 0, 0)
    assert (same.accuracy_drop, same.mcnemar_p) == (0, 1)
    assert same.accuracy_drop_interval is not None
    assert same.accuracy_drop_interval[0] < 0 < same.accuracy_drop_interval[1]


def test_divergence_by_hand():
    p, q = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.25, 0.75], [0.9, 0.1]])
    found = compare(np.log(p).astype(np.float32), np.log(q).astype(np.float32), data="test")
    kl = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 2
    assert found.kl_divergence == pytest.approx(kl, rel=1e-5)
    assert found.max_probability_difference == pytest.approx(0.25, rel=1e-5)
    assert found.mean_probability_difference == pytest.approx(0.125, rel=1e-5)
    assert found.label_agreement == 0.5
    assert (found.accuracy_float, found.mcnemar_p) == (None, None)


def test_lost_and_gained_pictures_by_hand():
    labels = np.array([0] * 20)
    one, other = [0] * 15 + [1] * 5, [1] * 6 + [0] * 10 + [1] * 4  # 6 lost, 1 gained
    found = compare(logits_for(one), logits_for(other), data="test", labels=labels)
    assert (found.accuracy_float, found.accuracy_export) == (0.75, 0.5)
    assert found.accuracy_drop == pytest.approx(0.25)
    assert found.accuracy_drop_interval == paired_interval(6, 1, 20)
    assert found.mcnemar_p == mcnemar(6, 1) == pytest.approx(0.125)
    assert found.label_agreement == pytest.approx(13 / 20)


def test_temperature_softens_the_difference():
    one, other = logits_for([0]), logits_for([1])
    hot = compare(one, other, data="test", temperature=10.0)
    assert hot.kl_divergence < compare(one, other, data="test").kl_divergence / 5


# balanced_interval


def test_the_interval_of_one_label_is_wilsons():
    one = score([0] * 18 + [1, 2], [0] * 20)  # no other label has a picture
    assert balanced_interval(one) == pytest.approx(wilson(18, 20))


@pytest.mark.parametrize(
    ("labels", "predicted", "guessed"),
    [
        ([0] * 40 + [1] * 10, [0] * 50, True),  # the commonest label for all
        ([0, 1, 2] * 10, [1, 2, 0] * 10, True),  # worse than that
        ([0, 1, 2] * 2, [0, 1, 2, 1, 2, 0], True),  # 3 of 6: may be luck
        ([0, 1, 2] * 40, [0, 1, 2, 0, 2, 1] * 20, False),  # 80 of 120 is none
        ([0] * 90 + [1] * 10, [0] * 80 + [1] * 20, False),  # less often right than always 0
        ([0] * 5, [0] * 5, False),  # of one label nothing can be said
    ],
)
def test_who_may_have_guessed(labels, predicted, guessed):
    assert may_be_guessing(score(predicted, labels)) is guessed


def test_balanced_interval_by_hand():
    """Recalls 8 of 10 and 27 of 30: Wilson gives 0.4902 to 0.9433 and 0.7438 to 0.9654."""
    found = score([0] * 8 + [1] * 2 + [1] * 27 + [0] * 3, [0] * 10 + [1] * 30)
    low, high = balanced_interval(found)
    assert found.balanced_accuracy == pytest.approx(0.85)
    assert low == pytest.approx(0.85 - math.hypot(0.8 - 0.4902, 0.9 - 0.7438) / 2, abs=1e-4)
    assert high == pytest.approx(0.85 + math.hypot(0.9433 - 0.8, 0.9654 - 0.9) / 2, abs=1e-4)


@pytest.mark.parametrize("right", [0, 5])
def test_balanced_interval_of_none_or_all_right_stays_within_shares(right):
    labels = [0] * 5 + [1] * 5
    found = score([0] * 5 + [1] * 5 if right else [1] * 5 + [0] * 5, labels)
    low, high = balanced_interval(found)
    assert 0 <= low <= found.balanced_accuracy <= high <= 1
    assert high - low > 0.2


def test_balanced_interval_holds_the_truth_19_times_in_20():
    random = np.random.default_rng(0)
    template = score([0, 1], [0, 1])
    recalls, pictures = np.array([0.95, 0.8, 0.6]), np.array([200, 60, 25])
    held = 0
    for _ in range(400):
        right = random.binomial(pictures, recalls)
        confusion = np.diag(right).tolist()
        for i in range(3):
            confusion[i][(i + 1) % 3] = int(pictures[i] - right[i])
        drawn = replace(
            template, confusion=confusion, balanced_accuracy=float((right / pictures).mean())
        )
        low, high = balanced_interval(drawn)
        held += low <= recalls.mean() <= high
    assert 0.92 < held / 400 < 0.98
