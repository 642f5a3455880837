"""Augmentation: what may happen to a picture before the network sees it, in training only.

Layers of Keras where Keras has them. The view is one layer of our own, because rotation, zoom and
shift by one resampling blur a picture of 48 pixels once, not four times, and because a view cut out
of surroundings can look beyond the face, where Keras's layers mirror what they have.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edge_emotion.errors import MissingExtraError
from edge_emotion.training.config import TrainConfig

try:
    import keras
    from keras import layers, ops
except ImportError as error:
    raise MissingExtraError("training", "train") from error


class RandomView(layers.Layer):  # type: ignore[misc]
    """A random similarity, shear and stretch; then the middle of the picture.

    float32 pixels (N, H, W, C) in; out the views of the network and of its teachers, each
    (N, height, width, C). They are one, unless `framing` makes the face larger or smaller, or
    `stretch` wider or taller, for the network alone. Without training, the middle only.

    What is drawn for the teachers' view, but for the mirroring, may be given: -1..1 of the reach of
    each of rotation, zoom, shear and the two shifts, (N, DRAWN).
    """

    DRAWN = 5

    def __init__(self, config: TrainConfig, height: int, width: int) -> None:
        super().__init__(name="view")
        self.config, self.height, self.width = config, height, width
        self.seeds = keras.random.SeedGenerator(config.seed)

    def call(self, images: Any, drawn: Any = None, training: bool = False) -> tuple[Any, Any]:
        """See the class."""
        if not training:
            middle = self._middle(images)
            return middle, middle
        shape = ops.shape(images)[0], images.shape[1], images.shape[2]
        own, teachers = (
            None if rows is None else self._middle(
                ops.image.affine_transform(
                    images, rows, interpolation="bilinear", fill_mode="reflect"
                )
            )
            for rows in self._transforms(drawn, *shape)
        )  # fmt: skip
        return own, own if teachers is None else teachers

    def _middle(self, images: Any) -> Any:
        top = (images.shape[1] - self.height) // 2
        left = (images.shape[2] - self.width) // 2
        return images[:, top : top + self.height, left : left + self.width]

    def _transforms(self, drawn: Any, count: Any, height: int, width: int) -> tuple[Any, Any]:
        """Where each pixel of the result comes from: (N, 8), see `keras.ops.image`.

        Of the network's view, and of the teachers' if that is another.
        """
        config = self.config

        def uniform(reach: float) -> Any:
            return keras.random.uniform((count,), -reach, reach, seed=self.seeds)

        def share(column: int, reach: float) -> Any:
            return uniform(reach) if drawn is None else reach * drawn[:, column]

        turn = share(0, math.radians(config.rotation))
        scale = ops.exp(share(1, math.log1p(config.zoom)))  # as often larger as smaller
        shear = share(2, config.shear)
        mirror = ops.sign(uniform(1.0)) if config.flip else ops.ones((count,))
        shift_x = share(3, config.shift * self.width)
        shift_y = share(4, config.shift * self.height)
        zero = ops.zeros((count,))

        def rows(scale: Any, stretch: Any) -> Any:
            cos, sin = scale * ops.cos(turn), scale * ops.sin(turn)
            # Stretched last, along the sides of the view: as a box that is no square is.
            a, b = mirror * cos / stretch, (shear * cos - sin) * stretch
            c, d = mirror * sin / stretch, (shear * sin + cos) * stretch
            # About the middle of the picture, then shifted by a share of the network's input.
            x, y = (width - 1) / 2, (height - 1) / 2
            return ops.stack(
                [
                    a, b, x - a * x - b * y + shift_x,
                    c, d, y - c * x - d * y + shift_y,
                    zero, zero,
                ],
                axis=1,
            )  # fmt: skip

        teachers = rows(scale, 1.0)
        if not config.framing and not config.stretch:
            return teachers, None
        framing = ops.exp(uniform(math.log1p(config.framing)))
        # One side by its square root, the other by the inverse of that: the area stays.
        stretch = ops.exp(uniform(math.log1p(config.stretch) / 2))
        return rows(scale * framing, stretch), teachers


class RandomQuality(layers.Layer):  # type: ignore[misc]
    """Gamma, blur and sharpening, dark and noise, each of random strength.

    float32 pixels 0..255 in and out.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(name="quality")
        self.config = config
        self.seeds = keras.random.SeedGenerator(config.seed + 1)

    def call(self, images: Any, training: bool = False) -> Any:
        """See the class."""
        if not training:
            return images
        config, shape = self.config, (ops.shape(images)[0], 1, 1, 1)

        def uniform(low: float, high: float) -> Any:
            return keras.random.uniform(shape, low, high, seed=self.seeds)

        if config.gamma:
            reach = math.log1p(config.gamma)
            images = 255 * ops.power(
                ops.clip(images / 255, 1e-4, 1.0), ops.exp(uniform(-reach, reach))
            )
        if config.blur or config.sharpen:
            # Sharp, blurred and twice as blurred as steps of a scale with all between them: the
            # second has the first's kernel with holes (Holschneider et al., "A real-time algorithm
            # for signal analysis with the help of the wavelet transform", 1989).
            wide = ops.pad(images, ((0, 0), (6, 6), (6, 6), (0, 0)), mode="reflect")
            wide = _binomial(_binomial(wide, 1, 1), 2, 1)
            once = wide[:, 4:-4, 4:-4]
            twice = _binomial(_binomial(wide, 1, 2), 2, 2)
            level = ops.zeros(shape)
            if config.blur:
                level = 2 * ops.clip(uniform(1 - 1 / config.blur, 1.0), 0.0, 1.0)
            if config.sharpen:  # a step away from the blurred picture
                level = level - config.sharpen * ops.maximum(uniform(-1.0, 1.0), 0.0)
            images = images + ops.minimum(level, 1.0) * (once - images)
            images = images + ops.maximum(level - 1.0, 0.0) * (twice - images)
        if config.dark:
            reach = -math.log(1 - config.dark) * ops.maximum(uniform(-1.0, 1.0), 0.0)
            images = images * ops.exp(-reach)
        if config.noise:
            strength = 255 * config.noise * ops.maximum(uniform(-1.0, 1.0), 0.0)
            images = images + strength * keras.random.normal(ops.shape(images), seed=self.seeds)
        return ops.clip(images, 0.0, 255.0)


def _binomial(images: Any, axis: int, hole: int) -> Any:
    """Blur by the binomial kernel 1 4 6 4 1 along an axis, its taps `hole` pixels apart.

    Of sums: on CPUs TensorFlow's depthwise convolution takes several times as long.

    Returns:
        `images`, by 4 * `hole` pixels shorter along the axis.
    """
    length = images.shape[axis] - 4 * hole
    before = (slice(None),) * axis
    a, b, c, d, e = (images[(*before, slice(i, i + length))] for i in range(0, 5 * hole, hole))
    return (a + e + 4 * (b + d) + 6 * c) / 16


def degradation(config: TrainConfig) -> Callable[[Any], Any]:
    """Layers that make a view harder to read without moving anything, active in training only.

    Returns:
        float32 pixels 0..255 (N, H, W, C) in and out.
    """
    steps: list[Any] = []
    if config.brightness:
        steps.append(layers.RandomBrightness(config.brightness))
    if config.contrast:
        # Two numbers: of one Keras makes a range from 0, and raises contrast only.
        reach = (config.contrast, config.contrast)
        steps.append(layers.RandomContrast(reach, value_range=(0, 255)))
    if config.gamma or config.blur or config.sharpen or config.dark or config.noise:
        steps.append(RandomQuality(config))
    if config.erase:
        # Of one number Keras makes a range from 0: a probability from 0 to this for each
        # picture, half of it in the mean.
        steps.append(layers.RandomErasing(factor=config.erase, scale=(0.02, 0.2)))
    return keras.Sequential(steps, name="degradation") if steps else lambda view: view
