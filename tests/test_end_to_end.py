"""From pictures to a benchmark, through the command line, with a tiny network trained here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from edge_emotion import FaceCrop, InputSpec, ModelCard, Predictor, files
from edge_emotion.artefacts import read_trained_on
from edge_emotion.benchmarks.folds import folds_table, measure_folds
from edge_emotion.card import CALIBRATION_NAME, CARD_NAME, KERAS_NAME, RECIPES, TRAINED_ON_NAME
from edge_emotion.cli import app
from edge_emotion.errors import ChecksumError, DataError, InputError, ModelError
from edge_emotion.evaluation import compare
from edge_emotion.exporters.pictures import load_sides
from edge_emotion.files import alone
from edge_emotion.model_readme import BENCH_END, BENCH_START
from edge_emotion.runtimes import open_runtime
from edge_emotion.training.data import CROPS_NAME, CropRecord, read_dataset
from edge_emotion.training.loading import load_pictures

from . import tiny
from .generated import LABELS, draw_face, write_class_folders

pytest.importorskip("tensorflow", reason="needs the extras train and export")

pytestmark = [
    # TensorFlow and its converters use what NumPy and they themselves deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("hardly_distilled"),
]

SETTINGS = [
    "--labels", "angry,happy,sad", "--size", "32", "--width", "0.5", "--epochs", "8",
    "--batch-size", "16", "--learning-rate", "0.004", "--dropout", "0.0", "--patience", "8",
    "--rotation", "5", "--zoom", "0.05", "--shift", "0.05", "--shear", "0", "--erase", "0",
]  # fmt: skip


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("faces") / "faces", 60)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("unseen") / "unseen", 30, first_seed=5000)


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, trained; tests that change it work on a copy."""
    root = tmp_path_factory.mktemp("trained")
    result = run("train", faces, "--out", root / "model", "--run", root / "run", *SETTINGS)
    assert result.exit_code == 0, result.stderr
    return root / "model"


@pytest.fixture(scope="module")
def exported(trained: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    result = run(
        "export", trained, "--out", folder, "--to", ",".join(RECIPES),
        "--calibration", faces, "--samples", "60", "--min-agreement", "0.9", "--max-drop", "10",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [str(folder / file) for file in RECIPES.values()]
    return folder


def test_training_learns_and_leaves_a_whole_model_folder(trained: Path) -> None:
    card = ModelCard.read(trained)
    test = card.evaluations[-1]
    assert test.protocol == "held-out"
    assert test.accuracy > 0.6  # chance is 0.33
    assert sum(split.pictures for split in card.data.splits) == 180
    assert {p.name for p in trained.iterdir()} == {
        KERAS_NAME, CALIBRATION_NAME, TRAINED_ON_NAME, "card.json", "README.md", "curves.png",
        "confusion.png",
    }  # fmt: skip
    assert (trained.parent / "run" / "predictions.png").stat().st_size > 1000


def test_the_model_ends_in_logits_then_softmax(trained: Path) -> None:
    import keras

    model = keras.saving.load_model(trained / KERAS_NAME)
    assert [layer.name for layer in model.layers[-2:]] == ["logits", "probabilities"]
    assert model.layers[-2].activation.__name__ == "linear"


def test_distilled_pictures_are_no_pictures_of_the_data(trained: Path, faces: Path) -> None:
    card = ModelCard.read(trained)
    loaded, _ = load_pictures(read_dataset(faces), card.input)
    with np.load(trained / CALIBRATION_NAME) as file:
        distilled = np.concatenate([file["calibration"], file["check"]]).astype(np.int32)
    for picture in distilled[:10]:
        nearest = np.abs(loaded.pixels.astype(np.int32) - picture).mean(axis=(1, 2, 3)).min()
        assert nearest > 8  # grey levels per pixel, from the nearest training picture


def test_the_same_seed_gives_the_same_weights(trained: Path, faces: Path, tmp_path: Path) -> None:
    import keras

    result = run("train", faces, "--out", tmp_path / "m", "--run", tmp_path / "r", *SETTINGS)
    assert result.exit_code == 0, result.stderr
    one = keras.saving.load_model(trained / KERAS_NAME).get_weights()
    two = keras.saving.load_model(tmp_path / "m" / KERAS_NAME).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_history_of_a_training_that_diverged_can_be_read(tmp_path: Path) -> None:
    from edge_emotion.training.checkpoints import read_history

    rows = [
        {"loss": float(x), "val_loss": float(x), "accuracy": 0.5, "val_accuracy": 0.5}
        for x in ("1", "nan", "inf")
    ]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    found = read_history(tmp_path / "history.json")
    assert [str(row["val_loss"]) for row in found] == ["1.0", "nan", "inf"]
    for damage in json.dumps([{"loss": 1, "val_loss": 1, "accuracy": 1}]), "[" * 100_000:
        (tmp_path / "history.json").write_text(damage)
        with pytest.raises(InputError, match=r"history\.json: damaged"):
            read_history(tmp_path / "history.json")


@pytest.mark.parametrize(("between", "mixup"), [(False, 0.0), (True, 0.0), (False, 0.4)])
def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: bool, mixup: float
) -> None:
    """After an epoch, or between its weights and the history."""
    import keras

    from edge_emotion.training import checkpoints
    from edge_emotion.training.config import TrainConfig
    from edge_emotion.training.fit import fit, input_spec

    config = TrainConfig(size=16, body=tiny.BODY, epochs=3, mixup=mixup)
    loaded, _ = load_pictures(read_dataset(faces), input_spec(config))
    train, valid = np.arange(0, 180, 2), np.arange(1, 180, 2)

    class PowerCutError(Exception):
        pass

    def cut(epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            raise PowerCutError

    def cut_between(path: Path, data: bytes) -> None:
        if path.suffix == ".json" and len(json.loads(data)) == 2:
            raise PowerCutError
        files.write_bytes(path, data)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=None if between else cut)
    with monkeypatch.context() as patch:
        if between:
            patch.setattr(checkpoints, "write_bytes", cut_between)
        with pytest.raises(PowerCutError):
            fit(config, loaded, train, valid, tmp_path / "cut", LABELS, callbacks=[callback])
    resumed = fit(config, loaded, train, valid, tmp_path / "cut", LABELS, resume=True)
    unbroken = fit(config, loaded, train, valid, tmp_path / "whole", LABELS)
    assert len(resumed.history) == 3
    for one, other in zip(resumed.history, unbroken.history, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert resumed.best_epoch == unbroken.best_epoch
    for one, other in zip(
        resumed.logits_model.get_weights(), unbroken.logits_model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {
        "history.json", "kept.npz", "epoch-3.npz",
    }  # fmt: skip


def test_a_run_folder_belongs_to_one_run(faces: Path, trained: Path) -> None:
    run_folder = trained.parent / "run"
    before = {p: p.read_bytes() for p in run_folder.iterdir() if p.is_file()}
    again = run("train", faces, "--run", run_folder, *SETTINGS)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    other = run("train", faces, "--run", run_folder, "--resume", *SETTINGS, "--seed", "2")
    assert other.exit_code == 2
    assert "other settings" in other.stderr
    assert {p: p.read_bytes() for p in run_folder.iterdir() if p.is_file()} == before


def test_an_attempt_that_is_refused_leaves_the_run_folder_free(faces: Path, tmp_path: Path) -> None:
    where = ["train", faces, "--run", tmp_path / "run", "--epochs", "1"]
    refused = run(*where, "--initial", "edge-cnn", "--body", "c8 r")
    assert refused.exit_code == 2
    assert "edge-cnn: its layer stage1_in_conv is another" in refused.stderr
    again = run(*where, "--size", "16", "--body", tiny.BODY)
    assert again.exit_code == 0, again.stderr


def test_two_trainings_do_not_share_a_run_folder(faces: Path, tmp_path: Path) -> None:
    pixels = tmp_path / "run" / ".pixels.npy"  # mapped into the first one's memory
    pixels.parent.mkdir()
    pixels.write_bytes(b"of the first")
    again = ["train", faces, "--run", tmp_path / "run", "--out", tmp_path / "m", "--resume"]
    small = ["--size", "16", "--body", tiny.BODY, "--epochs", "1"]
    program = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "run"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as first:  # fmt: skip
        assert first.stdout is not None
        first.stdout.readline()
        second = run(*again, *small)
        assert second.exit_code == 2
        assert "another edge-emotion train is at work in" in second.stderr
        assert pixels.read_bytes() == b"of the first"
        first.kill()  # as by a power cut
    assert run(*again, *small).exit_code == 0


def test_two_trainings_do_not_share_a_model_folder(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    out.mkdir()
    arguments = ["train", faces, "--run", tmp_path / "run", "--out", out, "--size", "16"]
    with alone(out, "train", "--out"):
        second = run(*arguments, "--body", tiny.BODY, "--epochs", "1")
    assert second.exit_code == 2
    assert f"another edge-emotion train is at work in {out}: name another --out" in second.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("option", ["--run", "--out"])
def test_a_training_writes_nothing_among_its_pictures(
    faces: Path, tmp_path: Path, option: str
) -> None:
    other = {"--run": "--out", "--out": "--run"}[option]
    place = faces / "happy" / "new"
    result = run("train", faces, option, place, other, tmp_path / "elsewhere", "--epochs", "1")
    assert result.exit_code == 2
    assert f"{option} {place} is among the pictures: name a folder outside of" in result.stderr
    assert not place.exists()
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_is_not_resumed_with_other_pictures_or_damaged(
    unseen: Path, faces: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.parent / "run", tmp_path / "run")
    again = ["--run", tmp_path / "run", "--resume", *SETTINGS]
    other = run("train", unseen, "--out", tmp_path / "m", *again)
    assert other.exit_code == 2
    assert "other settings or pictures" in other.stderr
    (tmp_path / "run" / "history.json").write_text("[1, 2]")
    damaged = run("train", faces, "--out", tmp_path / "m", *again)
    assert damaged.exit_code == 4
    assert "damaged" in damaged.stderr
    assert not list((tmp_path / "m").glob("*"))


def test_training_does_not_replace_a_model(faces: Path, trained: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in trained.iterdir()}
    result = run("train", faces, "--out", trained, "--run", tmp_path / "r", *SETTINGS)
    assert result.exit_code == 2
    assert "holds a model" in result.stderr
    assert {p: p.read_bytes() for p in trained.iterdir()} == before


def test_resuming_a_run_does_not_replace_the_model_of_another(faces: Path, tmp_path: Path) -> None:
    small = ["--size", "16", "--body", tiny.BODY, "--epochs", "1", "--resume"]
    first = ["train", faces, "--run", tmp_path / "a", *small]
    assert run(*first).exit_code == 0
    assert run(*first).exit_code == 0  # its own may be written anew
    model = tmp_path / "a" / "model"
    before = {p: p.read_bytes() for p in model.iterdir()}
    for other in (
        ["train", faces, "--run", tmp_path / "b", "--out", model, *small, "--seed", "2"],
        ["train", faces, "--run", tmp_path / "a", *small, "--prior", "uniform"],
        ["train", faces, "--run", tmp_path / "a", *small, "--name", "another"],
    ):
        result = run(*other)
        assert result.exit_code == 2
        assert "holds the model of another training: name another --out" in result.stderr
        assert {p: p.read_bytes() for p in model.iterdir()} == before


def test_resuming_what_is_finished_leaves_exports_and_notes(
    faces: Path, exported: Path, trained: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    shutil.copytree(trained.parent / "run", tmp_path / "run")
    (model / "failure_cases.md").write_text("Seen: none.")
    before = {p.name: p.read_bytes() for p in model.iterdir() if p.suffix != ".png"}
    result = run("train", faces, "--out", model, "--run", tmp_path / "run", "--resume", *SETTINGS)
    assert result.exit_code == 0, result.stderr
    assert "holds this model already: its exports stay" in result.stderr
    after = {p.name: p.read_bytes() for p in model.iterdir() if p.suffix != ".png"}
    assert b"Seen: none." in after.pop("README.md")
    del before["README.md"]
    assert after == before


def test_learning_all_labels_for_a_model_of_some(faces: Path, tmp_path: Path) -> None:
    result = run(
        "train", faces, "--run", tmp_path / "r", "--labels", "sad,happy", "--learn-all",
        "--size", "16", "--body", tiny.BODY, "--epochs", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    card = ModelCard.read(tmp_path / "r" / "model")
    assert card.labels == ["sad", "happy"]
    trained_on = card.data.splits[0]
    assert set(trained_on.per_label) == set(LABELS)
    test = card.evaluations[-1]
    assert test.samples == sum(card.data.splits[-1].per_label[label] for label in ("sad", "happy"))
    assert np.array(test.confusion).shape == (2, 2)


def test_an_interruption_at_the_end_leaves_no_card_without_its_training_pictures(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that does not know them could not keep them out of its checks."""

    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    arguments = ["train", faces, "--run", tmp_path / "r", "--size", "16", "--body", tiny.BODY]
    with monkeypatch.context() as patch:
        patch.setattr("edge_emotion.training.outcome.distill_pictures", interrupt)
        assert run(*arguments, "--epochs", "1").exit_code == 130
    left = {path.name for path in (tmp_path / "r" / "model").iterdir()}
    assert left == {TRAINED_ON_NAME}
    whole = run(*arguments, "--epochs", "1", "--resume")
    assert whole.exit_code == 0, whole.stderr
    assert ModelCard.read(tmp_path / "r" / "model").training.epochs == 1


def test_several_data_sets_are_measured_each_by_itself(faces: Path, tmp_path: Path) -> None:
    """Whole pictures beside crops with surroundings; the same number is the same person."""
    crops = write_class_folders(tmp_path / "crops", 40, first_seed=7000)
    square = FaceCrop(margin=2.2, drop=0.3)
    record = CropRecord(1.5, square, "yunet", 120, 0)
    (crops / CROPS_NAME).write_bytes(msgspec.json.encode(record))
    result = run(
        "train", faces, crops, "--run", tmp_path / "r", "--subject", r"/\d+", "--size", "16",
        "--body", tiny.BODY, "--epochs", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    card = ModelCard.read(tmp_path / "r" / "model")
    assert card.input == InputSpec(16, 16, 1, face=square)  # what prediction cuts out as well
    assert card.data.name == "faces and crops"
    assert card.data.grouped["of a subject seen before"] == 2 * 60 + 2 * 40
    left = sum(split.pictures for split in card.data.splits)
    leaked = sum(card.data.dropped.values())  # two drawings may be near each other by chance
    assert left + leaked == 180 + 120
    assert leaked % 3 == 0
    assert leaked < 30
    measured = {e.data: e.samples for e in card.evaluations}
    assert list(measured) == ["faces valid", "crops valid", "faces test", "crops test"]
    assert all(samples % 3 == 0 for samples in measured.values())  # nobody is torn apart
    assert len(result.stdout.splitlines()) == 5
    with np.load(tmp_path / "r" / "model" / CALIBRATION_NAME) as file:
        assert file["calibration"].shape[1:] == (16, 16, 1)
    wrong = run("train", faces, "--run", tmp_path / "w", "--subject", "person(")
    assert wrong.exit_code == 2
    assert "is no regular expression" in wrong.stderr


def test_folds_and_the_original_protocol_say_what_they_are(faces: Path, tmp_path: Path) -> None:
    small = ["--size", "16", "--body", tiny.BODY, "--epochs", "1", "--channels", "1"]
    folds = run("train", faces, "--run", tmp_path / "f", "--folds", "2", *small)
    assert folds.exit_code == 0, folds.stderr
    card = ModelCard.read(tmp_path / "f" / "model")
    assert card.evaluations[0].protocol == "cross-validation"
    assert card.evaluations[0].samples == 180  # each picture held out once
    original = run("train", faces, "--run", tmp_path / "o", "--validate-on-train", *small)
    assert original.exit_code == 0, original.stderr
    assert "training-set figure" in original.stdout
    card = ModelCard.read(tmp_path / "o" / "model")
    assert [e.protocol for e in card.evaluations] == ["training-set"]
    assert card.confidence.samples == 0  # nothing was fitted on training pictures
    assert "training-set figure" in (tmp_path / "o" / "model" / "README.md").read_text()
    both = run("train", faces, "--run", tmp_path / "b", "--validate-on-train", "--folds", "3")
    assert both.exit_code == 2


def test_folds_divide_what_the_publisher_does_not_test_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_class_folders(data / "train", 20)
    write_class_folders(data / "test", 4, first_seed=5000)
    small = ["--size", "16", "--body", tiny.BODY, "--epochs", "1", "--channels", "1"]
    trained = run("train", data, "--run", tmp_path / "run", "--folds", "2", *small)
    assert trained.exit_code == 0, trained.stderr
    folds = measure_folds([tmp_path / f"run/fold-{n}/model" for n in (1, 2)], data)
    whole = ModelCard.read(tmp_path / "run/model").evaluations[0]
    assert 50 < folds.pictures == whole.samples < 60  # some are nearly the same as one of test
    figures = folds.measured["keras"].evaluation
    assert figures is not None
    assert figures.confusion == whole.confusion


def test_folds_are_exported_and_scored_on_what_each_has_not_seen(
    faces: Path, unseen: Path, tmp_path: Path
) -> None:
    small = ["--size", "16", "--body", tiny.BODY, "--epochs", "3", "--channels", "1"]
    trained = run("train", faces, "--run", tmp_path, "--folds", "2", *small)
    assert trained.exit_code == 0, trained.stderr
    whole = ModelCard.read(tmp_path / "model").evaluations[0]
    models = [tmp_path / f"fold-{number}" / "model" for number in (1, 2)]
    own = [ModelCard.read(model).evaluations[0] for model in models]
    assert sum(e.samples for e in own) == whole.samples == 180
    assert sum(e.samples * e.accuracy for e in own) == pytest.approx(180 * whole.accuracy)
    for model in models:
        result = run(
            "export", model, "--to", "onnx-int8", "--calibration", faces,
            "--min-agreement", "0.5", "--max-drop", "50",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr

    folds = measure_folds(models, faces)
    assert folds.reference == "keras"
    assert list(folds.measured) == ["keras", "onnx-int8"]
    float_figures = folds.measured["keras"].evaluation
    assert float_figures is not None
    assert float_figures.confusion == whole.confusion
    assert float_figures.ece == pytest.approx(whole.ece, abs=1e-4)  # each fold's own temperature
    assert folds.by_fold["keras"] == pytest.approx([e.accuracy for e in own])
    agreement = folds.measured["onnx-int8"].agreement
    assert agreement is not None
    assert agreement.samples == 180
    table = folds_table(folds)
    assert f"| keras | {whole.accuracy:.1%} (" in table

    with pytest.raises(DataError, match="more than one of the models"):
        measure_folds([models[0], models[0]], faces)
    with pytest.raises(DataError, match="more than one of the models"):
        measure_folds(models, unseen)  # not the data that they divided
    (models[1] / TRAINED_ON_NAME).unlink()
    with pytest.raises(ModelError, match="does not record"):
        measure_folds(models, faces)


def test_every_export_takes_uint8_and_gives_the_float_models_logits(
    exported: Path, unseen: Path
) -> None:
    card = ModelCard.read(exported)
    assert [e.recipe for e in card.exports] == list(RECIPES)
    loaded, _ = load_pictures(read_dataset(unseen), card.input)
    batch = np.ascontiguousarray(loaded.pixels)
    from edge_emotion.runtimes import open_runtime

    float_logits = open_runtime(exported / KERAS_NAME).logits(batch)
    spread = np.ptp(float_logits)
    for recipe, file in RECIPES.items():
        logits = open_runtime(exported / file, threads=1).logits(batch)
        assert logits.shape == (len(batch), 3)
        assert logits.dtype == np.float32
        tolerance = 1e-4 if recipe.endswith("f32") else 0.1
        assert np.abs(logits - float_logits).max() < tolerance * spread, recipe


def test_exports_carry_their_card_and_stand_alone(exported: Path, tmp_path: Path) -> None:
    card = ModelCard.read(exported)
    picture = draw_face("happy", 9999)
    expected = Predictor(exported, runtime="keras").predict(picture)
    for recipe, file in RECIPES.items():
        alone = shutil.copy(exported / file, tmp_path / f"renamed{Path(file).suffix}")
        predictor = Predictor(alone, threads=1)
        assert predictor.recipe == recipe
        assert predictor.card.labels == list(LABELS)
        assert predictor.card.exports[0].agreement == card.export(recipe).agreement  # type: ignore[union-attr]
        prediction = predictor.predict(picture)
        assert prediction.probabilities == pytest.approx(expected.probabilities, abs=0.1)
        before = predictor.card.exports[0].bytes
        assert before is not None
        damaged = bytearray(Path(alone).read_bytes())
        damaged[before // 2] ^= 1  # a weight's
        Path(alone).write_bytes(damaged)
        with pytest.raises(ChecksumError, match=r"renamed\.\w+: damaged"):
            Predictor(alone, threads=1)
    shown = run("inspect", tmp_path / "renamed.tflite", "--json")
    assert ModelCard.from_json(shown.stdout, "stdout").name == card.name


def test_export_is_checked_on_pictures_that_were_held_out(exported: Path, faces: Path) -> None:
    card = ModelCard.read(exported)
    test = next(s for s in card.data.splits if s.name == "test")
    for export in card.exports:
        assert export.agreement is not None
        assert export.agreement.samples == test.pictures
        assert export.agreement.accuracy_drop is not None
        # The same pictures and labels as those of the training's own figure.
        assert export.agreement.accuracy_float == pytest.approx(card.evaluations[-1].accuracy)
    assert card.evaluations[-1].data.endswith("test")
    int8 = card.export("onnx-int8")
    assert int8 is not None
    assert int8.calibration is not None
    assert (int8.calibration.kind, int8.calibration.samples) == ("pictures", 60)
    assert "distilled" in int8.comparison[0].data  # what the other calibration would cost
    assert int8.agreement is not None
    differs = int8.agreement.mean_probability_difference
    assert int8.comparison[0].mean_probability_difference != differs

    sides = load_sides(faces, card, read_trained_on(exported))
    pixels = sides.loaded.pixels[sides.held_out]
    one, other = (
        open_runtime(exported / name).logits(pixels) for name in (KERAS_NAME, RECIPES["onnx-int8"])
    )
    again = compare(
        one, other, data="", labels=sides.loaded.labels[sides.held_out],
        temperature=card.confidence.temperature,
    )  # fmt: skip
    assert differs == pytest.approx(again.mean_probability_difference, rel=1e-3)
    assert int8.agreement.accuracy_drop == again.accuracy_drop


def test_export_with_the_cards_own_pictures_needs_no_data(trained: Path, tmp_path: Path) -> None:
    result = run("export", trained, "--out", tmp_path / "m", "--to", "onnx-int8,tflite-int8",
                 "--min-agreement", "0.5")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    record = ModelCard.read(tmp_path / "m").export("tflite-int8")
    assert record is not None
    assert record.calibration is not None
    assert record.calibration.kind == "distilled"
    assert record.agreement is not None
    assert record.agreement.accuracy_drop is None  # they have no labels


def test_pictures_that_check_calibrate_nothing_where_no_record_tells_them_apart(
    trained: Path, unseen: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m"
    shutil.copytree(trained, model, ignore=shutil.ignore_patterns(TRAINED_ON_NAME))
    result = run("export", model, "--to", "onnx-int8", "--data", unseen, "--samples", "40",
                 "--min-agreement", "0.5", "--max-drop", "20")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    record = ModelCard.read(model).export("onnx-int8")
    assert record is not None
    assert record.agreement is not None
    assert record.agreement.samples == 90
    assert record.comparison == []


def test_export_does_not_overwrite_unless_told(exported: Path) -> None:
    before = (exported / RECIPES["onnx-f32"]).read_bytes()
    result = run("export", exported, "--to", "onnx-f32")
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert (exported / RECIPES["onnx-f32"]).read_bytes() == before


@pytest.mark.parametrize("left_out", [KERAS_NAME, CARD_NAME])
def test_export_does_not_replace_another_model_unless_told(
    exported: Path, tmp_path: Path, left_out: str
) -> None:
    """One that is run without its Keras file, as on a board, is a model all the same."""
    out = tmp_path / "other"
    shutil.copytree(exported, out, ignore=shutil.ignore_patterns(left_out))
    if left_out == KERAS_NAME:
        replace(ModelCard.read(out), name="other", keras_sha256="0" * 64).write(out)
    else:
        (out / KERAS_NAME).write_bytes(b"another")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    result = run("export", exported, "--out", out, "--to", "onnx-f32")
    assert result.exit_code == 2
    assert "another model's" in result.stderr
    assert "--overwrite" in result.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("own", ["calibration.npz", "trained_on.npz", "failure_cases.md"])
def test_export_removes_nothing_of_the_user_s(exported: Path, tmp_path: Path, own: str) -> None:
    out = tmp_path / "project"
    out.mkdir()
    (out / own).write_bytes(b"mine")
    result = run("export", exported, "--out", out, "--to", "onnx-f32")
    assert (result.exit_code, own in result.stderr) == (2, True)
    assert (out / own).read_bytes() == b"mine"


def test_an_export_more_leaves_what_was_measured_of_the_others(
    exported: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(exported, model, ignore=shutil.ignore_patterns(RECIPES["tflite-f32"]))
    page = model / "README.md"
    place = f"{BENCH_START}\nmeasured\n{BENCH_END}"
    page.write_text(f"{page.read_text('utf-8')}\n## Benchmark\n\n{place}\n", "utf-8")
    card = ModelCard.read(model)
    kept = [record for record in card.exports if record.recipe != "tflite-f32"]
    replace(card, exports=kept).write(model)
    assert run("export", model, "--to", "tflite-f32").exit_code == 0
    assert place in page.read_text("utf-8")


def test_export_adds_to_a_folder_of_the_same_model_without_its_keras_file(
    exported: Path, tmp_path: Path
) -> None:
    out = tmp_path / "board"
    shutil.copytree(exported, out, ignore=shutil.ignore_patterns(KERAS_NAME, RECIPES["onnx-f32"]))
    before = ModelCard.read(out).exports
    result = run("export", exported, "--out", out, "--to", "onnx-f32")
    assert result.exit_code == 0, result.stderr
    assert {e.recipe for e in ModelCard.read(out).exports} == {e.recipe for e in before}
    assert all((out / file).exists() for file in RECIPES.values())


def test_a_gate_that_is_missed_rejects_the_export(
    trained: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer's weights are lost on the way: converts without a word, and is caught."""
    import onnx

    from edge_emotion.exporters import export as module

    right = module.quantize_onnx

    def lossy(model: onnx.ModelProto, calibration: NDArray[np.uint8]) -> onnx.ModelProto:
        # A copy: the float export keeps its weights.
        model = onnx.ModelProto.FromString(model.SerializeToString())
        (weights,) = (x for x in model.graph.initializer if list(x.dims)[1:] == [3])
        lost = np.zeros_like(onnx.numpy_helper.to_array(weights))
        weights.CopyFrom(onnx.numpy_helper.from_array(lost, weights.name))
        return right(model, calibration)

    monkeypatch.setattr(module, "quantize_onnx", lossy)
    result = run("export", trained, "--out", tmp_path / "m", "--to", "onnx-int8,onnx-f32",
                 "--calibration", faces, "--samples", "60")  # fmt: skip
    assert result.exit_code == 1
    assert "onnx-int8" in result.stderr.splitlines()[-1]
    names = {p.name for p in (tmp_path / "m").glob("*.onnx")}
    assert names == {"model-int8.rejected.onnx", "model-f32.onnx"}  # the others are kept
    assert [e.recipe for e in ModelCard.read(tmp_path / "m").exports] == ["onnx-f32"]


def test_calibrating_and_checking_on_the_same_pictures_is_refused(
    trained: Path, unseen: Path, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    for name in (KERAS_NAME, "card.json"):  # without the record of what it was trained on
        shutil.copy(trained / name, tmp_path / "m" / name)
    result = run("export", tmp_path / "m", "--calibration", unseen, "--data", unseen)
    assert result.exit_code == 2
    assert "are also pictures of the check (unseen pictures), which needs" in result.stderr


def test_two_exports_do_not_share_a_folder(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["export", trained, "--to", "onnx-f32", "--out", out]
    with alone(out, "export", "--out"):
        second = run(*arguments)
        assert second.exit_code == 2
        assert f"another edge-emotion export is at work in {out}" in second.stderr
        assert list(out.iterdir()) == []
    assert run(*arguments).exit_code == 0


def test_a_few_pictures_on_both_sides_check_and_do_not_calibrate(
    trained: Path, faces: Path, unseen: Path, tmp_path: Path
) -> None:
    """As in FER2013, with a model that does not record what it was trained on."""
    model, both = tmp_path / "m", tmp_path / "both"
    shutil.copytree(trained, model, ignore=shutil.ignore_patterns(TRAINED_ON_NAME))
    shutil.copytree(faces, both)
    for path in sorted((unseen / "sad").iterdir())[:3]:
        shutil.copy(path, both / "sad" / f"twice-{path.name}")
    # Read as a crop with surroundings it is another tensor, of the same picture.
    record = CropRecord(1.5, FaceCrop(), "yunet", 180, 0)
    (both / CROPS_NAME).write_bytes(msgspec.json.encode(record))
    made = ["--to", "onnx-int8", "--calibration", both, "--data", unseen, "--samples", "300",
            "--min-agreement", "0.5", "--max-drop", "20"]  # fmt: skip
    result = run("export", model, *made)
    assert result.exit_code == 0, result.stderr
    assert (
        "3 of 183 training pictures are also in unseen pictures: none calibrates" in result.stderr
    )
    record = ModelCard.read(model).export("onnx-int8")
    assert record is not None
    assert record.calibration is not None
    assert record.calibration.samples == 180
    assert record.agreement is not None
    assert record.agreement.samples == 90
    # Nothing is calibrated for floats.
    made[1] = "onnx-f32"
    assert "none calibrates" not in run("export", model, *made).stderr


def test_what_was_converted_is_told_when_another_recipe_fails(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_emotion.errors import ConversionError
    from edge_emotion.exporters import export as module

    def fails(*_: object) -> bytes:
        raise ConversionError("tflite-f32: cannot be")

    monkeypatch.setattr(module, "convert_tflite", fails)
    out = tmp_path / "m"
    result = run("export", trained, "--out", out, "--to", "tflite-f32,onnx-f32", "--target", "any")
    assert result.exit_code == 1
    assert result.stdout.split() == [str(out / RECIPES["onnx-f32"])]
    assert result.stderr.splitlines()[-1] == "edge-emotion: tflite-f32: cannot be"


def test_an_interrupted_copy_of_the_model_is_gone_over(trained: Path, tmp_path: Path) -> None:
    """The card comes last; without it there is nothing to keep."""
    out = tmp_path / "m"
    out.mkdir()
    shutil.copy(trained / KERAS_NAME, out)
    result = run("export", trained, "--out", out, "--to", "onnx-f32", "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert [e.recipe for e in ModelCard.read(out).exports] == ["onnx-f32"]


def test_a_changed_keras_file_is_not_exported(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "m")
    with (tmp_path / "m" / KERAS_NAME).open("ab") as file:
        file.write(b"x")
    result = run("export", tmp_path / "m", "--to", "onnx-f32")
    assert result.exit_code == 1
    assert "SHA-256" in result.stderr


def test_an_unknown_recipe_suggests_the_nearest(trained: Path) -> None:
    result = run("export", trained, "--to", "tflite-int4")
    assert result.exit_code == 2
    assert "did you mean 'tflite-int8'" in result.stderr


@pytest.mark.parametrize(
    ("head", "name", "scaling"),
    [("softmax", "own.keras", [1 / 255]), ("Softmax", "own.h5", [1 / 127.5, "--offset", -1])],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_keras_model_from_elsewhere_is_exported_with_its_scale(
    faces: Path, unseen: Path, tmp_path: Path, head: str, name: str, scaling: list[Any]
) -> None:
    import keras
    from keras import layers

    foreign = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation=layers.Softmax() if head == "Softmax" else head),
        ]
    )
    foreign.save(tmp_path / name)
    result = run(
        "export", tmp_path / name, "--labels", "angry,happy,sad", "--scale", *scaling,
        "--out", tmp_path / "m", "--calibration", faces, "--data", unseen, "--to",
        "onnx-f32,tflite-int8", "--min-agreement", "0", "--max-drop", "100", "--resize", "nearest",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr  # whatever random weights and int8 guess
    assert "cannot be told from guessing: see that --scale and --offset" in result.stderr
    assert ModelCard.read(tmp_path / "m").input.resize == "nearest"

    # Another export of the same file joins the first; with other labels it is another model.
    again = [
        "export", tmp_path / name, "--scale", *scaling, "--resize", "nearest", "--out",
        tmp_path / "m", "--data", unseen, "--to", "tflite-f32", "--labels",
    ]  # fmt: skip
    exports = {path: path.read_bytes() for path in (tmp_path / "m").glob("model-*")}
    refused = run(*again, "happy,angry,sad")
    assert (refused.exit_code, "another model's card.json" in refused.stderr) == (2, True)
    more = run(*again, "angry,happy,sad")
    assert more.exit_code == 0, more.stderr
    recipes = {record.recipe for record in ModelCard.read(tmp_path / "m").exports}
    assert recipes == {"onnx-f32", "tflite-int8", "tflite-f32"}
    assert exports.items() <= {p: p.read_bytes() for p in (tmp_path / "m").glob("model-*")}.items()

    # The file that was named is not the place for the result.
    (tmp_path / "k").mkdir()
    foreign.save(tmp_path / "k" / KERAS_NAME)
    before = (tmp_path / "k" / KERAS_NAME).read_bytes()
    over = run(
        "export", tmp_path / "k" / KERAS_NAME, "--labels", "angry,happy,sad", "--out",
        tmp_path / "k", "--overwrite", "--data", unseen,
    )  # fmt: skip
    assert (over.exit_code, (tmp_path / "k" / KERAS_NAME).read_bytes()) == (2, before)
    assert "would be written over: name another folder as --out" in over.stderr
    picture = np.asarray(draw_face("sad", 1).resize((32, 32)))
    pixels = picture[None].astype(np.float32)
    expected = foreign(pixels / 255 if len(scaling) == 1 else pixels / 127.5 - 1).numpy()[0]
    got = Predictor(tmp_path / "m" / "model-f32.onnx").predict(picture).probabilities
    assert list(got.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    wrong = run("export", tmp_path / name, "--labels", "a,b", "--out", tmp_path / "w")
    assert wrong.exit_code == 2


def test_a_keras_file_is_the_same_model_in_every_process(tmp_path: Path) -> None:
    import keras
    from keras import layers

    keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)]
    ).save(tmp_path / "own.keras")
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from edge_emotion.exporters.adopt import adopt_model\n"
        "adopt_model(Path(sys.argv[1]), ['a', 'b'], Path(sys.argv[2]), scale=0.5)"
    )
    hashes = []
    for name, size in ("one", 1), ("two", 10_000):  # so that addresses in memory are others
        out = tmp_path / name
        out.mkdir()
        code = f"held = [object() for _ in range({size})]\n{program}"
        command = [sys.executable, "-c", code, str(tmp_path / "own.keras"), str(out)]
        subprocess.run(command, check=True, capture_output=True)
        hashes.append(ModelCard.read(out).keras_sha256)
    assert hashes[0] == hashes[1]
    model = keras.saving.load_model(tmp_path / "two" / KERAS_NAME)
    assert model.count_params() == 2 * 9 + 2 + 2 * 36 * 2 + 2


def test_a_keras_model_that_cannot_be_exported_leaves_nothing(unseen: Path, tmp_path: Path) -> None:
    import keras
    from keras import layers

    image = keras.Input((8, 8, 1))
    flat = layers.Flatten()(image)
    one, two = (layers.Dense(3, activation="softmax")(flat) for _ in range(2))
    keras.Model(image, [one, two]).save(tmp_path / "two.keras")
    lost = keras.Model(image, one)
    lost.layers[-1].set_weights([np.full((64, 3), np.nan), np.zeros(3)])
    lost.save(tmp_path / "lost.keras")
    wide = keras.Sequential(
        [keras.Input((1, 4097, 1)), layers.GlobalMaxPooling2D(), layers.Dense(3)]
    )
    wide.save(tmp_path / "wide.keras")
    for name, change in (
        ("int8", lambda model: model.layers[-1].quantize("int8")),
        ("lora", lambda model: model.layers[-1].enable_lora(2)),
    ):
        head = layers.Dense(3, activation="softmax")
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), head])
        change(model)
        model.save(tmp_path / f"{name}.keras")
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([layers.Flatten(), layers.Dense(3)]).save(tmp_path / "unbuilt.keras")
    failures = (("two", "2 outputs"), ("lost", "no numbers"), ("wide", "not within 1..4096"),
                ("unbuilt", "was never built"), ("int8", "is quantised or has LoRA weights"),
                ("lora", "is quantised or has LoRA weights"))  # fmt: skip
    for name, words in failures:
        result = run(
            "export", tmp_path / f"{name}.keras", "--labels", "angry,happy,sad", "--out",
            tmp_path / name, "--data", unseen, "--to", "onnx-f32",
        )  # fmt: skip
        assert result.exit_code == 4
        assert words in result.stderr
        assert not (tmp_path / name).exists()
    keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Lambda(lambda x: x), layers.Flatten(), layers.Dense(3)]
    ).save(tmp_path / "code.keras")

    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    keras.Sequential([keras.Input((8, 8, 1)), Doubled(), layers.Flatten(), layers.Dense(3)]).save(
        tmp_path / "class.keras"
    )
    unread = {
        "code.keras": "a Lambda layer is Python code",
        "class.keras": "the class 'Doubled' is not Keras' own",
        ".": "is a folder: name the .keras",
    }
    for name, words in unread.items():
        result = run("export", tmp_path / name, "--labels", "a,b,c", "--out", tmp_path / "o")
        assert (result.exit_code, words in result.stderr) == (4, True)
    result = run("export", tmp_path / "wide.keras", "--out", tmp_path / "o")
    assert (result.exit_code, "--labels and --out" in result.stderr) == (2, True)


def test_a_place_that_takes_no_export_is_said_before_any_is_made(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = run("export", trained, "--out", tmp_path / "file")
    assert (result.exit_code, "is no folder" in result.stderr) == (5, True)
    assert "checking on" not in result.stderr


def test_a_check_on_few_pictures_says_so_and_damaged_ones_make_the_exit_code_4(
    trained: Path, tmp_path: Path
) -> None:
    few = write_class_folders(tmp_path / "few", 4, first_seed=8000)
    (few / "sad" / "000.png").write_bytes(b"no picture")
    result = run("export", trained, "--data", few, "--out", tmp_path / "m", "--to", "onnx-f32")
    assert result.exit_code == 4
    words = "few pictures not trained on\nwith so few a loss of up to 27.3 points passes"
    assert f"checking on 11 pictures: {words}" in result.stderr
    assert "1 picture could not be read; the others were used" in result.stderr
    assert result.stdout == f"{tmp_path / 'm' / 'model-f32.onnx'}\n"


def test_a_label_that_no_picture_has_is_said(trained: Path, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 10, first_seed=8000)
    (data / "sad").rename(data / "fear")
    result = run("export", trained, "--data", data, "--out", tmp_path / "m", "--to", "onnx-f32")
    assert result.exit_code == 0, result.stderr
    assert (
        f"{data}: no picture of sad; 10 of labels that the model does not have are left out\n"
    ) in result.stderr


def test_bench_tells_the_exports_apart(exported: Path, faces: Path, tmp_path: Path) -> None:
    result = run(
        "bench", exported, "--data", faces, "--quick", "--rounds", "1", "--runs", "20",
        "--threads", "1", "--json", tmp_path / "b.json", "--html", tmp_path / "b.html",
        "--gate", "--max-drop", "10", "--min-agreement", "0.9",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    keras_file, *exports = report["artefacts"]
    assert [a["recipe"] for a in exports] == list(RECIPES)
    card = ModelCard.read(exported)
    assert (keras_file["recipe"], keras_file["evaluation"]["accuracy"]) == (
        "keras", pytest.approx(card.evaluations[-1].accuracy),
    )  # fmt: skip
    differences = set()
    for export in exports:
        recorded = card.export(export["recipe"])
        assert recorded is not None
        assert recorded.agreement is not None
        found = export["agreement"]
        assert found["accuracy_export"] == pytest.approx(recorded.agreement.accuracy_export)
        difference = recorded.agreement.mean_probability_difference
        assert found["mean_probability_difference"] == pytest.approx(difference, rel=1e-2, abs=1e-7)
        differences.add(round(difference, 6))
    assert len(differences) >= 3  # float, and int8 of each engine
    test = next(s for s in card.data.splits if s.name == "test")
    assert report["data"]["samples"] == test.pictures  # train and valid were left out
    assert "tflite-int8" in (tmp_path / "b.html").read_text()
