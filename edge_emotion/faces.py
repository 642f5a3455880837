"""Where the faces in a picture are: a small protocol and two finders.

- `YuNet` on onnxruntime (Wu et al., "YuNet: a tiny millisecond-level face detector", Machine
  Intelligence Research 2023). Its file is fetched from its publisher, see `edge_emotion.fetch`.
- `Hog`: the frontal detector inside dlib (Dalal & Triggs, CVPR 2005; King, "Max-margin object
  detection", arXiv 1502.00046). Extra: ``faces``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.errors import MissingExtraError, ModelError, UnknownNameError, UsageError
from edge_emotion.fetch import DETECTOR_VARIABLE, YUNET, is_whole, user_file
from edge_emotion.preprocess import to_rgb
from edge_emotion.runtimes import check_threads

#: x, y, width, height in pixels; x to the right, y down.
Box = tuple[float, float, float, float]
Point = tuple[float, float]
FinderName = Literal["yunet", "hog"]
FINDERS: tuple[FinderName, ...] = ("yunet", "hog")
#: Where YuNet's file lies in a bundle, and in the environment that its installer makes.
BUNDLED = "detector/yunet.onnx"

#: Landmarks in shares of a box around brow, chin and cheeks: YuNet's medians on press photographs.
TYPICAL_LANDMARKS = ((0.26, 0.38), (0.74, 0.38), (0.50, 0.58), (0.30, 0.74), (0.70, 0.74))
#: The same in a box of dlib's, which begins higher and is square.
HOG_LANDMARKS = ((0.27, 0.32), (0.75, 0.32), (0.51, 0.57), (0.31, 0.757), (0.71, 0.757))


@dataclass(frozen=True)
class Face:
    """A face in a picture, in pixels of that picture. A box may reach over the picture's edge.

    All five landmarks are needed: a finder that has none guesses them by `typical_landmarks`.
    """

    box: Box
    score: float  # the finder's own, 0..1
    landmarks: tuple[Point, ...]  # five: the eye at the left of the picture, the other eye, nose,
    # the corner of the mouth at the left of the picture, the other corner


class Finder(Protocol):
    """Finds faces."""

    name: str

    def find(self, image: Image.Image) -> list[Face]:
        """The faces in an upright RGB image, best score first; none is an empty list.

        Args:
            image: of any size; `Predictor` gives RGB, the finders here convert what is not.

        Raises:
            ModelError: the finder's file cannot be run.
        """
        ...


def is_share(value: object) -> bool:
    """Whether this is a number, of Python or numpy, from 0 to 1."""
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(0 <= value <= 1)


def typical_landmarks(box: Box, shares: Sequence[Point] = TYPICAL_LANDMARKS) -> tuple[Point, ...]:
    """Where eyes, nose and mouth usually are in a face's box, for boxes without landmarks."""
    x, y, w, h = box
    return tuple((x + u * w, y + v * h) for u, v in shares)


class YuNet:
    """YuNet on onnxruntime.

    Looks at the picture with its longest side at 320 pixels and at 640: the small view keeps
    close-ups that fill the frame, which the large one loses; the large one sees the others behind.
    For a picture of at most 640 pixels the large view, three times as slow, is used only where the
    small one has nothing.
    Only thumbnails are enlarged: of 300 faces of 48 pixels 249 are found as they are, 299 at 192
    pixels.
    """

    name = "yunet"
    sides = (320, 640)  # longest side of the view, pixels
    thumbnail = 192  # longest side to which smaller pictures are enlarged, pixels
    strides = (8, 16, 32)
    overlap = 0.3  # intersection over union above which the weaker of two boxes goes

    def __init__(
        self, path: str | Path, *, threads: int = 1, score: float = 0.6, smallest: int = 16
    ) -> None:
        """Load the detector.

        Args:
            path: its ONNX file with a free input size.
            threads: of onnxruntime.
            score: the least, 0..1.
            smallest: shortest side of a face, pixels of the picture; a sixth of the longest side if
                that is less.

        Raises:
            ModelError: not a file of YuNet.
            UsageError: fewer than one thread, or a score beyond 0..1.
        """
        check_threads(threads)
        if not is_share(score):
            raise UsageError(f"the least score is 0 to 1, not {score!r}")

        import onnxruntime

        self.score, self.smallest = score, smallest
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = int(threads)
        try:
            self._session = onnxruntime.InferenceSession(
                Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise ModelError(f"detector {path}: {error.strerror or error}; {_FETCH}") from error
        except Exception as error:  # onnxruntime's types share no base
            raise ModelError(f"detector {path}: onnxruntime cannot load it; {_FETCH}") from error
        inputs = self._session.get_inputs()
        self._outputs = [f"{kind}_{s}" for s in self.strides for kind in _OUTPUT_SIZES]
        names = {x.name for x in self._session.get_outputs()}
        if len(inputs) != 1 or not names.issuperset(self._outputs):
            raise ModelError(f"detector {path}: not YuNet: other outputs; {_FETCH}")
        shape = inputs[0].shape
        if len(shape) != 4 or any(isinstance(side, int) for side in shape[2:]):
            raise ModelError(f"detector {path}: its input size is fixed at {shape}; {_FETCH}")
        self._input = inputs[0].name

    def find(self, image: Image.Image) -> list[Face]:
        """See `Finder.find`."""
        image = to_rgb(image)
        longest = max(image.size)
        if longest < self.thumbnail:
            return self._look(image, self.thumbnail / longest)
        views: list[list[Face]] = []
        for side in self.sides:
            if views and (self.sides[0] >= longest or (side >= longest and any(views))):
                break
            views.append(self._look(image, min(1.0, side / longest)))
        faces = [face for view in views for face in view]
        boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        # Where two views have the same face the smaller one's stays, whatever the scores.
        order = np.array([f.score - i for i, view in enumerate(views) for f in view], np.float32)
        kept = suppress_overlaps(boxes, order, self.overlap)
        return sorted((faces[i] for i in kept), key=lambda face: -face.score)

    def _look(self, image: Image.Image, scale: float) -> list[Face]:
        """The faces in one view, in pixels of the picture."""
        width, height = (max(1, round(side * scale)) for side in image.size)
        if image.size != (width, height):
            view = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        else:
            view = image
        # The network wants BGR, 0..255, zero-padded at right and bottom to multiples of 32.
        padded = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
        padded[:height, :width] = np.asarray(view)[:, :, ::-1]
        try:
            values = self._session.run(
                self._outputs, {self._input: padded.transpose(2, 0, 1)[None]}
            )
        except Exception as error:  # likewise
            raise ModelError(f"the detector cannot be run: {error}; {_FETCH}") from error
        scores, boxes, points = self._decode(values, padded.shape[1])
        least = min(self.smallest, max(image.size) / 6) * scale
        good = np.minimum(boxes[:, 2], boxes[:, 3]) >= least
        scores, boxes, points = scores[good], boxes[good], points[good]
        kept = suppress_overlaps(boxes, scores, self.overlap)
        shrink = image.width / width, image.height / height
        return [
            Face(
                _quadruple(boxes[i] * (*shrink, *shrink)),
                float(scores[i]),
                tuple((float(x), float(y)) for x, y in points[i] * shrink),
            )
            for i in kept
        ]

    def _decode(
        self, values: list[NDArray[np.float32]], padded_width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Scores (N,), boxes (N, 4) and landmarks (N, 5, 2) above the least score, view pixels."""
        all_scores, all_boxes, all_points = [], [], []
        for n, stride in enumerate(self.strides):
            cls, obj, bbox, kps = (v[0] for v in values[4 * n : 4 * n + 4])
            scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
            found = np.flatnonzero(scores > self.score)
            cells = np.stack(np.divmod(found, padded_width // stride)[::-1], axis=1)  # x, y
            centres = (cells + bbox[found, :2]) * stride
            sizes = np.exp(np.minimum(bbox[found, 2:], 10)) * stride
            all_scores.append(scores[found])
            all_boxes.append(np.concatenate([centres - sizes / 2, sizes], axis=1))
            all_points.append((kps[found].reshape(-1, 5, 2) + cells[:, None]) * stride)
        return (
            np.concatenate(all_scores).astype(np.float32),
            np.concatenate(all_boxes).astype(np.float32),
            np.concatenate(all_points).astype(np.float32),
        )


#: Output of YuNet -> values a cell.
_OUTPUT_SIZES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
YUNET_ALONE = "--detector is for finding faces with yunet: leave the other option out"
_FETCH = "get the right one with: edge-emotion fetch yunet"


class Hog:
    """dlib's frontal face detector: no file to fetch, upright frontal faces only, no landmarks."""

    name = "hog"
    side = 640  # longest side of the view, pixels

    def __init__(self) -> None:
        try:
            import dlib
        except ModuleNotFoundError as error:
            raise MissingExtraError("the face finder hog", "faces") from error
        except ImportError as error:  # broken, or interrupted: not as if it were not there
            raise ModelError(f"the face finder hog: dlib cannot be loaded: {error}") from error
        self._detector = dlib.get_frontal_face_detector()

    def find(self, image: Image.Image) -> list[Face]:
        """See `Finder.find`."""
        image = to_rgb(image)
        scale = min(1.0, self.side / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        view = np.asarray(
            image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        )
        boxes, scores, _ = self._detector.run(view, 0, 0.0)
        if not boxes:
            # Faces under 80 pixels are seen in an enlarged view only, at four times the cost.
            boxes, scores, _ = self._detector.run(view, 1, 0.0)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            found = (
                box.left() * image.width / width, box.top() * image.height / height,
                box.width() * image.width / width, box.height() * image.height / height,
            )  # fmt: skip
            landmarks = typical_landmarks(found, HOG_LANDMARKS)
            faces.append(Face(found, 1 / (1 + float(np.exp(-score))), landmarks))
        return sorted(faces, key=lambda face: -face.score)


def _quadruple(values: NDArray[np.float32]) -> Box:
    x, y, w, h = (float(v) for v in values)
    return x, y, w, h


def suppress_overlaps(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float
) -> list[int]:
    """Non-maximum suppression: indices of the boxes that stay, best score first.

    Args:
        boxes: (N, 4): x, y, width, height.
        scores: (N,).
        overlap: intersection over union above which the weaker box goes, 0..1.
    """
    order = np.argsort(-scores, kind="stable")
    x0, y0, w, h = boxes.T
    x1, y1, areas = x0 + w, y0 + h, w * h
    kept = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        inner_w = np.minimum(x1[best], x1[order]) - np.maximum(x0[best], x0[order])
        inner_h = np.minimum(y1[best], y1[order]) - np.maximum(y0[best], y0[order])
        shared = np.maximum(inner_w, 0) * np.maximum(inner_h, 0)
        order = order[shared <= overlap * (areas[best] + areas[order] - shared)]
    return kept


def detector_path(path: str | Path | None = None) -> Path | None:
    """The detector's file, or None if there is none.

    The one named, else that of EDGE_EMOTION_DETECTOR, else the one that a bundle's installer put
    into this Python's environment, else the one fetched.
    """
    if path is None and (named := os.environ.get(DETECTOR_VARIABLE)):
        path = named
    if path is not None:
        return Path(path)
    places = Path(sys.prefix) / BUNDLED, user_file(YUNET)
    # os.path: a place that may not be looked into has none, where Path.exists would raise.
    return next((place for place in places if os.path.exists(place)), None)  # noqa: PTH110


def open_finder(name: str, *, detector: str | Path | None = None, threads: int = 1) -> Finder:
    """A finder by name.

    Args:
        name: "yunet" or "hog".
        detector: YuNet's file; None: see `detector_path`.
        threads: of onnxruntime.

    Raises:
        ModelError: YuNet's file is not there, damaged, or another file.
        MissingExtraError: dlib is not installed.
        UnknownNameError: another name.
        UsageError: a file for "hog", which has none.
    """
    if name == "hog":
        if detector is not None:
            raise UsageError(YUNET_ALONE)
        return Hog()
    if name != "yunet":
        raise UnknownNameError("face finder", name, FINDERS)
    path = detector_path(detector)
    if path is None:
        raise ModelError("the face finder yunet has no file yet: run edge-emotion fetch yunet")
    try:
        if os.path.exists(path) and not is_whole(path, YUNET):  # noqa: PTH110 - likewise
            raise ModelError(f"detector {path}: damaged, or not {YUNET.name}; {_FETCH}")
        return YuNet(path, threads=threads)
    except ModelError as error:
        if detector is None and os.environ.get(DETECTOR_VARIABLE):  # which goes before the fetched
            raise ModelError(f"{error}, and unset {DETECTOR_VARIABLE}") from error
        raise


def best_finder(*, detector: str | Path | None = None, threads: int = 1) -> Finder | None:
    """YuNet if its file is there, else dlib's if that is installed, else None.

    Raises:
        ModelError: a file is there, or was named, and is not YuNet.
    """
    if detector_path(detector) is not None:
        return open_finder("yunet", detector=detector, threads=threads)
    try:
        return open_finder("hog")
    except MissingExtraError:
        return None
