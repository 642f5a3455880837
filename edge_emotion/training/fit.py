"""Fitting one network: augmentation, the loop, checkpoints that can be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import OUTPUT_NAME, InputSpec
from edge_emotion.errors import (
    CheckError,
    MissingExtraError,
    UsageError,
)
from edge_emotion.training.answers import Answers, ask
from edge_emotion.training.architectures import Shape, get_architecture, in_precision
from edge_emotion.training.augment import RandomView, degradation
from edge_emotion.training.balance import draw, label_weights, times_shown
from edge_emotion.training.checkpoints import (
    HISTORY_NAME,
    KEPT_NAME,
    History,
    Keeper,
    is_over,
    kept_epoch,
    read_history,
    read_variables,
    state_file,
    state_of,
)
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.earlier import EarlierModel, Teaching
from edge_emotion.training.loading import LoadedPictures
from edge_emotion.training.memory import keep_freed_memory
from edge_emotion.training.recogniser import take_statistics
from edge_emotion.training.weights import take_weights

try:
    import keras
except ImportError as error:
    raise MissingExtraError("training", "train") from error


@dataclass(frozen=True)
class Fitted:
    """A network with the weights of the epoch that is kept."""

    logits_model: keras.Model
    history: History
    best_epoch: int  # counted from 1


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches (inputs, targets, weights); all depends on seed and epoch alone."""

    def __init__(
        self,
        config: TrainConfig,
        loaded: LoadedPictures,
        indices: NDArray[np.int64],
        times: NDArray[np.float64],  # of each index, see `times_shown`
        weights: NDArray[np.float32],
        epoch: int,
        answers: Answers | None = None,
    ) -> None:
        # More than one turns off tf.data's tuning, whose thread can hold the end of an epoch up for
        # as long as the epoch took.
        super().__init__(workers=2)
        self.loaded, self.indices, self.times = loaded, indices, times
        self.weights, self.answers = weights, answers
        self.batch_size, self.seed, self.mixup = config.batch_size, config.seed, config.mixup
        self.epoch = epoch
        self._shuffle()

    def _shuffle(self) -> None:
        random = np.random.default_rng([self.seed, self.epoch])
        self.order = random.permutation(draw(self.times, random))
        if self.answers is not None:
            self.views = random.integers(len(self.answers.drawn), size=len(self.order))

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[Any, Any, Any]:
        some = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        rows = self.order[some]
        chosen = self.indices[rows]
        pixels, targets = _pixels(self.loaded, chosen), self.loaded.targets[chosen]
        if self.mixup:
            # Not `batch`: numpy takes [seed, epoch, 0] for [seed, epoch], which shuffles.
            random = np.random.default_rng([self.seed, self.epoch, batch + 1])
            pixels, targets = mix(pixels, targets, self.mixup, random)
        given: Any = pixels
        if self.answers is not None:
            views = self.views[some]
            given = (pixels, self.answers.drawn[views, rows], self.answers.train[views, rows])
        return given, targets, targets @ self.weights

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()


def _pixels(loaded: LoadedPictures, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    return loaded.source[indices].astype(np.float32)


def mix(
    pixels: NDArray[np.float32],
    targets: NDArray[np.float32],
    alpha: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mix each picture of a batch, and its target, with another's (mixup).

    Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018 (arXiv 1710.09412), with
    shares drawn for each picture. A teacher answers for the mixture, which it cannot have learnt by
    heart, as in Beyer et al., "Knowledge distillation: A good teacher is patient and consistent",
    CVPR 2022 (arXiv 2106.05237). The loss weighs a mixture by its mixed target, so that rare labels
    weigh less, and common ones more, than `label_weights` has it for pictures that are not mixed.

    Args:
        pixels: float32 (N, H, W, C).
        targets: float32 (N, labels), rows sum to 1.
        alpha: shares are drawn from Beta(alpha, alpha); above 0.
        random: draws the partners and the shares.

    Returns:
        The two mixed.
    """
    partner = random.permutation(len(pixels))
    share = random.beta(alpha, alpha, len(pixels)).astype(np.float32)
    across = share[:, None, None, None]
    mixed = across * pixels + (1 - across) * pixels[partner]
    return mixed, share[:, None] * targets + (1 - share[:, None]) * targets[partner]


def input_spec(config: TrainConfig) -> InputSpec:
    """The input of the network that `config` describes."""
    own = get_architecture(config.architecture).input
    return InputSpec(
        config.size or own.height, config.size or own.width, config.channels or own.channels,
        config.resize,
    )  # fmt: skip


def build(config: TrainConfig, labels: int) -> keras.Model:
    """The untrained network, from float32 pixels 0..255 to logits.

    Raises:
        UsageError: the input is too small for the architecture.
    """
    architecture = get_architecture(config.architecture)
    dropout = architecture.dropout if config.dropout is None else config.dropout
    spec = input_spec(config)
    shape = Shape(spec, labels, config.width, dropout, config.body)
    try:
        return architecture.build(shape)
    except ValueError as error:
        raise UsageError(
            f"{config.architecture} cannot be built for {spec.height} x {spec.width} pixels: "
            "name a larger --size"
        ) from error


def fit(
    config: TrainConfig,
    loaded: LoadedPictures,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    folder: Path,
    labels: Sequence[str],
    *,
    initial: EarlierModel | None = None,
    teachers: Sequence[EarlierModel] = (),
    resume: bool = False,
    callbacks: list[Any] | None = None,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]] = lambda _: lambda x: x,
    log: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """Train one network and keep the weights of its best epoch, or of its last.

    Adam or AdamW on categorical cross-entropy with soft targets. Two runs with one seed on one
    machine give the same weights.

    Args:
        config: hyper-parameters.
        loaded: the pictures.
        train: indices to train on.
        valid: indices for validation: early stopping and the choice of the best epoch.
        folder: for checkpoints; made if it is not there.
        labels: of the targets' columns.
        initial: with whose weights to begin.
        teachers: whose answers are learnt beside the targets.
        resume: go on from the checkpoint in `folder`, if there is one.
        callbacks: further Keras callbacks, such as a progress bar.
        progress: title -> wrapper of a loop, of which `teacher_views` have one each.
        log: told in a line what happens.

    Raises:
        DataError: a label without a picture.
        UsageError: the input is too small, or earlier models do not fit.
        InputError: what `folder` holds is damaged.
    """
    keep_freed_memory()
    keras.utils.set_random_seed(config.seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    times = times_shown([loaded.datasets[i] for i in train], config.balance_data)
    shown = times.astype(np.float32)[:, None] * loaded.targets[train]
    weights = label_weights(shown.sum(axis=0), config.balance)
    # Of the labels in the loss, where a picture weighs what its target does.
    shares = (shown * (loaded.targets[train] @ weights)[:, None]).sum(axis=0)
    history_file = folder / HISTORY_NAME
    history: History = []
    if resume and history_file.exists():
        history = read_history(history_file)
        log(f"{folder}: {len(history)} of {config.epochs} epochs are done")
    if not is_over(history, config):
        network = build(config, len(labels))
        if initial is not None and not history:
            take_weights(network, initial, labels, config.seed)
            if not initial.statistics:
                some = train[:: math.ceil(len(train) / 512)]
                take_statistics(network, loaded.pixels[some])
        teaching = None
        if teachers:
            teaching = Teaching(
                teachers, labels, shares, weights, config.teacher_share,
                mirror=config.flip, precision=config.precision,
            )  # fmt: skip
        answers = None
        held_out: Any = _pixels(loaded, valid)
        if teaching is not None and config.teacher_views:
            answers = ask(teaching, config, loaded, train, valid, folder, progress)
            held_out = (held_out, answers.still, answers.valid)
        network = in_precision(network, config.precision)
        batches = _Batches(config, loaded, train, times, weights, len(history), answers)
        model = _training_model(config, network, teaching, loaded.source.shape[1:], len(batches))
        if history:
            model.optimizer.build(model.trainable_variables)
            read_variables(state_file(folder, len(history)), state_of(model))
        model.fit(
            batches,
            validation_data=(held_out, loaded.targets[valid], loaded.targets[valid] @ weights),
            validation_batch_size=256,
            initial_epoch=len(history),
            epochs=config.epochs,
            callbacks=[Keeper(folder, history, config), *(callbacks or [])],
            verbose=0,
            shuffle=False,
        )
    logits_model = build(config, len(labels))
    read_variables(folder / KEPT_NAME, logits_model.weights)
    if config.prior == "uniform":
        _assume_uniform_prior(logits_model, shares)
    return Fitted(logits_model, history, kept_epoch(history, config))


def _assume_uniform_prior(logits_model: keras.Model, shares: NDArray[np.float32]) -> None:
    """Take the logarithm of the labels' shares in the loss, (labels,), from the last bias.

    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021. The mean is kept. The shares
    are those of pictures as they are, which prediction is about, also after a training with mixup.
    """
    head = logits_model.get_layer(OUTPUT_NAME)
    kernel, bias = head.get_weights()
    prior = np.log(shares)
    head.set_weights([kernel, bias - (prior - prior.mean())])


def _training_model(
    config: TrainConfig,
    network: keras.Model,
    teaching: Teaching | None,
    source: tuple[int, ...],
    steps: int,
) -> keras.Model:
    """The compiled network with augmentation before it.

    Args:
        source: shape of a picture.
        steps: of an epoch.
    """
    image = keras.Input(source, name="augmented")
    body = keras.Model(network.input, network.output, name="network")
    height, width, _ = network.input_shape[1:]
    stored = []
    if teaching is not None and config.teacher_views:
        stored = [
            keras.Input((RandomView.DRAWN,), name="drawn"),
            keras.Input(network.output_shape[1:], name="answers"),
        ]
    view, shown = RandomView(config, height, width)(image, *stored[:1])
    logits = body(degradation(config)(view))
    if teaching is not None:
        logits = teaching(logits, answers=stored[1]) if stored else teaching(logits, shown)
    model = keras.Model([image, *stored], logits)
    model.compile(
        _optimizer(config, steps),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        ),
        loss_weights=None if teaching is None else 1 - config.teacher_share,
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def _optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        warmup = min(steps, steps * config.epochs // 10)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else config.learning_rate,
            max(1, steps * config.epochs - warmup),
            warmup_target=config.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    adamw = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    adamw.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return adamw


def predict_logits(
    logits_model: keras.Model, pixels: NDArray[np.uint8], batch: int = 256
) -> NDArray[np.float32]:
    """Logits of shape (N, labels), in batches, so that `pixels` may be a memory map.

    Raises:
        CheckError: they are not finite.
    """
    parts = [
        np.asarray(logits_model(pixels[i : i + batch].astype(np.float32), training=False))
        for i in range(0, len(pixels), batch)
    ]
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise CheckError("the training diverged: logits that are no numbers; lower learning_rate")
    return logits
