"""Hyper-parameters: one frozen dataclass, from TOML and from arguments."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from edge_emotion.card import Resize
from edge_emotion.errors import InputError, UnknownNameError, UsageError
from edge_emotion.training.body import parse_body


@dataclass(frozen=True)
class Range:
    """Numbers between two, with or without them."""

    low: float
    high: float = math.inf
    above: bool = False  # without `low`
    below: bool = False  # without `high`

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        low = f"above {self.low}" if self.above else f"{self.low}"
        if self.high == math.inf:
            return f"{low} or more"
        return f"{low} to {'below ' if self.below else ''}{self.high}"


SHARE = Range(0, 1)
BELOW_1 = Range(0, 1, below=True)
#: What the numbers of `TrainConfig` may be.
RANGES = {
    **dict.fromkeys(("epochs", "batch_size", "patience"), Range(1, 1_000_000)),
    "seed": Range(0, 2**32 - 1),
    "teacher_views": Range(0, 1000),
    "size": Range(8, 1024),
    "width": Range(0.05, 8),
    "learning_rate": Range(0, 1, above=True),
    "coverage": Range(0, 1, above=True),
    "refit": Range(0, 0.9),
    "valid_fraction": Range(0, 0.5, above=True, below=True),
    "test_fraction": Range(0, 0.5, below=True),
    "rotation": Range(0, 180),
    "gamma": Range(0, 4),
    "mixup": Range(0, 4),
    "sharpen": Range(0, 4),
    **dict.fromkeys(
        ("dropout", "label_smoothing", "zoom", "framing", "stretch", "shift", "dark"), BELOW_1
    ),
    **dict.fromkeys(
        ("weight_decay", "teacher_share", "balance", "balance_data", "shear", "brightness",
         "contrast", "blur", "noise", "erase"), SHARE
    ),
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training makes, beside the pictures. Recorded in the card."""

    architecture: str = "edge-cnn"
    labels: list[str] | None = None  # None: all that the data have
    learn_all: bool = False  # train on all labels of the data, then keep the outputs of `labels`
    size: int | None = None  # input height and width, pixels; None: the architecture's
    channels: Literal[1, 3] | None = None  # None: the architecture's
    resize: Resize = "bilinear"
    width: float = 1.0  # factor on the number of channels
    body: str | None = None  # of edge-cnn, see training/body.py; None: initial's, or its own
    dropout: float | None = None  # 0..1; None: the architecture's

    seed: int = 1
    epochs: int = 60
    batch_size: int = 128
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 2e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: float = 1e-3  # AdamW only
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the training; weights: float32
    label_smoothing: float = 0.0  # 0..1
    balance: float = 0.5  # exponent of the inverse label frequency in the loss: 0 none, 1 full
    balance_data: float = 0.0  # of several data sets, exponent of the inverse size in an epoch
    prior: Literal["data", "uniform"] = "data"  # how frequent answers assume labels to be
    initial: list[str] | None = None  # models with whose weights, or their mean, it begins
    teachers: list[str] | None = None  # model folders whose answers are learnt beside the labels
    teacher_share: float = 0.5  # of the teachers in the loss, 0..1
    teacher_views: int = 0  # of each picture, asked about once; 0: a new one in each epoch
    keep: Literal["best", "last"] = "best"  # epoch whose weights are kept; last: no early stopping
    patience: int = 15  # epochs without a better validation loss before stopping

    subject: str | None = (
        None  # regular expression; same text in the path: on one side of the split
    )
    valid_fraction: float = 0.15  # where the publisher has no validation split
    test_fraction: float = 0.15  # where the publisher has no test split
    refit: float = 0.0  # share of the validation pictures that train after all
    coverage: float = 0.9  # share of validation pictures that are not "uncertain"

    flip: bool = True  # left and right
    rotation: float = 15.0  # degrees, either way
    zoom: float = 0.15  # factor 1 + zoom, either way
    framing: float = 0.0  # a further factor 1 + framing, either way; teachers are not shown it
    stretch: float = 0.0  # ratio of the sides 1 + stretch, either way; teachers are not shown it
    shift: float = 0.1  # share of the side, either way
    shear: float = 0.1  # tangent, either way
    brightness: float = 0.2  # share of the range, either way
    contrast: float = 0.3  # factor 1 - contrast to 1 + contrast
    gamma: float = 0.2  # exponent 1 + gamma, either way
    blur: float = 0.2  # share of the pictures that are blurred, up to sigma = 2.2 pixels
    sharpen: float = 0.0  # strongest unsharp mask, sigma = 1 pixel; half of the pictures get none
    dark: float = 0.0  # share of the light that is missing at most; half keep all
    noise: float = 0.02  # highest standard deviation, share of the range; half get none
    erase: float = 0.2  # twice the share of the pictures of which a rectangle is blotted out
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), by which pictures are mixed in pairs; 0: none

    def __post_init__(self) -> None:
        if self.body is not None:
            try:
                parse_body(self.body)
            except ValueError as error:
                raise ValueError(f"body: {error}") from error
        if self.subject is not None:
            try:
                re.compile(self.subject)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"subject = {self.subject!r} is no regular expression") from error
        for name, span in RANGES.items():
            value = getattr(self, name)
            if value is not None and value not in span:
                raise ValueError(f"{name} must be {span}, not {value!r}")

        if self.teacher_views and self.mixup:
            raise ValueError("teacher_views and mixup: no mixture is known before it is trained on")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the card."""
        return dataclasses.asdict(self)


def same_settings(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records are of one training; an option that one does not know has its default."""
    defaults = TrainConfig().as_dict() | {"cross_fit": False}  # an option that is no more
    return defaults | one == defaults | other


@dataclass(frozen=True)
class Plan:
    """How a training is evaluated and where it writes."""

    out: Path  # model folder
    run: Path  # checkpoints, and what shows pictures of the data set
    name: str
    command: str  # for the card
    licence: str = "as their maker decides; see the terms of the training pictures"
    source: str | None = None  # publisher of the pictures; None: what the layout tells
    terms: str | None = None  # of the pictures; None: what the layout tells
    folds: int = 0  # cross-validation before the final model; 0: none
    validate_on_train: bool = False  # the original project's protocol
    split_as: str | None = None  # model whose division is taken over
    resume: bool = False


#: What `baseline-cnn` was trained with originally, where that differs from the defaults.
ARCHITECTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "baseline-cnn": {
        "batch_size": 32,
        "epochs": 40,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "balance": 0.0,
        "keep": "last",
        "brightness": 0.0,
        "contrast": 0.0,
        "gamma": 0.0,
        "blur": 0.0,
        "noise": 0.0,
        "erase": 0.0,
    },
}


def given_values(file: Path | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the TOML file names, overruled by the arguments that were given.

    Args:
        file: TOML with the fields of `TrainConfig` at top level, or None.
        arguments: field -> value; None stands for "not given".

    Raises:
        UsageError: an unknown field.
        InputError: the file cannot be read.
    """
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = tomllib.loads(file.read_text("utf-8"))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError(f"{file}: not a TOML file: {error}") from error
        except OSError as error:
            raise InputError(f"{file}: {error.strerror or error}") from error
    given |= {name: value for name, value in arguments.items() if value is not None}
    known = [f.name for f in dataclasses.fields(TrainConfig)]
    for name in given:
        if name not in known:
            raise UnknownNameError("hyper-parameter", name, known)
    return given


def make_config(file: Path | None, arguments: dict[str, Any]) -> TrainConfig:
    """Defaults of the architecture, then the TOML file, then the arguments that were given.

    Args:
        file: see `given_values`.
        arguments: see `given_values`.

    Raises:
        UsageError: an unknown field, or a value of the wrong type or range.
        InputError: the file cannot be read.
    """
    given = given_values(file, arguments)
    architecture = given.get("architecture", TrainConfig.architecture)
    try:
        values = ARCHITECTURE_DEFAULTS.get(str(architecture), {}) | given
        return msgspec.convert(values, TrainConfig)
    except (msgspec.ValidationError, ValueError) as error:
        for name, hint in get_type_hints(TrainConfig).items():
            known = [x for one in (hint, *get_args(hint)) if get_origin(one) is Literal
                     for x in get_args(one)]  # fmt: skip
            if known and name in values and values[name] not in [*known, None]:
                raise UnknownNameError(name, str(values[name]), map(str, known)) from error
        raise UsageError(f"hyper-parameters: {error}") from error
