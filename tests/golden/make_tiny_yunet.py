"""Write tiny_yunet.onnx anew: a detector of five kilobytes with YuNet's inputs and outputs.

    python -m tests.golden.make_tiny_yunet

It "finds" squares of pure red, green or blue: red ones of 24 pixels of the view by the outputs of
stride 8, green ones of 48 by those of stride 16, blue ones of 96 by those of stride 32. A cell's
score is how much of the 3 x 3 cells around it has the colour, times 2.5, less 0.9, under the root:
YuNet multiplies two outputs, and the second is 1 here. Colour in the ring of cells around those
counts against it three times over, so that a square seen at twice its size is none. Boxes are 4
strides wide about a cell's middle, so that the cells beside the best one overlap with it and go;
landmarks lie at LANDMARKS, in strides from that middle.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("tiny_yunet.onnx")
STRIDES = (8, 16, 32)
#: Stride -> the colour of its squares, RGB.
COLOURS = {8: (255, 0, 0), 16: (0, 255, 0), 32: (0, 0, 255)}
PATCH = 3  # side of a square, strides
BOX = 4  # side of a box, strides
LANDMARKS = ((-0.8, -0.5), (0.8, -0.5), (0.0, 0.1), (-0.6, 0.8), (0.6, 0.8))  # strides
GAIN, OFFSET, AGAINST = 2.5, -0.9, 3.0
RING = 5  # side of the square with the ring around it, strides


def tiny_yunet(
    side: int | str = "", outputs: tuple[str, ...] = ("cls", "obj", "bbox", "kps")
) -> bytes:
    """The detector. The same bytes from every version of onnx.

    Args:
        side: a number fixes the input's height and width, as one published file of YuNet does.
        outputs: others than these four are not YuNet's.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []
    names = []

    def constant(name: str, values: Any, kind: type = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.array(values, kind), name))
        return name

    def output(kind: str, stride: int, source: str, weights: list[Any], bias: list[float]) -> None:
        """A 1 x 1 convolution of `source`, laid out as (1, cells, values a cell)."""
        name = f"{kind}_{stride}"
        names.append(name)
        kernel = constant(f"{name}_w", np.reshape(weights, (len(bias), -1, 1, 1)))
        inputs = [source, kernel, constant(f"{name}_b", bias)]
        nodes.append(helper.make_node("Conv", inputs, [f"{name}_map"]))
        nodes.append(
            helper.make_node("Transpose", [f"{name}_map"], [f"{name}_t"], perm=[0, 2, 3, 1])
        )
        shape = constant(f"{name}_s", [1, -1, len(bias)], np.int64)
        nodes.append(helper.make_node("Reshape", [f"{name}_t", shape], [name]))

    for stride in STRIDES:
        mean, both, seen = (f"{what}_{stride}" for what in ("mean", "both", "seen"))
        wide = f"wide_{stride}"
        for name, cells in ((mean, PATCH), (wide, RING)):
            nodes.append(
                helper.make_node(
                    "AveragePool", ["input"], [name], kernel_shape=[cells * stride] * 2,
                    strides=[stride] * 2, pads=[cells // 2 * stride] * 4, count_include_pad=1,
                )
            )  # fmt: skip
        # BGR: 1 for the colour itself, -1/2 for either other, so that white and grey are nothing.
        share = np.array([1.5 * (c > 0) - 0.5 for c in reversed(COLOURS[stride])]) / 255
        inner, outer = PATCH**2, RING**2
        ring = np.concatenate([-inner * share, outer * share]) / (outer - inner)
        weights = constant(f"{seen}_w", np.stack([[*share, 0, 0, 0], ring])[:, :, None, None])
        nodes.append(helper.make_node("Concat", [mean, wide], [both], axis=1))
        nodes.append(helper.make_node("Conv", [both, weights], [f"{seen}_map"]))
        nodes.append(helper.make_node("Relu", [f"{seen}_map"], [seen]))
        output(outputs[0], stride, seen, [GAIN, -AGAINST], [OFFSET])
        output(outputs[1], stride, mean, [[0] * 3], [1.0])
        output(outputs[2], stride, mean, [[0] * 3] * 4, [0.5, 0.5, *[math.log(BOX)] * 2])
        points = [0.5 + v for point in LANDMARKS for v in point]
        output(outputs[3], stride, mean, [[0] * 3] * 10, points)
    sizes = [side, side] if side else ["height", "width"]
    values = dict(zip(outputs, (1, 1, 4, 10), strict=True))
    shapes = {name: [1, None, values[name.split("_")[0]]] for name in names}
    graph = helper.make_graph(
        nodes,
        "tiny_yunet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *sizes])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    FILE.write_bytes(tiny_yunet())
