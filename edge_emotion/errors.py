"""Every error that edge-emotion raises on purpose, and the exit code each one carries.

::

    EdgeEmotionError
    ├── CheckError          1   a check failed
    │   ├── BudgetError         accuracy or agreement outside its gate
    │   ├── ChecksumError       a file is not the one its card describes
    │   └── ConversionError     a converter failed, or made something other than asked for
    ├── UsageError          2   an argument is wrong
    │   └── UnknownNameError    a name that does not exist; suggests the nearest
    ├── MissingExtraError   3   an optional dependency is not installed
    ├── InputError          4   an input could not be read
    │   ├── PictureError        not a picture, or a damaged or oversized one
    │   ├── ModelError          not a model, or one without a card
    │   └── DataError           not a data set in a layout that is known
    └── OutputError         5   an output could not be written

130 is the exit code of an interruption (Ctrl-C); no class stands for it.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable
from typing import ClassVar, Self


def one_line(error: Exception) -> str:
    """What a library's error says, on one line."""
    return " ".join(str(error).split())


class EdgeEmotionError(Exception):
    """Base of every error raised on purpose. ``str(error)`` is one line that says what to do."""

    exit_code: ClassVar[int] = 1

    def saying(self, text: str) -> Self:
        """An error of the same kind, and so of the same exit code, with another text."""
        return type(self).__new__(type(self), text)  # whatever its own __init__ takes


class CheckError(EdgeEmotionError):
    """A check failed: the program worked, the answer is no."""


class BudgetError(CheckError):
    """Accuracy or agreement is outside its gate."""


class ChecksumError(CheckError):
    """A file is not the one that its card describes."""


class ConversionError(CheckError):
    """A converter failed, or what it made is not what the recipe promises."""


class UsageError(EdgeEmotionError):
    """An argument is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that does not exist."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        folded = {k.casefold(): k for k in known}
        near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.5)
        hint = f"did you mean {folded[near[0]]!r}? " if near else ""
        super().__init__(f"unknown {what} {name!r}: {hint}known: {', '.join(known)}")
        self._arguments = what, name, known

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str]]]:
        return type(self), self._arguments  # so that a process pool can hand it on


class MissingExtraError(EdgeEmotionError):
    """An optional dependency is not installed."""

    exit_code = 3

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'edge-emotion[{extra}]'")
        self.what = what
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.what, self.extra)


def require(module: str, what: str, extra: str) -> None:
    """See that an optional dependency is installed, without importing it.

    Raises:
        MissingExtraError: it is not.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(what, extra)


class InputError(EdgeEmotionError):
    """An input could not be read."""

    exit_code = 4


class PictureError(InputError):
    """Not a picture, or a damaged or oversized one."""


class ModelError(InputError):
    """Not a model that can be run, or one without a card."""


class DataError(InputError):
    """Not a data set in a layout that is known."""


class OutputError(EdgeEmotionError):
    """An output could not be written (full disk, no permission, exists already)."""

    exit_code = 5
