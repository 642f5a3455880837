"""What is known of one layer of a network. Light: the workers import it."""

from __future__ import annotations

from dataclasses import dataclass

#: Signal to noise of a full-scale sine in 8 bits, 6.02 x 8 + 1.76 dB: the best to be hoped for.
EIGHT_BITS_DB = 49.9


@dataclass(frozen=True)
class Layer:
    """One layer of an int8 artefact beside the same one of its float original."""

    name: str  # of the Keras layer where the file tells it, else of the tensor
    kind: str  # operator, as the file names it
    multiply_adds: int | None  # per picture; None: not a layer with weights
    float_us: float | None  # microseconds of its kernels, median; None: fused into another
    int8_us: float | None  # likewise
    sqnr: float | None  # dB, int8 activations beside float ones; None: they are equal
    lost: float | None  # dB that the activations lose here: what comes in less what goes out


@dataclass(frozen=True)
class LayerReport:
    """The layers of one int8 artefact."""

    recipe: str
    reference: str  # recipe of its float original, of the same engine
    data: str
    pictures: int
    runs: int  # profiled; 0: the engine gives no times
    layers: list[Layer]  # in the order in which they run
    unmatched: list[str]  # layers of the int8 file that the float one has not
    other_float_us: float | None  # in what belongs to no layer: reordering, quantising
    other_int8_us: float | None
    notes: list[str]  # what could not be measured, and why

    @property
    def worst(self) -> Layer | None:
        """The layer in which the activations lose most; None: nothing is lost."""
        losing = [layer for layer in self.layers if layer.lost is not None and layer.lost > 0]
        return max(losing, key=lambda layer: layer.lost or 0.0, default=None)
