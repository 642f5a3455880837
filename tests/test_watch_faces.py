"""``edge-emotion watch`` on photographs: lines with faces, lines without, and a lost detector."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge_emotion.fetch import DETECTOR_VARIABLE
from tests import patches
from tests.test_cli_faces import FACE, ROW, predict
from tests.test_watch import lines, watch

#: The program with the stub in the place of the real detector.
STUB = """
import dataclasses, hashlib, pathlib, sys
from edge_emotion import faces
data = pathlib.Path(sys.argv[1]).read_bytes()
faces.YUNET = dataclasses.replace(
    faces.YUNET, sha256=hashlib.sha256(data).hexdigest(), size=len(data)
)
sys.argv[:2] = ["edge-emotion"]
from edge_emotion.cli import main
main()
"""
NOTHING = {"label": None, "score": None, "probabilities": {}, "uncertain": True, "faces": []}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Pictures of two faces, none and one."""
    folder = tmp_path / "p"
    folder.mkdir()
    patches.two_faces().save(folder / "a.png")
    Image.new("RGB", (320, 240), "white").save(folder / "b.png")
    patches.scene((320, 240), [(32, 112, 112)]).save(folder / "c.png")
    return folder


def run(
    place: Path, out: Path, model: Path, *options: str, finder: Path = patches.FILE
) -> subprocess.CompletedProcess[str]:
    """The program, until every picture has its line."""
    command = [sys.executable, "-c", STUB, str(finder), "watch", str(place), "--out",
               str(out), "--model", str(model), "--interval", "0.02", "--once"]  # fmt: skip
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)


def by_name(out: Path) -> dict[str, dict[str, Any]]:
    found = {Path(line["path"]).name: line for line in lines(out)}
    assert len(found) == len(lines(out))
    return found


@pytest.mark.usefixtures("tiny_yunet")
def test_lines_are_those_of_predict_and_when(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    out = tmp_path / "r.jsonl"
    done = run(place, out, model_folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"watching {place}: 0 pictures have their line in {out}"]
    rows = by_name(out)
    for row in rows.values():
        assert list(row) == [*ROW, "size", "mtime_ns", "time"]
        assert all(list(face) == FACE for face in row["faces"])
    assert [face["box"] for face in rows["a.png"]["faces"]] == [
        list(patches.GREEN),
        list(patches.BLUE),
    ]
    assert [face["label"] for face in rows["a.png"]["faces"]] == ["happy", "sad"]
    assert {name: rows["b.png"][name] for name in NOTHING} == NOTHING
    assert len(rows["c.png"]["faces"]) == 1
    for known in map(json.loads, predict(model_folder, "--json", place).stdout.splitlines()):
        row = rows.pop(Path(known["path"]).name)
        assert {name: row[name] for name in ROW} == known
    assert rows == {}


@pytest.mark.usefixtures("tiny_yunet")
def test_a_picture_without_a_face_is_done_and_the_next_ones_are_read(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    out = tmp_path / "r.jsonl"

    def more() -> None:
        Image.new("RGB", (320, 240), "white").save(place / "d.png")
        patches.two_faces().save(place / "e.png")

    said = watch(place, out, model_folder, [*[lambda: None] * 4, more], faces="auto")
    said += watch(place, out, model_folder, [], faces="auto")  # as after a restart
    assert said == []
    labels = {name: row["label"] for name, row in by_name(out).items()}
    assert labels.pop("c.png") == by_name(out)["c.png"]["faces"][0]["label"]
    assert labels == {"a.png": "sad", "b.png": None, "d.png": None, "e.png": "sad"}


@pytest.mark.usefixtures("tiny_yunet")
def test_the_options_are_those_of_predict(place: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "one.jsonl"
    assert run(place, out, model_folder, "--max-faces", "1").returncode == 0
    assert [face["box"] for face in by_name(out)["a.png"]["faces"]] == [list(patches.BLUE)]
    out = tmp_path / "off.jsonl"
    assert run(place, out, model_folder, "--faces", "off").returncode == 0
    assert {len(row["faces"]) for row in lines(out)} == {0}
    assert by_name(out)["b.png"]["label"] == "happy"


@pytest.mark.parametrize("how", ["variable", "option"])
def test_a_named_detector_that_is_lost_ends_it(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It must not pass for none: each picture would be read as one face."""
    lost, out = tmp_path / "lost.onnx", tmp_path / "r.jsonl"
    options = ("--detector", str(lost)) if how == "option" else ()
    if how == "variable":
        monkeypatch.setenv(DETECTOR_VARIABLE, str(lost))
    done = run(place, out, model_folder, *options)
    assert (done.returncode, out.read_bytes()) == (4, b"")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"edge-emotion: detector {lost}: No such file")


@pytest.mark.usefixtures("tiny_yunet")
def test_a_large_picture_fits_beside_the_detector(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    """One that the default memory takes without a detector, and one that it does not take."""
    out = tmp_path / "r.jsonl"
    Image.new("RGB", (6000, 6000), "white").save(place / "large.png")
    assert run(place, out, model_folder).returncode == 0
    assert by_name(out)["large.png"]["label"] is None
    Image.new("RGB", (9000, 9000), "white").save(place / "vast.png")
    patches.two_faces().save(place / "z.png")
    assert run(place, out, model_folder).returncode == 4
    assert "too large" in by_name(out)["vast.png"]["error"]
    assert by_name(out)["z.png"]["label"] == "sad"


@pytest.mark.shared
def test_what_the_detector_needs_is_not_taken_from_the_picture_s_memory(
    tmp_path: Path, model_folder: Path, real_yunet: Path
) -> None:
    """A first picture that is read with less than the detector's 40 MB; then views of all kinds."""
    place, out = tmp_path / "p", tmp_path / "r.jsonl"
    place.mkdir()
    for width, height in ((1280, 960), (640, 640), (333, 777), (1000, 50), (200, 200)):
        Image.effect_noise((width, height), 80).save(place / f"{width}.jpg")
    options = ("--detector", str(real_yunet), "--memory", "32")
    done = run(place, out, model_folder, *options, finder=real_yunet)
    assert done.returncode == 0, done.stderr
    assert {row["label"] for row in lines(out)} == {None}
    assert len(lines(out)) == 5
