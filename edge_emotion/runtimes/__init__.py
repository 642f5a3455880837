"""One engine a file, one protocol: a uint8 batch in, logits out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import InputSpec
from edge_emotion.errors import ModelError, UnknownNameError, UsageError

#: Far beyond any processor that this is for; an engine asked for thousands stalls.
MAX_THREADS = 256

RuntimeName = Literal["onnx", "litert", "keras"]

#: Of the pixels that are run at once: a network's activations take a hundred times as much.
BATCH_BYTES = 1 << 22

#: Which engine runs a file, by the ending that the exporters give it.
BY_SUFFIX: dict[str, RuntimeName] = {".onnx": "onnx", ".tflite": "litert", ".keras": "keras"}


class Runtime(Protocol):
    """A loaded model."""

    engine: str  # package that runs it
    engine_version: str
    input_shape: tuple[int, int, int]  # height, width, channels
    outputs: int  # number of labels

    def logits(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            batch: uint8 pixels 0..255 of shape (N, height, width, channels), N >= 1.

        Returns:
            float32 logits of shape (N, labels).
        """
        ...


def logits_of(runtime: Runtime, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (N, labels) of any number of pictures, in batches of a bounded size.

    Args:
        runtime: runs them.
        pixels: uint8 (N, H, W, C), N >= 1; possibly a memory map.
    """
    batch = min(64, max(1, BATCH_BYTES // pixels[0].nbytes))
    starts = range(0, len(pixels), batch)
    return np.concatenate(
        [runtime.logits(np.ascontiguousarray(pixels[i : i + batch])) for i in starts]
    )


def check_batch(batch: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Refuse what a network would silently misread.

    Raises:
        UsageError: no array, not uint8, or not (N, height, width, channels).
    """
    array = isinstance(batch, np.ndarray)
    if (
        not array or batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != shape
        or not len(batch)
    ):  # fmt: skip
        wanted = ", ".join(str(side) for side in shape)
        given = f"{batch.dtype} of shape {batch.shape}" if array else type(batch).__name__
        raise UsageError(f"a batch is uint8 of shape (N, {wanted}), not {given}")


def check_fits(runtime: Runtime, spec: InputSpec, labels: int, path: Path) -> None:
    """A model file takes and gives what its card says.

    Raises:
        ModelError: it does not.
    """
    if runtime.input_shape != spec.shape or runtime.outputs != labels:
        raise ModelError(
            f"{path}: takes {runtime.input_shape} and gives {runtime.outputs} logits, but its card "
            f"says {spec.shape} and {labels}: the card is of another model; export again"
        )


def runtime_name(path: Path) -> RuntimeName:
    """The engine for a model file.

    Raises:
        ModelError: an ending that no engine has.
    """
    if path.suffix not in BY_SUFFIX:
        raise ModelError(f"{path}: not a model file: known endings are {', '.join(BY_SUFFIX)}")
    return BY_SUFFIX[path.suffix]


def check_threads(threads: int) -> None:
    """Refuse what engines would answer with an error of their own, or with a thousand threads.

    Raises:
        UsageError: no whole number, fewer than one, or more than MAX_THREADS.
    """
    if not (isinstance(threads, (int, np.integer)) and 1 <= threads <= MAX_THREADS):
        raise UsageError(f"threads must be 1 to {MAX_THREADS}, not {threads!r}")


def open_runtime(path: Path, threads: int | None = None) -> Runtime:
    """Load a model file with the engine for it.

    Args:
        path: .onnx, .tflite or .keras.
        threads: of the engine, 1 or more; None: its own choice.

    Raises:
        ModelError: the file is missing, damaged, or not in the form that edge-emotion exports.
        MissingExtraError: the engine is not installed.
        UsageError: no whole number of threads, fewer than one, or more than MAX_THREADS.
    """
    if threads is not None:
        check_threads(threads)
    name = runtime_name(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if name == "onnx":
        from edge_emotion.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(path, threads)
    if name == "litert":
        from edge_emotion.runtimes.litert import LiteRtRuntime

        return LiteRtRuntime(path, threads)
    from edge_emotion.runtimes.keras import KerasRuntime

    return KerasRuntime(path, threads)


def check_runtime_name(name: str) -> RuntimeName:
    """Give `name` back if it is an engine.

    Raises:
        UnknownNameError: it is not; the message suggests the nearest.
    """
    for known in BY_SUFFIX.values():
        if name == known:
            return known
    raise UnknownNameError("runtime", name, BY_SUFFIX.values())
