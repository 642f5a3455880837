"""Bodies of `edge-cnn` as text, and the networks that they describe."""

from __future__ import annotations

import pytest

from edge_emotion.errors import UsageError
from edge_emotion.training.body import Stage, parse_body
from edge_emotion.training.config import TrainConfig, make_config


def test_every_kind_of_stage() -> None:
    assert parse_body("c32k5/2 r rr p d64/2 p p c8k1 f") == [
        Stage("conv", "stage1_in", 32, 5, 2),
        Stage("residual", "stage1_res"),
        Stage("residual", "stage1_res2", convolutions=2),
        Stage("pool", "stage1_pool"),
        Stage("depthwise", "stage2_in", 64, 3, 2),
        Stage("pool", "stage2_pool"),
        Stage("pool", "stage2_pool2"),
        Stage("conv", "stage3_in", 8, 1, 1),
        Stage("flatten", "flatten"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no stage in it"),
        ("  ", "no stage in it"),
        ("r c32", "does not begin with a convolution"),
        ("c0", "'c0' is no stage"),
        ("c32k4", "'c32k4' is no stage"),
        ("c32/3", "'c32/3' is no stage"),
        ("c32 rrr", "'rrr' is no stage"),
        ("f", "does not begin with a convolution"),
        ("c32 f r", "nothing follows f"),
        ("c32 f f", "nothing follows f"),
        ("c32,r", "'c32,r' is no stage"),
        ("c99999", "'c99999' is no stage"),
    ],
)
def test_what_is_no_body_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_body(text)
    with pytest.raises(UsageError, match="hyper-parameters: body: "):
        make_config(None, {"body": text})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestNetworks:
    @pytest.fixture(autouse=True)
    def _keras(self) -> None:
        pytest.importorskip("keras", reason="needs the extra train")

    def test_multiply_adds_and_parameters_by_hand(self) -> None:
        from edge_emotion.training.architectures import multiply_adds
        from edge_emotion.training.fit import build

        model = build(TrainConfig(body="c8/2 rr p d16", size=16), 3)
        convolutions = [
            8 * 8 * 9 * 1 * 8,  # c8/2: 16 -> 8
            2 * 8 * 8 * 9 * 8 * 8,  # rr
            4 * 4 * 9 * 8,  # d16, depthwise, after the pooling
            4 * 4 * 8 * 16,  # 1 x 1
        ]
        assert multiply_adds(model) == sum(convolutions) + 16 * 3
        weights = 9 * 8 + 2 * 9 * 8 * 8 + 9 * 8 + 8 * 16
        norms = 4 * (8 + 2 * 8 + 8 + 16)
        assert model.count_params() == weights + norms + 16 * 3 + 3

    def test_multiply_adds_of_inner_models_and_separable_layers(self) -> None:
        import keras
        from keras import layers

        from edge_emotion.training.architectures import multiply_adds

        inner = keras.Sequential([keras.Input((8, 8, 2)), layers.SeparableConv2D(5, 3)])
        outer = keras.Sequential([keras.Input((8, 8, 2)), inner, layers.Flatten(), layers.Dense(3)])
        assert multiply_adds(outer) == 6 * 6 * (9 * 2 + 2 * 5) + 6 * 6 * 5 * 3

    def test_each_place_is_weighed_for_itself(self) -> None:
        from edge_emotion.training.fit import build

        mean, placed = (build(TrainConfig(body=f"c8/2 p{end}", size=16), 3) for end in ("", " f"))
        assert placed.count_params() - mean.count_params() == (4 * 4 - 1) * 8 * 3
        assert "gap" not in {layer.name for layer in placed.layers}

    def test_the_default_is_the_text_that_is_documented(self) -> None:
        from edge_emotion.training.architectures import EDGE_CNN_BODY
        from edge_emotion.training.fit import build

        assert EDGE_CNN_BODY == "c32/2 r p c64 r p c96 r"
        named, default = (build(TrainConfig(body=body), 8) for body in (EDGE_CNN_BODY, None))
        assert named.get_config() == default.get_config()

    def test_width_is_a_factor_on_every_stage(self) -> None:
        from edge_emotion.training.fit import build

        model = build(TrainConfig(body="c32 r d64", width=0.5), 3)
        channels = {layer.name: layer.output.shape[-1] for layer in model.layers}
        assert (channels["stage1_in_relu"], channels["stage1_res_relu"]) == (16, 16)
        assert channels["stage2_in_relu"] == 32

    def test_a_residual_unit_adds_what_went_in(self) -> None:
        import numpy as np

        from edge_emotion.training.fit import build

        model = build(TrainConfig(body="c8 rr", size=8), 3)
        model.get_layer("stage1_res_conv").set_weights([np.zeros((3, 3, 8, 8))])
        import keras

        parts = keras.Model(
            model.input,
            [model.get_layer(f"stage1_{name}_relu").output for name in ("in", "res")],
        )
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)
        before, after = parts(pixels, training=False)
        np.testing.assert_array_equal(before, after)
        assert float(np.max(before)) > 0

    def test_too_many_poolings_and_the_wrong_architecture_are_usage_errors(self) -> None:
        from edge_emotion.training.fit import build

        with pytest.raises(UsageError, match="name a larger --size"):
            build(TrainConfig(body="c8 p p p p p p p"), 3)
        with pytest.raises(UsageError, match="--body is for edge-cnn"):
            build(TrainConfig(architecture="baseline-cnn", body="c8"), 3)
