"""Calibration pictures that contain no photograph.

ZeroQ (Cai et al., CVPR 2020, arXiv 2001.00281): noise is changed by gradient descent until each
BatchNorm layer sees the mean and variance that it recorded in training. To these statistics a
cross-entropy term is added, as in DeepInversion (Yin et al., CVPR 2020, arXiv 1912.08795), so that
each label has its share of the pictures. Its targets are soft: on pictures of which the network is
certain, no export ever disagrees with it, and a check on them would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.errors import MissingExtraError, UsageError

try:
    import keras
    import tensorflow as tf
except ImportError as error:
    raise MissingExtraError("distilling calibration pictures", "train") from error


def can_distill(model: keras.Model) -> bool:
    """Whether a network has BatchNorm layers to distill from."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


def distill_pictures(
    logits_model: keras.Model,
    count: int,
    *,
    seed: int,
    steps: int = 200,
    learning_rate: float = 8.0,
    label_weight: float = 1.0,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
) -> NDArray[np.uint8]:
    """Make pictures from a network's own BatchNorm statistics.

    Args:
        logits_model: float32 pixels 0..255 in, logits out.
        count: pictures to make; labels take turns.
        seed: of the noise they start from.
        steps: of Adam.
        learning_rate: of Adam, in pixel values.
        label_weight: weight of the cross-entropy beside the statistics.
        progress: wraps the loop.

    Returns:
        uint8 of shape (count, H, W, C).

    Raises:
        UsageError: the network has no BatchNorm.
    """
    norms = [x for x in logits_model.layers if isinstance(x, keras.layers.BatchNormalization)]
    if not norms:
        raise UsageError(
            f"{logits_model.name} has no BatchNorm to distill calibration pictures from: "
            "pass --calibration DIR with training pictures"
        )
    probe = keras.Model(logits_model.input, [*(x.input for x in norms), logits_model.output])
    targets = _soft_targets(count, logits_model.output_shape[-1], seed)
    statistics = [
        (tf.constant(x.moving_mean), tf.constant(x.moving_variance), x.epsilon) for x in norms
    ]
    noise = np.random.default_rng(seed).normal(127.5, 40, (count, *logits_model.input_shape[1:]))
    pictures = tf.Variable(np.clip(noise, 0, 255).astype(np.float32))
    optimizer = keras.optimizers.Adam(learning_rate)

    @tf.function  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            *features, logits = probe(pictures, training=False)
            loss = label_weight * tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            )
            for feature, (mean, variance, epsilon) in zip(features, statistics, strict=True):
                m, v = tf.nn.moments(feature, axes=(0, 1, 2))
                scale = variance + epsilon
                # Both terms without unit, so that every layer counts alike.
                loss += tf.reduce_mean((m - mean) ** 2 / scale)
                loss += tf.reduce_mean((tf.sqrt(v + epsilon) / tf.sqrt(scale) - 1) ** 2)
        optimizer.apply([tape.gradient(loss, pictures)], [pictures])
        pictures.assign(tf.clip_by_value(pictures, 0.0, 255.0))
        return loss

    for i in progress(range(steps)):
        if i in (steps // 2, steps * 3 // 4):
            optimizer.learning_rate.assign(optimizer.learning_rate / 3)
        step()
    result: NDArray[np.uint8] = np.rint(pictures.numpy()).astype(np.uint8)
    return result


def _soft_targets(count: int, labels: int, seed: int) -> NDArray[np.float32]:
    """Labels take turns at 40 % of the probability or more; (count, labels)."""
    random = np.random.default_rng([seed, 1])
    rest = random.dirichlet(np.ones(labels), count)
    share = random.uniform(0.4, 1.0, (count, 1))
    top = np.eye(labels)[np.arange(count) % labels]
    return (share * top + (1 - share) * rest).astype(np.float32)
