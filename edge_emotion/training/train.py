"""A training from pictures to a model folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import read_trained_on
from edge_emotion.card import (
    CALIBRATION_NAME,
    CARD_NAME,
    KERAS_NAME,
    TRAINED_ON_NAME,
    DataRecord,
    Evaluation,
    ModelCard,
    is_name,
)
from edge_emotion.errors import ModelError, UsageError
from edge_emotion.evaluation import may_be_guessing
from edge_emotion.files import alone, check_folder, write_bytes
from edge_emotion.model_readme import README_NAME, write_readme
from edge_emotion.training.answers import ANSWERS_NAME
from edge_emotion.training.architectures import keep_outputs
from edge_emotion.training.checkpoints import HISTORY_NAME, KEPT_NAME
from edge_emotion.training.config import Plan, TrainConfig, same_settings
from edge_emotion.training.earlier import Earlier, open_all, pictures_of
from edge_emotion.training.fit import fit, input_spec
from edge_emotion.training.folds import cross_validate
from edge_emotion.training.gather import Labelled, fingerprint, gather, read_labelled
from edge_emotion.training.loading import (
    SPLITS,
    LoadedPictures,
    Splits,
    count_splits,
    keep_labels,
)
from edge_emotion.training.outcome import (
    PREDICTIONS_NAME,
    check_replaces_own,
    draw,
    is_written,
    measure,
    name_anew,
    write_distilled,
    write_model,
    write_seen,
)
from edge_emotion.training.splits import TOO_FEW, drop_leaks, split_pictures

CONFIG_NAME = "config.json"
CACHE_NAME = ".pixels.npy"
#: What a model folder may hold before its card is written, README.md by the user's own hand.
BEFORE_THE_CARD = {KERAS_NAME, CALIBRATION_NAME, TRAINED_ON_NAME, README_NAME}


def train_model(
    data: Sequence[Path],
    config: TrainConfig,
    plan: Plan,
    *,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]] = lambda _: lambda x: x,
    callbacks: Callable[[str], list[Any]] = lambda _: [],
    log: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
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
        warn: told in a line of each picture that cannot be read.

    Returns:
        The card that was written.

    Raises:
        DataError: the pictures cannot be read or divided.
        UsageError: settings that exclude each other, earlier models that do not fit the pictures or
            the network, or a run or model folder of another training.
        ModelError, ChecksumError: an earlier model cannot be run.
        InputError: what the run folder holds is damaged.
        OutputError: a folder cannot be written.
        CheckError: the training diverged.
    """
    if plan.folds == 1 or plan.folds < 0:
        raise UsageError(f"--folds must be 2 or more, not {plan.folds}")
    if plan.folds and plan.validate_on_train:
        raise UsageError("--folds and --validate-on-train exclude each other")
    if plan.split_as is not None and (plan.folds or plan.validate_on_train):
        raise UsageError("--split-as goes without --folds and without --validate-on-train")
    if config.refit and (plan.folds or plan.validate_on_train):
        raise UsageError("--refit goes without --folds and without --validate-on-train")
    if config.teachers and plan.folds:
        raise UsageError("--teacher and --folds exclude each other: a teacher knows every fold")
    for name in ("teacher_share", "teacher_views"):
        if getattr(config, name) != getattr(TrainConfig, name) and not config.teachers:
            raise UsageError(f"--{name.replace('_', '-')} goes with --teacher")
    if config.balance_data and len(data) < 2:
        raise UsageError("--balance-data goes with two data sets or more")
    if config.learn_all and (config.labels is None or plan.folds):
        raise UsageError("--learn-all goes with --labels and without --folds")
    labelled = read_labelled(data, config)
    _check_run(plan, data)
    cache = plan.run / CACHE_NAME
    one = plan.out.samefile(plan.run)
    with (
        alone(plan.run, "train", "--run"),
        nullcontext() if one else alone(plan.out, "train", "--out"),
    ):
        try:
            return _train(labelled, config, plan, cache, progress, callbacks, log, warn)
        finally:
            cache.unlink(missing_ok=True)


def _train(
    labelled: Labelled,
    config: TrainConfig,
    plan: Plan,
    cache: Path,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]],
    callbacks: Callable[[str], list[Any]],
    log: Callable[[str], None],
    warn: Callable[[str], None],
) -> ModelCard:
    gathered = gather(labelled, config, cache, progress=progress, log=log, warn=warn)
    dataset, loaded, groups = gathered.dataset, gathered.loaded, gathered.groups
    outputs = [index for _, index in gathered.chosen]
    parts, dropped, words = _divide(loaded, groups, config, plan)
    if TOO_FEW in words:
        log(words)
    earlier = open_all(config, input_spec(config).shape)
    config = earlier.complete(config)
    valid, test = parts["valid"], parts["test"]
    if plan.folds:  # each picture is held out once
        valid, test = test[:0], np.concatenate([parts[name] for name in SPLITS])
    elif plan.validate_on_train:
        valid = valid[:0]
    for doubt in dict.fromkeys(earlier.check_unseen(loaded, valid, test, groups)):
        log(doubt)
    _claim_run(config, dataset.labels, earlier, plan, loaded, parts)
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
    check_replaces_own(config, plan, record, earlier)
    evaluations = []
    if plan.folds:
        pool = np.concatenate([parts["train"], parts["valid"]])
        evaluations.append(
            cross_validate(
                dataset, loaded, groups, pool, config, plan, record, earlier, callbacks, log
            )
        )
    fitted = fit(
        config, loaded, parts["train"], parts["valid"], plan.run, dataset.labels,
        initial=earlier.initial, teachers=earlier.teachers, resume=plan.resume,
        callbacks=callbacks("training"), progress=progress, log=log,
    )  # fmt: skip
    seen = earlier.learnt(loaded, parts["train"], parts["valid"])
    if config.learn_all:
        dataset = replace(dataset, labels=[name for name, _ in gathered.chosen])
        fitted = replace(fitted, logits_model=keep_outputs(fitted.logits_model, outputs))
        loaded, parts = keep_labels(loaded, parts, outputs)
    confidence, own, shown = measure(fitted, dataset, loaded, parts, config, plan)
    evaluations += own
    for evaluation in evaluations:
        if lacking := [label for label, m in evaluation.per_label.items() if not m.support]:
            names = ", ".join(lacking)
            log(f"{evaluation.data}: no picture of {names}: its figures say nothing of that")
        if may_be_guessing(evaluation):
            advice = _what_teaches_more(config, evaluation)
            log(f"{evaluation.data}: cannot be told from guessing: {advice}")
    written = is_written(fitted, plan)
    if written:
        log(f"{plan.out} holds this model already: its exports stay")
        card = name_anew(plan, log)
    else:
        # The card last: a folder that has one is whole, and knows its training pictures.
        write_seen(seen, plan)
        write_distilled(fitted, plan, config, progress)
        card = write_model(fitted, dataset, config, plan, record, confidence, evaluations, earlier)
    draw(fitted, dataset, loaded, parts[shown], shown, confidence, card, plan)
    write_readme(plan.out, card, measured=written)
    return card


def _what_teaches_more(config: TrainConfig, evaluation: Evaluation) -> str:
    if evaluation.balanced_accuracy > (1 + 1 / len(evaluation.per_label)) / 2:
        return f"{evaluation.samples} pictures are too few to tell"
    own = TrainConfig()
    same_net = (config.architecture, config.width, config.body) == (
        own.architecture, own.width, own.body,
    ) and input_spec(config).shape == input_spec(own).shape  # fmt: skip
    if config.initial is None and same_net:
        return "begin with a net that knows faces (--initial edge-cnn), or train on more pictures"
    return "train on more pictures, or for more --epochs"


def _check_run(plan: Plan, data: Sequence[Path]) -> None:
    """Hours of training must not end, or begin, at a place that is taken or cannot be written."""
    if not is_name(plan.name):
        raise UsageError(f"--name {plan.name!r}: a name of one line without / is needed")
    for option, place in ("--run", plan.run), ("--out", plan.out):
        for folder in data:  # a zip has nothing in it
            if place.resolve().is_relative_to(folder.resolve()):
                raise UsageError(
                    f"{option} {place} is among the pictures: name a folder outside of {folder}"
                )
    if other := _foreign_run(plan.run):
        raise UsageError(f"{plan.run} holds {other} and is no run folder: name another --run")
    if has_epochs(plan.run) and not plan.resume:
        raise UsageError(
            f"{plan.run} holds an earlier run: pass --resume to go on, or name another --run"
        )
    if (plan.out / CARD_NAME).exists():
        if not plan.resume:
            raise UsageError(f"{plan.out} holds a model: name another --out")
    elif other := _foreign(plan):
        raise UsageError(f"{plan.out} holds {other} and is no model folder: name another --out")
    for folder in (plan.run, plan.out):
        check_folder(folder)


def _foreign(plan: Plan) -> str | None:
    """What lies in the model folder that no training put there, if there is anything."""
    out, run = plan.out.resolve(), plan.run.resolve()
    if not out.is_dir() or (out == run and (out / CONFIG_NAME).exists()):
        return None
    try:  # the hashes of its pictures are the first that a training writes there
        began = read_trained_on(out) is not None
    except ModelError:
        began = False
    for path in sorted(out.iterdir()):
        own = path.name.startswith(".") or path.name == README_NAME
        own |= began and path.name in BEFORE_THE_CARD
        if not own and path not in (run, *run.parents):
            return path.name
    return None


def _foreign_run(run: Path) -> str | None:
    """What a training would write over in a run folder, and no training put there."""
    path = run / CONFIG_NAME
    if path.exists():
        try:
            config = json.loads(path.read_bytes())
            own = isinstance(config, dict) and "pictures" in config
        except (OSError, ValueError, RecursionError):
            own = has_epochs(run)  # damaged: told of later
        return None if own else path.name
    return next(
        (name for name in (PREDICTIONS_NAME, KEPT_NAME, ANSWERS_NAME) if (run / name).exists()),
        None,
    )


def has_epochs(run: Path) -> bool:
    """Whether something was trained in a run folder; an attempt that was refused leaves nothing."""
    return (run / HISTORY_NAME).exists() or any(run.glob(f"fold-*/{HISTORY_NAME}"))


def _claim_run(
    config: TrainConfig,
    labels: list[str],
    earlier: Earlier,
    plan: Plan,
    loaded: LoadedPictures,
    parts: Splits,
) -> None:
    """A run folder belongs to one configuration and the same pictures in the same split.

    What is done to the outputs in the end is not part of it: one run may make a model of all
    labels and one of some.
    """
    config = replace(config, labels=labels, learn_all=False, prior="data")
    settings = config.as_dict() | earlier.record()
    settings |= {
        "folds": plan.folds,
        "validate_on_train": plan.validate_on_train,
        "pictures": fingerprint(loaded, parts),
    }
    data = json.dumps(settings, indent=1).encode()
    path = plan.run / CONFIG_NAME
    if has_epochs(plan.run) and path.exists():
        try:
            same = same_settings(json.loads(data), json.loads(path.read_bytes()))
        except (ValueError, TypeError, RecursionError):  # damaged
            same = False
        if same:
            return
        raise UsageError(
            f"{plan.run} holds a run with other settings or pictures ({CONFIG_NAME}): "
            "name another --run"
        )
    write_bytes(path, data)


def _divide(
    loaded: LoadedPictures, groups: NDArray[np.int64], config: TrainConfig, plan: Plan
) -> tuple[Splits, Counter[str], str]:
    if plan.validate_on_train:
        test = np.array([split == "test" for split in loaded.splits])
        parts: Splits = {
            "train": np.flatnonzero(~test),
            "valid": np.empty(0, np.int64),
            "test": np.flatnonzero(test),
        }
        dropped = drop_leaks(parts, groups)  # the test figures are of held-out pictures
        parts["valid"] = parts["train"]
        return parts, dropped, "validation = training pictures, as in the original project"
    return split_pictures(
        loaded,
        groups,
        seed=config.seed,
        valid_fraction=config.valid_fraction,
        # Every picture is held out once by the folds.
        test_fraction=0.0 if plan.folds else config.test_fraction,
        like=None if plan.split_as is None else pictures_of(plan.split_as),
        refit=config.refit,
    )
