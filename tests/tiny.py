"""A model folder around `golden/tiny.onnx` and `golden/tiny.tflite`; needs no extra.

What it computes is said in `golden/make_tiny_models.py`: dark is sad, grey angry, bright happy.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import (
    CARD_NAME,
    RECIPES,
    Confidence,
    DataRecord,
    ExportRecord,
    FaceCrop,
    InputSpec,
    ModelCard,
    SplitCount,
    TrainingRecord,
)
from edge_emotion.runtimes.onnx import METADATA_KEY
from tests.golden.make_tiny_models import BIAS, SIDE, WEIGHTS

GOLDEN = Path(__file__).with_name("golden")
ONNX = (GOLDEN / "tiny.onnx").read_bytes()
TFLITE = (GOLDEN / "tiny.tflite").read_bytes()
LABELS = ["angry", "happy", "sad"]
#: For trainings of which only the course matters: most of their time goes into tracing layers.
BODY = "c8/2 r"
#: Shade -> label.
SHADES = {20: "sad", 128: "angry", 250: "happy"}


def make_card(**changes: Any) -> ModelCard:
    """A card that is true of the tiny network."""
    card = ModelCard(
        name="tiny",
        labels=LABELS,
        input=InputSpec(SIDE, SIDE, 1, face=FaceCrop()),
        licence="CC0-1.0",
        intended_use="tests",
        out_of_scope="everything else",
        training=TrainingRecord("tiny", 6, 195, {"seed": 1}, 1, 1, "none", {"keras": "3"}),
        data=DataRecord(
            "generated", "class folders", "arithmetic", "CC0-1.0", "none", 1,
            [SplitCount("train", 3, dict.fromkeys(LABELS, 1))], {},
        ),
        keras_sha256="0" * 64,
        confidence=Confidence(temperature=2.0, threshold=0.6, coverage=0.9, samples=9),
    )  # fmt: skip
    return replace(card, **changes)


def make_record(recipe: str, data: bytes | None = None, **changes: Any) -> ExportRecord:
    """The record of an export; with `data`, of these bytes."""
    digest = None if data is None else sha256(data).hexdigest()
    size = None if data is None else len(data)
    return replace(
        ExportRecord(recipe, RECIPES[recipe], digest, size, {"tool": "1"}, None, None), **changes
    )


def onnx_with(card_json: bytes | str | None, model: bytes = ONNX) -> bytes:
    """An ONNX file with a card in its `metadata_props`.

    Protobuf takes fields that are appended, so no onnx package is needed: field 14 of ModelProto
    is a StringStringEntryProto of key (1) and value (2).
    """
    if card_json is None:
        return model
    value = card_json.encode() if isinstance(card_json, str) else card_json
    return model + _field(14, _field(1, METADATA_KEY.encode()) + _field(2, value))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    result.append(value)
    return bytes(result)


def tflite_with(card_json: bytes | None, model: bytes = TFLITE) -> bytes:
    """A .tflite file with a card zipped behind it."""
    file = io.BytesIO(model)
    if card_json is not None:
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(CARD_NAME, card_json)
    return file.getvalue()


def export_bytes(recipe: str, card: ModelCard | None = None) -> bytes:
    """An exported file with its card inside."""
    model, behind = (ONNX, onnx_with) if recipe.startswith("onnx") else (TFLITE, tflite_with)
    return behind((card or make_card()).for_embedding(make_record(recipe), model).to_json())


def write_model_folder(
    folder: Path, recipes: tuple[str, ...] = ("onnx-int8",), card: ModelCard | None = None
) -> Path:
    """A model folder with these exports, all of them the same network."""
    folder.mkdir(parents=True)
    card = card or make_card()
    for recipe in recipes:
        data = export_bytes(recipe, card)
        (folder / RECIPES[recipe]).write_bytes(data)
        card = card.with_export(make_record(recipe, data))
    card.write(folder)
    return folder


def shade(value: int) -> NDArray[np.uint8]:
    """A picture of one shade, (H, W)."""
    return np.full((SIDE, SIDE), value, np.uint8)


def expected_logits(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network computes, in numpy."""
    mean: NDArray[np.float32] = batch.astype(np.float32).mean(axis=(1, 2))
    return mean @ WEIGHTS + BIAS
