"""Instructions per inference, counted by the plugin, and the table that holds them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .comparison import table
from .count import WARMUP

HERE = Path(__file__).parent
#: Inferences between the first two marks. With as few, as with more, counts repeat within 2 %.
RUNS = 5
START, END = "<!-- instructions:start -->", "<!-- instructions:end -->"


@dataclass(frozen=True)
class Count:
    """One export on one processor."""

    cpu: str  # QEMU's name of it
    machine: str
    dot_product: bool  # whether it multiplies and sums int8 in one instruction
    model: str
    recipe: str
    sha256: str  # of the model file
    engine: str
    engine_version: str
    instructions: int  # retired for one inference of one picture: tensor to logits, one thread


@dataclass(frozen=True)
class CountTable:
    """The committed file."""

    qemu: str  # version
    system: str  # that was emulated
    runs: int  # N of "2 N inferences less N inferences"
    warmup: int  # inferences before them
    counts: list[Count]

    def to_json(self) -> bytes:
        """UTF-8 JSON, indented, ending in a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def read(cls, path: Path) -> CountTable:
        """Read the file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


class NoCompilerError(Exception):
    """There is no C compiler for the plugin."""


def build_plugin(out: Path) -> None:
    """Compile instructions.c.

    Raises:
        NoCompilerError: there is no cc.
        RuntimeError: it does not compile.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompilerError("no C compiler: sudo apt install gcc libc6-dev")
    command = [compiler, "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", str(out),
               str(HERE / "instructions.c")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def read_marks(text: str) -> list[int]:
    """The counts that the plugin wrote, in the order of the marks.

    Raises:
        ValueError: a mark is missing, or out of order.
    """
    lines = [line.split() for line in text.splitlines()]
    if [int(number) for number, _ in lines] != list(range(len(lines))):
        raise ValueError(f"the plugin's marks are not 0, 1, 2, ...: {text[:200]!r}")
    return [int(count) for _, count in lines]


def per_inference(marks: Sequence[int], runs: int) -> int:
    """Instructions of one inference, from the marks before, between and after N and 2 N of them.

    What a mark itself costs is in both differences and goes.

    Raises:
        ValueError: the counts do not grow.
    """
    before, between, after = marks
    count = round(((after - between) - (between - before)) / runs)
    if count <= 0:
        raise ValueError(f"2 N inferences took no more instructions than N: {marks}")
    return count


def count(
    run: Callable[[str], str], marks: Path, cpu: str, machine: str, dot_product: bool
) -> list[Count]:
    """Count every export on one processor.

    Args:
        run: runs count.py under the plugin with that many runs; gives what it printed.
        marks: the file that the plugin writes.
        cpu: see Count, as the next two.
        machine: see there.
        dot_product: see there.
    """
    marks.unlink(missing_ok=True)
    exports = json.loads(run(str(RUNS)))
    counted = read_marks(marks.read_text("ascii"))
    if len(counted) != 3 * len(exports):
        raise ValueError(f"{len(counted)} marks for {len(exports)} exports")
    return [
        Count(
            cpu=cpu, machine=machine, dot_product=dot_product,
            instructions=per_inference(counted[3 * i : 3 * i + 3], RUNS), **export,
        )
        for i, export in enumerate(exports)
    ]  # fmt: skip


def make_table(qemu: str, system: str, counts: Iterable[Count]) -> CountTable:
    """The table with what it rests on."""
    return CountTable(qemu, system, RUNS, WARMUP, list(counts))


def counts_table(counts: Sequence[Count]) -> str:
    """The counts as text, each beside the float export of the same engine."""
    floats = {(c.cpu, c.model, c.engine): c for c in counts if c.recipe.endswith("-f32")}
    rows = []
    for c in counts:
        reference = floats.get((c.cpu, c.model, c.engine))
        share = f"{c.instructions / reference.instructions:.2f}" if reference else "-"
        rows.append([
            f"{c.machine} ({c.cpu})", f"{c.model} {c.recipe}", f"{c.instructions / 1e6:.2f}", share
        ])  # fmt: skip
    header = ("machine", "model, export", "million instructions", "of its float export")
    return table(header, rows)


def markdown(counts: CountTable) -> str:
    """The table of docs/pi.md: a row for each model's export, a column for each machine."""
    machines = list(dict.fromkeys(c.machine for c in counts.counts))
    found = {(c.model, c.recipe, c.machine): c.instructions / 1e6 for c in counts.counts}
    keys = dict.fromkeys((c.model, c.recipe) for c in counts.counts)
    lines = [["million instructions", *machines], ["---", *("---:" for _ in machines)]]
    for model, recipe in keys:
        cells = (found.get((model, recipe, machine)) for machine in machines)
        lines.append([f"{model} {recipe}", *("-" if c is None else f"{c:.1f}" for c in cells)])
    engines = sorted({f"{c.engine} {c.engine_version}" for c in counts.counts})
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{rows}\n\n{', '.join(engines)}; QEMU {counts.qemu}, {counts.system}."


def updated(page: str, counts: CountTable) -> str:
    """docs/pi.md with the table between its markers made anew.

    Raises:
        ValueError: it has no markers.
    """
    head, start, rest = page.partition(START)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"no {START} with {END} after it")
    return f"{head}{start}\n{markdown(counts)}\n{end}{tail}"
