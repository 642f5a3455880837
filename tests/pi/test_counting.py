"""The counting, and the plugin on a program of which every instruction is known."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest

from .count import MARK
from .counting import (
    HERE,
    RUNS,
    NoCompilerError,
    build_plugin,
    count,
    counts_table,
    make_table,
    per_inference,
    read_marks,
)
from .emulator import Qemu

REPOSITORY = Path(__file__).parents[2]


def arm_program(*loops: int) -> bytes:
    """An executable for Linux on ARM: a mark, then after each loop of that many turns another.

    Between two marks are 2 instructions a turn and 4 more: the loop's start, and those of a mark.
    """
    code = [0xD2800008 | 155 << 5]  # mov x8, #155: getpgid
    for number, turns in enumerate((0, *loops)):
        if number:
            code.append(0xD2800001 | turns << 5)  # mov x1, #turns
            code += [0xF1000421, 0x54FFFFE1]  # subs x1, x1, #1; b.ne to it
        value = MARK + number
        code.append(0xD2800000 | (value & 0xFFFF) << 5)  # mov x0, #low
        code.append(0xF2A00000 | (value >> 16) << 5)  # movk x0, #high, lsl 16
        code.append(0xD4000001)  # svc 0
    code += [0xD2800000, 0xD2800000 | 93 << 5 | 8, 0xD4000001]  # exit(0)
    body = struct.pack(f"<{len(code)}I", *code)
    base, head = 0x400000, 64 + 56
    elf = b"\x7fELF\2\1\1" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = head + len(body)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000) + body


@pytest.fixture(scope="session")
def qemu() -> Qemu:
    tools = REPOSITORY / "build/pi/tools"
    if not (tools / ".made-from").is_file():
        pytest.skip("NO QEMU: make pi unpacks it into build/pi")
    return Qemu(tools.resolve())


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    try:
        build_plugin(tmp_path / "instructions.so")
    except NoCompilerError as error:
        pytest.skip(f"THE PLUGIN WAS NOT TRIED: {error}")
    return tmp_path / "instructions.so"


def test_the_plugin_counts_every_instruction(qemu: Qemu, plugin: Path, tmp_path: Path) -> None:
    program, marks = tmp_path / "program", tmp_path / "marks"
    program.write_bytes(arm_program(1000, 2000))
    program.chmod(0o755)
    command = qemu.command("aarch64", "cortex-a72", "-plugin", f"{plugin},out={marks}")
    subprocess.run([*command, str(program)], env=qemu.environment, check=True, timeout=60)
    before, between, after = read_marks(marks.read_text("ascii"))
    assert (between - before, after - between) == (2 * 1000 + 4, 2 * 2000 + 4)
    assert per_inference([before, between, after], 1000) == 2


def test_the_plugin_wants_a_file_to_write(qemu: Qemu, plugin: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(arm_program(1))
    program.chmod(0o755)
    for options in ("", ",out=/nowhere/marks"):
        command = qemu.command("aarch64", "cortex-a72", "-plugin", f"{plugin}{options}")
        done = subprocess.run(
            [*command, str(program)], env=qemu.environment, capture_output=True, text=True
        )
        assert done.returncode != 0
        assert "give out=FILE" in done.stderr


def test_both_sides_mean_the_same_mark() -> None:
    assert f"#define MARK 0x{MARK:x}u" in (HERE / "instructions.c").read_text("utf-8")


@pytest.mark.parametrize("marks", ["0 5\n2 9\n", "1 5\n", "0 5\n0 6\n"])
def test_a_lost_mark_is_noticed(marks: str) -> None:
    with pytest.raises(ValueError, match="not 0, 1, 2"):
        read_marks(marks)


def test_the_cost_of_a_mark_goes() -> None:
    assert per_inference([7, 7 + 90 + 5 * 100, 7 + 2 * 90 + 15 * 100], 5) == 100
    with pytest.raises(ValueError, match="no more instructions"):
        per_inference([0, 10, 20], 5)


def test_a_table_from_what_was_counted(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    exports = [
        {"model": "tiny", "recipe": recipe, "sha256": "0" * 64, "engine": "onnxruntime",
         "engine_version": "1.2"}
        for recipe in ("onnx-f32", "onnx-int8")
    ]  # fmt: skip

    def run(runs: str) -> str:
        assert runs == str(RUNS)
        each = (2_000_000, 1_000_000)
        lines, total = [], 0
        for export, cost in enumerate(each):
            for mark, times in enumerate((0, RUNS, 2 * RUNS)):
                total += cost * times
                lines.append(f"{3 * export + mark} {total}\n")
        marks.write_text("".join(lines))
        return json.dumps(exports)

    counts = count(run, marks, "cortex-a72", "Raspberry Pi 4", False)
    assert [c.instructions for c in counts] == [2_000_000, 1_000_000]
    assert counts_table(counts).splitlines()[-1].split()[-3:] == ["onnx-int8", "1.00", "0.50"]
    path = tmp_path / "table.json"
    path.write_bytes(make_table("7.2", "Debian bookworm", counts).to_json())
    assert type(make_table("", "", [])).read(path).counts == counts
