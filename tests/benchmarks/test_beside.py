"""Latency of untrained networks beside another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("tensorflow", reason="needs the extra export")
pytest.importorskip("tf2onnx", reason="needs the extra export")

from edge_emotion import ConversionError
from edge_emotion.benchmarks import beside
from edge_emotion.benchmarks.beside import Beside, Export, interleaved_ms, ratio
from edge_emotion.training.architectures import multiply_adds
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.fit import build

# TensorFlow and its converters use what NumPy and they themselves deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_rounds_are_interleaved_and_go_both_ways() -> None:
    called: list[str] = []

    def named(name: str) -> Callable[[], None]:
        return lambda: called.append(name)

    times = interleaved_ms([named("a"), named("b"), named("c")], rounds=2, calls=3)
    assert "".join(called) == "aaaabbbbcccc" + "ccccbbbbaaaa"
    assert [len(own) for own in times] == [2, 2, 2]


def test_the_first_call_of_a_turn_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lasts = 0.0, iter([50.0, 1.0, 2.0, 3.0, 2.0])

    def slow_at_first() -> None:
        nonlocal now
        now += next(lasts)

    monkeypatch.setattr(beside.time, "perf_counter", lambda: now / 1e3)
    ((mean,),) = interleaved_ms([slow_at_first], rounds=1, calls=4)
    assert mean == pytest.approx(2.0)


def test_a_disturbed_round_does_not_move_the_ratio() -> None:
    assert ratio([2.0, 2.0, 90.0], [1.0, 1.0, 1.0]) == 2
    # The machine is three times slower in the second round: for both.
    assert ratio([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == 2


def test_a_wider_network_costs_more_in_both_engines() -> None:
    reference = build(TrainConfig(size=24, width=0.5), 3)
    wide = build(TrainConfig(size=48, width=1.0), 3)
    cost = Beside(reference)(wide)
    assert cost.multiply_adds == multiply_adds(wide) > 10 * multiply_adds(reference)
    assert cost.parameters == wide.count_params()
    assert cost.latency > 2
    assert cost.onnx_latency > 1.3
    assert 0 < cost.latency_ms < cost.onnx_latency_ms * 10
    # int8 weights: a byte each, and the graph around them.
    assert cost.parameters < cost.int8_bytes < cost.parameters + 30_000


def test_a_network_without_an_int8_form_is_a_conversion_error() -> None:
    import keras

    image = keras.Input((16, 16, 1))
    flat = keras.layers.Flatten()(image)
    odd = keras.ops.erf(flat)  # not among TFLite's int8 operators
    model = keras.Model(image, keras.layers.Dense(3)(odd))
    with pytest.raises(ConversionError, match="tflite-int8"):
        Export(model, "tflite-int8")
