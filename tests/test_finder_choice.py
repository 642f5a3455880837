"""Which finder is taken, and what is said of a detector's file that is none."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from edge_emotion import MissingExtraError, ModelCard, ModelError, UnknownNameError, fetch
from edge_emotion.cli import app
from edge_emotion.faces import YuNet, best_finder, open_finder
from edge_emotion.fetch import DETECTOR_VARIABLE
from tests import pictures
from tests.golden.make_tiny_yunet import tiny_yunet as make_tiny_yunet

# Which finder


@pytest.fixture
def without_dlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)


def test_auto_takes_dlib_s_while_yunet_has_no_file():
    assert best_finder().name == "hog"


@pytest.mark.usefixtures("without_dlib")
def test_auto_takes_none_without_either():
    assert best_finder() is None


@pytest.mark.usefixtures("without_dlib")
def test_a_missing_dlib_is_the_pip_command(model_folder, tmp_path):
    with pytest.raises(MissingExtraError, match=r"pip install 'edge-emotion\[faces\]'"):
        open_finder("hog")
    picture = tmp_path / "a.png"
    pictures.rgb().save(picture)
    result = run(model_folder, picture, "--faces", "hog")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "pip install 'edge-emotion[faces]'" in result.stderr


def test_a_dlib_that_breaks_is_not_taken_for_none(model_folder, tmp_path, monkeypatch):
    """Nor one whose import was interrupted: photographs would be read as one face each."""

    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "dlib":
                raise ImportError("initialization failed")

    monkeypatch.delitem(sys.modules, "dlib", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    picture = tmp_path / "a.png"
    pictures.rgb().save(picture)
    result = run(model_folder, picture)
    assert (result.exit_code, result.stdout) == (4, "")
    words = "the face finder hog: dlib cannot be loaded: initialization failed"
    assert result.stderr == f"edge-emotion: {words}\n"


@pytest.mark.usefixtures("without_dlib")
def test_with_neither_the_picture_is_one_face_and_a_line_says_how_to_do_better(
    model_folder, tmp_path
):
    picture = tmp_path / "a.png"
    pictures.rgb().save(picture)
    result, meant = run(model_folder, picture), run(model_folder, picture, "--faces", "off")
    assert result.exit_code == meant.exit_code == 0
    assert result.stdout == meant.stdout
    (line,) = result.stderr.splitlines()
    for words in ("edge-emotion fetch yunet", "edge-emotion[faces]", "--faces off"):
        assert words in line
    assert meant.stderr == ""


def test_the_fetched_file_is_taken_then_the_named_one(tiny_yunet, monkeypatch, tmp_path):
    monkeypatch.delenv(DETECTOR_VARIABLE)
    assert best_finder().name == "hog"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    fetched = fetch.user_file(fetch.YUNET)
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(tiny_yunet.read_bytes())
    assert best_finder().name == open_finder("yunet").name == "yunet"
    # Whatever is named goes before what is found, also when it is not there.
    missing = tmp_path / "missing.onnx"
    monkeypatch.setenv(DETECTOR_VARIABLE, str(missing))
    with pytest.raises(ModelError, match=rf"missing\.onnx.*, and unset {DETECTOR_VARIABLE}$"):
        best_finder()
    with pytest.raises(ModelError, match=r"missing\.onnx.*fetch yunet$"):
        best_finder(detector=missing)
    for named in (tiny_yunet, str(tiny_yunet)):
        assert best_finder(detector=named).name == "yunet"
        assert open_finder("yunet", detector=named).name == YuNet(named).name == "yunet"
    with pytest.raises(ModelError, match=r"detector .*missing\.onnx: No such file or directory"):
        YuNet(str(missing))


def test_a_place_that_cannot_be_looked_into_is_one_without_a_file(monkeypatch, tmp_path):
    """A home of somebody else's, say; here a name that no file system takes."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("x" * 300)))
    assert best_finder().name == "hog"
    with pytest.raises(ModelError, match=r"x: File name too long; get the right one"):
        best_finder(detector=tmp_path / ("x" * 300))


def test_yunet_asked_for_without_a_file():
    with pytest.raises(ModelError, match="run edge-emotion fetch yunet"):
        open_finder("yunet")


def test_a_mistyped_finder():
    with pytest.raises(UnknownNameError, match="did you mean 'yunet'"):
        open_finder("yunnet")


# A detector that would not be used


@pytest.mark.usefixtures("without_dlib")
@pytest.mark.parametrize("options", [["--faces", "off"], ["--faces", "hog"], ["--boxes"]], ids=str)
def test_a_detector_beside_what_leaves_it_out_is_usage(tiny_yunet, model_folder, tmp_path, options):
    picture, boxes = tmp_path / "a.png", tmp_path / "boxes.json"
    pictures.rgb().save(picture)
    boxes.write_text("{}")
    options = [*options, boxes] if options == ["--boxes"] else options
    result = run(model_folder, picture, *options, "--detector", tiny_yunet)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "--detector is for finding faces with yunet" in line
    for faces in ("auto", "yunet"):
        result = run(model_folder, picture, "--faces", faces, "--detector", tiny_yunet)
        assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("without_dlib")
def test_a_model_that_does_not_say_how_faces_were_cut_is_named(tiny_yunet, model_folder, tmp_path):
    card = ModelCard.read(model_folder)
    replace(card, input=replace(card.input, face=None)).write(model_folder)
    picture = tmp_path / "a.png"
    pictures.rgb().save(picture)
    result = run(model_folder, picture, "--detector", tiny_yunet)
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("tiny does not say how the faces of its training were cut")
    assert run(model_folder, picture, "--faces", "off").stderr == ""


# Bad files


def run(model, *arguments):
    return CliRunner().invoke(app, ["predict", "--model", str(model), *map(str, arguments)])


BAD = {
    "truncated": lambda data: data[:-100],
    "one bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "longer": lambda data: data + b"\0",
    "empty": lambda data: b"",
    "not ONNX": lambda data: b"Dear customer,\n" * 20,
}


@pytest.mark.parametrize("how", [*BAD, "folder", "missing"])
@pytest.mark.parametrize("faces", ["auto", "yunet"])
def test_a_bad_file_is_one_line_and_the_picture_is_not_read(
    tiny_yunet, model_folder, tmp_path, how, faces
):
    path, picture = tmp_path / "detector.onnx", tmp_path / "a.png"
    pictures.rgb().save(picture)
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(BAD[how](tiny_yunet.read_bytes()))
    result = run(model_folder, picture, "--faces", faces, "--detector", path)
    assert (result.exit_code, result.stdout) == (4, "")
    (line,) = result.stderr.splitlines()
    assert str(path) in line
    assert "edge-emotion fetch yunet" in line


def detector(tmp_path, data):
    path = tmp_path / "detector.onnx"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: b"no model", "onnxruntime cannot load it"),
        (lambda: b"", "onnxruntime cannot load it"),
        (lambda: make_tiny_yunet(outputs=("class", "obj", "bbox", "kps")), "other outputs"),
        (lambda: make_tiny_yunet(side=640), r"fixed at \[1, 3, 640, 640\]"),
    ],
)
def test_a_file_with_another_network_is_refused_for_what_it_is(tmp_path, make, words):
    pytest.importorskip("onnx")
    with pytest.raises(ModelError, match=words) as caught:
        YuNet(detector(tmp_path, make()))
    assert "\n" not in str(caught.value)
