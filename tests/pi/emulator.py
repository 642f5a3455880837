"""Debian for ARM in a folder, and programs in it as on a Raspberry Pi.

A program runs in a mount and network namespace of its own, changed to that folder; QEMU translates
its instructions, and PRoot hands each program that it starts to QEMU in turn, so that an installer
runs as it is. (PRoot alone could stand in for the mounts, but Debian's does not know newer system
calls, faccessat2 for one.) Both come out of Debian's packages into a folder: nothing is installed
on this machine, and where user namespaces are allowed, root is not needed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .boards import BOARDS, Board

HERE = Path(__file__).parent
#: The plugin's API is that of QEMU 7.2, so QEMU is bookworm's whatever the emulated system is.
TOOLS = ("bookworm", "amd64", "qemu-user", "proot")
#: What every Raspberry Pi OS Lite has and an installer may call.
SYSTEM = (
    "python3", "python3-venv", "libstdc++6", "bash", "ca-certificates", "coreutils", "dash",
    "findutils", "grep", "gzip", "mawk", "sed", "tar", "util-linux",
)  # fmt: skip

ATTEMPTS = 3
QEMU, PROOT, LIBRARIES = "/usr/bin/qemu-", "/usr/bin/proot", "usr/lib/x86_64-linux-gnu"
#: Only ever run by unshare: what it mounts is gone with the program.
ENTER = f"""
root=$1 tools=$2 board=$3 home=$4 exchange=$5
shift 5
mount --rbind "$tools" "$root/tools"
mount --rbind "$board" "$root/boards"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$board/cpuinfo" "$root/proc/cpuinfo"
mount --rbind "$board/sys" "$root/sys"
mount --rbind "$home" "$root/home/pi"
mount --rbind "$exchange" "$root/mnt"
export LD_LIBRARY_PATH=/tools/{LIBRARIES}
exec chroot "$root" "$@"
"""


class CannotEmulateError(Exception):
    """This machine cannot run the emulator; in a line, why."""


def _unpack(suite: str, arch: str, root: Path, packages: Sequence[str]) -> None:
    command = [str(HERE / "debian.sh"), suite, arch, str(root), *packages]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise CannotEmulateError(
            f"no {suite} packages for {arch}: {' '.join(done.stdout.split())[-300:]}"
        )


@dataclass(frozen=True)
class Qemu:
    """QEMU and PRoot, unpacked."""

    tools: Path

    @classmethod
    def unpack(cls, build: Path) -> Qemu:
        """Get them, or keep those that are there.

        Raises:
            CannotEmulateError: another machine than Linux on x86-64, no apt, or no mirror.
        """
        here = f"{platform.system()} {platform.machine()}"
        if here != "Linux x86_64":
            raise CannotEmulateError(f"QEMU comes as Debian's packages for x86-64; this is {here}")
        for program in ("apt-get", "dpkg-deb"):
            if shutil.which(program) is None:
                raise CannotEmulateError(f"no {program}: this needs Debian or Ubuntu")
        tools = build / "tools"
        suite, arch, *packages = TOOLS
        _unpack(suite, arch, tools, packages)
        return cls(tools.resolve())

    def program(self, guest: str) -> str:
        """The emulator of a processor: "aarch64" or "x86_64"."""
        return f"{self.tools}{QEMU}{guest}"

    @property
    def environment(self) -> dict[str, str]:
        """In which the tools find their libraries."""
        return {**os.environ, "LD_LIBRARY_PATH": str(self.tools / LIBRARIES)}

    def command(self, guest: str, cpu: str, *options: str) -> list[str]:
        """QEMU alone, before a program; what it runs does not see the tools' libraries."""
        return [self.program(guest), "-cpu", cpu, "-U", "LD_LIBRARY_PATH", *options]

    @property
    def version(self) -> str:
        """As "7.2.22 (Debian 1:7.2+dfsg-7)"."""
        text = subprocess.run(
            [self.program("aarch64"), "--version"], env=self.environment, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip
        return text.partition("\n")[0].removeprefix("qemu-aarch64 version ")


@dataclass(frozen=True)
class Pi:
    """An emulated Raspberry Pi with a home of its own and no network."""

    qemu: Qemu
    root: Path  # Debian for ARM, read only by agreement
    home: Path  # its /home/pi
    exchange: Path  # its /mnt
    boards: Path  # files of the boards

    @classmethod
    def build(cls, qemu: Qemu, suite: str, build: Path) -> Pi:
        """Get Debian for ARM, or keep the one that is there; with an empty home.

        Raises:
            CannotEmulateError: no mirror, or no program can be run in it.
        """
        root, home, exchange = build / suite, build / "home", build / "exchange"
        _unpack(suite, "arm64", root, SYSTEM)
        for folder in (home, exchange):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for name in ("tools", "boards", "dev", "proc", "sys", "mnt", "home/pi"):
            (root / name).mkdir(parents=True, exist_ok=True)
        links = {
            # QEMU and PRoot are programs for x86-64.
            "usr/lib64/ld-linux-x86-64.so.2": f"/tools/{LIBRARIES}/ld-linux-x86-64.so.2",
            "usr/bin/awk": "mawk",  # else made by its maintainer script
        }
        for name, target in links.items():
            (root / name).unlink(missing_ok=True)
            (root / name).symlink_to(target)
        # Made by a maintainer script, too; trixie's pip reads it even without a network.
        certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
        bundle = root / "etc/ssl/certs/ca-certificates.crt"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(b"".join(path.read_bytes() for path in certificates))
        boards = build / "boards"
        for board in BOARDS:
            board.write(boards / board.cpu)
        return cls(qemu, *(path.resolve() for path in (root, home, exchange, boards)))

    def command(self, board: Board, command: Sequence[str], *options: str) -> list[str]:
        """What runs `command` on `board`; `options` are QEMU's."""
        files = self.boards / board.cpu
        qemu = " ".join([f"/tools{QEMU}aarch64", "-cpu", board.cpu, *options])
        return [
            "unshare", "--mount", "--net", *(["--map-root-user"] if os.geteuid() else []),
            "sh", "-euc", ENTER, "sh", str(self.root), str(self.qemu.tools), str(files),
            str(self.home), str(self.exchange),
            f"/tools{PROOT}", "-w", "/home/pi", "-b", "/boards/device-tree:/proc/device-tree",
            "-q", qemu, "/usr/bin/env", "-i", "HOME=/home/pi", "USER=pi",
            "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
            # PRoot ends with 0 when its program is killed by a signal; a shell tells.
            "/bin/sh", "-c", '"$@"; exit $?', "sh", *command,
        ]  # fmt: skip

    def check(self, board: Board) -> None:
        """Run the least that there is.

        Raises:
            CannotEmulateError: not even that can be run here.
        """
        done = self.run(board, ["uname", "-m"], check=False)
        if done.returncode or done.stdout != "aarch64\n":
            said = " ".join((done.stdout + done.stderr).split())[-300:]
            raise CannotEmulateError(
                f"unshare, PRoot or QEMU does not run (is ptrace allowed?): {said}"
            )

    def run(
        self, board: Board, command: Sequence[str], *options: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a board, its output kept.

        Raises:
            RuntimeError: it failed, with what it said.
        """
        for _ in range(ATTEMPTS - 1):
            done = run(self.command(board, command, *options), self.qemu.environment, check=False)
            if not (done.returncode and qemu_died(done.stderr)):
                break
            print("QEMU itself died, which it now and then does; once more", file=sys.stderr)
        else:
            done = run(self.command(board, command, *options), self.qemu.environment, check=False)
        if check:
            check_done(done)
        return done


def qemu_died(said: str) -> bool:
    """Whether the emulator's own heap broke, and not that of the program in it.

    QEMU 7.2 does so at the end of programs with threads, about once in ten times, after the program
    has done its work. A program whose heap breaks says the same, but then QEMU names its signal.
    """
    heap = re.search(r"^(malloc|free|realloc)\(\): |^corrupted |^double free", said, re.MULTILINE)
    return heap is not None and "uncaught target signal" not in said


def run(
    command: Sequence[str], environment: Mapping[str, str], check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program and keep its output.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    done = subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if check:
        check_done(done)
    return done


def check_done(done: subprocess.CompletedProcess[str]) -> None:
    """See that a program ended well.

    Raises:
        RuntimeError: it did not, with what it said.
    """
    if done.returncode:
        raise RuntimeError(
            f"exit code {done.returncode}: {' '.join(done.args[-4:])}\n{done.stdout}{done.stderr}"
        )
