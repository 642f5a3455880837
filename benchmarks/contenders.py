"""Who takes part in `peers`: exports of ours and other people's models, and what they gave."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import CARD_NAME, InputSpec, ModelCard
from edge_emotion.errors import EdgeEmotionError, MissingExtraError, ModelError
from edge_emotion.evaluation import evaluate
from edge_emotion.training.samples import canonical

from .peer_packages import PEERS, Peer
from .peers_schema import PeerResult, Score, Task
from .processes import TIME_LIMIT, talk, time_crops
from .schema import KERAS, StartUp
from .subjects import find_subjects, missing_file
from .timing import SEED, distribution, median_seconds
from .worker import CropRequest, CropTimes

Run = Callable[[CropRequest], CropTimes]


class PeerRequest(CropRequest, frozen=True, kw_only=True):
    """A CropRequest to a peer's worker."""

    package: str
    root: str  # the folder that `fetch` filled


@dataclass(frozen=True)
class Faces:
    """The faces of all tasks, in one file."""

    name: str  # of the data
    path: Path  # raw uint8 RGB
    shapes: list[tuple[int, int]]  # height, width
    labels: list[str]  # of each face, by its usual name
    left_out: Counter[str]
    are_crops: bool = False  # some of them of photographs, which they record

    @property
    def size(self) -> str:
        """Of each face, in words."""
        sizes = set(self.shapes)
        if len(sizes) > 1:
            return "their own sizes"
        height, width = sizes.pop()
        return f"{width} x {height} pixels"


@dataclass
class Contender:
    """What runs, and what it gave so far."""

    result: PeerResult
    request: CropRequest | None = None  # None: it cannot run here
    run: Run = time_crops
    answers: list[CropTimes] = field(default_factory=list)
    probabilities: NDArray[np.float32] | None = None  # (faces, labels)
    error: EdgeEmotionError | None = None  # it should have run

    def fail(self, error: EdgeEmotionError) -> None:
        """Take it out. A missing extra or a peer that was not fetched is no failure."""
        missing = isinstance(error, MissingExtraError) or (
            not self.result.ours and isinstance(error, ModelError)
        )
        reason = str(error)
        if self.request is not None:  # a report is published: it names files, not where they lie
            root = getattr(self.request, "root", str(Path(self.request.path).parent))
            for place in (str(Path(root).resolve()), root):
                reason = reason.replace(f"{place}/", "")
        status: Literal["missing", "failed"] = "missing" if missing else "failed"
        self.result = replace(self.result, status=status, reason=reason)
        self.error = None if missing else error
        self.request = None


def ours(model: str) -> tuple[ModelCard, Path | None, list[Contender]]:
    """The exports of a model of ours, its card and its folder."""
    subjects = find_subjects(model)
    card = subjects.card
    found = []
    for subject in subjects.files:
        if subject.recipe == KERAS:
            continue
        result = _waiting(f"{card.name} {subject.recipe}", card.labels, ours=True)
        if subject.missing:
            found.append(Contender(result))
            found[-1].fail(ModelError(missing_file(subject)))
            continue
        result = replace(result, bytes=subject.path.stat().st_size)
        temperature = card.confidence.temperature
        request = CropRequest(str(subject.path), card.input, temperature, "", [], 0, 0, None)
        found.append(Contender(result, request))
    if not found:
        raise ModelError(f"{model}: {CARD_NAME} knows no exports: edge-emotion export {model}")
    return card, subjects.folder, found


def others(folder: Path | None, peers: Sequence[Peer] = PEERS) -> list[Contender]:
    """The peers; what is not there is kept, with the reason, and named in the report."""
    found = []
    for peer in peers:
        result = _waiting(peer.name, peer.labels, ours=False)
        try:
            weights = peer.check(folder)
        except EdgeEmotionError as error:
            found.append(Contender(result))
            found[-1].fail(error)
        else:
            request = PeerRequest(
                str(weights), InputSpec(64, 64, 1), 1.0, "", [], 0, 0, None,
                package=peer.package, root=str(folder),
            )  # fmt: skip
            result = replace(result, bytes=weights.stat().st_size)
            found.append(Contender(result, request, _peer_run(peer)))
    return found


def _peer_run(peer: Peer) -> Run:
    def run(request: CropRequest) -> CropTimes:
        limit = TIME_LIMIT + len(request.shapes)
        answer = talk(peer.command(), msgspec.json.encode(request), peer.name, limit)
        assert isinstance(answer, CropTimes)  # what their workers answer
        return answer

    return run


def _waiting(name: str, labels: Sequence[str], *, ours: bool) -> PeerResult:
    return PeerResult(name, ours, "measured", "", list(labels), "", "", None, None, None, None, [])


def measure(
    contenders: Sequence[Contender],
    faces: Faces,
    timed_faces: Faces,
    *,
    rounds: int,
    runs: int,
    warmup: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
) -> None:
    """Time all in interleaved rounds, a fresh process each, then read every face once more.

    A contender that fails is not run again; its result says why.

    Args:
        contenders: who takes part.
        faces: to read.
        timed_faces: to time on, in turn.
        rounds: processes for each contender.
        runs: timed in each.
        warmup: runs before them.
        progress: wraps the loop over processes.
    """
    order = random.Random(SEED)
    jobs: list[tuple[Contender, bool]] = []
    for _ in range(rounds):
        one_round = [(c, True) for c in contenders]
        order.shuffle(one_round)
        jobs += one_round
    jobs += [(c, False) for c in contenders]
    out = faces.path.with_suffix(".f32")
    for i in progress(range(len(jobs))):
        contender, timed = jobs[i]
        if contender.request is None:
            continue
        shown = timed_faces if timed else faces
        request = msgspec.structs.replace(
            contender.request, crops=str(shown.path), shapes=shown.shapes,
            warmup=warmup if timed else 0, runs=runs if timed else 0,
            out=None if timed else str(out),
        )  # fmt: skip
        try:
            answer = contender.run(request)
        except EdgeEmotionError as error:
            contender.fail(error)
            continue
        if timed:
            contender.answers.append(answer)
        else:
            rows = np.fromfile(out, np.float32).reshape(len(faces.shapes), -1)
            contender.probabilities = rows


def summary(contender: Contender, faces: Faces, tasks: Sequence[Task]) -> PeerResult:
    """What the rounds and the probabilities of one contender come to."""
    result, answers = contender.result, contender.answers
    if result.status != "measured" or contender.probabilities is None:
        return result
    return replace(
        result,
        engine=answers[0].engine,
        engine_version=answers[0].engine_version,
        latency=distribution([a.latency for a in answers]),
        start_up=StartUp(
            import_s=median_seconds([a.import_s for a in answers]),
            load_s=median_seconds([a.load_s for a in answers]),
            first_prediction_s=median_seconds([a.first_prediction_s for a in answers]),
        ),
        peak_rss=max(a.peak_rss for a in answers),
        scores=[
            score(contender.probabilities, result.labels, faces.labels, task.labels)
            for task in tasks
            if {canonical(label) for label in result.labels} >= set(task.labels)
        ],
    )


def score(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    truth: Sequence[str],
    task: Sequence[str],
) -> Score:
    """The best of the task's labels, on the pictures that have one of them.

    Args:
        probabilities: (N, labels).
        labels: of the columns, as the model names them.
        truth: of the pictures, by their usual names.
        task: labels by their usual names, all of them among `labels`.
    """
    columns = [[canonical(name) for name in labels].index(label) for label in task]
    rows = [i for i, label in enumerate(truth) if label in task]
    chosen = np.log(probabilities[np.ix_(rows, columns)].astype(np.float64) + 1e-12)
    right = np.array([list(task).index(truth[i]) for i in rows], np.int64)
    found = evaluate(chosen.astype(np.float32), right, task, data="", protocol="held-out")
    return Score(
        task=list(task),
        accuracy=found.accuracy,
        accuracy_interval=found.accuracy_interval,
        balanced_accuracy=found.balanced_accuracy,
        recall={label: metrics.recall for label, metrics in found.per_label.items()},
    )
