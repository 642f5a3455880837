"""Which files of a model are measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_emotion.artefacts import find_model, open_artefact, read_card, verify
from edge_emotion.card import CARD_NAME, KERAS_NAME, ModelCard
from edge_emotion.errors import ModelError
from edge_emotion.files import sha256

from .schema import KERAS, Recorded


@dataclass(frozen=True)
class Subject:
    """One artefact that the card knows of."""

    recipe: str  # of card.RECIPES, or "keras"
    path: Path
    sha256: str | None
    recorded: list[Recorded] = field(default_factory=list)

    @property
    def missing(self) -> bool:
        """Whether the card knows of a file that is not there."""
        return not self.path.is_file()


@dataclass(frozen=True)
class Subjects:
    """A model and its files, the Keras model first."""

    card: ModelCard
    folder: Path | None  # None: a file was named whose model folder is not around it
    files: list[Subject]


def find_subjects(model: str | Path) -> Subjects:
    """Find the files of a model and check each against its card.

    Args:
        model: shipped name or model folder, for all its files; or one file, for that alone.

    Raises:
        ModelError: not a model.
        ChecksumError: a file is not the one that the card describes.
        UnknownNameError: a name that is not shipped.
    """
    path = find_model(model)
    if path.is_file():
        artefact = open_artefact(path)
        recorded = _recorded(artefact.card, artefact.recipe)
        file = Subject(artefact.recipe, path, sha256(path), recorded)
        return Subjects(artefact.card, _folder_around(path, artefact.card), [file])
    card = read_card(path)
    files = [Subject(KERAS, path / KERAS_NAME, card.keras_sha256, _recorded(card, KERAS))]
    files += [
        Subject(e.recipe, path / e.file, e.sha256, _recorded(card, e.recipe)) for e in card.exports
    ]
    for subject in files:
        if not subject.missing:
            verify(subject.path, subject.sha256)
    return Subjects(card, path, files)


def _folder_around(path: Path, card: ModelCard) -> Path | None:
    """The folder of a file, if it is this model's: it may record what the model was trained on."""
    try:
        around = ModelCard.read(path.parent)
    except ModelError:
        return None
    return path.parent if around.keras_sha256 == card.keras_sha256 else None


def _recorded(card: ModelCard, recipe: str) -> list[Recorded]:
    if recipe == KERAS:
        return [Recorded(e.data, e.samples, e.accuracy, e.protocol) for e in card.evaluations]
    export = card.export(recipe)
    agreement = export.agreement if export else None
    if agreement is None or agreement.accuracy_export is None:
        return []
    # An export is checked on held-out pictures only; see exporters.
    return [Recorded(agreement.data, agreement.samples, agreement.accuracy_export, "held-out")]


def missing_file(subject: Subject) -> str:
    """What to say of a file that the card knows of and that is not there."""
    return f"{subject.path.name} is in {CARD_NAME} but not in the folder"
