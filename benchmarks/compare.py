"""Reports of several machines side by side.

A time belongs to the machine it was measured on. What can be compared are ratios: each export
against a float model of the same report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_emotion.card import RECIPES
from edge_emotion.errors import InputError

from .caveats import noise, throttling
from .figures import Table, machine_line
from .schema import KERAS, REFERENCES, BenchReport
from .words import ms, threads_word


@dataclass(frozen=True)
class Comparison:
    """What ``bench --compare`` prints."""

    machines: list[str]  # a line a report: its number in the table, what ran where and when
    table: Table
    notes: list[str]  # what to know before the columns are compared


def read_reports(paths: Iterable[Path]) -> tuple[list[BenchReport], list[InputError]]:
    """Read what can be read; an error for each of the others."""
    reports, errors = [], []
    for path in paths:
        try:
            report = BenchReport.read(path)
            if fault := _fault(report):
                raise InputError(f"{path}: not a benchmark report: {fault}")
            reports.append(report)
        except InputError as error:
            errors.append(InputError(_plain(str(error))))
        except RecursionError:
            errors.append(InputError(_plain(f"{path}: not a benchmark report: too deep")))
    return reports, errors


def _fault(report: BenchReport) -> str | None:
    """What no run of ``bench`` writes, though the schema lets it through."""
    if not report.artefacts:
        return "it has no artefacts"
    for what, recipe in (("reference", report.reference), ("recommended", report.recommended)):
        if recipe is not None and report.get(recipe) is None:
            return f"{what} is {recipe}, which it did not measure"
    for artefact in report.measured:
        if artefact.recipe not in (KERAS, *RECIPES):
            return f"unknown recipe {artefact.recipe}"
        for timing in artefact.timings:
            times = [timing.model.p50, *timing.model.round_medians]
            if len(times) < 2 or min(times) <= 0:
                return f"{artefact.recipe} has a time that is not above 0, or none"
    return None


def _plain(text: str) -> str:
    """Text without what a terminal would obey: a report is somebody else's file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def compare_reports(reports: Sequence[BenchReport]) -> Comparison:
    """Put reports side by side, each in a column.

    A cell has the median model latency at the report's lowest number of threads, and how many
    times as fast that is as the float model of the same report.
    """
    base = common_reference(reports)
    rows = []
    for recipe in (KERAS, *RECIPES):
        cells = [_cell(report, recipe, base or report.reference) for report in reports]
        if any(cells):
            rows.append([recipe, *(cell or "-" for cell in cells)])
    names = [f"[{number}]" for number in range(1, len(reports) + 1)]
    machines = [_machine(*named) for named in zip(names, reports, strict=True)]
    notes = [_plain(note) for note in _notes(names, reports, base)]
    return Comparison(machines, Table("Model latency, median", ["artefact", *names], rows), notes)


def common_reference(reports: Sequence[BenchReport]) -> str | None:
    """The float model that all reports measured; of several the one nearest to the original."""
    return next((r for r in REFERENCES if all(report.get(r) for report in reports)), None)


def _machine(name: str, report: BenchReport) -> str:
    return _plain(
        f"{name} {report.model.name} on {machine_line(report)}, {report.created[:10]}, "
        f"{threads_word(report.threads)}"
    )


def _cell(report: BenchReport, recipe: str, base: str | None) -> str | None:
    artefact, reference = report.get(recipe), report.get(base)
    if artefact is None:
        return None
    words = ms(report.p50(artefact))
    if reference is not None and report.p50(artefact) > 0:
        words += f"  {report.p50(reference) / report.p50(artefact):.2f} x"
    return f"{words} *" if recipe == report.recommended else words


def _notes(names: Sequence[str], reports: Sequence[BenchReport], base: str | None) -> Iterator[str]:
    named = list(zip(names, reports, strict=True))
    yield (
        f"x: times as fast as {base or 'the float reference'} in the same report. Compare these; a "
        "time is that of the machine it stands under."
    )
    if any(report.recommended for report in reports):
        yield "* is what that report recommends."
    if base is None:
        references = [f"{name} {report.reference or 'none'}" for name, report in named]
        yield (
            f"No float model is in all reports, so the ratios have other bases: "
            f"{', '.join(references)}."
        )
    yield from _other_files(named)
    if len({report.threads for report in reports}) > 1:
        yield "They were measured with other numbers of threads: see above."
    for name, report in named:
        yield from (f"{name} {line}" for line in (*noise(report), *throttling(report)))
        if report.settings.quick:
            yield f"{name} This is a quick run."


def _other_files(named: Sequence[tuple[str, BenchReport]]) -> Iterator[str]:
    """Where the reports are not of the same files."""
    originals = {name: report.model.keras_sha256 for name, report in named}
    if len(set(originals.values())) > 1:
        yield f"These are not the same model: Keras file {_sums(originals)}."
        return
    for recipe in RECIPES:
        files = {name: report.get(recipe) for name, report in named}
        sums = {name: a.sha256 for name, a in files.items() if a and a.sha256}
        if len(set(sums.values())) > 1:
            yield f"{recipe} is not the same file everywhere, though of one model: {_sums(sums)}."


def _sums(sums: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest[:12]}" for name, digest in sums.items())
