"""Prediction: a picture in, a label with calibrated probabilities out."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.alignment import cut_square, face_square
from edge_emotion.artefacts import open_artefact
from edge_emotion.boxes import boxed_faces, check_faces
from edge_emotion.card import FaceCrop, ModelCard
from edge_emotion.errors import MissingExtraError, PictureError, UnknownNameError, UsageError
from edge_emotion.evaluation import softmax
from edge_emotion.faces import Box, Face, Finder, best_finder
from edge_emotion.photographs import (
    FacePrediction,
    PhotoPrediction,
    Prediction,
    combine,
    largest,
)
from edge_emotion.preprocess import Picture, open_scaled, preprocess, to_tensor
from edge_emotion.runtimes import check_fits, check_runtime_name, open_runtime

MAX_FACES = 32
#: (width, height) in pixels that finding faces needs; a JPEG is decoded at twice that or more.
FACE_VIEW = (480, 480)


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
        finder: Finder | None = None,
        mirror: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: name of a shipped model, a model folder, or a model file.
            threads: of the engine, 1 to 256; None: its own choice. One is enough for networks this
                small, and leaves the other cores to the program around.
            runtime: "onnx", "litert" or "keras"; None: onnx, or what runs the file.
            finder: of faces, see `edge_emotion.faces.open_finder`; None: YuNet if there is its
                file, else dlib's if it is installed, looked for when it is first needed.
            mirror: read each face and its mirror image, and take the mean of the two answers, in
                twice the time of the network; the card has the accuracy with it.

        Raises:
            ModelError: not a model, or damaged.
            ChecksumError: the file is not the one that its card describes.
            MissingExtraError: the engine is not installed.
            UsageError: an unknown name, fewer than one thread, or a finder that finds nothing, such
                as the name of one.
        """
        # A name has a `find`, too; of a class it wants one argument more.
        if finder is not None and (
            isinstance(finder, (str, bytes, type)) or not callable(getattr(finder, "find", None))
        ):
            raise UsageError(
                f'finder is an object with find(image), such as open_finder("yunet") gives, '
                f"not {finder!r}"
            )
        engine = None if runtime is None else check_runtime_name(runtime)
        artefact = open_artefact(model, engine)
        self.path: Path = artefact.path
        self.card: ModelCard = artefact.card
        self.recipe: str = artefact.recipe
        self.finder = finder
        self.mirror = mirror
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

    def predict_faces(
        self,
        picture: Picture,
        *,
        boxes: Sequence[Box] | None = None,
        max_faces: int = MAX_FACES,
    ) -> list[FacePrediction]:
        """Find the faces in a picture and read each; they go through the model in batches.

        Args:
            picture: see `predict`. A JPEG as path or bytes whose shorter side has 1,920 pixels or
                more is decoded at a fraction of its size.
            boxes: of faces, (x, y, width, height) in pixels of the upright original, about from
                brow to chin; None: they are looked for.
            max_faces: of those that are looked for read at most so many, the largest; 1 or more.

        Returns:
            One answer for each of `boxes`, in their order; or the faces that were found, from left
            to right. None is an empty list, and no error.

        Raises:
            PictureError: not a picture, damaged, or too large.
            MissingExtraError: there is neither a detector nor dlib.
            ModelError: the detector's file is not YuNet, or damaged.
            UsageError: fewer than one face, a box that holds no face, or faces of a finder of your
                own that are not as `edge_emotion.faces.Face` says.
        """
        try:
            max_faces = operator.index(max_faces)
        except TypeError:
            raise UsageError(f"max_faces must be a whole number, not {max_faces!r}") from None
        if max_faces < 1:
            raise UsageError(f"max_faces must be 1 or more, not {max_faces}")
        image, (width, height) = open_scaled(picture, FACE_VIEW)
        scale_x, scale_y = image.width / width, image.height / height
        if boxes is not None:
            faces = boxed_faces(boxes, image, (width, height))
        else:
            finder = self._finder()
            faces = largest(check_faces(finder.find(image), finder), max_faces)
        predictions = [
            prediction
            for i in range(0, len(faces), MAX_FACES)
            for prediction in self.predict_tensors(
                self.face_tensors(image, faces[i : i + MAX_FACES])
            )
        ]
        return [
            FacePrediction(
                (f.box[0] / scale_x, f.box[1] / scale_y, f.box[2] / scale_x, f.box[3] / scale_y),
                None if boxes is not None else tuple(
                    (x / scale_x, y / scale_y) for x, y in f.landmarks
                ),
                f.score,
                prediction,
            )
            for f, prediction in zip(faces, predictions, strict=True)
        ]  # fmt: skip

    def face_tensors(self, image: Image.Image, faces: Sequence[Face]) -> NDArray[np.uint8]:
        """Cut faces out of a picture as the model's input.

        Args:
            image: upright RGB.
            faces: one or more, in pixels of `image`.

        Returns:
            uint8 pixels of shape (N, height, width, channels), for `predict_tensors`.
        """
        spec = self.card.input
        side = max(spec.height, spec.width)
        crop = spec.face or FaceCrop()
        return np.stack(
            [
                to_tensor(cut_square(image, face_square(f.landmarks, crop), side), spec)
                for f in faces
            ]
        )

    def predict_photo(
        self,
        picture: Picture,
        *,
        boxes: Sequence[Box] | None = None,
        max_faces: int = MAX_FACES,
    ) -> PhotoPrediction:
        """Read a photograph by the faces in it; see `predict_faces` and `combine`."""
        return combine(self.predict_faces(picture, boxes=boxes, max_faces=max_faces), self.card)

    def _finder(self) -> Finder:
        if self.finder is None:
            self.finder = best_finder()
        if self.finder is None:
            raise MissingExtraError(
                "finding faces needs edge-emotion fetch yunet (better), or it", "faces"
            )
        return self.finder

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
            batch_size: pictures run together, 1 to 1,000,000.
            on_error: "raise" ends the stream with the first bad picture's PictureError, after the
                predictions of those before it; "return" gives the error in that picture's place
                and goes on.

        Raises:
            PictureError: with "raise".
            UsageError: another number of pictures in a batch, another `on_error`, or one picture
                instead of several.
        """
        if isinstance(pictures, (str, bytes, Path, Image.Image)) or _is_one_picture(pictures):
            raise UsageError("predict_many takes an iterable of pictures: use predict for one")
        if on_error not in ("raise", "return"):
            raise UnknownNameError("on_error", on_error, ("raise", "return"))
        if not (isinstance(batch_size, (int, np.integer)) and 1 <= batch_size <= 1_000_000):
            raise UsageError(f"batch_size must be 1 to 1000000, not {batch_size!r}")
        try:
            stream = iter(pictures)
        except TypeError:
            raise UsageError(
                f"predict_many takes an iterable of pictures, not {pictures!r}"
            ) from None
        return self._stream(stream, batch_size, on_error == "return")

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
        if self.mirror:
            mirrored = np.ascontiguousarray(batch[:, :, ::-1])
            probabilities += softmax(self._runtime.logits(mirrored), confidence.temperature)
            probabilities /= 2
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


def _is_one_picture(pictures: object) -> bool:
    """Whether this is an array of one picture, whose rows would be taken for pictures."""
    return isinstance(pictures, np.ndarray) and (
        pictures.ndim < 3 or (pictures.ndim == 3 and pictures.shape[2] in (1, 3, 4))
    )
