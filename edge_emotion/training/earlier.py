"""What a training takes over from models that were trained before: their weights to begin with, or
their answers to learn from.

The network learns its teachers' answers beside the labels: Hinton et al., "Distilling the Knowledge
in a Neural Network", arXiv 1503.02531. They answer for the very view that the network is shown, as
in Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022, but
before it is blurred, darkened or covered for the network alone, as in Xie et al., "Self-training
with Noisy Student", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import TrainedOn, model_folder, open_artefact, read_trained_on
from edge_emotion.card import InputSpec, ModelCard
from edge_emotion.errors import MissingExtraError, UsageError
from edge_emotion.runtimes import check_fits
from edge_emotion.runtimes.keras import KerasRuntime
from edge_emotion.training.architectures import (
    Shape,
    get_architecture,
    in_precision,
    plan_of,
)
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.loading import LoadedPictures
from edge_emotion.training.recogniser import is_recogniser, read_recogniser
from edge_emotion.training.samples import canonical

try:
    import keras
    from keras import layers, ops
except ImportError as error:
    raise MissingExtraError("training", "train") from error


@dataclass(frozen=True)
class EarlierModel:
    """A trained network, from float32 pixels 0..255 to logits."""

    name: str
    sha256: str | None  # of its .keras file
    network: keras.Model
    labels: list[str]
    temperature: float
    seen: TrainedOn | None  # the pictures that it was trained and validated on; None: not recorded
    prior: str = "data"  # see `TrainConfig.prior`
    statistics: bool = True  # whether its BatchNorm layers hold those of pictures
    body: str | None = None  # see `TrainConfig.body`
    mean_of: tuple[EarlierModel, ...] = ()  # its weights are their mean; it has no `seen` itself

    def columns(self, labels: Sequence[str]) -> dict[int, int]:
        """Index among `labels` -> index of the same label among the model's own."""
        own = {canonical(label): i for i, label in enumerate(self.labels)}
        return {i: own[canonical(x)] for i, x in enumerate(labels) if canonical(x) in own}

    def __str__(self) -> str:
        """As the card names it."""
        return " + ".join(map(str, self.mean_of)) or f"{self.name} {self.sha256}"


def open_earlier(model: str, shape: tuple[int, int, int]) -> EarlierModel:
    """Open a model folder, or a shipped model by name.

    Args:
        model: with a Keras file; or the folder of a face recogniser's weights, see
            `edge_emotion.training.recogniser`.
        shape: (H, W, C) of the network to be trained.

    Raises:
        ModelError, ChecksumError: it cannot be run.
        UsageError: it has another input.
    """
    if is_recogniser(Path(model)):
        return _open_recogniser(Path(model), shape)
    artefact = open_artefact(model, "keras")
    card = artefact.card
    if card.input.shape != shape:
        raise UsageError(
            f"{model}: its input is {_by(card.input.shape)}, that of the network to be trained "
            f"{_by(shape)}"
        )
    runtime = KerasRuntime(artefact.path)
    check_fits(runtime, card.input, len(card.labels), artefact.path)
    return EarlierModel(
        card.name, card.keras_sha256, runtime.logits_model, card.labels,
        card.confidence.temperature, read_trained_on(artefact.path.parent),
        card.training.config.get("prior", "data"), body=card.training.config.get("body"),
    )  # fmt: skip


def _open_recogniser(folder: Path, shape: tuple[int, int, int]) -> EarlierModel:
    height, width, channels = shape
    spec = InputSpec(height, width, 1 if channels == 1 else 3)
    network = get_architecture("face-resnet").build(Shape(spec, 1, 1.0, 0.0))
    checksum = read_recogniser(folder, network)
    return EarlierModel("face-api", checksum, network, [], 1.0, None, statistics=False)


def mean(models: Sequence[EarlierModel]) -> EarlierModel:
    """One network of the mean of several networks' weights, which knows what any of them does.

    Networks that were tuned from the same beginning lie in one basin, and their mean is often
    better than each: Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482.

    Args:
        models: one or more. The network of the first is changed.

    Raises:
        UsageError: they have other layers, labels, or another prior.
    """
    first, *others = models
    if not others:
        return first
    for other in others:
        for what, same in (
            ("layers", _layers(first) == _layers(other)),
            ("labels, or another order of them", first.labels == other.labels),
            ("a --prior", first.prior == other.prior),
        ):
            if not same:
                raise UsageError(
                    f"--initial: {first.name} and {other.name} cannot be averaged: one has {what} "
                    "that the other has not"
                )
    weights = zip(*(model.network.get_weights() for model in models), strict=True)
    first.network.set_weights([np.mean(own, axis=0) for own in weights])
    return replace(
        first,
        name=" + ".join(model.name for model in models),
        sha256=None,
        seen=None,
        statistics=all(model.statistics for model in models),
        mean_of=tuple(models),
    )


def _layers(model: EarlierModel) -> tuple[Any, ...]:
    shapes = [(type(x), [w.shape for w in x.get_weights()]) for x in model.network.layers]
    return plan_of(model.network), shapes


def pictures_of(model: str) -> tuple[str, TrainedOn]:
    """A model's name, and the pictures that it was trained and validated on.

    Args:
        model: folder, or a shipped model's name.

    Raises:
        ModelError: it cannot be read.
        UsageError: it does not record its pictures.
    """
    folder = model_folder(model)
    known = read_trained_on(folder)
    if known is None:
        raise UsageError(f"{model} does not record its pictures: leave --split-as out")
    return ModelCard.read(folder).name, known


@dataclass(frozen=True)
class Earlier:
    """The earlier models of one training."""

    initial: EarlierModel | None  # with whose weights it begins
    teachers: list[EarlierModel]

    @property
    def models(self) -> list[EarlierModel]:
        """Each that was trained before, also those of whose weights `initial` is the mean."""
        begun = [] if self.initial is None else self.initial.mean_of or [self.initial]
        return [*begun, *self.teachers]

    def complete(self, config: TrainConfig) -> TrainConfig:
        """`config` with the body of the model that it begins with, if it names no other."""
        if config.body is not None or self.initial is None:
            return config
        return replace(config, body=self.initial.body)

    def record(self) -> dict[str, Any]:
        """For the card: names and checksums in place of this machine's paths."""
        initial = None if self.initial is None else str(self.initial)
        return {"initial": initial, "teachers": [str(teacher) for teacher in self.teachers] or None}

    def learnt(
        self, loaded: LoadedPictures, train: NDArray[np.int64], valid: NDArray[np.int64]
    ) -> TrainedOn:
        """What a network knows that was trained with these models' help.

        Their training pictures are its own, too, and so are those that chose them.

        Args:
            loaded: the pictures.
            train: indices of those that it was trained on.
            valid: and of those that validated it.
        """
        models = self.models
        theirs = [model.seen for model in models if model.seen is not None]
        learnt = _with(loaded.seen(train), [known.train for known in theirs])
        chose = [np.setdiff1d(known.valid, learnt) for known in theirs]
        return TrainedOn(
            learnt,
            _with(loaded.seen(valid), chose),
            loaded.photographs_known
            and len(theirs) == len(models)
            and all(known.photographs for known in theirs),
        )

    def check_unseen(
        self,
        loaded: LoadedPictures,
        valid: NDArray[np.int64],
        test: NDArray[np.int64],
        groups: NDArray[np.int64],
    ) -> list[str]:
        """A picture that an earlier model has learnt proves nothing about one that builds on it.

        Nor does one that has chosen the earlier model, for testing.

        Args:
            loaded: the pictures.
            valid: which of them validate.
            test: which of them are held out beside those.
            groups: of each, pictures of one subject, the same or nearly the same.

        Returns:
            What has to be said: models that do not record what they have learnt, or have learnt
            what is nearly the same.

        Raises:
            UsageError: one of them is among a model's training pictures, or one that tests among
                its validation pictures.
        """
        doubts = []
        held_out = np.concatenate([valid, test])
        for model in self.models:
            if model.seen is None:
                doubts.append(
                    f"{model.name} does not record what it has learnt: pictures held out here may "
                    "be among it"
                )
                continue
            if not loaded.is_told_by(model.seen):
                doubts.append(
                    f"{model.name} does not record the photographs that its pictures were cut "
                    "from: pictures held out here may be other crops of them"
                )
            known = loaded.known_to(model.seen.train)
            validated = loaded.known_to(model.seen.valid)
            for rows, how in (known[held_out], "trained"), (validated[test], "validated"):
                if rows.any():
                    raise UsageError(
                        f"{model.name} was {how} on {int(rows.sum())} of the pictures that are "
                        "held out here: divide the data as in its training (--split-as), or leave "
                        "it out"
                    )
            near = int(np.isin(groups[held_out], groups[known]).sum())
            if near:
                doubts.append(
                    f"{near} of {len(held_out)} pictures held out here are nearly the same as some "
                    f"that {model.name} has learnt, or of the same subject: they flatter"
                )
        return doubts


def _with(own: NDArray[np.uint64], others: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """`own` as they stand, then what only the others have."""
    return np.concatenate([own, np.setdiff1d(np.concatenate([own, *others]), own)])


def open_all(config: TrainConfig, shape: tuple[int, int, int]) -> Earlier:
    """The earlier models that `config` names; see `open_earlier`."""
    initial = [open_earlier(model, shape) for model in config.initial or []]
    return Earlier(
        mean(initial) if initial else None,
        [open_earlier(model, shape) for model in config.teachers or []],
    )


class Teaching(layers.Layer):  # type: ignore[misc]
    """Logits in, the same logits out; on the way the teachers' part of the loss is added.

    Inputs are the logits (N, labels) and the view (N, H, W, C) that they answer for, or what the
    teachers have answered to it. The loss is
    `share` times the cross-entropy between the mean of the teachers' probabilities and the
    network's, each picture weighted by the labels that the teachers see in it. With `mirror` a
    teacher's answer is the mean of those to the view and to its mirror image, which is the better
    answer wherever pictures may be flipped, and costs the teacher's time twice.

    A teacher of prior "uniform" is given the labels' shares in the loss back: the network learns
    them from its targets, and two priors in one loss would be neither.

    Args:
        teachers: one or more.
        labels: of the network.
        shares: of the labels in the targets' part of the loss, positive, of any sum, (labels,).
        weights: of the labels in the loss, (labels,).
        share: of the teachers in the loss, 0..1.
        mirror: see above.
        precision: in which the teachers compute, see `TrainConfig.precision`.

    Raises:
        UsageError: a teacher does not know one of the labels.
    """

    def __init__(
        self,
        teachers: Sequence[EarlierModel],
        labels: Sequence[str],
        shares: NDArray[np.float32],
        weights: NDArray[np.float32],
        share: float,
        *,
        mirror: bool,
        precision: str = "float32",
    ) -> None:
        super().__init__(name="teaching")
        # Out of Keras's sight in a tuple of our own objects: teachers are not trained, and not
        # saved with each checkpoint.
        self.teachers = tuple(
            (
                replace(teacher, network=in_precision(teacher.network, precision)),
                self._outputs(teacher, labels),
            )
            for teacher in teachers
        )
        self.log_prior = np.log(shares / shares.sum())
        self.label_weights, self.share, self.mirror = weights, share, mirror

    @staticmethod
    def _outputs(teacher: EarlierModel, labels: Sequence[str]) -> list[int]:
        columns = teacher.columns(labels)
        missing = [label for i, label in enumerate(labels) if i not in columns]
        if missing:
            raise UsageError(f"--teacher {teacher.name}: it does not know {', '.join(missing)}")
        return [columns[i] for i in range(len(labels))]

    def answers(self, view: Any) -> Any:
        """The mean of the teachers' probabilities, (N, labels), of views (N, H, W, C)."""
        shown = [view, ops.flip(view, axis=2)] if self.mirror else [view]
        answers = 0.0
        for teacher, outputs in self.teachers:
            for image in shown:
                own = ops.take(teacher.network(image, training=False), outputs, axis=1)
                own = own / teacher.temperature
                answers += ops.softmax(own + self.log_prior if teacher.prior == "uniform" else own)
        return ops.stop_gradient(answers / (len(shown) * len(self.teachers)))

    def call(self, logits: Any, view: Any = None, answers: Any = None) -> Any:
        """See the class."""
        if answers is None:
            answers = self.answers(view)
        each = keras.losses.categorical_crossentropy(answers, logits, from_logits=True)
        weights = ops.sum(answers * self.label_weights, axis=1)
        self.add_loss(self.share * ops.mean(weights * each))
        return logits


def _by(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))
