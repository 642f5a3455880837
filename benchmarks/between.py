"""Two models on the pictures that validated both: ``python -m edge_emotion.benchmarks.between``.

A choice between models rests on the pictures that one alone has right, not on two accuracies
whose intervals overlap: McNemar, "Note on the sampling error of the difference between correlated
proportions or percentages", Psychometrika 1947. Few pictures say more by how probable each model
holds their labels: the negative log likelihood, paired as well.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.cli.terminal import LeftOut, progress
from edge_emotion.errors import DataError, EdgeEmotionError, ModelError, UsageError
from edge_emotion.evaluation import Z, mcnemar, softmax

from .accuracy import labelled_pictures, run_subjects
from .module import Wrap, named_path, run_module
from .schema import REFERENCES
from .subjects import Subjects, find_subjects


@dataclass(frozen=True)
class Between:
    """Which of the same pictures each of two models has right, in the order of the models."""

    data: str
    labels: NDArray[np.int64]  # (N,)
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]]  # (N,) each
    surprise: tuple[NDArray[np.float64], NDArray[np.float64]]  # -log of the label's probability

    @property
    def alone(self) -> tuple[int, int]:
        """How many pictures the first alone has right, and the second alone: discordant pairs."""
        one, other = self.right
        return int((one & ~other).sum()), int((other & ~one).sum())

    def balanced(self, model: int) -> float:
        """Mean of a model's recalls of the labels that are there."""
        own = self.right[model]
        return float(np.mean([own[self.labels == label].mean() for label in set(self.labels)]))


def measure_between(
    models: Sequence[str | Path],
    data: Path,
    *,
    progress: Wrap = lambda description: lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> Between:
    """Answers of two models' float networks to the validation pictures that they share.

    Args:
        models: two, with the same labels in the same order.
        data: labelled pictures, see `read_dataset`.
        progress: makes a wrapper for a loop, from what the loop does.
        warn: told of each picture that cannot be read.

    Raises:
        UsageError: their labels differ, one does not record its pictures, or no picture validated
            both.
        ModelError, DataError: a model or the pictures cannot be read.
        MissingExtraError: nothing that runs its float exports is installed, or no scikit-learn.
    """
    subjects = [find_subjects(model) for model in models]
    if subjects[0].card.labels != subjects[1].card.labels:
        raise UsageError("the models have other labels, or the same in another order")
    first, second = (_answers(own, data, progress, warn) for own in subjects)
    rows = np.intersect1d(first.rows, second.rows)
    if not len(rows):
        raise UsageError(f"{data}: no picture validated both models")
    chosen = [np.isin(own.rows, rows) for own in (first, second)]
    return Between(
        first.name,
        first.labels[chosen[0]],
        (first.right[chosen[0]], second.right[chosen[1]]),
        (first.surprise[chosen[0]], second.surprise[chosen[1]]),
    )


@dataclass(frozen=True)
class _Answers:
    name: str
    rows: NDArray[np.int64]  # which pictures of the data, ascending
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    surprise: NDArray[np.float64]


def _answers(
    subjects: Subjects, data: Path, progress: Wrap, warn: Callable[[str], None]
) -> _Answers:
    name = subjects.card.name
    files = {file.recipe: file for file in subjects.files if not file.missing}
    references = [files[recipe] for recipe in REFERENCES if recipe in files]
    if not references:
        raise ModelError(
            f"{name}: no float model: name a folder with model.keras or a float export"
        )
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        pictures = labelled_pictures(
            data, subjects.card, subjects.folder, Path(scratch), validation=True,
            progress=progress(f"reading for {name}"), warn=warn,
        )  # fmt: skip
        failed: dict[str, EdgeEmotionError] = {}
        for reference in references:  # without TensorFlow the float ONNX file stands for Keras'
            logits, errors = run_subjects([reference], pictures)
            if logits:
                break
            failed |= errors
        else:
            raise failed[references[0].recipe]
    assert pictures.labels is not None  # labelled pictures have them
    found = softmax(logits[reference.recipe], subjects.card.confidence.temperature)
    held = found[np.arange(len(found)), pictures.labels]
    return _Answers(
        pictures.data.name, pictures.rows, pictures.labels,
        found.argmax(axis=1) == pictures.labels, -np.log(np.maximum(held, 1e-12)),
    )  # fmt: skip


def between_table(found: Sequence[Between]) -> str:
    """One row a data set, and one of all together, with the mean of their balanced accuracies."""
    lines = [
        "| data | pictures | wrong | balanced | right alone | standard error | p (McNemar) "
        "| negative log likelihood | less of it by the second (95 %) |",
        f"| --- |{' ---: |' * 8}",
    ]
    lines += [_row(one.data, [one]) for one in found]
    if len(found) > 1:
        lines.append(_row("together", found))
    return "\n".join(lines)


def _row(name: str, found: Sequence[Between]) -> str:
    """Pictures of several data sets count alike; their balanced accuracies are averaged."""
    right = [np.concatenate([one.right[model] for one in found]) for model in (0, 1)]
    surprise = [np.concatenate([one.surprise[model] for one in found]) for model in (0, 1)]
    alone = (sum(one.alone[0] for one in found), sum(one.alone[1] for one in found))
    balanced = [np.mean([one.balanced(model) for one in found]) for model in (0, 1)]
    less = surprise[0] - surprise[1]
    half = Z * less.std() / math.sqrt(len(less))
    return (
        f"| {name} | {len(less)} | {(~right[0]).sum()}, {(~right[1]).sum()} "
        f"| {balanced[0]:.1%}, {balanced[1]:.1%} | {alone[0]}, {alone[1]} "
        f"| {math.sqrt(sum(alone)):.1f} | {mcnemar(*alone):.3f} "
        f"| {surprise[0].mean():.4f}, {surprise[1].mean():.4f} "
        f"| {less.mean():+.4f} ({less.mean() - half:+.4f} to {less.mean() + half:+.4f}) |"
    )


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.between",
        description="Two models on the pictures that validated both: wrong answers, and which of "
        "the pictures one alone has right.",
    )
    parser.add_argument("models", nargs=2, metavar="MODEL", help="shipped name or model folder")
    parser.add_argument(
        "--data", type=named_path, action="append", required=True,
        help="labelled pictures; may be repeated",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    if len({data.resolve() for data in chosen.data}) < len(chosen.data):
        raise UsageError("--data: one data set named twice would count twice")
    for data in chosen.data:
        if not data.exists():
            raise DataError(f"{data}: no such file or folder")
    left_out = LeftOut()
    found = [
        measure_between(chosen.models, data, progress=progress, warn=left_out)
        for data in chosen.data
    ]
    print(between_table(found))
    left_out.raise_if_any()


if __name__ == "__main__":
    run_module(main)
