"""The parts of ``edge-emotion watch``: folder, results, loop. Processes: test_watch_command.py."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from PIL import Image

from edge_emotion import InputError, OutputError, PictureError, Predictor
from edge_emotion.reading import make_reader
from edge_emotion.watch import Results, Stop, Watcher, folder, run
from edge_emotion.watch.attempts import MOST_ATTEMPTS, Attempts
from edge_emotion.watch.folder import Found, Waiting, picture_key, pictures
from tests import tiny


def row(number: int) -> dict[str, Any]:
    return {"path": f"/p/{number}.png", "label": "happy", "size": 9, "mtime_ns": number}


def key(number: int) -> int:
    return picture_key(f"/p/{number}.png", 9, number)


def fill(path: Path, *numbers: int) -> bytes:
    results = Results(path)
    for number in numbers:
        results.append(row(number))
    results.close()
    return path.read_bytes()


def png(path: Path, shade: int = 250, **times: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), shade).save(path)
    if times:
        os.utime(path, ns=(times["ns"], times["ns"]))
    return path


# --- results


def test_what_has_a_line_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.jsonl"
    assert fill(path, 1, 2).count(b"\n") == 2
    again = Results(path)
    assert key(1) in again
    assert key(3) not in again
    again.append(row(3))
    again.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [row(1), row(2), row(3)]


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    whole = fill(path, 1, 2)
    one = whole.index(b"\n") + 1
    for end in range(one, len(whole)):
        lost = len(whole) - end
        for tail in (b"", b"\0" * lost, b"\0" * (lost - 1) + b"\n"):
            path.write_bytes(whole[:end] + tail)
            notes: list[str] = []
            results = Results(path, notes.append)
            results.close()
            if whole[:end] + tail == whole:
                continue
            assert path.read_bytes() == whole[:one], (end, tail)
            assert (key(1) in results, key(2) in results) == (True, False)
            if end > one or tail:
                assert notes == [f"{path}: the last line was torn; its picture is predicted again"]


def test_first_block_lost_and_last_written(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    whole = fill(path, 1, 2)
    one = whole.index(b"\n") + 1
    path.write_bytes(whole[:one] + b"\0" * 20 + whole[one + 20 :])
    Results(path).close()
    assert path.read_bytes() == whole[:one]


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"a diary\n", 1),
        (b"no line end", 1),
        (b"path,label\nx.png,happy\n", 1),
        (b"[]\n", 1),
        (b'{"path": 1, "size": 2, "mtime_ns": 3}\n', 1),
        (b'{"path": "x", "size": true, "mtime_ns": 3}\n{}\n', 1),
        (b'{"path": "x", "size": 2, "mtime_ns": 3}\nmine\n', 2),
        (b"\xff\xd8\xff\xe0" * 1_000_000, 1),
        (b'{"path": "of predict --json.png", "label": "sad"}\n', 1),
        (b'{"path": "torn in the mi\n{"path": "x", "size": 2, "mtime_ns": 3}\n', 1),
    ],
)
def test_another_file_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, number: int
) -> None:
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=f"line {number} is not one of edge-emotion watch"):
        Results(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OutputError):
            Results(path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="name another place"):
        Results(tmp_path / "file" / "r.jsonl")


def test_only_one_at_a_time(tmp_path: Path) -> None:
    first = Results(tmp_path / "r.jsonl")
    with pytest.raises(OutputError, match="is being written by another edge-emotion watch"):
        Results(tmp_path / "r.jsonl")
    first.close()
    Results(tmp_path / "r.jsonl").close()


def test_a_failed_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.jsonl"
    before = fill(path, 1)
    results = Results(path)
    write = os.write
    parts = iter([10, 5])

    def full(fd: int, data: Any) -> int:
        part = next(parts, None)
        if part is None:
            raise OSError(28, "No space left on device")
        return write(fd, bytes(data[:part]))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left on device; free space and start again"):
        results.append(row(2))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert key(2) not in results
    results.append(row(2))
    results.close()
    assert path.read_bytes() == before + json.dumps(row(2)).encode() + b"\n"


@pytest.mark.parametrize("what", ["removed", "renamed", "truncated", "replaced"])
def test_a_file_that_somebody_changed_is_read_anew(tmp_path: Path, what: str) -> None:
    path = tmp_path / "r.jsonl"
    whole = fill(path, 1, 2)
    notes: list[str] = []
    results = Results(path, notes.append)
    results.refresh()
    assert notes == []
    left = b""
    if what == "removed":
        path.unlink()
    elif what == "renamed":
        path.rename(tmp_path / "r.jsonl.1")
    elif what == "truncated":
        path.write_bytes(b"")
    else:
        left = whole[: whole.index(b"\n") + 1]
        (tmp_path / "other").write_bytes(left)
        (tmp_path / "other").rename(path)
    results.refresh()
    assert (key(1) in results, key(2) in results) == (bool(left), False)
    assert notes == [f"{path} was moved or changed: it has {len(results)} pictures now"]
    results.append(row(3))
    results.close()
    assert path.read_bytes() == left + json.dumps(row(3)).encode() + b"\n"


def test_a_line_costs_about_a_hundred_bytes_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    number = 20_000
    path.write_text("".join(json.dumps(row(i)) + "\n" for i in range(number)))
    tracemalloc.start()
    results = Results(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    results.close()
    assert len(results) == number
    assert peak < 200 * number  # the set doubles when it grows


# --- folder


def found_in(root: Path) -> list[str]:
    def fail(path: str, error: OSError) -> None:
        raise error

    return sorted(Path(f.path).relative_to(root).as_posix() for f in pictures(root, fail))


def test_pictures_are_files_with_a_picture_s_ending(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "sub/deeper/c.webp"):
        png(tmp_path / "d.png").rename(png(tmp_path / name))
    for name in (".half.png", ".hidden/d.png", "e.txt", "f", "g.png.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert found_in(tmp_path) == ["a.png", "b.JPG", "sub/deeper/c.webp"]


def test_names_need_not_be_utf_8(tmp_path: Path, model_folder: Path) -> None:
    name = os.fsdecode(b"\xff\n.png")
    png(tmp_path / "p" / name)
    out = tmp_path / "r.jsonl"
    for _ in range(2):
        watch(tmp_path / "p", out, model_folder, [])
    (line,) = lines(out)
    assert Path(line["path"]).name == name


def test_a_folder_that_was_deleted_and_is_still_there_is_an_input_error(tmp_path: Path) -> None:
    """As a service sees it, whose view of the folder outlives its name."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    held = os.open(folder, os.O_RDONLY)
    try:
        seen = Path(f"/proc/self/fd/{held}")
        assert found_in(seen) == []
        folder.rmdir()
        assert os.listdir(seen) == []  # noqa: PTH208
        with pytest.raises(InputError, match="it was deleted"):
            found_in(seen)
    finally:
        os.close(held)


def test_a_folder_that_is_gone_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot watch .*gone: No such file or directory"):
        found_in(tmp_path / "gone")


def test_a_sub_folder_that_cannot_be_read_is_told_once(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png(tmp_path / "p" / "a.png")
    png(tmp_path / "p" / "locked" / "b.png")
    scandir = os.scandir

    def guarded(path: Any) -> Any:  # root may read whatever its mode is
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    notes = watch(tmp_path / "p", tmp_path / "r.jsonl", model_folder, [])
    assert notes == [f"{str(tmp_path / 'p' / 'locked')!r} cannot be watched: Permission denied"]
    assert labels(tmp_path / "r.jsonl") == {"a.png": ["happy"]}


def test_a_picture_counts_its_looks_until_it_changes() -> None:
    waiting = Waiting(done={Found("/old", 1, 1).key})
    a, b = Found("/a", 1, 5), Found("/b", 1, 3)
    grown = Found("/a", 2, 6)
    assert waiting.look(iter([a, b, Found("/old", 1, 1)])) == [(b, 1), (a, 1)]
    assert waiting.look(iter([grown, b])) == [(b, 2), (grown, 1)]
    assert waiting.look(iter([grown])) == [(grown, 2)]
    assert waiting.look(iter([grown, b])) == [(b, 1), (grown, 3)]


def test_only_so_many_are_kept_in_mind_and_those_are_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder, "MOST_WAITING", 3)
    many = [Found(f"/{i}", 1, i) for i in range(100)]
    kept = Waiting(done=set()).look(iter(reversed(many)))
    assert [f.path for f, _ in kept] == ["/0", "/1", "/2"]


# --- the loop, with a clock of its own


class Steps(Stop):
    """Instead of waiting it does the next thing; ends after the last, and some looks more."""

    def __init__(self, steps: list[Callable[[], object]], more: int) -> None:
        self.steps = [*steps, *[lambda: None] * more]

    def asked(self) -> bool:
        return not self.steps

    def wait(self, seconds: float) -> None:
        self.steps.pop(0)()


def watch(
    where: Path,
    out: Path,
    model: Path,
    steps: list[Callable[[], object]],
    more: int = 14,
    faces: str = "off",
) -> list[str]:
    """Watch through these steps and `more` looks; gives what was said."""
    notes: list[str] = []
    results = Results(out)
    try:
        read = make_reader(Predictor(model), faces)
        Watcher(where, results, read, Steps(steps, more), note=notes.append).run()
    finally:
        results.close()
    return notes


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def labels(out: Path) -> dict[str, list[str]]:
    """Name -> what its lines say, in order."""
    found: dict[str, list[str]] = {}
    for line in lines(out):
        found.setdefault(Path(line["path"]).name, []).append(line.get("label") or line["error"])
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return png(tmp_path / "p" / "old.png", 20).parent


def test_each_picture_once(place: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "r.jsonl"
    watch(place, out, model_folder, [lambda: png(place / "new.png", 128)])
    watch(place, out, model_folder, [lambda: png(place / "after.png", 250)])
    assert labels(out) == {"old.png": ["sad"], "new.png": ["angry"], "after.png": ["happy"]}
    status = (place / "old.png").stat()
    assert list(lines(out)[0]) == [
        "path", "label", "score", "probabilities", "uncertain", "faces", "size", "mtime_ns", "time",
    ]  # fmt: skip
    assert lines(out)[0]["path"] == str(place / "old.png")
    assert (lines(out)[0]["size"], lines(out)[0]["mtime_ns"]) == (
        status.st_size,
        status.st_mtime_ns,
    )


def test_the_oldest_first(tmp_path: Path, model_folder: Path) -> None:
    place = tmp_path / "p"
    for name, second in (("a", 3), ("b", 1), ("c", 2)):
        png(place / f"{name}.png", ns=second * 10**9)
    watch(place, tmp_path / "r.jsonl", model_folder, [])
    assert list(labels(tmp_path / "r.jsonl")) == ["b.png", "c.png", "a.png"]


def test_a_picture_is_not_read_while_it_is_written(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    data = png(tmp_path / "whole.png", 250).read_bytes()
    parts = [data[:i] for i in range(10, len(data), 10)] + [data]
    steps = [lambda part=part: (place / "slow.png").write_bytes(part) for part in parts]
    out = tmp_path / "r.jsonl"
    assert watch(place, out, model_folder, steps) == []
    assert labels(out) == {"old.png": ["sad"], "slow.png": ["happy"]}


def test_a_writer_that_is_held_up_for_a_few_looks(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    data = png(tmp_path / "whole.png", 250).read_bytes()
    slow = place / "slow.png"
    steps: list[Callable[[], object]] = [lambda: slow.write_bytes(data[:50])]
    steps += [lambda: None] * (run.LAST_TRY - 2) + [lambda: slow.write_bytes(data)]
    out = tmp_path / "r.jsonl"
    assert watch(place, out, model_folder, steps) == []
    assert labels(out) == {"old.png": ["sad"], "slow.png": ["happy"]}


def test_a_damaged_picture_gets_one_line_that_says_so(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    bad = place / "bad.png"
    bad.write_bytes(png(tmp_path / "whole.png").read_bytes()[:50])
    (place / "empty.png").touch()
    out = tmp_path / "r.jsonl"
    notes = watch(place, out, model_folder, [])
    assert len(notes) == 2
    watch(place, out, model_folder, [], more=30)
    assert Counter(len(said) for said in labels(out).values()) == {1: 3}
    error = {Path(line["path"]).name: line for line in lines(out) if "error" in line}
    assert list(error["bad.png"]) == ["path", "error", "size", "mtime_ns", "time"]
    assert error["bad.png"]["error"].startswith("damaged or truncated: ")
    assert error["empty.png"]["error"] == "the file is empty"


def test_a_new_picture_of_an_old_name_is_new(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    steps: list[Callable[[], object]] = [lambda: None] * 4
    steps += [lambda: png(place / "old.png", 250)]
    watch(place, tmp_path / "r.jsonl", model_folder, steps)
    assert labels(tmp_path / "r.jsonl") == {"old.png": ["sad", "happy"]}


def test_results_that_are_moved_away_begin_anew(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    out, older = tmp_path / "r.jsonl", tmp_path / "r.1.jsonl"

    def rotate() -> None:
        out.rename(older)
        (place / "old.png").rename(tmp_path / "archived.png")
        png(place / "new.png", 250)

    watch(place, out, model_folder, [*[lambda: None] * 4, rotate])
    assert (labels(older), labels(out)) == ({"old.png": ["sad"]}, {"new.png": ["happy"]})


def test_a_folder_that_goes_away_ends_it(place: Path, tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(InputError, match="cannot watch"):
        watch(place, tmp_path / "r.jsonl", model_folder, [lambda: place.rename(tmp_path / "q")])


def test_what_took_the_picture_s_place_is_not_read(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png")
    status = path.stat()
    seen = Found(str(path), status.st_size, status.st_mtime_ns)
    assert run.read_whole(seen) == path.read_bytes()
    os.utime(path, ns=(1, 1))
    assert run.read_whole(seen) is None
    path.unlink()
    assert run.read_whole(seen) is None
    os.mkfifo(path)
    assert run.read_whole(seen) is None
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(PictureError, match="symbolic links"):
        run.read_whole(seen)
    with pytest.raises(PictureError, match="larger than 358 MB"):
        run.read_whole(Found(str(path), 1 << 40, 1))


# --- a picture that ends the process


def test_a_picture_that_ended_several_processes_is_left_alone(
    place: Path, tmp_path: Path, model_folder: Path
) -> None:
    out = tmp_path / "r.jsonl"
    png(place / "new.png", 250)
    status = (place / "old.png").stat()
    culprit = picture_key(str(place / "old.png"), status.st_size, status.st_mtime_ns)
    for _ in range(MOST_ATTEMPTS):
        assert Attempts(out).begin(culprit)  # and then this process is no more
    assert not Attempts(out).begin(culprit)
    assert Attempts(out).begin(culprit + 1)
    for _ in range(MOST_ATTEMPTS - 1):
        Attempts(out).begin(culprit)
    Attempts(out).begin(culprit)
    watch(place, out, model_folder, [])
    assert labels(out) == {"old.png": ["ended the process 3 times"], "new.png": ["happy"]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "r.jsonl", "tiny"]


def test_an_engine_that_fails_on_a_picture_is_counted(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(run, "answer_row", lambda *_: 1 / 0)
        for _ in range(MOST_ATTEMPTS):
            with pytest.raises(ZeroDivisionError):
                watch(place, out, model_folder, [])
    watch(place, out, model_folder, [])
    assert labels(out) == {"old.png": ["ended the process 3 times"]}


def test_a_damaged_picture_that_waits_does_not_hide_one_that_ends_the_process(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older one is read first at every start, and gets its line only after many looks."""
    out = tmp_path / "r.jsonl"
    (place / "old.png").write_bytes(b"")
    os.utime(place / "old.png", (1, 1))
    png(place / "new.png", 250)
    with monkeypatch.context() as patch:
        patch.setattr(run, "answer_row", lambda *_: 1 / 0)
        for _ in range(MOST_ATTEMPTS):
            with pytest.raises(ZeroDivisionError):
                watch(place, out, model_folder, [])
    watch(place, out, model_folder, [], more=run.LAST_TRY)
    assert labels(out) == {"new.png": ["ended the process 3 times"], "old.png": [ANY]}


def test_pictures_that_ended_processes_are_counted_apart(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    for count in range(1, MOST_ATTEMPTS + 1):
        for key in (7, 8):
            attempts = Attempts(out)
            assert attempts.begin(1 << 63)
            attempts.survived()
            assert attempts.begin(key)  # and then this process is no more
            assert attempts.path.read_bytes().count(b"\n") == (1 if (count, key) == (1, 7) else 2)
    attempts = Attempts(out)
    assert not attempts.begin(7)
    attempts.survived()  # it has its line
    assert not attempts.begin(8)
    attempts.survived()
    assert attempts.begin(9)
    assert attempts.path.read_bytes() == b"%016x %08d\n" % (9, 1)


def test_a_full_disk_is_no_picture_s_fault(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.jsonl"

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    for _ in range(2 * MOST_ATTEMPTS):  # the service starts again and again
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OutputError, match="No space left on device"):
                watch(place, out, model_folder, [])
    watch(place, out, model_folder, [])
    assert labels(out) == {"old.png": ["sad"]}


def test_a_picture_that_is_never_the_one_that_was_seen_is_not_blamed(
    place: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network's disk whose listing is older than its files."""
    out = tmp_path / "r.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(run, "read_whole", lambda picture: None)
        watch(place, out, model_folder, [], more=run.LAST_TRY + 2 * MOST_ATTEMPTS)
    assert lines(out) == []
    watch(place, out, model_folder, [])
    assert labels(out) == {"old.png": ["sad"]}


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 26, b"f" * 16 + b" -1\n"])
def test_a_damaged_count_counts_nothing(tmp_path: Path, content: bytes) -> None:
    attempts = Attempts(tmp_path / "r.jsonl")
    attempts.path.write_bytes(content)
    assert Attempts(tmp_path / "r.jsonl").begin(7)


def test_a_tried_picture_may_be_tried_again_by_the_same_process(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "r.jsonl")
    for _ in range(5 * MOST_ATTEMPTS):
        assert attempts.begin(7)
        attempts.survived()


def test_tiny_labels_are_what_these_tests_take_them_for() -> None:
    assert tiny.SHADES == {20: "sad", 128: "angry", 250: "happy"}
