"""Models, made with LiteRT's own schema, and the hooks called as the engine calls them."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tflite import plugin

TYPES = {
    DType.FLOAT: schema.TensorType.FLOAT32,
    DType.FLOAT16: schema.TensorType.FLOAT16,
    DType.DOUBLE: schema.TensorType.FLOAT64,
    DType.INT8: schema.TensorType.INT8,
    DType.INT16: schema.TensorType.INT16,
    DType.INT32: schema.TensorType.INT32,
    DType.INT64: schema.TensorType.INT64,
    DType.UINT8: schema.TensorType.UINT8,
    DType.UINT16: schema.TensorType.UINT16,
    DType.UINT32: schema.TensorType.UINT32,
    DType.UINT64: schema.TensorType.UINT64,
    DType.BOOL: schema.TensorType.BOOL,
    DType.STRING: schema.TensorType.STRING,
}
STABLEHLO = {"STABLEHLO_COMPOSITE": "StableHLOCompositeOptions"}


class Graph:
    """A model in the making; tensors are referred to by their names.

    Attributes:
        model: The schema's own object, for tests that spoil it before `blob`.
    """

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]  # the first one is always empty
        self.model.operatorCodes = []
        self.model.subgraphs = []
        self.subgraph()

    def subgraph(self, inputs=(), outputs=()):
        """Begins another subgraph."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = [], []
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        self.model.subgraphs.append(graph)
        return self

    def __getitem__(self, name):
        """Returns a tensor of the current subgraph."""
        (found,) = [each for each in self._graph.tensors if each.name == name]
        return found

    @property
    def _graph(self):
        return self.model.subgraphs[-1]

    @property
    def last(self):
        """The operator that was added last."""
        return self._graph.operators[-1]

    def tensor(self, name, shape=(1,), dtype=DType.FLOAT, *, scale=None, variable=False):
        """Adds a tensor that has no values yet."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(shape)
        tensor.type = TYPES.get(dtype, dtype)
        tensor.isVariable = variable
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        self._graph.tensors.append(tensor)
        return self

    def constant(self, name, values, dtype=np.float32, **options):
        """Adds a tensor with values; a list of `bytes` becomes strings."""
        if isinstance(values, list) and values and isinstance(values[0], bytes):
            self.tensor(name, [len(values)], DType.STRING)
            ends = np.cumsum([4 * (len(values) + 2), *map(len, values)])
            head = np.array([len(values), *ends], np.int32)
            content = head.tobytes() + b"".join(values)
        else:
            array = np.asarray(values, dtype)
            self.tensor(name, array.shape, DType.of(array.dtype), **options)
            content = array.tobytes()
        buffer = schema.BufferT()
        buffer.data = list(content)
        self.model.buffers.append(buffer)
        self._graph.tensors[-1].buffer = len(self.model.buffers) - 1
        return self

    def operator(self, op, inputs, outputs, settings=None, **options):
        """Adds an operator.

        Args:
            op: Its name in the format, or that of a custom one.
            inputs: Names of tensors, None for one that is left out.
            outputs: Names of tensors.
            settings: Options of a custom operator.
        """
        names = [each.name for each in self._graph.tensors]
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, op, schema.BuiltinOperator.CUSTOM)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        if code.builtinCode == schema.BuiltinOperator.CUSTOM:
            code.customCode = op
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs = [-1 if name is None else names.index(name) for name in inputs]
        operator.outputs = [names.index(name) for name in outputs]
        if settings is not None:
            operator.customOptions = list(settings)
        kind = options.pop("kind", None)
        if kind is not None:
            union = "2" if kind.startswith("Stable") else ""
            values = getattr(schema, f"{kind}T")()
            for name, value in options.items():
                setattr(values, name, value)
            unions = getattr(schema, f"BuiltinOptions{union}")
            setattr(operator, f"builtinOptions{union}Type", getattr(unions, kind))
            setattr(operator, f"builtinOptions{union}", values)
        self._graph.operators.append(operator)
        return self

    def ends(self, inputs, outputs):
        """Says what the current subgraph takes and returns."""
        names = [each.name for each in self._graph.tensors]
        self._graph.inputs = [names.index(name) for name in inputs]
        self._graph.outputs = [names.index(name) for name in outputs]
        return self

    def signature(self, inputs, outputs, key="serving_default", subgraph=0):
        """Gives names to tensors of a subgraph: dictionaries from tensors to names."""
        names = [each.name for each in self.model.subgraphs[subgraph].tensors]

        def maps(given):
            made = []
            for tensor, name in given.items():
                made.append(schema.TensorMapT())
                made[-1].name, made[-1].tensorIndex = name, names.index(tensor)
            return made

        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, subgraph
        signature.inputs, signature.outputs = maps(inputs), maps(outputs)
        self.model.signatureDefs = [*(self.model.signatureDefs or ()), signature]
        return self

    @property
    def blob(self):
        """The serialized model."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Graphs:
    """Makes models that several tests need."""

    new = Graph

    def unary(self, op="SQRT", shape=(1, 3), dtype=DType.FLOAT, **options):
        """Makes a model that does one thing to its input `x`, and returns it as `y`."""
        graph = Graph().tensor("x", shape, dtype).tensor("y", shape, dtype)
        return graph.operator(op, ["x"], ["y"], **options).ends(["x"], ["y"])

    def binary(self, op="ADD", shape=(1, 3), dtype=DType.FLOAT, scale=None):
        """Makes a model with the inputs `a` and `b` and the output `y`."""
        graph = Graph()
        for name in "aby":
            graph.tensor(name, shape, dtype, scale=scale)
        kind = f"{op.capitalize()}Options"
        return graph.operator(op, ["a", "b"], ["y"], kind=kind).ends(["a", "b"], ["y"])

    def identity(self, dtype, shape=(1, 1)):
        """Makes a model without operators that returns its input."""
        return Graph().tensor("x", shape, dtype).ends(["x"], ["x"])

    def dense(self, size=2, scale=1.0):
        """Makes a model that multiplies rows with weights of `size` by `size`."""
        weights = np.arange(size * size, dtype=np.float32).reshape(size, size) * scale
        graph = Graph().tensor("x", [1, size]).tensor("y", [1, size]).constant("w", weights)
        graph.operator("FULLY_CONNECTED", ["x", "w", None], ["y"], kind="FullyConnectedOptions")
        return graph.ends(["x"], ["y"])

    def counting(self):
        """Makes a model that counts to its input `n`: a million takes most of a second."""
        graph = Graph().tensor("n", [], DType.INT32).constant("zero", 0, np.int32)
        graph.tensor("i", [], DType.INT32).tensor("m", [], DType.INT32)
        graph.operator(
            "WHILE",
            ["zero", "n"],
            ["i", "m"],
            kind="WhileOptions",
            condSubgraphIndex=1,
            bodySubgraphIndex=2,
        ).ends(["n"], ["i"])
        graph.subgraph().tensor("i", [], DType.INT32).tensor("n", [], DType.INT32)
        graph.tensor("go", [], DType.BOOL).operator("LESS", ["i", "n"], ["go"])
        graph.ends(["i", "n"], ["go"])
        graph.subgraph().tensor("i", [], DType.INT32).tensor("n", [], DType.INT32)
        graph.constant("one", 1, np.int32).tensor("next", [], DType.INT32)
        graph.operator("ADD", ["i", "one"], ["next"], kind="AddOptions")
        return graph.ends(["i", "n"], ["next", "n"])

    def lstm(self, *, without=()):
        """Makes a model with the operator LSTM, whose 24 inputs are all there but some."""
        graph = Graph().tensor("x", [1, 3]).tensor("y", [1, 4])
        names = ["x"]
        for position in range(1, 24):
            if position in {1, 2, 3, 4}:
                graph.constant(f"{position}", [[0.1] * 3] * 4)
            elif position in {5, 6, 7, 8}:
                graph.constant(f"{position}", [[0.1] * 4] * 4)
            elif position in {12, 13, 14, 15}:
                graph.constant(f"{position}", [0.1] * 4)
            elif position in {18, 19}:
                graph.tensor(f"{position}", [1, 4], variable=True)
            else:
                names.append(None)
                continue
            names.append(None if position in without else f"{position}")
        return graph.operator(
            "LSTM", names, ["y"], kind="LSTMOptions", fusedActivationFunction=4
        ).ends(["x"], ["y"])

    def detection(self, **changed):
        """Makes a model with the operator that picks objects out of boxes."""
        settings = {
            "max_detections": 2,
            "max_classes_per_detection": 1,
            "num_classes": 2,
            "nms_score_threshold": 0.0,
            "nms_iou_threshold": 0.5,
            "y_scale": 10.0,
            "x_scale": 10.0,
            "h_scale": 5.0,
            "w_scale": 5.0,
        } | changed
        builder = flexbuffers.Builder()
        with builder.Map():
            for name, value in settings.items():
                if value is not None:
                    builder.Key(name)
                    (builder.Float if isinstance(value, float) else builder.Int)(value)
        graph = Graph().tensor("boxes", [1, 3, 4]).tensor("scores", [1, 3, 3])
        graph.constant("anchors", [[0.5, 0.5, 1, 1], [0.5, 0.5, 1.1, 1.1], [9, 9, 1, 1]])
        graph.tensor("where", [1, 2, 4]).tensor("what", [1, 2]).tensor("sure", [1, 2]).tensor(
            "many"
        )
        outputs = ["where", "what", "sure", "many"]
        inputs = ["boxes", "scores", "anchors"]
        graph.operator(
            "TFLite_Detection_PostProcess", inputs, outputs, settings=bytes(builder.Finish())
        )
        return graph.ends(inputs[:2], outputs)


@pytest.fixture
def graphs():
    return Graphs()


@pytest.fixture
def load():
    """Creates a model: `load(graph or blob, device="CPU", signature="", **options)`."""

    def load(model, device="CPU", signature="", **options):
        spec = ModelSpec("TFLITE", Device.parse(device), signature=signature)
        blob = model.blob if isinstance(model, Graph) else model
        return plugin.model_create(spec, blob, BackendOptions(**options))

    return load


@pytest.fixture
def run():
    """Runs a model and returns its outputs: `run(model, x, ...)`; a list is one of floats."""

    def tensor(given):
        if isinstance(given, list | float):
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
