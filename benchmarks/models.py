"""Make the models that are run: x2, mlp, cnn and a heavy one, always with the same weights.

This file decides the models alone; who runs them, and how often, stands elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import NodeProto

SEED = 0
OPSET = 13
IR_VERSION = 8
HEAVY_ROWS, HEAVY_WIDTH, HEAVY_PRODUCTS = 256, 1024, 8


@dataclass(frozen=True, slots=True)
class Model:
    """A serialized model with one input `x` and one output `y`, and an input to run it with."""

    name: str
    blob: bytes
    x: NDArray[np.float32]


@cache
def models() -> Mapping[str, Model]:
    """Return the models by their names.

    They draw their weights from one generator, one after the other, so the order here matters.
    """
    rng = np.random.default_rng(SEED)
    return {
        "x2": model("x2", [4], [4], *times_two()),
        "mlp": model("mlp", [30], [2], *perceptron(rng)),
        "cnn": model("cnn", [1, 28, 28], [10], *convolutions(rng)),
    }


@cache
def heavy() -> Model:
    """Return a model that keeps one core busy for tens of milliseconds, and moves hardly any data.

    A row is spread over 256 rows, taken through products with one matrix, and averaged.
    """
    rng = np.random.default_rng(SEED)
    weights = {
        "spread": rng.normal(0, 1, (HEAVY_ROWS, HEAVY_WIDTH)),
        "w": rng.normal(0, 1 / sqrt(HEAVY_WIDTH), (HEAVY_WIDTH, HEAVY_WIDTH)),
    }
    nodes = [helper.make_node("Mul", ["x", "spread"], ["h0"])]
    nodes += [
        helper.make_node("MatMul", [f"h{n}", "w"], [f"h{n + 1}"]) for n in range(HEAVY_PRODUCTS)
    ]
    last = f"h{HEAVY_PRODUCTS}"
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[0], keepdims=1))
    return model("heavy", [HEAVY_WIDTH], [HEAVY_WIDTH], nodes, weights)


def model(
    name: str,
    row: Sequence[int],
    out: Sequence[int],
    nodes: Sequence[NodeProto],
    weights: Mapping[str, NDArray[np.float64]],
) -> Model:
    """Return a checked model that takes any number of rows, and one row for it."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *row])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *out])],
        [numpy_helper.from_array(w.astype(np.float32), key) for key, w in weights.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, producer_name="tensorkeep-benchmarks")
    made.ir_version = IR_VERSION
    checker.check_model(made)
    x = np.linspace(-1, 1, prod(row), dtype=np.float32).reshape(1, *row)
    return Model(name, made.SerializeToString(), x)


def times_two() -> tuple[list[NodeProto], dict[str, NDArray[np.float64]]]:
    """Four floats times two: next to nothing but the way to the model and back."""
    return [helper.make_node("Mul", ["x", "two"], ["y"])], {"two": np.array(2.0)}


def perceptron(
    rng: np.random.Generator,
) -> tuple[list[NodeProto], dict[str, NDArray[np.float64]]]:
    """30 values, two hidden layers of 64, two classes."""
    weights: dict[str, NDArray[np.float64]] = {}
    for number, (ins, outs) in enumerate([(30, 64), (64, 64), (64, 2)], start=1):
        weights[f"w{number}"] = rng.normal(0, 1 / sqrt(ins), (ins, outs))
        weights[f"b{number}"] = rng.normal(0, 0.1, outs)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("Gemm", ["r1", "w2", "b2"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["r2"]),
        helper.make_node("Gemm", ["r2", "w3", "b3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    return nodes, weights


def convolutions(
    rng: np.random.Generator,
) -> tuple[list[NodeProto], dict[str, NDArray[np.float64]]]:
    """A picture of 28 by 28, two convolutions with pooling, ten classes."""
    weights = {
        "c1": rng.normal(0, 0.2, (8, 1, 5, 5)),
        "b1": rng.normal(0, 0.1, 8),
        "c2": rng.normal(0, 0.2, (16, 8, 5, 5)),
        "b2": rng.normal(0, 0.1, 16),
        "w": rng.normal(0, 0.06, (16 * 4 * 4, 10)),
        "b": rng.normal(0, 0.1, 10),
    }
    nodes = [
        helper.make_node("Conv", ["x", "c1", "b1"], ["a1"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Conv", ["p1", "c2", "b2"], ["a2"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]
        ),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Flatten", ["p2"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    return nodes, weights
