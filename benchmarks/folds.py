"""A cross-validation with int8 beside float: every fold's exports on the fold's own pictures.

``edge-emotion train DATA --folds 5`` keeps the network of each fold as a model folder. Export them,
then ``python -m edge_emotion.benchmarks.folds RUN/fold-*/model --data DATA``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import RECIPES, Confidence, ModelCard
from edge_emotion.cli.terminal import LeftOut, progress
from edge_emotion.errors import DataError, ModelError, UsageError
from edge_emotion.evaluation import Logits

from .accuracy import Measured, Pictures, judge, labelled_pictures, run_subjects
from .module import Wrap, named_path, run_module
from .schema import KERAS
from .subjects import find_subjects


@dataclass(frozen=True)
class Folds:
    """Figures of each artefact over the pictures of all folds."""

    reference: str | None  # recipe of the float model that the others are compared with
    pictures: int
    by_fold: dict[str, list[float]]  # recipe -> accuracy in each fold, 0..1
    measured: dict[str, Measured]


def measure_folds(
    models: Sequence[Path],
    data: Path,
    *,
    progress: Wrap = lambda description: lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> Folds:
    """Score every artefact that all folds have, each fold on what it was not trained on.

    Args:
        models: the folds' model folders, two or more.
        data: the pictures that the folds divide.
        progress: makes a wrapper for a loop, from what the loop does.
        warn: told of each picture that cannot be read.

    Raises:
        ModelError: a folder is no model, or does not know what it was trained on.
        DataError: the models are not the folds of a cross-validation on these pictures.
        UsageError: fewer than two models.
        EdgeEmotionError: an artefact cannot be run.
    """
    if len(models) < 2:
        raise UsageError("name two folds or more: RUN/fold-*/model")
    subjects = [find_subjects(model) for model in models]
    recipes = [
        recipe
        for recipe in (KERAS, *RECIPES)
        if all(recipe in (s.recipe for s in fold.files) for fold in subjects)
    ]
    cards = [fold.card for fold in subjects]
    if any((c.labels, c.input) != (cards[0].labels, cards[0].input) for c in cards):
        raise DataError("the models are not folds of one training: labels or inputs differ")
    logits: dict[str, list[Logits]] = {recipe: [] for recipe in recipes}
    by_fold: dict[str, list[float]] = {recipe: [] for recipe in recipes}
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        divided: list[Pictures] = []
        for number, fold in enumerate(subjects):
            place = Path(scratch) / str(number)
            place.mkdir()
            pictures = labelled_pictures(
                data, fold.card, fold.folder, place, divided=True, warn=warn,
                progress=progress(f"pictures of fold {number + 1}"),
            )  # fmt: skip
            if not pictures.data.trained_on_known:
                raise ModelError(f"{models[number]}: does not record what it was trained on")
            divided.append(pictures)
        held_out = _held_out([pictures.rows for pictures in divided])
        rows: list[NDArray[np.int64]] = []
        labels: list[NDArray[np.int64]] = []
        for i in progress("folds")(range(len(subjects))):
            fold, pictures, own_rows = subjects[i], divided[i], held_out[i]
            found, errors = run_subjects([s for s in fold.files if s.recipe in recipes], pictures)
            if errors:
                raise next(iter(errors.values()))
            assert pictures.labels is not None
            rows.append(pictures.rows[own_rows])
            labels.append(pictures.labels[own_rows])
            for recipe, own in found.items():
                kept = own[own_rows] / fold.card.confidence.temperature
                logits[recipe].append(kept)
                by_fold[recipe].append(float((kept.argmax(axis=1) == labels[i]).mean()))
    merged = replace(
        divided[-1],
        data=replace(divided[-1].data, samples=sum(map(len, rows))),
        rows=np.concatenate(rows),
        labels=np.concatenate(labels),
    )
    together = {recipe: np.concatenate(parts) for recipe, parts in logits.items()}
    reference, measured = judge(together, merged, _calibrated(cards[0]))
    return Folds(reference, len(merged.rows), by_fold, measured)


def _calibrated(card: ModelCard) -> ModelCard:
    """A card for logits that each fold's own temperature has divided already."""
    return replace(card, confidence=Confidence())


def _held_out(rows: Sequence[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
    """Of the pictures that each fold has not seen, those that the others have.

    What none has seen was left out of all of them, as a duplicate of a test picture is.
    """
    seen_by_none = rows[0]
    for own in rows[1:]:
        seen_by_none = np.intersect1d(seen_by_none, own)
    held_out = [~np.isin(own, seen_by_none) for own in rows]
    left = np.concatenate([own[kept] for own, kept in zip(rows, held_out, strict=True)])
    if len(np.unique(left)) < len(left) or not all(kept.any() for kept in held_out):
        raise DataError(
            "pictures that more than one of the models has not seen: name the folds of one "
            "cross-validation, and the data that it divided"
        )
    return held_out


def folds_table(folds: Folds) -> str:
    """A table in Markdown."""
    lines = [
        "| artefact | accuracy (95 %) | balanced | by fold | behind float, points (95 %) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for recipe, own in folds.measured.items():
        evaluation, agreement = own.evaluation, own.agreement
        assert evaluation is not None  # the pictures have labels
        low, high = evaluation.accuracy_interval
        behind = ""
        if agreement is not None:
            assert agreement.accuracy_drop is not None
            assert agreement.accuracy_drop_interval is not None
            least, most = agreement.accuracy_drop_interval
            behind = f"{100 * agreement.accuracy_drop:.1f} ({100 * least:.1f} to {100 * most:.1f})"
        spread = f"{100 * min(folds.by_fold[recipe]):.1f} to {100 * max(folds.by_fold[recipe]):.1f}"
        lines.append(
            f"| {recipe} | {evaluation.accuracy:.1%} ({low:.1%} to {high:.1%}) "
            f"| {evaluation.balanced_accuracy:.1%} | {spread} | {behind} |"
        )
    return "\n".join([*lines, "", f"{folds.pictures} pictures, each held out by one fold."])


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.folds",
        description="A cross-validation with int8 beside float.",
    )
    parser.add_argument("models", nargs="+", type=named_path, help="the folds' model folders")
    parser.add_argument(
        "--data", type=named_path, required=True, help="the pictures that they divide"
    )
    chosen = parser.parse_args(arguments)
    left_out = LeftOut()
    print(folds_table(measure_folds(chosen.models, chosen.data, progress=progress, warn=left_out)))
    left_out.raise_if_any()


if __name__ == "__main__":
    run_module(main)
