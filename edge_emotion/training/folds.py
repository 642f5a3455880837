"""Cross-validation: each picture is scored by a network that has not seen it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import DataRecord, Evaluation
from edge_emotion.evaluation import evaluate, fit_confidence
from edge_emotion.training.config import Plan, TrainConfig
from edge_emotion.training.earlier import Earlier
from edge_emotion.training.fit import fit, predict_logits
from edge_emotion.training.loading import LoadedPictures, Splits, count_splits
from edge_emotion.training.outcome import is_written, write_model, write_seen
from edge_emotion.training.samples import Dataset
from edge_emotion.training.splits import cut_share, fold_pictures


def cross_validate(
    dataset: Dataset,
    loaded: LoadedPictures,
    groups: NDArray[np.int64],
    pool: NDArray[np.int64],
    config: TrainConfig,
    plan: Plan,
    record: DataRecord,
    earlier: Earlier,
    callbacks: Callable[[str], list[Any]],
    log: Callable[[str], None],
) -> Evaluation:
    """Each picture is scored by a network that saw neither it nor a duplicate of it.

    The networks are kept as model folders, ``RUN/fold-N/model``.
    """
    logits = np.zeros((len(loaded), len(dataset.labels)), np.float32)
    folds = fold_pictures(loaded, groups, pool, plan.folds, config.seed)
    divisions: list[Splits] = []  # all before the first is trained: one may be impossible
    for held_out in folds:
        rest = np.setdiff1d(pool, held_out)
        inner = cut_share(loaded, groups, rest, config.valid_fraction, config.seed)
        divisions.append({"train": np.setdiff1d(rest, inner), "valid": inner, "test": held_out})
    accuracies = []
    for number, parts in enumerate(divisions, 1):
        inner, held_out = parts["valid"], parts["test"]
        own = replace(
            plan, run=plan.run / f"fold-{number}", out=plan.run / f"fold-{number}" / "model",
            name=f"{plan.name}-fold-{number}", folds=0,
        )  # fmt: skip
        fitted = fit(
            config, loaded, parts["train"], inner, own.run, dataset.labels,
            initial=earlier.initial, resume=plan.resume,
            callbacks=callbacks(f"fold {number} of {plan.folds}"), log=log,
        )  # fmt: skip
        scores = predict_logits(fitted.logits_model, loaded.pixels[held_out])
        confidence = fit_confidence(
            predict_logits(fitted.logits_model, loaded.pixels[inner]),
            loaded.labels[inner], config.coverage, "the fold's validation",
        )  # fmt: skip
        logits[held_out] = scores / confidence.temperature
        figures = evaluate(
            scores, loaded.labels[held_out], dataset.labels, protocol="held-out",
            data=f"{dataset.name}, fold {number} of {plan.folds}",
            temperature=confidence.temperature,
        )  # fmt: skip
        words = f"fold {number} of {plan.folds}, grouped by duplicates (seed {config.seed})"
        splits = count_splits(dataset.labels, loaded, parts)
        of_fold = replace(record, split=words, splits=splits)
        if not is_written(fitted, own):
            write_seen(earlier.learnt(loaded, parts["train"], inner), own)
            write_model(fitted, dataset, config, own, of_fold, confidence, [figures], earlier)
        accuracies.append(figures.accuracy)
        log(f"fold {number}: accuracy {accuracies[-1]:.3f} on {len(held_out)} pictures")
    spread = f"{min(accuracies):.3f} to {max(accuracies):.3f}"
    return evaluate(
        logits[pool], loaded.labels[pool], dataset.labels, protocol="cross-validation",
        data=f"{dataset.name}, {plan.folds} folds grouped by duplicates, by fold {spread}",
    )  # fmt: skip
