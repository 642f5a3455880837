"""``README.md`` of a model folder, made from its card; only failure cases are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_emotion.card import (
    CARD_NAME,
    FAILURES_NAME,
    Agreement,
    Evaluation,
    ExportRecord,
    FaceCrop,
    ModelCard,
)
from edge_emotion.errors import ModelError
from edge_emotion.files import write_bytes

README_NAME = "README.md"
#: By this a page is known as one of these.
MADE_FROM = f"Made from `{CARD_NAME}`"
#: How many kinds of error a card names for each data set.
ERRORS = 3
#: Between these stand the tables of a benchmark; edge_emotion.benchmarks.markdown writes them.
BENCH_START = "<!-- bench:start -->"
BENCH_END = "<!-- bench:end -->"


def write_readme(folder: Path, card: ModelCard, *, measured: bool = False) -> None:
    """Write ``README.md`` beside the card, whole or not at all.

    A page with a place for a benchmark keeps it, empty unless `measured`: what stands there is of
    other exports. A ``README.md`` that was not made from a card, as of a user's own project, is
    left as it is.

    Args:
        folder: of the model.
        card: of the model.
        measured: whether the exports that were there before are the same.

    Raises:
        ModelError: the failure cases cannot be read.
        OutputError: it cannot be written.
    """
    path = folder / README_NAME
    failures = folder / FAILURES_NAME
    try:
        text = failures.read_text("utf-8") if failures.exists() else None
    except UnicodeDecodeError as error:
        raise ModelError(f"{failures}: not UTF-8: save it as UTF-8") from error
    page = model_readme(card, text)
    older = path.read_text("utf-8", "replace") if path.is_file() else MADE_FROM
    if MADE_FROM not in older:
        return
    if BENCH_START in older:
        table = older.partition(BENCH_START)[2].partition(BENCH_END)[0] if measured else "\n"
        page += f"\n## Benchmark\n\n{BENCH_START}{table}{BENCH_END}\n"
    write_bytes(path, page.encode())


def model_readme(card: ModelCard, failures: str | None = None) -> str:
    """The card as Markdown, without a benchmark.

    Args:
        card: the model's.
        failures: Markdown on what it gets wrong, from `FAILURES_NAME`; None if nobody has looked.
    """
    training, spec = card.training, card.input
    colour = "grey" if spec.channels == 1 else "RGB"
    parts = [
        f"# {card.name}",
        f"{MADE_FROM}{f' and `{FAILURES_NAME}`' if failures else ''}; do not edit.",
        f"Reads {', '.join(card.labels)} from a picture of one face. Input: uint8 NHWC, "
        f"{spec.height} x {spec.width}, {colour}, {spec.resize} resize. Output: logits. "
        f"{training.parameters:,} parameters, {training.multiply_adds / 1e6:.1f} M multiply-adds.",
        *(_face(spec.face) if spec.face else []),
        "## Intended use",
        card.intended_use,
        "## Out of scope",
        card.out_of_scope,
        "## Training",
        *_training(card),
        "## Accuracy of the float model",
    ]
    parts += (
        map(_evaluation, card.evaluations) if card.evaluations else ["Not measured in training."]
    )
    if failures:
        parts += ["## Failure cases", failures.strip()]
    confidence = card.confidence
    parts += [
        "## When it is unsure",
        "Not fitted: probabilities are softmax(logits), and no answer is reported as `uncertain`."
        if confidence.samples == 0
        else f"Probabilities are softmax(logits / {confidence.temperature:.3f}); a top probability "
        f"under {confidence.threshold:.3f} is reported as `uncertain`. Fitted on "
        f"{confidence.fitted_on} ({confidence.samples} pictures) so that "
        f"{confidence.coverage:.0%} of them are not uncertain." + _fitted_to(card.evaluations),
        "## Exports",
        _exports(card.exports) if card.exports else "None yet: `edge-emotion export` makes them.",
    ]
    return "\n\n".join(parts) + "\n"


def _training(card: ModelCard) -> list[str]:
    training, data = card.training, card.data
    if not training.epochs:
        return ["Not recorded: the model was not trained by edge-emotion."]
    parts = [
        f"`{training.architecture}`, {training.epochs} "
        f"{'epoch' if training.epochs == 1 else 'epochs'}, the weights of epoch "
        f"{training.best_epoch}. Made by:",
        f"```\n{training.command}\n```",
        f"Data: {data.name} ({data.layout}). Source: {data.source}. Terms: {data.licence}. "
        f"Licence of the weights: {card.licence}.",
        f"Split: {data.split} (seed {data.seed}).",
        _splits(card),
    ]
    if data.dropped:
        parts.append(_counts("Left out", data.dropped))
    if data.grouped:
        parts.append(_counts("Kept on one side of the split", data.grouped))
    return parts


def _fitted_to(evaluations: Sequence[Evaluation]) -> str:
    if not any(e.data.endswith(" valid") for e in evaluations):
        return ""
    return " So the figures of `valid` above are optimistic, their ECE most of all."


def _face(face: FaceCrop) -> list[str]:
    return [
        f"A face in a photograph is cut out as a level square, {face.margin:g} times the distance "
        f"of the eyes wide, its centre {face.drop:g} of the way from eyes to mouth."
    ]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]  # a label may be "a|b"
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _splits(card: ModelCard) -> str:
    if not card.data.splits:
        return "Not recorded."
    labels = list(card.data.splits[0].per_label)  # may be more than the model's
    rows = [
        [s.name, str(s.pictures), *(str(s.per_label[label]) for label in labels)]
        for s in card.data.splits
    ]
    return _table(["split", "pictures", *labels], rows)


def _counts(title: str, counts: dict[str, int]) -> str:
    return f"{title}: " + "; ".join(f"{n} {reason}" for reason, n in counts.items()) + "."


def _evaluation(e: Evaluation) -> str:
    low, high = e.accuracy_interval
    head = (
        f"**{e.data}** ({e.protocol}): accuracy {e.accuracy:.1%} (95 % {low:.1%} to {high:.1%}, "
        f"{e.samples} pictures), balanced {e.balanced_accuracy:.1%}, macro F1 {e.macro_f1:.3f}, "
        f"ECE {e.ece:.3f}."
    )
    if e.accuracy_most_certain is not None:
        head += f" Of the 90 % most certain answers {e.accuracy_most_certain:.1%} are right."
    if e.accuracy_mirrored is not None:
        head += f" With `--mirror` accuracy is {e.accuracy_mirrored:.1%}."
    if e.caveat:
        head += f" This is a **{e.caveat}**, and no estimate for new pictures."
    rows = [
        [label, *(f"{x:.3f}" for x in (m.precision, m.recall, m.f1)), str(m.support)]
        if m.support
        else [label, "-", "-", "-", "0"]
        for label, m in e.per_label.items()
    ]
    table = _table(["label", "precision", "recall", "F1", "pictures"], rows)
    return "\n\n".join([head, table, *_errors(e)])


def _errors(e: Evaluation) -> list[str]:
    """The commonest confusions, in words."""
    labels = list(e.per_label)
    found = sorted(
        (
            (count, true, answer)
            for true, row in zip(labels, e.confusion, strict=True)
            for answer, count in zip(labels, row, strict=True)
            if true != answer and count
        ),
        key=lambda error: -error[0],
    )
    if not found:
        return []
    wrong = sum(count for count, _, _ in found)
    words = "; ".join(f"{count} {true} read as {answer}" for count, true, answer in found[:ERRORS])
    return [f"{wrong} {'error' if wrong == 1 else 'errors'}, the commonest: {words}."]


def _exports(exports: list[ExportRecord]) -> str:
    rows = []
    notes = []
    for e in exports:
        size = f"{e.bytes / 1000:.0f} kB" if e.bytes else "?"
        calibration = (
            f"{e.calibration.samples} {e.calibration.source}" if e.calibration else "not needed"
        )
        rows.append([e.recipe, e.file, size, calibration, *_agreement(e.agreement)])
        notes += [
            f"- `{e.recipe}`, {a.data}: labels agree {a.label_agreement:.2%}"
            + (
                ""
                if a.accuracy_drop is None
                else f", accuracy drop {100 * a.accuracy_drop:+.2f} points"
            )
            for a in e.comparison
        ]
    header = ["recipe", "file", "size", "calibrated on", "checked on", "labels agree",
              "max. prob. difference", "KL, nats", "accuracy, drop in points (95 %)"]  # fmt: skip
    table = _table(header, rows)
    if notes:
        table += "\n\nThe same, calibrated otherwise (measured, not kept):\n\n" + "\n".join(notes)
    return table


def _agreement(a: Agreement | None) -> list[str]:
    if a is None:
        return ["not checked", "", "", "", ""]
    drop = "no labels"
    if a.accuracy_drop is not None and a.accuracy_drop_interval is not None:
        low, high = a.accuracy_drop_interval
        drop = f"{100 * a.accuracy_drop:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
        drop = f"{a.accuracy_export:.1%}, {drop}"
    return [
        f"{a.samples} {a.data}",
        f"{a.label_agreement:.2%}",
        f"{a.max_probability_difference:.4f}",
        f"{a.kl_divergence:.2e}",
        drop,
    ]
