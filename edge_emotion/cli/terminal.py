"""What a person sees on stderr: complaints, notes, progress. Nothing of it goes to stdout."""

from __future__ import annotations

import codecs
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from typing import TYPE_CHECKING, NoReturn, TypeVar

from edge_emotion.errors import EdgeEmotionError, InputError, OutputError

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

#: Exit code after Ctrl-C.
INTERRUPTED = 130
#: What a program ends by in one line; all else is a bug, and a traceback.
ENDINGS = (EdgeEmotionError, KeyboardInterrupt, MemoryError, OSError)


class _TerminatedError(KeyboardInterrupt):
    """Ctrl-C by another signal."""


def end_cleanly() -> None:
    """Take SIGTERM and SIGHUP for Ctrl-C, so that temporary files go; what is ignored stays so."""

    def interrupt(number: int, _: object) -> NoReturn:
        raise _TerminatedError(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, interrupt)


def write_anyhow() -> None:
    """Let stdout take any text: names of files need not be UTF-8, nor a terminal have all letters.

    A name's undecodable bytes come out as they are, what the encoding lacks as ``\\uXXXX``.
    """

    def encode(error: UnicodeError) -> tuple[str | bytes, int]:
        try:
            return codecs.lookup_error("surrogateescape")(error)
        except UnicodeError:
            return codecs.lookup_error("backslashreplace")(error)

    codecs.register_error("edge-emotion", encode)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="edge-emotion")


def table_console(pipe_width: int) -> Console:
    """Where tables go: stdout, in a pipe of so many columns."""
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            """Not rich's exit code 1, that of a check that failed."""
            raise BrokenPipeError

    width = None if sys.stdout.isatty() else pipe_width
    return Stdout(file=sys.stdout, width=width, highlight=False)


def interrupted(by: KeyboardInterrupt, line: str = "interrupted") -> int:
    """Say so, once all is cleaned up; the exit code. SIGTERM and SIGHUP then end the program."""
    complain(line)
    if isinstance(by, _TerminatedError):
        with suppress(OSError):
            sys.stdout.flush()
        (number,) = by.args
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return INTERRUPTED


def open_closed_streams() -> None:
    """Take the places of streams that the caller closed (``>&-``).

    Else the next file that is opened would be one of them. Writing to a closed stdout stays an
    error: results that nobody can get are not "done".
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        place = fd
        try:
            os.fstat(fd)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if nowhere != fd:
                os.dup2(nowhere, fd)
                os.close(nowhere)
        else:  # an open one that a caller in Python took away is not wanted
            if getattr(sys, name) is None:
                place = os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(place, "r" if name == "stdin" else "w", closefd=False))


def complain(line: str) -> None:
    """One line on stderr, marked as an error."""
    note(f"edge-emotion: {' '.join(line.split())}")


def note(line: str) -> None:
    """One line on stderr; where a log is full, the work goes on."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def ended(by: BaseException) -> int:
    """Say in one line what ended the program, one of `ENDINGS`; the exit code."""
    if isinstance(by, KeyboardInterrupt):
        return interrupted(by)
    if isinstance(by, OSError):
        return _refused(by)
    if isinstance(by, MemoryError):
        by = EdgeEmotionError(
            "out of memory: use smaller pictures, batches or fewer pictures at a time"
        )
    assert isinstance(by, EdgeEmotionError)
    complain(str(by))
    return by.exit_code


def _refused(error: OSError) -> int:
    """Say what the system refused, where nobody expected it; the exit code.

    Without a name it was stdout, a full disk behind it or a reader that left: what is buffered for
    it is let go.
    """
    if error.filename is not None:
        complain(f"{error.filename}: {error.strerror}")
        return InputError.exit_code
    if not isinstance(error, BrokenPipeError):  # the reader left: nobody to tell
        line = f"cannot write the output: {error.strerror or error}"
        if error.errno in (None, ENOSPC, EDQUOT):  # numpy's has no number
            line += "; if there is room, temporary files have none: set TMPDIR"
        complain(line)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return OutputError.exit_code


class LeftOut:
    """Told of each picture that cannot be read: a note, once, and in the end the exit code.

    Pictures are told apart by their lines: several passes may read, and tell of, the same one.
    """

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
        return _shown(items, description) if sys.stderr.isatty() else items

    return wrap


def _shown(items: Iterable[T], description: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import Progress

    # Notes pass above the bar, each on its line however long; answers that go to a file do not.
    console = Console(stderr=True, soft_wrap=True)
    total = len(items) if isinstance(items, Sized) else None
    with Progress(console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        yield from bar.track(items, total=total, description=description)
