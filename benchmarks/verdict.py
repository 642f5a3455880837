"""What the figures of one report mean, in sentences.

Every comparison is between figures of the same run. Times of two runs are never compared.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_emotion.chips import advice_for, needs_no_extra
from edge_emotion.evaluation import may_be_guessing
from edge_emotion.machine import DOT_PRODUCT_FLAGS

from .budget import TIE, outside
from .caveats import NOISE, caveats, rounds, spread
from .schema import KERAS, ArtefactResult, BenchReport
from .words import lost, ms, size, threads_word, times

#: Below either, the fixed cost of a call (checks, copies, waking threads) outweighs the arithmetic.
TINY_MULTIPLY_ADDS = 5_000_000
TINY_MS = 0.1
#: An int8 export and the float export that the same engine runs.
PAIRS = (
    ("onnx-int8", "onnx-f32"),
    ("tflite-int8", "tflite-f32"),
    ("tflite-int8-dynamic", "tflite-f32"),
)


def explain(report: BenchReport) -> list[str]:
    """The sentences, the most important first."""
    return [
        *_deployment(report),
        *_int8(report),
        *_chip(report),
        *_beside_keras(report),
        *_picture(report),
        *_threads(report),
        *_accuracy(report),
        *caveats(report),
    ]


def _deployment(report: BenchReport) -> Iterator[str]:
    chosen = report.get(report.recommended)
    if chosen is None:
        exports = [a for a in report.measured if a.recipe != KERAS]
        if exports:
            yield "No export is within the accuracy budget: deploy none of them."
        else:
            yield "No export was measured, so there is none to recommend."
        return
    words = f"Deploy {chosen.recipe} on this machine: {ms(report.p50(chosen))} a picture "
    words += f"(median, {threads_word(report.threads)})"
    if chosen.bytes:
        words += f", {size(chosen.bytes)}"
    words += f"; {_why_trusted(report, chosen)}"
    exports = [a for a in report.measured if a.recipe != KERAS]
    fastest = min(exports, key=report.p50)
    if len(exports) > 1 and fastest.recipe == chosen.recipe:
        words += ". It is the fastest export measured here"
    elif len(exports) > 1:
        gap = report.p50(chosen) / report.p50(fastest) - 1
        if outside(report, fastest.agreement):
            why = "is outside the accuracy budget"
        elif needs_no_extra(chosen.recipe) and not needs_no_extra(fastest.recipe):
            why = "needs an extra"
        else:
            why = "is the larger file"
        words += f". {fastest.recipe} is {gap:.0%} faster, but {why}"
    yield words + "."
    base = [a for a in exports if needs_no_extra(a.recipe) and a.recipe != chosen.recipe]
    base = [a for a in base if not outside(report, a.agreement)]
    if not needs_no_extra(chosen.recipe) and base:
        other = min(base, key=report.p50)
        yield (
            f"{chosen.recipe} needs pip install 'edge-emotion[litert]'. Without any extra the "
            f"fastest is {other.recipe}: {ms(report.p50(other))}."
        )


def _why_trusted(report: BenchReport, artefact: ArtefactResult) -> str:
    agreement = artefact.agreement
    if agreement is None:
        return (
            "it is the float reference"
            if artefact.recipe == report.reference
            else "it was not compared with the float model in this run"
        )
    words = f"gives the label of {report.reference} on {agreement.label_agreement:.1%} of "
    kind = "pictures" if report.data.kind == "labelled" else report.data.name
    words += f"{agreement.samples} {kind}"
    if agreement.accuracy_drop is not None:
        words += f" and {lost(agreement.accuracy_drop)} of accuracy"
    return words


def _int8(report: BenchReport) -> Iterator[str]:
    for small, large in PAIRS:
        int8, f32 = report.get(small), report.get(large)
        if int8 is None or f32 is None:
            continue
        a, b = report.p50(int8), report.p50(f32)
        if a > b * (1 - TIE):
            yield (
                f"{small} is not faster than {large} here: {ms(a)} against {ms(b)}. "
                f"Likely cause: {_cause(report, int8, f32)}."
            )
            continue
        words = f"{small} is {times(b / a)} as fast as {large}: {ms(a)} against {ms(b)}"
        if max(rounds(report, int8)) >= min(rounds(report, f32)):
            words += ", but the slowest round of the one is no faster than the fastest of the other"
        yield words + "."


def _chip(report: BenchReport) -> Iterator[str]:
    """What the instruction sets let one expect, beside what was measured."""
    advice = advice_for(report.machine)
    if report.machine.has_dot_product is None or not _comparable(report):
        return
    expected = advice.choose([a.recipe for a in report.measured])
    words = f"What to expect of this processor: {advice.why}"
    if expected is not None and report.recommended not in (None, expected):
        words += f". That speaks for {expected}; what was measured here speaks for another"
    yield f"{words}."


def _comparable(report: BenchReport) -> bool:
    return any(report.get(small) and report.get(large) for small, large in PAIRS)


def _cause(report: BenchReport, int8: ArtefactResult, f32: ArtefactResult) -> str:
    machine = report.machine
    if report.model.multiply_adds < TINY_MULTIPLY_ADDS or report.p50(f32) < TINY_MS:
        return (
            f"the network is so small ({report.model.multiply_adds / 1e6:.1f} M multiply-adds) "
            "that the fixed cost of each call outweighs the arithmetic that int8 saves"
        )
    if machine.has_dot_product is False:
        return (
            "this processor has no int8 dot-product instruction (VNNI on x86, dotprod on ARM), and "
            f"without one {int8.engine}'s int8 kernels gain less than quantising costs; "
            "the file is smaller all the same"
        )
    if int8.recipe == "tflite-int8-dynamic":
        return "its activations stay float and are quantised anew in every layer of every run"
    if max(spread(report, int8), spread(report, f32)) > NOISE:
        return "unclear, since the rounds differ too much; measure again on a quiet machine"
    if machine.has_dot_product is None:
        return "not known: the kernel does not say which int8 instructions the processor has"
    flags = ", ".join(f for f in machine.int8_flags or [] if f in DOT_PRODUCT_FLAGS)
    return (
        f"in the graph, since the processor has int8 dot products ({flags}): layers without an "
        "int8 kernel, or steps that quantise and dequantise between layers"
    )


def _beside_keras(report: BenchReport) -> Iterator[str]:
    keras, chosen = report.get(KERAS), report.get(report.recommended)
    if keras is None or chosen is None:
        return
    one, other = keras.timing(report.threads), chosen.timing(report.threads)
    assert one is not None  # every measured artefact has every number of threads
    assert other is not None
    starts = [t.start_up.import_s + t.start_up.load_s + t.start_up.first_prediction_s
              for t in (other, one)]  # fmt: skip
    yield (
        f"The float Keras model takes {ms(one.model.p50)}: {chosen.recipe} is "
        f"{times(one.model.p50 / other.model.p50)} as fast, gives its first label after "
        f"{starts[0]:.1f} s instead of {starts[1]:.1f} s and needs {size(other.peak_rss)} of "
        f"memory instead of {size(one.peak_rss)}."
    )


def _picture(report: BenchReport) -> Iterator[str]:
    chosen = report.get(report.recommended) or next(iter(report.measured), None)
    timing = chosen.timing(report.threads) if chosen else None
    if chosen is None or timing is None:
        return
    p = timing.picture
    steps = {"decoding": p.decode.p50, "preprocessing": p.preprocess.p50, "inference": p.infer.p50}
    whole = sum(steps.values())
    most = max(steps, key=lambda name: steps[name])
    words = f"From JPEG to label {chosen.recipe} takes {ms(p.total.p50)}: " + ", ".join(
        f"{name} {value / whole:.0%}" for name, value in steps.items()
    )
    if most != "inference":
        words += ". Smaller pictures, or crops of the face, save more than a faster network would"
    yield words + "."


def _threads(report: BenchReport) -> Iterator[str]:
    chosen, most = report.get(report.recommended), max(report.settings.threads)
    timing = chosen.timing(most) if chosen else None
    if chosen is None or timing is None or most == report.threads:
        return
    few = chosen.timing(report.threads)
    assert few is not None  # every measured artefact has every number of threads
    one, other = few.model, timing.model
    words = f"With {most} threads {chosen.recipe} takes {ms(other.p50)} instead of {ms(one.p50)}"
    if other.p50 > one.p50 * (1 - TIE):
        yield f"{words}: leave the other cores to the program around it."
    elif other.p90 > one.p90 * (1 + TIE):
        yield f"{words}, but the slowest tenth {ms(other.p90)} instead of {ms(one.p90)}."
    elif max(other.round_medians) >= min(one.round_medians):
        yield f"{words}, but its slowest round is no faster than the fastest with fewer."
    else:
        yield f"{words}."


def _accuracy(report: BenchReport) -> Iterator[str]:
    data, reference = report.data, report.get(report.reference)
    if data.kind == "none":
        yield (
            "Neither accuracy nor agreement was measured: no pictures were given, and none come "
            "with the model."
        )
        return
    if data.protocol == "training-set":
        yield (
            f"The accuracies are training-set figures: the model was trained or validated on "
            f"{data.trained_on} of these {data.samples} pictures. They do not say how it does on "
            "new ones."
        )
    if data.kind == "unlabelled":
        words = "No labelled pictures were given (--data): "
        if report.reference is not None:
            words += f"agreement is measured on {data.samples} {data.name}, and "
        yield f"{words}the accuracies are those recorded in the card, not measured now."
    elif reference is not None and reference.evaluation is not None:
        low, high = reference.evaluation.accuracy_interval
        yield (
            f"On {data.name} ({data.samples} pictures) {reference.recipe} is right on "
            f"{reference.evaluation.accuracy:.1%} (95 %: {low:.1%} to {high:.1%})."
        )
        if may_be_guessing(reference.evaluation):
            yield "That cannot be told from guessing, and exports agree with a guess all the same."
    yield from _differences(report)


def _differences(report: BenchReport) -> Iterator[str]:
    """What the exports lose in accuracy: those beyond chance, then the others together."""
    compared = [
        (artefact, artefact.agreement)
        for artefact in report.measured
        if artefact.agreement is not None and artefact.agreement.accuracy_drop is not None
    ]
    # Bonferroni, since of many one differs by chance; less those that give no other label, and so
    # could not differ (Tarone, "A modified Bonferroni method for discrete data", Biometrics 1990).
    count = sum(a.label_agreement < 1 for _, a in compared)
    corrected = f" (p, not the interval, corrected for {count} comparisons)" if count > 1 else ""
    unclear = []
    for artefact, a in compared:
        assert a.accuracy_drop is not None
        assert a.accuracy_drop_interval is not None  # compare() gives all of them or none
        assert a.mcnemar_p is not None
        low, high = (100 * bound for bound in a.accuracy_drop_interval)
        p = min(1.0, a.mcnemar_p * max(1, count))
        words = (
            f"{artefact.recipe} {lost(a.accuracy_drop)} "
            f"(loss, 95 %: {low:+.2f} to {high:+.2f}; McNemar p = {p:.2g})"
        )
        if p < 0.05:
            against = f"against {report.reference}"
            yield f"{words} {against}: more than chance explains{corrected}."
        else:
            unclear.append(words)
    if unclear:
        yield (
            f"Against {report.reference}, {'; '.join(unclear)}: no difference that "
            f"{report.data.samples} pictures can show{corrected}."
        )
