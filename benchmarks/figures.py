"""A report's figures as rows of text: one place for terminal, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_emotion.machine import Conditions, Machine

from .layer import LayerReport
from .schema import ArtefactResult, BenchReport, Share, Timing
from .words import milliseconds, size


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column names the row, the others are figures."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(report: BenchReport) -> list[Table]:
    """Every table of a report; those without rows are left out."""
    found = [
        speed(report), picture(report), footprint(report), accuracy(report), agreement(report),
        per_label(report), *map(layers, report.layers), photographs(report), photo_steps(report),
        *photo_confusions(report), not_measured(report),
    ]  # fmt: skip
    return [t for t in found if t.rows]


def speed(report: BenchReport) -> Table:
    """Model latency and throughput."""
    rows = []
    for artefact, timing in _timings(report):
        m = timing.model
        rows.append(
            [
                artefact.recipe, str(timing.threads), milliseconds(m.p50), milliseconds(m.p90),
                milliseconds(m.p99), f"{m.spread:.0%}",
                *(f"{t.pictures_per_s:,.0f}" for t in timing.throughput),
            ]
        )  # fmt: skip
    batches = [f"pictures/s, batch {b}" for b in report.settings.batches]
    header = ["artefact", "threads", "p50 ms", "p90 ms", "p99 ms", "rounds differ by", *batches]
    return Table("Model latency: tensor to logits", header, rows)


def picture(report: BenchReport) -> Table:
    """Picture-to-label latency by step."""
    rows = []
    for artefact, timing in _timings(report):
        p = timing.picture
        rows.append(
            [
                artefact.recipe, str(timing.threads), milliseconds(p.decode.p50),
                milliseconds(p.preprocess.p50), milliseconds(p.infer.p50),
                milliseconds(p.total.p50), milliseconds(p.total.p90), milliseconds(p.total.p99),
            ]
        )  # fmt: skip
    header = ["artefact", "threads", "decode ms", "preprocess ms", "infer ms", "total p50 ms",
              "p90 ms", "p99 ms"]  # fmt: skip
    return Table("Picture to label: medians of the steps", header, rows)


def footprint(report: BenchReport) -> Table:
    """Start-up, memory and disk, at the lowest number of threads."""
    rows = []
    for artefact in report.measured:
        timing = artefact.timing(report.threads)
        assert timing is not None  # every measured artefact has every number of threads
        s = timing.start_up
        rows.append(
            [
                artefact.recipe, size(artefact.bytes or 0), size(timing.peak_rss),
                f"{s.import_s:.2f}", f"{s.load_s:.3f}", f"{s.first_prediction_s:.3f}",
                f"{artefact.engine} {artefact.engine_version}",
            ]
        )  # fmt: skip
    header = ["artefact", "file", "peak memory", "import s", "load s", "first label s", "engine"]
    return Table("Footprint and start-up", header, rows)


def accuracy(report: BenchReport) -> Table:
    """Accuracies measured now, or else those that the card records."""
    rows = []
    for artefact in report.measured:
        e = artefact.evaluation
        if e is not None:
            low, high = e.accuracy_interval
            rows.append(
                [
                    artefact.recipe, f"{e.accuracy:.1%}", f"{low:.1%} to {high:.1%}",
                    f"{e.balanced_accuracy:.1%}", f"{e.macro_f1:.3f}", f"{e.ece:.3f}",
                ]
            )  # fmt: skip
    if rows:
        data = report.data
        title = f"Accuracy on {data.name}, {data.samples} pictures"
        if data.protocol == "training-set":
            title += " (training-set figure)"
        header = ["artefact", "accuracy", "95 % interval", "balanced", "macro F1", "ECE"]
        return Table(title, header, rows)
    rows = [
        [artefact.recipe, f"{r.accuracy:.1%}", r.data, str(r.samples), r.protocol]
        for artefact in report.measured
        for r in artefact.recorded
    ]
    header = ["artefact", "accuracy", "on", "pictures", "protocol"]
    return Table("Accuracy as recorded in the card, not measured now", header, rows)


def agreement(report: BenchReport) -> Table:
    """Each artefact beside the float reference."""
    rows = []
    for artefact in report.measured:
        a = artefact.agreement
        if a is None:
            continue
        row = [
            artefact.recipe, f"{a.label_agreement:.2%}", f"{a.max_probability_difference:.4f}",
            f"{a.mean_probability_difference:.5f}", f"{a.kl_divergence:.2e}",
        ]  # fmt: skip
        if a.accuracy_drop is not None and a.accuracy_drop_interval is not None:
            low, high = a.accuracy_drop_interval
            row += [
                f"{100 * a.accuracy_drop:+.2f}",
                f"{100 * low:+.2f} to {100 * high:+.2f}",
                f"{a.mcnemar_p:.2g}",
            ]
        rows.append(row)
    header = ["artefact", "labels agree", "max prob. difference", "mean", "KL, nats"]
    if rows and len(rows[0]) > len(header):
        header += ["accuracy lost, points", "95 % interval", "McNemar p"]
    title = f"Beside {report.reference} on {report.data.samples} {report.data.name}"
    if report.data.kind == "labelled":
        title = f"Beside {report.reference} on {report.data.name}, {report.data.samples} pictures"
    return Table(title, header, rows)


def per_label(report: BenchReport) -> Table:
    """Precision and recall of each label."""
    rows = [
        [artefact.recipe, label, f"{m.precision:.3f}", f"{m.recall:.3f}", f"{m.f1:.3f}",
         str(m.support)]
        for artefact in report.measured
        if artefact.evaluation is not None
        for label, m in artefact.evaluation.per_label.items()
    ]  # fmt: skip
    title = "Each label"
    if report.data.protocol == "training-set":
        title += " (training-set figure)"
    return Table(title, ["artefact", "label", "precision", "recall", "F1", "pictures"], rows)


def photographs(report: BenchReport) -> Table:
    """Photographs by face finder."""
    photos = report.photos
    if photos is None:
        return Table("", [], [])
    rows = [
        [
            r.finder, _share(r.found), _share(r.accuracy), _interval(r.accuracy),
            "" if r.balanced_accuracy is None else f"{r.balanced_accuracy:.1%}",
            _share(r.accuracy_with_face), _share(r.accuracy_certain),
        ]
        for r in photos.results
        if r.status == "measured"
    ]  # fmt: skip
    header = ["faces", "with a face", "accuracy over all", "95 % interval", "balanced",
              "where there is a face", "where not uncertain"]  # fmt: skip
    title = f"Photographs: {photos.data}, {photos.samples} pictures, read by {photos.recipe}"
    return Table(title, header, rows)


def photo_steps(report: BenchReport) -> Table:
    """Where the time from photograph to answer goes."""
    if report.photos is None:
        return Table("", [], [])
    rows = [
        [
            r.finder, milliseconds(s.decode.p50), milliseconds(s.find.p50),
            milliseconds(s.crop.p50), milliseconds(s.read.p50), milliseconds(s.total.p50),
            milliseconds(s.total.p90),
        ]
        for r in report.photos.results
        if (s := r.steps) is not None
    ]  # fmt: skip
    header = ["faces", "decode ms", "find ms", "crop ms", "read ms", "total p50 ms", "p90 ms"]
    return Table(f"Photograph to answer, medians: {report.photos.timed}", header, rows)


def photo_confusions(report: BenchReport) -> list[Table]:
    """What each label's photographs were called, a table a finder."""
    if report.photos is None:
        return []
    labels = report.model.labels
    return [
        Table(
            f"Photographs with faces by {r.finder}: true label, and what was answered",
            ["label", *labels, "no face"],
            [[label, *map(str, row)] for label, row in zip(labels, r.confusion, strict=True)],
        )
        for r in report.photos.results
        if r.status == "measured"
    ]


def _share(share: Share | None) -> str:
    if share is None or not share.of:
        return ""
    return f"{share.count / share.of:.1%} ({share.count} of {share.of})"


def _interval(share: Share | None) -> str:
    return "" if share is None else "{:.1%} to {:.1%}".format(*share.interval)


def layers(report: LayerReport) -> Table:
    """The layers of one int8 artefact, and which of them loses most."""
    total_float = sum(layer.float_us or 0.0 for layer in report.layers)
    total_int8 = sum(layer.int8_us or 0.0 for layer in report.layers)
    timed = report.other_float_us is not None and report.other_int8_us is not None
    if timed:
        total_float += report.other_float_us or 0.0
        total_int8 += report.other_int8_us or 0.0

    def times(float_us: float | None, int8_us: float | None) -> list[str]:
        if not timed:
            return []
        return [
            "" if us is None or not total else f"{us / total:.1%}"
            for us, total in ((float_us, total_float), (int8_us, total_int8))
        ]

    rows = [
        [
            layer.name, layer.kind,
            f"{layer.multiply_adds / 1e6:.2f}" if layer.multiply_adds else "",
            *times(layer.float_us, layer.int8_us),
            "exact" if layer.sqnr is None else f"{layer.sqnr:.1f}",
            "" if layer.lost is None else f"{round(layer.lost, 1) + 0.0:.1f}",  # no -0.0
        ]
        for layer in report.layers
    ]  # fmt: skip
    if timed:
        others = times(report.other_float_us, report.other_int8_us)
        rows.append(["in no layer", "", "", *others, "", ""])
    worst = report.worst
    most = f"; most is lost in {worst.name} ({worst.kind})" if worst else ""
    title = f"Layers of {report.recipe} beside {report.reference}, {report.pictures} pictures"
    notes = [f"Not in the float file: {', '.join(report.unmatched)}"] if report.unmatched else []
    notes += report.notes
    header = ["layer", "kind", "multiply-adds, M", *(["time f32", "time int8"] if timed else []),
              "SQNR dB", "lost here dB"]  # fmt: skip
    return Table(". ".join([title + most, *notes]), header, rows)


def not_measured(report: BenchReport) -> Table:
    """What was skipped or failed, and why."""
    rows = [[a.recipe, a.status, a.reason] for a in report.artefacts if a.status != "measured"]
    if report.photos is not None:
        rows += [
            [f"faces by {r.finder}", r.status, r.reason]
            for r in report.photos.results
            if r.status != "measured"
        ]
    return Table("Not measured", ["artefact", "", "reason"], rows)


class OnMachine(Protocol):
    """A report that says on which machine it was made, and in which state that was."""

    @property
    def machine(self) -> Machine:
        """Which."""

    @property
    def before(self) -> Conditions:
        """Before the first timed process."""

    @property
    def after(self) -> Conditions:
        """After the last one."""


def machine_line(report: OnMachine) -> str:
    """The machine in one line."""
    machine = report.machine
    flags = machine.int8_flags
    parts = [
        machine.board or machine.cpu,
        *([machine.cpu] if machine.board else []),
        machine.arch,
        f"{machine.cores} core" + ("s" if machine.cores > 1 else ""),
        "int8 flags not known" if flags is None else " ".join(flags) or "no int8 flags",
        f"Python {machine.python}",
    ]
    if machine.governor:
        parts.append(f"governor {machine.governor}")
    if report.before.temperature is not None and report.after.temperature is not None:
        parts.append(f"{report.before.temperature:.0f} to {report.after.temperature:.0f} °C")
    return ", ".join(parts)


def method_line(report: BenchReport) -> str:
    """How it was measured, in one line."""
    s = report.settings
    return (
        f"{'Quick run: ' if s.quick else ''}{s.total_runs} runs behind each percentile, in "
        f"{s.rounds} interleaved rounds of {s.runs}, a fresh process for each artefact, thread "
        f"count and round, {s.warmup} runs of warm-up. Picture: {s.picture}; read as one face: "
        "none is looked for, and the JPEG is decoded no larger than the model needs."
    )


def _timings(report: BenchReport) -> list[tuple[ArtefactResult, Timing]]:
    return [(a, t) for a in report.measured for t in a.timings]
