"""``make pi``: is what a Raspberry Pi answers what this machine answers?

    python -m tests.pi.prove [--suite trixie] [--write FILE] [--no-counts]

Makes a bundle, installs it in an emulated Raspberry Pi without a network, from the archive alone,
and compares the golden vectors of each processor with those of this machine. Then counts the
instructions of an inference. Exit code 1 if anything differs; 0, and a loud line, if this machine
cannot emulate. What it needs lies in build/pi, downloads too.

What it does not show: seconds, heat, a camera. Those are measured on a board, by
``edge-emotion bench``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edge_emotion.files import write_bytes

from .boards import BOARDS, COUNTED, PI4, Board
from .comparison import NotComparableError, Row, bits_table, compare
from .counting import Count, NoCompilerError, build_plugin, count, counts_table, make_table
from .emulator import CannotEmulateError, Pi, Qemu, run
from .pictures import write_pictures

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
BUILD = REPOSITORY / "build/pi"
SYNTHETIC = REPOSITORY.parent / "shared/data/synthetic-faces"
#: Python of each Raspberry Pi OS.
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
#: An x86 processor with AVX2 and without VNNI, less what QEMU does not have of it.
OLD_X86 = "Haswell,-pcid,-x2apic,-tsc-deadline,-invpcid,-spec-ctrl"
OLD_X86_NAME = "x86 without VNNI"

PREFIX = "/home/pi/edge-emotion"
PYTHON = f"{PREFIX}/current/bin/python"
PROGRAM = f"{PREFIX}/current/bin/edge-emotion"
PEAK = """
import sys
from edge_emotion import Predictor
Predictor(sys.argv[1]).predict(sys.argv[2])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def say(line: str) -> None:
    """Progress, on stderr, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:5.0f} s  {line}", file=sys.stderr, flush=True)


BEGAN = time.monotonic()


def make_bundle(suite: str, out: Path) -> None:
    """Make the archive that a user carries to the Pi, by the command that the user runs."""
    program = Path(sys.executable).with_name("edge-emotion")
    command = [str(program), "bundle", "--target", "pi"]
    command += ["--python", PYTHONS[suite], "--out", str(out), "--overwrite"]
    run(command, os.environ)


def install(pi: Pi, board: Board) -> None:
    """Unpack the archive in the emulated Pi and run its installer, as README.txt says."""
    commands = f"tar xf /mnt/bundle.tar.gz && sh edge-emotion-*/install.sh --prefix {PREFIX}"
    pi.run(board, ["sh", "-euc", commands])


def load(path: Path) -> dict[str, np.ndarray]:
    """Golden vectors."""
    with np.load(path) as arrays:
        return dict(arrays)


def golden_here(pictures: Path, out: Path, *prefix: str, qemu: Qemu | None = None) -> None:
    """Golden vectors of this machine's Python, on its processor or behind an emulator."""
    environment = qemu.environment if qemu else os.environ
    run([*prefix, sys.executable, str(HERE / "golden.py"), str(pictures), str(out)], environment)


def compare_all(pi: Pi, pictures: Path) -> list[Row]:
    """Golden vectors of every processor, beside those of this one."""
    say("golden vectors: this machine")
    golden_here(pictures, BUILD / "golden-x86.npz")
    here = load(BUILD / "golden-x86.npz")
    say(f"golden vectors: {OLD_X86_NAME}")
    out = BUILD / "golden-old-x86.npz"
    golden_here(pictures, out, *pi.qemu.command("x86_64", OLD_X86), qemu=pi.qemu)
    rows = compare(OLD_X86_NAME, here, load(out))
    for board in BOARDS:
        say(f"golden vectors: {board.name}")
        pi.run(board, [PYTHON, "/mnt/golden.py", "/mnt/pictures", "/mnt/golden.npz"])
        rows += compare(f"{board.name} ({board.cpu})", here, load(pi.exchange / "golden.npz"))
    return rows


def count_all(pi: Pi) -> list[Count]:
    """Instructions per inference, on each processor of COUNTED and on the old x86.

    Raises:
        NoCompilerError: the plugin cannot be built.
    """
    plugin, marks = pi.exchange / "instructions.so", pi.exchange / "marks"
    build_plugin(plugin)
    counts = []
    for board in COUNTED:
        say(f"instructions: {board.name}")
        options = ("-plugin", "/mnt/instructions.so,out=/mnt/marks")

        def on_board(runs: str, board: Board = board, options: tuple[str, ...] = options) -> str:
            return pi.run(board, [PYTHON, "/mnt/count.py", runs], *options).stdout

        dot_product = "asimddp" in board.features.split()
        counts += count(on_board, marks, board.cpu, board.name, dot_product)
    say(f"instructions: {OLD_X86_NAME}")
    emulator = pi.qemu.command("x86_64", OLD_X86, "-plugin", f"{plugin},out={marks}")

    def here(runs: str) -> str:
        command = [*emulator, sys.executable, str(HERE / "count.py"), runs]
        return run(command, pi.qemu.environment).stdout

    return counts + count(here, marks, OLD_X86.partition(",")[0], OLD_X86_NAME, False)


def size_and_memory(pi: Pi) -> list[str]:
    """What an install takes. Of memory an upper bound: QEMU's own is in it."""
    files = [path for path in pi.home.rglob("*") if path.is_file() and not path.is_symlink()]
    installed = sum(p.stat().st_size for p in files if "edge-emotion/releases" in str(p))
    lines = [
        f"archive {(pi.exchange / 'bundle.tar.gz').stat().st_size / 1e6:.0f} MB, "
        f"installed {installed / 1e6:.0f} MB"
    ]
    model = next((pi.home / "edge-emotion").glob("current/model/model-*"))
    command = [PYTHON, "-c", PEAK, f"{PREFIX}/current/model/{model.name}", "/mnt/pictures/RGB"]
    peak = int(pi.run(PI4, command).stdout.split()[-1]) * 1024
    lines.append(f"peak memory of one prediction by {model.name}, QEMU included: "
                 f"{peak / 1e6:.0f} MB")  # fmt: skip
    return lines


def prove(suite: str, write: Path | None, counting: bool) -> bool:
    """Do all of it; give whether all is as it must be.

    Raises:
        CannotEmulateError: not on this machine.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    say("QEMU, PRoot")
    qemu = Qemu.unpack(BUILD)
    say(f"Debian {suite} for ARM")
    pi = Pi.build(qemu, suite, BUILD)
    pi.check(PI4)
    say("edge-emotion bundle")
    make_bundle(suite, pi.exchange / "bundle.tar.gz")
    say("install.sh in the emulated Raspberry Pi, without a network")
    install(pi, PI4)
    print(pi.run(PI4, [PROGRAM, "doctor"]).stdout)
    pictures = pi.exchange / "pictures"
    number = write_pictures(pictures, SYNTHETIC)
    if not SYNTHETIC.is_dir():
        say("no ../shared/data/synthetic-faces: generated pictures only")
    for name in ("golden.py", "count.py"):
        shutil.copy(HERE / name, pi.exchange)
    rows = compare_all(pi, pictures)
    print(f"{number} pictures; beside this machine, QEMU {qemu.version}, Debian {suite}\n")
    print(bits_table(rows), "\n")
    print("\n".join(size_and_memory(pi)), "\n")
    if counting or write:
        try:
            counts = count_all(pi)
        except NoCompilerError as error:
            if write:
                raise
            say(f"SKIPPED: instructions per inference: {error}")
        else:
            print("Instructions retired for one inference, one thread. Not a time: see docs/pi.md\n")
            print(counts_table(counts), "\n")
            if write:
                write_bytes(write, make_table(qemu.version, f"Debian {suite}", counts).to_json())
                say(f"wrote {write}")
    good = all(row.good for row in rows)
    say("all as it must be" if good else "FAILED: see what is in capitals above")
    return good


def main() -> int:
    """Parse, prove, and turn the outcome into an exit code."""
    parser = argparse.ArgumentParser(prog="make pi", description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", choices=PYTHONS, default="bookworm", help="which Debian")
    parser.add_argument("--write", type=Path, help="write the counts there as JSON")
    parser.add_argument("--no-counts", action="store_true", help="leave the counting out")
    options = parser.parse_args()
    try:
        return int(not prove(options.suite, options.write, not options.no_counts))
    except CannotEmulateError as error:
        line = f"SKIPPED: THE EMULATED RASPBERRY PI WAS NOT TRIED: {error}"
        print(f"\n{'!' * 78}\n{line}\n{'!' * 78}\n", file=sys.stderr)
        return 0
    except (NotComparableError, NoCompilerError, RuntimeError, ValueError) as error:
        print(f"make pi: {error}", file=sys.stderr)
        return 1
    except subprocess.SubprocessError as error:
        print(f"make pi: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
