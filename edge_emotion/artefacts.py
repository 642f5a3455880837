"""From what a user names to a model file and its card: shipped name, folder, or single file."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import (
    CALIBRATION_NAME,
    CARD_NAME,
    FAILURES_NAME,
    KERAS_NAME,
    RECIPES,
    TRAINED_ON_NAME,
    ExportRecord,
    ModelCard,
)
from edge_emotion.errors import ChecksumError, ModelError, UnknownNameError, UsageError
from edge_emotion.files import sha256
from edge_emotion.runtimes import RuntimeName, runtime_name

T = TypeVar("T")

#: Which export an engine prefers. int8 first: it is the smaller file and, but for a rounding here
#: and there, gives the same bits on every processor. `bench` tells which is faster on a given one.
PREFERRED: dict[RuntimeName, tuple[str, ...]] = {
    "onnx": ("onnx-int8", "onnx-f32"),
    "litert": ("tflite-int8", "tflite-int8-dynamic", "tflite-f32"),
}


#: More of a card is not read: a few kB of zip can hold gigabytes.
MAX_CARD_BYTES = 1 << 24


@dataclass(frozen=True)
class Artefact:
    """A model file and what its card says."""

    path: Path
    card: ModelCard
    recipe: str  # one of RECIPES, or "keras"


def shipped_models() -> dict[str, Path]:
    """Name -> folder of the models that come with the package."""
    try:
        from edge_emotion import models

        root = Path(models.__file__).parent
    except ImportError:  # a script in a clone finds the clone's folder before what is installed
        root = Path(__file__).parents[1] / "models"
    folders = [path.parent for path in sorted(root.glob(f"*/{KERAS_NAME}"))]
    return {folder.name: folder for folder in folders if (folder / CARD_NAME).is_file()}


def find_model(model: str | Path) -> Path:
    """The folder or file that a user means: a path that exists, or a shipped model's name.

    What has such a name and holds no model, as a run of ``train`` may, is not meant.

    Raises:
        UnknownNameError: a bare name that is neither.
        ModelError: a path that does not exist.
        UsageError: no path.
    """
    try:
        path = Path(model)
    except TypeError as error:
        raise UsageError(f"a model is a name or a path, not {type(model).__name__}") from error
    if model == "":
        raise UsageError("a model is a name or a path, not ''; . is this folder")
    bare = path.parts == (str(model),)
    there = holds_one = False
    refused: OSError | None = None
    try:
        there = path.exists()
        holds_one = there and (path / CARD_NAME).exists()
    except OSError as error:  # no permission, or a name longer than a file system takes
        refused = error
    if there and (holds_one or not bare) and refused is None:
        return path
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)]
    if refused is not None:
        raise ModelError(f"{model}: {refused.strerror or refused}") from refused
    if there:
        return path
    if bare and not path.suffix:
        raise UnknownNameError("model", str(model), [*shipped, "or the path of a model"])
    raise ModelError(f"{model}: no such model file or folder")


def model_folder(model: str | Path) -> Path:
    """Like `find_model`, for what needs the whole folder.

    Raises:
        ModelError: there is none.
        UsageError: it is a single file.
    """
    path = find_model(model)
    if path.is_file():
        if path.name == KERAS_NAME and (path.parent / CARD_NAME).is_file():
            return path.parent
        raise UsageError(
            f"{path} is a file: name the model folder that holds {CARD_NAME}, or, for a Keras file "
            "from elsewhere, --labels and --out"
        )
    return path


def _folder_card(folder: Path) -> ModelCard:
    try:
        return ModelCard.read(folder)
    except ModelError as error:
        # A card is inside each export, too: files that somebody copied run one by one.
        files = sorted(p for kind in ("onnx", "tflite") for p in folder.glob(f"*.{kind}"))
        if not files or (folder / CARD_NAME).exists():
            raise
        raise ModelError(
            f"{folder} is not a model folder, it has no {CARD_NAME}: name one of its files, such "
            f"as {files[0]}"
        ) from error


def read_card(path: Path) -> ModelCard:
    """The card of a model folder, or the one inside an exported file. Needs no extra.

    Raises:
        ModelError: there is none.
    """
    if path.is_dir():
        return _folder_card(path)
    name = runtime_name(path)
    if name == "keras":
        if not (path.parent / CARD_NAME).is_file():
            raise ModelError(
                f"{path}: no {CARD_NAME} beside it: of a network from elsewhere edge-emotion "
                "export makes a model folder, with --labels and --out"
            )
        return ModelCard.read(path.parent)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if name == "onnx":
        from edge_emotion.runtimes.onnx import OnnxRuntime

        text: str | bytes | None = OnnxRuntime(path, 1).card_json()
    else:
        text = _card_in_zip(path)
    if text is None:
        raise ModelError(
            f"{path}: no card inside: copy it again if it was cut off, or export it again with "
            "edge-emotion export"
        )
    return ModelCard.from_json(text, str(path))


def _card_in_zip(path: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CARD_NAME) as file:
            return file.read(MAX_CARD_BYTES)
    except Exception:  # zipfile and its decompressors share no base
        return None


def open_artefact(model: str | Path, runtime: RuntimeName | None = None) -> Artefact:
    """Choose the file to run, and check it against its card.

    Args:
        model: shipped name, model folder, or file.
        runtime: engine; None: onnx for a folder, the file's own for a file.

    Raises:
        ModelError: nothing there that the engine can run.
        ChecksumError: a file of the folder is not the one that the card describes, or a single file
            is not what the card inside vouches for.
        UsageError: a file of another engine than `runtime`.
    """
    path = find_model(model)
    if path.is_file():
        own = runtime_name(path)
        if runtime is not None and runtime != own:
            raise UsageError(f"{path} is run by {own}, not by {runtime}")
        card = read_card(path)
        if own == "keras":
            verify(path, card.keras_sha256)
            return Artefact(path, card, "keras")
        if (path.parent / CARD_NAME).is_file():
            beside = ModelCard.read(path.parent)
            for known in beside.exports:
                if known.file == path.name:
                    verify(path, known.sha256)
        if len(card.exports) != 1:
            raise ModelError(f"{path}: the card inside is not of one export; export it again")
        (itself,) = card.exports
        _verify_before_card(path, itself)
        return Artefact(path, card, itself.recipe)
    card = read_card(path)
    runtime = runtime or "onnx"
    if runtime == "keras":
        verify(path / KERAS_NAME, card.keras_sha256)
        return Artefact(path / KERAS_NAME, card, "keras")
    for recipe in PREFERRED[runtime]:
        export = card.export(recipe)
        if export is not None and (path / export.file).is_file():
            verify(path / export.file, export.sha256)
            return Artefact(path / export.file, card, recipe)
    others = [e.file for e in card.exports if (path / e.file).is_file()]
    only, ways = "", []
    if others:
        engine = "litert" if runtime == "onnx" else "onnx"
        only = f", only {', '.join(others)}"
        ways.append(f'--runtime {engine} (in Python runtime="{engine}")')
    if (path / KERAS_NAME).is_file():
        ways.append(f"edge-emotion export {path} --to {PREFERRED[runtime][0]}")
    if not ways:
        raise ModelError(f"{path} holds a card without a model; made by: {card.training.command}")
    raise ModelError(f"{path}: no export that {runtime} runs{only}: {', or '.join(ways)}")


@dataclass(frozen=True)
class TrainedOn:
    """Which pictures a model has seen, by `pixel_hash`, and the photographs they were cut from."""

    train: NDArray[np.uint64]
    valid: NDArray[np.uint64]
    photographs: bool = False  # whether those of all crops are among them

    @property
    def all(self) -> NDArray[np.uint64]:
        """Train and valid."""
        return np.concatenate([self.train, self.valid])


def read_trained_on(folder: Path) -> TrainedOn | None:
    """Hashes of the pictures that the model was trained and validated on; None if not recorded."""

    def trained_on(file: Mapping[str, NDArray[Any]]) -> TrainedOn:
        hashes, train = file["hashes"], int(file["train"])
        if hashes.dtype != np.uint64 or hashes.ndim != 1 or not 0 <= train <= len(hashes):
            raise ValueError("not hashes")
        return TrainedOn(hashes[:train], hashes[train:], bool(file.get("photographs", False)))

    return read_arrays(folder / TRAINED_ON_NAME, trained_on)


def read_arrays(path: Path, take: Callable[[Mapping[str, NDArray[Any]]], T]) -> T | None:
    """What a .npz file of a model folder holds; None: there is none.

    Args:
        path: of the file.
        take: makes what is wanted of its arrays; any exception of it says that they are others.

    Raises:
        ModelError: it cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    try:
        with np.load(io.BytesIO(data)) as file:
            return take(file)
    except Exception as error:  # numpy, zip and zlib share no base
        raise ModelError(f"{path}: damaged: copy the model folder again") from error


def belonging() -> list[str]:
    """Names of the files in a model folder that belong to one Keras model."""
    exports = map(Path, RECIPES.values())
    files = [name for x in exports for name in (x.name, f"{x.stem}.rejected{x.suffix}")]
    return [*files, CALIBRATION_NAME, TRAINED_ON_NAME, FAILURES_NAME]


def remove_exports(folder: Path) -> None:
    """Remove what was exported, distilled or recorded of another Keras model in a model folder."""
    for name in belonging():
        (folder / name).unlink(missing_ok=True)


def _verify_before_card(path: Path, itself: ExportRecord) -> None:
    if itself.sha256 is None or itself.bytes is None:  # an older version exported it
        return
    with path.open("rb") as file:
        before = file.read(max(itself.bytes, 0))
    if hashlib.sha256(before).hexdigest() != itself.sha256:
        raise ChecksumError(f"{path}: damaged (SHA-256 differs): copy it again, or export again")


def verify(path: Path, expected: str | None) -> None:
    """Compare a file with the SHA-256 in its card.

    Raises:
        ModelError: there is no such file.
        ChecksumError: it is another.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if expected is not None and sha256(path) != expected:
        raise ChecksumError(
            f"{path}: not the file that {CARD_NAME} describes (SHA-256 differs): "
            "copy it again, or export again"
        )
