"""Write preprocess.json anew: what `preprocess` makes of each picture of `tests.pictures`.

    python -m tests.golden.make_preprocess

Run it only when the pixels that models are fed shall change; models trained before then see other
pixels than they were trained on.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import InputSpec
from edge_emotion.preprocess import preprocess
from tests.pictures import CASES, Case

GOLDEN = Path(__file__).with_name("preprocess.json")

SPECS = {
    "48 x 48 grey bilinear": InputSpec(48, 48, 1),
    "24 x 40 RGB lanczos": InputSpec(24, 40, 3, "lanczos"),
}
#: Rows and columns, as shares of the side, of the pixels that are written out.
PLACES = ((0.05, 0.1), (0.25, 0.25), (0.5, 0.8), (0.9, 0.05), (0.95, 0.95))


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pixels_of(tensor: NDArray[np.uint8]) -> list[list[int]]:
    """The values at PLACES."""
    height, width, _ = tensor.shape
    return [tensor[int(y * height), int(x * width)].tolist() for y, x in PLACES]


def describe(case: Case) -> dict[str, Any]:
    """One entry of the file."""
    picture = case.make()
    entry: dict[str, Any] = {}
    if isinstance(picture, bytes) and not case.lossless:
        entry["source"] = digest(picture)
    for name, spec in SPECS.items():
        tensor = preprocess(picture, spec)
        entry[name] = {"sha256": digest(tensor.tobytes()), "pixels": pixels_of(tensor)}
    return entry


if __name__ == "__main__":
    entries = {name: describe(case) for name, case in CASES.items()}
    lines = [f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
