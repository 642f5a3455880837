"""What `peers` found, as frozen dataclasses and as JSON. README.md documents every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_emotion.card import Interval
from edge_emotion.machine import Conditions, Machine

from .report_json import check_version, read_json, to_json
from .schema import Distribution, StartUp

SCHEMA_VERSION = 1
PREFIX = "peers-"


@dataclass(frozen=True)
class Task:
    """Labels between which every model that knows them all is made to choose."""

    labels: list[str]
    samples: int

    @property
    def name(self) -> str:
        """The labels, for a column's head."""
        return ", ".join(self.labels)


@dataclass(frozen=True)
class Score:
    """One model on the pictures of one task: the label of the highest probability among them."""

    task: list[str]  # labels
    accuracy: float  # 0..1
    accuracy_interval: Interval  # Wilson, 95 %
    balanced_accuracy: float
    recall: dict[str, float]  # label -> share found


@dataclass(frozen=True)
class PeerResult:
    """One artefact of ours, or one peer."""

    name: str
    ours: bool
    status: Literal["measured", "missing", "failed"]
    reason: str  # why it is missing or failed; empty if measured
    labels: list[str]  # that it knows
    engine: str
    engine_version: str
    bytes: int | None  # of the weights
    latency: Distribution | None  # uint8 face in memory to probabilities, one thread
    start_up: StartUp | None
    peak_rss: int | None  # bytes, of the whole process
    scores: list[Score]  # one for each task whose labels it knows

    def score(self, task: Task) -> Score | None:
        """How it did on a task; None: it does not know all of its labels, or did not run."""
        return next((s for s in self.scores if s.task == task.labels), None)


@dataclass(frozen=True)
class PeersReport:
    """One run of ``python -m edge_emotion.benchmarks.peers``."""

    created: str  # UTC, ISO 8601
    environment: str
    machine: Machine
    before: Conditions
    after: Conditions
    data: str
    left_out: dict[str, int]  # reason -> pictures
    rounds: int
    runs: int  # in each round
    warmup: int
    models: list[str]  # of ours
    tasks: list[Task]
    results: list[PeerResult]
    unrecorded: list[str] = field(default_factory=list)  # of ours; may be trained on the pictures
    size: str = ""  # of the faces that were timed, in words; empty: not recorded
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_version(self.schema_version, SCHEMA_VERSION)

    @property
    def measured(self) -> list[PeerResult]:
        """What ran."""
        return [r for r in self.results if r.status == "measured"]

    def to_json(self) -> bytes:
        """UTF-8 JSON, as a benchmark's report."""
        return to_json(self)

    @classmethod
    def read(cls, path: Path) -> PeersReport:
        """Read a report's file.

        Raises:
            InputError: it cannot be read, or is not a report of this schema.
        """
        return read_json(cls, path)


def file_name(environment: str) -> str:
    """What the result of an environment is called; with another size of faces at its end."""
    return f"{PREFIX}{environment}.json"
