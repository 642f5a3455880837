"""What a search may change, within which bounds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from edge_emotion.errors import MissingExtraError, UsageError
from edge_emotion.training.architectures import EDGE_CNN_BODY, get_architecture
from edge_emotion.training.config import RANGES, TrainConfig
from edge_emotion.training.fit import input_spec

try:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
except ImportError as error:
    raise MissingExtraError("searching hyper-parameters", "tune") from error

#: Searched name -> what may be drawn for it.
Space = dict[str, BaseDistribution]

#: One factor for fields that do the same to a picture: thirty trials cannot tell ten apart.
FACTORS: Mapping[str, tuple[str, ...]] = {
    "geometry": ("rotation", "zoom", "shift", "shear"),
    "light": ("brightness", "contrast", "gamma", "blur", "noise"),
}
SIZE_STEP = 8  # pixels


def make_space(
    base: TrainConfig,
    named: Collection[str],
    sizes: Sequence[int] | None = None,
    widths: Sequence[float] | None = None,
    bodies: Sequence[str] | None = None,
) -> Space:
    """The default space without what is fixed.

    Args:
        base: values of everything that is not searched, and of the first trial.
        named: fields that the user gave a value; they are fixed.
        sizes: input sides to choose from, pixels; None: 16 below to 16 above the architecture's.
        widths: factors on the channels to choose from; None: 0.25 to 2.
        bodies: of edge-cnn, see `edge_emotion.training.body`; None: that of `base`.

    Raises:
        UsageError: nothing is left to search, or a size, width or body is impossible.
    """
    if bodies is not None and base.architecture != "edge-cnn":
        raise UsageError(f"--bodies are of edge-cnn, not of {base.architecture}")
    _check(base, "size", sizes)
    _check(base, "width", widths)
    _check(base, "body", bodies)
    side = get_architecture(base.architecture).input.height
    space: Space = {
        "width": FloatDistribution(0.25, 2.0, step=0.125),
        "size": IntDistribution(side - 2 * SIZE_STEP, side + 2 * SIZE_STEP, step=SIZE_STEP),
        "learning_rate": FloatDistribution(5e-4, 8e-3, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
        "balance": FloatDistribution(0.0, 1.0),
        "weight_decay": FloatDistribution(1e-3, 0.3, log=True),
        "geometry": FloatDistribution(0.0, 1.5),
        "light": FloatDistribution(0.0, 1.5),
        "erase": FloatDistribution(0.0, 0.5),
    }
    if base.optimizer == "adam":
        del space["weight_decay"]  # of AdamW only
    for name in list(space):
        fields = [f for f in FACTORS.get(name, (name,)) if f not in named]
        if not fields or (name in FACTORS and not any(getattr(base, f) for f in fields)):
            del space[name]
    for name, values in (("size", sizes), ("width", widths), ("body", bodies)):
        if values is not None:
            space[name] = CategoricalDistribution(tuple(dict.fromkeys(values)))
    if not any(not distribution.single() for distribution in space.values()):
        raise UsageError("everything is fixed: name fewer hyper-parameters, or several --sizes")
    return space


def _check(base: TrainConfig, name: str, values: Sequence[float | str] | None) -> None:
    option = {"body": "--bodies"}.get(name, f"--{name}s")
    if values is not None and not values:
        raise UsageError(f"{option}: name one or more")
    for value in values or ():
        change: dict[str, Any] = {name: value}
        try:
            replace(base, **change)
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error


def first_settings(base: TrainConfig, space: Space) -> dict[str, Any]:
    """The defaults as a point in the space.

    Of sizes and widths without them the nearest; of bodies the first, if the default is not named.
    """
    values = {
        "size": input_spec(base).height,
        "body": base.body or EDGE_CNN_BODY,
        "dropout": get_architecture(base.architecture).dropout
        if base.dropout is None
        else base.dropout,
    } | dict.fromkeys(FACTORS, 1.0)
    settings = {}
    for name, distribution in space.items():
        value = values.get(name, getattr(base, name, None))
        if isinstance(distribution, CategoricalDistribution):
            value = min(distribution.choices, key=partial(_distance, value))
        elif isinstance(distribution, (FloatDistribution, IntDistribution)):
            value = min(max(value, distribution.low), distribution.high)
        settings[name] = value
    return settings


def _distance(value: Any, choice: Any) -> float:
    return float(choice != value) if isinstance(choice, str) else abs(choice - value)


def configure(
    base: TrainConfig, named: Collection[str], settings: Mapping[str, Any]
) -> TrainConfig:
    """`base` with the settings of a trial; a factor leaves fields alone that are `named`."""
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in FACTORS:
            changes[name] = value
        for field in FACTORS.get(name, ()):
            if field not in named:
                # Four digits that count: what is tried is what the file for `train` says.
                changes[field] = min(float(f"{getattr(base, field) * value:.4g}"), _most(field))
    return replace(base, **changes)


def _most(field: str) -> float:
    """The largest value that a strength may have, by `TrainConfig`."""
    span = RANGES[field]
    return span.high - 0.01 if span.below else span.high
