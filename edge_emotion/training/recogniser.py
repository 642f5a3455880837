"""Weights of a face recogniser, for `face-resnet` to begin with.

dlib's ``dlib_face_recognition_resnet_model_v1``: a ResNet (He et al., CVPR 2016) of 29
convolutions, trained by Davis King on 3 million pictures of 7,485 people, none of them in LFW, and
released into the public domain (github.com/davisking/dlib-models). Its last unit, where it tells
people apart, is left out; what it sees in a face before that serves expressions as well.

Read from the npm package @vladmandic/face-api (MIT), which holds it in 8 bits.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import MissingExtraError, ModelError, one_line
from edge_emotion.files import sha256
from edge_emotion.training.architectures import MEAN_RGB

try:
    import keras
    from keras import layers
except ImportError as error:
    raise MissingExtraError("training", "train") from error

MANIFEST = "face_recognition_model-weights_manifest.json"


class _Quantization(TypedDict):
    dtype: str
    scale: float
    min: float


class _Weight(msgspec.Struct):
    name: str
    shape: list[int]
    dtype: str
    quantization: _Quantization | None = None


class _Group(msgspec.Struct):
    weights: list[_Weight]
    paths: list[str]


def is_recogniser(folder: Path) -> bool:
    """Whether `folder` is the package's folder ``model``."""
    return (folder / MANIFEST).is_file()


def read_recogniser(folder: Path, network: keras.Model) -> str:
    """Give a `face-resnet` the recogniser's weights; its last layer keeps its own.

    The recogniser has a factor and a summand in place of BatchNorm, and filters ten times smaller
    than a training expects: these are enlarged to He's scale. BatchNorm's statistics stay those of
    no data (mean 0, variance 1), see `take_statistics`.

    Args:
        folder: ``node_modules/@vladmandic/face-api/model``.
        network: `face-resnet` of one input channel or three, of its own width.

    Returns:
        SHA-256 of the weights' file.

    Raises:
        ModelError: the files are damaged, or others.
    """
    weights, checksum = _read(folder)
    try:
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                _fill(network, layer, weights)
            elif layer.name.endswith("_skip"):
                # The recogniser pads the mean of each four places with channels of zero.
                kernel = np.zeros(layer.kernel.shape, np.float32)
                np.fill_diagonal(kernel[0, 0], 1)
                layer.set_weights([kernel])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{folder}: not the weights of face-resnet: {one_line(error)}") from error
    return checksum


def _fill(
    network: keras.Model, norm: layers.BatchNormalization, weights: dict[str, NDArray[np.float32]]
) -> None:
    """The convolution before `norm`, and its factors and summands."""
    conv = network.get_layer(norm.name.removesuffix("_bn") + "_conv")
    source = _source(norm.name.removesuffix("_bn"))
    kernel, bias = weights[f"{source}/conv/filters"], weights[f"{source}/conv/bias"]
    gamma, beta = weights[f"{source}/scale/weights"], weights[f"{source}/scale/biases"]
    if source == "conv32_down":
        # Of red, green and blue less their own means; the network takes one mean from all.
        shift = np.mean(MEAN_RGB) - np.array(MEAN_RGB, np.float32)
        bias = bias + np.einsum("hwio,i->o", kernel, shift) / 255
        if conv.kernel.shape[2] == 1:
            kernel = kernel.sum(axis=2, keepdims=True)
    scale = math.sqrt(2 / math.prod(kernel.shape[:3])) / kernel.std()
    conv.set_weights([kernel * scale])
    unit = math.sqrt(1 + norm.epsilon)
    zeros, ones = np.zeros_like(gamma), np.ones_like(gamma)
    norm.set_weights([gamma * unit / scale, beta + gamma * bias, zeros, ones])


def _source(name: str) -> str:
    """``stage2_res_1`` -> ``conv64_down/conv1``: the recogniser's name of a convolution."""
    if name == "stem":
        return "conv32_down"
    stage, unit, *first = name.split("_")
    channels = 16 * 2 ** int(stage.removeprefix("stage"))
    number = int(unit.removeprefix("res") or 1)
    units = ("1", "2", "3") if channels == 32 else ("down", "1", "2", "3")
    return f"conv{channels}_{units[number - 1]}/conv{1 if first else 2}"


def _read(folder: Path) -> tuple[dict[str, NDArray[np.float32]], str]:
    """The package's weights by name, and their file's checksum.

    TensorFlow.js's format: 8 bits with scale and minimum.
    """
    weights = {}
    try:
        (group,) = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=list[_Group])
        (path,) = group.paths
        file = folder / Path(path).name
        data, at = file.read_bytes(), 0
        for weight in group.weights:
            quantization = weight.quantization
            dtype = np.dtype(weight.dtype if quantization is None else quantization["dtype"])
            count = math.prod(weight.shape)
            values = np.frombuffer(data, dtype, count, at).astype(np.float32)
            at += count * dtype.itemsize
            if quantization is not None:
                values = values * quantization["scale"] + quantization["min"]
            weights[weight.name] = values.reshape(weight.shape)
        return weights, sha256(file)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{folder}: damaged: {one_line(error)}: install @vladmandic/face-api anew"
        ) from error


def take_statistics(network: keras.Model, pixels: NDArray[np.uint8], batch: int = 128) -> None:
    """Give each BatchNorm the statistics of these pictures; the answers stay the same.

    Args:
        network: functional, from float32 pixels 0..255.
        pixels: uint8 NHWC, some hundreds.
        batch: pictures at a time.
    """
    for layer in network.layers:
        if not isinstance(layer, layers.BatchNormalization):
            continue
        before = keras.Model(network.input, layer.input)
        parts = [
            np.asarray(before(pixels[i : i + batch].astype(np.float32), training=False))
            for i in range(0, len(pixels), batch)
        ]
        values = np.concatenate(parts)
        mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
        gamma, beta, old_mean, old_variance = layer.get_weights()
        factor = gamma / np.sqrt(old_variance + layer.epsilon)
        layer.set_weights(
            [
                factor * np.sqrt(variance + layer.epsilon),
                beta + factor * (mean - old_mean),
                mean,
                variance,
            ]
        )
