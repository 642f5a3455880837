"""``edge-emotion bench``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_emotion.cli.terminal import complain, note, progress
from edge_emotion.errors import BudgetError, InputError, MissingExtraError, OutputError, UsageError

if TYPE_CHECKING:
    from edge_emotion.benchmarks.schema import BenchReport


def bench(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            help="Shipped model's name, model folder, or one model file; with --compare, JSON "
            "reports.  [default: edge-cnn]",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled pictures: measures accuracy. The publisher's test split, else all.  "
            "[default: agreement only, on the model's own pictures]"
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Class folders of whole photographs: finds the faces, with each finder that is "
            "there, and measures the pictures' answers."
        ),
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="YuNet's file, for --photos.  [default: as predict]")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            help="Write the report as JSON. In a folder that exists it is named by environment "
            "and model; - is stdout, instead of the tables."
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Exit with 1 if an export is outside the accuracy budget."),
    ] = False,
    max_drop: Annotated[
        float, typer.Option(help="Budget: accuracy that may be lost, in percentage points.")
    ] = 1.0,
    min_agreement: Annotated[
        float,
        typer.Option(help="Budget: share of pictures that must keep the float model's label."),
    ] = 0.98,
    rounds: Annotated[
        int | None, typer.Option(help="Processes for each figure.  [default: 4; quick: 2]")
    ] = None,
    runs: Annotated[
        int | None, typer.Option(help="Runs in each round.  [default: 100; quick: 50]")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer runs, for a first look; the report says so.")
    ] = False,
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Threads of the engine; may be repeated.  [default: 1, and all cores]"),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Measure nothing: put the JSON reports that are named side by side.",
        ),
    ] = False,
    include_training_pictures: Annotated[
        bool,
        typer.Option(
            "--include-training-pictures",
            help="Keep pictures that the model was trained on; the figures are marked as such.",
        ),
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Also show, layer by layer, what takes the time and where int8 loses accuracy.",
        ),
    ] = False,
) -> None:
    """Measure every artefact of a model beside its float original: speed, memory, accuracy.

    Each figure comes from fresh processes in interleaved rounds. Prints tables and what they mean
    on this machine. --data needs the extra "bench", --html too.
    """
    if compare:
        others = {
            "--json": json, "--html": html, "--data": data, "--photos": photos,
            "--detector": detector, "--gate": gate or None, "--layers": layers or None,
        }  # fmt: skip
        if given := [name for name, value in others.items() if value is not None]:
            raise UsageError(f"--compare only prints: leave {', '.join(given)} out")
        _compare([Path(name) for name in model or ()])
        return
    if model and len(model) > 1:
        raise UsageError(f"one model at a time, not {', '.join(model)}; --compare takes reports")

    from edge_emotion.benchmarks.run import make_settings, run_benchmark

    settings = make_settings(
        rounds=rounds,
        runs=runs,
        threads=threads or (),
        quick=quick,
        max_drop=max_drop,
        min_agreement=min_agreement,
    )
    if detector is not None and photos is None:
        raise UsageError("--detector is for --photos")
    if str(html) == "-":
        raise UsageError("--html needs a file; - is for --json")
    for target in (json, html):
        _check_target(target)
    if html is not None:
        _check_matplotlib()
    outcome = run_benchmark(
        model[0] if model else "edge-cnn",
        settings,
        data=data,
        include_training=include_training_pictures,
        photos=photos,
        detector=detector,
        layers=layers,
        progress=progress,
        warn=note,
    )
    report = outcome.report
    _write(report, json, html)
    for failure in outcome.failures:
        complain(str(failure))
    if gate:
        _raise_for_gate(report)
    if outcome.failures:
        first = outcome.failures[0]
        raise first.saying(f"{len(outcome.failures)} failed; the others were measured")
    if report.photos is not None and report.photos.unreadable:
        raise typer.Exit(InputError.exit_code)


def _compare(paths: list[Path]) -> None:
    from edge_emotion.benchmarks.compare import compare_reports, read_reports
    from edge_emotion.benchmarks.terminal import print_comparison

    if not paths:
        raise UsageError("--compare needs reports: edge-emotion bench --compare A.json B.json")
    reports, errors = read_reports(paths)
    if reports:
        print_comparison(compare_reports(reports))
    for error in errors:
        complain(str(error))
    if errors:
        raise typer.Exit(InputError.exit_code)


def _check_target(target: Path | None) -> None:
    """Minutes of measuring must not end at a place that cannot be written."""
    if target is None or str(target) == "-":
        return
    there = next(parent for parent in [target, *target.absolute().parents] if parent.exists())
    if there != target and not there.is_dir():
        raise OutputError(f"cannot write {target}: {there} is no folder; name another place")
    if not os.access(there, os.W_OK):
        raise OutputError(f"cannot write {target}: no permission for {there}; name another place")


def _check_matplotlib() -> None:
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("--html", "bench")


def _write(report: BenchReport, json: Path | None, html: Path | None) -> None:
    """Files and tables: neither is lost when the other cannot be written.

    Raises:
        OutputError: a file cannot be written; the tables were printed.
    """
    failed = None
    try:
        _write_files(report, json, html)  # first: whoever reads stdout may leave
    except OutputError as error:
        failed = error
    if str(json) == "-":
        print(report.to_json().decode(), end="")
    else:
        from edge_emotion.benchmarks.terminal import print_report

        print_report(report)
    if failed is not None:
        raise failed


def _write_files(report: BenchReport, json: Path | None, html: Path | None) -> None:
    from edge_emotion.files import write_bytes

    if json is not None and str(json) != "-":
        path = json / report.file_name if json.is_dir() else json
        write_bytes(path, report.to_json())
        note(f"wrote {path}")
    if html is not None:
        from edge_emotion.benchmarks.html import html_page

        write_bytes(html, html_page(report).encode())
        note(f"wrote {html}")


def _raise_for_gate(report: BenchReport) -> None:
    from edge_emotion.benchmarks.budget import unchecked, violations

    found = violations(report)
    if not any(a.agreement for a in report.measured):
        found.append("no export was compared with a float model, so none passes")
    if found:
        raise BudgetError("; ".join(found))
    if unchecked(report):
        note(f"gate: not checked: {', '.join(unchecked(report))}")
