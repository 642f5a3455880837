"""What an install costs: run it with the Python of an environment without extras.

Standard library only, and small: a child's peak memory counts from its parent's size at the fork.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MB = 1e6
RUNS = 5


@dataclass(frozen=True)
class Row:
    """One figure beside its target."""

    what: str
    measured: float
    target: float
    unit: str
    asserted: bool  # a time depends on the machine: it is shown, never asserted

    @property
    def missed(self) -> bool:
        """Whether the figure is over its target."""
        return self.measured > self.target


@dataclass(frozen=True)
class Run:
    """One child process."""

    seconds: float  # wall clock, from the start to the exit
    peak_bytes: int  # largest resident set


def file_bytes(folder: Path) -> int:
    """Bytes of all files of a folder: the same everywhere, unlike the blocks that ``du`` counts."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def run(command: list[str]) -> Run:
    """Run a command to its end, its output dropped.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    complaint = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: {complaint.decode(errors='replace')}")
    return Run(seconds, 1024 * usage.ru_maxrss)


def median_run(command: list[str]) -> Run:
    """The median seconds and the highest peak of some runs, after one that warms the disk cache."""
    run(command)
    runs = [run(command) for _ in range(RUNS)]
    return Run(statistics.median(r.seconds for r in runs), max(r.peak_bytes for r in runs))


def measure() -> list[Row]:
    """Every figure, of the environment that this Python belongs to."""
    program = str(Path(sysconfig.get_path("scripts")) / "edge-emotion")
    with tempfile.TemporaryDirectory() as folder:
        # A portable grey map: any picture will do, and this one needs no library.
        picture = Path(folder) / "face.pgm"
        picture.write_bytes(b"P5 96 96 255\n" + bytes(range(96)) * 96)
        shown = median_run([program, "--help"])
        predicted = median_run([program, "predict", "--faces", "off", "--json", str(picture)])
    installed = file_bytes(Path(sysconfig.get_path("purelib")))
    return [
        # onnxruntime and numpy are 152 of it, the two models with their Keras files and float
        # exports 7. It was 200 until the models doubled in size.
        Row("installed files, without pip", installed / MB, 205, "MB", True),
        Row("peak memory of a prediction", predicted.peak_bytes / MB, 150, "MB", True),
        Row("edge-emotion --help", shown.seconds, 0.5, "s", False),
        Row("first prediction, fresh process", predicted.seconds, 1, "s", False),
    ]


def main() -> int:
    """Print the table; with ``--check``, exit code 1 if a size is over its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a size is over its target")
    check = parser.parse_args().check
    rows = measure()
    print(f"{'base install':<32} {'measured':>11} {'target':>9}")
    for row in rows:
        digits = 2 if row.unit == "s" else 0
        note = "  over" if row.missed else ""
        measured, target = f"{row.measured:.{digits}f} {row.unit}", f"{row.target:g} {row.unit}"
        print(f"{row.what:<32} {measured:>11} {target:>9}{note}")
    print(f"Times: median of {RUNS} runs on this machine, not asserted.")
    return int(check and any(row.asserted and row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
