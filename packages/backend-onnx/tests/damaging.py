"""Damages models at random and uses what is left of them; the suite runs it as a process."""

from pathlib import Path

import numpy as np
import onnx
from conftest import Graphs

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import ModelExample
from tensorkeep.testing.damage import damage_and_use, damage_message, damaged_bytes
from tensorkeep_onnx import plugin

DIGITS = Path(__file__).parents[3] / "examples" / "digits" / "digits.onnx"
OPERATORS = sorted({each.name for each in onnx.defs.get_all_schemas() if not each.domain})


def examples():
    """Gives one model of each kind that is easily damaged."""
    graphs = Graphs()
    numbers = Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 4])
    words = Tensor.from_values(DType.STRING, (2,), ["one", "zwö"])
    yield ModelExample(DIGITS.read_bytes(), (Tensor.from_numpy(np.ones((1, 1, 8, 8), "f4")),))
    yield ModelExample(counting(graphs), (numbers,))
    yield ModelExample(graphs.identity("string"), (words,))
    yield ModelExample(recurrent(graphs), (Tensor.from_numpy(np.ones((3, 1, 2), np.float32)),))


def counting(graphs):
    """Makes a model of a loop around some work on shapes."""
    body = onnx.helper.make_graph(
        [
            graphs.node("Identity", ["going"], ["go"]),
            graphs.node("MatMul", ["value", "value"], ["square"]),
            graphs.node("Slice", ["square", "zero", "two", "zero"], ["same"]),
        ],
        "body",
        [
            graphs.value("turn", "int64", []),
            graphs.value("going", "bool", []),
            graphs.value("value", "float"),
        ],
        [graphs.value("go", "bool", []), graphs.value("same", "float")],
    )
    return graphs.model(
        [
            graphs.node("Loop", ["turns", "true", "x"], ["last"], body=body),
            graphs.node("Concat", ["last", "x"], ["long"], axis=0),
            graphs.node("Reshape", ["long", "shape"], ["flat"]),
            graphs.node("ReduceSum", ["flat", "zero"], ["sum"], keepdims=1),
            graphs.node("Pad", ["sum", "around"], ["padded"], mode="constant"),
            graphs.node("Transpose", ["padded"], ["y"], perm=[1, 0]),
        ],
        [graphs.value("x", "float", [2, 2])],
        [graphs.value("y")],
        [
            graphs.constant("turns", 3, np.int64),
            graphs.constant("true", 1, np.bool_),
            graphs.constant("zero", [0], np.int64),
            graphs.constant("two", [2], np.int64),
            graphs.constant("shape", [-1, 2], np.int64),
            graphs.constant("around", [0, 1, 0, 1], np.int64),
        ],
    )


def recurrent(graphs):
    """Makes a model of an LSTM, whose sizes must fit in many places."""
    return graphs.model(
        [
            graphs.node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=2),
            graphs.node("Squeeze", ["h"], ["row"]),
            graphs.node("TopK", ["row", "one"], ["y", "at"]),
        ],
        [graphs.value("x", "float", ["n", 1, 2])],
        [graphs.value("y"), graphs.value("at", "int64")],
        [
            graphs.constant("w", np.ones((1, 8, 2))),
            graphs.constant("r", np.ones((1, 8, 2))),
            graphs.constant("one", [1], np.int64),
        ],
    )


def damaged(blob, draw):
    if draw.random() < 0.1:
        return damaged_bytes(blob, draw)
    model = onnx.ModelProto.FromString(blob)
    damage_message(model, draw, OPERATORS)
    return model.SerializeToString(deterministic=True)


if __name__ == "__main__":
    damage_and_use(plugin, "ONNX", examples(), damaged)
