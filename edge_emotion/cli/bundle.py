"""``edge-emotion bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bundle(
    out: Annotated[
        Path, typer.Option(help="New folder, or file ending in .tar.gz.", show_default=False)
    ],
    target: Annotated[
        str, typer.Option(help="pi (64-bit Raspberry Pi OS) or x86 (64-bit Linux).")
    ] = "pi",
    model: Annotated[
        str, typer.Option(help="Shipped model's name, model folder, or exported file.")
    ] = "edge-cnn",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Which export of the model.  [default: tflite-int8 for pi, onnx-int8 for x86, or "
            "what there is]"
        ),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="YuNet's file, as edge-emotion fetch yunet prints it: the Pi finds faces too.  "
            "[default: none, each picture is one face]"
        ),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose wheels to pack; may be given several times.  [default: 3.11 (bookworm) "
            "and 3.13 (trixie) for pi; 3.11, 3.12 and 3.13 for x86]"
        ),
    ] = None,
    no_wheels: Annotated[
        bool, typer.Option("--no-wheels", help="The machine has a network: pip gets the wheels.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older bundle.")
    ] = False,
) -> None:
    """Pack model, wheels and an installer for a Raspberry Pi that needs no network.

    On the Pi: tar xf FILE.tar.gz, then sh install.sh in the folder; sh install.sh --help has its
    options, among them a systemd service. One Python halves the size. Needs pip, and a network or
    wheels at hand.
    """
    from edge_emotion.bundle import make_bundle
    from edge_emotion.bundle.targets import check_pythons, find_target
    from edge_emotion.cli.terminal import note

    made = make_bundle(
        out,
        find_target(target),
        model=model,
        recipe=recipe,
        detector=detector,
        pythons=check_pythons(python) if python else None,
        wheels=not no_wheels,
        overwrite=overwrite,
        note=note,
    )
    finder = ", YuNet" if made.detector else ""
    print(
        f"{made.path}: {made.recipe}{finder}, Python {', '.join(made.pythons)}, "
        f"{made.wheels} wheel{'' if made.wheels == 1 else 's'}, "
        f"{made.bytes / 1e6:.1f} MB; installed up to {made.need_bytes / 1e6:.0f} MB"
    )
