"""What an emulated board shows of itself, and machines that cannot emulate."""

from __future__ import annotations

import platform
import stat
from pathlib import Path

import pytest

from edge_emotion.machine import environment_name, read_conditions, read_machine

from . import prove
from .boards import BOARDS, PI4, PI5, Board
from .emulator import CannotEmulateError, Qemu


def board_root(board: Board, folder: Path) -> Path:
    board.write(folder)
    (folder / "proc").mkdir()
    (folder / "cpuinfo").rename(folder / "proc/cpuinfo")
    (folder / "device-tree").rename(folder / "proc/device-tree")
    return folder


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.cpu)
def test_the_board_s_files_are_read_as_that_board(board: Board, tmp_path: Path) -> None:
    root = board_root(board, tmp_path)
    machine = read_machine(root, "aarch64")
    assert machine.cpu.lower() == board.cpu
    assert machine.board == board.model
    assert machine.has_dot_product is (board is PI5)
    assert machine.governor == "ondemand"
    assert environment_name(machine).startswith("aarch64-raspberry-pi-")
    conditions = read_conditions(root)
    assert conditions.temperature == 48.686
    assert conditions.throttling == [
        "under-voltage now", "throttled now", "under-voltage since boot", "throttled since boot",
    ]  # fmt: skip


def test_another_processor_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(CannotEmulateError, match="this is Linux aarch64"):
        Qemu.unpack(tmp_path)


def test_another_linux_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(CannotEmulateError, match="no apt-get: this needs Debian"):
        Qemu.unpack(tmp_path)


def test_no_mirror_is_a_loud_skip_and_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("apt-get", "dpkg-deb"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'E: no route to the mirror' >&2\nexit 100\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(prove, "BUILD", tmp_path / "build")
    monkeypatch.setattr("sys.argv", ["make pi"])
    assert prove.main() == 0
    said = capsys.readouterr()
    assert "SKIPPED: THE EMULATED RASPBERRY PI WAS NOT TRIED" in said.err
    assert "no route to the mirror" in said.err or "debian-archive-keyring" in said.err
    assert not (tmp_path / "build/tools").exists()


def test_a_board_that_answers_otherwise_is_a_failure() -> None:
    line = '{"path": "/mnt/pictures/a", "label": "%s", "uncertain": false}\n'
    assert prove.answers(line % "sad") == [("a", "sad", False)]
    assert prove.answers(line % "sad") != prove.answers(line % "happy")


def test_in_parallel_keeps_the_order_and_the_first_error() -> None:
    assert prove.in_parallel([lambda n=n: n for n in range(5)], 2) == [0, 1, 2, 3, 4]

    def fail() -> int:
        raise RuntimeError("this one")

    with pytest.raises(RuntimeError, match="this one"):
        prove.in_parallel([lambda: 1, fail, lambda: 2], 1)


def test_the_boards_are_those_of_the_advice() -> None:
    assert "asimddp" in PI5.features.split()
    assert "asimddp" not in PI4.features.split()
