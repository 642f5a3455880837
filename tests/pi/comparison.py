"""What differs between the golden vectors of two machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Largest difference of a float logit. Sums are made in another order by other instructions.
FLOAT_TOLERANCE = 1e-5
#: Recipes of integers alone, whose logits are the same bits on every machine.
EXACT = ("tflite-int8",)
#: Recipes of int8 that are scaled in float32 on the way: on another processor a number may round
#: the other way, and a logit is a level higher or lower.
LEVELS = ("onnx-int8",)

Golden = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """One export on one machine, beside the same export on x86."""

    machine: str
    model: str
    recipe: str
    pictures: int
    decoded: bool  # every picture in full size has the same bytes
    pixels: bool  # likewise what the network is fed
    bits: bool  # likewise the logits
    difference: float  # of a logit, at most; NaN if a side has no number where the other has one
    level: float  # the least by which two logits of x86 differ
    others: int  # pictures of which a logit differs
    labels: bool  # every answer is the same

    @property
    def good(self) -> bool:
        """Whether all is as it must be."""
        return self.decoded and self.pixels and self.close and self.labels

    @property
    def close(self) -> bool:
        """Whether the logits differ by no more than they may."""
        if self.recipe in EXACT:
            return self.bits
        most = 1.01 * self.level if self.recipe in LEVELS else FLOAT_TOLERANCE
        return self.difference <= most


class NotComparableError(Exception):
    """The two sides did not run the same files."""


def compare(machine: str, here: Golden, there: Golden) -> list[Row]:
    """Compare two machines' golden vectors; see golden.py for what they hold.

    Args:
        machine: what to call the other one.
        here: of x86.
        there: of the other.

    Raises:
        NotComparableError: another set of exports, or of pictures, or other model files.
    """
    keys = [key.removeprefix("sha256/") for key in here if key.startswith("sha256/")]
    if set(here) != set(there) or not keys:
        raise NotComparableError(f"{machine}: {_list(here)} here, {_list(there)} there")
    rows = []
    for key in keys:
        if str(here[f"sha256/{key}"]) != str(there[f"sha256/{key}"]):
            raise NotComparableError(f"{machine}: {key} is another file there")
        model, recipe = key.split("/")
        a, b = here[f"logits/{key}"], there[f"logits/{key}"]
        if a.shape != b.shape or len(a) == 0:
            raise NotComparableError(f"{machine}: {key}: logits {a.shape} here, {b.shape} there")
        rows.append(
            Row(
                machine=machine,
                model=model,
                recipe=recipe,
                pictures=len(a),
                decoded=_same(here, there, "decoded"),
                pixels=_same(here, there, f"pixels/{model}"),
                bits=a.tobytes() == b.tobytes(),
                difference=float(np.abs(a - b).max()),
                level=float(np.diff(np.unique(a)).min(initial=np.inf)),
                others=int((a != b).any(axis=1).sum()),
                labels=_same(here, there, f"answers/{key}"),
            )
        )
    return rows


def _same(here: Golden, there: Golden, key: str) -> bool:
    return bool(np.array_equal(here[key], there[key]))


def _list(golden: Golden) -> str:
    return ", ".join(key[7:] for key in golden if key.startswith("sha256/")) or "no export"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of equal width: the first two to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def bits_table(rows: Iterable[Row]) -> str:
    """The rows as text; what is not as it must be is in capitals."""
    header = ("machine", "model, export", "pictures", "decoded", "pixels", "logits",
              "largest difference", "labels")  # fmt: skip
    return table(header, (_cells(row) for row in rows))


def _cells(row: Row) -> list[str]:
    def equal(same: bool) -> str:
        return "equal" if same else "DIFFERENT"

    if row.bits:
        logits = "bit-identical"
    elif row.recipe in EXACT:
        logits = "OTHER BITS"
    elif not row.close:
        logits = "TOO FAR"
    else:
        logits = f"a level off in {row.others}" if row.recipe in LEVELS else "close"
    return [
        row.machine, f"{row.model} {row.recipe}", str(row.pictures), equal(row.decoded),
        equal(row.pixels), logits, f"{row.difference:.1e}" if row.difference else "0",
        equal(row.labels),
    ]  # fmt: skip
