"""``edge-emotion predict``, ``inspect`` and ``doctor``: what comes out, and with which code."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from PIL import ImageOps
from typer.testing import CliRunner, Result

from edge_emotion.card import CARD_NAME
from edge_emotion.cli import app
from tests import tiny
from tests.datasets import close_folder
from tests.generated import draw_face

MAIN = "from edge_emotion.cli import main; main()"


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    draw_face("happy", 1).save(folder / "a.png")
    draw_face("sad", 2).save(folder / "inner" / "b.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


def predict(model: Path, *arguments: str | Path, stdin: str | None = None) -> Result:
    """Without a finder: what faces add is in test_photographs."""
    return run("predict", "--model", model, "--faces", "off", *arguments, stdin=stdin)


def test_a_line_a_picture_in_the_order_given(model_folder: Path, pictures: Path) -> None:
    b, a = pictures / "inner" / "b.jpg", pictures / "a.png"
    result = predict(model_folder, b, a)
    assert result.exit_code == 0
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [str(b), str(a)]


def test_folders_globs_and_stdin_find_the_same_pictures(model_folder: Path, pictures: Path) -> None:
    folder = predict(model_folder, pictures).stdout
    assert len(folder.splitlines()) == 2
    assert predict(model_folder, pictures / "**" / "*.[pj][np]g").stdout == folder
    assert sorted(predict(model_folder, pictures / "**").stdout.splitlines()) == sorted(
        folder.splitlines()
    )  # once each, though ** matches the folders, too
    names = "".join(f"{line.split(': ')[0]}\n" for line in folder.splitlines())
    assert predict(model_folder, "-", stdin=names).stdout == folder


def test_hidden_files_of_a_folder_are_passed_over_and_named_ones_are_not(
    model_folder: Path, pictures: Path
) -> None:
    """What a Mac leaves beside each file, thumbnails, half-written pictures."""
    before = predict(model_folder, pictures)
    (pictures / "._a.png").write_bytes(b"\0\5\x16\7")
    (pictures / ".thumbnails").mkdir()
    (pictures / ".thumbnails" / "a.png").write_bytes((pictures / "a.png").read_bytes())
    after = predict(model_folder, pictures)
    assert (after.exit_code, after.stdout) == (0, before.stdout)
    assert predict(model_folder, pictures / "._a.png").exit_code == 4
    inside = predict(model_folder, pictures / ".thumbnails")
    assert (inside.exit_code, len(inside.stdout.splitlines())) == (0, 1)


def test_json_has_the_documented_fields(model_folder: Path, pictures: Path) -> None:
    missing = pictures / "missing.png"
    result = predict(model_folder, "--json", pictures / "a.png", missing)
    assert result.exit_code == 4
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert list(good) == ["path", "label", "score", "probabilities", "uncertain", "faces"]
    assert good["faces"] == []
    assert good["score"] == good["probabilities"][good["label"]]
    assert list(bad) == ["path", "error"]
    assert bad["path"] == str(missing)


def test_csv_has_a_column_a_label(model_folder: Path, pictures: Path) -> None:
    (pictures / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = predict(model_folder, "--csv", pictures)
    assert result.exit_code == 4
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 3
    assert list(rows[0]) == [
        "path", "label", "score", "uncertain", "angry", "happy", "sad", "faces", "error",
    ]  # fmt: skip
    labels = ["angry", "happy", "sad"]
    whole, damaged = rows[0], rows[1]
    assert sum(float(whole[label]) for label in labels) == pytest.approx(1, abs=1e-4)
    assert damaged["path"].endswith("damaged.png")
    assert damaged["error"]
    assert damaged["label"] == ""


def test_with_mirror_a_picture_and_its_mirror_image_have_one_answer(tmp_path: Path) -> None:
    face = draw_face("sad", 2)
    face.save(tmp_path / "a.png")
    ImageOps.mirror(face).save(tmp_path / "b.png")

    def shares(*options: str) -> list[dict[str, float]]:
        result = predict(Path("edge-cnn"), "--json", *options, tmp_path)
        assert result.exit_code == 0, result.stderr
        return [json.loads(line)["probabilities"] for line in result.stdout.splitlines()]

    one, other = shares()
    assert abs(one["sad"] - other["sad"]) > 0.001
    mean = {label: (share + other[label]) / 2 for label, share in one.items()}
    assert shares("--mirror") == [pytest.approx(mean, abs=1e-6)] * 2


def test_the_others_are_still_processed(model_folder: Path, pictures: Path) -> None:
    (pictures / "empty").mkdir()
    result = predict(
        model_folder, pictures / "no.png", pictures / "a.png", pictures / "x*.png",
        pictures / "empty", pictures / "inner",
    )  # fmt: skip
    assert result.exit_code == 4
    assert len(result.stdout.splitlines()) == 2
    assert len(result.stderr.splitlines()) == 3


def test_pictures_in_a_folder_that_may_be_listed_but_not_entered_are_told(
    model_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(model_folder, pictures)
    closed = pictures / "a closed one" / "x.png"
    closed.parent.mkdir()
    closed.touch()
    ask = Path.stat

    def stat(self: Path, **options: bool) -> os.stat_result:
        if self == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return ask(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    result = predict(model_folder, pictures)
    assert result.exit_code == 4
    assert result.stdout == whole.stdout
    assert "x.png: the file is empty" in result.stderr  # it was tried, as all the others


def test_a_name_that_the_terminal_cannot_show_is_no_end(model_folder: Path, pictures: Path) -> None:
    draw_face("happy", 1).save(pictures / "a é中.png")
    for form in ([], ["--csv"], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "predict", "--model", model_folder, "--faces", "off",
             *form, pictures / "a é中.png", pictures / "a.png"],
            capture_output=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"}, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        *_, first, second = done.stdout.splitlines()
        if form != ["--json"]:
            assert b"a \xe9\\u4e2d.png" in first
        assert b"a.png" in second


def test_a_folder_that_cannot_be_listed_is_told(
    model_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(model_folder, pictures)
    (pictures / "closed").mkdir()
    close_folder(monkeypatch, pictures / "closed")
    result = predict(model_folder, pictures)
    assert result.stdout == whole.stdout
    assert "closed: Permission denied: the folder's pictures are passed over" in result.stderr
    assert result.exit_code == 4


def test_a_name_with_a_line_break_stays_one_line(model_folder: Path, pictures: Path) -> None:
    (pictures / "a.png").rename(pictures / "two\nlines.png")
    assert len(predict(model_folder, pictures).stdout.splitlines()) == 2


def test_annotated_copies_never_replace_a_picture(model_folder: Path, pictures: Path) -> None:
    draw_face("angry", 3).save(pictures / "inner" / "a.png")
    before = {p: p.read_bytes() for p in pictures.rglob("*.png")}
    result = predict(model_folder, pictures / "a.png", pictures / "inner" / "a.png",
                     "--annotate", pictures)  # fmt: skip
    assert result.exit_code == 0
    assert {p: p.read_bytes() for p in pictures.rglob("*.png")} == before
    made = sorted(p.name for p in pictures.glob("*-annotated*"))
    assert made == ["a-annotated-2.jpg", "a-annotated.jpg"]


def test_bytes_where_paths_were_expected(model_folder: Path) -> None:
    result = predict(model_folder, "-", stdin="\xff\0\x01\n")
    assert result.exit_code == 4
    assert len(result.stderr.splitlines()) == 1


def test_file_names_from_stdin_need_not_be_utf8(model_folder: Path, pictures: Path) -> None:
    picture = (pictures / "a.png").rename(os.fsdecode(os.fsencode(pictures) + b"/caf\xe9.png"))
    arguments = ["predict", "--model", str(model_folder), "--faces", "off", "--json", "-"]
    result = CliRunner().invoke(app, arguments, input=os.fsencode(picture) + b"\n")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["path"] == str(picture)


def test_a_file_that_fails_unexpectedly_is_not_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: str) -> Path:
        raise PermissionError(13, "Permission denied", "secret/card.json")

    monkeypatch.setattr("edge_emotion.artefacts.find_model", refuse)
    result = run("inspect")
    assert result.exit_code == 4
    assert result.stderr == "edge-emotion: secret/card.json: Permission denied\n"


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_answers_go_to_the_file_while_a_terminal_shows_progress(
    model_folder: Path, pictures: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    (pictures / f"{'long' * 50}.png").write_bytes(b"")
    command = [sys.executable, "-c", MAIN, "predict", "--model", model_folder, "--faces", "off"]
    terminal, its_end = pty.openpty()
    with (tmp_path / "answers").open("wb") as answers:
        process = subprocess.Popen([*command, *form, pictures], stdout=answers, stderr=its_end)
    os.close(its_end)
    shown = b""
    with suppress(OSError):  # how a terminal ends
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
    assert process.wait() == 4
    assert b"predicting" in shown
    assert f"{'long' * 50}.png: the file is empty\r\n".encode() in shown  # in one line
    piped = subprocess.run([*command, *form, pictures], capture_output=True, check=False).stdout
    assert (tmp_path / "answers").read_bytes() == piped
    assert piped.count(b"\n") >= 2


def test_a_label_that_is_a_column_of_csv_is_refused(tmp_path: Path, pictures: Path) -> None:
    model = tiny.write_model_folder(tmp_path / "m", card=tiny.make_card(labels=["a", "score", "b"]))
    result = predict(model, "--csv", pictures)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--csv: 'score' is a column and a label: use --json" in result.stderr
    assert predict(model, "--json", pictures).exit_code == 0


def test_links_to_nothing_are_told_of(model_folder: Path, pictures: Path) -> None:
    (pictures / "gone.jpg").symlink_to("/nowhere.jpg")
    (pictures / "self.jpg").symlink_to("self.jpg")
    (pictures / "gone").symlink_to("/nowhere")
    result = predict(model_folder, pictures)
    assert result.exit_code == 4
    assert len(result.stdout.splitlines()) == 2
    gone, loop = result.stderr.splitlines()
    assert "gone.jpg: No such file or directory" in gone
    assert "self.jpg: Too many levels of symbolic links" in loop


def test_an_empty_path_is_not_this_folder(
    model_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)  # with pictures in it
    result = predict(model_folder, "", "a.png")
    assert result.exit_code == 4
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == ["a.png"]
    (line,) = result.stderr.splitlines()
    assert "'': an empty path; . is this folder" in line
    rows = predict(model_folder, "--json", "").stdout.splitlines()
    assert [json.loads(row)["path"] for row in rows] == ["''"]
    assert len(predict(model_folder, ".").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("export edge-cnn --out", "--out: an empty path; . is this folder"),
        ("bench edge-cnn --json", "--json: an empty path; . is this folder"),
        ("train --out new", "data: an empty path; . is this folder"),
        ("predict card.json --annotate", "--annotate: an empty path; . is this folder"),
        ("crop . --out", "--out: an empty path; . is this folder"),
        ("bundle --out", "--out: an empty path; . is this folder"),
        ("export edge-cnn --calibration", "--calibration: an empty path; . is this folder"),
        ("inspect", "a model is a name or a path, not ''; . is this folder"),
    ],
)
def test_a_variable_that_was_never_set_is_not_this_folder(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, words: str
) -> None:
    monkeypatch.chdir(model_folder)
    before = {path: path.stat().st_mtime_ns for path in model_folder.iterdir()}
    result = run(*arguments.split(), "")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"edge-emotion: {words}\n"
    assert {path: path.stat().st_mtime_ns for path in model_folder.iterdir()} == before


def test_annotated_copies_need_a_folder(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("not ours")
    for out in (taken, taken / "inner"):
        result = predict(model_folder, pictures / "a.png", "--annotate", out)
        assert result.exit_code == 5
        (line,) = result.stderr.splitlines()
        assert f"{taken} is no folder, as is needed; name another place" in line
    assert taken.read_text() == "not ours"


def test_what_is_mistyped_is_usage(model_folder: Path, pictures: Path) -> None:
    picture = pictures / "a.png"
    assert predict(model_folder, picture, "--json", "--csv").exit_code == 2
    assert predict(model_folder, picture, "--threads", "0").exit_code == 2
    assert predict(model_folder, picture, "--faces", "yes").exit_code == 2
    mistyped = run("predict", "--model", "edge-cmn", picture)
    assert mistyped.exit_code == 2
    assert "did you mean 'edge-cnn'" in mistyped.stderr
    assert run("predict", "--model", pictures / "none.onnx", picture).exit_code == 4


def test_a_missing_extra_is_the_pip_command(
    model_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    result = run("predict", "--model", "edge-cnn", "--runtime", "litert", pictures / "a.png")
    assert result.exit_code == 3
    assert "pip install 'edge-emotion[litert]'" in result.stderr


def test_annotated_copies_in_the_folder_that_is_read_are_not_read_again(
    model_folder: Path, pictures: Path
) -> None:
    for _ in range(2):
        result = predict(model_folder, "--annotate", pictures, pictures)
        assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
            str(pictures / "a.png"), str(pictures / "inner" / "b.jpg"),
        ]  # fmt: skip
    copies = sorted(p.name for p in pictures.glob("*.jpg"))
    assert copies == ["a-annotated.jpg", "b-annotated.jpg"]
    # Without the option they are pictures as any other.
    assert len(predict(model_folder, pictures).stdout.splitlines()) == 4


@pytest.mark.parametrize(
    "words", [["inspect", "edge-cnn"], ["--version"], ["--help"]], ids=" ".join
)
def test_a_closed_stdout_is_an_output_that_cannot_be_written(words: list[str]) -> None:
    command = shlex.join([sys.executable, "-c", MAIN, *words])
    done = subprocess.run(
        ["sh", "-c", f"{command} >&-"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 5
    assert done.stderr == "edge-emotion: cannot write the output: Bad file descriptor\n"


def test_a_program_beside_the_commands_takes_closed_streams_as_they_do(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "edge_emotion.benchmarks.robustness", "edge-cnn", "--data"]
    command = shlex.join([*program, str(tmp_path / "none")])
    for closed in ">&-", "2>&-":
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (4, "")
        assert "Traceback" not in done.stderr
    done = subprocess.run([*program, ""], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--data: an empty path; . is this folder" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO /dev/full: a full disk is not tried")
def test_a_full_disk_under_stdout_is_one_line(model_folder: Path, pictures: Path) -> None:
    command = [sys.executable, "-c", MAIN, "predict",
               "--model", str(model_folder), "--faces", "off", str(pictures)]  # fmt: skip
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.splitlines() == [
        "edge-emotion: cannot write the output: No space left on device; if there is room, "
        "temporary files have none: set TMPDIR"
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO /dev/full: a full disk is not tried")
def test_a_full_disk_under_stderr_ends_no_work(model_folder: Path, pictures: Path) -> None:
    command = [sys.executable, "-c", MAIN, "predict",
               "--model", str(model_folder), "--faces", "off", "none.png",
               str(pictures)]  # fmt: skip
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 2


def test_names_that_the_terminal_cannot_write_end_no_command(tmp_path: Path) -> None:
    folder = tiny.write_model_folder(tmp_path / "tiny")
    card = tiny.make_card(labels=["angry", "happy", "漢字"])
    (folder / CARD_NAME).write_bytes(card.to_json())
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "inspect", str(folder)],
        capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"angry, happy, \u6f22\u5b57" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_with_130_and_other_signals_as_they_do(
    model_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", MAIN, "predict",
               "--model", str(model_folder), "--faces", "off", "-"]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job inherits "ignore", and Python then leaves it so.
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        picture = tmp_path / "a.png"
        draw_face("happy", 1).save(picture)
        process.stdin.write(f"{picture}\n")
        process.stdin.flush()
        assert str(picture) in process.stdout.readline()  # it is at work, waiting for the next
        process.send_signal(number)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert complaint.splitlines() == ["edge-emotion: interrupted"]


def test_inspect_shows_the_card_of_a_single_file(model_folder: Path) -> None:
    file = next(model_folder.glob("*.onnx"))
    card = json.loads(run("inspect", file, "--json").stdout)
    assert card["labels"] == ["angry", "happy", "sad"]
    page = run("inspect", file).stdout
    assert "angry, happy, sad" in page
    assert f"| {file.name} | {file.stat().st_size / 1000:.0f} kB |" in page
    assert run("inspect", model_folder / "none.onnx").exit_code == 4


def test_doctor_tells_how_to_get_what_is_missing() -> None:
    report = json.loads(run("doctor", "--json").stdout)
    names = {extra["name"] for extra in report["extras"]}
    assert names == {"litert", "faces", "export", "train", "tune", "bench"}
    assert "edge-emotion fetch yunet" in report["faces"]
    for extra in report["extras"]:
        assert extra["get"] == f"pip install 'edge-emotion[{extra['name']}]'"
    text = run("doctor").stdout
    assert report["machine"]["python"] in text
    assert "edge-cnn" in text
    assert report["faces"] in text


def test_doctor_tells_what_finds_faces(tiny_yunet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(run("doctor", "--json").stdout)["faces"] == f"yunet, {tiny_yunet}"
    monkeypatch.setenv("EDGE_EMOTION_DETECTOR", str(tiny_yunet.with_name("tiny.onnx")))
    damaged = run("doctor", "--json")
    assert damaged.exit_code == 0
    assert "tiny.onnx: damaged" in json.loads(damaged.stdout)["faces"]
    monkeypatch.delenv("EDGE_EMOTION_DETECTOR")
    monkeypatch.setitem(sys.modules, "dlib", None)
    assert json.loads(run("doctor", "--json").stdout)["faces"].startswith("no finder")
