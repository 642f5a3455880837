"""``edge-emotion predict`` on photographs: what it prints of faces, and boxes of your own."""

from __future__ import annotations

import codecs
import json
import re

import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_emotion.cli import app
from tests import patches


def predict(model, *arguments):
    return CliRunner().invoke(app, ["predict", "--model", str(model), *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    """Three pictures: of two faces, none and one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    patches.two_faces().save(folder / "a.png")
    Image.new("RGB", (320, 240), "white").save(folder / "b.png")
    patches.scene((320, 240), [(32, 112, 112)]).save(folder / "c.png")
    return folder


ROW = ["path", "label", "score", "probabilities", "uncertain", "faces"]
FACE = ["box", "detection", "label", "score", "probabilities", "uncertain"]


@pytest.mark.usefixtures("tiny_yunet")
def test_json_has_exactly_the_documented_fields(model_folder, folder):
    result = predict(model_folder, folder, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    two, none, one = map(json.loads, result.stdout.splitlines())
    for row in (two, none, one):
        assert list(row) == ROW
        assert all(list(f) == FACE for f in row["faces"])
    assert [f["box"] for f in two["faces"]] == [list(patches.GREEN), list(patches.BLUE)]
    assert [f["label"] for f in two["faces"]] == ["happy", "sad"]
    for f in two["faces"]:
        assert f["score"] == f["probabilities"][f["label"]]
        assert f["detection"] == 1
    assert (two["label"], two["uncertain"]) == ("sad", False)  # the larger face, and the surer
    nothing = {"label": None, "score": None, "probabilities": {}, "uncertain": True, "faces": []}
    assert none == {"path": str(folder / "b.png")} | nothing
    assert one["probabilities"] == pytest.approx(one["faces"][0]["probabilities"])


@pytest.mark.usefixtures("tiny_yunet")
def test_lines_and_csv_say_how_many_faces(model_folder, folder):
    patches.two_faces("dimgrey").save(folder / "d.png")
    two, none, one, doubtful = predict(model_folder, folder).stdout.splitlines()
    assert re.fullmatch(r"sad 0\.7\d, 2 faces", two.removeprefix(f"{folder / 'a.png'}: "))
    doubt = doubtful.removeprefix(f"{folder / 'd.png'}: ")
    assert re.fullmatch(r"\w+ 0\.[45]\d \(uncertain\), 2 faces", doubt)
    assert none == f"{folder / 'b.png'}: no face"
    assert "face" not in one.removeprefix(str(folder))
    rows = [line.split(",") for line in predict(model_folder, folder, "--csv").stdout.splitlines()]
    assert [row[-2] for row in rows] == ["faces", "2", "0", "1", "2"]
    assert rows[2][1:] == ["", "", "true", "", "", "", "0", ""]


@pytest.mark.usefixtures("tiny_yunet")
def test_the_largest_faces_only(model_folder, folder):
    result = predict(model_folder, folder / "a.png", "--json", "--max-faces", 1)
    assert [f["box"] for f in json.loads(result.stdout)["faces"]] == [list(patches.BLUE)]
    assert predict(model_folder, folder / "a.png", "--max-faces", 0).exit_code == 2


def test_finding_with_dlib_says_how_to_see_more(model_folder, folder):
    result = predict(model_folder, folder / "b.png")
    assert (result.exit_code, result.stdout) == (0, f"{folder / 'b.png'}: no face\n")
    (line,) = result.stderr.splitlines()
    assert "edge-emotion fetch yunet" in line
    assert predict(model_folder, folder / "b.png", "--faces", "hog").stderr == ""


def write_boxes(folder, text):
    path = folder / "boxes.json"
    path.write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
    return path


def test_boxes_of_a_file_by_path_or_name(model_folder, folder):
    boxes = write_boxes(
        folder, {"a.png": [patches.BLUE], str(folder / "c.png"): [], "b.png": [[0, 0, 9, 9]]}
    )
    result = predict(model_folder, folder, "--boxes", boxes, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    a, b, c = map(json.loads, result.stdout.splitlines())
    assert [f["box"] for f in a["faces"]] == [list(patches.BLUE)]
    assert (a["label"], b["label"], c["label"]) == ("sad", "happy", None)


def test_boxes_of_a_file_that_windows_wrote(model_folder, folder):
    text = codecs.BOM_UTF8 + json.dumps({"a.png": [patches.BLUE]}).encode()
    result = predict(model_folder, folder / "a.png", "--boxes", write_boxes(folder, text))
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_file_of_boxes_without_an_end_is_refused(model_folder, folder):
    result = predict(model_folder, folder / "a.png", "--boxes", "/dev/zero")
    assert result.exit_code == 4
    assert "/dev/zero: larger than 64 MB; --boxes takes" in result.stderr


def test_boxes_are_found_however_the_path_is_written(model_folder, folder, monkeypatch):
    monkeypatch.chdir(folder)
    boxes = write_boxes(folder, {"./a.png": [patches.BLUE]})
    for path in ("a.png", "./a.png", ".//a.png"):
        result = predict(model_folder, path, "--boxes", boxes)
        assert (result.exit_code, result.stdout.split()[1]) == (0, "sad"), result.stderr


def test_a_picture_without_an_entry_is_reported_and_the_others_are_read(model_folder, folder):
    boxes = write_boxes(folder, {"a.png": [patches.BLUE], "c.png": [patches.BLUE]})
    result = predict(model_folder, folder, "--boxes", boxes)
    assert result.exit_code == 4
    assert len(result.stdout.splitlines()) == 2
    (line,) = result.stderr.splitlines()
    assert "b.png: no boxes for it" in line


#: In a picture of 320 x 240: less than half inside, outside, and of one pixel and a half.
NO_FACE = [[-60, 0, 100, 100], [0, 200, 100, 100], [400, 300, 50, 50], [10, 10, 1.5, 90]]


@pytest.mark.parametrize("box", NO_FACE, ids=str)
def test_a_box_that_holds_no_face_costs_its_picture_only(model_folder, folder, box):
    boxes = write_boxes(
        folder, {"a.png": [patches.BLUE, box], "b.png": [patches.BLUE], "c.png": []}
    )
    result = predict(model_folder, folder, "--boxes", boxes, "--json")
    assert result.exit_code == 4
    a, b, c = map(json.loads, result.stdout.splitlines())
    assert list(a) == ["path", "error"]
    assert (b["label"], c["label"]) == ("happy", None)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"edge-emotion: {folder / 'a.png'}: box ")
    assert line.endswith("outside the picture of 320 x 240")


@pytest.mark.parametrize("box", [[1, 2, 0, 4], [1, 2, -3, 4], [1e99, 2, 3, 4]])
def test_what_is_no_box_costs_its_picture_and_no_other(model_folder, folder, box):
    boxes = write_boxes(folder, {"a.png": [box], "b.png": [[0, 0, 9, 9]], "c.png": []})
    result = predict(model_folder, folder, "--boxes", boxes, "--json")
    assert result.exit_code == 4
    a, b, c = map(json.loads, result.stdout.splitlines())
    assert "a box is [x, y, width, height] with an area" in a["error"]
    assert (b["label"], c["label"]) == ("happy", None)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"a.png: 1 2 3 4", b'{"a.png": [[1, 2, 3, 4]]', b"\xff\xfe", [[1, 2, 3, 4]],
        {"a.png": [1, 2, 3, 4]}, {"a.png": [[1, 2, 3]]}, {"a.png": [[1, 2, "3", 4]]},
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_file_of_other_things_than_boxes_is_one_line(model_folder, folder, text):
    result = predict(model_folder, folder, "--boxes", write_boxes(folder, text))
    assert (result.exit_code, result.stdout) == (4, "")
    (line,) = result.stderr.splitlines()
    assert "boxes.json: " in line
    assert "[[x, y, width, height], ...]" in line


def test_boxes_leave_nothing_to_find(model_folder, folder):
    boxes = write_boxes(folder, {"a.png": [patches.BLUE]})
    result = predict(model_folder, folder / "a.png", "--boxes", boxes, "--faces", "off")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--boxes says where the faces are: leave --faces out" in result.stderr


def test_a_missing_file_of_boxes(model_folder, folder):
    result = predict(model_folder, folder, "--boxes", folder / "none.json")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "none.json: No such file" in result.stderr
