"""Models, made with the onnx package, and the plugin's hooks called as the engine calls them."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_onnx import plugin


class Graphs:
    """Makes serialized models; `float`, `int64` and so on name ONNX's types."""

    node = staticmethod(helper.make_node)

    @staticmethod
    def value(name, dtype="float", shape=None):
        """Declares an input or output; without a shape it may have any."""
        return helper.make_tensor_value_info(name, getattr(TensorProto, dtype.upper()), shape)

    @staticmethod
    def sequence(name):
        return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None)

    @staticmethod
    def constant(name, value, dtype=np.float32):
        return numpy_helper.from_array(np.asarray(value, dtype), name)

    @staticmethod
    def external(name, location, length=8):
        """Makes a tensor of bytes whose data are said to lie in a file."""
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.UINT8,
            dims=[length],
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        return tensor

    @staticmethod
    def model(nodes, inputs, outputs, constants=(), functions=()):
        """Joins nodes to a model, in a version of the format that old runtimes read too."""
        versions = {"": 19, "ai.onnx.ml": 2} | {
            node.domain: 1 for node in nodes if node.domain not in {"", "ai.onnx.ml"}
        }
        return helper.make_model(
            helper.make_graph(nodes, "graph", inputs, outputs, list(constants)),
            opset_imports=[helper.make_opsetid(*version) for version in versions.items()],
            ir_version=9,
            functions=list(functions),
        ).SerializeToString()

    def identity(self, dtype="float", shape=None, op="Identity"):
        """Makes a model that returns its input `x` as `y`, or does one thing to it."""
        values = [self.value(name, dtype, shape) for name in "xy"]
        return self.model([self.node(op, ["x"], ["y"])], values[:1], values[1:])

    def endless(self):
        """Makes a model that counts for longer than anyone lives."""
        body = helper.make_graph(
            [self.node("Identity", ["going"], ["go"]), self.node("Identity", ["value"], ["same"])],
            "body",
            [
                self.value("turn", "int64", []),
                self.value("going", "bool", []),
                self.value("value", "float"),
            ],
            [self.value("go", "bool", []), self.value("same", "float")],
        )
        return self.model(
            [self.node("Loop", ["turns", "true", "x"], ["y"], body=body)],
            [self.value("x")],
            [self.value("y")],
            [self.constant("turns", 2**62, np.int64), self.constant("true", 1, np.bool_)],
        )

    def fill(self):
        """Makes a model that returns as many floats as its input `size` says."""
        return self.model(
            [self.node("Expand", ["one", "size"], ["y"])],
            [self.value("size", "int64", [1])],
            [self.value("y", "float", ["n"])],
            [self.constant("one", [1])],
        )

    def weighty(self, count):
        """Makes a model with that many bytes of weights."""
        weights = self.constant("w", np.zeros(count), np.uint8)
        size = self.constant("at", 0, np.int64)
        return self.model(
            [self.node("Gather", ["w", "at"], ["y"])],
            [],
            [self.value("y", "uint8")],
            [weights, size],
        )


@pytest.fixture
def graphs():
    return Graphs()


@pytest.fixture
def load():
    """Creates a model: `load(blob, device="CPU", **options)`."""

    def load(blob, device="CPU", **options):
        spec = ModelSpec("ONNX", Device.parse(device))
        return plugin.model_create(spec, blob, BackendOptions(**options))

    return load


@pytest.fixture
def run():
    """Runs a model and returns its outputs: `run(model, x, ...)`; a list is one of floats."""

    def tensor(given):
        if isinstance(given, list):
            given = np.array(given, np.float32)
        return given if isinstance(given, Tensor) else Tensor.from_numpy(given)

    def run(model, *inputs, context=None):
        tensors = [tensor(each) for each in inputs]
        return plugin.model_run(model, tensors, context or RunContext(Device.parse("CPU")))

    return run


@pytest.fixture
def strings():
    """Makes a STRING tensor: `strings(["a", b"b"])`."""
    return lambda values: Tensor.from_values(DType.STRING, (len(values),), values)


@pytest.fixture
def opened(load, monkeypatch):
    """Returns the model and the options that a session is opened with: `opened(blob, ...)`."""
    seen = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model, options, *rest, **more):
            seen.append((model, options))
            super().__init__(model, options, *rest, **more)

    def opened(*arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(onnxruntime, "InferenceSession", Session)
            load(*arguments, **options)
        return seen[-1]

    return opened


@pytest.fixture
def settings(graphs, opened):
    """Returns the options that a session is opened with: `settings(intra_op_threads=3)`."""
    return lambda **options: opened(graphs.identity(), **options)[1]
