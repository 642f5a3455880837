"""README's tables: the committed results side by side, a column a machine.

The full tables, with what each rests on, stand in RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_emotion.machine import Machine

from .peers_markdown import REFERENCE, reference_ms
from .peers_schema import PeerResult, PeersReport
from .schema import ArtefactResult, BenchReport
from .words import milliseconds, size


def bench_summary(reports: Sequence[BenchReport]) -> str:
    """Every artefact of one model: file, accuracy, and its time on each machine.

    Accuracies are those of the first report: the files are the same, and the test pictures.
    """
    if not reports:
        return "No results yet."
    first = reports[0]
    header = ["", "file", "accuracy", "points lost", *(_on(r.machine) for r in reports)]
    rows = [_bench_row(artefact, reports) for artefact in first.measured]
    return _table(header, rows)


def _bench_row(artefact: ArtefactResult, reports: Sequence[BenchReport]) -> list[str]:
    e, a = artefact.evaluation, artefact.agreement
    lost = "-" if a is None or a.accuracy_drop is None else f"{100 * a.accuracy_drop:+.2f}"
    row = [artefact.recipe, size(artefact.bytes or 0), f"{e.accuracy:.1%}" if e else "-", lost]
    for report in reports:
        own = report.get(artefact.recipe)
        time = milliseconds(report.p50(own)) if own else "-"
        row.append(f"**{time}**" if report.recommended == artefact.recipe else time)
    return row


def peers_summary(reports: Sequence[PeersReport]) -> str:
    """Ours and the peers: weights, accuracy, and the time on each machine, beside the reference's.

    Accuracies are those of the first report and its first task.
    """
    if not reports:
        return "No results yet."
    header = ["", "weights", "accuracy", "balanced", *(_on(r.machine) for r in reports)]
    rows = [_peer_row(result, reports) for result in reports[0].measured]
    return _table(header, rows)


def _peer_row(result: PeerResult, reports: Sequence[PeersReport]) -> list[str]:
    score = result.score(reports[0].tasks[0])
    accuracies = (score.accuracy, score.balanced_accuracy) if score else ()
    row = [result.name, size(result.bytes or 0), *(f"{share:.1%}" for share in accuracies)]
    row += ["-"] * (4 - len(row))
    for report in reports:
        own = next((r for r in report.measured if r.name == result.name), None)
        if own is None or own.latency is None:
            row.append("-")
            continue
        cell = milliseconds(own.latency.p50)
        reference = reference_ms(report)
        if reference is not None and not own.name.startswith(REFERENCE):
            cell += f" ({own.latency.p50 / reference:.2f})"
        row.append(cell)
    return row


def _on(machine: Machine) -> str:
    """A machine in a column's head; a processor's name does not tell whether it has VNNI."""
    if machine.board:
        return f"ms, {machine.board}"
    return ", ".join(["ms", machine.cpu, *(machine.int8_flags or [])[:1]])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
