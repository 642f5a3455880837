"""The model card: what a model is, as frozen dataclasses and as JSON.

A model is a folder and its ``card.json`` is the contract. The same JSON is inside every exported
file (ONNX ``metadata_props``, a zip entry behind a .tflite), so one file copied to a Raspberry Pi
is enough. Nothing is ever guessed from a file's name.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from edge_emotion.errors import ModelError, UnknownNameError
from edge_emotion.files import write_bytes

SCHEMA_VERSION = 1
CARD_NAME = "card.json"
KERAS_NAME = "model.keras"
CALIBRATION_NAME = "calibration.npz"
TRAINED_ON_NAME = "trained_on.npz"
#: By whoever looked at the pictures that the model gets wrong; part of the folder's README.
FAILURES_NAME = "failure_cases.md"

INPUT_NAME = "image"
OUTPUT_NAME = "logits"

#: Every export recipe: what it is called, and the file it makes.
RECIPES: Mapping[str, str] = {
    "onnx-f32": "model-f32.onnx",
    "onnx-int8": "model-int8.onnx",
    "tflite-f32": "model-f32.tflite",
    "tflite-int8": "model-int8.tflite",
    "tflite-int8-dynamic": "model-int8-dynamic.tflite",
}

Resize = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Protocol = Literal["held-out", "cross-validation", "training-set"]
CalibrationKind = Literal["pictures", "distilled"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class FaceCrop:
    """The square around a face on which a model was trained; see `edge_emotion.alignment`."""

    margin: float = 2.5  # its side, in distances of the eyes as seen from the front
    drop: float = 0.32  # its centre below the eyes, in distances from eyes to mouth

    def __post_init__(self) -> None:
        if not (0.5 <= self.margin <= 10 and -2 <= self.drop <= 2):
            raise ValueError(f"face crop: margin {self.margin}, drop {self.drop} out of range")


@dataclass(frozen=True)
class InputSpec:
    """What the network is fed: uint8 pixels, NHWC, 0..255. Normalisation is inside the graph."""

    height: int  # pixels
    width: int  # pixels
    channels: Literal[1, 3]  # 1: grey (ITU-R 601-2 luma), 3: RGB
    resize: Resize = "bilinear"  # pillow's filter; the picture is stretched to height x width
    face: FaceCrop | None = None  # the square that the faces of its training fill; None: not faces

    def __post_init__(self) -> None:
        if not (0 < self.height <= 4096 and 0 < self.width <= 4096):
            raise ValueError(f"input size {self.height} x {self.width} is not within 1..4096")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class Confidence:
    """Turns logits into probabilities that can be trusted, and says when not to.

    Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """

    temperature: float = 1.0  # logits are divided by it before the softmax; 0.001..1000
    threshold: float = 0.0  # a top probability below it is "uncertain"; 0..1
    coverage: float = 1.0  # share of the fitting pictures at or above the threshold; 0..1
    fitted_on: str = "nothing"  # split, always a validation split
    samples: int = 0  # pictures fitted on

    def __post_init__(self) -> None:
        if not 1e-3 <= self.temperature <= 1e3:
            raise ValueError(f"temperature {self.temperature} is not within 0.001..1000")
        if not (0 <= self.threshold <= 1 and 0 <= self.coverage <= 1):
            raise ValueError(f"threshold {self.threshold}, coverage {self.coverage}: not in 0..1")


@dataclass(frozen=True)
class SplitCount:
    """Pictures of one split, by label."""

    name: str  # train, valid, test
    pictures: int
    per_label: dict[str, int]


@dataclass(frozen=True)
class DataRecord:
    """Where the training pictures came from and how they were divided."""

    name: str
    layout: str  # class folders, FER+, FER2013 csv
    source: str  # publisher, as the user should look for it
    licence: str
    split: str  # in words: publisher's, or stratified with fractions
    seed: int
    splits: list[SplitCount]
    dropped: dict[str, int]  # reason -> pictures
    grouped: dict[str, int] = field(default_factory=dict)  # reason -> pictures kept on one side

    def __post_init__(self) -> None:
        if len({frozenset(split.per_label) for split in self.splits}) > 1:
            raise ValueError("the splits count other labels")


@dataclass(frozen=True)
class ClassMetrics:
    """One label's figures."""

    precision: float  # 0..1
    recall: float  # 0..1
    f1: float  # 0..1
    support: int  # pictures with this label


@dataclass(frozen=True)
class Evaluation:
    """Labelled pictures put through one model. Intervals are at 95 %."""

    data: str  # name of the data and split
    protocol: Protocol
    samples: int
    accuracy: float  # 0..1
    accuracy_interval: Interval  # Wilson
    balanced_accuracy: float  # mean recall, 0..1
    macro_f1: float  # 0..1
    ece: float  # expected calibration error, 15 equal bins, 0..1
    per_label: dict[str, ClassMetrics]
    confusion: list[list[int]]  # rows: true label, columns: predicted, in the order of the labels
    accuracy_most_certain: float | None = None  # of the 90 % with the highest score, 0..1
    accuracy_mirrored: float | None = None  # by the mean with the answer to the mirror image, 0..1

    def __post_init__(self) -> None:
        if {len(self.confusion), *map(len, self.confusion)} != {len(self.per_label)}:
            raise ValueError("the confusion matrix is not one of the labels in per_label")

    @property
    def caveat(self) -> str:
        """What has to stand beside the figure, or an empty string."""
        if self.protocol == "training-set":
            return "training-set figure: measured on pictures the model was trained on"
        return ""


@dataclass(frozen=True)
class TrainingRecord:
    """How the float model was made."""

    architecture: str
    parameters: int
    multiply_adds: int  # per picture
    config: dict[str, Any]  # every hyper-parameter
    epochs: int  # run
    best_epoch: int  # whose weights were kept; counted from 1
    command: str
    tools: dict[str, str]  # package -> version


@dataclass(frozen=True)
class CalibrationRecord:
    """The pictures on which the ranges of the activations were measured."""

    kind: CalibrationKind
    source: str
    samples: int
    seed: int
    sha256: str  # of the uint8 tensor


@dataclass(frozen=True)
class Agreement:
    """An export beside the float Keras model on the same held-out pictures."""

    data: str
    samples: int
    label_agreement: float  # share of pictures given the same label, 0..1
    max_probability_difference: float  # over pictures and labels, 0..1
    mean_probability_difference: float  # over pictures and labels, 0..1
    kl_divergence: float  # mean KL(float || export), nats
    accuracy_float: float | None = None  # 0..1; None: the pictures have no labels
    accuracy_export: float | None = None
    accuracy_drop: float | None = None  # float minus export, as a share: 0.01 is 1 point
    accuracy_drop_interval: Interval | None = None  # Agresti & Min 2005
    mcnemar_p: float | None = None  # exact McNemar test of the difference


@dataclass(frozen=True)
class ExportRecord:
    """One exported file.

    Inside the file itself, `sha256` and `bytes` are of what stands before the card.
    """

    recipe: str  # one of RECIPES
    file: str
    sha256: str | None  # None inside a file that an older version exported
    bytes: int | None  # likewise
    tools: dict[str, str]  # package -> version
    calibration: CalibrationRecord | None
    agreement: Agreement | None  # on the pictures of the export's check
    comparison: list[Agreement] = field(default_factory=list)  # the recipe calibrated otherwise

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe {self.recipe!r} is none of {', '.join(RECIPES)}")
        if not is_name(self.file):
            raise ValueError(f"file {self.file!r} is not a name in the model's own folder")


@dataclass(frozen=True)
class ModelCard:
    """What a model is. ``labels`` are in the order of the logits."""

    name: str
    labels: list[str]
    input: InputSpec
    licence: str
    intended_use: str
    out_of_scope: str
    training: TrainingRecord
    data: DataRecord
    keras_sha256: str
    confidence: Confidence = field(default_factory=Confidence)
    evaluations: list[Evaluation] = field(default_factory=list)  # of the float Keras model
    exports: list[ExportRecord] = field(default_factory=list)
    output: Literal["logits"] = "logits"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be two or more, each once, not {self.labels}")
        if not is_name(self.name):  # reports are called by it
            raise ValueError(f"name {self.name!r} is no file's name")
        if not all(label.isprintable() for label in self.labels):  # a terminal will show them
            raise ValueError(f"labels {self.labels} are not printable")
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version {self.schema_version} is not {SCHEMA_VERSION}: "
                "use the edge-emotion that wrote the card, or export again"
            )

    def to_json(self) -> bytes:
        """UTF-8 JSON, indented, ending in a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_json(cls, data: bytes | str, where: str) -> ModelCard:
        """Read a card.

        Args:
            data: JSON.
            where: what to call the card in an error.

        Raises:
            ModelError: not a card of this schema.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ModelError(f"{where}: not a model card: {error}") from error

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """Read ``card.json`` of a model folder.

        Raises:
            ModelError: there is none, or it is not a card.
        """
        path = folder / CARD_NAME
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{folder} is not a model folder: {CARD_NAME}: {error.strerror or error}"
            ) from error
        return cls.from_json(data, str(path))

    def write(self, folder: Path) -> None:
        """Write ``card.json`` into a model folder, whole or not at all."""
        data = self.to_json()
        self.from_json(data, CARD_NAME)  # a card that cannot be read must not replace one that can
        write_bytes(folder / CARD_NAME, data)

    def export(self, recipe: str) -> ExportRecord | None:
        """The record of a recipe's file, or None if it was not exported."""
        return next((e for e in self.exports if e.recipe == recipe), None)

    def with_export(self, record: ExportRecord) -> ModelCard:
        """A card with one export replaced or added, in the order of RECIPES."""
        kept = [e for e in self.exports if e.recipe != record.recipe]
        order = list(RECIPES)
        exports = sorted([*kept, record], key=lambda e: order.index(e.recipe))
        return dataclasses.replace(self, exports=exports)

    def for_embedding(self, record: ExportRecord, before: bytes) -> ModelCard:
        """The card that goes inside one export, behind the bytes `before`, which it vouches for."""
        digest = hashlib.sha256(before).hexdigest()
        record = dataclasses.replace(record, sha256=digest, bytes=len(before))
        return dataclasses.replace(self, exports=[record])


def is_name(text: str) -> bool:
    """Whether a text can be a file's name, in one folder and in one line."""
    return text.isprintable() and text not in ("", ".", "..") and Path(text).name == text


def check_recipe(name: str) -> str:
    """Give `name` back if it is a recipe.

    Raises:
        UnknownNameError: it is not; the message suggests the nearest.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return name


def check_resize(name: str) -> Resize:
    """Give `name` back if it is a filter.

    Raises:
        UnknownNameError: it is not; the message suggests the nearest.
    """
    known: dict[str, Resize] = {filter_: filter_ for filter_ in get_args(Resize)}
    if name not in known:
        raise UnknownNameError("filter", name, known)
    return known[name]
