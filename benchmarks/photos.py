"""Photographs as people have them: finding the faces, reading them, answering for the picture."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_emotion.artefacts import TrainedOn
from edge_emotion.card import ModelCard
from edge_emotion.errors import (
    DataError,
    EdgeEmotionError,
    InputError,
    MissingExtraError,
    ModelError,
    UnknownNameError,
    require,
)
from edge_emotion.evaluation import wilson
from edge_emotion.faces import Finder, detector_path, open_finder
from edge_emotion.photographs import PhotoPrediction, largest
from edge_emotion.predictor import FACE_VIEW, MAX_FACES, Predictor
from edge_emotion.preprocess import Picture, open_picture, open_scaled
from edge_emotion.quiet import quiet
from edge_emotion.runtimes import BY_SUFFIX
from edge_emotion.training.data import read_dataset
from edge_emotion.training.loading import pixel_hash
from edge_emotion.training.samples import Dataset

from .module import Wrap
from .schema import FinderResult, PhotoReport, PhotoSteps, Share
from .timing import distribution

#: The row of figures without a finder: each photograph as one face.
WHOLE = "off"
#: Size into which a photograph is fitted before its steps are timed, and how many are timed.
TIMED_SIZE = (640, 480)
TIMED = 100
TIMING_ROUNDS = 3


@dataclass(frozen=True)
class PhotoPlan:
    """Photographs, and what will find faces in them."""

    dataset: Dataset
    finders: dict[str, Finder | None]  # name -> finder; None: each photograph as one face
    missing: dict[str, str]  # name -> why that finder is not there
    trained_on: int = 0  # photographs left out: the model was trained on them, or on their faces
    trained_on_known: bool = False  # whether that is recorded of all pictures it was trained on


def plan_photos(
    folder: Path,
    labels: Sequence[str],
    detector: Path | None = None,
    trained_on: TrainedOn | None = None,
    *,
    progress: Wrap = lambda description: lambda items: items,
) -> PhotoPlan:
    """Look at everything that may be wrong before minutes of measuring begin.

    Of a publisher's split the test part is taken. Photographs that the model was trained or
    validated on, or faces cut out of them, are left out.

    Args:
        folder: class folders of photographs, see `read_dataset`.
        labels: of the model; the folder has them all.
        detector: YuNet's file; None: see `edge_emotion.faces.detector_path`.
        trained_on: what the model was trained on; None: not recorded.
        progress: makes a wrapper for a loop, from what the loop does.

    Raises:
        DataError: no class folders, not one for each label, or nothing but training pictures.
        ModelError: the detector's file is damaged, or not YuNet's.
        MissingExtraError: scikit-learn is not installed.
    """
    require("sklearn", "--photos", "bench")
    try:
        dataset = read_dataset(folder, labels)
    except UnknownNameError as error:
        raise DataError(
            f"{folder}: photographs need a class folder for each of {', '.join(labels)}: {error}"
        ) from error
    if dataset.has_split:
        test = [s for s in dataset.samples if s.split == "test"]
        others = {"not in the publisher's test split": len(dataset.samples) - len(test)}
        dataset = replace(
            dataset, name=f"{dataset.name} test", samples=test,
            dropped=dataset.dropped + Counter(others),
        )  # fmt: skip
    finders: dict[str, Finder | None] = {}
    missing = {}
    if detector_path(detector) is None:
        missing["yunet"] = "no file of it: edge-emotion fetch yunet"
    else:
        finders["yunet"] = open_finder("yunet", detector=detector)
    try:
        finders["hog"] = open_finder("hog")
    except MissingExtraError as error:
        missing["hog"] = str(error)
    unseen = _unseen(dataset, trained_on, progress("looking for training pictures"))
    return PhotoPlan(
        unseen, finders | {WHOLE: None}, missing, len(dataset.samples) - len(unseen.samples),
        trained_on is not None and trained_on.photographs,
    )  # fmt: skip


def measure_photos(
    plan: PhotoPlan,
    model: Path,
    card: ModelCard,
    *,
    progress: Wrap = lambda description: lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> PhotoReport:
    """Read labelled photographs with each face finder that is there.

    Args:
        plan: from `plan_photos`.
        model: folder, of which the first export that runs is taken, onnx-int8 before others; or
            file.
        card: of the model.
        progress: makes a wrapper for a loop, from what the loop does.
        warn: told of each photograph that cannot be read, once.

    Raises:
        DataError: no photograph can be read.
        ModelError, MissingExtraError: no file of the model can be run.
    """
    dataset = plan.dataset
    predictor = _predictor(model)
    results = [FinderResult(name, "skipped", reason) for name, reason in plan.missing.items()]
    unreadable: set[str] = set()
    timed = 0
    for name, finder in plan.finders.items():
        predictor.finder = finder
        loop = progress(f"reading photographs, faces {name}")
        answers = _answers(predictor, dataset, finder, loop, unreadable, warn)
        result = _score(name, answers, dataset, card.labels)
        if finder is not None:
            loop = progress(f"timing photographs, faces {name}")
            steps, timed = _steps(predictor, finder, dataset, list(answers), loop)
            result = replace(result, steps=steps)
        results.append(result)
    samples = len(dataset.samples) - len(unreadable)
    return PhotoReport(
        data=dataset.name,
        samples=samples,
        unreadable=len(unreadable),
        recipe=predictor.recipe,
        timed=f"{timed} photographs fitted into {TIMED_SIZE[0]} x {TIMED_SIZE[1]} "
        f"pixels as JPEG of quality 90, {TIMING_ROUNDS} rounds, one thread",
        results=results,
        trained_on=plan.trained_on,
        trained_on_known=plan.trained_on_known,
        left_out=dict(dataset.dropped),
    )


def _predictor(model: Path) -> Predictor:
    """By the first engine that runs a file of the model, so that what was measured can also read.

    Raises:
        ModelError, MissingExtraError: none does; why the first one does not.
    """
    if model.is_file():
        return Predictor(model, threads=1)
    errors: list[EdgeEmotionError] = []
    for engine in BY_SUFFIX.values():
        try:
            with quiet() if engine == "keras" else nullcontext():  # TensorFlow speaks as it loads
                return Predictor(model, threads=1, runtime=engine)
        except (ModelError, MissingExtraError) as error:
            errors.append(error)
    raise errors[0]


def _unseen(
    dataset: Dataset, trained_on: TrainedOn | None, loop: Callable[[Iterable[int]], Iterable[int]]
) -> Dataset:
    if trained_on is None:
        return dataset
    known = set(trained_on.all.tolist())
    unseen = []
    for i in loop(range(len(dataset.samples))):
        try:
            if pixel_hash(open_picture(dataset.samples[i].read())) in known:
                continue
        except (InputError, OSError):
            pass  # said when it is to be answered for
        unseen.append(dataset.samples[i])
    if not unseen:
        raise DataError(
            f"{dataset.name}: the model has been trained on all of its {len(dataset.samples)} "
            "photographs: name others"
        )
    return replace(dataset, samples=unseen)


def _answers(
    predictor: Predictor,
    dataset: Dataset,
    finder: Finder | None,
    loop: Callable[[Iterable[int]], Iterable[int]],
    unreadable: set[str],
    warn: Callable[[str], None],
) -> dict[int, PhotoPrediction]:
    """Index of each photograph that can be read -> its answer."""
    answers = {}
    for i in loop(range(len(dataset.samples))):
        sample = dataset.samples[i]
        try:
            picture = sample.read()
            if finder is not None:
                answers[i] = predictor.predict_photo(picture)
            else:
                p = predictor.predict(picture)
                answers[i] = PhotoPrediction(p.label, p.score, p.probabilities, p.uncertain, [])
        except (InputError, OSError) as error:
            if sample.key not in unreadable:
                warn(sample.left_out(error))
            unreadable.add(sample.key)
    if not answers:
        raise DataError(f"{dataset.name}: none of its photographs could be read")
    return answers


def _score(
    name: str, answers: dict[int, PhotoPrediction], dataset: Dataset, labels: Sequence[str]
) -> FinderResult:
    confusion = np.zeros((len(labels), len(labels) + 1), int)
    certain: list[bool] = []
    for i, answer in answers.items():
        truth = dataset.samples[i].label
        given = len(labels) if answer.label is None else labels.index(answer.label)
        confusion[truth, given] += 1
        if not answer.uncertain:
            certain.append(given == truth)
    answered = confusion[:, :-1]
    right = int(np.trace(answered))
    present = confusion.sum(axis=1) > 0
    with_face = answered.sum(axis=1)
    return FinderResult(
        finder=name,
        status="measured",
        reason="",
        found=_share(int(with_face.sum()), int(confusion.sum())),
        accuracy=_share(right, int(confusion.sum())),
        accuracy_with_face=_share(right, int(with_face.sum())),
        accuracy_certain=_share(sum(certain), len(certain)),
        balanced_accuracy=float(
            (np.diag(answered)[present] / confusion.sum(axis=1)[present]).mean()
        ),
        confusion=confusion.tolist(),
    )


def _share(count: int, of: int) -> Share:
    return Share(count, of, wilson(count, of))


def _steps(
    predictor: Predictor,
    finder: Finder,
    dataset: Dataset,
    readable: Sequence[int],
    loop: Callable[[Iterable[int]], Iterable[int]],
) -> tuple[PhotoSteps, int]:
    """The same steps as `Predictor.predict_faces`, with a clock between them; and on how many.

    The photographs are spread evenly: they lie in the order of their labels.
    """
    places = np.linspace(0, len(readable) - 1, min(TIMED, len(readable))).astype(int)
    pictures = []
    for place in places:
        try:
            pictures.append(_fitted(dataset.samples[readable[place]].read()))
        except (InputError, OSError):
            continue
    rounds = [
        [_clock(picture, predictor, finder) for picture in pictures]
        for _ in loop(range(TIMING_ROUNDS + 1))  # the first is warm-up
    ]
    columns = [
        distribution([[row[step] for row in one] for one in rounds[1:]]) for step in range(5)
    ]
    return PhotoSteps(*columns), len(pictures)


def _fitted(picture: Picture) -> bytes:
    image = open_picture(picture)
    image.thumbnail(TIMED_SIZE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _clock(picture: bytes, predictor: Predictor, finder: Finder) -> tuple[float, ...]:
    """Milliseconds of decode, find, crop, read, and of all."""
    t0 = time.perf_counter_ns()
    image, _ = open_scaled(picture, FACE_VIEW)
    t1 = time.perf_counter_ns()
    faces = largest(finder.find(image), MAX_FACES)
    t2 = time.perf_counter_ns()
    tensors = predictor.face_tensors(image, faces) if faces else None
    t3 = time.perf_counter_ns()
    if tensors is not None:
        predictor.predict_tensors(tensors)
    t4 = time.perf_counter_ns()
    return tuple((b - a) / 1e6 for a, b in ((t0, t1), (t1, t2), (t2, t3), (t3, t4), (t0, t4)))
