"""``edge-emotion train``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_emotion.cli.options import LabelsOption, LearnAllOption, SubjectOption, listed
from edge_emotion.cli.terminal import LeftOut, interrupted, note, progress


def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of class folders, FER+ (folder or zip), or fer2013.csv. Several are "
            "divided each by itself and trained on together; labels are those of the first."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Model folder to write.  [default: RUN/model]")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Folder for checkpoints and pictures.  [default: runs/NAME]"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model.  [default: --out's last part, or the architecture]"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of hyper-parameters; options override it.")
    ] = None,
    labels: LabelsOption = None,
    learn_all: LearnAllOption = None,
    folds: Annotated[
        int,
        typer.Option(
            help="Cross-validate with this many folds before the final training; each fold's "
            "network is kept, RUN/fold-N/model."
        ),
    ] = 0,
    validate_on_train: Annotated[
        bool,
        typer.Option(
            "--validate-on-train",
            help="The original project's protocol: validation = training pictures. Every figure "
            "is marked as a training-set figure.",
        ),
    ] = False,
    split_as: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or a shipped model's name: where the publisher has no split, what "
            "it was validated on validates and what it has not seen tests, or with --test-fraction "
            "0 trains. Training may then begin with it, or be taught by it, also with fewer labels."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoints in the run folder.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights, for the card.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Publisher of the pictures, for the card.")
    ] = None,
    terms: Annotated[str | None, typer.Option(help="Terms of the pictures, for the card.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="edge-cnn, baseline-cnn or face-resnet.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Maximum number of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per step.")] = None,
    size: Annotated[int | None, typer.Option(help="Input height and width, pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 grey, 3 RGB.")] = None,
    width: Annotated[float | None, typer.Option(help="Factor on the number of channels.")] = None,
    body: Annotated[
        str | None,
        typer.Option(
            help='Backbone of edge-cnn, stage by stage; its own is "c32/2 r p c64 r p c96 r" '
            "(docs/tune.md), with --initial that of the model."
        ),
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout rate, 0 to 1.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or adamw.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant or cosine.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Of AdamW, times the learning rate per step.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, or mixed_bfloat16: faster where the processor multiplies bfloat16 (AMX, "
            "AVX512-BF16, GPUs). The model is float32 either way."
        ),
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    balance: Annotated[
        float | None, typer.Option(help="Weight of rare labels: 0 none, 1 full.")
    ] = None,
    balance_data: Annotated[
        float | None,
        typer.Option(
            help="Of several data sets, how often the pictures of small ones are shown: 0 once an "
            "epoch, as those of the largest, 1 until each set is shown as much."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="How frequent the model's answers assume the labels to be: data, as in training, "
            "or uniform, for pictures from elsewhere."
        ),
    ] = None,
    initial: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folder with whose weights training begins (fine-tuning); may be repeated, "
            "for the mean of their weights (a model soup). A net of fewer "
            "channels is widened. For --architecture face-resnet also the folder model of the npm "
            "package @vladmandic/face-api: a recogniser that has seen 3 million faces."
        ),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folder whose answers to each augmented picture, and its mirror image, are "
            "learnt beside the labels (distillation); may be repeated."
        ),
    ] = None,
    teacher_share: Annotated[
        float | None, typer.Option(help="Share of the teachers in the loss, 0 to 1.")
    ] = None,
    teacher_views: Annotated[
        int | None,
        typer.Option(
            help="Ask the teachers about so many views of each picture, once, and show one of "
            "these in each epoch: faster where teachers are slow. 0: a new view in each epoch."
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Weights of which epoch: best (and stop early) or last.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss before stopping.")
    ] = None,
    subject: SubjectOption = None,
    valid_fraction: Annotated[
        float | None,
        typer.Option(help="Share for validation, where the publisher has no such split."),
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share for testing, where the publisher has no such split.")
    ] = None,
    refit: Annotated[
        float | None,
        typer.Option(
            help="Share of the validation pictures that train after all: for the last training, "
            "once they have chosen its options. The others validate."
        ),
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Share of pictures that are not uncertain.")
    ] = None,
    flip: Annotated[bool | None, typer.Option(help="Augment: horizontal flips.")] = None,
    rotation: Annotated[float | None, typer.Option(help="Augment: degrees.")] = None,
    zoom: Annotated[float | None, typer.Option(help="Augment: factor 1 + this.")] = None,
    framing: Annotated[
        float | None,
        typer.Option(help="Augment: a further factor 1 + this, that teachers are not shown."),
    ] = None,
    stretch: Annotated[
        float | None,
        typer.Option(help="Augment: ratio of the sides 1 + this, that teachers are not shown."),
    ] = None,
    shift: Annotated[float | None, typer.Option(help="Augment: share of the side.")] = None,
    shear: Annotated[float | None, typer.Option(help="Augment: tangent.")] = None,
    brightness: Annotated[float | None, typer.Option(help="Augment: share of the range.")] = None,
    contrast: Annotated[
        float | None, typer.Option(help="Augment: factor 1 - this to 1 + this.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Augment: exponent 1 + this.")] = None,
    blur: Annotated[float | None, typer.Option(help="Augment: share that is blurred.")] = None,
    sharpen: Annotated[
        float | None, typer.Option(help="Augment: strongest unsharp mask, of 1 pixel.")
    ] = None,
    dark: Annotated[
        float | None, typer.Option(help="Augment: share of the light missing at most.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Augment: highest deviation, share of the range.")
    ] = None,
    erase: Annotated[
        float | None, typer.Option(help="Augment: twice the share that loses a rectangle.")
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            help="Augment: each picture and its labels are mixed with another's, in shares of "
            "Beta(this, this), 0.1 to 0.4 are usual; teachers are shown the mixture."
        ),
    ] = None,
) -> None:
    """Train a Keras CNN on labelled pictures and write a model folder.

    Hyper-parameters left out come from --config, then from the architecture. Needs the extra
    "train".
    """
    arguments: dict[str, Any] = dict(locals())
    for other in (
        "data", "out", "run", "name", "config", "folds", "validate_on_train", "split_as",
        "resume", "licence", "source", "terms",
    ):  # fmt: skip
        del arguments[other]
    arguments["initial"] = [str(path) for path in initial or []] or None
    arguments["teachers"] = [str(path) for path in arguments.pop("teacher") or []] or None
    if labels is not None:
        arguments["labels"] = listed(labels)

    from edge_emotion.quiet import quiet
    from edge_emotion.training.config import Plan, make_config

    settings = make_config(config, arguments)
    with quiet():
        from edge_emotion.training.answers import ANSWERS_NAME
        from edge_emotion.training.architectures import get_architecture
        from edge_emotion.training.train import has_epochs, train_model
    get_architecture(settings.architecture)
    name = name or (settings.architecture if out is None else out.resolve().name)
    run = run or Path("runs", name)
    plan = Plan(
        out=out or run / "model",
        run=run,
        name=name,
        command=_command(
            [*data, *(teacher or []), *(initial or []), *filter(None, [split_as, config])]
        ),
        source=source,
        terms=terms,
        folds=folds,
        validate_on_train=validate_on_train,
        split_as=None if split_as is None else str(split_as),
        resume=resume,
    )
    if licence:
        plan = replace(plan, licence=licence)
    left_out = LeftOut()
    try:
        card = train_model(
            data, settings, plan,
            progress=progress, callbacks=epoch_lines, log=note, warn=left_out,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        kept = "no epoch was over, nothing is kept"
        if has_epochs(run):
            kept = f"epochs that are finished are in {run}: --resume goes on"
        elif (run / ANSWERS_NAME).exists():
            kept = f"what the teachers said is in {run}: the same command goes on"
        line = f"interrupted: {kept}"
        raise typer.Exit(interrupted(error, line)) from None
    for e in card.evaluations:
        low, high = e.accuracy_interval
        line = (
            f"{e.data}: accuracy {e.accuracy:.4f} (95 % {low:.4f} to {high:.4f}), balanced "
            f"{e.balanced_accuracy:.4f}, {e.samples} pictures"
        )
        print(f"{line}; {e.caveat}" if e.caveat else line)
    print(plan.out)
    note(f"a sample of its predictions: {plan.run / 'predictions.png'}")
    export = ["edge-emotion", "export", str(plan.out), "--calibration", str(data[0])]
    note(f"next: {shlex.join(export)}")
    left_out.raise_if_any()


def _command(paths: list[Path]) -> str:
    """The command as given, without folders that exist on this machine only.

    Args:
        paths: of which the name alone is told.
    """

    def told(word: str) -> str:
        return Path(word).name if Path(word) in paths else word

    words = []
    hidden = False
    for word in sys.argv[1:]:
        option, equals, value = word.partition("=")
        if option in ("--out", "--run", "--resume"):
            hidden = not equals and option != "--resume"
        elif hidden:
            hidden = False
        elif option.startswith("--") and equals:
            words.append(f"{option}={told(value)}")
        else:
            words.append(told(word))
    return shlex.join(["edge-emotion", *words])


def epoch_lines(title: str) -> list[Any]:
    """One line an epoch on a terminal, nothing in a pipe (history.json has it all)."""
    if not sys.stderr.isatty():
        return []
    import keras

    def line(epoch: int, logs: dict[str, float]) -> None:
        note(
            f"{title}: epoch {epoch + 1}: loss {logs['loss']:.4f}, accuracy "
            f"{logs['accuracy']:.4f}; validation loss {logs['val_loss']:.4f}, accuracy "
            f"{logs['val_accuracy']:.4f}"
        )

    return [keras.callbacks.LambdaCallback(on_epoch_end=line)]
