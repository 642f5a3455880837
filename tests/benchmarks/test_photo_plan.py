"""``bench --photos``: a wrong folder or detector is refused before anything is measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from edge_emotion.benchmarks import run as benchmark
from edge_emotion.benchmarks.photos import WHOLE, plan_photos
from edge_emotion.cli import app
from edge_emotion.errors import DataError, ModelError
from edge_emotion.faces import YuNet
from tests import patches, tiny


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A photograph with a face for each label."""
    for label in tiny.LABELS:
        (tmp_path / "scenes" / label).mkdir(parents=True)
        patches.scene((320, 240), [(32, 112, 112)]).save(tmp_path / "scenes" / label / "a.png")
    return tmp_path / "scenes"


@pytest.fixture
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*arguments: object, **named: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(benchmark, "time_subjects", measure)


def bench(folder: Path, *options: object) -> Result:
    command = ["bench", str(folder), "--quick", "--rounds", "1", "--runs", "5", "--threads", "1"]
    return CliRunner().invoke(app, [*command, *map(str, options)])


def assert_refused(result: Result, code: int, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    (line,) = result.stderr.splitlines()
    for word in words:
        assert word in line


def test_a_plan_has_each_finder_that_is_there(
    scenes: Path, tiny_yunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_photos(scenes, tiny.LABELS)
    assert (list(plan.finders), plan.missing) == (["yunet", "hog", WHOLE], {})
    assert isinstance(plan.finders["yunet"], YuNet)
    assert plan.finders[WHOLE] is None
    assert len(plan.dataset.samples) == 3
    monkeypatch.delenv("EDGE_EMOTION_DETECTOR")
    monkeypatch.setitem(sys.modules, "dlib", None)
    plan = plan_photos(scenes, tiny.LABELS)
    assert list(plan.finders) == [WHOLE]
    assert plan.missing["yunet"] == "no file of it: edge-emotion fetch yunet"
    assert "pip install 'edge-emotion[faces]'" in plan.missing["hog"]
    named = plan_photos(scenes, tiny.LABELS, tiny_yunet)
    assert isinstance(named.finders["yunet"], YuNet)


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize("how", ["damaged", "missing", "folder"])
@pytest.mark.parametrize("named", ["--detector", "EDGE_EMOTION_DETECTOR"])
def test_a_wrong_detector_is_said_before_anything_is_measured(
    scenes: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    named: str,
) -> None:
    path = tmp_path / "wrong.onnx"
    if how == "damaged":
        path.write_bytes(patches.FILE.read_bytes()[:-1])
    elif how == "folder":
        path.mkdir()
    with pytest.raises(ModelError, match=r"wrong\.onnx"):
        plan_photos(scenes, tiny.LABELS, path)
    options = ["--photos", scenes, "--json", tmp_path / "r.json"]
    if named == "--detector":
        options += ["--detector", path]
    else:
        monkeypatch.setenv(named, str(path))
    assert_refused(bench(folder, *options), 4, str(path), "edge-emotion fetch yunet")
    assert not (tmp_path / "r.json").exists()


@pytest.mark.usefixtures("nothing_is_measured")
def test_photographs_of_other_labels_are_data_that_do_not_fit(scenes: Path, folder: Path) -> None:
    (scenes / "sad").rename(scenes / "bored")
    with pytest.raises(DataError, match="a class folder for each of angry, happy, sad"):
        plan_photos(scenes, tiny.LABELS)
    assert_refused(bench(folder, "--photos", scenes), 4, str(scenes), "angry, happy, sad", "'sad'")


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize("what", ["missing", "empty", "file", "/dev/zero"])
def test_what_holds_no_photographs(folder: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "photographs" if not what.startswith("/") else Path(what)
    if what == "empty":
        path.mkdir()
    elif what == "file":
        Image.new("RGB", (9, 9)).save(path, "PNG")
    assert_refused(bench(folder, "--photos", path), 4, str(path))


@pytest.mark.usefixtures("nothing_is_measured")
def test_photographs_need_the_extra(
    scenes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_refused(bench(folder, "--photos", scenes), 3, "--photos", "edge-emotion[bench]")


@pytest.mark.usefixtures("nothing_is_measured")
def test_a_detector_without_photographs_is_usage(folder: Path, tiny_yunet: Path) -> None:
    assert_refused(bench(folder, "--detector", tiny_yunet), 2, "--detector is for --photos")


@pytest.mark.usefixtures("tiny_yunet")
def test_an_unreadable_photograph_is_code_4_when_all_is_written(
    scenes: Path, folder: Path, tmp_path: Path
) -> None:
    json = tmp_path / "r.json"
    assert bench(folder, "--photos", scenes, "--json", json).exit_code == 0
    json.unlink()
    (scenes / "sad" / "b.png").write_bytes(b"no picture")
    result = bench(folder, "--photos", scenes, "--json", json)
    assert result.exit_code == 4
    assert "100.0% (3 of 3)" in result.stdout
    assert result.stderr.count("b.png") == 1
    assert '"unreadable":1' in json.read_text().replace(" ", "")
