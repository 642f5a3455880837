"""What this machine is, as far as it matters to a small network. Needs no engine.

Nothing here names a person, a host or a path, so a report can be published as it is.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_emotion.files import tool_versions

#: CPU flags of /proc/cpuinfo that matter to int8, from wide to plain.
INT8_FLAGS = (
    "amx_int8", "avx512_vnni", "avx_vnni", "avx2",  # x86
    "sve", "i8mm", "asimddp",  # ARM
)  # fmt: skip
#: Those with an int8 dot product: products of int8, summed to 32 bits by one instruction.
DOT_PRODUCT_FLAGS = frozenset({"amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp"})
#: "CPU part" of ARM's own cores (implementer 0x41), which have no "model name" in /proc/cpuinfo.
ARM_PARTS = {
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57",
    0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}  # fmt: skip
#: Bits of the Raspberry Pi firmware's get_throttled.
THROTTLED_BITS = {
    0: "under-voltage now", 1: "frequency capped now", 2: "throttled now",
    3: "soft temperature limit now", 16: "under-voltage since boot",
    17: "frequency capped since boot", 18: "throttled since boot",
    19: "soft temperature limit since boot",
}  # fmt: skip
PACKAGES = (
    "edge-emotion", "numpy", "pillow", "onnxruntime", "ai-edge-litert", "keras", "tensorflow",
    "scikit-learn",
)  # fmt: skip

_ROOT = Path("/")


@dataclass(frozen=True)
class Machine:
    """What does not change while a program runs."""

    cpu: str  # as the kernel names it
    board: str | None  # device tree's model, such as "Raspberry Pi 4 Model B Rev 1.4"
    arch: str  # x86_64, aarch64
    cores: int  # logical cores that this process may use
    int8_flags: list[str] | None  # of INT8_FLAGS, those the CPU has; None: the kernel does not say
    governor: str | None  # of CPU 0's frequency; None: the kernel does not say
    os: str
    python: str
    packages: dict[str, str]  # installed package -> version

    @property
    def has_dot_product(self) -> bool | None:
        """Whether the CPU has an int8 dot product, see DOT_PRODUCT_FLAGS; None: not known."""
        if self.int8_flags is None:
            return None
        return not DOT_PRODUCT_FLAGS.isdisjoint(self.int8_flags)


@dataclass(frozen=True)
class Conditions:
    """What changes: read before and after a measurement. None: the kernel does not say."""

    temperature: float | None  # degrees Celsius, the hottest CPU sensor
    load: float | None  # runnable processes, mean over the last minute, this program's too
    throttling: list[str] | None  # Raspberry Pi firmware's flags in words; empty: none is set
    busy: float | None = None  # cores at work for a second in which this program slept


def read_machine(root: Path = _ROOT, arch: str | None = None) -> Machine:
    """Describe this machine.

    Args:
        root: where proc and sys are.
        arch: the processor's architecture; None: of the running Python.
    """
    arch = arch or platform.machine()
    cpuinfo = _read(root / "proc/cpuinfo") or ""
    board = _read(root / "proc/device-tree/model")
    return Machine(
        cpu=_cpu(cpuinfo) or platform.processor() or "unknown",
        board=board.strip("\0 \n") if board else None,
        arch=arch,
        cores=usable_cores(),
        int8_flags=_int8_flags(cpuinfo),
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        os=_os(),
        python=platform.python_version(),
        packages=tool_versions(PACKAGES),
    )


def read_conditions(root: Path = _ROOT) -> Conditions:
    """Read temperature, load and throttling, and watch for a second what other programs do."""
    load = None
    with suppress(OSError, AttributeError):  # Windows has no load average
        load = round(os.getloadavg()[0], 2)
    before = _ticks(root)
    time.sleep(1.0)
    return Conditions(_temperature(root), load, _throttling(root), _busy(before, _ticks(root)))


def usable_cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment_name(machine: Machine) -> str:
    """A slug for file names: ``x86_64-amd-epyc-avx2-py311``, ``aarch64-raspberry-pi-4-py311``.

    A board's name says what it has. A processor's need not: rented ones of one name come with VNNI
    and without, and int8 takes four times as long; so the first of its INT8_FLAGS stands there.
    """
    if machine.board:
        name = re.sub(r"\bRev\s.*|\bModel\s\w+", "", machine.board)
    else:
        name = re.sub(r"\((R|TM|C)\)|\bCPU\b|\bProcessor\b|\d+-Core\b|@.*", "", machine.cpu)
        name = " ".join([name, *(machine.int8_flags or [])[:1]])
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"
    python = "".join(machine.python.split(".")[:2])
    return f"{machine.arch.lower()}-{slug}-py{python}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip() or None
    except OSError:
        return None


def _fields(cpuinfo: str, key: str) -> list[str]:
    return re.findall(rf"^{key}\s*:\s*(.*\S)", cpuinfo, re.MULTILINE)


def _cpu(cpuinfo: str) -> str | None:
    names = _fields(cpuinfo, "model name")
    if names:
        return names[0]
    cores = []
    for part in _fields(cpuinfo, "CPU part"):
        with suppress(ValueError):
            cores.append(ARM_PARTS.get(int(part, 16), f"ARM part {part}"))
    return " + ".join(dict.fromkeys(cores)) or None  # big and LITTLE cores are both named


def _int8_flags(cpuinfo: str) -> list[str] | None:
    lines = _fields(cpuinfo, "flags") + _fields(cpuinfo, "Features")
    if not lines:
        return None
    # A flag counts if every core has it: an engine may run on any of them.
    common = set.intersection(*(set(line.split()) for line in lines))
    return [flag for flag in INT8_FLAGS if flag in common]


def _os() -> str:
    release = ".".join(
        platform.release().split(".")[:2]
    )  # what follows names a build, not a kernel
    kernel = f"{platform.system()} {release}"
    with suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    return kernel


def _ticks(root: Path) -> list[tuple[int, int]]:
    """Of each core, clock ticks since boot: all, and those without work (idle, iowait)."""
    lines = re.findall(r"^cpu\d+ (.+)", _read(root / "proc/stat") or "", re.MULTILINE)
    cores = [[int(field) for field in line.split()] for line in lines]
    return [(sum(core[:8]), core[3] + core[4]) for core in cores]


def _busy(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> float | None:
    if len(before) != len(after):
        return None
    shares = [1 - (i1 - i0) / (t1 - t0) for (t0, i0), (t1, i1) in zip(before, after, strict=True)
              if t1 > t0]  # fmt: skip
    return round(sum(shares), 2) if shares else None


def _temperature(root: Path) -> float | None:
    """Of the CPU's sensors the hottest, else of all of them."""
    sensors: list[tuple[bool, float]] = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        kind, value = _read(zone / "type") or "", _read(zone / "temp") or ""
        with suppress(ValueError):
            is_cpu = re.search("cpu|soc|pkg|core", kind, re.IGNORECASE) is not None
            sensors.append((is_cpu, int(value) / 1000))
    return max(sensors)[1] if sensors else None


def _throttling(root: Path) -> list[str] | None:
    text = _read(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None and root == _ROOT and sys.platform == "linux":
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True
            )
            text = done.stdout.strip().removeprefix("throttled=")
    if text is None:
        return None
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    return [word for bit, word in THROTTLED_BITS.items() if bits >> bit & 1]
