"""ONNX models by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_emotion.card import INPUT_NAME, OUTPUT_NAME
from edge_emotion.errors import ModelError, one_line
from edge_emotion.runtimes import check_batch

#: Key of the card in an ONNX file's ``metadata_props``.
METADATA_KEY = "edge_emotion_card"


class OnnxRuntime:
    """See `edge_emotion.runtimes.Runtime`."""

    engine = "onnxruntime"
    engine_version: str = onnxruntime.__version__

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; no need to print them too
        options.inter_op_num_threads = 1
        if threads is not None:
            options.intra_op_num_threads = int(threads)
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a dozen pybind types without a common base
            raise ModelError(
                f"{path}: onnxruntime cannot load it: copy it again, or export it again: "
                f"{one_line(error)}"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [x.name for x in inputs], [x.name for x in outputs]
        shape = inputs[0].shape if inputs else []
        if (
            names != ([INPUT_NAME], [OUTPUT_NAME])
            or inputs[0].type != "tensor(uint8)"
            or outputs[0].type != "tensor(float)"
            or len(shape) != 4
            or isinstance(shape[0], int)
            or not all(isinstance(side, int) for side in shape[1:])
            or len(outputs[0].shape) != 2
        ):
            raise ModelError(
                f"{path}: not made by edge-emotion: expected {INPUT_NAME} uint8 (N, H, W, C) -> "
                f"{OUTPUT_NAME}, found {', '.join(names[0])} -> {', '.join(names[1])}; "
                "export the Keras model with edge-emotion export"
            )
        self.input_shape: tuple[int, int, int] = (shape[1], shape[2], shape[3])
        self.outputs: int = outputs[0].shape[1]

    def logits(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `edge_emotion.runtimes.Runtime.logits`."""
        check_batch(batch, self.input_shape)
        result: NDArray[np.float32]
        try:
            result = self._session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
        except Exception as error:  # likewise
            raise ModelError(f"onnxruntime cannot run the model: {one_line(error)}") from error
        return result

    def card_json(self) -> str | None:
        """The card inside the file, if there is one."""
        try:
            metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError:
            return None
        return metadata.get(METADATA_KEY)
