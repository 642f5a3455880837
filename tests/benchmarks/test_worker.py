"""What the clock of the benchmark measures."""

from __future__ import annotations

import numpy as np
import pytest

from edge_emotion.benchmarks import worker
from edge_emotion.benchmarks.timing import make_picture
from edge_emotion.benchmarks.worker import TimeRequest
from edge_emotion.card import InputSpec
from edge_emotion.errors import ModelError
from edge_emotion.runtimes import open_runtime
from tests import tiny


def test_what_the_worker_s_clock_measures(monkeypatch, tmp_path):
    """2 ms to decode, 3 to preprocess, 5 for each picture in a batch; the first three calls 50."""
    now = 0.0
    calls, asked = [], []

    def passes(ms):
        nonlocal now
        now += ms / 1e3

    class Engine:
        engine, engine_version = "e", "1"
        input_shape, outputs = (8, 8, 1), 3

        def logits(self, batch):
            passes(50 if len(calls) < 3 else 5 * len(batch))
            calls.append(len(batch))
            return np.zeros((len(batch), 3), np.float32)

    def opened(path, threads):
        asked.append(threads)
        passes(7)
        return Engine()

    monkeypatch.setattr(worker, "open_runtime", opened)
    monkeypatch.setattr(worker, "import_engine", lambda path: passes(11))
    monkeypatch.setattr(worker, "open_picture", lambda *_: passes(2))
    monkeypatch.setattr(worker, "to_tensor", lambda *_: passes(3) or np.zeros((8, 8, 1), np.uint8))
    monkeypatch.setattr(worker.time, "perf_counter", lambda: now)
    monkeypatch.setattr(worker.time, "perf_counter_ns", lambda: round(now * 1e9))
    found = worker._time(
        TimeRequest("m.onnx", InputSpec(8, 8, 1), 3, 1.0, 3, 2, 4, [1, 8], 0.1, make_picture()), 0.0
    )
    assert asked == [3]
    assert found.model == pytest.approx([5] * 4)
    assert (found.decode, found.preprocess, found.infer) == tuple(
        pytest.approx([ms] * 4) for ms in (2, 3, 5)
    )
    assert found.pictures_per_s == pytest.approx([200, 200])
    assert (found.import_s, found.load_s, found.first_prediction_s) == pytest.approx(
        (0.011, 0.007, 0.055)
    )
    assert calls[:13] == [1] * 13  # first, 2 + 4 of the tensor, 2 + 4 of the picture


def test_a_model_that_is_not_its_card_s_is_not_timed(tmp_path):
    (tmp_path / "a.onnx").write_bytes(tiny.ONNX)
    shape = open_runtime(tmp_path / "a.onnx").input_shape
    request = TimeRequest(
        str(tmp_path / "a.onnx"), InputSpec(*shape), 4, 1.0, 1, 1, 1, [], 0.1, make_picture()
    )
    with pytest.raises(ModelError, match="card is of another model"):
        worker._time(request, 0.0)


def test_the_engine_gets_the_number_of_threads(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(tiny.ONNX)
    session = open_runtime(tmp_path / "a.onnx", 3)._session
    assert session.get_session_options().intra_op_num_threads == 3
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs litert")
    real, given = interpreter.Interpreter, []

    def spied(**named):
        given.append(named["num_threads"])
        return real(**named)

    monkeypatch.setattr(interpreter, "Interpreter", spied)
    (tmp_path / "a.tflite").write_bytes(tiny.TFLITE)
    open_runtime(tmp_path / "a.tflite", 3)
    assert given == [3]
