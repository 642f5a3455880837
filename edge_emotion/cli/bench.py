"""``edge-emotion bench``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_emotion.cli.terminal import LeftOut, complain, note, progress
from edge_emotion.errors import BudgetError, InputError, OutputError, UsageError, require
from edge_emotion.files import check_reachable, check_target, is_folder, write_bytes

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
        float,
        typer.Option(
            help="Budget: accuracy that may be lost, in percentage points; outside it if more is "
            "lost and the 95 % interval of the loss does not reach down to none."
        ),
    ] = 1.0,
    min_agreement: Annotated[
        float,
        typer.Option(
            help="Budget: share of pictures that must keep the float model's label; outside it if "
            "the 95 % interval of the share is below."
        ),
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
            help="Keep pictures of --data that the model was trained on; the figures are marked as "
            "such.",
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

    Each artefact's latency, start-up and memory come from fresh processes in interleaved rounds.
    Prints tables and what they mean
    on this machine. --data, --photos and --html need the extra "bench", --layers "export".
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
    if json is not None and html is not None and json.resolve() == html.resolve():
        raise UsageError(f"--json and --html both name {html}: give each a file of its own")
    # Minutes of measuring must not end at a place that takes no file.
    if json is not None and is_folder(json):  # it gets the report's own name there
        check_reachable(json)
    elif json is not None and str(json) != "-":
        check_target(json)
    if html is not None:
        check_target(html)
        require("matplotlib", "--html", "bench")
    left_out = LeftOut()
    outcome = run_benchmark(
        model[0] if model else "edge-cnn",
        settings,
        data=data,
        include_training=include_training_pictures,
        photos=photos,
        detector=detector,
        layers=layers,
        progress=progress,
        warn=left_out,
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
    left_out.raise_if_any()


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


def _write(report: BenchReport, json: Path | None, html: Path | None) -> None:
    """Files and tables: none is lost when another cannot be written.

    Raises:
        OutputError: a file cannot be written; the others and the tables are out.
    """
    files: list[tuple[Path, Callable[[], bytes]]] = []
    if json is not None and str(json) != "-":
        files.append((json / report.file_name if json.is_dir() else json, report.to_json))
    if html is not None:
        from edge_emotion.benchmarks.html import html_page

        files.append((html, lambda: html_page(report).encode()))
    failed: list[OutputError] = []
    for path, content in files:  # first: whoever reads stdout may leave
        try:
            write_bytes(path, content())
            note(f"wrote {path}")
        except OutputError as error:
            failed.append(error)
    if str(json) == "-":
        print(report.to_json().decode(), end="")
    else:
        from edge_emotion.benchmarks.terminal import print_report

        print_report(report)
    for other in failed[1:]:
        complain(str(other))
    if failed:
        raise failed[0]


def _raise_for_gate(report: BenchReport) -> None:
    from edge_emotion.benchmarks.budget import unchecked, violations

    found = violations(report)
    if not any(a.agreement for a in report.measured):
        found.append("no export was compared with a float model, so none passes")
    if found:
        raise BudgetError("; ".join(found))
    if unchecked(report):
        note(f"gate: not checked: {', '.join(unchecked(report))}")
