"""The float reference by Keras (extra: train). The only runtime that loads TensorFlow."""

from __future__ import annotations

import os
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import OUTPUT_NAME
from edge_emotion.errors import MissingExtraError, ModelError, one_line
from edge_emotion.runtimes import check_batch


def load_keras_model(path: Path) -> Any:
    """Load a .keras or .h5 file, uncompiled.

    Raises:
        ModelError: it is damaged, or Keras cannot load it.
    """
    import keras

    if path.is_dir():
        raise ModelError(f"{path} is a folder: name the .keras or .h5 file")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: damaged, or not a .keras file: copy it again")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the damaged part raised
        text = one_line(error)
        if "Lambda" in text:
            raise ModelError(
                f"{path}: a Lambda layer is Python code, which is not run: build the network with "
                "layers of Keras' own"
            ) from error
        if unknown := re.search(r"Could not locate (class|function) '([^']{1,80})'", text):
            raise ModelError(
                f"{path}: the {unknown[1]} {unknown[2]!r} is not Keras' own, and a file holds no "
                "Python code: build the network with layers of Keras' own"
            ) from error
        raise ModelError(
            f"{path}: damaged, or of another version of Keras: {text.split('. ')[0][:200]}"
        ) from error


class KerasRuntime:
    """See `edge_emotion.runtimes.Runtime`. The softmax at the model's end is cut off.

    Threads count in a fresh process only, before anything has run in TensorFlow.
    """

    engine = "keras"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import keras
        except ImportError as error:
            raise MissingExtraError(f"running {path.name}", "train") from error
        self.engine_version: str = keras.__version__
        if threads is not None and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # They are the process's, fixed once TensorFlow runs; then it keeps those it has.
            with suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
        model = load_keras_model(path)
        names = [layer.name for layer in model.layers]
        if OUTPUT_NAME not in names or len(model.input_shape) != 4:
            raise ModelError(
                f"{path}: no layer named {OUTPUT_NAME!r} on a picture input (N, H, W, C): name the "
                "last layer before the softmax so, or train with edge-emotion train"
            )
        self.logits_model = keras.Model(model.input, model.get_layer(OUTPUT_NAME).output)
        self.input_shape: tuple[int, int, int] = tuple(model.input_shape[1:])
        self.outputs = int(self.logits_model.output_shape[-1])
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # A graph, not op by op: what a user of the Keras model would time.
            self._call = tf.function(
                lambda x: self.logits_model(x, training=False),
                input_signature=[tf.TensorSpec((None, *self.input_shape), tf.float32)],
            )
        else:
            self._call = self.logits_model

    def logits(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `edge_emotion.runtimes.Runtime.logits`."""
        check_batch(batch, self.input_shape)
        return np.asarray(self._call(batch.astype(np.float32)), np.float32)
