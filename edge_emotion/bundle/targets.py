"""What a bundle is made for, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_emotion.chips import PI_5, UNKNOWN, Advice
from edge_emotion.errors import UnknownNameError, UsageError

#: What lies in a bundle beside wheels and model.
FILES = Path(__file__).with_name("files")
#: Versions of all that an install without extras, or with `litert`, brings: those of the
#: repository's constraints.txt, where users of an installed wheel have none. A test compares them.
PINS = FILES / "pins.txt"

#: What edge-emotion runs on.
PYTHONS = ("3.11", "3.12", "3.13")
#: The oldest glibc (minor version of 2.x) that the wheels run on; install.sh checks it.
GLIBC_MINOR = 28

_NO_32_BIT = (
    "there are no 32-bit ARM wheels of onnxruntime: install the 64-bit Raspberry Pi OS (Pi 3, 4, "
    "5, Zero 2 W) and use --target pi"
)


@dataclass(frozen=True)
class Target:
    """A kind of machine."""

    name: str
    machine: str  # as `uname -m` has it
    pythons: tuple[str, ...]  # whose wheels are packed, if none is named
    advice: Advice  # which export is packed, if none is named

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that run there, newest first."""
        versions = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC_MINOR, 16, -1)]
        return [*versions, f"manylinux2014_{self.machine}"]


#: On a Pi, Python is that of the Raspberry Pi OS: 3.11 of bookworm, 3.13 of trixie. Both are
#: packed, since who makes a bundle often does not know which one is on the card. Nor which Pi it
#: is: tflite-int8 takes the fewest instructions of all on each. Nor whether an x86 has VNNI.
TARGETS: Mapping[str, Target] = {
    "pi": Target("pi", "aarch64", ("3.11", "3.13"), PI_5),
    "x86": Target("x86", "x86_64", PYTHONS, UNKNOWN),
}


def find_target(name: str) -> Target:
    """A target by its name.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: it is a 32-bit one.
    """
    if name.lower() in ("pi32", "armhf", "armv6l", "armv7l", "arm", "arm32"):
        raise UsageError(_NO_32_BIT)
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS)
    return TARGETS[name]


def check_pythons(pythons: list[str]) -> tuple[str, ...]:
    """Versions of Python in order, each once.

    Raises:
        UnknownNameError: one that edge-emotion does not run on.
    """
    for python in pythons:
        if python not in PYTHONS:
            raise UnknownNameError("Python", python, PYTHONS)
    return tuple(python for python in PYTHONS if python in pythons)
