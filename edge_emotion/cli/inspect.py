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
    if path.is_file() and not as_json and len(card.exports) == 1:
        (itself,) = card.exports  # it cannot say how large it is with the card inside
        size = path.stat().st_size
        card = dataclasses.replace(card, exports=[dataclasses.replace(itself, bytes=size)])
    print(card.to_json().decode() if as_json else model_readme(card), end="")
