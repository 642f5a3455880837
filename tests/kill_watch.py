"""Kills ``edge-emotion watch`` at random moments and counts what is in its results.

``python -m tests.kill_watch --kills 100 --pictures 1000`` prints what happened and fails unless
every picture has exactly one line, the same as an undisturbed process would have written.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edge_emotion import Predictor
from tests import tiny

INTERVAL = 0.02  # seconds between two looks


@dataclass(frozen=True)
class Tally:
    """What a trial was."""

    pictures: int
    kills: int
    idle: int  # kills that found no picture waiting
    torn: int  # kills after which the last line was not whole
    cut: int  # kills after which lines' bytes were taken away, as by a power cut
    lines: int
    seconds: float


def command(folder: Path, out: Path, model: Path, *options: str) -> list[str]:
    """How the program is started."""
    code = "from edge_emotion.cli import main; main()"
    return [sys.executable, "-c", code, "watch", str(folder), "--out", str(out), "--faces", "off",
            "--model", str(model), "--interval", str(INTERVAL), *options]  # fmt: skip


def trial(root: Path, kills: int, pictures: int, seed: int) -> Tally:
    """Feed pictures while the program is killed; then let it finish, and compare.

    Raises:
        AssertionError: a picture has no line, several, or another than it should.
    """
    dice = random.Random(seed)
    model = tiny.write_model_folder(root / "model")
    folder, out = root / "pictures", root / "results.jsonl"
    folder.mkdir()
    began = time.monotonic()
    fed = idle = torn = cut = 0
    for life in range(kills):
        share = pictures * (life + 1) // kills
        while fed < share:
            feed(folder, fed, dice)
            fed += 1
        before = size(out)
        with subprocess.Popen(command(folder, out, model), stderr=subprocess.DEVNULL) as process:
            # Half of the kills anywhere, starting up included; half in the middle of the work.
            if dice.random() < 0.5:
                time.sleep(dice.uniform(0, 1.0))
            else:
                deadline = time.monotonic() + 20
                while size(out) <= before and time.monotonic() < deadline:
                    time.sleep(0.001)
                time.sleep(dice.uniform(0, 0.03))
            process.kill()
        data = out.read_bytes() if out.exists() else b""
        idle += data.count(b"\n") == fed
        torn += data != b"" and not data.endswith(b"\n")
        if data and dice.random() < 0.3:
            power_cut(out, data, dice)
            cut += 1
    done = subprocess.run(
        command(folder, out, model, "--once"), stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = compare(folder, out, model, pictures)
    return Tally(pictures, kills, idle, torn, cut, lines, round(time.monotonic() - began, 1))


def feed(folder: Path, number: int, dice: random.Random) -> None:
    """One more picture, put in place whole, as a careful camera does."""
    image = Image.new("L", (16, 16), dice.choice([*tiny.SHADES]))
    image.putpixel((0, 0), number % 256)
    temporary = folder / ".new.png"
    image.save(temporary)
    os.utime(temporary, ns=(number * 10**9, number * 10**9))
    temporary.rename(folder / f"{number:05d}.png")


def power_cut(out: Path, data: bytes, dice: random.Random) -> None:
    """What was not yet synchronised is lost, in part, or reads as zeros: the last line at most."""
    whole = data.rstrip(b"\n").rfind(b"\n") + 1
    end = dice.randrange(whole, len(data) + 1)
    zeros = bytes(dice.choice([0, len(data) - end]))
    out.write_bytes(data[:end] + zeros)


def size(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def compare(folder: Path, out: Path, model: Path, pictures: int) -> int:
    """Number of lines, which are those that an undisturbed process writes."""
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    counts = collections.Counter((row["path"], row["mtime_ns"]) for row in rows)
    twice = [name for name, count in counts.items() if count > 1]
    assert not twice, f"more than one line: {twice[:5]}"
    predictor = Predictor(model)
    expected = {str(path): predictor.predict(path) for path in folder.iterdir()}
    assert len(expected) == pictures
    missing = expected.keys() - {row["path"] for row in rows}
    assert not missing, f"no line: {sorted(missing)[:5]}"
    for row in rows:
        assert row.get("probabilities") == expected[row["path"]].probabilities, row
    return len(rows)


def main() -> None:
    """Run one trial and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        print(trial(Path(root), options.kills, options.pictures, options.seed))


if __name__ == "__main__":
    main()
