"""Latency, throughput, start-up and memory: interleaved rounds, a fresh process for each figure."""

from __future__ import annotations

import io
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from edge_emotion.card import ModelCard
from edge_emotion.errors import EdgeEmotionError

from .processes import time_artefact
from .schema import Distribution, PictureLatency, Settings, StartUp, Throughput, Timing
from .subjects import Subject
from .worker import Timed, TimeRequest

PICTURE = "640 x 480 JPEG, quality 90, generated: smooth colour noise"
SEED = 1


@dataclass
class Times:
    """What the rounds of one artefact gave so far."""

    answers: dict[int, list[Timed]] = field(default_factory=dict)  # threads -> one a round
    error: EdgeEmotionError | None = None


def make_picture(width: int = 640, height: int = 480, seed: int = SEED) -> bytes:
    """A JPEG that takes a camera picture's time to decode, and is of nobody.

    Smooth noise: coarse colours scaled up, with fine grain as a sensor has it. A flat picture
    would decode faster than any photograph.
    """
    noise = np.random.default_rng(seed)
    coarse = Image.fromarray(noise.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    grain = noise.normal(0, 4, (height, width, 1))
    picture = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def time_subjects(
    subjects: Sequence[Subject],
    card: ModelCard,
    settings: Settings,
    *,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    measure: Callable[[TimeRequest], Timed] = time_artefact,
) -> dict[str, Times]:
    """Measure every artefact with every number of threads, in rounds.

    In each round the order is another, so that what the machine does meanwhile (heat, other
    programs) meets every artefact alike. An artefact that fails is not run again.

    Args:
        subjects: files that are there.
        card: of the model.
        settings: rounds, runs and so on.
        progress: wraps the loop over processes.
        measure: runs one process.

    Returns:
        Recipe -> times or the error.
    """
    picture = make_picture()
    times = {subject.recipe: Times() for subject in subjects}
    order = random.Random(SEED)
    jobs: list[tuple[Subject, int]] = []
    for _ in range(settings.rounds):
        one_round = [(s, threads) for s in subjects for threads in settings.threads]
        order.shuffle(one_round)
        jobs += one_round
    for i in progress(range(len(jobs))):
        subject, threads = jobs[i]
        found = times[subject.recipe]
        if found.error is not None:
            continue
        request = TimeRequest(
            path=str(subject.path),
            input=card.input,
            labels=len(card.labels),
            temperature=card.confidence.temperature,
            threads=threads,
            warmup=settings.warmup,
            runs=settings.runs,
            batches=settings.batches,
            throughput_s=settings.throughput_s,
            picture=picture,
        )
        try:
            found.answers.setdefault(threads, []).append(measure(request))
        except EdgeEmotionError as error:
            found.error = error
    return times


def summarise(answers: Sequence[Timed], threads: int, batches: Sequence[int]) -> Timing:
    """The rounds of one artefact with one number of threads, as one set of figures."""
    total = [
        [sum(steps) for steps in zip(a.decode, a.preprocess, a.infer, strict=True)] for a in answers
    ]
    return Timing(
        threads=threads,
        model=distribution([a.model for a in answers]),
        picture=PictureLatency(
            decode=distribution([a.decode for a in answers]),
            preprocess=distribution([a.preprocess for a in answers]),
            infer=distribution([a.infer for a in answers]),
            total=distribution(total),
        ),
        throughput=[
            Throughput(batch, round(statistics.median(a.pictures_per_s[i] for a in answers), 1))
            for i, batch in enumerate(batches)
        ],
        start_up=StartUp(
            import_s=median_seconds([a.import_s for a in answers]),
            load_s=median_seconds([a.load_s for a in answers]),
            first_prediction_s=median_seconds([a.first_prediction_s for a in answers]),
        ),
        peak_rss=max(a.peak_rss for a in answers),
    )


def distribution(rounds: Sequence[Sequence[float]]) -> Distribution:
    """Percentiles over the runs of all rounds.

    Args:
        rounds: milliseconds of each run, a list a round.
    """
    every = np.concatenate([np.asarray(r, np.float64) for r in rounds])
    return Distribution(
        runs=len(every),
        mean=_ms(every.mean()),
        p50=_ms(np.percentile(every, 50)),
        p90=_ms(np.percentile(every, 90)),
        p99=_ms(np.percentile(every, 99)),
        quantiles=[_ms(q) for q in np.percentile(every, np.arange(0, 101, 5))],
        round_medians=[_ms(np.median(r)) for r in rounds],
    )


def _ms(value: float) -> float:
    """To 0.1 microseconds, about what the clock gives."""
    return round(float(value), 4)


def median_seconds(values: Sequence[float]) -> float:
    """The median, to 10 microseconds."""
    return round(statistics.median(values), 5)
