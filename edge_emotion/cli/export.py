"""``edge-emotion export``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from edge_emotion.cli.options import listed
from edge_emotion.cli.terminal import LeftOut, note, progress

if TYPE_CHECKING:
    from edge_emotion.chips import Advice


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Model folder (from train), a shipped model's name, or any Keras CNN as .keras or "
            ".h5 with --labels and --out."
        ),
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="Recipe, comma-separated or repeated: onnx-f32, onnx-int8, tflite-f32, "
            "tflite-int8, tflite-int8-dynamic.  [default: all but the last; with --target those "
            "that are best there]",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Where it will run: pi4 (and Pi 3, Zero 2 W), pi5, x86 (as this machine), any. "
            "Says which export to use there, and why."
        ),
    ] = None,
    calibration: Annotated[
        str,
        typer.Option(
            help="Pictures for the int8 ranges: labelled data, of which only training pictures "
            "are used, or 'card' for the model folder's own, which contain no photograph."
        ),
    ] = "card",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled pictures to check on; held-out ones are used.  "
            "[default: what of --calibration is held out, or the model folder's own]"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write.  [default: the model folder]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace exports that are there.")
    ] = False,
    max_drop: Annotated[
        float,
        typer.Option(
            help="Gate: accuracy that may be lost, in percentage points; refused if more is lost "
            "and the 95 % interval of the loss does not reach down to none."
        ),
    ] = 1.0,
    min_agreement: Annotated[
        float,
        typer.Option(
            help="Gate: share of pictures that must keep the float model's label; refused if the "
            "95 % interval of the share is below."
        ),
    ] = 0.98,
    samples: Annotated[
        int,
        typer.Option(min=32, help="Calibration pictures to draw, as many of each label."),
    ] = 300,
    seed: Annotated[int, typer.Option(help="Random seed of the draw.", min=0)] = 1,
    labels: Annotated[
        str | None,
        typer.Option(
            help="For a Keras file without a card: comma-separated, in the order of its outputs."
        ),
    ] = None,
    scale: Annotated[
        float,
        typer.Option(
            help="For a Keras file without a card: factor on pixels 0..255, as in its training "
            "(0.00392156862745098 for rescale=1/255)."
        ),
    ] = 1.0,
    offset: Annotated[
        float, typer.Option(help="For a Keras file without a card: added after --scale.")
    ] = 0.0,
    resize: Annotated[
        str | None,
        typer.Option(
            help="For a Keras file without a card: how pictures came to its size in training: "
            "nearest (as ImageDataGenerator does), box, bilinear, hamming, bicubic or lanczos, all "
            "as pillow has them, bilinear from a factor of 6 on with reducing_gap=3.  "
            "[default: bilinear]"
        ),
    ] = None,
) -> None:
    """Export a Keras model to ONNX and TFLite, float and int8, and check each file against it.

    Prints the path of each export. One outside the gates is kept with .rejected in its name, and
    the exit code is 1. Needs the extra "export".
    """
    from edge_emotion.artefacts import find_model, model_folder
    from edge_emotion.card import KERAS_NAME, check_recipe, check_resize
    from edge_emotion.errors import UsageError
    from edge_emotion.gates import Gates
    from edge_emotion.quiet import quiet

    recipes = [check_recipe(name.strip()) for entry in to or [] for name in entry.split(",")]
    advice = _advice(target)
    if labels is None and (scale, offset, resize) != (1.0, 0.0, None):
        raise UsageError(
            "--scale, --offset and --resize are for a Keras file without a card: name --labels and "
            "--out too"
        )
    if calibration == "":
        raise UsageError("--calibration: an empty path; . is this folder")
    if labels is not None and out is None:
        raise UsageError("--labels makes a new model folder: name it with --out")
    with ExitStack() as stack:
        if labels is None:
            folder = model_folder(model)
        else:
            # Beside nothing: the model reaches --out only when its pictures are known to do.
            path = find_model(model)
            if out is not None and (out / KERAS_NAME).resolve() == path.resolve():
                raise UsageError(f"{path} would be written over: name another folder as --out")
            folder = Path(stack.enter_context(TemporaryDirectory()))
            with quiet():
                from edge_emotion.exporters.adopt import adopt_model

                adopt_model(
                    path, listed(labels), folder,
                    scale=scale, offset=offset, resize=check_resize(resize or "bilinear"),
                )  # fmt: skip
        with quiet():
            from edge_emotion.exporters.export import (
                DEFAULT_RECIPES,
                export_model,
                raise_if_refused,
            )
        left_out = LeftOut()
        exported = export_model(
            folder,
            recipes or (advice.recipes if advice else DEFAULT_RECIPES),
            calibration=calibration,
            data=data,
            out=out,
            overwrite=overwrite,
            gates=Gates(max_drop, min_agreement),
            samples=samples,
            seed=seed,
            progress=progress("reading pictures"),
            log=note,
            warn=left_out,
        )
    for outcome in exported.outcomes:
        print(outcome.path)
    if advice:
        kept = {o.recipe: o.path.name for o in exported.outcomes if not o.violations}
        _recommend(advice, target, kept)
    raise_if_refused(exported)
    left_out.raise_if_any()


def _advice(target: str | None) -> Advice | None:
    if target is None:
        return None
    from edge_emotion.chips import advice_for_target
    from edge_emotion.machine import read_machine

    return advice_for_target(target, read_machine())


def _recommend(advice: Advice, target: str | None, kept: dict[str, str]) -> None:
    """Name the export to use, of those that passed their checks."""
    from edge_emotion.chips import needs_no_extra

    best = advice.choose(kept)
    if best is None:
        return
    note(f"for {target} use {best} ({kept[best]}): {advice.why}")
    base = advice.choose([recipe for recipe in kept if needs_no_extra(recipe)])
    if not needs_no_extra(best):
        other = f"; {base} ({kept[base]}) needs none" if base else ""
        note(f"{best} needs pip install 'edge-emotion[litert]' there{other}")
