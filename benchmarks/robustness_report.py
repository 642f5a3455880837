"""What `robustness` found: as frozen dataclasses, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_emotion.evaluation import wilson

from .caveats import unrecorded
from .report_json import check_version, read_json
from .schema import Data

SCHEMA_VERSION = 1
PREFIX = "robustness-"


@dataclass(frozen=True)
class Corrupted:
    """Accuracies under one corruption."""

    name: str
    unit: str
    parameters: list[float]  # from weak to strong
    accuracy: dict[str, list[float]]  # recipe -> shares, one a strength


@dataclass(frozen=True)
class RobustnessReport:
    """One run. README.md documents every field."""

    created: str  # UTC, ISO 8601
    model: str
    labels: list[str]
    keras_sha256: str
    packages: dict[str, str]
    data: Data
    sha256: dict[str, str | None]  # recipe -> of the file
    clean: dict[str, float]  # recipe -> accuracy on the pictures as they are
    corrupted: list[Corrupted]
    not_measured: dict[str, str]  # recipe -> why
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_version(self.schema_version, SCHEMA_VERSION)

    def mean(self, recipe: str) -> float:
        """Accuracy over all corruptions and strengths, each counting alike."""
        return float(np.mean([row.accuracy[recipe] for row in self.corrupted]))

    @property
    def file_name(self) -> str:
        """What a committed result is called."""
        return file_name(self.model)

    @classmethod
    def read(cls, path: Path) -> RobustnessReport:
        """Read a report's file.

        Raises:
            InputError: it cannot be read, or is not a report of this schema.
        """
        return read_json(cls, path)


def file_name(model: str) -> str:
    """What the result of a model is called."""
    return f"{PREFIX}{model}.json"


def robustness_block(reports: Sequence[RobustnessReport]) -> str:
    """What stands between the markers of a page."""
    return "\n\n".join(robustness_table(report) for report in reports) or "No results yet."


def robustness_table(report: RobustnessReport) -> str:
    """Accuracies in per cent; in each cell one for each export, in the order that is named."""
    columns = _columns(report)
    recipes = list(columns)
    data = report.data
    caveat = " (training-set figure)" if data.protocol == "training-set" else ""

    def cell(shares: Mapping[str, float]) -> str:
        return " / ".join(f"{100 * shares[recipe]:.1f}" for recipe in recipes)

    low, high = _widest(report)
    hardest = min(report.corrupted, key=lambda row: float(np.mean(row.accuracy[recipes[0]])))
    lines = [
        f"**{report.model}** on {data.name}, {data.samples} pictures{caveat} "
        f"({report.created[:10]}): accuracy in %, {' / '.join(columns.values())}. Uncorrupted: "
        f"{cell(report.clean)}. Before each colon the parameter. The widest "
        f"95 % interval of a single figure is {100 * low:.1f} to {100 * high:.1f}; differences "
        "within a cell are surer, being of the same pictures. "
        f"Hardest is {hardest.name}.{_gap(report, recipes)}"
        + "".join(f" {line}" for line in unrecorded(data)),
        "",
        "| corruption | 1 | 2 | 3 | 4 | 5 | mean |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in report.corrupted:
        cells = [
            f"{parameter:g}: {cell({recipe: row.accuracy[recipe][i] for recipe in recipes})}"
            for i, parameter in enumerate(row.parameters)
        ]
        mean = cell({recipe: float(np.mean(row.accuracy[recipe])) for recipe in recipes})
        lines.append(f"| {row.name} ({row.unit}) | {' | '.join(cells)} | {mean} |")
    means = cell({recipe: report.mean(recipe) for recipe in recipes})
    lines.append(f"| **all** | | | | | | **{means}** |")
    lines += [f"\n{recipe} was not measured: {why}." for recipe, why in report.not_measured.items()]
    return "\n".join(lines)


def _columns(report: RobustnessReport) -> dict[str, str]:
    """Recipe -> what to call it; exports of which the table would show the same share a column."""
    figures: dict[tuple[str, ...], list[str]] = {}
    for recipe, clean in report.clean.items():
        rows = [row.accuracy[recipe] for row in report.corrupted]
        shown = tuple(f"{100 * a:.1f}" for a in [clean, *(a for row in rows for a in row)])
        figures.setdefault(shown, []).append(recipe)
    return {
        recipes[0]: " and ".join(recipes) + (" (the same)" if recipes[1:] else "")
        for recipes in figures.values()
    }


def _gap(report: RobustnessReport, recipes: Sequence[str]) -> str:
    """Where an int8 export falls furthest behind the float one of its engine, in words."""
    gaps = [
        (row.accuracy[original][i] - row.accuracy[recipe][i], recipe, row, parameter)
        for row in report.corrupted
        for i, parameter in enumerate(row.parameters)
        for recipe in recipes
        if "int8" in recipe and (original := f"{recipe.split('-')[0]}-f32") in report.clean
    ]
    if not gaps:
        return ""
    gap, recipe, row, parameter = max(gaps, key=lambda found: found[0])
    if gap <= 0:
        return " int8 is nowhere behind float."
    return (
        f" Furthest behind its float original is {recipe} under {row.name} {parameter:g}: by "
        f"{100 * gap:.1f} points."
    )


def _widest(report: RobustnessReport) -> tuple[float, float]:
    samples = report.data.samples
    shares = [a for row in report.corrupted for values in row.accuracy.values() for a in values]
    intervals = [wilson(round(share * samples), samples) for share in shares]
    return max(intervals, key=lambda interval: interval[1] - interval[0])
