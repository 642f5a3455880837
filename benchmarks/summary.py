"""README's tables: the committed results side by side, a column a machine.

The full tables, with what each rests on, stand in RESULTS.md. All reports are of the files that
ship, which a test sees to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_emotion.machine import Machine

from .peers_markdown import is_reference, reference_ms
from .peers_schema import PeerResult, PeersReport
from .schema import BenchReport
from .words import milliseconds, pipe_table, size

NONE = "-"


def bench_summary(reports: Sequence[BenchReport]) -> str:
    """Every artefact of one model: file, accuracy, and its time on each machine.

    Accuracies are those of the first report that has any: a board may have measured times alone.
    """
    if not reports:
        return "No results yet."
    header = ["", "file", "accuracy (95 %)", "points lost", *(_on(r.machine) for r in reports)]
    recipes = dict.fromkeys(
        a.recipe for report in _labelled_first(reports) for a in report.measured
    )
    return pipe_table(header, [_bench_row(recipe, reports) for recipe in recipes])


def _labelled_first(reports: Iterable[BenchReport]) -> list[BenchReport]:
    return sorted(reports, key=lambda report: report.data.kind != "labelled")


def _bench_row(recipe: str, reports: Sequence[BenchReport]) -> list[str]:
    first = next(a for report in _labelled_first(reports) if (a := report.get(recipe)))
    row = [recipe, size(first.bytes or 0), NONE, NONE]
    if first.evaluation:
        low, high = first.evaluation.accuracy_interval
        row[2] = f"{first.evaluation.accuracy:.1%} ({low:.1%} to {high:.1%})"
    if first.agreement and first.agreement.accuracy_drop is not None:
        row[3] = f"{100 * first.agreement.accuracy_drop:+.2f}"
    for report in reports:
        own = report.get(recipe)
        time = milliseconds(report.p50(own)) if own else NONE
        row.append(f"**{time}**" if own and report.recommended == recipe else time)
    return row


def peers_summary(reports: Sequence[PeersReport]) -> str:
    """Ours and the peers: weights, accuracy, and the time on each machine, beside the reference's.

    Accuracies are on the first task of the first report in which a model ran.
    """
    if not reports:
        return "No results yet."
    header = ["", "weights", "accuracy", "balanced",
              *(f"{_on(r.machine)}, {r.size}" for r in reports)]  # fmt: skip
    names = dict.fromkeys(result.name for report in reports for result in report.measured)
    return pipe_table(header, [_peer_row(name, reports) for name in names])


def _peer_row(name: str, reports: Sequence[PeersReport]) -> list[str]:
    found = [next((r for r in report.measured if r.name == name), None) for report in reports]
    first, report = next((r, at) for r, at in zip(found, reports, strict=True) if r is not None)
    row = [f"**{name}**" if first.ours else name, size(first.bytes or 0), NONE, NONE]
    score = first.score(report.tasks[0])
    if score is not None:
        row[2:] = [f"{score.accuracy:.1%}", f"{score.balanced_accuracy:.1%}"]
    return [*row, *(_peer_time(own, at) for own, at in zip(found, reports, strict=True))]


def _peer_time(own: PeerResult | None, report: PeersReport) -> str:
    if own is None or own.latency is None:
        return NONE
    time, reference = milliseconds(own.latency.p50), reference_ms(report)
    if reference is None or is_reference(own):
        return time
    return f"{time} ({own.latency.p50 / reference:.2f})"


def _on(machine: Machine) -> str:
    """A machine in a column's head; a processor's name does not tell whether it has VNNI."""
    if machine.board:
        return f"ms, {machine.board}"
    return ", ".join(["ms", machine.cpu, *(machine.int8_flags or [])[:1]])
