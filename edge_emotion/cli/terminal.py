"""What a person sees on stderr: complaints, notes, progress. Nothing of it goes to stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sized
from typing import TypeVar

T = TypeVar("T")


def complain(line: str) -> None:
    """One line on stderr, marked as an error."""
    print(f"edge-emotion: {' '.join(line.split())}", file=sys.stderr)


def note(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr)


def progress(description: str) -> Callable[[Iterable[T]], Iterable[T]]:
    """A wrapper for loops: a bar on a terminal, nothing in a pipe."""

    def wrap(items: Iterable[T]) -> Iterable[T]:
        if not sys.stderr.isatty():
            return items
        from rich.console import Console
        from rich.progress import track

        total = len(items) if isinstance(items, Sized) else None
        return track(items, description, total=total, console=Console(stderr=True), transient=True)

    return wrap
