"""The body of `edge-cnn` as a line of text, such as ``c32/2 r p c64 r p c96 r``.

Stages, separated by spaces, each applied to what the one before it made:

- ``c64``: a 3 x 3 convolution to 64 channels, BatchNorm, ReLU; ``c64k5``: 5 x 5; ``c64/2``: with a
  stride of 2.
- ``d64``: the same as a depthwise convolution and a 1 x 1 one (MobileNet, arXiv 1704.04861).
- ``r``: a residual unit of one 3 x 3 convolution, ``rr``: of two.
- ``p``: 2 x 2 max-pooling.
- ``f``, at the end: the last map is flattened, in place of global average pooling: on aligned faces
  places are not alike (MobileFaceNets, arXiv 1804.07573).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_STAGE = re.compile(
    r"(?P<kind>[cd])(?P<filters>[1-9]\d{0,3})(k(?P<kernel>[1357]))?(/(?P<strides>[12]))?"
    r"|(?P<unit>rr?)|(?P<pool>p)|(?P<flatten>f)"
)


@dataclass(frozen=True)
class Stage:
    """One stage, with the name of its layers."""

    kind: Literal["conv", "depthwise", "residual", "pool", "flatten"]
    name: str
    filters: int = 0  # before the factor `width`
    kernel: int = 3
    strides: int = 1
    convolutions: int = 1  # of a residual unit


def parse_body(text: str) -> list[Stage]:
    """Read a body.

    Raises:
        ValueError: not as above, or it does not begin with a convolution.
    """
    stages: list[Stage] = []
    number = units = pools = 0
    for word in text.split():
        match = _STAGE.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no stage: c64, c64k5, c64/2, d64, r, rr, p or f")
        if stages and stages[-1].kind == "flatten":
            raise ValueError(f"{text!r}: nothing follows f")
        if match["kind"]:
            number, units, pools = number + 1, 0, 0
            stages.append(
                Stage(
                    "conv" if match["kind"] == "c" else "depthwise",
                    f"stage{number}_in",
                    int(match["filters"]),
                    int(match["kernel"] or 3),
                    int(match["strides"] or 1),
                )
            )
        elif number == 0:
            raise ValueError(f"{text!r} does not begin with a convolution")
        elif match["unit"]:
            units += 1
            name = f"stage{number}_res{units if units > 1 else ''}"
            stages.append(Stage("residual", name, convolutions=len(match["unit"])))
        elif match["flatten"]:
            stages.append(Stage("flatten", "flatten"))
        else:
            pools += 1
            stages.append(Stage("pool", f"stage{number}_pool{pools if pools > 1 else ''}"))
    if not stages:
        raise ValueError("no stage in it")
    return stages
