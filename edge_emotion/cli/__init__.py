"""The command line: parse, call, print. One module a command; heavy imports inside it."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import TyperPath

from edge_emotion.cli import (
    bench,
    bundle,
    crop,
    doctor,
    export,
    fetch,
    inspect,
    predict,
    train,
    tune,
    watch,
)
from edge_emotion.cli.terminal import (
    ENDINGS,
    end_cleanly,
    ended,
    open_closed_streams,
    write_anyhow,
)
from edge_emotion.errors import UsageError


class _Path(TyperPath):
    """``--out "$FOLDER"`` of a script that never set it is not the folder it runs in."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "":
            raise UsageError(f"{param.opts[0]}: an empty path; . is this folder")
        return super().convert(value, param, ctx)


class _Command(TyperCommand):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            if isinstance(param.type, TyperPath):
                param.type = _Path(readable=False)  # which the commands themselves find out


class _Group(TyperGroup):
    """Turns every error raised on purpose into one line on stderr and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        write_anyhow()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a full disk can still be reported
            return result
        except ENDINGS as error:
            raise typer.Exit(ended(error)) from None


app = typer.Typer(
    name="edge-emotion",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from edge_emotion import __version__

        print(f"edge-emotion {__version__}")
        raise typer.Exit


@app.callback()
def edge_emotion(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Facial-expression CNNs from Keras to int8 on a Raspberry Pi, with the cost measured.

    Exit codes: 0 done, 1 a check failed, 2 usage, 3 an extra is missing, 4 an input could not be
    read (the others were still processed), 5 an output could not be written, 130 interrupted.
    """


for _command in (
    predict.predict, fetch.fetch, export.export, bench.bench, crop.crop, train.train, tune.tune,
    watch.watch, bundle.bundle, inspect.inspect, doctor.doctor,
):  # fmt: skip
    app.command(_command.__name__, cls=_Command)(_command)


def main() -> None:
    """Entry point of ``edge-emotion``."""
    open_closed_streams()
    end_cleanly()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # of --help and --version
    except ENDINGS as error:  # before a command began, or once it was over
        raise SystemExit(ended(error)) from None
