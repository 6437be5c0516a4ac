"""Models of half floats and of unsigned integers, from the client's bytes and back to them."""

import flatbuffers
import ml_dtypes
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from tensorkeep_server.testing import WireError

DTYPES = {
    "FLOAT16": np.dtype(np.float16),
    "BFLOAT16": np.dtype(ml_dtypes.bfloat16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
}
every_type = pytest.mark.parametrize("name", DTYPES)


def onnx_doubling(name):
    """Returns a model that doubles its input, computing with floats between."""
    x, y = (
        helper.make_tensor_value_info(each, TensorProto.DataType.Value(name), [None])
        for each in "xy"
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.DataType.Value(name)),
    ]
    opsets = [helper.make_opsetid("", 19)]
    graph = helper.make_graph(nodes, "graph", [x], [y])
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def tf_doubling(name):
    from tensorkeep_tf.framework import tf  # noqa: PLC0415 - it takes seconds

    with tf.Graph().as_default() as graph:
        dtype = getattr(tf, {"FLOAT16": "half"}.get(name, name.lower()))
        x = tf.compat.v1.placeholder(dtype, [None], "x")
        tf.cast(2 * tf.cast(x, tf.float32), dtype, "y")
    return graph.as_graph_def().SerializeToString()


def tflite_identity(name):
    """Returns a model that returns its input: few operators know these types."""
    tensor, graph, model = schema.TensorT(), schema.SubGraphT(), schema.ModelT()
    tensor.name, tensor.shape = "x", [1]
    tensor.type = getattr(schema.TensorType, name)
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [tensor], [], [0], [0]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], []
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def returned(wire):
    """Stores a model, runs it with 1, 2 and 300, and returns what comes back."""

    def returned(backend, name, blob, *names):
        wire.ask("FLUSHALL")
        given = np.array([1, 2, 300]).astype(DTYPES[name])
        stored = wire.read("AI.MODELSTORE", "m", backend, "CPU", *names, "BLOB", blob)
        assert stored == "OK"
        assert wire.read("AI.TENSORSET", "x", name, 3, "BLOB", given.tobytes()) == "OK"
        assert wire.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == "OK"
        reply = wire.read("AI.TENSORGET", "y", "META", "BLOB")
        assert reply[:4] == [b"dtype", name.encode(), b"shape", [3]]
        return np.frombuffer(reply[5], DTYPES[name]).astype(float).tolist()

    return returned


@every_type
def test_onnx_takes_and_returns_them(returned, name):
    assert returned("ONNX", name, onnx_doubling(name)) == [2, 4, 600]


@every_type
def test_tf_takes_and_returns_them(returned, name):
    names = ("INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert returned("TF", name, tf_doubling(name), *names) == [2, 4, 600]


@pytest.mark.parametrize("name", ["FLOAT16", "UINT32", "UINT64"])
def test_tflite_takes_and_returns_them(returned, name):
    assert returned("TFLITE", name, tflite_identity(name)) == [1, 2, 300]


def test_tflite_says_when_a_model_is_stored_that_litert_takes_no_bfloat16(wire):
    blob = tflite_identity("BFLOAT16")
    reply = wire.read("AI.MODELSTORE", "m", "TFLITE", "CPU", "BLOB", blob)
    assert reply == WireError("Unsupported input data type: x is of type 18 of the format")
