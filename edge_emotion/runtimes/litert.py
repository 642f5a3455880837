"""TensorFlow Lite models by LiteRT (extra: litert)."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import INPUT_NAME, OUTPUT_NAME
from edge_emotion.errors import MissingExtraError, ModelError, one_line
from edge_emotion.runtimes import check_batch


class LiteRtRuntime:
    """See `edge_emotion.runtimes.Runtime`. int8 logits are scaled back to float32."""

    engine = "ai-edge-litert"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingExtraError(f"running {path.name}", "litert") from error
        self.engine_version = importlib.metadata.version("ai-edge-litert")
        try:
            self._interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads)
            self._interpreter.allocate_tensors()
            signature = self._interpreter.get_signature_list().get("serving_default", {})
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{path}: LiteRT cannot load it: copy it again, or export it again: "
                f"{one_line(error)}"
            ) from error
        source = self._interpreter.get_input_details()
        target = self._interpreter.get_output_details()
        if (
            signature != {"inputs": [INPUT_NAME], "outputs": [OUTPUT_NAME]}
            or source[0]["dtype"] != np.uint8
            or len(source[0]["shape"]) != 4
            or len(target[0]["shape"]) != 2
        ):
            raise ModelError(
                f"{path}: not made by edge-emotion: expected {INPUT_NAME} uint8 (N, H, W, C) -> "
                f"{OUTPUT_NAME}; export the Keras model with edge-emotion export"
            )
        self._source, self._target = source[0]["index"], target[0]["index"]
        self._scale, self._zero = target[0]["quantization"]
        _, height, width, channels = (int(side) for side in source[0]["shape"])
        self.input_shape: tuple[int, int, int] = (height, width, channels)
        self.outputs = int(target[0]["shape"][1])
        self._batch = 1

    def logits(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `edge_emotion.runtimes.Runtime.logits`."""
        check_batch(batch, self.input_shape)
        try:
            if len(batch) != self._batch:
                self._batch = 0  # of no use until the tensors are there
                self._interpreter.resize_tensor_input(self._source, batch.shape)
                self._interpreter.allocate_tensors()
                self._batch = len(batch)
            self._interpreter.set_tensor(self._source, batch)
            self._interpreter.invoke()
            raw = self._interpreter.get_tensor(self._target)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT cannot run the model: {one_line(error)}") from error
        if raw.dtype == np.float32:
            return np.asarray(raw)
        scaled = (raw.astype(np.float32) - np.float32(self._zero)) * np.float32(self._scale)
        return np.asarray(scaled, np.float32)
