"""What a benchmark found, as frozen dataclasses and as JSON. README.md documents every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_emotion.card import Agreement, Evaluation, Interval, Protocol
from edge_emotion.machine import Conditions, Machine

from .layer import LayerReport
from .report_json import check_version, from_json, read_json, to_json

SCHEMA_VERSION = 1

#: Order of the artefacts in every table; the float reference is the first of REFERENCES at hand.
KERAS = "keras"
REFERENCES = (KERAS, "onnx-f32", "tflite-f32")

Status = Literal["measured", "skipped", "failed"]
DataKind = Literal["labelled", "unlabelled", "none"]


@dataclass(frozen=True)
class Distribution:
    """Times of all runs of all rounds, in milliseconds."""

    runs: int
    mean: float
    p50: float
    p90: float
    p99: float
    quantiles: list[float]  # 21 values: the 0th, 5th, ... 100th percentile
    round_medians: list[float]  # one a round; far apart: the machine was noisy

    @property
    def spread(self) -> float:
        """Highest / lowest median of a round - 1: with 0.1, ratios up to 1.1 may be noise."""
        lowest = min(self.round_medians)
        return max(self.round_medians) / lowest - 1 if lowest else 0.0


@dataclass(frozen=True)
class PictureLatency:
    """From an encoded picture to a label with probabilities, one picture at a time."""

    decode: Distribution  # JPEG bytes to upright RGB
    preprocess: Distribution  # RGB to the uint8 tensor
    infer: Distribution  # tensor to probabilities
    total: Distribution


@dataclass(frozen=True)
class StartUp:
    """Medians over the processes, one a round. Seconds."""

    import_s: float  # edge_emotion and the engine
    load_s: float  # opening the file
    first_prediction_s: float  # picture to label, the first time


@dataclass(frozen=True)
class Throughput:
    """The same tensor over and over, no decoding."""

    batch: int
    pictures_per_s: float  # median of the rounds


@dataclass(frozen=True)
class Timing:
    """One artefact with one number of threads."""

    threads: int
    model: Distribution  # tensor to logits
    picture: PictureLatency
    throughput: list[Throughput]
    start_up: StartUp
    peak_rss: int  # bytes; the highest of the rounds, predicting one by one


@dataclass(frozen=True)
class ReliabilityBin:
    """Pictures whose top probability falls into one bin."""

    confidence: float  # mean top probability, 0..1
    accuracy: float  # 0..1
    pictures: int


@dataclass(frozen=True)
class Recorded:
    """An accuracy that the card carries: measured when the model was made, not now."""

    data: str
    samples: int
    accuracy: float  # 0..1
    protocol: Protocol


@dataclass(frozen=True)
class ArtefactResult:
    """One file of the model."""

    recipe: str  # of card.RECIPES, or "keras"
    status: Status
    reason: str  # why it was skipped or failed; empty if measured
    engine: str  # package that ran it; empty if none did
    engine_version: str
    sha256: str | None
    bytes: int | None
    timings: list[Timing]
    evaluation: Evaluation | None  # on labelled pictures, now
    reliability: list[ReliabilityBin]  # likewise; else empty
    agreement: Agreement | None  # with the float reference, on the same pictures
    recorded: list[Recorded]

    def timing(self, threads: int) -> Timing | None:
        """The timing with that number of threads."""
        return next((t for t in self.timings if t.threads == threads), None)


@dataclass(frozen=True)
class Data:
    """The pictures on which accuracy or agreement was measured."""

    kind: DataKind
    name: str  # empty if there were none
    samples: int
    protocol: Protocol | None  # None: no labels, so no accuracy
    left_out: dict[str, int]  # reason -> pictures
    trained_on: int  # that the model was trained or validated on, or another crop of one
    trained_on_known: bool  # whether the model folder records all of that


@dataclass(frozen=True)
class Share:
    """A count, of how many, with its interval."""

    count: int
    of: int
    interval: Interval  # 95 %, Wilson


@dataclass(frozen=True)
class PhotoSteps:
    """From the bytes of a photograph to its answer, over photographs. Times in milliseconds."""

    decode: Distribution  # JPEG bytes to upright RGB
    find: Distribution  # RGB to faces
    crop: Distribution  # faces to the uint8 tensor
    read: Distribution  # tensor to probabilities
    total: Distribution


@dataclass(frozen=True)
class FinderResult:
    """Photographs read with one face finder."""

    finder: str  # "yunet", "hog", or "off": each photograph as one face
    status: Status
    reason: str  # why it was skipped; empty if measured
    found: Share | None = None  # photographs with a face
    accuracy: Share | None = None  # over all photographs; without a face is wrong
    accuracy_with_face: Share | None = None
    accuracy_certain: Share | None = None  # over those whose answer is not uncertain
    balanced_accuracy: float | None = None  # over all photographs, 0..1
    confusion: list[list[int]] = field(default_factory=list)  # columns: labels, then no face
    steps: PhotoSteps | None = None


@dataclass(frozen=True)
class PhotoReport:
    """Photographs, with each face finder that was there."""

    data: str
    samples: int
    unreadable: int
    recipe: str  # of the artefact that read the faces
    timed: str  # what the steps were timed on, in words
    results: list[FinderResult]
    trained_on: int = 0  # left out: the model was trained or validated on them, or on their faces
    trained_on_known: bool = False  # whether that is recorded of all pictures it was trained on
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> files, before any was read


@dataclass(frozen=True)
class Settings:
    """How it was measured, and what counts as good enough."""

    rounds: int
    runs: int  # in each round
    warmup: int  # runs before them, not counted
    threads: list[int]
    batches: list[int]
    throughput_s: float  # seconds for each throughput figure, in each round
    picture: str  # the picture that was decoded, in words
    quick: bool
    max_drop: float  # percentage points of accuracy
    min_agreement: float  # share of pictures, 0..1

    @property
    def total_runs(self) -> int:
        """Runs behind each percentile."""
        return self.rounds * self.runs


@dataclass(frozen=True)
class Model:
    """Which model."""

    name: str
    labels: list[str]
    keras_sha256: str
    parameters: int
    multiply_adds: int  # per picture
    input: tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True)
class BenchReport:
    """One run of ``edge-emotion bench``."""

    created: str  # UTC, ISO 8601
    environment: str  # slug of the machine, as in the file's name
    machine: Machine
    before: Conditions
    after: Conditions
    model: Model
    settings: Settings
    data: Data
    reference: str | None  # recipe of the float model that the others are compared with
    artefacts: list[ArtefactResult]
    recommended: str | None  # recipe
    verdict: list[str]  # what the figures mean here, in sentences
    photos: PhotoReport | None = None  # if photographs were given
    schema_version: int = SCHEMA_VERSION
    layers: list[LayerReport] = field(default_factory=list)  # empty without --layers

    def __post_init__(self) -> None:
        check_version(self.schema_version, SCHEMA_VERSION)
        if not self.settings.threads:
            raise ValueError("settings name no number of threads")
        for artefact in self.artefacts:
            if (artefact.status == "measured") != bool(artefact.timings):
                raise ValueError(f"{artefact.recipe} is {artefact.status} but its timings say else")
            if artefact.timings and not artefact.timing(self.threads):
                raise ValueError(f"{artefact.recipe} has no timing with {self.threads} threads")

    @property
    def measured(self) -> list[ArtefactResult]:
        """The artefacts that ran."""
        return [a for a in self.artefacts if a.status == "measured"]

    @property
    def threads(self) -> int:
        """The number of threads that artefacts are compared at: the lowest measured."""
        return min(self.settings.threads)

    def get(self, recipe: str | None) -> ArtefactResult | None:
        """The artefact of a recipe, if it ran."""
        return next((a for a in self.measured if a.recipe == recipe), None)

    def p50(self, artefact: ArtefactResult) -> float:
        """Median model latency, in ms, at the number of threads compared at."""
        timing = artefact.timing(self.threads)
        assert timing is not None  # every measured artefact has every number of threads
        return timing.model.p50

    @property
    def file_name(self) -> str:
        """What a committed result is called."""
        return f"{self.environment}-{self.model.name}.json"

    def to_json(self) -> bytes:
        """UTF-8 JSON, indented, ending in a newline. Lists of numbers stay on one line."""
        return to_json(self)

    @classmethod
    def from_json(cls, data: bytes | str, where: str) -> BenchReport:
        """Read a report.

        Args:
            data: JSON.
            where: what to call it in an error.

        Raises:
            InputError: not a report of this schema.
        """
        return from_json(cls, data, where)

    @classmethod
    def read(cls, path: Path) -> BenchReport:
        """Read a report's file.

        Raises:
            InputError: it cannot be read, or is not a report of this schema.
        """
        return read_json(cls, path)
