"""`face-resnet` and a recogniser's weights for it: a package of random ones, computed twice."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra train")

from keras import ops  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from edge_emotion.card import InputSpec, ModelCard  # noqa: E402
from edge_emotion.cli import app  # noqa: E402
from edge_emotion.errors import ModelError, UsageError  # noqa: E402
from edge_emotion.training.architectures import Shape, get_architecture  # noqa: E402
from edge_emotion.training.checkpoints import KEPT_NAME  # noqa: E402
from edge_emotion.training.config import TrainConfig  # noqa: E402
from edge_emotion.training.earlier import open_earlier  # noqa: E402
from edge_emotion.training.fit import build  # noqa: E402
from edge_emotion.training.recogniser import read_recogniser, take_statistics  # noqa: E402
from edge_emotion.training.weights import take_weights  # noqa: E402
from tests.datasets import write_class_folders  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

UNITS = [
    f"conv{channels}_{unit}"
    for channels, units in ((32, "123"), (64, "d123"), (128, "d12"), (256, "d12"))
    for unit in (u.replace("d", "down") for u in units)
]
MEAN = np.array([122.782, 117.001, 104.298])


def channels(unit: str) -> int:
    return int(unit.removeprefix("conv").partition("_")[0])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As @vladmandic/face-api has it: bytes with scale and minimum."""
    folder = tmp_path_factory.mktemp("package") / "model"
    folder.mkdir()
    rng = np.random.default_rng(3)
    weights: list[dict[str, Any]] = []
    data = b""

    def add(name: str, shape: list[int], low: float, high: float) -> None:
        nonlocal data
        count = math.prod(shape)
        quantization = {"dtype": "uint8", "scale": (high - low) / 255, "min": low}
        weights.append(
            {"name": name, "shape": shape, "dtype": "float32", "quantization": quantization}
        )
        data += rng.integers(0, 256, count, np.uint8).tobytes()

    def conv(name: str, size: int, inputs: int, outputs: int) -> None:
        add(f"{name}/conv/filters", [size, size, inputs, outputs], -0.05, 0.05)
        add(f"{name}/conv/bias", [outputs], -0.1, 0.1)
        add(f"{name}/scale/weights", [outputs], 0.5, 2.0)
        add(f"{name}/scale/biases", [outputs], -0.5, 0.5)

    conv("conv32_down", 7, 3, 32)
    inputs = 32
    for unit in UNITS:
        conv(f"{unit}/conv1", 3, inputs, channels(unit))
        conv(f"{unit}/conv2", 3, channels(unit), channels(unit))
        inputs = channels(unit)
    add("fc", [256, 128], -1, 1)
    group = {"weights": weights, "paths": ["face_recognition_model.bin"]}
    manifest = folder / "face_recognition_model-weights_manifest.json"
    manifest.write_text(json.dumps([group]))
    (folder / "face_recognition_model.bin").write_bytes(data)
    return folder


def recognise(package: Path, pictures: Any) -> Any:
    """The recogniser's own steps, factor and summand apart; (N, 256) before its last unit."""
    (group,) = json.loads(next(package.glob("*.json")).read_text())
    data, weights, at = next(package.glob("*.bin")).read_bytes(), {}, 0
    for one in group["weights"]:
        count = math.prod(one["shape"])
        raw = np.frombuffer(data, np.uint8, count, at).reshape(one["shape"])
        weights[one["name"]] = raw * one["quantization"]["scale"] + one["quantization"]["min"]
        at += count

    def conv(x: Any, name: str, strides: int = 1) -> Any:
        kernel = ops.convert_to_tensor(weights[f"{name}/conv/filters"], "float32")
        x = ops.conv(x, kernel, strides, padding="same") + weights[f"{name}/conv/bias"]
        return x * weights[f"{name}/scale/weights"] + weights[f"{name}/scale/biases"]

    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(pictures)
    # Outside the picture there is its mean colour, of which the network knows one for all three.
    x = ops.pad(x, [[0, 0], [2, 3], [2, 3], [0, 0]], constant_values=float(MEAN.mean()))
    kernel = ops.convert_to_tensor(weights["conv32_down/conv/filters"], "float32")
    x = ops.conv((x - MEAN) / 255, kernel, 2, padding="valid") + weights["conv32_down/conv/bias"]
    x = x * weights["conv32_down/scale/weights"] + weights["conv32_down/scale/biases"]
    x = ops.max_pool(ops.relu(x), 3, 2, padding="same")
    for unit in UNITS:
        strides = 2 if unit.endswith("down") else 1
        y = conv(ops.relu(conv(x, f"{unit}/conv1", strides)), f"{unit}/conv2")
        if strides == 2:
            x = ops.average_pool(x, 2, 2, padding="valid")
            x = ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, y.shape[-1] - x.shape[-1]]])
        x = ops.relu(x + y)
    return np.asarray(ops.mean(x, axis=(1, 2)))


def face_resnet(channels: int = 1) -> Any:
    shape = Shape(InputSpec(48, 48, channels), 3, 1.0, 0.0)
    return get_architecture("face-resnet").build(shape)


def features(network: Any, pictures: Any) -> Any:
    inner = keras.Model(network.input, network.get_layer("gap").output)
    return np.asarray(inner(pictures, training=False))


@pytest.mark.parametrize("channels", [1, 3])
def test_it_sees_what_the_recogniser_sees(package: Path, channels: int) -> None:
    pictures = np.random.default_rng(1).uniform(0, 255, (3, 48, 48, channels)).astype(np.float32)
    network = face_resnet(channels)
    read_recogniser(package, network)
    expected = recognise(package, np.broadcast_to(pictures, (3, 48, 48, 3)))
    assert (expected.std(axis=0) > 0).mean() > 0.9
    scale = abs(expected).max()
    np.testing.assert_allclose(features(network, pictures), expected, atol=1e-4 * scale)


def test_statistics_of_pictures_change_no_answer(package: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (40, 48, 48, 1), np.uint8)
    network = face_resnet()
    read_recogniser(package, network)
    before = features(network, pixels[:4].astype(np.float32))
    take_statistics(network, pixels, batch=16)
    after = features(network, pixels[:4].astype(np.float32))
    np.testing.assert_allclose(after, before, atol=1e-4 * abs(before).max())
    for name in ("stem_bn", "stage2_res_1_bn", "stage4_res3_bn"):
        layer = network.get_layer(name)
        values = np.asarray(keras.Model(network.input, layer.input)(pixels.astype(np.float32)))
        _, _, mean, variance = layer.get_weights()
        np.testing.assert_allclose(mean, values.mean((0, 1, 2)), atol=1e-3)
        np.testing.assert_allclose(variance, values.var((0, 1, 2)), rtol=1e-2, atol=1e-4)


def test_filters_have_the_scale_that_training_expects(package: Path) -> None:
    network = face_resnet()
    read_recogniser(package, network)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.endswith("_skip"):
            kernel = layer.get_weights()[0]
            fan_in = math.prod(kernel.shape[:3])
            assert kernel.std() == pytest.approx(math.sqrt(2 / fan_in), rel=0.01)


@pytest.mark.usefixtures("hardly_distilled")
def test_a_training_begins_with_it(package: Path, tmp_path: Path) -> None:
    labels = ["angry", "happy", "sad"]
    files = [f"{label}/{number}.png" for label in labels for number in range(12)]
    data = write_class_folders(tmp_path / "faces", files)
    result = CliRunner().invoke(
        app,
        ["train", str(data), "--architecture", "face-resnet", "--initial", str(package),
         "--run", str(tmp_path / "run"), "--epochs", "1", "--learning-rate", "1e-9",
         "--batch-size", "8"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "face-api does not record what it has learnt" in result.stderr
    card = ModelCard.read(tmp_path / "run" / "model")
    assert card.training.config["initial"].startswith("face-api ")
    network = build(TrainConfig(architecture="face-resnet"), 3)
    with np.load(tmp_path / "run" / KEPT_NAME) as kept:
        network.set_weights([kept[name] for name in kept.files])
    pictures = np.random.default_rng(1).uniform(0, 255, (2, 48, 48, 1)).astype(np.float32)
    expected = recognise(package, np.broadcast_to(pictures, (2, 48, 48, 3)))
    # The statistics move by a twentieth a step; the filters do not.
    correlation = np.corrcoef(features(network, pictures).ravel(), expected.ravel())[0, 1]
    assert correlation > 0.9


def test_another_architecture_is_refused(package: Path) -> None:
    initial = open_earlier(str(package), (48, 48, 1))
    with pytest.raises(
        UsageError, match=r"face-api: its layer .* is another: name the same --arch"
    ):
        take_weights(build(TrainConfig(), 3), initial, ["a", "b", "c"], seed=1)


@pytest.mark.parametrize("damage", ["short", "no file", "no list", "another net"])
def test_a_damaged_package_is_refused(package: Path, tmp_path: Path, damage: str) -> None:
    for file in package.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights, manifest = next(tmp_path.glob("*.bin")), next(tmp_path.glob("*.json"))
    if damage == "short":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "no file":
        weights.unlink()
    elif damage == "no list":
        manifest.write_text("{}")
    else:
        manifest.write_text(manifest.read_text().replace("conv64_2/", "conv65_2/"))
    with pytest.raises(ModelError, match=r"damaged|not the weights of face-resnet") as caught:
        open_earlier(str(tmp_path), (48, 48, 1))
    assert "\n" not in str(caught.value)


def test_the_published_weights_fit() -> None:
    peers = os.environ.get("EDGE_EMOTION_PEERS")
    if not peers:
        pytest.skip("EDGE_EMOTION_PEERS IS NOT SET: THE REAL FACE-API IS NOT THERE")
    folder = Path(peers).resolve() / "npm/node_modules/@vladmandic/face-api/model"
    network = face_resnet()
    checksum = read_recogniser(folder, network)
    assert len(checksum) == 64
    pictures = np.random.default_rng(1).uniform(0, 255, (2, 48, 48, 1)).astype(np.float32)
    assert np.isfinite(features(network, pictures)).all()
