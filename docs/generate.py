"""Writes the generated pages of ``docs/``. ``make docs`` runs it; a test fails on a stale page.

Generated: ``docs/cli.md``, from the help of every command.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from edge_emotion.cli import app

CLI_PAGE = Path(__file__).with_name("cli.md")
PROGRAM = "edge-emotion"
#: Help is wrapped at the terminal's width: a fixed one, so that every machine writes the same page.
ENVIRONMENT = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"}

HEAD = """\
<!-- Generated from the commands' own help by docs/generate.py. Do not edit: run `make docs`. -->

# Command line

"""


def foreign_typer() -> str | None:
    """The installed typer, if it is not the pinned one: each version words its help differently."""
    installed = f"typer=={importlib.metadata.version('typer')}"
    pins = (CLI_PAGE.parents[1] / "constraints.txt").read_text(encoding="utf-8").split()
    return None if installed in pins else installed


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, outermost first: (), ("predict",), ..."""
    command = typer.main.get_command(app) if command is None else command
    yield path
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from commands(child, (*path, name))


def help_text(path: tuple[str, ...]) -> str:
    """What ``edge-emotion PATH --help`` prints.

    Raises:
        RuntimeError: the command cannot show its help.
    """
    runner = CliRunner(env=ENVIRONMENT)
    result = runner.invoke(app, [*path, "--help"], prog_name=PROGRAM)
    if result.exit_code:
        raise RuntimeError(f"{' '.join(path)} --help: {result.output}") from result.exception
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def cli_page() -> str:
    """The whole of ``docs/cli.md``."""
    paths = list(commands())
    index = "".join(
        f"- [`{PROGRAM} {' '.join(path)}`](#{'-'.join([PROGRAM, *path])})\n" for path in paths[1:]
    )
    sections = [
        f"## {' '.join([PROGRAM, *path])}\n\n```text\n{help_text(path)}\n```\n" for path in paths
    ]
    return HEAD + index + "\n" + "\n".join(sections)


def main() -> None:
    """Write every generated page."""
    if typer_version := foreign_typer():
        sys.exit(f"{typer_version} is not the typer of constraints.txt: run make docs")
    CLI_PAGE.write_text(cli_page(), encoding="utf-8")
    print(f"wrote docs/{CLI_PAGE.name}")


if __name__ == "__main__":
    main()
