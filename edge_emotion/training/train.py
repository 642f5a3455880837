"""A training from pictures to a model folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import remove_exports
from edge_emotion.card import (
    CALIBRATION_NAME,
    CARD_NAME,
    KERAS_NAME,
    TRAINED_ON_NAME,
    Confidence,
    DataRecord,
    Evaluation,
    ModelCard,
    TrainingRecord,
)
from edge_emotion.errors import UsageError
from edge_emotion.evaluation import evaluate, fit_confidence, softmax
from edge_emotion.files import check_folder, replacing, sha256, tool_versions, write_bytes
from edge_emotion.model_readme import write_readme
from edge_emotion.training.architectures import keep_outputs, multiply_adds, with_softmax
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.distill import can_distill, distill_pictures
from edge_emotion.training.fit import Fitted, fit, input_spec, predict_logits
from edge_emotion.training.gather import fingerprint, gather
from edge_emotion.training.loading import (
    LoadedPictures,
    Splits,
    count_splits,
    keep_labels,
)
from edge_emotion.training.plots import draw_confusion, draw_curves, draw_predictions
from edge_emotion.training.samples import Dataset
from edge_emotion.training.splits import fold_pictures, split_pictures
from edge_emotion.training.teach import teach

INTENDED_USE = (
    "Naming the expression that a face in a picture shows, on the device that took it, for people "
    "who know of it: art, games, photo sorting, research, accessibility. The answer is a label of "
    "an expression, not of what a person feels. Answers marked uncertain should not be acted on."
)
OUT_OF_SCOPE = (
    "Inferring emotions at work or in education (prohibited in the EU by Regulation 2024/1689, "
    "Art. 5(1)(f), save for medical and safety reasons); hiring, policing, credit, insurance, "
    "covert use. People exposed to emotion recognition must be told (Art. 50). Profiles, masks, "
    "darkness, children and drawings are outside what the figures cover."
)
CONFIG_NAME = "config.json"
CALIBRATION_PICTURES = 64
CHECK_PICTURES = 64


@dataclass(frozen=True)
class Plan:
    """How a training is evaluated and where it writes."""

    out: Path  # model folder
    run: Path  # checkpoints, and what shows pictures of the data set
    name: str
    command: str  # for the card
    licence: str = "as their maker decides; see the terms of the training pictures"
    source: str | None = None  # publisher of the pictures; None: what the layout tells
    terms: str | None = None  # of the pictures; None: what the layout tells
    folds: int = 0  # cross-validation before the final model; 0: none
    validate_on_train: bool = False  # the original project's protocol
    resume: bool = False


def train_model(
    data: Sequence[Path],
    config: TrainConfig,
    plan: Plan,
    *,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]] = lambda _: lambda x: x,
    callbacks: Callable[[str], list[Any]] = lambda _: [],
    log: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Train a network and write a model folder: model, card, README, curves, confusion.

    Args:
        data: one data set or more, see `edge_emotion.training.data.read_dataset`; the labels are
            those of the first.
        config: hyper-parameters.
        plan: where to, and which protocol.
        progress: title -> wrapper of a loop.
        callbacks: title -> further Keras callbacks of one fit.
        log: told in a line what happens.

    Returns:
        The card that was written.

    Raises:
        DataError: the pictures cannot be read or divided.
        UsageError: the run folder holds another run.
    """
    if plan.folds == 1 or plan.folds < 0:
        raise UsageError(f"--folds must be 2 or more, not {plan.folds}")
    if plan.folds and plan.validate_on_train:
        raise UsageError("--folds and --validate-on-train exclude each other")
    if config.teachers and plan.folds:
        raise UsageError("--teacher and --folds exclude each other: a teacher knows every fold")
    if config.learn_all and (config.labels is None or plan.folds):
        raise UsageError("--learn-all goes with --labels and without --folds")
    _check_run(plan)
    cache = plan.run / "pixels.npy"
    try:
        return _train(data, config, plan, cache, progress, callbacks, log)
    finally:
        cache.unlink(missing_ok=True)


def _train(
    data: Sequence[Path],
    config: TrainConfig,
    plan: Plan,
    cache: Path,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]],
    callbacks: Callable[[str], list[Any]],
    log: Callable[[str], None],
) -> ModelCard:
    gathered = gather(data, config, cache, progress=progress, log=log)
    dataset, loaded, groups = gathered.dataset, gathered.loaded, gathered.groups
    outputs = [index for _, index in gathered.chosen]
    parts, dropped, words = _divide(loaded, groups, config, plan)
    _claim_run(replace(config, labels=dataset.labels, learn_all=False), plan, loaded, parts)
    record = DataRecord(
        name=dataset.name,
        layout=dataset.layout,
        source=plan.source or dataset.source,
        licence=plan.terms or dataset.licence,
        split=words,
        seed=config.seed,
        splits=count_splits(dataset.labels, loaded, parts),
        dropped=dict(dataset.dropped + gathered.unreadable + dropped),
        grouped=dict(gathered.alike),
    )
    learnt, taught_by = loaded, list[str]()
    if config.teachers:
        learnt, taught_by = teach(
            loaded, parts["train"], dataset.labels, config.teachers, config.teacher_share
        )
    evaluations = []
    if plan.folds:
        pool = np.concatenate([parts["train"], parts["valid"]])
        evaluations.append(
            _cross_validate(dataset, loaded, groups, pool, config, plan, callbacks, log)
        )
    fitted = fit(
        config, learnt, parts["train"], parts["valid"], plan.run,
        resume=plan.resume, callbacks=callbacks("training"), log=log,
    )  # fmt: skip
    seen = [loaded.hashes[parts[name]] for name in ("train", "valid")]
    if config.learn_all:
        dataset = replace(dataset, labels=[name for name, _ in gathered.chosen])
        fitted = replace(fitted, logits_model=keep_outputs(fitted.logits_model, outputs))
        loaded, parts = keep_labels(loaded, parts, outputs)
    confidence, own, shown = _measure(fitted, dataset, loaded, parts, config, plan)
    evaluations += own
    card = _write(fitted, dataset, config, plan, record, confidence, evaluations, taught_by)
    _write_pictures(fitted, seen, plan, config, progress)
    _draw(fitted, dataset, loaded, parts[shown], shown, confidence, card, plan)
    write_readme(plan.out, card)
    return card


def _check_run(plan: Plan) -> None:
    """Hours of training must not end, or begin, at a place that is taken or cannot be written."""
    if not plan.name or plan.name != Path(plan.name).name:
        raise UsageError(f"--name {plan.name!r}: a name without / is needed")
    if (plan.run / CONFIG_NAME).exists() and not plan.resume:
        raise UsageError(
            f"{plan.run} holds an earlier run: pass --resume to go on, or name another --run"
        )
    if (plan.out / CARD_NAME).exists() and not plan.resume:
        raise UsageError(f"{plan.out} holds a model: name another --out")
    for folder in (plan.run, plan.out):
        check_folder(folder)


def _claim_run(config: TrainConfig, plan: Plan, loaded: LoadedPictures, parts: Splits) -> None:
    """A run folder belongs to one configuration and the same pictures in the same split.

    Which outputs are kept in the end is not part of it: one run may make a model of all labels and
    one of some.
    """
    settings = config.as_dict() | {
        "folds": plan.folds,
        "validate_on_train": plan.validate_on_train,
        "pictures": fingerprint(loaded, parts),
    }
    data = json.dumps(settings, indent=1).encode()
    path = plan.run / CONFIG_NAME
    if path.exists() and path.read_bytes() != data:
        raise UsageError(
            f"{plan.run} holds a run with other settings or pictures ({CONFIG_NAME}): "
            "name another --run"
        )
    write_bytes(path, data)


def _divide(
    loaded: LoadedPictures, groups: NDArray[np.int64], config: TrainConfig, plan: Plan
) -> tuple[Splits, Counter[str], str]:
    if plan.validate_on_train:
        everything = np.flatnonzero(np.array([s != "test" for s in loaded.splits]))
        parts: Splits = {
            "train": everything,
            "valid": everything,
            "test": np.setdiff1d(np.arange(len(loaded)), everything),
        }
        return parts, Counter(), "validation = training pictures, as in the original project"
    return split_pictures(
        loaded,
        groups,
        seed=config.seed,
        valid_fraction=config.valid_fraction,
        # Every picture is held out once by the folds.
        test_fraction=0.0 if plan.folds else config.test_fraction,
    )


def _cross_validate(
    dataset: Dataset,
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    pool: NDArray[np.int64],
    config: TrainConfig,
    plan: Plan,
    callbacks: Callable[[str], list[Any]],
    log: Callable[[str], None],
) -> Evaluation:
    """Each picture is scored by a network that saw neither it nor a duplicate of it."""
    logits = np.zeros((len(loaded), len(dataset.labels)), np.float32)
    folds = fold_pictures(loaded, groups, pool, plan.folds, config.seed)
    accuracies = []
    for number, held_out in enumerate(folds, 1):
        rest = np.setdiff1d(pool, held_out)
        inner = fold_pictures(
            loaded, groups, rest, max(2, round(1 / config.valid_fraction)), config.seed
        )[0]
        fitted = fit(
            config, loaded, np.setdiff1d(rest, inner), inner, plan.run / f"fold-{number}",
            resume=plan.resume, callbacks=callbacks(f"fold {number} of {plan.folds}"), log=log,
        )  # fmt: skip
        scores = predict_logits(fitted.logits_model, loaded.pixels[held_out])
        confidence = fit_confidence(
            predict_logits(fitted.logits_model, loaded.pixels[inner]),
            loaded.labels[inner], config.coverage, "the fold's validation",
        )  # fmt: skip
        logits[held_out] = scores / confidence.temperature
        accuracies.append(float((scores.argmax(axis=1) == loaded.labels[held_out]).mean()))
        log(f"fold {number}: accuracy {accuracies[-1]:.3f} on {len(held_out)} pictures")
    spread = f"{min(accuracies):.3f} to {max(accuracies):.3f}"
    return evaluate(
        logits[pool], loaded.labels[pool], dataset.labels, protocol="cross-validation",
        data=f"{dataset.name}, {plan.folds} folds grouped by duplicates, by fold {spread}",
    )  # fmt: skip


def _measure(
    fitted: Fitted,
    dataset: Dataset,
    loaded: LoadedPictures,
    parts: Splits,
    config: TrainConfig,
    plan: Plan,
) -> tuple[Confidence, list[Evaluation], str]:
    """Confidence from validation; figures of validation and test; the split to show."""
    confidence = Confidence()
    evaluations = []
    pixels = {name: loaded.pixels[parts[name]] for name in ("valid", "test") if len(parts[name])}
    logits = {name: predict_logits(fitted.logits_model, p) for name, p in pixels.items()}
    mirrored = {
        name: predict_logits(fitted.logits_model, p[:, :, ::-1]) for name, p in pixels.items()
    }
    if not plan.validate_on_train:
        confidence = fit_confidence(
            logits["valid"], loaded.labels[parts["valid"]], config.coverage,
            f"{dataset.name} validation",
        )  # fmt: skip
    datasets = np.array(loaded.datasets)
    for name, scores in logits.items():
        on_train = plan.validate_on_train and name == "valid"
        for source in dict.fromkeys(loaded.datasets):
            own = datasets[parts[name]] == source
            if own.any():
                evaluations.append(
                    evaluate(
                        scores[own], loaded.labels[parts[name]][own], dataset.labels,
                        temperature=confidence.temperature, mirrored=mirrored[name][own],
                        data=f"{source} {'train' if on_train else name}",
                        protocol="training-set" if on_train else "held-out",
                    )
                )  # fmt: skip
    return confidence, evaluations, "test" if len(parts["test"]) else "valid"


def _write(
    fitted: Fitted,
    dataset: Dataset,
    config: TrainConfig,
    plan: Plan,
    record: DataRecord,
    confidence: Confidence,
    evaluations: list[Evaluation],
    taught_by: list[str],
) -> ModelCard:
    model = fitted.logits_model
    remove_exports(plan.out)
    with replacing(plan.out / KERAS_NAME) as path:
        with_softmax(model).save(path)
    extra = {"folds": plan.folds, "validate_on_train": plan.validate_on_train}
    card = ModelCard(
        name=plan.name,
        labels=dataset.labels,
        input=replace(input_spec(config), face=dataset.face),
        licence=plan.licence,
        intended_use=INTENDED_USE,
        out_of_scope=OUT_OF_SCOPE,
        training=TrainingRecord(
            architecture=config.architecture,
            parameters=int(model.count_params()),
            multiply_adds=multiply_adds(model),
            config=config.as_dict() | extra | {"teachers": taught_by},
            epochs=len(fitted.history),
            best_epoch=fitted.best_epoch,
            command=plan.command,
            tools=tool_versions(["keras", "tensorflow", "numpy", "pillow"]),
        ),
        data=record,
        keras_sha256=sha256(plan.out / KERAS_NAME),
        confidence=confidence,
        evaluations=evaluations,
    )
    card.write(plan.out)
    return card


def _write_pictures(
    fitted: Fitted,
    seen: list[NDArray[np.uint64]],
    plan: Plan,
    config: TrainConfig,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]],
) -> None:
    """Distilled pictures, and hashes of the pictures seen; no picture of the data set."""
    with replacing(plan.out / TRAINED_ON_NAME) as path:
        np.savez_compressed(path, hashes=np.concatenate(seen), train=len(seen[0]))
    if not can_distill(fitted.logits_model):
        return
    pictures = distill_pictures(
        fitted.logits_model,
        CALIBRATION_PICTURES + CHECK_PICTURES,
        seed=config.seed,
        progress=progress("distilling calibration pictures"),
    )
    with replacing(plan.out / CALIBRATION_NAME) as path:
        np.savez_compressed(
            path,
            calibration=pictures[:CALIBRATION_PICTURES],
            check=pictures[CALIBRATION_PICTURES:],
            seed=config.seed,
        )


def _draw(
    fitted: Fitted,
    dataset: Dataset,
    loaded: LoadedPictures,
    indices: NDArray[np.int64],
    split: str,
    confidence: Confidence,
    card: ModelCard,
    plan: Plan,
) -> None:
    last = card.evaluations[-1]
    caveat = next((e.caveat for e in card.evaluations if e.caveat), "")
    title = plan.name
    if card.training.config["learn_all"]:
        title += f": on all labels of {dataset.name}, before it was cut to {len(card.labels)}"
    draw_curves(fitted.history, fitted.best_epoch, plan.out / "curves.png", title, caveat)
    draw_confusion(last, dataset.labels, plan.out / "confusion.png")
    chosen = np.random.default_rng(0).permutation(indices)[:24]
    logits = predict_logits(fitted.logits_model, loaded.pixels[chosen])
    draw_predictions(
        loaded.pixels[chosen],
        loaded.labels[chosen],
        softmax(logits, confidence.temperature),
        dataset.labels,
        plan.run / "predictions.png",
        f"{plan.name}: {last.caveat or f'{dataset.name} {split}, held out'}",
    )
