"""Accuracy on corrupted pictures, float and int8 beside each other.

``python -m edge_emotion.benchmarks.robustness MODEL --data DATA`` for any model and labelled
pictures: what to expect. Models are chosen by it with ``--validation`` alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from edge_emotion.cli.terminal import LeftOut, progress
from edge_emotion.errors import EdgeEmotionError, MissingExtraError, ModelError, UsageError
from edge_emotion.files import is_folder, tool_versions
from edge_emotion.machine import PACKAGES

from .accuracy import Pictures, labelled_pictures, run_subjects
from .corruptions import CORRUPTIONS, STRENGTHS, Corruption
from .module import Wrap, named_path, place_for, raise_failures, run_module, write_report
from .report_json import to_json
from .robustness_report import Corrupted, RobustnessReport, file_name, robustness_table
from .schema import KERAS
from .subjects import Subject, find_subjects, missing_file


def corrupt(
    pictures: Pictures, corruption: Corruption, strengths: Sequence[int], into: Path
) -> Pictures:
    """All pictures at all strengths, one strength after the other.

    Args:
        pictures: labelled.
        corruption: which.
        strengths: 0 to 5.
        into: file for the pixels, uint8 (strengths x pictures, H, W, C).
    """
    assert pictures.labels is not None
    source = np.load(pictures.pixels, mmap_mode="r")
    count = len(pictures.rows)
    shape = (len(strengths) * count, *source.shape[1:])
    with into.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        write_array_header_1_0(file, header)
        for strength in strengths:
            for number, row in enumerate(pictures.rows):
                changed = corruption.apply(np.array(source[row]), strength, number)
                file.write(changed.tobytes())
    labels = np.tile(pictures.labels, len(strengths))
    return replace(pictures, pixels=into, rows=np.arange(shape[0]), labels=labels)


def accuracies(
    subjects: Sequence[Subject], pictures: Pictures, strengths: int
) -> tuple[dict[str, list[float]], dict[str, EdgeEmotionError]]:
    """Accuracy of each artefact at each strength, and what failed."""
    assert pictures.labels is not None
    logits, errors = run_subjects(subjects, pictures)
    found = {}
    for recipe, own in logits.items():
        right = own.argmax(axis=1) == pictures.labels
        found[recipe] = [round(float(part.mean()), 6) for part in np.split(right, strengths)]
    return found, errors


def run_robustness(
    model: str | Path,
    data: Path,
    *,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
    include_training: bool = False,
    validation: bool = False,
    progress: Wrap = lambda description: lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[RobustnessReport, list[EdgeEmotionError]]:
    """Measure every export of a model on corrupted pictures.

    Args:
        model: shipped name, model folder, or one file.
        data: labelled pictures; see `edge_emotion.benchmarks.accuracy.labelled_pictures`.
        corruptions: which.
        include_training: keep pictures that the model was trained on.
        validation: the model's validation pictures instead of held-out ones.
        progress: makes a wrapper for a loop, from what the loop does.
        warn: told of each picture that cannot be read.

    Returns:
        The report, and the errors of exports that should have run.

    Raises:
        ModelError, DataError: the model or the pictures cannot be read.
        EdgeEmotionError: no export could be run; the first one's error.
    """
    subjects = find_subjects(model)
    card = subjects.card
    # The Keras model is not among them: its float exports give its answers, ten times as fast.
    exports = [subject for subject in subjects.files if subject.recipe != KERAS]
    if not exports:
        raise ModelError(f"{model}: its card knows no exports: edge-emotion export {model}")
    errors: dict[str, EdgeEmotionError] = {
        s.recipe: ModelError(missing_file(s)) for s in exports if s.missing
    }
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        into = Path(scratch)
        pictures = labelled_pictures(
            data, card, subjects.folder, into,
            include_training=include_training, validation=validation,
            progress=progress("reading"), warn=warn,
        )  # fmt: skip
        alive = [subject for subject in exports if subject.recipe not in errors]
        clean, failed = accuracies(alive, pictures, 1)
        errors.update(failed)
        if not clean:
            raise next(iter(errors.values()))
        alive = [subject for subject in alive if subject.recipe in clean]
        rows = []
        for i in progress("corrupting")(range(len(corruptions))):
            corruption = corruptions[i]
            changed = corrupt(pictures, corruption, STRENGTHS, into / "corrupted.npy")
            found, failed = accuracies(alive, changed, len(STRENGTHS))
            errors.update(failed)
            if not found:
                raise next(iter(failed.values()))
            alive = [subject for subject in alive if subject.recipe in found]
            parameters = [float(p) for p in corruption.parameters]
            rows.append(Corrupted(corruption.name, corruption.unit, parameters, found))
    # One that failed on the way has no mean: it is named, and not shown.
    whole = {subject.recipe for subject in alive}
    rows = [
        replace(row, accuracy={k: v for k, v in row.accuracy.items() if k in whole}) for row in rows
    ]
    clean = {recipe: shares for recipe, shares in clean.items() if recipe in whole}
    report = RobustnessReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=card.name,
        labels=list(card.labels),
        keras_sha256=card.keras_sha256,
        packages=tool_versions(PACKAGES),
        data=pictures.data,
        sha256={s.recipe: s.sha256 for s in exports if s.recipe in clean},
        clean={recipe: values[0] for recipe, values in clean.items()},
        corrupted=rows,
        # A report is published: it names files, not where they lie.
        not_measured={
            s.recipe: str(errors[s.recipe]).replace(f"{s.path.parent}/", "")
            for s in exports
            if s.recipe in errors
        },
    )
    # An engine that is not installed is no failure.
    return report, [e for e in errors.values() if not isinstance(e, MissingExtraError)]


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.robustness",
        description="Accuracy on corrupted pictures, float and int8 beside each other.",
    )
    add = parser.add_argument
    add("model", nargs="?", default="edge-cnn", help="name, folder or file [default: edge-cnn]")
    add("--data", type=named_path, required=True, help="labelled faces, cut out")
    add("--json", type=named_path, help="file, or folder that exists, for the report")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--include-training-pictures",
        action="store_true",
        help="keep pictures that the model was trained on; the figures are marked as such",
    )
    instead.add_argument(
        "--validation",
        action="store_true",
        help="the pictures that the model was validated on, to choose between models",
    )
    chosen = parser.parse_args(arguments)
    if chosen.validation and chosen.json is not None and is_folder(chosen.json):
        raise UsageError(f"--json {chosen.json}: reports there are of test pictures: name a file")
    name = file_name(find_subjects(chosen.model).card.name)
    target = place_for(chosen.json, name)
    left_out = LeftOut()
    report, failures = run_robustness(
        chosen.model, chosen.data, include_training=chosen.include_training_pictures,
        validation=chosen.validation, progress=progress, warn=left_out,
    )  # fmt: skip
    write_report(target, to_json(report))  # first: a full disk behind stdout must not cost it
    print(robustness_table(report))
    raise_failures(failures, len(failures) + len(report.clean))
    left_out.raise_if_any()


if __name__ == "__main__":
    run_module(main)
