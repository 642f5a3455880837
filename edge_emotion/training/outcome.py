"""What a training leaves behind: its figures, and the model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import TrainedOn, remove_exports
from edge_emotion.card import (
    CALIBRATION_NAME,
    CARD_NAME,
    KERAS_NAME,
    TRAINED_ON_NAME,
    Confidence,
    DataRecord,
    Evaluation,
    ModelCard,
    TrainingRecord,
)
from edge_emotion.errors import ModelError, UsageError
from edge_emotion.evaluation import evaluate, fit_confidence, softmax
from edge_emotion.files import replacing, sha256, tool_versions
from edge_emotion.runtimes.keras import load_keras_model
from edge_emotion.training.architectures import multiply_adds, with_softmax
from edge_emotion.training.config import Plan, TrainConfig, same_settings
from edge_emotion.training.distill import can_distill, distill_pictures
from edge_emotion.training.earlier import Earlier
from edge_emotion.training.fit import Fitted, input_spec, predict_logits
from edge_emotion.training.loading import LoadedPictures, Splits
from edge_emotion.training.plots import draw_confusion, draw_curves, draw_predictions
from edge_emotion.training.samples import Dataset

INTENDED_USE = (
    "Naming the expression that a face in a picture shows, on the device that took it, for people "
    "who know of it: art, games, photo sorting, research, accessibility. The answer is a label of "
    "an expression, not of what a person feels. Answers marked uncertain should not be acted on."
)
OUT_OF_SCOPE = (
    "Inferring emotions at work or in education (prohibited in the EU by Regulation 2024/1689, "
    "Art. 5(1)(f), save for medical and safety reasons); hiring, policing, credit, insurance, "
    "covert use. People exposed to emotion recognition must be told (Art. 50). Profiles, masks, "
    "darkness, children and drawings are outside what the figures cover."
)
PREDICTIONS_NAME = "predictions.png"
CALIBRATION_PICTURES = 64
CHECK_PICTURES = 64


def measure(
    fitted: Fitted,
    dataset: Dataset,
    loaded: LoadedPictures,
    parts: Splits,
    config: TrainConfig,
    plan: Plan,
) -> tuple[Confidence, list[Evaluation], str]:
    """Confidence from validation; figures of validation and test; the split to show."""
    confidence = Confidence()
    evaluations = []
    pixels = {name: loaded.pixels[parts[name]] for name in ("valid", "test") if len(parts[name])}
    logits = {name: predict_logits(fitted.logits_model, p) for name, p in pixels.items()}
    mirrored = {
        name: predict_logits(fitted.logits_model, p[:, :, ::-1]) for name, p in pixels.items()
    }
    if not plan.validate_on_train:
        confidence = fit_confidence(
            logits["valid"], loaded.labels[parts["valid"]], config.coverage,
            f"{dataset.name} validation",
        )  # fmt: skip
    datasets = np.array(loaded.datasets)
    for name, scores in logits.items():
        on_train = plan.validate_on_train and name == "valid"
        for source in dict.fromkeys(loaded.datasets):
            own = datasets[parts[name]] == source
            if own.any():
                evaluations.append(
                    evaluate(
                        scores[own], loaded.labels[parts[name]][own], dataset.labels,
                        temperature=confidence.temperature, mirrored=mirrored[name][own],
                        data=f"{source} {'train' if on_train else name}",
                        protocol="training-set" if on_train else "held-out",
                    )
                )  # fmt: skip
    return confidence, evaluations, "test" if len(parts["test"]) else "valid"


def recorded_config(config: TrainConfig, plan: Plan, earlier: Earlier) -> dict[str, Any]:
    """What decided a training beside the pictures, for the card."""
    protocol = {"folds": plan.folds, "validate_on_train": plan.validate_on_train}
    return config.as_dict() | protocol | earlier.record()


def check_replaces_own(
    config: TrainConfig, plan: Plan, record: DataRecord, earlier: Earlier
) -> None:
    """A run that is resumed may write its model anew, not in the place of another.

    Raises:
        UsageError: the model folder holds the model of another training.
        ModelError: its card is damaged.
    """
    if not (plan.out / CARD_NAME).exists():
        return
    card = ModelCard.read(plan.out)
    own = plan.name, record.name, record.splits
    if own != (card.name, card.data.name, card.data.splits) or not same_settings(
        recorded_config(config, plan, earlier), card.training.config
    ):
        raise UsageError(f"{plan.out} holds the model of another training: name another --out")


def is_written(fitted: Fitted, plan: Plan) -> bool:
    """Whether the model folder holds these very weights, and with them exports that may stay.

    A run that is finished may be resumed, by one who does not know that it is.
    """
    if not (plan.out / CARD_NAME).exists():
        return False
    try:
        there = load_keras_model(plan.out / KERAS_NAME).get_weights()
    except ModelError:
        return False
    own = with_softmax(fitted.logits_model).get_weights()
    return len(there) == len(own) and all(map(np.array_equal, there, own))


def name_anew(plan: Plan, log: Callable[[str], None]) -> ModelCard:
    """The card of a model that is written, with the licence, source and terms given now."""
    there = ModelCard.read(plan.out)
    licence = there.licence if plan.licence == Plan.licence else plan.licence
    data = replace(
        there.data,
        source=plan.source or there.data.source,
        licence=plan.terms or there.data.licence,
    )
    card = replace(there, licence=licence, data=data)
    if card != there:
        card.write(plan.out)
        if card.exports:
            log("the exports carry the earlier card: export --overwrite makes them anew")
    return card


def write_model(
    fitted: Fitted,
    dataset: Dataset,
    config: TrainConfig,
    plan: Plan,
    record: DataRecord,
    confidence: Confidence,
    evaluations: list[Evaluation],
    earlier: Earlier,
) -> ModelCard:
    """The Keras file, then the card."""
    model = fitted.logits_model
    with replacing(plan.out / KERAS_NAME) as path:
        with_softmax(model).save(path)
    card = ModelCard(
        name=plan.name,
        labels=dataset.labels,
        input=replace(input_spec(config), face=dataset.face),
        licence=plan.licence,
        intended_use=INTENDED_USE,
        out_of_scope=OUT_OF_SCOPE,
        training=TrainingRecord(
            architecture=config.architecture,
            parameters=int(model.count_params()),
            multiply_adds=multiply_adds(model),
            config=recorded_config(config, plan, earlier),
            epochs=len(fitted.history),
            best_epoch=fitted.best_epoch,
            command=plan.command,
            tools=tool_versions(["keras", "tensorflow", "numpy", "pillow"]),
        ),
        data=record,
        keras_sha256=sha256(plan.out / KERAS_NAME),
        confidence=confidence,
        evaluations=evaluations,
    )
    card.write(plan.out)
    return card


def write_seen(known: TrainedOn, plan: Plan) -> None:
    """Hashes of the pictures that the network was trained and validated on.

    What was exported or distilled from an earlier model there goes.
    """
    remove_exports(plan.out)
    with replacing(plan.out / TRAINED_ON_NAME) as path:
        np.savez_compressed(
            path, hashes=known.all, train=len(known.train), photographs=known.photographs
        )


def write_distilled(
    fitted: Fitted,
    plan: Plan,
    config: TrainConfig,
    progress: Callable[[str], Callable[[Iterable[int]], Iterable[int]]],
) -> None:
    """Pictures distilled from the network, to calibrate and check exports with."""
    if not can_distill(fitted.logits_model):
        return
    pictures = distill_pictures(
        fitted.logits_model,
        CALIBRATION_PICTURES + CHECK_PICTURES,
        seed=config.seed,
        progress=progress("distilling calibration pictures"),
    )
    with replacing(plan.out / CALIBRATION_NAME) as path:
        np.savez_compressed(
            path,
            calibration=pictures[:CALIBRATION_PICTURES],
            check=pictures[CALIBRATION_PICTURES:],
            seed=config.seed,
        )


def draw(
    fitted: Fitted,
    dataset: Dataset,
    loaded: LoadedPictures,
    indices: NDArray[np.int64],
    split: str,
    confidence: Confidence,
    card: ModelCard,
    plan: Plan,
) -> None:
    """Training curves and confusion matrix into the model folder; pictures stay in the run."""
    last = card.evaluations[-1]
    caveat = next((e.caveat for e in card.evaluations if e.caveat), "")
    title = plan.name
    if card.training.config["learn_all"]:
        title += f": on all labels of {dataset.name}, before it was cut to {len(card.labels)}"
    draw_curves(fitted.history, fitted.best_epoch, plan.out / "curves.png", title, caveat)
    draw_confusion(last, dataset.labels, plan.out / "confusion.png")
    chosen = np.random.default_rng(0).permutation(indices)[:24]
    logits = predict_logits(fitted.logits_model, loaded.pixels[chosen])
    draw_predictions(
        loaded.pixels[chosen],
        loaded.labels[chosen],
        softmax(logits, confidence.temperature),
        dataset.labels,
        plan.run / PREDICTIONS_NAME,
        f"{plan.name}: {last.caveat or f'{dataset.name} {split}, held out'}",
    )
