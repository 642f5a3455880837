"""Pictures of a training: curves, confusion, a grid of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.card import Evaluation
from edge_emotion.errors import MissingExtraError
from edge_emotion.files import replacing

try:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["text.parse_math"] = False  # labels are the user's, dollars and all
    from matplotlib import pyplot as plt
except ImportError as error:
    raise MissingExtraError("drawing plots", "train") from error

# Okabe and Ito's palette, told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
    plt.close(figure)


def draw_curves(
    history: list[dict[str, float]], best_epoch: int, path: Path, title: str, caveat: str
) -> None:
    """Accuracy and loss by epoch, training and validation; the kept epoch is marked."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    validation = "training pictures, not augmented" if caveat else "validation"
    for axis, name in zip(axes, ("accuracy", "loss"), strict=True):
        axis.plot(epochs, [row[name] for row in history], color=BLUE, label="training, augmented")
        axis.plot(epochs, [row[f"val_{name}"] for row in history], color=ORANGE, label=validation)
        axis.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axis.set(xlabel="epoch", ylabel=name)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(f"{title}\n{caveat}" if caveat else title)
    _save(figure, path)


def draw_confusion(evaluation: Evaluation, labels: Sequence[str], path: Path) -> None:
    """Confusion matrix: counts, shaded by share of the true label."""
    counts = np.array(evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.7 * len(labels)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axis.text(
            j, i, f"{counts[i, j]}\n{shares[i, j]:.0%}", ha="center", va="center", color=colour
        )
    axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel="predicted", ylabel="true")
    title = f"{evaluation.data}: {evaluation.samples} pictures, accuracy {evaluation.accuracy:.1%}"
    axis.set_title(f"{title}\n{evaluation.caveat}" if evaluation.caveat else title, fontsize=10)
    _save(figure, path)


def draw_predictions(
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    path: Path,
    title: str,
) -> None:
    """A grid of pictures with true and predicted label.

    Args:
        pixels: uint8 (N, H, W, C).
        truth: (N,), index of the true label.
        probabilities: (N, labels).
        labels: in the order of the columns.
        path: of the PNG; outside `models/`, for it shows pictures of the data set.
        title: above the grid.
    """
    columns = min(6, len(pixels))
    rows = -(-len(pixels) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(1.7 * columns, 2.1 * rows + 0.5),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.ravel():
        axis.axis("off")
    for axis, picture, true, row in zip(axes.ravel(), pixels, truth, probabilities, strict=False):
        axis.imshow(picture.squeeze(), cmap="gray" if picture.shape[2] == 1 else None)
        guess = int(row.argmax())
        right = guess == true
        axis.set_title(
            f"{labels[guess]} {row[guess]:.0%}\n" + ("right" if right else f"true: {labels[true]}"),
            fontsize=8,
            color=GREEN if right else RED,
        )
    figure.suptitle(title)
    _save(figure, path)
