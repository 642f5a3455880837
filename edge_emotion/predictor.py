"""Prediction: a picture in, a label with calibrated probabilities out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import open_artefact
from edge_emotion.card import ModelCard
from edge_emotion.errors import PictureError, UnknownNameError, UsageError
from edge_emotion.evaluation import softmax
from edge_emotion.preprocess import Picture, preprocess
from edge_emotion.runtimes import check_fits, check_runtime_name, open_runtime


@dataclass(frozen=True)
class Prediction:
    """What the model says of one picture. Plain Python values: JSON takes them as they are.

    The label names an expression that is shown, not what a person feels.
    """

    label: str
    score: float  # probability of the label, 0..1
    probabilities: dict[str, float]  # label -> probability, sums to 1
    uncertain: bool  # the score is under the card's threshold


class Predictor:
    """Reads expressions. Not thread-safe: use one in each thread.

    Example::

        predictor = Predictor()
        print(predictor.predict("face.jpg").label)
    """

    def __init__(
        self,
        model: str | Path = "edge-cnn",
        *,
        threads: int | None = 1,
        runtime: str | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: name of a shipped model, a model folder, or a model file.
            threads: of the engine, 1 to 256; None: its own choice. One is enough for networks this
                small, and leaves the other cores to the program around.
            runtime: "onnx", "litert" or "keras"; None: onnx, or what runs the file.

        Raises:
            ModelError: not a model, or damaged.
            ChecksumError: the file is not the one that its card describes.
            MissingExtraError: the engine is not installed.
            UsageError: an unknown name, or fewer than one thread.
        """
        engine = None if runtime is None else check_runtime_name(runtime)
        artefact = open_artefact(model, engine)
        self.path: Path = artefact.path
        self.card: ModelCard = artefact.card
        self.recipe: str = artefact.recipe
        self._runtime = open_runtime(artefact.path, threads)
        check_fits(self._runtime, self.card.input, len(self.card.labels), self.path)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the logits."""
        return list(self.card.labels)

    def predict(self, picture: Picture) -> Prediction:
        """Read one picture, the whole of it as one face.

        Args:
            picture: a path, an encoded file's bytes, a PIL image, or uint8 pixels of shape (H, W),
                (H, W, 3) RGB or (H, W, 4) RGBA. A JPEG as path or bytes is decoded at a fraction of
                its size where that is enough, which is faster; the same picture decoded in full by
                the caller gives slightly other pixels, and probabilities.

        Raises:
            PictureError: not a picture, damaged, or too large.
        """
        return self.predict_tensors(preprocess(picture, self.card.input)[None])[0]

    @overload
    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        batch_size: int = ...,
        on_error: Literal["raise"] = ...,
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self, pictures: Iterable[Picture], *, batch_size: int = ..., on_error: Literal["return"]
    ) -> Iterator[Prediction | PictureError]: ...

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        batch_size: int = 16,
        on_error: Literal["raise", "return"] = "raise",
    ) -> Iterator[Prediction | PictureError]:
        """Read a stream of pictures, in order and in constant memory.

        Args:
            pictures: any iterable; it is read as far as needed.
            batch_size: pictures run together, 1 or more.
            on_error: "raise" ends the stream with the first bad picture's PictureError, after the
                predictions of those before it; "return" gives the error in that picture's place
                and goes on.

        Raises:
            PictureError: with "raise".
            UsageError: fewer than one picture in a batch, another `on_error`, or one picture
                instead of several.
        """
        if isinstance(pictures, (str, bytes, Path)):
            raise UsageError("predict_many takes an iterable of pictures: use predict for one")
        if on_error not in ("raise", "return"):
            raise UnknownNameError("on_error", on_error, ("raise", "return"))
        if batch_size < 1:
            raise UsageError(f"batch_size must be 1 or more, not {batch_size}")
        return self._stream(iter(pictures), batch_size, on_error == "return")

    def _stream(
        self, pictures: Iterator[Picture], batch_size: int, keep_errors: bool
    ) -> Iterator[Prediction | PictureError]:
        while batch := list(itertools.islice(pictures, batch_size)):
            tensors: list[NDArray[np.uint8] | PictureError] = []
            for picture in batch:
                try:
                    tensors.append(preprocess(picture, self.card.input))
                except PictureError as error:
                    tensors.append(error)
                    if not keep_errors:
                        break
            good = [t for t in tensors if not isinstance(t, PictureError)]
            predictions = iter(self.predict_tensors(np.stack(good)) if good else [])
            for tensor in tensors:
                if not isinstance(tensor, PictureError):
                    yield next(predictions)
                elif keep_errors:
                    yield tensor
                else:
                    raise tensor

    def predict_tensors(self, batch: NDArray[np.uint8]) -> list[Prediction]:
        """Read pictures that are preprocessed already.

        Args:
            batch: uint8 pixels of shape (N, height, width, channels), from `preprocess`.

        Raises:
            UsageError: another shape or dtype.
        """
        confidence = self.card.confidence
        probabilities = softmax(self._runtime.logits(batch), confidence.temperature)
        results = []
        for row in probabilities:
            best = int(row.argmax())
            score = float(row[best])
            results.append(
                Prediction(
                    label=self.card.labels[best],
                    score=score,
                    probabilities={
                        label: float(p) for label, p in zip(self.card.labels, row, strict=True)
                    },
                    uncertain=not score >= confidence.threshold,  # NaN is uncertain
                )
            )
        return results
