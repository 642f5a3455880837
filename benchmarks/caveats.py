"""What to know before the figures of a report are trusted, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from edge_emotion.machine import Conditions

from .schema import KERAS, ArtefactResult, BenchReport, Data

#: Cores that other programs may keep busy.
BUSY = 0.25
#: A machine on which the slowest round takes this share longer than the fastest is noisy.
NOISE = 0.15


def caveats(report: BenchReport) -> Iterator[str]:
    """All of them."""
    data, settings = report.data, report.settings
    if report.reference is not None and report.reference != KERAS:
        yield (
            f"The float reference is {report.reference}, since the Keras model was not run here."
        )
    elif report.reference is None and data.kind != "none":
        yield "No float model ran, so nothing says how close to it the others are."
    if data.trained_on and data.protocol == "held-out":
        yield (
            f"{data.trained_on} pictures were left out: the model was trained or validated on them."
        )
    yield from unrecorded(data)
    yield from photographs(report)
    yield from noise(report)
    yield from load(report)
    yield from throttling(report)
    if settings.quick or settings.total_runs < 200:
        quick = "This is a quick run: its" if settings.quick else "The"
        yield (
            f"{quick} percentiles come from {settings.total_runs} runs each, so p99 is little more "
            "than the slowest."
        )
    for artefact in report.artefacts:
        if artefact.status != "measured":
            yield f"{artefact.recipe} {artefact.status}: {artefact.reason}."


def unrecorded(data: Data) -> Iterator[str]:
    """That the model may have been trained on the pictures, if nothing says that it was not."""
    if data.kind == "labelled" and not data.trained_on_known:
        yield (
            "Whether the model was trained on some of these pictures, or on other crops of their "
            "photographs, is not known: its folder does not record it."
        )


def photographs(report: BenchReport) -> Iterator[str]:
    """Which photographs the model has learnt, as far as that is known."""
    photos = report.photos
    if photos is None:
        return
    if photos.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in photos.left_out.items())
        yield f"Of the files in {photos.data} were left out: {reasons}."
    if photos.trained_on:
        yield (
            f"{photos.trained_on} photographs were left out: the model was trained or validated on "
            "them or on faces in them."
        )
    if not photos.trained_on_known:
        yield (
            "Whether the model was trained on faces in some of these photographs is not known: its "
            "folder does not record it."
        )


def noise(report: BenchReport) -> Iterator[str]:
    """That the rounds differ too much, if they do, in the one latency or the other."""
    found = []
    for artefact in report.measured:
        timing = artefact.timing(report.threads)
        assert timing is not None  # every measured artefact has every number of threads
        found.append((timing.model.spread, f"{artefact.recipe}, model"))
        found.append((timing.picture.total.spread, f"{artefact.recipe}, JPEG to label"))
    most, name = max(found, default=(0.0, ""))
    if most > NOISE:
        yield (
            f"The machine was noisy: medians of the rounds differ by up to {most:.0%} ({name}). "
            "Trust only larger ratios."
        )


def load(report: BenchReport) -> Iterator[str]:
    """That other programs were running, if they were."""
    found = other_load(report.before, report.after, report.machine.cores)
    if found is not None:
        yield f"Other programs were running: {found}."


def other_load(before: Conditions, after: Conditions, cores: int) -> str | None:
    """What other programs took of the cores, if that was much.

    Args:
        before: when the measurement began.
        after: when it ended.
        cores: of the machine.
    """
    for conditions, when in (before, "began"), (after, "ended"):
        if conditions.busy is not None and conditions.busy > BUSY:
            return f"{conditions.busy:.1f} of {cores} cores were busy when the measurement {when}"
    return None


def throttling(report: BenchReport) -> Iterator[str]:
    """That the board was slowed down, if it was."""
    before, after = (set(c.throttling or []) for c in (report.before, report.after))
    # What happened "since boot" was before this measurement, unless it is new.
    flags = sorted({f for f in before | after if not f.endswith("since boot")} | after - before)
    if flags:
        yield f"The board was not at full speed: its firmware reports {', '.join(flags)}."


def rounds(report: BenchReport, artefact: ArtefactResult) -> list[float]:
    """Median of each round, in ms, at the number of threads compared at."""
    timing = artefact.timing(report.threads)
    assert timing is not None  # every measured artefact has every number of threads
    return timing.model.round_medians


def spread(report: BenchReport, artefact: ArtefactResult) -> float:
    """How far they lie apart; see Distribution."""
    timing = artefact.timing(report.threads)
    assert timing is not None  # every measured artefact has every number of threads
    return timing.model.spread
