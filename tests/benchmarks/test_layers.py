"""Layer by layer: a layer spoiled on purpose is the one that is named, in ONNX and in TFLite."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_emotion.benchmarks.accuracy import Pictures, no_pictures
from edge_emotion.benchmarks.figures import layers as layers_table
from edge_emotion.benchmarks.inspection import (
    check_layers,
    inspect_layers,
    keras_layers,
    layer_name,
    pairs,
    with_layer_names,
)
from edge_emotion.benchmarks.layer import EIGHT_BITS_DB, Layer, LayerReport
from edge_emotion.benchmarks.layers import Node, Noise, judge
from edge_emotion.benchmarks.schema import BenchReport
from edge_emotion.benchmarks.subjects import Subject
from edge_emotion.benchmarks.worker import LayersRequest, Looked
from edge_emotion.errors import CheckError, EdgeEmotionError, MissingExtraError, UsageError

from .made import make_report
from .test_bench_command import bench

#: TensorFlow and its converters use what NumPy and they themselves deprecate.
CONVERTS = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CONVS = ("first", "second", "third")


def noise(signal: float, error: float) -> Noise:
    found = Noise()
    found.add(np.array([signal]), np.array([signal - error]))
    return found


def test_sqnr_is_in_decibels_over_all_pictures() -> None:
    found = Noise()
    found.add(np.array([3.0, 4.0]), np.array([3.0, 4.0]))
    assert found.sqnr is None
    found.add(np.array([0.0]), np.array([0.5]))
    assert found.sqnr == pytest.approx(10 * math.log10(25 / 0.25))
    assert noise(0.0, 1.0).sqnr == -math.inf


def test_a_layer_is_judged_by_what_it_loses_from_its_worst_input() -> None:
    nodes = [
        Node("a", "conv", 10, (), "a"),
        Node("b", "conv", 10, (0,), "b"),
        Node("sum", "add", None, (0, 1), "sum"),
        Node("same", "reshape", None, (2,), "same"),
        Node("dead", "conv", 10, (3,), "dead"),
    ]
    noises = [noise(100, 1), noise(10, 1), noise(10, 1), noise(1, 0), noise(0, 1)]
    us = [1.0, 2.0, None, 0.0, 3.0]
    found = judge(nodes, noises, us, us)
    assert [layer.sqnr for layer in found] == [40.0, 20.0, 20.0, None, -99.0]
    assert [layer.lost for layer in found] == [
        pytest.approx(EIGHT_BITS_DB - 40), 20.0, 0.0, None, pytest.approx(EIGHT_BITS_DB + 99),
    ]  # fmt: skip
    assert [layer.int8_us for layer in found] == us


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("functional_1/stage1_in_conv_1/convolution/merged_input:0", "stage1_in_conv"),
        ("functional_1_1/functional_1/gap_1/Mean", "gap"),
        (
            "functional_1/a_relu_1/Relu;functional_1/a_bn_1/batchnorm/mul_1;"
            "functional_1/a_conv_1/convolution;functional_1/a_bn_1/batchnorm/sub1",
            "a_conv",
        ),
        ("sequential/conv2d_3_1/convolution", "conv2d_3"),
        ("functional_11_1/functional_10_1/conv2d_1_2/convolution", "conv2d_1"),
        ("functional_8_1/sequential_1_1/conv2d_6_1/convolution", "conv2d_6"),
        ("logits", "logits"),
        ("Conv__52:0", "Conv__52"),
    ],
)
def test_names_are_those_of_the_keras_layers(path: str, name: str) -> None:
    assert layer_name(path) == name


def test_of_layers_within_layers_the_innermost_is_named() -> None:
    path = "functional_1/backbone_1/block_2_1/conv_1/batchnorm/mul_1"
    assert layer_name(path) == "backbone"  # all that can be told without the network
    assert layer_name(path, {"backbone", "block_2", "conv"}) == "conv"
    assert layer_name(path, {"backbone", "block_2"}) == "block_2"
    assert layer_name(path, {"another"}) == "backbone"


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (24, 12, 12, 1), dtype=np.uint8)


def build(spoiled: str | None) -> Any:
    """Three convolutions; one of them spoiled for int8 and not for float.

    The layer before it has a channel that is always 0. Huge weights on that channel change nothing
    in float; in int8 they make the step so coarse that the useful weights beside them vanish.
    """
    import keras

    random = np.random.default_rng(5)
    image = keras.Input((12, 12, 1), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    for name in CONVS:
        x = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name=name)(x)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    for i, name in enumerate((*CONVS, "logits")):
        kernel, bias = model.get_layer(name).get_weights()
        kernel = random.normal(0, 0.3, kernel.shape)
        if i < len(CONVS):
            kernel[..., 0] = 0  # with a bias of 0: after the ReLU this channel is 0
        if name == spoiled:
            kernel[..., 0, 1:] = 500.0
        model.get_layer(name).set_weights([kernel, np.zeros_like(bias)])
    return model


def look(form: str, model: Any, pictures: NDArray[np.uint8], folder: Path) -> Looked:
    """Export in float and int8, and look into both."""
    model.save(folder / "model.keras")
    known = keras_layers(folder / "model.keras")
    return with_layer_names(look_into_exports(form, model, pictures, folder), known)


def look_into_exports(form: str, model: Any, pictures: NDArray[np.uint8], folder: Path) -> Looked:
    if form == "onnx-int8":
        from edge_emotion.benchmarks.layers_onnx import look as look_onnx
        from edge_emotion.exporters.onnx import convert_onnx, quantize_onnx

        reference, path = folder / "f32.onnx", folder / "int8.onnx"
        exact = convert_onnx(model)
        reference.write_bytes(exact.SerializeToString())
        path.write_bytes(quantize_onnx(exact, pictures[:16]).SerializeToString())
        return look_onnx(reference, path, pictures[16:], 2, 5)
    from edge_emotion.benchmarks.layers_tflite import look as look_tflite
    from edge_emotion.exporters.tflite import convert_tflite

    reference, path = folder / "f32.tflite", folder / "int8.tflite"
    reference.write_bytes(convert_tflite(model, "tflite-f32", None))
    path.write_bytes(convert_tflite(model, form, pictures[:16]))
    return look_tflite(reference, path, pictures[16:], 2, 5)


def report_of(looked: Looked) -> LayerReport:
    return LayerReport(
        "made-int8", "made-f32", "made", 8, 5, looked.layers, looked.unmatched,
        looked.other_float_us, looked.other_int8_us, looked.notes,
    )  # fmt: skip


@CONVERTS
@pytest.mark.parametrize("form", ["onnx-int8", "tflite-int8"])
@pytest.mark.parametrize("spoiled", ["second", "third"])
def test_a_spoiled_layer_is_named(
    form: str, spoiled: str, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra export")
    found = report_of(look(form, build(spoiled), pictures, tmp_path))
    assert found.worst is not None
    assert found.worst.name == spoiled
    assert found.worst.sqnr is not None
    assert found.worst.sqnr < 5
    before = [layer for layer in found.layers if layer.name == "first"]
    assert min(layer.sqnr for layer in before if layer.sqnr is not None) > 20


@CONVERTS
@pytest.mark.parametrize("form", ["onnx-int8", "tflite-int8", "tflite-int8-dynamic"])
def test_a_sound_net_loses_little_and_is_counted_whole(
    form: str, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra export")
    looked = look(form, build(None), pictures, tmp_path)
    assert looked.unmatched == []
    layers = {layer.name: layer for layer in looked.layers if layer.multiply_adds}
    assert {name: layer.multiply_adds for name, layer in layers.items()} == {
        "first": 144 * 12 * 9, "second": 144 * 12 * 12 * 9, "third": 144 * 12 * 12 * 9,
        "logits": 36,
    }  # fmt: skip
    if form == "tflite-int8-dynamic":  # the converter leaves weights of under 1,024 values float
        assert layers.pop("first").sqnr is None
    assert all(layer.sqnr is not None and layer.sqnr > 20 for layer in layers.values())
    if form == "onnx-int8":
        assert all(layer.float_us is not None for layer in layers.values())
        assert all(layer.int8_us is not None for layer in layers.values())
        assert looked.notes == []
    else:
        assert all(layer.float_us is None for layer in looked.layers)
        assert "no access to its profiler" in looked.notes[0]


@CONVERTS
@pytest.mark.parametrize("form", ["onnx-int8", "tflite-int8"])
def test_layers_of_which_keras_chose_the_names(
    form: str, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    """``conv2d_1_2`` is Keras' ``conv2d_1``, and what is in a network within it has names, too."""
    keras = pytest.importorskip("keras", reason="needs the extra export")
    keras.utils.clear_session()
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((12, 12, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Conv2D(4, 3, activation="relu"),
        keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()],
                         name="backbone"),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, activation="relu"),
        layers.Dense(3, name="logits"),
    ])  # fmt: skip
    sizes = {layer.name: math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:-1])
             for one in model.layers for layer in getattr(one, "layers", [one])
             if hasattr(layer, "kernel")}  # fmt: skip
    assert len(sizes) == 6
    found = look(form, model, pictures, tmp_path)
    adds = {layer.name: layer.multiply_adds for layer in found.layers if layer.multiply_adds}
    assert adds == sizes


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip"])
def test_a_network_that_cannot_be_read_has_no_known_layers(data: bytes, tmp_path: Path) -> None:
    assert keras_layers(tmp_path / "nowhere.keras") == frozenset()
    (tmp_path / "model.keras").write_bytes(data)
    assert keras_layers(tmp_path / "model.keras") == frozenset()


def test_the_table_names_the_worst_and_shares_add_up() -> None:
    found = LayerReport(
        "onnx-int8", "onnx-f32", "made", 8, 5,
        [
            Layer("a", "conv", 2_000_000, 60.0, 20.0, 30.0, 19.9),
            Layer("b", "add", None, None, 10.0, 29.0, 1.0),
            Layer("c", "reshape", None, 20.0, 5.0, None, None),
        ],
        ["odd"], 20.0, 5.0, [],
    )  # fmt: skip
    table = layers_table(found)
    assert table.title == (
        "Layers of onnx-int8 beside onnx-f32, 8 pictures; most is lost in a (conv). "
        "Not in the float file: odd"
    )
    assert table.rows == [
        ["a", "conv", "2.00", "60.0%", "50.0%", "30.0", "19.9"],
        ["b", "add", "", "", "25.0%", "29.0", "1.0"],
        ["c", "reshape", "", "20.0%", "12.5%", "exact", ""],
        ["in no layer", "", "", "20.0%", "12.5%", "", ""],
    ]
    untimed = replace(found, other_float_us=None, other_int8_us=None, notes=["No times: x"])
    assert layers_table(untimed).header == [
        "layer", "kind", "multiply-adds, M", "SQNR dB", "lost here dB",
    ]  # fmt: skip
    assert layers_table(untimed).title.endswith("odd. No times: x")
    assert layers_table(untimed).rows[0] == ["a", "conv", "2.00", "30.0", "19.9"]
    report = make_report(layers=[found])
    assert BenchReport.from_json(report.to_json(), "made").layers == [found]


def test_int8_exports_are_paired_with_the_float_one_of_their_engine() -> None:
    recipes = ["keras", "onnx-f32", "onnx-int8", "tflite-int8", "tflite-int8-dynamic"]
    subjects = [Subject(recipe, Path(recipe), None) for recipe in recipes]
    assert [(a.recipe, b.recipe) for a, b in pairs(subjects)] == [("onnx-int8", "onnx-f32")]
    with pytest.raises(UsageError, match="this model carries none: pass --data"):
        check_layers(subjects, None)


def test_what_looks_into_onnx_files_is_missed_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subjects = [Subject(name, Path(f"{name}.onnx"), None) for name in ("onnx-f32", "onnx-int8")]
    pictures = Pictures(no_pictures(), Path("pixels.npy"), np.arange(3), None)
    check_layers(subjects, pictures)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--layers needs an extra: .*\[export\]"):
        check_layers(subjects, pictures)


@pytest.mark.parametrize(("other_us", "runs"), [(1.0, 100), (None, 0)])
def test_runs_are_counted_where_something_was_profiled(
    other_us: float | None, runs: int, tmp_path: Path
) -> None:
    subjects = [Subject(recipe, Path(recipe), None) for recipe in ("onnx-f32", "onnx-int8")]
    pictures = Pictures(no_pictures(), tmp_path / "x.npy", np.arange(200), None)
    asked: list[LayersRequest] = []

    def look(request: LayersRequest) -> Looked:
        asked.append(request)
        return Looked([], [], other_us, other_us, [])

    ((found,), errors) = inspect_layers(subjects, pictures, look=look)
    assert (found.runs, found.pictures, errors) == (runs, 64, [])
    assert (asked[0].rows[0], asked[0].rows[-1], len(set(asked[0].rows))) == (0, 199, 64)


def test_the_command_shows_layers_and_a_network_beside_itself_loses_nothing(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="needs the extra export")
    result = bench(folder, "--layers", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    assert "Layers of onnx-int8 beside onnx-f32, 12 pictures" in result.stdout
    (found,) = BenchReport.read(tmp_path / "r.json").layers
    assert [layer.kind for layer in found.layers] == ["cast", "reducemean", "gemm"]
    assert all(layer.sqnr is None for layer in found.layers)
    assert found.worst is None
    assert found.layers[-1].multiply_adds == 3


def test_one_int8_file_alone_cannot_be_compared(folder: Path) -> None:
    result = bench(folder / "model-int8.onnx", "--layers")
    assert result.exit_code == 2
    assert "compares an int8 export with the float one" in result.stderr


@pytest.mark.parametrize(
    "error",
    [CheckError("model-int8.onnx: killed by SIGILL"), MissingExtraError("an ONNX graph", "export")],
)
def test_a_file_that_cannot_be_looked_into_fails_and_the_report_stands(
    folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: EdgeEmotionError,
) -> None:  # fmt: skip
    from edge_emotion.benchmarks import run

    def broken(*arguments: Any, **options: Any) -> Any:
        def look(request: Any) -> Any:
            raise error

        return inspect_layers(*arguments, **options, look=look)

    monkeypatch.setattr(run, "inspect_layers", broken)
    result = bench(folder, "--layers", "--json", tmp_path / "r.json")
    assert result.exit_code == error.exit_code
    assert result.stderr.splitlines()[-2:] == [
        f"edge-emotion: {error}", "edge-emotion: 1 failed; the others were measured",
    ]  # fmt: skip
    assert BenchReport.read(tmp_path / "r.json").layers == []
