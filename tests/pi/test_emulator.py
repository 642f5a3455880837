"""What an emulated board shows of itself, and machines that cannot emulate."""

from __future__ import annotations

import platform
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from edge_emotion.machine import environment_name, read_conditions, read_machine

from . import prove
from .boards import BOARDS, PI4, PI5, Board
from .emulator import CannotEmulateError, Pi, Qemu

NO_NETWORK = """
import os, socket
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError as error:
    print(os.strerror(error.errno))
"""


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    """The emulated Pi that make pi left, with a home of its own."""
    build = prove.BUILD.resolve()
    if not all((build / name / ".made-from").is_file() for name in ("tools", "bookworm")):
        pytest.skip("NO EMULATED PI: make pi unpacks it into build/pi")
    for name in ("home", "exchange", "boards"):
        (tmp_path / name).mkdir()
    for board in BOARDS:
        board.write(tmp_path / "boards" / board.cpu)
    found = Pi(
        Qemu(build / "tools"), build / "bookworm", tmp_path / "home", tmp_path / "exchange",
        tmp_path / "boards",
    )  # fmt: skip
    try:
        found.check(PI4)
    except CannotEmulateError as error:
        pytest.skip(f"THE EMULATED PI WAS NOT TRIED: {error}")
    return found


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


class _Said(Pi):
    """An emulator that says what it is told to, one ending after the other."""

    def command(self, board: Board, command: Sequence[str], *options: str) -> list[str]:
        script, counter = " ".join(command), self.home / "calls"
        return ["sh", "-c", f"echo x >>{counter}; n=$(wc -l <{counter}); {script}"]


def said(folder: Path) -> Pi:
    return _Said(Qemu(folder), folder, folder, folder, folder)


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


HEAP = "malloc(): unaligned tcache chunk detected"


def test_when_qemu_itself_dies_it_is_run_again(tmp_path: Path) -> None:
    script = f'[ $n = 3 ] || {{ echo "{HEAP}" >&2; exit 127; }}; echo done'
    assert said(tmp_path).run(PI4, [script]).stdout == "done\n"
    assert calls(tmp_path) == 3


def test_when_it_always_dies_that_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 127"):
        said(tmp_path).run(PI4, [f'echo "{HEAP}" >&2; exit 127'])
    assert calls(tmp_path) == 3


def test_a_program_whose_own_heap_breaks_is_not_run_again(tmp_path: Path) -> None:
    lines = f"{HEAP}\\nqemu: uncaught target signal 6 (Aborted) - core dumped"
    with pytest.raises(RuntimeError, match="exit code 134"):
        said(tmp_path).run(PI4, [f'printf "{lines}\\n" >&2; exit 134'])
    assert calls(tmp_path) == 1


def test_a_program_that_fails_is_not_run_again(tmp_path: Path) -> None:
    done = said(tmp_path).run(PI4, ["exit 3"], check=False)
    assert (done.returncode, calls(tmp_path)) == (3, 1)


def test_a_killed_program_does_not_end_with_0(pi: Pi) -> None:
    """PRoot alone would say 0."""
    done = pi.run(PI4, ["sh", "-c", "kill -KILL $$"], check=False)
    assert done.returncode == 128 + 9
    assert pi.run(PI4, ["sh", "-c", "exit 7"], check=False).returncode == 7


def test_the_emulated_pi_has_its_board_and_no_network(pi: Pi) -> None:
    script = "uname -m; tail -n 1 /proc/cpuinfo; cat /sys/devices/system/cpu/present; id -u"
    lines = pi.run(PI5, ["sh", "-c", script]).stdout.splitlines()
    assert lines[0] == "aarch64"
    assert lines[1].endswith(PI5.model)
    assert lines[2] == "0-3"
    route = pi.run(PI5, ["python3", "-c", NO_NETWORK]).stdout
    assert route == "Network is unreachable\n"


def test_nothing_stays_mounted(pi: Pi) -> None:
    pi.run(PI4, ["true"])
    assert str(pi.root) not in Path("/proc/self/mountinfo").read_text("utf-8")


def test_a_board_that_answers_otherwise_is_a_failure() -> None:
    line = '{"path": "/mnt/pictures/a", "label": "%s", "uncertain": false}\n'
    assert prove.answers(line % "sad") == [("a", "sad", False)]
    assert prove.answers(line % "sad") != prove.answers(line % "happy")


def test_in_parallel_keeps_the_order_and_the_first_error() -> None:
    assert prove.in_parallel([partial(int, n) for n in range(5)], 2) == [0, 1, 2, 3, 4]

    def fail() -> int:
        raise RuntimeError("this one")

    with pytest.raises(RuntimeError, match="this one"):
        prove.in_parallel([lambda: 1, fail, lambda: 2], 1)


def test_the_boards_are_those_of_the_advice() -> None:
    assert "asimddp" in PI5.features.split()
    assert "asimddp" not in PI4.features.split()
