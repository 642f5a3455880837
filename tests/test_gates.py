"""The gates of an export."""

from __future__ import annotations

import pytest

from edge_emotion.card import Agreement
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


@pytest.mark.parametrize(("lost", "samples"), [(7, 100), (14, 100), (28, 100), (7, 1000)])
def test_what_is_allowed_is_allowed(lost: int, samples: int) -> None:
    """In binary 100 * 0.07 is above 7."""
    at = Agreement(
        "pictures", samples, 1.0, 0.1, 0.01, 1e-4, accuracy_float=0.9,
        accuracy_export=0.9 - lost / samples, accuracy_drop=lost / samples,
    )  # fmt: skip
    limit = 100 * lost / samples
    assert not Gates(max_drop=limit).violations(at)
    assert Gates(max_drop=limit - 0.1).violations(at)
