"""The models that ship: whole, small, and as their cards say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_emotion import ModelCard, Predictor
from edge_emotion.artefacts import read_trained_on, shipped_models
from edge_emotion.card import CALIBRATION_NAME, FAILURES_NAME, KERAS_NAME
from edge_emotion.files import sha256
from edge_emotion.model_readme import BENCH_START, model_readme
from edge_emotion.training.data import read_dataset_for
from edge_emotion.training.loading import load_pictures

from .generated import draw_face

MODELS = Path(__file__).parents[1] / "models"
CARDS = sorted(path.parent for path in MODELS.glob("*/card.json"))
SHIPPED = sorted(shipped_models().values())


def test_edge_cnn_ships() -> None:
    assert "edge-cnn" in shipped_models()
    assert ModelCard.read(MODELS / "edge-cnn").labels == ["angry", "happy", "sad"]


def test_edge_cnn_8_is_the_same_body() -> None:
    three, eight = (ModelCard.read(MODELS / name) for name in ("edge-cnn", "edge-cnn-8"))
    assert eight.labels == [
        "neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt",
    ]  # fmt: skip
    # Five more outputs: a weight for each unit before them, and a bias.
    weights = eight.training.multiply_adds - three.training.multiply_adds
    assert eight.training.parameters - three.training.parameters == weights + 5
    assert eight.input == three.input


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_files_are_those_of_the_card_and_small(folder: Path) -> None:
    card = ModelCard.read(folder)
    assert sha256(folder / KERAS_NAME) == card.keras_sha256
    total = (folder / KERAS_NAME).stat().st_size
    for export in card.exports:
        path = folder / export.file
        assert (sha256(path), path.stat().st_size) == (export.sha256, export.bytes)
        total += path.stat().st_size
    assert [e.recipe for e in card.exports] == [
        "onnx-f32", "onnx-int8", "tflite-f32", "tflite-int8",
    ]  # fmt: skip
    assert total < 4 * 1024 * 1024
    assert (folder / "model-int8.tflite").stat().st_size <= 300_000


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_every_export_was_calibrated_on_train_and_checked_on_test(folder: Path) -> None:
    for export in ModelCard.read(folder).exports:
        assert export.agreement is not None
        assert export.agreement.data.endswith("test")
        assert export.agreement.label_agreement >= 0.98
        if export.calibration:
            assert export.calibration.source.endswith("training pictures")
            assert "distilled" in export.comparison[0].data


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_its_own_pictures_and_hashes_are_there(folder: Path) -> None:
    card = ModelCard.read(folder)
    with np.load(folder / CALIBRATION_NAME) as file:
        for name in ("calibration", "check"):
            assert file[name].dtype == np.uint8
            assert file[name].shape == (64, *card.input.shape)
    seen = {s.name: s.pictures for s in card.data.splits}
    known = read_trained_on(folder)
    assert known is not None
    # More: a photograph for each crop, and in train those of the models that it goes on from.
    assert seen["valid"] <= len(known.valid) < 2 * seen["valid"]
    assert len(known.train) >= seen["train"]
    assert not set(known.valid) & set(known.train)


def test_edge_cnn_8_which_goes_on_from_edge_cnn_knows_what_it_learnt() -> None:
    three, eight = (read_trained_on(MODELS / name) for name in ("edge-cnn", "edge-cnn-8"))
    assert three is not None
    assert eight is not None
    assert not set(three.train) - set(eight.train)
    assert not set(eight.valid) & set(eight.train)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_it_predicts_with_the_base_install(folder: Path) -> None:
    prediction = Predictor(folder.name, threads=1).predict(draw_face("happy", 3))
    assert json.loads(json.dumps(prediction.probabilities)) == prediction.probabilities
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


@pytest.mark.shared
@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_it_is_right_about_as_many_faces_as_its_card_says(folder: Path, shared_data: Path) -> None:
    card = ModelCard.read(folder)
    dataset = read_dataset_for(shared_data / "ferplus.zip", card.labels)
    test = [sample for sample in dataset.samples if sample.split == "test"]
    loaded, _ = load_pictures(replace(dataset, samples=test), card.input)
    known = read_trained_on(folder)
    assert known is not None
    unseen = ~loaded.known_to(np.concatenate([known.train, known.valid]))
    predictor = Predictor(folder.name, threads=1)
    read = predictor.predict_tensors(loaded.pixels[unseen])
    right = sum(
        p.label == card.labels[label] for p, label in zip(read, loaded.labels[unseen], strict=True)
    )
    record = card.export(predictor.recipe)
    assert record is not None
    assert record.agreement is not None
    assert len(read) == record.agreement.samples > 1000
    assert right / len(read) == pytest.approx(record.agreement.accuracy_export, abs=0.002)


@pytest.mark.parametrize("folder", CARDS, ids=lambda p: p.name)
def test_its_page_is_made_from_its_card(folder: Path) -> None:
    page = (folder / "README.md").read_text("utf-8").split(f"\n## Benchmark\n\n{BENCH_START}")[0]
    failures = folder / FAILURES_NAME
    text = failures.read_text("utf-8") if failures.exists() else None
    assert page == model_readme(ModelCard.read(folder), text)


def test_no_photograph_lies_among_the_models() -> None:
    allowed = {".json", ".keras", ".onnx", ".tflite", ".npz", ".md", ".py", ".png"}
    files = [p for p in MODELS.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.suffix for p in files} <= allowed
    assert {p.name for p in files if p.suffix == ".png"} <= {"curves.png", "confusion.png"}
