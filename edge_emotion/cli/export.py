"""``edge-emotion export``."""

from __future__ import annotations


def export() -> None:
    """Not written yet."""
