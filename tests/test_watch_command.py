"""``edge-emotion watch`` as a process: signals, kills, a full disk, too little memory."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_emotion.cli import app
from tests import kill_watch, tiny
from tests.datasets import close_folder
from tests.kill_watch import command, size
from tests.test_cli_predict import predict
from tests.test_light import HEAVY, loaded


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ten pictures."""
    folder = tmp_path / "p"
    folder.mkdir()
    for i in range(10):
        Image.new("L", (16, 16), 250).save(folder / f"{i}.png")
    return folder


def start(*arguments: Path | str, limit: int | None = None) -> subprocess.Popen[str]:
    """The program, with SIGINT as a shell in the foreground gives it, and a limit on files."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    folder, out, model, *options = arguments
    return subprocess.Popen(
        command(Path(folder), Path(out), Path(model), *map(str, options)),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


def rows(out: Path) -> list[dict[str, object]]:
    data = out.read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def wait_for_lines(out: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while not out.exists() or out.read_bytes().count(b"\n") < number:
        assert time.monotonic() < deadline, "no lines"
        time.sleep(0.005)


def test_once_gives_what_predict_gives(place: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "r.jsonl"
    (place / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with start(place, out, model_folder, "--once") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (4, "")
    assert stderr.splitlines()[0] == f"watching {place}: 0 pictures have their line in {out}"
    assert len(stderr.splitlines()) == 2
    known = predict(model_folder, "--json", place).stdout.splitlines()
    expected = {row["path"]: row for row in map(json.loads, known)}
    for row in rows(out):
        assert {row.pop(name) is not None for name in ("size", "mtime_ns", "time")} == {True}
        if "error" in row:
            assert row["path"] == str(place / "bad.png")
        else:
            assert row == expected[row["path"]]
    assert len(rows(out)) == 11


def test_once_counts_a_sub_folder_that_cannot_be_listed(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "locked").mkdir()
    out = tmp_path / "r.jsonl"
    monkeypatch.setattr("edge_emotion.watch.run.limit_memory", lambda more: None)  # of this process
    close_folder(monkeypatch, place / "locked")
    arguments = [str(place), "--out", str(out), "--model", str(model_folder), "--faces", "off"]
    result = CliRunner().invoke(app, ["watch", *arguments, "--interval", "0.01", "--once"])
    assert result.stderr.count("locked' cannot be watched: Permission denied") == 1
    assert (result.exit_code, len(rows(out))) == (4, 10)
    assert predict(model_folder, place).exit_code == 4  # of the same folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("lines", [1, 10])  # in the middle of the work, and idle
def test_a_signal_ends_it_between_two_pictures(
    place: Path, tmp_path: Path, model_folder: Path, number: signal.Signals, code: int, lines: int
) -> None:
    out = tmp_path / "r.jsonl"
    with start(place, out, model_folder) as process:
        wait_for_lines(out, lines)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr.splitlines()[1:] == (["edge-emotion: interrupted"] if code else [])
    assert len(rows(out)) >= lines
    assert not out.with_name(".r.jsonl.attempts").exists()


def test_sigterm_while_it_starts(place: Path, tmp_path: Path, model_folder: Path) -> None:
    """Whenever it comes, a service manager sees a clean end: exit code 0, or ended by SIGTERM."""
    for delay in (0.0, 0.1, 0.2, 0.3):
        with start(place, tmp_path / "r.jsonl", model_folder) as process:
            time.sleep(delay)
            process.terminate()
            _, stderr = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in stderr


def test_a_background_job_ignores_ctrl_c(place: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "r.jsonl"
    with subprocess.Popen(
        command(place, out, model_folder),
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    ) as process:
        wait_for_lines(out, 1)
        process.send_signal(signal.SIGINT)
        wait_for_lines(out, 10)
        process.terminate()
    assert process.returncode == 0


def test_a_second_one_on_the_same_file(place: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "r.jsonl"
    with start(place, out, model_folder) as first:
        wait_for_lines(out, 1)
        with start(place, out, model_folder) as second:
            _, stderr = second.communicate(timeout=60)
        first.terminate()
    assert (first.returncode, second.returncode) == (0, 5)
    (line,) = stderr.splitlines()
    assert line.startswith(f"edge-emotion: {out} is being written by another edge-emotion watch")


def test_a_full_disk_is_one_line_and_nothing_is_torn(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    out = tmp_path / "r.jsonl"
    with start(place, out, model_folder, limit=1000) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 5
    assert stderr.splitlines()[1:] == [
        f"edge-emotion: cannot write {out}: File too large; free space and start again: no line "
        "is lost, and none comes twice"
    ]
    assert 0 < len(rows(out)) < 10
    with start(place, out, model_folder, "--once") as process:
        process.communicate(timeout=60)
    assert sorted(str(row["path"]) for row in rows(out)) == sorted(map(str, place.iterdir()))


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_picture_larger_than_the_memory_allowed(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    out = tmp_path / "r.jsonl"
    Image.new("RGB", (4000, 4000)).save(place / "vast.png")  # twice 64 MB once decoded
    options = ["--memory", "32"] if how == "option" else []
    with monkeypatch.context() as patch:
        if not options:  # as a service's drop-in
            patch.setenv("EDGE_EMOTION_MEMORY", "32")
        with start(place, out, model_folder, "--once", *options) as process:
            process.communicate(timeout=60)
    assert process.returncode == 4
    (error,) = [row for row in rows(out) if "error" in row]
    assert error["path"] == str(place / "vast.png")
    assert error["error"] == "too large for the memory that is left"
    assert len(rows(out)) == 11
    with start(place, tmp_path / "again.jsonl", model_folder, "--once") as process:
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_is_missing_or_mistyped(place: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "r.jsonl"
    for arguments, code, words in (
        ((tmp_path / "none", out, model_folder), 4, "name a folder of pictures"),
        ((place / "1.png", out, model_folder), 4, "name a folder of pictures"),
        ((place / ("x" * 300), out, model_folder), 4, "name a folder of pictures"),
        ((place, place, model_folder), 5, "name another place"),
        ((place, out, "edge-cmn"), 2, "did you mean 'edge-cnn'"),
        ((place, out, model_folder, "--threads", "0"), 2, "threads"),
        ((place, out, model_folder, "--interval", "-1"), 2, "--interval"),
        ((place, out, model_folder, "--interval", "nan"), 2, "--interval nan is no number"),
        ((place, out, model_folder, "--memory", "99999999999999999999"), 2, "32<=x<=1000000"),
    ):
        with start(*arguments) as process:
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == code, stderr
        assert words in stderr.splitlines()[-1]
    assert size(out) == 0


@pytest.mark.parametrize(
    ("folder", "out", "words"),
    [
        ("", "r.jsonl", "folder: an empty path; . is this folder"),
        ("p", "-", "--out -: name a file; watch also reads its results"),
        ("p", "p/r.JPG", "--out p/r.JPG: .JPG is a picture's ending; results.jsonl is none"),
        ("p", "", "--out: an empty path; . is this folder"),
    ],
)
def test_a_name_that_is_none(place: Path, folder: str, out: str, words: str) -> None:
    with chdir(place.parent):
        result = CliRunner().invoke(app, ["watch", folder, "--out", out])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"edge-emotion: {words}\n"
    assert [p.name for p in place.parent.iterdir()] == ["p"]


def test_the_most_memory_that_can_be_allowed_is_taken(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    out = tmp_path / "r.jsonl"
    with start(place, out, model_folder, "--once", "--memory", "1000000") as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(rows(out)) == 10


def test_killed_again_and_again(tmp_path: Path) -> None:
    """The trial with a hundred kills over a thousand pictures: python -m tests.kill_watch."""
    tally = kill_watch.trial(tmp_path, kills=10, pictures=100, seed=int(os.environ.get("SEED", 7)))
    assert (tally.kills, tally.lines) == (10, 100)


def test_it_loads_nothing_heavy(place: Path, tmp_path: Path, model_folder: Path) -> None:
    code = """
import contextlib
sys.argv = ["edge-emotion", "watch", sys.argv[1], "--out", sys.argv[2], "--model", sys.argv[3],
            "--faces", "off", "--interval", "0.01", "--once"]
with contextlib.suppress(SystemExit), contextlib.redirect_stderr(None):
    from edge_emotion.cli import main
    main()
"""
    out = tmp_path / "r.jsonl"
    modules = loaded(code, str(place), str(out), str(model_folder))
    assert len(rows(out)) == 10
    assert "onnxruntime" in modules
    assert not modules & {*HEAVY, "rich"}


def test_the_model_of_these_tests_is_small(model_folder: Path) -> None:
    assert size(model_folder / "model-int8.onnx") < 10_000
    assert tiny.LABELS == ["angry", "happy", "sad"]


def test_nothing_is_stored_beside_the_results(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    """onnxruntime's wheels keep a device's name and usage events to send, unless told not to."""
    home = tmp_path / "home"
    home.mkdir()
    told = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in told}
    subprocess.run(
        command(place, tmp_path / "r.jsonl", model_folder, "--once"),
        env=environment | {"HOME": str(home)}, check=True, capture_output=True,
    )  # fmt: skip
    assert len(rows(tmp_path / "r.jsonl")) == 10
    assert list(home.rglob("*")) == []
