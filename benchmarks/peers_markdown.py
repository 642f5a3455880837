"""The table of `peers`, for the README and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from .caveats import NOISE, other_load
from .figures import machine_line
from .peers_schema import PeerResult, PeersReport
from .words import milliseconds, pipe_table, size

#: The package of the peer that times are compared with: the fastest of them.
REFERENCE = "fer"


def peers_block(reports: Sequence[PeersReport]) -> str:
    """What stands between the markers of a page."""
    return "\n\n".join(peers_table(report) for report in reports) or "No results yet."


def peers_table(report: PeersReport) -> str:
    """All models, what could not be run among them, and what the figures rest on."""
    header = ["model", "weights", "p50 / p90, ms", f"of {REFERENCE}'s p50", "import, s",
              "first answer after, s", "peak memory"]  # fmt: skip
    for task in report.tasks:
        header += [f"accuracy on {task.name} (95 %)", "balanced"]
    measured = [_row(report, result) for result in report.measured]
    width = len(header) - 1
    missing = [[r.name, f"not measured: {r.reason}", *[""] * (width - 1)] for r in report.results
               if r.status != "measured"]  # fmt: skip
    return f"{_rests_on(report)}\n\n{pipe_table(header, [*measured, *missing])}"


def reference_ms(report: PeersReport) -> float | None:
    """Median time of the peer that others are compared with; None: it did not run."""
    found = (r.latency for r in report.measured if is_reference(r))
    return next((latency.p50 for latency in found if latency), None)


def is_reference(result: PeerResult) -> bool:
    """Whether it is the peer that others are compared with."""
    return not result.ours and result.name.split()[0] == REFERENCE


def _rests_on(report: PeersReport) -> str:
    tasks = "; ".join(f"{task.samples} of {task.name}" for task in report.tasks)
    engines = ", ".join(
        dict.fromkeys(f"{r.engine} {r.engine_version}" for r in report.measured if not r.ours)
    )
    noisy = max(report.measured, key=lambda r: r.latency.spread if r.latency else 0.0, default=None)
    spread = noisy.latency.spread if noisy and noisy.latency else 0.0
    trust = " Trust only larger ratios." if spread > NOISE else ""
    size = f" of {report.size}" if report.size else ""
    return (
        f"On {machine_line(report)} ({report.created[:10]}). {report.rounds * report.runs} runs "
        f"behind each percentile, in {report.rounds} interleaved rounds, a fresh process for each, "
        f"one thread; from the uint8 pixels of a cut-out face{size} to probabilities, each model "
        f"by its own preparation. {report.data}: {tasks}. Of a model that knows more labels the "
        f"best of those named is taken. Peers run by {engines or 'nothing: none was there'}; fer's "
        "own package would bring TensorFlow. What the peers were trained on is not known to this "
        f"program. Medians of the rounds differ by up to {spread:.0%}"
        f"{f' ({noisy.name})' if noisy else ''}.{trust}{_unrecorded(report)}{_busy(report)}"
    )


def _unrecorded(report: PeersReport) -> str:
    """A warning, if a figure of ours may be one of training pictures."""
    if not report.unrecorded:
        return ""
    return (
        f" **Not known to be unseen**: what {', '.join(report.unrecorded)} learnt is not wholly "
        "recorded; these pictures, or other crops of their photographs, may be among it."
    )


def _busy(report: PeersReport) -> str:
    """A warning, if other programs took the cores."""
    found = other_load(report.before, report.after, report.machine.cores)
    if found is None:
        return ""
    return (
        f" **Other programs were running**, {found}: times may be too long, and not for all alike; "
        "measure again on a quiet machine."
    )


def _row(report: PeersReport, result: PeerResult) -> list[str]:
    latency, start = result.latency, result.start_up
    assert latency is not None  # what was measured has them
    assert start is not None
    reference = reference_ms(report)
    row = [
        f"**{result.name}**" if result.ours else result.name,
        size(result.bytes or 0),
        f"{milliseconds(latency.p50)} / {milliseconds(latency.p90)}",
        f"{latency.p50 / reference:.2f}" if reference else "-",
        f"{start.import_s:.2f}",
        f"{start.import_s + start.load_s + start.first_prediction_s:.2f}",
        size(result.peak_rss or 0),
    ]
    for task in report.tasks:
        score = result.score(task)
        if score is None:
            row += ["other labels", ""]
            continue
        low, high = score.accuracy_interval
        row += [f"{score.accuracy:.1%} ({low:.1%} to {high:.1%})", f"{score.balanced_accuracy:.1%}"]
    return row
