"""What a search knows of each trial, and the files that say it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge_emotion.card import Interval
from edge_emotion.files import write_bytes
from edge_emotion.training.config import TrainConfig

TRIALS_NAME = "trials.json"


@dataclass(frozen=True)
class Cost:
    """What a network of this shape costs on this machine, whatever its weights."""

    latency: float  # int8 TFLite by LiteRT, one thread: ratio to the default edge-cnn
    latency_ms: float  # the same in milliseconds, median
    onnx_latency: float  # int8 ONNX by onnxruntime, one thread: ratio to the default edge-cnn
    onnx_latency_ms: float
    int8_bytes: int  # of the TFLite file, without a card
    multiply_adds: int  # a picture
    parameters: int


@dataclass(frozen=True)
class Score:
    """How well a trial's float network does on the validation pictures."""

    balanced_accuracy: float
    balanced_interval: Interval  # 95 %, of these pictures; the choice among trials is not in it
    accuracy: float
    samples: int
    epochs: int  # that were trained
    seconds: float  # of training and scoring


@dataclass(frozen=True)
class Trial:
    """One candidate and what became of it."""

    number: int
    #: "infeasible": cannot be built, converted or trained to finite logits, or ended the search
    #: three times. "too slow": over --max-latency, not trained. "interrupted": its settings are
    #: tried again.
    outcome: Literal["trained", "too slow", "infeasible", "interrupted"]
    settings: dict[str, Any]  # what was searched
    reason: str | None = None  # why it was not trained; None: it was, or nobody knows
    cost: Cost | None = None
    score: Score | None = None


def write_trials(folder: Path, trials: Sequence[Trial], front: Collection[int]) -> None:
    """Every trial as JSON; `front` are the numbers of those that no other is better than."""
    rows = [dataclasses.asdict(trial) | {"front": trial.number in front} for trial in trials]
    data = msgspec.json.format(msgspec.json.encode(rows), indent=1)
    write_bytes(folder / TRIALS_NAME, data + b"\n")


def front_name(number: int) -> str:
    """The file of a trial on the front."""
    return f"front-{number}.toml"


def old_fronts(folder: Path) -> list[Path]:
    """The files of that kind in a folder."""
    found = sorted(folder.glob("front-*.toml"))
    return [path for path in found if path.stem.removeprefix("front-").isdecimal()]


def write_front(
    folder: Path, trials: Sequence[Trial], configs: Sequence[TrainConfig], without: Collection[str]
) -> None:
    """One file for ``train --config`` a trial, and none of trials that are not on the front.

    Args:
        folder: where to.
        trials: those on the front, trained.
        configs: the full training of each.
        without: fields that are left out.
    """
    names = {front_name(trial.number) for trial in trials}
    for old in old_fronts(folder):
        if old.name not in names:
            with suppress(OSError):  # the table and trials.json do not name it
                old.unlink()
    for trial, config in zip(trials, configs, strict=True):
        write_bytes(folder / front_name(trial.number), _toml(trial, config, without).encode())


def _toml(trial: Trial, config: TrainConfig, without: Collection[str]) -> str:
    assert trial.score is not None  # on the front are trained ones only
    assert trial.cost is not None
    low, high = trial.score.balanced_interval
    lines = [
        f"# Trial {trial.number}: balanced accuracy {100 * trial.score.balanced_accuracy:.1f} % "
        f"({100 * low:.1f} to {100 * high:.1f}) on {trial.score.samples} validation",
        f"# pictures after {_epochs(trial.score.epochs)}, {trial.cost.latency:.2f} times the "
        "latency of the default edge-cnn in int8.",
    ]
    for name, value in config.as_dict().items():
        if value is not None and name not in without:
            # JSON's strings, numbers, booleans and lists of strings are TOML's, but for DEL.
            text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
            lines.append(f"{name} = {text}")
    return "\n".join(lines) + "\n"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
