"""The train command on input that is wrong, and on a disk that is full."""

from __future__ import annotations

import dataclasses
import inspect
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge_emotion import ModelCard
from edge_emotion.cli import app
from edge_emotion.cli.train import train as train_command
from edge_emotion.files import files_under
from edge_emotion.training.config import TrainConfig

from . import tiny
from .generated import write_class_folders

pytest.importorskip("tensorflow", reason="needs the extra train")

pytestmark = [
    # TensorFlow uses what NumPy deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("hardly_distilled"),
]

SMALL = ["--size", "16", "--body", tiny.BODY, "--epochs", "1"]


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *(str(a) for a in arguments)])


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in files_under(folder, lambda _: None)}


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "faces", 20)


def test_damaged_pictures_are_named_and_make_the_exit_code_4(faces: Path, tmp_path: Path) -> None:
    for path in sorted((faces / "sad").iterdir())[:2]:
        path.write_bytes(path.read_bytes()[:60])
    result = train(faces, "--run", tmp_path / "run", "--subject", r"happy/\d+", *SMALL)
    assert result.exit_code == 4
    assert result.stderr.count("left out: ") == 2
    assert "--subject: 20 of 58 pictures have it in their path" in result.stderr
    assert "edge-emotion: 2 pictures could not be read; the others were used" in result.stderr
    assert ModelCard.read(tmp_path / "run" / "model").data.dropped["unreadable"] == 2


def test_labels_that_were_corrected_are_no_run_to_go_on_with(tmp_path: Path) -> None:
    faces = write_class_folders(tmp_path / "faces", 20)
    assert train(faces, "--run", tmp_path / "run", *SMALL).exit_code == 0
    moved = sorted((faces / "sad").iterdir())[0]
    moved.rename(faces / "happy" / "zz.png")
    first = sorted((faces / "happy").iterdir())[0]
    first.rename(faces / "sad" / "000.png")
    result = train(faces, "--run", tmp_path / "run", "--resume", *SMALL)
    assert (result.exit_code, "other settings or pictures" in result.stderr) == (2, True)


def test_a_label_without_test_pictures_is_told(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "faces" / "train", 20)
    shutil.rmtree(write_class_folders(tmp_path / "faces" / "test", 4, first_seed=500) / "sad")
    result = train(tmp_path / "faces", "--run", tmp_path / "run", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert "faces test: no picture of sad: its figures say nothing of that\n" in result.stderr
    assert "valid: no picture" not in result.stderr


def test_the_same_picture_under_two_labels_is_told(faces: Path, tmp_path: Path) -> None:
    first = min((faces / "sad").iterdir())
    (faces / "happy" / "copy.png").write_bytes(first.read_bytes())
    result = train(faces, "--run", tmp_path / "run", *SMALL)
    assert "2 pictures are under more than one label, pixel by pixel the same" in result.stderr


def test_a_subject_that_no_picture_has_is_refused(faces: Path, tmp_path: Path) -> None:
    result = train(faces, "--run", tmp_path / "run", "--subject", "person[0-9]+", *SMALL)
    assert result.exit_code == 2
    assert re.search(r"'person\[0-9\]\+' is in no picture's path, such as angry/", result.stderr)
    result = train(faces, "--run", tmp_path / "run", "--subject", "png", *SMALL)
    assert result.exit_code == 2
    assert re.search(r"'png' finds 'png' in every picture's path, such as angry/", result.stderr)


@pytest.mark.parametrize("what", ["labels", "data"])
def test_wrong_data_are_said_before_a_run_folder_that_is_taken(
    faces: Path, tmp_path: Path, what: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "history.json").write_text("[]")
    assert "holds an earlier run" in train(faces, "--run", run).stderr
    if what == "labels":
        result = train(faces, "--run", run, "--labels", "angry,joy")
        assert (result.exit_code, "unknown label 'joy'" in result.stderr) == (2, True)
    else:
        result = train(tmp_path / "nowhere", "--run", run)
        assert (result.exit_code, "no such file" in result.stderr) == (4, True)


@pytest.mark.parametrize("own", ["curves.png", "angry/1.png"])
def test_a_folder_of_other_things_becomes_no_model(faces: Path, tmp_path: Path, own: str) -> None:
    path = tmp_path / "mine" / own
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    before = everything(tmp_path)
    result = train(faces, "--out", tmp_path / "mine", "--run", tmp_path / "run", *SMALL)
    assert result.exit_code == 2
    assert f"holds {own.split('/')[0]} and is no model folder: name another --out" in result.stderr
    assert everything(tmp_path) == before


@pytest.mark.parametrize("own", ["model.keras", "calibration.npz", "trained_on.npz"])
def test_a_keras_file_that_no_training_wrote_stays(faces: Path, tmp_path: Path, own: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / own).write_bytes(b"mine")
    for run in ("run", "mine"):
        result = train(faces, "--out", tmp_path / "mine", "--run", tmp_path / run, *SMALL)
        words = f"holds {own} and is no model folder"
        assert (result.exit_code, words in result.stderr) == (2, True)
        assert (tmp_path / "mine" / own).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ("config.json", b'{"mine": 1}'),
        ("config.json", b"[]"),
        ("predictions.png", b"mine"),
        ("answers.npz", b"mine"),
    ],
)
def test_a_run_folder_of_other_things_is_refused(
    faces: Path, tmp_path: Path, own: str, text: bytes
) -> None:
    path = tmp_path / "project" / own
    path.parent.mkdir()
    path.write_bytes(text)
    result = train(faces, "--run", path.parent, "--out", tmp_path / "m", *SMALL)
    assert (result.exit_code, f"holds {own} and is no run folder" in result.stderr) == (2, True)
    assert path.read_bytes() == text


def test_a_finished_model_takes_another_licence(faces: Path, tmp_path: Path) -> None:
    where = ["--run", tmp_path / "run", "--out", tmp_path / "m", *SMALL]
    assert train(faces, *where, "--terms", "theirs").exit_code == 0
    first = ModelCard.read(tmp_path / "m")
    result = train(faces, *where, "--resume", "--licence", "MIT", "--source", "me")
    assert result.exit_code == 0, result.stderr
    card = ModelCard.read(tmp_path / "m")
    assert (card.licence, card.data.source, card.data.licence) == ("MIT", "me", "theirs")
    assert card.keras_sha256 == first.keras_sha256
    assert "Licence of the weights: MIT." in (tmp_path / "m" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("option", [("--teacher-share", "0.9"), ("--teacher-views", "2")])
def test_what_is_of_no_teacher_is_refused(
    faces: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    result = train(faces, "--run", tmp_path / "run", *option, *SMALL)
    words = f"{option[0]} goes with --teacher"
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_views_that_are_asked_about_once_are_no_mixtures(faces: Path, tmp_path: Path) -> None:
    result = train(
        faces, "--run", tmp_path / "run", "--teacher", "edge-cnn", "--teacher-views", "2",
        "--mixup", "0.2", *SMALL,
    )  # fmt: skip
    assert (result.exit_code, "teacher_views and mixup" in result.stderr) == (2, True)


@pytest.mark.parametrize("run", ["mine", "mine/run", "mine/runs/1"])
def test_a_run_folder_may_be_the_model_folder_or_in_it(
    faces: Path, tmp_path: Path, run: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("by hand")
    where = ["--out", tmp_path / "mine", "--run", tmp_path / run]
    (tmp_path / run).mkdir(parents=True, exist_ok=True)
    result = train(faces, *where, "--initial", "edge-cnn", "--body", "c8 r")  # refused later
    assert "edge-cnn: its layer" in result.stderr


def test_a_full_disk_is_one_line_and_no_crash(faces: Path, tmp_path: Path) -> None:
    """In a process of its own: HDF5 crashed when the interpreter ended."""

    def shrink() -> None:  # the kept weights fit, with the optimizer they do not
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    narrow = ["--size", "16", "--width", "0.25", "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-c", "from edge_emotion.cli import main; main()", "train", str(faces),
         "--run", str(tmp_path / "run"), *narrow],
        preexec_fn=shrink, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5, signal.strsignal(-done.returncode) if done.returncode < 0 else done
    lines = [line for line in done.stderr.splitlines() if line.startswith("edge-emotion: ")]
    assert len(lines) == 1
    assert re.search(r"epoch-1\.npz: File too large; free space or name another place", lines[0])
    assert "Traceback" not in done.stderr
    files = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert files == {"config.json", "kept.npz"}


def test_labels_with_dollars_are_no_formulas(tmp_path: Path) -> None:
    """Matplotlib would read what is between two of them, after all the training."""
    faces = write_class_folders(tmp_path / "$_$ faces", 20)
    (faces / "sad").rename(faces / "$_$")
    result = train(faces, "--run", tmp_path / "run", "--name", "costs $5_$", *SMALL)
    assert result.exit_code == 0, result.stderr
    model = tmp_path / "run" / "model"
    assert {"README.md", "confusion.png", "curves.png"} <= {path.name for path in model.iterdir()}


def test_a_model_is_named_after_its_folder_and_one_that_has_learnt_nothing_is_told_of(
    faces: Path, tmp_path: Path
) -> None:
    """With a learning rate of next to nothing."""
    hardly = ["--learning-rate", "0.000000001"]
    result = train(faces, "--out", tmp_path / "mine", "--run", tmp_path / "run", *SMALL, *hardly)
    assert result.exit_code == 0, result.stderr
    assert ModelCard.read(tmp_path / "mine").name == "mine"
    assert "faces valid: cannot be told from guessing: train on more pictures" in result.stderr
    # A net of another size cannot begin with one that knows faces.
    result = train(faces, "--run", tmp_path / "small", *SMALL, *hardly)
    assert "--initial" not in result.stderr
    result = train(faces, "--run", tmp_path / "again", "--epochs", "1", *hardly)
    assert ModelCard.read(tmp_path / "again" / "model").name == "edge-cnn"
    assert "cannot be told from guessing: begin with a net that knows faces" in result.stderr


@pytest.mark.parametrize("epochs", [0, 1])
def test_an_interruption_says_whether_anything_is_kept(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    from edge_emotion.training import train as module

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    if epochs:
        run.mkdir()
        (run / "history.json").write_text("[]")
    monkeypatch.setattr(module, "train_model", interrupted)
    result = train(faces, "--run", run)
    assert result.exit_code == 130
    assert ("--resume goes on" in result.stderr) == bool(epochs)
    assert ("nothing is kept" in result.stderr) == (not epochs)


OTHERS = {
    "data", "out", "run", "name", "config", "folds", "validate_on_train", "split_as", "resume",
    "licence", "source", "terms",
}  # fmt: skip
#: One that is not the default, of each hyper-parameter but resize, which a file alone may name.
VALUES: dict[str, Any] = {
    "architecture": "baseline-cnn", "labels": ["happy", "sad"], "learn_all": True, "size": 64,
    "channels": 1, "width": 0.5, "body": "c8 r", "dropout": 0.4, "seed": 2, "epochs": 3,
    "batch_size": 7, "optimizer": "adam", "learning_rate": 0.01, "schedule": "constant",
    "weight_decay": 0.02, "precision": "mixed_bfloat16", "label_smoothing": 0.1, "balance": 0.3,
    "balance_data": 0.7, "prior": "uniform", "initial": ["one"], "teachers": ["two", "three"],
    "teacher_share": 0.2, "teacher_views": 2, "keep": "last", "patience": 4, "subject": "a|b",
    "valid_fraction": 0.21, "test_fraction": 0.22, "refit": 0.5, "coverage": 0.8, "flip": False,
    "rotation": 1.0, "zoom": 0.31, "framing": 0.32, "stretch": 0.33, "shift": 0.34, "shear": 0.35,
    "brightness": 0.36, "contrast": 0.37, "gamma": 0.38, "blur": 0.39, "sharpen": 0.41,
    "dark": 0.42, "noise": 0.43, "erase": 0.44, "mixup": 0.0,
}  # fmt: skip


class ReachedError(Exception):
    """Instead of a training."""


def test_every_hyper_parameter_has_an_option_that_reaches_the_training(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {field.name for field in dataclasses.fields(TrainConfig)} - {"resize"}
    options = set(inspect.signature(train_command).parameters) - OTHERS
    assert {"teachers" if name == "teacher" else name for name in options} == fields == set(VALUES)
    given: list[TrainConfig] = []

    def train_model(data: Any, config: TrainConfig, *rest: Any, **more: Any) -> None:
        given.append(config)
        raise ReachedError

    monkeypatch.setattr("edge_emotion.training.train.train_model", train_model)
    arguments: list[str] = []
    for name, value in VALUES.items():
        option = "--" + {"teachers": "teacher"}.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            arguments.append(option if value else option.replace("--", "--no-", 1))
        elif name == "labels":
            arguments += [option, ",".join(value)]
        else:
            for one in value if isinstance(value, list) else [value]:
                arguments += [option, str(one)]
    result = train(faces, "--run", tmp_path / "run", *arguments)
    assert isinstance(result.exception, ReachedError), result.stderr
    found = given[0].as_dict()
    assert {name: found[name] for name in VALUES} == VALUES
    same = {name for name in VALUES if VALUES[name] == getattr(TrainConfig(), name)}
    assert same == {"mixup"}  # which goes without teacher_views
    mixed = train(faces, "--run", tmp_path / "run", "--mixup", "0.3")
    assert isinstance(mixed.exception, ReachedError)
    assert given[1].mixup == 0.3
