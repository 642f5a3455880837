"""What the programs of this room that are run by ``python -m`` share: exit codes, output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from edge_emotion.cli.terminal import (
    ENDINGS,
    complain,
    end_cleanly,
    ended,
    note,
    open_closed_streams,
    write_anyhow,
)
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.files import check_target, is_folder, write_bytes

#: What a loop does -> wrapper of the loop, to show how far it is.
Wrap = Callable[[str], Callable[[Iterable[int]], Iterable[int]]]


def run_module(main: Callable[[list[str]], None]) -> NoReturn:
    """Run a program: every error raised on purpose is one line on stderr and its exit code."""
    code = 0
    open_closed_streams()
    end_cleanly()
    write_anyhow()
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except ENDINGS as error:
        code = ended(error)
    raise SystemExit(code)


def named_path(value: str) -> Path:
    """As type of an option: ``"$DATA"`` of a script that never set it is no folder."""
    if not value:
        raise argparse.ArgumentTypeError("an empty path; . is this folder")
    return Path(value)


def place_for(target: Path | None, name: str) -> Path | None:
    """Where a report goes: in a folder that exists it gets its own name.

    Raises:
        OutputError: it cannot be written; said before minutes of measuring.
    """
    if target is None:
        return None
    path = target / name if is_folder(target) else target
    check_target(path)
    return path


def write_report(path: Path | None, data: bytes) -> None:
    """Write a report, and say where."""
    if path is not None:
        write_bytes(path, data)
        note(f"wrote {path}")


def raise_failures(failures: Sequence[EdgeEmotionError], of: int) -> None:
    """Say what failed, once the report of all else is out.

    Raises:
        EdgeEmotionError: the first one's kind, with its exit code.
    """
    for failure in failures:
        complain(str(failure))
    if failures:
        text = f"{len(failures)} of {of} failed; the others were measured"
        raise failures[0].saying(text)
