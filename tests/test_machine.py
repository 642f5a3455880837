from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge_emotion.machine import environment_name, read_conditions, read_machine, usable_cores

PI4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid
CPU part\t: 0xd08
"""
PI5 = PI4.replace("crc32", "crc32 atomics asimddp").replace("0xd08", "0xd0b")
SERVER = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz
flags\t\t: fpu sse2 avx2 avx512_vnni amx_int8
"""


def root(tmp_path: Path, cpuinfo: str, **files: str) -> Path:
    for name, text in {"proc/cpuinfo": cpuinfo, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_pi_4_has_no_dot_product(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    }
    machine = read_machine(root(tmp_path, PI4, **files), "aarch64")
    assert (machine.cpu, machine.board) == ("Cortex-A72", "Raspberry Pi 4 Model B Rev 1.4")
    assert (machine.int8_flags, machine.has_dot_product) == ([], False)
    assert machine.governor == "ondemand"
    assert re.fullmatch(r"aarch64-raspberry-pi-4-py3\d\d", environment_name(machine))


def test_a_pi_5_has(tmp_path: Path) -> None:
    machine = read_machine(root(tmp_path, PI5), "aarch64")
    assert (machine.cpu, machine.int8_flags) == ("Cortex-A76", ["asimddp"])
    assert machine.has_dot_product is True


def test_a_flag_that_only_some_cores_have_does_not_count(tmp_path: Path) -> None:
    machine = read_machine(root(tmp_path, PI4 + PI5), "aarch64")
    assert machine.cpu == "Cortex-A72 + Cortex-A76"
    assert machine.int8_flags == []


def test_a_server(tmp_path: Path) -> None:
    machine = read_machine(root(tmp_path, SERVER), "x86_64")
    assert machine.int8_flags == ["amx_int8", "avx512_vnni", "avx2"]
    machine = replace(machine, python="3.12.1")
    slug = "x86_64-intel-xeon-platinum-8370c"
    assert environment_name(machine) == f"{slug}-amx-int8-py312"
    # The same processor, rented without: its results are others, and replace none.
    assert environment_name(replace(machine, int8_flags=["avx2"])) == f"{slug}-avx2-py312"
    assert environment_name(replace(machine, int8_flags=None)) == f"{slug}-py312"


def test_a_kernel_that_says_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, "aarch64")
    assert (machine.int8_flags, machine.has_dot_product) == (None, None)
    assert (machine.board, machine.governor) == (None, None)
    conditions = read_conditions(tmp_path)
    assert (conditions.temperature, conditions.throttling) == (None, None)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry-pi-3-plus"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2-w"),
        ("Raspberry Pi Compute Module 4 Rev 1.0", "raspberry-pi-compute-module-4"),
    ],
)
def test_boards_are_named_without_their_revision(tmp_path: Path, name: str, slug: str) -> None:
    files = {"proc/device-tree/model": name}
    machine = read_machine(root(tmp_path, PI4, **files), "aarch64")
    assert environment_name(replace(machine, python="3.11.2")) == f"aarch64-{slug}-py311"


def test_the_hottest_cpu_sensor_counts_before_all_others(tmp_path: Path) -> None:
    thermal = "sys/class/thermal/thermal_zone"
    files = {
        f"{thermal}0/type": "battery", f"{thermal}0/temp": "91000",
        f"{thermal}1/type": "cpu-thermal", f"{thermal}1/temp": "58421",
        f"{thermal}2/type": "cpu-thermal", f"{thermal}2/temp": "not read",
    }  # fmt: skip
    assert read_conditions(root(tmp_path, PI4, **files)).temperature == pytest.approx(58.421)


@pytest.mark.parametrize(
    ("bits", "words"),
    [("0", []), ("50005", ["under-voltage now", "throttled now", "under-voltage since boot",
                           "throttled since boot"]), ("?", None)],
)  # fmt: skip
def test_the_firmwares_flags_in_words(tmp_path: Path, bits: str, words: list[str] | None) -> None:
    files = {"sys/devices/platform/soc/soc:firmware/get_throttled": bits}
    assert read_conditions(root(tmp_path, PI4, **files)).throttling == words


def test_what_other_programs_do_is_counted_in_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = root(tmp_path, SERVER, **{"proc/stat": "cpu  9 9 9 9\n"}) / "proc/stat"
    # user nice system idle iowait irq softirq steal guest: guest is in user already.
    stat.write_text("cpu  0\ncpu0 100 0 0 100 0 0 0 0 7\ncpu1 50 0 0 150 0 0 0 0 0\nintr 1\n")

    def a_second_passes(seconds: float) -> None:
        assert seconds == 1.0
        stat.write_text("cpu  0\ncpu0 175 0 0 115 10 0 0 0 9\ncpu1 50 0 0 250 0 0 0 0 0\nintr 1\n")

    monkeypatch.setattr("edge_emotion.machine.time.sleep", a_second_passes)
    assert read_conditions(tmp_path).busy == 0.75
    assert read_conditions(tmp_path).busy is None  # the clock stood still
    stat.unlink()
    assert read_conditions(tmp_path).busy is None


def test_this_machine_is_described_without_naming_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = read_machine()
    assert machine.cores == usable_cores() >= 1
    assert "numpy" in machine.packages
    assert "edge-emotion" in machine.packages
    assert re.fullmatch(r"[a-z0-9_]+(-[a-z0-9]+)+-py3\d\d", environment_name(machine))
