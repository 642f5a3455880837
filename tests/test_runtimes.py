"""The engines: one small protocol, and refusal of what is not ours."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from edge_emotion import MissingExtraError, ModelError, UnknownNameError, UsageError
from edge_emotion.runtimes import (
    BY_SUFFIX,
    MAX_THREADS,
    check_batch,
    check_runtime_name,
    logits_of,
    open_runtime,
    runtime_name,
)
from tests import tiny
from tests.golden.make_tiny_models import tiny_onnx

BATCH = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
ENGINES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}
#: Largest error of a logit: float's; half a step of the int8 mean (1) and of the int8 logit (0.2).
TOLERANCE = {"onnx": 1e-4, "tflite": 0.1 + 0.1 + 0.02}


@pytest.fixture(params=ENGINES)
def runtime(request, tmp_path):
    if importlib.util.find_spec(ENGINES[request.param]) is None:
        pytest.skip(f"{ENGINES[request.param]} is not installed")
    path = tmp_path / f"tiny.{request.param}"
    path.write_bytes({"onnx": tiny.ONNX, "tflite": tiny.TFLITE}[request.param])
    runtime = open_runtime(path, threads=1)
    runtime.tolerance = TOLERANCE[request.param]
    return runtime


def onnx_model(change) -> bytes:
    """tiny.onnx with something changed, as bytes."""
    onnx = pytest.importorskip("onnx", reason="needs the extra export")
    model = onnx.load_from_string(tiny.ONNX)
    change(model.graph)
    return bytes(model.SerializeToString())


def test_committed_model_is_what_its_script_makes():
    pytest.importorskip("onnx", reason="needs the extra export")
    assert tiny_onnx() == tiny.ONNX


def test_logits_are_what_the_network_computes(runtime):
    logits = runtime.logits(BATCH)
    assert (logits.shape, logits.dtype) == ((5, 3), np.float32)
    expected = tiny.expected_logits(BATCH)
    np.testing.assert_allclose(logits, expected, atol=runtime.tolerance)


def test_input_shape_and_outputs_are_read_from_the_file(runtime):
    assert (runtime.input_shape, runtime.outputs) == ((8, 8, 1), 3)


def test_batch_size_may_change_from_call_to_call(runtime):
    expected = tiny.expected_logits(BATCH)
    for size in (1, 5, 2, 2, 1):
        np.testing.assert_allclose(
            runtime.logits(BATCH[:size]), expected[:size], atol=runtime.tolerance
        )


def test_earlier_logits_stay_when_the_engine_runs_again(runtime):
    first = runtime.logits(BATCH[:1])
    kept = first.copy()
    runtime.logits(255 - BATCH[:1])
    np.testing.assert_array_equal(first, kept)


def test_engine_names_its_version(runtime):
    assert runtime.engine_version.split(".")[0].isdigit()
    assert runtime.engine in {"onnxruntime", "ai-edge-litert"}


@pytest.mark.parametrize(
    "batch",
    [
        BATCH[0],
        BATCH[:0],
        BATCH.astype(np.float32),
        BATCH.astype(np.int8),
        BATCH[:, :7],
        np.repeat(BATCH, 3, axis=3),
        BATCH.transpose(0, 3, 1, 2),
    ],
    ids=lambda b: f"{b.dtype} {b.shape}",
)
def test_batch_of_another_form_is_refused_not_misread(batch, runtime):
    with pytest.raises(UsageError, match=r"a batch is uint8 of shape \(N, 8, 8, 1\), not"):
        runtime.logits(batch)


def test_check_batch_takes_any_number_of_pictures():
    for size in (1, 2, 77):
        check_batch(np.zeros((size, 4, 5, 3), np.uint8), (4, 5, 3))


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1, 10**9])
def test_impossible_numbers_of_threads(threads, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.ONNX)
    with pytest.raises(UsageError, match=f"threads must be 1 to {MAX_THREADS}, not {threads}"):
        open_runtime(path, threads)


@pytest.mark.parametrize("suffix", BY_SUFFIX)
def test_missing_file(suffix, tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        open_runtime(tmp_path / f"missing{suffix}")


@pytest.mark.parametrize("name", ["model.pt", "model", "model.onnx.zip", "model.TFLITE"])
def test_other_endings_are_no_models(name, tmp_path):
    with pytest.raises(ModelError, match=r"known endings are \.onnx, \.tflite, \.keras"):
        runtime_name(tmp_path / name)


def test_engine_names():
    assert [check_runtime_name(name) for name in ("onnx", "litert", "keras")] == [
        "onnx", "litert", "keras",
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="did you mean 'litert'"):
        check_runtime_name("litrt")


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize(
    "data",
    [b"", b"no model", b"\0" * 1000, "half", b"\x89PNG\r\n\x1a\n" * 20],
    ids=["empty", "text", "zeros", "half", "picture"],
)
def test_damaged_file_is_refused_in_one_line(suffix, data, tmp_path):
    if suffix == ".tflite":
        pytest.importorskip("ai_edge_litert")
    whole = {".onnx": tiny.ONNX, ".tflite": tiny.TFLITE}[suffix]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(whole[: len(whole) // 2] if data == "half" else data)
    with pytest.raises(ModelError) as caught:
        open_runtime(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def _rename_input(graph):
    graph.input[0].name = graph.node[0].input[0] = "input_1"


def _rename_output(graph):
    graph.output[0].name = graph.node[-1].output[0] = "softmax"


def _float_input(graph):
    graph.input[0].type.tensor_type.elem_type = 1


def _fixed_batch(graph):
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _open_size(graph):
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


def _double_output(graph):
    from onnx import TensorProto, helper

    graph.node[-1].output[0] = "single"
    graph.node.append(helper.make_node("Cast", ["single"], ["logits"], to=TensorProto.DOUBLE))
    graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _two_outputs(graph):
    graph.output.append(graph.output[0])
    graph.output[1].name = "mean"


@pytest.mark.parametrize(
    "change",
    [
        _rename_input,
        _rename_output,
        _float_input,
        _fixed_batch,
        _open_size,
        _double_output,
        _two_outputs,
    ],
)
def test_onnx_of_another_form_is_refused_with_what_was_expected(change, tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(onnx_model(change))
    with pytest.raises(ModelError, match=r"expected image uint8 \(N, H, W, C\) -> logits"):
        open_runtime(path)


def test_onnx_that_loads_but_cannot_run(tmp_path):
    def one_picture_only(graph):
        from onnx import helper, numpy_helper

        graph.initializer.append(numpy_helper.from_array(np.array([1, 1], np.int64), "shape"))
        graph.node.insert(2, helper.make_node("Reshape", ["mean", "shape"], ["one"]))
        graph.node[3].input[0] = "one"

    path = tmp_path / "broken.onnx"
    path.write_bytes(onnx_model(one_picture_only))
    runtime = open_runtime(path)
    assert runtime.logits(BATCH[:1]).shape == (1, 3)
    with pytest.raises(ModelError, match=r"onnxruntime cannot run the model: .*Reshape"):
        runtime.logits(BATCH)


def test_tflite_that_loads_but_cannot_run(tmp_path, monkeypatch):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs litert")
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny.TFLITE)
    runtime = open_runtime(path)

    def refuse(self):
        raise RuntimeError("XNNPack delegate failed\nto reshape")

    with monkeypatch.context() as patched:
        patched.setattr(interpreter.Interpreter, "allocate_tensors", refuse)
        with pytest.raises(ModelError, match="LiteRT cannot run the model: XNNPack delegate fail"):
            runtime.logits(BATCH)
    assert runtime.logits(BATCH).shape == (len(BATCH), 3)


@pytest.mark.parametrize(
    ("suffix", "module", "extra"),
    [(".tflite", "ai_edge_litert", "litert"), (".keras", "keras", "train")],
)
def test_engine_that_is_not_installed(suffix, module, extra, tmp_path, monkeypatch):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"any")
    for name in [m for m in sys.modules if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        open_runtime(path)
    assert str(caught.value) == (
        f"running model{suffix} needs an extra: pip install 'edge-emotion[{extra}]'"
    )


KERAS = """
import json, sys
import keras, numpy as np
from pathlib import Path
from edge_emotion import ModelError, UsageError
from edge_emotion.runtimes import open_runtime
folder = Path(sys.argv[1])
image = keras.Input((8, 8, 1), name="image")
dense = keras.layers.Dense(3, name="logits")
logits = dense(keras.layers.GlobalAveragePooling2D()(image))
dense.set_weights([np.array(json.loads(a), np.float32) for a in sys.argv[2:4]])
keras.Model(image, keras.layers.Softmax()(logits)).save(folder / "tiny.keras")
anonymous = keras.layers.Dense(3)(keras.layers.Flatten()(image))
keras.Model(image, anonymous).save(folder / "anonymous.keras")
(folder / "damaged.keras").write_bytes((folder / "tiny.keras").read_bytes()[:-500])
batch = np.array(json.loads(sys.argv[4]), np.uint8)
runtime = open_runtime(folder / "tiny.keras")
errors = []
for name in ("anonymous", "damaged"):
    try:
        open_runtime(folder / f"{name}.keras")
    except ModelError as error:
        errors.append(str(error))
print(json.dumps([runtime.logits(batch).tolist(), runtime.input_shape, runtime.outputs, errors]))
"""


def test_keras_gives_logits_from_before_the_softmax(tmp_path):
    """In a process of its own: TensorFlow's threads and warnings stay out of this one."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the extra train")
    arrays = [tiny.WEIGHTS, tiny.BIAS, BATCH]
    arguments = [json.dumps(a.tolist()) for a in arrays]
    command = [sys.executable, "-W", "ignore", "-c", KERAS, str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    logits, shape, outputs, errors = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(logits, tiny.expected_logits(BATCH), atol=1e-4)
    assert (shape, outputs) == ([8, 8, 1], 3)
    assert "no layer named 'logits'" in errors[0]
    assert "not a .keras file" in errors[1]


@pytest.mark.parametrize(("side", "batches"), [(8, [64, 64, 2]), (1200, [1] * 3), (400, [8, 2])])
def test_large_pictures_are_run_fewer_at_a_time(side, batches):
    seen = []

    class Sums:
        def logits(self, batch):
            seen.append(len(batch))
            return batch.sum(axis=(1, 2), dtype=np.float32)

    pixels = np.full((sum(batches), side, side, 3), 2, np.uint8)
    np.testing.assert_array_equal(logits_of(Sums(), pixels), np.full((len(pixels), 3), 2 * side**2))
    assert seen == batches
