"""What teachers answer to a few views of each picture, asked once before a training.

A teacher that is asked in every step may take most of a training's time. Its answers to a fixed
number of views, stored with what these views are, teach nearly as much: Shen and Xing, "A fast
knowledge distillation framework for visual recognition", ECCV 2022, arXiv 2112.01528; Wu et al.,
"TinyViT: Fast pretraining distillation for small vision transformers", ECCV 2022, arXiv 2207.10666.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import MissingExtraError
from edge_emotion.training.augment import RandomView
from edge_emotion.training.checkpoints import write_arrays
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.earlier import Teaching
from edge_emotion.training.loading import LoadedPictures

try:
    import keras
    from keras import layers
except ImportError as error:
    raise MissingExtraError("training", "train") from error

#: Of a run folder.
ANSWERS_NAME = "answers.npz"
_BATCH = 128
#: Of the random numbers that views are drawn by; epochs, whose order is drawn, come nowhere near.
_STREAM = 2**31


@dataclass(frozen=True)
class Answers:
    """The mean of teachers' probabilities, and the views that they are of."""

    drawn: NDArray[np.float32]  # (views, N, RandomView.DRAWN), see `RandomView`
    train: NDArray[np.float32]  # (views, N, labels), of N training pictures
    still: NDArray[np.float32]  # (M, RandomView.DRAWN): validation pictures as they are
    valid: NDArray[np.float32]  # (M, labels)


class _Asked(layers.Layer):  # type: ignore[misc]
    """Pictures and what their views are drawn by in, the teachers' answers to the views out."""

    def __init__(self, teaching: Teaching, look: RandomView) -> None:
        super().__init__(name="asked")
        self.look, self.answers = look, teaching.answers

    def call(self, images: Any, drawn: Any) -> Any:
        """See the class."""
        _, view = self.look(images, drawn, training=True)  # though nothing is trained
        return self.answers(view)


def ask(
    teaching: Teaching,
    config: TrainConfig,
    loaded: LoadedPictures,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    folder: Path,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]],
) -> Answers:
    """Ask the teachers, view by view; what they said before an interruption is not asked again.

    Args:
        teaching: the teachers.
        config: how many views, and of which reach.
        loaded: the pictures.
        train: indices of N to train on.
        valid: indices of M for validation.
        folder: keeps the answers in a file.
        progress: title -> wrapper of a loop.

    Raises:
        OutputError: they cannot be written.
    """
    inputs = keras.Input(loaded.source.shape[1:]), keras.Input((RandomView.DRAWN,))
    asked = _Asked(teaching, RandomView(config, *loaded.pixels.shape[1:3]))(*inputs)
    model = keras.Model(inputs, asked)

    def answers(rows: NDArray[np.int64], drawn: NDArray[np.float32], title: str) -> Any:
        parts = []
        for i in progress(f"asking the teachers, {title}")(range(0, len(rows), _BATCH)):
            some = slice(i, i + _BATCH)
            pixels = loaded.source[rows[some]].astype(np.float32)
            parts.append(model.predict_on_batch((pixels, drawn[some])))
        return np.concatenate(parts)

    views = [_draw(config.seed, view, len(train)) for view in range(config.teacher_views)]
    # As they are is what views that are drawn in the middle of their reach show.
    still = np.zeros((len(valid), RandomView.DRAWN), np.float32)
    questions = [(valid, still, "validation pictures")]
    questions += [
        (train, view, f"view {number} of {len(views)}") for number, view in enumerate(views, 1)
    ]
    key = _key(teaching, config, loaded.hashes[train], loaded.hashes[valid])
    path = folder / ANSWERS_NAME
    said = _read(path, key)
    if not all(
        answer.shape == (len(rows), asked.shape[-1])
        and answer.dtype == np.float32
        and np.isfinite(answer).all()
        for answer, (rows, _, _) in zip(said, questions, strict=False)
    ):
        said = []
    for question in questions[len(said) :]:
        said.append(answers(*question))
        write_arrays(path, [np.array(key), *said])
    return Answers(np.stack(views), np.stack(said[1 : len(views) + 1]), still, said[0])


def _draw(seed: int, view: int, count: int) -> NDArray[np.float32]:
    """-1..1, (count, RandomView.DRAWN)."""
    random = np.random.default_rng([seed, _STREAM + view])
    return random.uniform(-1, 1, (count, RandomView.DRAWN)).astype(np.float32)


def _key(teaching: Teaching, config: TrainConfig, *pictures: NDArray[np.uint64]) -> str:
    """Of all that answers depend on: teachers, views, pictures by their hashes."""
    names = ("seed", "flip", "rotation", "zoom", "shift", "shear", "precision", "resize")
    settings = {name: getattr(config, name) for name in names}
    teachers = [f"{teacher} {outputs}" for teacher, outputs in teaching.teachers]
    digest = hashlib.sha256("\n".join([json.dumps(settings), *teachers]).encode())
    for values in (teaching.log_prior, *pictures):
        digest.update(hashlib.sha256(values.tobytes()).digest())
    return digest.hexdigest()


def _read(path: Path, key: str) -> list[NDArray[np.float32]]:
    """What was said under this key; nothing of another, or of a damaged file."""
    with suppress(Exception):  # numpy, zip and zlib share no base
        with np.load(io.BytesIO(path.read_bytes())) as file:
            of, *said = [file[name] for name in file.files]
        if str(of) == key:
            return said
    return []
