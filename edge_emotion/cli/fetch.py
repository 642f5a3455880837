"""``edge-emotion fetch``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edge_emotion.cli.terminal import note


def fetch(
    name: Annotated[str, typer.Argument(help="yunet: the face detector, 230 kB, MIT licence.")],
) -> None:
    """Fetch a third-party file from its publisher, and print where it lies.

    Over https, with a checksum that is pinned. Broken off, it goes on when asked again. Nothing is
    ever fetched by another command.
    """
    from edge_emotion.fetch import FILES
    from edge_emotion.fetch import fetch as fetch_file

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{done / 1000:.0f} of {total / 1000:.0f} kB", end=end, file=sys.stderr)

    path = fetch_file(name, progress=progress)
    note(FILES[name].what)
    print(path)
