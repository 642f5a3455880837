"""A Keras CNN from elsewhere -> a model folder that can be exported."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.card import (
    INPUT_NAME,
    KERAS_NAME,
    OUTPUT_NAME,
    DataRecord,
    InputSpec,
    ModelCard,
    Resize,
    TrainingRecord,
    is_name,
)
from edge_emotion.errors import MissingExtraError, ModelError, UsageError
from edge_emotion.files import replacing, sha256, tool_versions
from edge_emotion.runtimes.keras import load_keras_model
from edge_emotion.training.architectures import multiply_adds, with_softmax

try:
    import keras
    from keras import layers
except ImportError as error:
    raise MissingExtraError("exporting a Keras model", "export") from error


def adopt_model(
    path: Path,
    labels: Sequence[str],
    out: Path,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    resize: Resize = "bilinear",
) -> ModelCard:
    """Write a model folder for a Keras CNN that was not trained by edge-emotion.

    The normalisation goes into the graph and the softmax becomes a step of its own.

    Args:
        path: .keras or .h5, one picture in (N, H, W, 1 or 3), one row of probabilities or logits
            out.
        labels: in the order of the outputs.
        out: model folder to write.
        scale: pixels 0..255 are multiplied by it before they enter the network, as in training;
            1/255 for ``ImageDataGenerator(rescale=1/255)``, 1 if the network does it itself.
        offset: and then this is added.
        resize: filter with which pictures were resized in training.

    Raises:
        ModelError: Keras cannot load it, or it is not a picture classifier.
        UsageError: another number of labels than outputs.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise UsageError(f"--labels must be two or more, each once, not {', '.join(labels)}")
    if not all(label.isprintable() for label in labels):
        raise UsageError(f"--labels {labels}: they must be printable")
    if not is_name(path.stem):
        raise UsageError(f"{path.name!r}: the model is called by its file: rename it")
    if not (math.isfinite(scale) and math.isfinite(offset) and scale != 0):
        raise UsageError(f"--scale {scale} and --offset {offset}: numbers are needed, scale not 0")
    model = _in_float32(load_keras_model(path))
    if not model.built:
        raise ModelError(
            f"{path}: the network was never built: begin it with keras.Input, or save it after fit"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ModelError(
            f"{path}: one picture in and one row of outputs out is what can be exported, not "
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs, "
            f"{model.outputs[0].shape} the first"
        )
    shape = model.input_shape
    if (
        not isinstance(shape, tuple)
        or len(shape) != 4
        or shape[3] not in (1, 3)
        or None in shape[1:]
    ):
        raise ModelError(f"{path}: the input is {shape}, not pictures (None, H, W, 1 or 3)")
    try:
        spec = InputSpec(shape[1], shape[2], shape[3], resize)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    features, head = _cut(model, path)
    outputs = head.units if head is not None else features.output.shape[-1]
    if outputs != len(labels):
        raise UsageError(f"{path} has {outputs} outputs, but {len(labels)} labels are named")
    image = keras.Input(shape[1:], name=INPUT_NAME)
    x = (
        layers.Rescaling(scale, offset, name="rescale")(image)
        if (scale, offset) != (1, 0)
        else image
    )
    x = features(x)
    if head is None:
        logits = layers.Identity(name=OUTPUT_NAME)(x)
    else:
        dense = layers.Dense(head.units, use_bias=head.use_bias, name=OUTPUT_NAME)
        logits = dense(x)
        if len(head.get_weights()) != len(dense.weights):
            raise ModelError(
                f"{path}: its last layer is quantised or has LoRA weights: save the network in "
                "float, LoRA merged into the kernels"
            )
        dense.set_weights(head.get_weights())
    logits_model = keras.Model(image, logits, name=model.name)
    with replacing(out / KERAS_NAME) as temporary:
        with_softmax(logits_model).save(temporary)
        _make_reproducible(temporary)
    unknown = "not recorded: the model was not trained by edge-emotion"
    card = ModelCard(
        name=path.stem,
        labels=list(labels),
        input=spec,
        licence=unknown,
        intended_use=unknown,
        out_of_scope=unknown,
        training=TrainingRecord(
            architecture=model.name,
            parameters=int(model.count_params()),
            multiply_adds=multiply_adds(model),
            config={"scale": scale, "offset": offset},
            epochs=0,
            best_epoch=0,
            command=unknown,
            tools=tool_versions(["keras", "tensorflow"]),
        ),
        data=DataRecord(unknown, "unknown", unknown, unknown, unknown, 0, [], {}),
        keras_sha256=sha256(out / KERAS_NAME),
    )
    card.write(out)
    return card


def _make_reproducible(path: Path) -> None:
    """Rewrite a .keras file so that the same network, adopted again, is the same file."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    metadata = json.loads(entries["metadata.json"])
    del metadata["date_saved"]
    entries["metadata.json"] = json.dumps(metadata).encode()
    # Addresses in memory, by which Keras finds what is shared: any numbers do.
    numbers: dict[bytes, bytes] = {}
    entries["config.json"] = re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda match: numbers.setdefault(match[0], b"%d" % (len(numbers) + 1)),
        entries["config.json"],
    )
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data)  # of 1980


def _in_float32(model: Any) -> Any:
    """A network that was trained in mixed precision, without its casts to half of float32."""
    if not model.built or all(layer.compute_dtype == "float32" for layer in _layers(model)):
        return model

    def clone(layer: Any) -> Any:
        own = {"dtype": "float32"} if isinstance(layer, keras.Layer) else {}  # else an operator
        return type(layer).from_config(layer.get_config() | own)

    result = keras.models.clone_model(model, clone_function=clone, recursive=True)
    result.set_weights(model.get_weights())
    return result


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _cut(model: Any, path: Path) -> tuple[Any, Any]:
    """The network before its softmax, and the last Dense if that one holds the softmax."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    if isinstance(activation, layers.Softmax):  # a layer in the place of a function
        activation = keras.activations.softmax
    activation = getattr(activation, "__name__", type(activation).__name__)
    source = model.inputs[0]
    if isinstance(last, layers.Softmax) or (
        isinstance(last, layers.Activation) and activation == "softmax"
    ):
        return keras.Model(source, last.input, name="features"), None
    if isinstance(last, layers.Dense) and activation == "softmax":
        return keras.Model(source, last.input, name="features"), last
    if isinstance(last, layers.Dense) and activation == "linear":
        return keras.Model(source, last.output, name="features"), None
    raise ModelError(
        f"{path}: the last layer is {type(last).__name__} {activation}: expected a softmax over "
        "the labels, or a Dense that gives logits"
    )
