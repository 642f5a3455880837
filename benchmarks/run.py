"""One benchmark from a model to a report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edge_emotion.artefacts import find_model, read_trained_on
from edge_emotion.errors import EdgeEmotionError, MissingExtraError, ModelError, UsageError
from edge_emotion.gates import Gates
from edge_emotion.machine import environment_name, read_conditions, read_machine, usable_cores
from edge_emotion.runtimes import MAX_THREADS

from .accuracy import (
    Measured,
    Pictures,
    judge,
    labelled_pictures,
    no_pictures,
    run_subjects,
    unlabelled_pictures,
)
from .budget import recommend
from .inspection import check_layers, inspect_layers
from .layer import LayerReport
from .module import Wrap
from .photos import measure_photos, plan_photos
from .schema import KERAS, ArtefactResult, BenchReport, Model, Settings
from .subjects import Subject, Subjects, find_subjects, missing_file
from .timing import PICTURE, Times, summarise, time_subjects
from .verdict import explain

ROUNDS, QUICK_ROUNDS = 4, 2
RUNS, QUICK_RUNS = 100, 50


@dataclass(frozen=True)
class Outcome:
    """A report, and what went wrong on the way to it."""

    report: BenchReport
    failures: list[EdgeEmotionError]  # of artefacts that should have run


def make_settings(
    *,
    rounds: int | None = None,
    runs: int | None = None,
    threads: Sequence[int] = (),
    quick: bool = False,
    max_drop: float = 1.0,
    min_agreement: float = 0.98,
) -> Settings:
    """Fill in what was not asked for, and check what was.

    Args:
        rounds: processes for each artefact and number of threads; None: 4, quick 2.
        runs: in each of them; None: 100, quick 50.
        threads: numbers of threads; empty: 1 and all cores.
        quick: shorter, for a first look and for CI.
        max_drop: percentage points of accuracy that an export may lose.
        min_agreement: share of pictures on which its label must be the float model's, 0..1; the
            upper end of the measured share's 95 % interval is held against it.

    Raises:
        UsageError: a value that makes no sense.
    """
    rounds = rounds if rounds is not None else (QUICK_ROUNDS if quick else ROUNDS)
    runs = runs if runs is not None else (QUICK_RUNS if quick else RUNS)
    for name, value in [("rounds", rounds), ("runs", runs), *(("threads", t) for t in threads)]:
        if value < 1:
            raise UsageError(f"--{name} must be 1 or more, not {value}")
    if max(threads, default=1) > MAX_THREADS:
        raise UsageError(f"--threads must be {MAX_THREADS} or less, not {max(threads)}")
    gates = Gates(max_drop, min_agreement)  # refuses what makes no sense
    return Settings(
        rounds=rounds,
        runs=runs,
        warmup=20,
        threads=sorted(set(threads) or {1, usable_cores()}),
        batches=[1, 32],
        throughput_s=0.1 if quick else 0.25,
        picture=PICTURE,
        quick=quick,
        max_drop=gates.max_drop,
        min_agreement=gates.min_agreement,
    )


def run_benchmark(
    model: str | Path,
    settings: Settings,
    *,
    data: Path | None = None,
    include_training: bool = False,
    photos: Path | None = None,
    detector: Path | None = None,
    layers: bool = False,
    progress: Wrap = lambda description: lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Measure every artefact of a model.

    Args:
        model: shipped name, model folder, or one file.
        settings: see `make_settings`.
        data: labelled pictures; None: agreement only, on the model's own pictures.
        include_training: keep pictures that the model was trained on.
        photos: class folders of photographs, read with each face finder that is there.
        detector: YuNet's file; None: see `edge_emotion.faces.detector_path`.
        layers: look into the int8 exports layer by layer.
        progress: makes a wrapper for a loop, from what the loop does.
        warn: told of each picture that cannot be read.

    Raises:
        ModelError, DataError: the model or the pictures cannot be read.
        ChecksumError: a file is not the one that the card describes.
        MissingExtraError: nothing can be run, for want of an extra.
        EdgeEmotionError: no artefact could be run; the first one's error.
    """
    subjects = find_subjects(model)
    trained_on = None if subjects.folder is None else read_trained_on(subjects.folder)
    plan = None
    if photos is not None:
        plan = plan_photos(photos, subjects.card.labels, detector, trained_on, progress=progress)
    errors: dict[str, EdgeEmotionError] = {
        s.recipe: ModelError(missing_file(s)) for s in subjects.files if s.missing
    }
    present = [s for s in subjects.files if not s.missing]
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        into = Path(scratch)
        pictures: Pictures | None
        if data is not None:
            pictures = labelled_pictures(
                data, subjects.card, subjects.folder, into,
                include_training=include_training, progress=progress("reading"), warn=warn,
            )  # fmt: skip
        else:
            pictures = unlabelled_pictures(subjects.card, subjects.folder, into)
        if layers:
            check_layers(present, pictures)
        before = read_conditions()
        times = time_subjects(present, subjects.card, settings, progress=progress("timing"))
        after = read_conditions()
        errors.update({r: t.error for r, t in times.items() if t.error is not None})
        looked: list[LayerReport] = []
        wrong: list[EdgeEmotionError] = []
        reference: str | None = None
        measured: dict[str, Measured] = {}
        if pictures is not None:
            alive = [s for s in present if s.recipe not in errors]
            logits, failed = run_subjects(alive, pictures, progress=progress("predicting"))
            errors.update(failed)
            reference, measured = judge(logits, pictures, subjects.card)
            if layers:
                looked, wrong = inspect_layers(alive, pictures, progress=progress("looking in"))
    if len(errors) == len(subjects.files):
        raise next(iter(errors.values()))
    machine = read_machine()
    card = subjects.card
    photo_report = None
    if plan is not None:
        try:
            photo_report = measure_photos(
                plan, find_model(model), card, progress=progress, warn=warn
            )
        except EdgeEmotionError as error:
            wrong.append(error)  # minutes of measuring are not thrown away for it
    report = BenchReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment_name(machine),
        machine=machine,
        before=before,
        after=after,
        model=Model(
            card.name, card.labels, card.keras_sha256, card.training.parameters,
            card.training.multiply_adds, card.input.shape,
        ),
        settings=settings,
        data=pictures.data if pictures is not None else no_pictures(),
        reference=reference,
        artefacts=[
            _result(s, subjects, settings, times.get(s.recipe), errors.get(s.recipe),
                    measured.get(s.recipe))
            for s in subjects.files
        ],
        recommended=None,
        verdict=[],
        photos=photo_report,
        layers=looked,
    )  # fmt: skip
    report = replace(report, recommended=recommend(report))
    failures = [e for s in subjects.files if (e := errors.get(s.recipe)) and not _optional(s, e)]
    return Outcome(replace(report, verdict=explain(report)), failures + wrong)


def _optional(subject: Subject, error: EdgeEmotionError) -> bool:
    """Whether an artefact may be skipped: its engine is an extra, or a device has no Keras file."""
    return isinstance(error, MissingExtraError) or (subject.recipe == KERAS and subject.missing)


def _result(
    subject: Subject,
    subjects: Subjects,
    settings: Settings,
    times: Times | None,
    error: EdgeEmotionError | None,
    measured: Measured | None,
) -> ArtefactResult:
    if times is None or error is not None:
        # A report is published: it names files, not where they lie.
        reason = str(error).replace(f"{subject.path.parent}/", "")
        skipped = error is None or _optional(subject, error)
        return ArtefactResult(
            recipe=subject.recipe, status="skipped" if skipped else "failed", reason=reason,
            engine="", engine_version="", sha256=subject.sha256, bytes=None, timings=[],
            evaluation=None, reliability=[], agreement=None, recorded=subject.recorded,
        )  # fmt: skip
    first = times.answers[settings.threads[0]][0]
    return ArtefactResult(
        recipe=subject.recipe,
        status="measured",
        reason="",
        engine=first.engine,
        engine_version=first.engine_version,
        sha256=subject.sha256,
        bytes=subject.path.stat().st_size,
        timings=[
            summarise(answers, threads, settings.batches)
            for threads, answers in sorted(times.answers.items())
        ],
        evaluation=measured.evaluation if measured else None,
        reliability=measured.reliability if measured else [],
        agreement=measured.agreement if measured else None,
        recorded=subject.recorded,
    )
