"""Which int8 exports are looked into layer by layer, beside which float ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from edge_emotion.errors import EdgeEmotionError, UsageError, require

from .accuracy import Pictures
from .layer import LayerReport
from .processes import look_into
from .subjects import Subject
from .worker import LayersRequest, Looked

#: More pictures change a decibel or two, and take their time with every tensor kept.
PICTURES = 64
WARMUP, RUNS = 20, 100


def pairs(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    """Each int8 export with the float export of the same engine."""
    by_recipe = {subject.recipe: subject for subject in subjects}
    found = []
    for subject in subjects:
        original = by_recipe.get(f"{subject.recipe.split('-')[0]}-f32")
        if "int8" in subject.recipe and original is not None:
            found.append((subject, original))
    return found


def check_layers(subjects: Sequence[Subject], pictures: Pictures | None) -> None:
    """See that there is something to look into, before minutes of measuring.

    Raises:
        UsageError: no pictures, or no int8 export with its float original.
        MissingExtraError: onnx is not installed, and one of them is an ONNX file.
    """
    if pictures is None:
        raise UsageError("--layers needs pictures, and this model carries none: pass --data")
    found = pairs(subjects)
    if not found:
        raise UsageError(
            "--layers compares an int8 export with the float one of the same engine: name a model "
            "folder that has both: edge-emotion export --to onnx-f32,onnx-int8"
        )
    if any(export.path.suffix == ".onnx" for export, _ in found):
        require("onnx", "--layers", "export")


def inspect_layers(
    subjects: Sequence[Subject],
    pictures: Pictures,
    *,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    look: Callable[[LayersRequest], Looked] = look_into,
) -> tuple[list[LayerReport], list[EdgeEmotionError]]:
    """Look into every int8 export, a process for each.

    Args:
        subjects: files that run.
        pictures: of which `PICTURES` are taken, evenly.
        progress: wraps the loop over exports.
        look: runs one process.
    """
    chosen = np.linspace(0, len(pictures.rows) - 1, min(PICTURES, len(pictures.rows)))
    rows = pictures.rows[np.unique(chosen.astype(np.int64))].tolist()
    found, errors = [], []
    jobs = pairs(subjects)
    for i in progress(range(len(jobs))):
        export, original = jobs[i]
        request = LayersRequest(
            str(export.path), str(original.path), str(pictures.pixels), rows, WARMUP, RUNS
        )
        try:
            looked = look(request)
        except EdgeEmotionError as error:
            errors.append(error)
            continue
        found.append(
            LayerReport(
                recipe=export.recipe,
                reference=original.recipe,
                data=pictures.data.name,
                pictures=len(rows),
                runs=RUNS if looked.other_float_us is not None else 0,  # LiteRT has no profiler
                layers=looked.layers,
                unmatched=looked.unmatched,
                other_float_us=looked.other_float_us,
                other_int8_us=looked.other_int8_us,
                notes=looked.notes,
            )
        )
    return found, errors
