"""Which int8 exports are looked into layer by layer, beside which float ones."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_emotion.card import KERAS_NAME
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
            looked = with_layer_names(look(request), keras_layers(export.path.parent / KERAS_NAME))
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


def with_layer_names(looked: Looked, known: Collection[str]) -> Looked:
    """Layers by the names that they have in Keras; `known` as in `layer_name`."""
    return msgspec.structs.replace(
        looked,
        layers=[replace(layer, name=layer_name(layer.name, known)) for layer in looked.layers],
        unmatched=[layer_name(path, known) for path in looked.unmatched],
    )


def keras_layers(path: Path) -> frozenset[str]:
    """Names of all layers of a .keras file, those within others too; none if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            pending: list[Any] = [json.loads(archive.read("config.json"))]
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return frozenset()
    names = set()
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            config = one.get("config")
            if isinstance(config, dict) and isinstance(config.get("name"), str):
                names.add(config["name"])
            pending += one.values()
        elif isinstance(one, list):
            pending += one
    return frozenset(names)


def layer_name(path: str, known: Collection[str] = ()) -> str:
    """The Keras layer that a tensor or node belongs to.

    ``functional_1/stage1_in_conv_1/convolution`` is ``stage1_in_conv``: TensorFlow numbers the
    scopes of layers when the network is traced. Of several, joined by ``;`` as TFLite does with
    what it fused, the one that is not a BatchNorm and stands last.

    Args:
        path: of scopes.
        known: the network's layers. The innermost one in the path is taken; without any of them,
            what follows the network's own scopes.
    """
    parts = [part for part in path.split(";") if part]
    plain = [part for part in parts if "batchnorm" not in part] or parts
    *scopes, last = plain[-1].removesuffix(":0").split("/")
    layers = [re.sub(r"_\d+$", "", scope) for scope in scopes]
    for layer in reversed(layers):
        if layer in known:
            return layer
    own = [
        layer
        for layer in layers
        if not re.fullmatch(r"(functional|sequential|model)(_\d+)*", layer)
    ]
    return own[0] if own else last
