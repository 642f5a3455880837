"""The weights of an earlier model for a network of the same layers, as wide or wider."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import OUTPUT_NAME
from edge_emotion.errors import MissingExtraError, UsageError
from edge_emotion.training.architectures import plan_of
from edge_emotion.training.earlier import EarlierModel

try:
    import keras
    from keras import layers
except ImportError as error:
    raise MissingExtraError("training", "train") from error


def take_weights(
    network: keras.Model, earlier: EarlierModel, labels: Sequence[str], seed: int
) -> None:
    """Give a fresh network the weights of an earlier one.

    Outputs of labels that the earlier model does not know keep their random weights. A network
    that has more channels answers like the earlier one at first: Net2WiderNet
    (Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016). So does one
    that weighs each place where the earlier one takes the mean of all.

    Raises:
        UsageError: its layers are others.
    """
    theirs = {layer.name: layer.get_weights() for layer in earlier.network.layers}
    columns = earlier.columns(labels)
    random = np.random.default_rng([seed, 2])
    plan, their_plan = plan_of(network), plan_of(earlier.network)
    for name in [*plan, *their_plan]:
        if plan.get(name) != their_plan.get(name):
            raise _another(earlier, name)
    reader = next(layer for layer in network.layers if isinstance(layer, layers.Dense))
    places, their_places = _places(network), _places(earlier.network)
    for layer in network.layers:
        weights = layer.get_weights()
        given = theirs.get(layer.name, [])
        if len(given) == len(weights):
            head = layer.name == OUTPUT_NAME
            summed = not isinstance(layer, layers.DepthwiseConv2D)
            for number, (ours, own) in enumerate(zip(weights, given, strict=True)):
                # The last layer's outputs are labels, of which there are no copies.
                shape = (*ours.shape[:-1], own.shape[-1]) if head else ours.shape
                placed = layer is reader and own.ndim == 2
                if placed:
                    own = own.reshape(their_places, -1, own.shape[-1])
                    own = np.repeat(own / places, places, axis=0) if their_places == 1 else own
                    shape = (places, shape[0] // places, shape[1])
                own = _widened(own, shape, random, summed=summed)
                own = own.reshape(-1, own.shape[-1]) if placed else own
                given[number] = _columns(ours, own, columns) if head else own
        if [w.shape for w in given] != [w.shape for w in weights]:
            raise _another(earlier, layer.name)
        layer.set_weights(given)


def _another(earlier: EarlierModel, layer: str) -> UsageError:
    return UsageError(
        f"{earlier.name}: its layer {layer} is another: name the same --architecture, --body, "
        "--size and --channels, with as many channels or more"
    )


def _places(network: keras.Model) -> int:
    """Places of the map that the first dense layer weighs each for itself; 1: their mean."""
    flatten = [layer for layer in network.layers if isinstance(layer, layers.Flatten)]
    return math.prod(flatten[0].input.shape[1:-1]) if flatten else 1


def _widened(
    own: NDArray[np.float32],
    shape: tuple[int, ...],
    random: np.random.Generator,
    *,
    summed: bool,
) -> NDArray[np.float32]:
    """Weights for copies of a layer's channels, in turn; as they are if `shape` has fewer.

    Args:
        own: (..., inputs, outputs), or one value a channel.
        shape: of the same rank.
        random: where a channel has copies, the layers after it weigh them at random, with the same
            sum: copies that are weighed alike would learn alike.
        summed: over the inputs, as convolutions and dense layers do; depthwise ones do not.
    """
    if len(own.shape) != len(shape) or own.shape[:-2] != shape[:-2]:
        return own
    if any(ours < theirs for ours, theirs in zip(shape, own.shape, strict=True)):
        return own
    for axis in range(max(0, own.ndim - 2), own.ndim):
        source = np.arange(shape[axis]) % own.shape[axis]
        own = own.take(source, axis)
        if axis == own.ndim - 1 or not summed:
            continue
        same = np.equal.outer(source, source)  # (inputs, inputs): copies of one channel
        copies = same.sum(0)[:, None]
        shares = random.normal(0, 0.5 / copies, own.shape)
        shares += (1 - same @ shares) / copies
        own = (own * shares).astype(np.float32)
    return own


def _columns(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], columns: dict[int, int]
) -> NDArray[np.float32]:
    """`ours` with the outputs that `theirs` has."""
    if ours.shape[:-1] != theirs.shape[:-1]:
        return theirs
    result = ours.copy()
    for to, source in columns.items():
        result[..., to] = theirs[..., source]
    return result
