"""The gates of an export."""

from __future__ import annotations

import pytest

from edge_emotion.card import Agreement
from edge_emotion.evaluation import paired_interval
from edge_emotion.gates import Gates


def agreement(same: int, samples: int) -> Agreement:
    return Agreement("pictures", samples, same / samples, 0.1, 0.01, 1e-4)


def test_few_pictures_reject_only_what_they_can_show() -> None:
    gates = Gates(min_agreement=0.98)
    assert not gates.violations(agreement(62, 64))
    assert gates.violations(agreement(56, 64)) == [
        "label agreement 0.8750 is under 0.9800 (95 % up to 0.9353)"
    ]


def test_many_pictures_reject_what_is_below() -> None:
    gates = Gates(min_agreement=0.98)
    assert not gates.violations(agreement(9770, 10_000 - 20))
    assert gates.violations(agreement(9750, 10_000))


def losing(lost: int, samples: int, gained: int = 0) -> Agreement:
    drop = (lost - gained) / samples
    return Agreement(
        "pictures", samples, 1.0, 0.1, 0.01, 1e-4, accuracy_float=0.9,
        accuracy_export=0.9 - drop, accuracy_drop=drop,
        accuracy_drop_interval=paired_interval(lost, gained, samples),
    )  # fmt: skip


def test_a_loss_that_may_be_chance_is_let_through() -> None:
    gates = Gates(max_drop=1.0)
    assert not gates.violations(losing(1, 64))
    assert not gates.violations(losing(12, 1000, gained=1 + 1))  # exactly the limit
    assert not gates.violations(losing(30, 1000, gained=19))
    assert gates.violations(losing(8, 64)) == [
        "accuracy drops 12.50 points (0.9000 to 0.7750), more than 1.00, by 8 of 64 pictures"
    ]
    assert gates.violations(losing(20, 1000, gained=4))


@pytest.mark.parametrize(("lost", "samples"), [(7, 100), (14, 100), (28, 100), (7, 1000)])
def test_what_is_allowed_is_allowed(lost: int, samples: int) -> None:
    """In binary 100 * 0.07 is above 7."""
    at = losing(lost, samples)
    limit = 100 * lost / samples
    assert not Gates(max_drop=limit).violations(at)
    assert Gates(max_drop=limit - 0.1).violations(at)


def test_how_much_so_many_pictures_let_through() -> None:
    """By hand: 5 lost of N and none gained is the first interval that lies above 0."""
    assert [Gates().passes(samples) for samples in (64, 100, 250)] == [6.25, 4.0, 1.6]
    assert Gates().passes(400) == 1.0
    assert Gates().passes(5000) == 1.0
    assert Gates(max_drop=100.0).passes(10) == 100.0
    for gates, samples in ((Gates(), 100), (Gates(max_drop=3.0), 700)):
        lost = round(gates.passes(samples) * samples / 100)
        assert not gates.violations(losing(lost, samples))
        assert gates.violations(losing(lost + 1, samples))
