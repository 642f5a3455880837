"""``edge-emotion inspect``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer


def inspect(
    model: Annotated[
        str, typer.Argument(help="Shipped model's name, model folder, or exported file.")
    ] = "edge-cnn",
    as_json: Annotated[bool, typer.Option("--json", help="The card as it is.")] = False,
) -> None:
    """Print the card of a model: what it reads, what it was trained on, how well it does.

    An exported file has its card inside. Needs no extra.
    """
    from edge_emotion.artefacts import find_model, read_card
    from edge_emotion.model_readme import model_readme

    path = find_model(model)
    card = read_card(path)
    if not as_json:  # what a file cannot say of itself
        exports = [
            dataclasses.replace(e, bytes=path.stat().st_size) if e.bytes is None else e
            for e in card.exports
        ]
        card = dataclasses.replace(card, exports=exports)
    print(card.to_json().decode() if as_json else model_readme(card), end="")
