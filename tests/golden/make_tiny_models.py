"""Write tiny.onnx and tiny.tflite anew: one network of a few hundred bytes.

    python -m tests.golden.make_tiny_models

8 x 8 grey; the mean m of the pixels decides: angry 0.1 m - 8.5, happy 0.2 m - 25.5, sad 0. So dark
is sad, grey angry, bright happy; the borders are at 85 and 170. The .tflite is full int8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SIDE = 8
WEIGHTS = np.array([[0.1, 0.2, 0.0]], np.float32)
BIAS = np.array([-8.5, -25.5, 0.0], np.float32)


def tiny_onnx() -> bytes:
    """The network as ONNX, without a card. The same bytes from every version of onnx."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(BIAS, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    """Write both files."""
    import keras

    from edge_emotion.exporters.tflite import convert_tflite

    image = keras.Input((SIDE, SIDE, 1), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    dense = keras.layers.Dense(3, name="logits")
    logits = keras.Model(image, dense(mean))
    dense.set_weights([WEIGHTS, BIAS])
    shades = np.arange(256, dtype=np.uint8)[:, None, None, None]
    calibration = np.broadcast_to(shades, (256, SIDE, SIDE, 1))
    (HERE / "tiny.onnx").write_bytes(tiny_onnx())
    (HERE / "tiny.tflite").write_bytes(convert_tflite(logits, "tflite-int8", calibration))


if __name__ == "__main__":
    main()
