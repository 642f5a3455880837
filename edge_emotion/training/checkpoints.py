"""Checkpoints of a fit: what is written after each epoch, and read when it goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import InputError, MissingExtraError
from edge_emotion.files import write_bytes
from edge_emotion.training.config import TrainConfig

try:
    import keras
except ImportError as error:
    raise MissingExtraError("training", "train") from error

#: One row an epoch.
History = list[dict[str, float]]
HISTORY_NAME = "history.json"
#: The weights of the epoch that is kept.
KEPT_NAME = "kept.npz"


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes history, best weights and a state to resume from; stops when patience is over.

    All of its decisions follow from the history, so a resumed run decides as an unbroken one.
    """

    def __init__(self, folder: Path, history: History, config: TrainConfig) -> None:
        super().__init__()
        self.folder, self.history, self.config = folder, history, config

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the random layers' state."""
        # Saved weights do not hold the random layers' state. Set by seed and epoch alone, it is
        # the same in a resumed run as in an unbroken one.
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for number, state in enumerate(states):
            state.assign([self.config.seed * 1000 + number, epoch * 1_000_000])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write what a resumed run needs, the history last."""
        self.history.append({k: float(v) for k, v in (logs or {}).items()})
        done = len(self.history)
        if kept_epoch(self.history, self.config) == done:
            network = self.model.get_layer("network")
            _write_variables(self.folder / KEPT_NAME, network.weights)
        _write_variables(state_file(self.folder, done), state_of(self.model))
        write_bytes(self.folder / HISTORY_NAME, json.dumps(self.history, indent=1).encode())
        # Only now: after a kill in between, the history still ends with the epoch before.
        state_file(self.folder, done - 1).unlink(missing_ok=True)
        if is_over(self.history, self.config):
            self.model.stop_training = True


def state_file(folder: Path, epoch: int) -> Path:
    """Weights and optimizer after an epoch, counted from 1."""
    return folder / f"epoch-{epoch}.npz"


def state_of(model: keras.Model) -> list[Any]:
    """What a compiled model goes on from; `Keeper` sets the random state."""
    return [*model.weights, *model.optimizer.variables]


def _write_variables(path: Path, variables: Sequence[Any]) -> None:
    """Not by h5py: where the disk is full it leaves a file that ends the process in a crash."""
    write_arrays(path, [np.asarray(keras.ops.convert_to_numpy(v)) for v in variables])


def write_arrays(path: Path, arrays: Sequence[NDArray[Any]]) -> None:
    """As an .npz file that is whole or not there.

    Raises:
        OutputError: it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    write_bytes(path, buffer.getvalue())


def read_variables(path: Path, variables: Sequence[Any]) -> None:
    """Give variables the values that `_write_variables` wrote.

    Raises:
        InputError: the file is missing, damaged, or of other variables.
    """
    try:
        with np.load(path) as file:
            values = [file[name] for name in file.files]
        if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise ValueError("other variables")
        if not all(np.issubdtype(value.dtype, np.number) for value in values):
            raise ValueError("not numbers")
    except Exception as error:  # numpy, zip and zlib share no base
        raise InputError(f"{path}: missing or damaged: name another --run") from error
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def kept_epoch(history: History, config: TrainConfig) -> int:
    """Number, counted from 1, of the epoch whose weights are kept.

    The last one, or the first with the lowest validation loss.
    """
    if config.keep == "last":
        return len(history)
    values = [row["val_loss"] for row in history]
    return 1 + int(np.argmin(np.nan_to_num(values, nan=np.inf)))


def is_over(history: History, config: TrainConfig) -> bool:
    """All epochs are done, or patience is."""
    done = len(history)
    return done >= config.epochs or (
        done > 0 and done - kept_epoch(history, config) >= config.patience
    )


def read_history(path: Path) -> History:
    """What `Keeper` wrote.

    Raises:
        InputError: the file is damaged.
    """
    try:
        # Not by msgspec: a training that diverged has NaN in it, which Python's json writes.
        history = msgspec.convert(json.loads(path.read_bytes()), type=History)
        if not history or not all(
            {"loss", "val_loss", "accuracy", "val_accuracy"} <= row.keys() for row in history
        ):
            raise ValueError("no epochs in it")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: {error}: name another --run") from error
    return history
