"""README's tables: the committed results side by side, a column a machine.

The full tables, with what each rests on, stand in RESULTS.md. What others measured on pictures of
their own stands only there: a first page has one set of accuracies, and says of which pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_emotion.machine import Machine

from .peers_markdown import is_reference, reference_ms
from .peers_schema import PeerResult, PeersReport
from .schema import KERAS, BenchReport
from .words import milliseconds, pipe_table, size

NONE = "-"


def bench_summary(reports: Sequence[BenchReport]) -> str:
    """Every artefact of one model: file, accuracy, and its time on each machine, one thread.

    Accuracies and files are those of the report that knows most of them: on pictures that the
    model has not seen, beside Keras, on as many as there are.
    """
    reports = [report for report in reports if report.threads == 1]
    source = max(reports, key=_worth, default=None)
    if source is None:
        return "No results yet."
    header = [
        "",
        "file",
        "accuracy (95 %)",
        "points lost",
        *_heads([(r.machine, "") for r in reports]),
    ]
    rows = [_bench_row(artefact.recipe, source, reports) for artefact in source.measured]
    words = f"Accuracy: {source.data.name}, {source.data.samples} pictures"
    if source.reference is not None:
        words += f"; points lost against {source.reference} (negative: gained)"
    return f"{words}.\n\n{pipe_table(header, rows)}"


def _worth(report: BenchReport) -> tuple[bool, bool, bool, int]:
    data = report.data
    return (data.kind == "labelled", data.protocol == "held-out", report.reference == KERAS,
            data.samples)  # fmt: skip


def _bench_row(recipe: str, source: BenchReport, reports: Sequence[BenchReport]) -> list[str]:
    first = source.get(recipe)
    assert first is not None  # of those that ran
    row = [recipe, size(first.bytes or 0), NONE, NONE]
    if first.evaluation:
        low, high = first.evaluation.accuracy_interval
        row[2] = f"{first.evaluation.accuracy:.1%} ({low:.1%} to {high:.1%})"
    if first.agreement and first.agreement.accuracy_drop is not None:
        row[3] = f"{100 * first.agreement.accuracy_drop:+.2f}"
    for report in reports:
        own = report.get(recipe)
        if own is None or own.sha256 != first.sha256:  # the time of another file says nothing
            row.append(NONE)
            continue
        time = milliseconds(report.p50(own))
        row.append(f"**{time}**" if report.recommended == recipe else time)
    return row


def peers_summary(reports: Sequence[PeersReport]) -> str:
    """Ours and the peers: weights, accuracy, and the time on each machine, beside the reference's.

    Of the reports those on the pictures and labels of the one with most pictures, those that timed
    small faces first.
    """
    source = max(reports, key=lambda report: max((t.samples for t in report.tasks), default=0),
                 default=None)  # fmt: skip
    if source is None or not source.tasks:
        return "No results yet."
    reports = [report for report in reports if _same(report) == _same(source)]
    reports.sort(key=lambda report: (len(report.size), report.size))
    heads = _heads([(r.machine, r.size.removesuffix(" pixels")) for r in reports])
    header = ["", "weights", "accuracy", "balanced", *heads]
    rows = [_peer_row(result, source, reports) for result in source.measured]
    task = source.tasks[0]
    words = f"{source.data}, {task.samples} of {task.name}."
    return f"{words}\n\n{pipe_table(header, rows)}"


def _same(report: PeersReport) -> tuple[object, ...]:
    return report.data, *([*t.labels, t.samples] for t in report.tasks[:1])


def _peer_row(result: PeerResult, source: PeersReport, reports: Sequence[PeersReport]) -> list[str]:
    name = f"**{result.name}**" if result.ours else result.name
    row = [name, size(result.bytes or 0), NONE, NONE]
    score = result.score(source.tasks[0])
    if score is not None:
        row[2:] = [f"{score.accuracy:.1%}", f"{score.balanced_accuracy:.1%}"]
    for report in reports:
        own = next((r for r in report.measured if r.name == result.name), None)
        row.append(_peer_time(own, report))
    return row


def _peer_time(own: PeerResult | None, report: PeersReport) -> str:
    if own is None or own.latency is None:
        return NONE
    time, reference = milliseconds(own.latency.p50), reference_ms(report)
    if reference is None or is_reference(own):
        return time
    return f"{time} ({own.latency.p50 / reference:.2f})"


def _heads(columns: Sequence[tuple[Machine, str]]) -> list[str]:
    """Machine and size of faces in columns' heads; of two alike the Python is named too."""
    names = [", ".join(filter(None, ("ms", _name(machine), faces))) for machine, faces in columns]
    return [
        name + (f", Python {machine.python}" if names.count(name) > 1 else "")
        for name, (machine, _) in zip(names, columns, strict=True)
    ]


def _name(machine: Machine) -> str:
    """A processor's name does not tell whether it has VNNI."""
    if machine.board:
        return machine.board
    return ", ".join([machine.cpu, *(machine.int8_flags or [])[:1]])
