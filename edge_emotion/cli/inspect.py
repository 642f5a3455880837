"""``edge-emotion inspect``."""

from __future__ import annotations


def inspect() -> None:
    """Not written yet."""
