"""``edge-emotion tune``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_emotion.cli.options import LabelsOption, LearnAllOption, SubjectOption, listed
from edge_emotion.cli.terminal import LeftOut, interrupted, note, progress, table_console
from edge_emotion.cli.train import epoch_lines
from edge_emotion.errors import UsageError, require

if TYPE_CHECKING:
    from edge_emotion.training.trials import Trial
    from edge_emotion.training.tune import Found

#: Columns in a pipe, where there is no terminal to ask.
PIPE_WIDTH = 160


def tune(
    data: Annotated[list[Path], typer.Argument(help="Labelled pictures, as for train.")],
    out: Annotated[Path, typer.Option(help="Folder of the search.")],
    trials: Annotated[
        int, typer.Option(help="Candidates in all, those of an earlier run included.")
    ] = 30,
    epochs: Annotated[
        int, typer.Option(help="Epochs of a trial: few, they rank candidates only.")
    ] = 8,
    fraction: Annotated[
        float, typer.Option(help="Share of the training pictures that trials learn from.")
    ] = 1.0,
    max_latency: Annotated[
        float | None,
        typer.Option(
            help="Times the int8 latency of the default edge-cnn; slower candidates are recorded, "
            "not trained."
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Input sides to choose from, pixels, comma-separated; one is fixed.  [default: "
            "the architecture's, and 8 and 16 less and more]"
        ),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(
            help="Factors on the channels to choose from, comma-separated; one is fixed.  "
            "[default: 0.25 to 2 in steps of an eighth]"
        ),
    ] = None,
    bodies: Annotated[
        str | None,
        typer.Option(
            help='Bodies of edge-cnn to choose from, comma-separated: "c32/2 r p c64 r, c16 p d32 '
            "r\".  [default: the architecture's]"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of hyper-parameters, as for train: what it names is fixed."),
    ] = None,
    labels: LabelsOption = None,
    learn_all: LearnAllOption = None,
    subject: SubjectOption = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed of the split, the trainings and the suggestions."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the search in --out.")
    ] = False,
) -> None:
    """Search networks and hyper-parameters for accuracy and int8 latency on this machine.

    Prints the candidates that no other is better than in both. Each is a file for train --config
    in --out, and every trial is in trials.json there. Chosen on validation pictures; test pictures
    are left alone. Needs the extra "tune".
    """
    require("optuna", "searching hyper-parameters", "tune")

    from edge_emotion.quiet import quiet
    from edge_emotion.training.config import given_values, make_config

    arguments: dict[str, Any] = {
        "learn_all": learn_all, "subject": subject, "seed": seed,
        "labels": None if labels is None else listed(labels),
    }  # fmt: skip
    base = make_config(config, arguments)
    named = set(given_values(config, arguments))
    side_choice = None if sizes is None else [_number("--sizes", s, int) for s in listed(sizes)]
    width_choice = (
        None if widths is None else [_number("--widths", s, float) for s in listed(widths)]
    )
    with quiet():
        from edge_emotion.benchmarks.beside import Beside
        from edge_emotion.training.space import make_space
        from edge_emotion.training.tune import TunePlan
        from edge_emotion.training.tune import tune as search
    plan = TunePlan(
        out, trials=trials, epochs=epochs, fraction=fraction, max_latency=max_latency,
        resume=resume,
    )  # fmt: skip
    body_choice = None if bodies is None else listed(bodies)
    space = make_space(base, named, side_choice, width_choice, body_choice)
    left_out = LeftOut()
    try:
        found = search(
            data, base, named, space, plan, Beside,
            progress=progress, callbacks=epoch_lines, report=_report, log=note, warn=left_out,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        line = f"interrupted: what is finished is in {out}: --resume goes on"
        raise typer.Exit(interrupted(error, line)) from None
    _print(found)
    note(f"every trial: {out / 'trials.json'}; a file for train --config each: {out}/front-N.toml")
    left_out.raise_if_any()


def _number(option: str, word: str, kind: type[int] | type[float]) -> Any:
    try:
        return kind(word)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{option}: {word!r} is not {what}") from None


def _report(trial: Trial) -> None:
    """One line a trial on a terminal, nothing in a pipe (trials.json has it all)."""
    if not sys.stderr.isatty():
        return
    words = [f"trial {trial.number}: {trial.outcome}"]
    if trial.reason:
        words.append(trial.reason)
    if trial.score and trial.cost:
        words.append(
            f"balanced {trial.score.balanced_accuracy:.4f}, {trial.cost.latency:.2f} times the "
            f"latency, {trial.score.seconds:.0f} s"
        )
    note("; ".join(words))


def _print(found: Found) -> None:
    """The front, and below it the default if others are better."""
    from rich.table import Table

    table = Table()
    for column in ("trial", "balanced (95 %), validation", "int8 latency", "ONNX", "kB",
                   "M multiply-adds", "parameters"):  # fmt: skip
        table.add_column(column, justify="right")
    table.add_column("settings", overflow="fold")
    others = [found.default] if found.default and found.default not in found.front else []
    for trial in [*found.front, *others]:
        if trial in others:
            table.add_section()
        cost, score = trial.cost, trial.score
        assert cost is not None  # only trained ones are shown
        assert score is not None
        low, high = score.balanced_interval
        settings = (f"{name} {_short(value)}" for name, value in trial.settings.items())
        table.add_row(
            f"{trial.number} (default)" if trial == found.default else str(trial.number),
            f"{100 * score.balanced_accuracy:.1f}% ({100 * low:.1f}% to {100 * high:.1f}%)",
            f"x {cost.latency:.2f}", f"x {cost.onnx_latency:.2f}", f"{cost.int8_bytes / 1e3:.0f}",
            f"{cost.multiply_adds / 1e6:.1f}", f"{cost.parameters / 1e3:.0f} k",
            ", ".join(settings),
        )  # fmt: skip
    table_console(PIPE_WIDTH).print(table)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
