"""Architectures by name. Each ends in ``logits``; `with_softmax` adds the last, separate step.

Input of every network: float32 of shape (batch, H, W, C), values 0..255. Normalisation is a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_emotion.card import INPUT_NAME, OUTPUT_NAME, InputSpec
from edge_emotion.errors import MissingExtraError, UnknownNameError, UsageError
from edge_emotion.training.body import Stage, parse_body

try:
    import keras
    from keras import layers
except ImportError as error:
    raise MissingExtraError("training", "train") from error

PROBABILITIES = "probabilities"

#: Mean of red, green and blue in the training of dlib's face recogniser, of the range 0..255.
MEAN_RGB = (122.782, 117.001, 104.298)


#: See `edge_emotion.training.body`; models/EXPERIMENTS.md says why this one.
EDGE_CNN_BODY = "c32/2 r p c64 r p c96 r"


@dataclass(frozen=True)
class Shape:
    """What a network is built from."""

    input: InputSpec
    labels: int
    width: float  # factor on the channels
    dropout: float
    body: str | None = None  # None: the architecture's


@dataclass(frozen=True)
class Architecture:
    """A network's builder with the input it was made for."""

    build: Callable[[Shape], keras.Model]
    input: InputSpec
    dropout: float


def _baseline_cnn(shape: Shape) -> keras.Model:
    """The CNN that the project grew from: about 19 M parameters at 150 x 150 RGB."""
    if shape.body is not None:
        raise UsageError("--body is for edge-cnn: baseline-cnn has no other than its own")
    image = keras.Input(shape.input.shape, name=INPUT_NAME)
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    for i, filters in enumerate((32, 64, 128), 1):
        x = layers.Conv2D(_scaled(filters, shape.width), 3, activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(shape.dropout, name="dropout")(x)
    x = layers.Dense(_scaled(512, shape.width), activation="relu", name="dense")(x)
    return keras.Model(image, layers.Dense(shape.labels, name=OUTPUT_NAME)(x), name="baseline-cnn")


def _edge_cnn(shape: Shape) -> keras.Model:
    """A small residual net of plain 3 x 3 convolutions, for int8 engines.

    Every BatchNorm follows a convolution and folds into it; ReLU bounds one side of the range;
    global average pooling, or a weight for each place of a small map, instead of a large Dense. No
    swish, no squeeze-and-excitation, where int8 loses accuracy or the engines lose speed;
    depthwise layers, which a body may name, were not tried in a training. The pixels are scaled and
    not shifted, since only a factor folds into a convolution that pads with zeros.
    Residual units: He et al., CVPR 2016. Other bodies: `edge_emotion.training.body`.
    """
    image = keras.Input(shape.input.shape, name=INPUT_NAME)
    x = layers.Rescaling(1 / 127.5, name="rescale")(image)
    stages = parse_body(shape.body or EDGE_CNN_BODY)
    for stage in stages:
        filters = _scaled(stage.filters, shape.width) if stage.filters else x.shape[-1]
        if stage.kind == "pool":
            x = layers.MaxPooling2D(2, name=stage.name)(x)
        elif stage.kind == "residual":
            x = _residual(x, filters, stage)
        elif stage.kind == "flatten":
            x = layers.Flatten(name=stage.name)(x)
        else:
            make = _conv if stage.kind == "conv" else _separable
            x = make(x, filters, stage.name, stage.kernel, stage.strides)
    if stages[-1].kind != "flatten":
        x = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dropout(shape.dropout, name="dropout")(x)
    return keras.Model(image, layers.Dense(shape.labels, name=OUTPUT_NAME)(x), name="edge-cnn")


def _face_resnet(shape: Shape) -> keras.Model:
    """The network of dlib's face recogniser for small pictures: a teacher, 4.4 M parameters.

    To begin with the recogniser's weights see `edge_emotion.training.recogniser`. Pictures are
    enlarged twice, so that eyes are as far apart as in its training (40 of 46 pixels); its last
    unit, at 2 x 2, is left out.
    """
    if shape.body is not None:
        raise UsageError("--body is for edge-cnn: face-resnet has no other than its own")
    image = keras.Input(shape.input.shape, name=INPUT_NAME)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="enlarge")(image)
    x = layers.Rescaling(1 / 255, -sum(MEAN_RGB) / 3 / 255, name="rescale")(x)
    x = _conv(x, _scaled(32, shape.width), "stem", kernel=7, strides=2)
    x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, units in enumerate((3, 4, 3, 3), 1):
        filters = _scaled(16 * 2**stage, shape.width)
        for unit in range(1, units + 1):
            name = f"stage{stage}_res{unit if unit > 1 else ''}"
            strides = 2 if stage > 1 and unit == 1 else 1
            y = _linear(_conv(x, filters, f"{name}_1", strides=strides), filters, name)
            if strides == 2:
                x = layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
                x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_skip")(x)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dropout(shape.dropout, name="dropout")(x)
    return keras.Model(image, layers.Dense(shape.labels, name=OUTPUT_NAME)(x), name="face-resnet")


def _conv(
    x: keras.KerasTensor, filters: int, name: str, kernel: int = 3, strides: int = 1
) -> keras.KerasTensor:
    return layers.ReLU(name=f"{name}_relu")(_linear(x, filters, name, kernel, strides))


def _linear(
    x: keras.KerasTensor, filters: int, name: str, kernel: int = 3, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return layers.BatchNormalization(momentum=0.95, name=f"{name}_bn")(x)


def _separable(
    x: keras.KerasTensor, filters: int, name: str, kernel: int, strides: int
) -> keras.KerasTensor:
    x = layers.DepthwiseConv2D(
        kernel, strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return _conv(x, filters, name, kernel=1)


def _residual(x: keras.KerasTensor, filters: int, stage: Stage) -> keras.KerasTensor:
    y = x
    for number in range(1, stage.convolutions):
        y = _conv(y, filters, f"{stage.name}_{number}")
    y = _linear(y, filters, stage.name)
    y = layers.Add(name=f"{stage.name}_add")([x, y])
    return layers.ReLU(name=f"{stage.name}_relu")(y)


def _scaled(filters: int, width: float) -> int:
    """Channels times `width`, rounded to a multiple of 8, on which int8 kernels work."""
    return filters if width == 1 else max(8, 8 * round(filters * width / 8))


ARCHITECTURES: Mapping[str, Architecture] = {
    "baseline-cnn": Architecture(_baseline_cnn, InputSpec(150, 150, 3), dropout=0.5),
    "edge-cnn": Architecture(_edge_cnn, InputSpec(48, 48, 1), dropout=0.3),
    "face-resnet": Architecture(_face_resnet, InputSpec(48, 48, 1), dropout=0.3),
}


def get_architecture(name: str) -> Architecture:
    """Look an architecture up.

    Raises:
        UnknownNameError: there is none of that name; the message suggests the nearest.
    """
    if name not in ARCHITECTURES:
        raise UnknownNameError("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def with_softmax(logits_model: keras.Model) -> keras.Model:
    """The Keras model that is saved: logits, then softmax as a layer of its own."""
    probabilities = layers.Softmax(name=PROBABILITIES)(logits_model.output)
    return keras.Model(logits_model.input, probabilities, name=logits_model.name)


def keep_outputs(logits_model: keras.Model, outputs: Sequence[int]) -> keras.Model:
    """The same network with some of its logits, in the order of `outputs`.

    The softmax over fewer logits is the probability given that one of these labels is right.
    """
    head = logits_model.get_layer(OUTPUT_NAME)
    dense = layers.Dense(len(outputs), name=OUTPUT_NAME)
    kept = keras.Model(logits_model.input, dense(head.input), name=logits_model.name)
    dense.set_weights([weights[..., list(outputs)] for weights in head.get_weights()])
    return kept


def in_precision(model: keras.Model, precision: str) -> keras.Model:
    """The same network and weights, computing in another precision; the logits stay float32.

    Micikevicius et al., "Mixed Precision Training", ICLR 2018; bfloat16 needs no loss scaling
    (Kalamkar et al., arXiv 1905.12322).

    Args:
        model: a functional model of Keras's own layers, in float32.
        precision: name of a Keras dtype policy.
    """
    if precision == "float32":
        return model

    def clone(layer: keras.Layer) -> keras.Layer:
        policy = "float32" if layer.name == OUTPUT_NAME else precision
        return type(layer).from_config(layer.get_config() | {"dtype": policy})

    result = keras.models.clone_model(model, clone_function=clone)
    result.set_weights(model.get_weights())
    return result


def multiply_adds(model: keras.Model, shape: tuple[int | None, ...] | None = None) -> int:
    """Multiply-adds per picture of the convolutions and dense layers, those of inner models too.

    Args:
        model: a functional or sequential model of one input.
        shape: (N, H, W, C) of its input, where the model itself leaves height and width open.
    """
    total = 0

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        nonlocal total
        output = layer(*args, **kwargs)
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer, args[0].shape)
        elif isinstance(layer, layers.SeparableConv2D):
            kernels = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
            total += math.prod(output.shape[1:3]) * sum(map(math.prod, kernels))
        elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            kernel = math.prod(layer.kernel.shape)  # kh * kw * cin * cout, or * 1
            total += math.prod(output.shape[1:3]) * kernel
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
        return output

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0])
    size = (shape or model.inputs[0].shape)[1:]
    inputs = keras.tree.map_structure(lambda _: keras.Input(size), model.input)
    keras.models.clone_model(model, input_tensors=inputs, call_function=call)
    return total


def plan_of(network: keras.Model) -> dict[str, tuple[Any, ...]]:
    """Layer -> its kind and how it moves over the map, of those that make a network another."""
    kinds = (
        layers.Conv2D, layers.DepthwiseConv2D, layers.BatchNormalization, layers.Dense,
        layers.MaxPooling2D,
    )  # fmt: skip
    return {
        x.name: (type(x), getattr(x, "strides", None), getattr(x, "pool_size", None))
        for x in network.layers
        if isinstance(x, kinds)
    }
