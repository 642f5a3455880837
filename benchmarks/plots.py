"""The plots of the HTML page, as SVG that takes its ink from the page's CSS."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from edge_emotion.errors import MissingExtraError

from .schema import KERAS, ArtefactResult, BenchReport, Timing
from .words import milliseconds

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
except ImportError as error:
    raise MissingExtraError("the HTML report", "bench") from error

#: Okabe & Ito, "Color Universal Design", 2008: told apart by colour-blind people, too.
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
#: One colour and one marker an artefact, in every plot.
COLOURS = {
    KERAS: PURPLE, "onnx-f32": SKY, "onnx-int8": BLUE, "tflite-f32": ORANGE,
    "tflite-int8": VERMILLION, "tflite-int8-dynamic": GREEN,
}  # fmt: skip
MARKERS = {
    KERAS: "D", "onnx-f32": "o", "onnx-int8": "s", "tflite-f32": "^", "tflite-int8": "v",
    "tflite-int8-dynamic": "P",
}  # fmt: skip
#: Stand-ins that matplotlib draws with; `_svg` puts the page's colours in their place.
INK, GRID = "#010203", "#040506"
WIDTH = 7.6  # inches
#: Bins with fewer pictures are left out of the reliability curve: they show chance.
FEWEST = 10
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and copied
    "svg.hashsalt": "edge-emotion",
    "font.size": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID,
    "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False,
}  # fmt: skip


def latency_plot(report: BenchReport) -> str:
    """Distribution of the model latency: a line a figure, the fastest on top."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        rows = sorted(_rows(report), key=lambda row: -row[1].model.p50)
        for y, (artefact, timing) in enumerate(rows):
            q, colour = timing.model.quantiles, COLOURS[artefact.recipe]
            axes.plot([q[1], q[19]], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([q[5], q[15]], [y, y], color=colour, linewidth=9, solid_capstyle="butt")
            axes.plot([q[10]], [y], MARKERS[artefact.recipe], color=INK, markersize=5)
            axes.annotate(
                f"{milliseconds(timing.model.p50)} ms", (q[19], y), xytext=(8, 0),
                textcoords="offset points", verticalalignment="center", fontsize=10,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [a.recipe for a, _ in rows])
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12, y=0.08)
        _log_ms(axes, "model latency, ms (log scale)")

    return _svg("latency", 0.9 + 0.42 * len(report.measured), draw)


def steps_plot(report: BenchReport) -> str:
    """Where the time from JPEG to label goes."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        rows = sorted(_rows(report), key=lambda row: -row[1].picture.total.p50)
        steps = (("decode", SKY), ("preprocess", ORANGE), ("infer", BLUE))
        for y, (_, timing) in enumerate(rows):
            left = 0.0
            for step, colour in steps:
                width = getattr(timing.picture, step).p50
                axes.barh(y, width, 0.62, left, color=colour, label=step if y == 0 else None)
                left += width
            axes.annotate(
                f"{milliseconds(timing.picture.total.p50)} ms", (left, y), xytext=(6, 0),
                textcoords="offset points", verticalalignment="center", fontsize=10,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [a.recipe for a, _ in rows])
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.14)
        axes.set_xlabel("JPEG to label, ms (medians of the steps)")
        figure.legend(ncols=3, loc="outside upper left")

    return _svg("steps", 1.2 + 0.42 * len(report.measured), draw)


def trade_plot(report: BenchReport) -> str:
    """Accuracy, or else agreement, against model latency."""
    labelled = report.data.kind == "labelled"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for artefact, timing in _rows(report):
            share, low, high = _share(artefact, labelled)
            axes.errorbar(
                timing.model.p50, 100 * share, [[100 * (share - low)], [100 * (high - share)]],
                fmt=MARKERS[artefact.recipe], color=COLOURS[artefact.recipe], markersize=9,
                elinewidth=1.2, capsize=3, label=artefact.recipe,
            )  # fmt: skip
        caveat = " (training set)" if report.data.protocol == "training-set" else ""
        axes.set_ylabel(
            f"accuracy{caveat}, % (95 %)" if labelled else f"labels as {report.reference}, %"
        )
        axes.margins(x=0.15, y=0.2)
        if not labelled:
            lowest = min(_share(a, labelled)[0] for a in report.measured)
            axes.set_ylim(100 * lowest - 1, 100.2)
            axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 100])
        _log_ms(axes, "model latency, ms (log scale; left is faster)")
        figure.legend(ncols=3, loc="outside upper left")

    return _svg("trade", 3.8, draw)


def reliability_plot(report: BenchReport) -> str:
    """How often a probability keeps its promise."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 4)))
        lowest = 1.0
        for artefact in report.measured:
            bins = [b for b in artefact.reliability if b.pictures >= FEWEST]
            lowest = min([lowest, *(b.confidence for b in bins)])
            axes.plot(
                [b.confidence for b in bins], [b.accuracy for b in bins],
                marker=MARKERS[artefact.recipe], color=COLOURS[artefact.recipe],
                label=artefact.recipe, linewidth=1.4, markersize=5,
            )  # fmt: skip
        axes.set_xlim(max(0.0, lowest - 0.05), 1.01)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("top probability, mean of the bin")
        axes.set_ylabel("share that is right")
        figure.legend(ncols=3, loc="outside upper left")

    return _svg("reliability", 4.2, draw)


def _rows(report: BenchReport) -> list[tuple[ArtefactResult, Timing]]:
    rows = [(a, a.timing(report.threads)) for a in report.measured]
    return [(a, t) for a, t in rows if t is not None]


def _share(artefact: ArtefactResult, labelled: bool) -> tuple[float, float, float]:
    """Share with its interval; the reference agrees with itself."""
    if labelled:
        assert artefact.evaluation is not None  # labelled pictures evaluate every artefact
        return artefact.evaluation.accuracy, *artefact.evaluation.accuracy_interval
    share = artefact.agreement.label_agreement if artefact.agreement else 1.0
    return share, share, share


def _log_ms(axes: Any, label: str) -> None:
    axes.set_xscale("log")
    # 1, 2, 5: the powers of ten alone would leave an axis of less than a decade bare.
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def _svg(name: str, height: float, draw: Callable[[Any], None]) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace(INK, "var(--ink)").replace(GRID, "var(--line)")
    # Several figures on one page: their ids must not meet. The page sets the size.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', r'<svg aria-hidden="true" \1', text, count=1)
