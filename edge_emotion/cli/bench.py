"""``edge-emotion bench``."""

from __future__ import annotations


def bench() -> None:
    """Not written yet."""
