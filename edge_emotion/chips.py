"""Which export to use on which processor, and why.

What decides is whether the processor has an int8 dot product that sums to 32 bits. The orders are
of a Pi those of the instructions counted on an emulated one
(benchmarks/results/pi-instructions.json), and of x86 those of times measured (benchmarks/results);
a test compares. Fewer instructions are not always less time: ``edge-emotion bench`` on the machine
itself has the last word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edge_emotion.errors import UnknownNameError, UsageError
from edge_emotion.machine import Machine


@dataclass(frozen=True)
class Advice:
    """Which export to prefer."""

    order: tuple[str, ...]  # of card.RECIPES, the first first
    why: str  # half a sentence

    @property
    def recipes(self) -> tuple[str, ...]:
        """The first, and the first that needs no extra."""
        base = next(recipe for recipe in self.order if needs_no_extra(recipe))
        return tuple(dict.fromkeys((self.order[0], base)))

    def choose(self, recipes: Collection[str]) -> str | None:
        """Of these recipes the first in the order; None if there is none."""
        return next((recipe for recipe in self.order if recipe in recipes), None)


UNKNOWN = Advice(
    ("onnx-int8", "onnx-f32", "tflite-int8", "tflite-f32", "tflite-int8-dynamic"),
    "it needs no extra, gave the same labels on every processor tried, and on none of those "
    "counted does it take many more instructions than float",
)
PI_4 = Advice(
    ("tflite-int8", "onnx-int8", "tflite-f32", "onnx-f32", "tflite-int8-dynamic"),
    "without an int8 dot product (Pi 3, Pi 4, Zero 2 W) int8 takes about four fifths of float's "
    "instructions, counted on an emulated Cortex-A72: expect a smaller file and little speed; "
    "LiteRT takes fewer than onnxruntime",
)
PI_5 = Advice(
    ("tflite-int8", "onnx-int8", "tflite-f32", "onnx-f32", "tflite-int8-dynamic"),
    "with the int8 dot product (Pi 5) int8 takes about a third of float's instructions, counted on "
    "an emulated Cortex-A76",
)
OLD_X86 = Advice(
    ("onnx-int8", "onnx-f32", "tflite-f32", "tflite-int8", "tflite-int8-dynamic"),
    "without VNNI edge-cnn in int8 was measured to be faster than float by onnxruntime, and not "
    "by LiteRT",
)
VNNI = Advice(
    ("tflite-int8", "onnx-int8", "onnx-f32", "tflite-f32", "tflite-int8-dynamic"),
    "with VNNI int8 was measured to be faster than float, most by LiteRT",
)
#: By architecture, and whether there is an int8 dot product.
ADVICE: Mapping[tuple[str, bool], Advice] = {
    ("aarch64", False): PI_4,
    ("aarch64", True): PI_5,
    ("x86_64", False): OLD_X86,
    ("x86_64", True): VNNI,
}
TARGETS = ("pi4", "pi5", "x86", "any")


def advice_for(machine: Machine) -> Advice:
    """The advice for a machine; `UNKNOWN` if its instruction sets are not known."""
    if machine.has_dot_product is None:
        return UNKNOWN
    return ADVICE.get((machine.arch, machine.has_dot_product), UNKNOWN)


def advice_for_target(name: str, here: Machine) -> Advice:
    """The advice for a target by name.

    Args:
        name: of TARGETS. x86 stands for x86 processors like the one of this machine: what those
            have differs, and nothing but their kernel tells.
        here: this machine.

    Raises:
        UnknownNameError: another name; the message suggests the nearest.
        UsageError: a Pi, and not which one.
    """
    if name.casefold() == "pi":
        raise UsageError("target 'pi': name pi4 (for Pi 3 and Zero 2 W too) or pi5")
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS)
    if name == "x86":
        return advice_for(here) if here.arch == "x86_64" else UNKNOWN
    return {"pi4": PI_4, "pi5": PI_5, "any": UNKNOWN}[name]


def needs_no_extra(recipe: str) -> bool:
    """Whether the base install runs it."""
    return recipe.startswith("onnx-")
