"""From what a user names to a model file and its card."""

from __future__ import annotations

import errno
import io
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge_emotion import ChecksumError, ModelError, UnknownNameError, UsageError
from edge_emotion.artefacts import (
    MAX_CARD_BYTES,
    find_model,
    model_folder,
    open_artefact,
    read_card,
    read_trained_on,
    shipped_models,
)
from edge_emotion.card import CARD_NAME, KERAS_NAME, RECIPES, TRAINED_ON_NAME
from edge_emotion.files import sha256
from tests import tiny

ALL = tuple(RECIPES)


@pytest.fixture
def full_folder(tmp_path):
    return tiny.write_model_folder(tmp_path / "full", ALL)


def test_a_script_in_a_clone_finds_the_shipped_models(tmp_path):
    """Python finds the clone's `edge_emotion`, which has no `models`, before what is installed."""
    root = Path(__file__).parents[1]
    shutil.copytree(root / "edge_emotion", tmp_path / "edge_emotion")
    shutil.copytree(root / "models" / "edge-cnn", tmp_path / "models" / "edge-cnn")
    script = tmp_path / "example.py"
    script.write_text(
        "import sys; sys.modules['edge_emotion.models'] = None\n"
        "import edge_emotion; print(edge_emotion.__file__, edge_emotion.Predictor().labels)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    expected = f"{tmp_path / 'edge_emotion' / '__init__.py'} ['angry', 'happy', 'sad']"
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize(
    ("runtime", "recipe"), [(None, "onnx-int8"), ("onnx", "onnx-int8"), ("litert", "tflite-int8")]
)
def test_a_folder_gives_the_int8_export_of_the_engine(full_folder, runtime, recipe):
    artefact = open_artefact(full_folder, runtime)
    assert artefact.recipe == recipe
    assert artefact.path == full_folder / RECIPES[recipe]
    assert artefact.card.name == "tiny"


@pytest.mark.parametrize(
    ("runtime", "order", "other"),
    [("onnx", ["onnx-int8", "onnx-f32"], "litert"),
     ("litert", ["tflite-int8", "tflite-int8-dynamic", "tflite-f32"], "onnx")],
)  # fmt: skip
def test_without_the_preferred_export_the_next_is_taken(full_folder, runtime, order, other):
    for recipe in order:
        assert open_artefact(full_folder, runtime).recipe == recipe
        (full_folder / RECIPES[recipe]).unlink()
    only = f"no export that {runtime} runs, only model-.*"
    way = rf': --runtime {other} \(in Python runtime="{other}"\)'
    with pytest.raises(ModelError, match=f"{only}{way}$"):
        open_artefact(full_folder, runtime)
    (full_folder / KERAS_NAME).touch()
    export = f"edge-emotion export .*full --to {order[0]}$"
    with pytest.raises(ModelError, match=f"{only}{way}, or {export}"):
        open_artefact(full_folder, runtime)
    for recipe in ALL:
        (full_folder / RECIPES[recipe]).unlink(missing_ok=True)
    with pytest.raises(ModelError, match=f"no export that {runtime} runs: {export}"):
        open_artefact(full_folder, runtime)


def test_a_card_alone_says_how_its_model_was_made(full_folder):
    for recipe in ALL:
        (full_folder / RECIPES[recipe]).unlink()
    with pytest.raises(ModelError, match="holds a card without a model; made by: none"):
        open_artefact(full_folder)


@pytest.mark.parametrize("recipe", ALL)
def test_one_file_copied_elsewhere_is_enough(full_folder, tmp_path, recipe):
    alone = tmp_path / f"renamed{Path(RECIPES[recipe]).suffix}"
    alone.write_bytes((full_folder / RECIPES[recipe]).read_bytes())
    artefact = open_artefact(alone)
    assert (artefact.recipe, artefact.path) == (recipe, alone)
    assert artefact.card.labels == tiny.LABELS
    assert read_card(alone) == artefact.card


@pytest.mark.parametrize(
    ("recipe", "at"),
    [
        ("onnx-int8", tiny.ONNX.index(tiny.WEIGHTS.tobytes())),
        ("tflite-int8", len(tiny.TFLITE) // 2),
    ],
)
def test_one_file_with_other_weights_than_its_card_vouches_for_is_refused(tmp_path, recipe, at):
    """As a power cut or a torn copy leaves it: the engine would answer all the same."""
    path = tmp_path / RECIPES[recipe]
    data = tiny.export_bytes(recipe)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(
        ChecksumError, match=r"int8\.\w+: damaged \(SHA-256 differs\): copy it again"
    ):
        open_artefact(path)
    path.write_bytes(data)
    assert open_artefact(path).recipe == recipe


@pytest.mark.parametrize("file", ["model-int8.onnx", "model-int8.tflite"])
def test_one_file_of_an_older_version_is_taken_at_its_word(tmp_path, file):
    """As the shipped ones are, which are not exported anew for this."""
    path = tmp_path / file
    path.write_bytes((shipped_models()["edge-cnn"] / file).read_bytes())
    artefact = open_artefact(path)
    assert [(e.sha256, e.bytes) for e in artefact.card.exports] == [(None, None)]


def test_a_changed_file_of_a_folder_is_refused(full_folder):
    path = full_folder / "model-int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ChecksumError, match=r"model-int8\.onnx: not the file that card\.json desc"):
        open_artefact(full_folder)


def test_an_export_of_another_model_is_refused(full_folder, tmp_path):
    other = tiny.write_model_folder(tmp_path / "other", card=tiny.make_card(name="other"))
    (full_folder / "model-int8.onnx").write_bytes((other / "model-int8.onnx").read_bytes())
    with pytest.raises(ChecksumError):
        open_artefact(full_folder)


def test_a_file_that_the_card_does_not_list_is_not_run(tmp_path):
    folder = tiny.write_model_folder(tmp_path / "tiny", ("onnx-f32",))
    (folder / "model-int8.onnx").write_bytes(tiny.export_bytes("onnx-int8"))
    assert open_artefact(folder).recipe == "onnx-f32"


def test_keras_file_and_its_folder(tmp_path):
    folder = tiny.write_model_folder(tmp_path / "tiny")
    keras = folder / KERAS_NAME
    with pytest.raises(ModelError, match=r"model\.keras: no such file"):
        open_artefact(folder, "keras")
    keras.write_bytes(b"any")
    with pytest.raises(ChecksumError):
        open_artefact(folder, "keras")
    card = replace(tiny.make_card(), keras_sha256=sha256(keras))
    card.write(folder)
    for named in (folder, keras):
        assert open_artefact(named, "keras").path == keras
    assert open_artefact(keras).recipe == "keras"
    with pytest.raises(UsageError, match="is run by keras, not by onnx"):
        open_artefact(keras, "onnx")


@pytest.mark.parametrize(
    "card_json",
    [None, b"", b"{}", b"not json", b"\xff\xfe\xff", tiny.make_card().to_json()],
    ids=["none", "empty", "object", "text", "not UTF-8", "of no export"],
)
@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_a_file_without_a_card_of_its_own_is_refused(tmp_path, suffix, card_json):
    path = tmp_path / f"model{suffix}"
    build = tiny.onnx_with if suffix == ".onnx" else tiny.tflite_with
    path.write_bytes(build(card_json))
    with pytest.raises(ModelError, match=f"model{suffix}: .*card"):
        open_artefact(path)


def test_damaged_onnx_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    for data in (b"", b"any", tiny.export_bytes("onnx-int8")[:100]):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"model\.onnx"):
            open_artefact(path)


def test_zip_behind_a_tflite_that_is_damaged_or_a_bomb(tmp_path):
    path = tmp_path / "model.tflite"
    whole = tiny.export_bytes("tflite-int8")
    path.write_bytes(whole[:-30] + whole[-22:])
    with pytest.raises(ModelError, match="no card inside"):
        read_card(path)
    file = io.BytesIO(tiny.TFLITE)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CARD_NAME, b" " * MAX_CARD_BYTES + tiny.make_card().to_json())
    path.write_bytes(file.getvalue())
    with pytest.raises(ModelError, match="not a model card"):
        read_card(path)


def test_find_model_takes_paths_before_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("edge-cnn").mkdir()
    Path("edge-cnn", "card.json").touch()
    assert find_model("edge-cnn") == Path("edge-cnn")
    for nothing in (None, 3, b"edge-cnn"):
        with pytest.raises(UsageError, match="a model is a name or a path, not "):
            find_model(nothing)


def test_a_run_folder_does_not_hide_a_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("edge-cnn", "model").mkdir(parents=True)  # as train makes it
    assert find_model("edge-cnn") == shipped_models()["edge-cnn"]
    assert find_model("./edge-cnn") == Path("edge-cnn")
    Path("edge-cnn-8").write_text("a note")
    assert find_model("edge-cnn-8") == shipped_models()["edge-cnn-8"]
    Path("mine").mkdir()
    assert find_model("mine") == Path("mine")  # which then is told to hold none


@pytest.mark.parametrize("name", ["./missing", "missing.onnx", "a/b", "~/model.onnx"])
def test_a_path_that_is_not_there_is_called_so(name):
    with pytest.raises(ModelError, match="no such model file or folder"):
        find_model(name)


def test_a_bare_word_is_taken_for_a_name():
    with pytest.raises(UnknownNameError, match=r"unknown model 'edge-cn': .*path of a model"):
        find_model("edge-cn")


def test_names_that_no_file_system_takes(monkeypatch):
    with pytest.raises(ModelError, match="too long"):
        find_model("x" * 5000)
    with pytest.raises(ModelError, match="no such model"):
        find_model("a\0b.onnx")

    def forbidden(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    shipped = shipped_models()
    monkeypatch.setattr("edge_emotion.artefacts.shipped_models", lambda: shipped)
    monkeypatch.setattr(Path, "exists", forbidden)
    assert find_model("edge-cnn").parts[-2:] == ("models", "edge-cnn")  # shipped, so not in here
    with pytest.raises(ModelError, match="Permission denied"):
        find_model("/root/model.onnx")


def test_a_folder_without_a_card(tmp_path):
    with pytest.raises(ModelError, match="is not a model folder"):
        open_artefact(tmp_path)
    for name in ("b.tflite", "a.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError) as caught:
        open_artefact(tmp_path)
    words = "is not a model folder, it has no card.json: name one of its files, such as"
    assert str(caught.value) == f"{tmp_path} {words} {tmp_path / 'a.onnx'}"


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "face.jpg"
    path.touch()
    with pytest.raises(ModelError, match="known endings are"):
        open_artefact(path)


def test_model_folder_of_a_keras_file_is_the_folder_around_it(tmp_path):
    folder = tiny.write_model_folder(tmp_path / "tiny")
    (folder / KERAS_NAME).touch()
    assert model_folder(folder) == model_folder(folder / KERAS_NAME) == folder
    with pytest.raises(UsageError, match=r"name the model folder that holds card\.json"):
        model_folder(folder / "model-int8.onnx")
    with pytest.raises(UsageError, match=r"name the model folder that holds card\.json"):
        model_folder(Path(__file__))


def test_what_was_trained_on_is_not_recorded_unreadable_or_damaged(tmp_path):
    assert read_trained_on(tmp_path) is None
    path = tmp_path / TRAINED_ON_NAME
    path.write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"trained_on\.npz: damaged: copy the model folder again"):
        read_trained_on(tmp_path)
    path.unlink()
    path.mkdir()  # root may read any file
    with pytest.raises(ModelError, match=r"trained_on\.npz: Is a directory"):
        read_trained_on(tmp_path)


def test_shipped_models_are_folders_whose_files_fit_their_cards():
    for name, folder in shipped_models().items():
        card = read_card(folder)
        assert card.name == name
        for export in card.exports:
            if (folder / export.file).is_file():
                assert sha256(folder / export.file) == export.sha256
