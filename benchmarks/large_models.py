"""Make one large model for each backend: a product of a vector and one matrix of that size.

This file decides the models alone. A framework is imported by whoever asks for its model.
"""

from __future__ import annotations

import io
from math import isqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MEGABYTE: Final = 1_000_000


class LargeModel(NamedTuple):
    """A model that takes one row of `width` floats and returns another.

    Attributes:
        backend: The backend that runs it.
        words: What AI.MODELSTORE is told before BLOB.
        width: Numbers in its input and in its output.
        blob: The model.
    """

    backend: str
    words: tuple[str | int, ...]
    width: int
    blob: bytes


def large_model(backend: str, megabytes: int) -> LargeModel:
    """Return a model of about so many megabytes."""
    width = isqrt(megabytes * MEGABYTE // 4)
    weights = np.random.default_rng(0).standard_normal((width, width), np.float32)
    make, words = _MAKERS[backend]
    return LargeModel(backend, words, width, make(weights))


def _onnx(weights: NDArray[np.float32]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - only if asked for

    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(weights)])
        for name in ("x", "y")
    )
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "large", [x], [y], [numpy_helper.from_array(weights, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    blob: bytes = made.SerializeToString()
    return blob


def _torch(weights: NDArray[np.float32]) -> bytes:
    import torch  # noqa: PLC0415 - only if asked for

    layer = torch.nn.Linear(len(weights), len(weights), bias=False)
    layer.weight = torch.nn.Parameter(torch.from_numpy(weights), requires_grad=False)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, torch.zeros(1, len(weights))), file)
    return file.getvalue()


def _tf(weights: NDArray[np.float32]) -> bytes:
    import tensorflow as tf  # noqa: PLC0415 - only if asked for

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, len(weights)], "x")
        tf.matmul(x, tf.constant(weights), name="y")
        blob: bytes = graph.as_graph_def().SerializeToString()
    return blob


def _tflite(weights: NDArray[np.float32]) -> bytes:
    import flatbuffers  # noqa: PLC0415 - only if asked for
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415 - large, and only for this

    def tensor(name: str, shape: list[int], buffer: int) -> Any:  # noqa: ANN401 - untyped
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, shape, buffer
        made.type = schema.TensorType.FLOAT32
        return made

    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code, empty, data = schema.OperatorCodeT(), schema.BufferT(), schema.BufferT()
    data.data = weights.reshape(-1).view(np.uint8)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    width = len(weights)
    graph.tensors = [
        tensor("x", [1, width], 0),
        tensor("w", [width, width], 1),
        tensor("y", [1, width], 0),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    model.version, model.buffers, model.operatorCodes = 3, [empty, data], [code]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


_MAKERS: Final[dict[str, tuple[Callable[[NDArray[np.float32]], bytes], tuple[str | int, ...]]]] = {
    "ONNX": (_onnx, ()),
    "TORCH": (_torch, ()),
    "TF": (_tf, ("INPUTS", 1, "x", "OUTPUTS", 1, "y")),
    "TFLITE": (_tflite, ()),
}
