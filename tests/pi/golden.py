"""What every shipped model makes of some pictures, step by step, as one file to compare.

    python golden.py PICTURES OUT.npz

Runs on both sides, here and in the emulated Raspberry Pi, with what is installed there; the
emulated side has no tests package. Arrays in OUT.npz, for N pictures in the order of their names:

    decoded                   SHA-256 of each upright RGB picture, in full size
    pixels/MODEL              uint8 (N, height, width, channels), as the network is fed
    logits/MODEL/RECIPE       float32 (N, labels), one picture at a time, one thread
    answers/MODEL/RECIPE      label of each picture: that of the largest logit
    sha256/MODEL/RECIPE       of the model file
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_emotion.artefacts import read_card, shipped_models
from edge_emotion.files import sha256
from edge_emotion.preprocess import open_picture, preprocess
from edge_emotion.runtimes import open_runtime


def golden(pictures: list[Path]) -> dict[str, np.ndarray]:
    """The arrays."""
    decoded = [hashlib.sha256(open_picture(path).tobytes()).hexdigest() for path in pictures]
    arrays = {"decoded": np.array(decoded)}
    for model, folder in shipped_models().items():
        card = read_card(folder)
        pixels = np.stack([preprocess(path, card.input) for path in pictures])
        arrays[f"pixels/{model}"] = pixels
        for export in card.exports:
            path, key = folder / export.file, f"{model}/{export.recipe}"
            runtime = open_runtime(path, threads=1)
            logits = np.concatenate([runtime.logits(x[None]) for x in pixels])
            arrays[f"logits/{key}"] = logits
            arrays[f"answers/{key}"] = np.array(card.labels)[logits.argmax(axis=1)]
            arrays[f"sha256/{key}"] = np.array(sha256(path))
    return arrays


if __name__ == "__main__":
    made: dict[str, Any] = {**golden(sorted(Path(sys.argv[1]).iterdir()))}
    np.savez(sys.argv[2], **made)
