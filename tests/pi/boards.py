"""The boards that are emulated: what their kernel says of them, and QEMU's name of their processor.

QEMU's user mode shows the processor of the machine it runs on in /proc and /sys, and the engines
read there which instructions they may use. So each board brings files of its own. The lines of
/proc/cpuinfo are those that Raspberry Pi OS (64 bit, bookworm) prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CPUINFO = """\
processor\t: {core}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: {revision}

"""
CORES = 4


@dataclass(frozen=True)
class Board:
    """A Raspberry Pi."""

    cpu: str  # as QEMU calls it
    name: str  # as people do
    model: str  # as its device tree does
    features: str  # flags of /proc/cpuinfo
    variant: str
    part: str  # of /proc/cpuinfo, as the next
    revision: str

    def write(self, folder: Path) -> None:
        """Write ``cpuinfo``, ``device-tree/model`` and ``sys`` below `folder`."""
        cores = [
            CPUINFO.format(
                core=core, features=self.features, variant=self.variant, part=self.part,
                revision=self.revision,
            )
            for core in range(CORES)
        ]  # fmt: skip
        cpus = "sys/devices/system/cpu"
        files = {
            "cpuinfo": "".join(cores) + f"Model\t\t: {self.model}\n",
            "device-tree/model": f"{self.model}\0",
            f"{cpus}/possible": f"0-{CORES - 1}\n",
            f"{cpus}/present": f"0-{CORES - 1}\n",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48686\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        }
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "ascii")


PI3 = Board(
    "cortex-a53", "Raspberry Pi 3, Zero 2 W", "Raspberry Pi 3 Model B Plus Rev 1.3",
    "fp asimd evtstrm crc32 cpuid", "0x0", "0xd03", "4",
)  # fmt: skip
PI4 = Board(
    "cortex-a72", "Raspberry Pi 4", "Raspberry Pi 4 Model B Rev 1.4",
    "fp asimd evtstrm crc32 cpuid", "0x0", "0xd08", "3",
)  # fmt: skip
PI5 = Board(
    "cortex-a76", "Raspberry Pi 5", "Raspberry Pi 5 Model B Rev 1.0",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp", "0x4", "0xd0b", "1",
)  # fmt: skip
BOARDS = (PI3, PI4, PI5)
#: Those whose instructions are counted: one without a dot product and one with it.
COUNTED = (PI4, PI5)
