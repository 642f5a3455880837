"""What a person sees on stderr: complaints, notes, progress. Nothing of it goes to stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sized
from typing import TypeVar

from edge_emotion.errors import InputError

T = TypeVar("T")


def complain(line: str) -> None:
    """One line on stderr, marked as an error."""
    print(f"edge-emotion: {' '.join(line.split())}", file=sys.stderr)


def note(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr)


class LeftOut:
    """Told of each picture that cannot be read: a note, once, and in the end the exit code."""

    def __init__(self) -> None:
        self.lines: set[str] = set()

    def __call__(self, line: str) -> None:
        """One line on stderr, unless it was said before."""
        if line not in self.lines:
            note(line)
        self.lines.add(line)

    def raise_if_any(self) -> None:
        """Say how many there were, once all else is done.

        Raises:
            InputError: one or more.
        """
        if self.lines:
            count = len(self.lines)
            pictures = "picture" if count == 1 else "pictures"
            raise InputError(f"{count} {pictures} could not be read; the others were used")


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
