"""Clients that run one model with BATCHSIZE at the same time each get what they would get alone.

Every model is asked by several clients at once, with values of their own: single runs, DAGs and
both together. What must come back is computed here, from each client's input alone.
"""

import io
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tensorkeep_server.testing import WireError, read_value

OK = b"+OK\r\n"
NO_TENSOR = "ERR output {} is no tensor: nothing of the run is stored"
CLIENTS, ROUNDS, BATCHSIZE = 5, 6, 16
LABELS = np.array([7, 8], np.float32)


# ---------------------------------------------------------------------- what models compute
# Of an input of shape [rows, 2]; and whether requests may share runs of a model that does so.
FUNCTIONS = {
    "double": (lambda x: [x * 2], True),
    "two outputs": (lambda x: [x * 2, x.sum(1)], True),
    "labels": (lambda x: [x * 2, LABELS], False),
    "labels alone": (lambda _: [LABELS], False),
    "transposed": (lambda x: [x.T], False),
    "scalar": (lambda x: [x * 2, x.sum()], False),
    "mean": (lambda x: [x - x.mean(0)], False),
    "positive": (lambda x: [x[x[:, 0] > 2]], False),
    "places": (lambda x: [np.argwhere(x > 2)], False),
    "sorted": (lambda x: [np.sort(x, 0)], False),
    "products": (lambda x: [x @ x.T], False),
}


NODE = helper.make_node
CONSTANTS = [
    numpy_helper.from_array(LABELS, "kept"),
    numpy_helper.from_array(np.array(2, np.float32), "two"),
    numpy_helper.from_array(np.array(0, np.int64), "zero"),
    numpy_helper.from_array(np.array([1], np.int64), "one"),
]
ADD = NODE("Add", ["x", "x"], ["y"])
KEPT = NODE("Identity", ["kept"], ["z"])
GREATER = NODE("Greater", ["x", "two"], ["p"])
# The nodes of each function, and the sizes of its outputs; "in" and "out" stand for the first ones
# that are declared of the input and of outputs that have its rows.
ONNX = {
    "double": ([ADD], {"y": ["out", 2]}),
    "two outputs": (
        [ADD, NODE("ReduceSum", ["x", "one"], ["z"], keepdims=0)],
        {"y": ["out", 2], "z": ["out"]},
    ),
    "labels": ([ADD, KEPT], {"y": ["out", 2], "z": [2]}),
    "labels alone": ([KEPT], {"z": [2]}),
    "transposed": ([NODE("Transpose", ["x"], ["y"])], {"y": [2, "in"]}),
    "scalar": ([ADD, NODE("ReduceSum", ["x"], ["z"], keepdims=0)], {"y": ["out", 2], "z": []}),
    "mean": (
        [NODE("ReduceMean", ["x"], ["m"], axes=[0]), NODE("Sub", ["x", "m"], ["y"])],
        {"y": ["out", 2]},
    ),
    "positive": (
        [
            NODE("Gather", ["x", "zero"], ["c"], axis=1),
            NODE("Greater", ["c", "two"], ["p"]),
            NODE("Compress", ["x", "p"], ["y"], axis=0),
        ],
        {"y": ["out", 2]},
    ),
    "places": (
        [GREATER, NODE("NonZero", ["p"], ["t"]), NODE("Transpose", ["t"], ["y"])],
        {"y": ["out", 2]},
    ),
    "sorted": (
        [
            NODE("Shape", ["x"], ["s"], start=0, end=1),
            NODE("TopK", ["x", "s"], ["y", "_"], axis=0, largest=0),
        ],
        {"y": ["out", 2]},
    ),
    "products": (
        [NODE("Transpose", ["x"], ["t"]), NODE("MatMul", ["x", "t"], ["y"])],
        {"y": ["out", "out"]},
    ),
}


def onnx_model(name, of_input="n", of_output="n"):
    """Returns a model that declares certain first sizes."""
    nodes, outputs = ONNX[name]
    sizes = {"in": of_input, "out": of_output}
    element = TensorProto.INT64 if name == "places" else TensorProto.FLOAT
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x", TensorProto.FLOAT, [of_input, 2])],
        [
            value(output, element, [sizes.get(each, each) for each in shape])
            for output, shape in outputs.items()
        ],
        CONSTANTS,
    )
    return onnx_bytes(graph)


def onnx_bytes(graph):
    """Serializes a model."""
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def torch_module(name):
    import torch  # noqa: PLC0415 - it takes seconds

    functions = {
        "double": lambda _, x: x * 2,
        "two outputs": lambda _, x: (x * 2, x.sum(1)),
        "labels": lambda self, x: (x * 2, self.labels * 1),
        "labels alone": lambda self, x: self.labels * 1,
        "transposed": lambda _, x: x.t() * 1,
        "scalar": lambda _, x: (x * 2, x.sum()),
        "mean": lambda _, x: x - x.mean(0),
        "positive": lambda _, x: x[x[:, 0] > 2],
        "places": lambda _, x: torch.nonzero(x > 2),
        "sorted": lambda _, x: torch.sort(x, 0)[0],
        "products": lambda _, x: x @ x.t(),
    }

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("labels", torch.tensor(LABELS))

        def forward(self, x):
            return functions[name](self, x)

    return torch, Module().eval()


def torchscript_model(name):
    torch, module = torch_module(name)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.tensor([[1.0, 3.0], [4.0, 2.0]])), file)
    return file.getvalue()


def exported_model(name):
    torch, module = torch_module(name)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = torch.export.Dim("rows", min=1)
        program = torch.export.export(module, (torch.ones(3, 2),), dynamic_shapes=({0: rows},))
        torch.export.save(program, file)
    return file.getvalue()


def tf_model(name):
    from tensorkeep_tf.framework import tf  # noqa: PLC0415 - it takes seconds

    functions = {
        "double": lambda x: [x * 2],
        "two outputs": lambda x: [x * 2, tf.reduce_sum(x, 1)],
        "labels": lambda x: [x * 2, tf.constant(LABELS)],
        "labels alone": lambda _: [tf.constant(LABELS)],
        "transposed": lambda x: [tf.transpose(x)],
        "scalar": lambda x: [x * 2, tf.reduce_sum(x)],
        "mean": lambda x: [x - tf.reduce_mean(x, 0)],
        "positive": lambda x: [tf.boolean_mask(x, x[:, 0] > 2)],
        "places": lambda x: [tf.where(x > 2)],
        "sorted": lambda x: [tf.sort(x, 0)],
        "products": lambda x: [tf.matmul(x, x, transpose_b=True)],
    }
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
        for output, result in zip("yz", functions[name](x), strict=False):
            tf.identity(result, name=output)
    return graph.as_graph_def().SerializeToString()


MODELS = {
    "ONNX": onnx_model,
    "ONNX, other symbols": lambda name: onnx_model(name, "x_axes_0", "y_axes_0"),
    "ONNX, no symbols": lambda name: onnx_model(name, None, None),
    "TF": tf_model,
    "TORCH": torchscript_model,
    "TORCH, exported": exported_model,
}
FRAMEWORKS = {"TF": "tensorflow", "TORCH": "torch"}


@pytest.fixture(params=MODELS)
def kind(request):
    """A kind of models, whose backend is installed."""
    module = FRAMEWORKS.get(request.param.split(",")[0])
    if module is not None and find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    return request.param


@pytest.fixture
def wires(serving):
    """A connection for each client; there are no keys."""
    opened = [serving.wire() for _ in range(CLIENTS)]
    opened[0].ask("FLUSHALL")
    yield opened
    for wire in opened:
        wire.close()


def stored(wire, kind, name):
    """Stores a model with BATCHSIZE; returns the names for the outputs of a run."""
    backend = kind.split(",")[0]
    count = len(FUNCTIONS[name][0](np.ones((1, 2), np.float32)))
    outputs = [*"yz"[:count]]
    names = ["INPUTS", 1, "x", "OUTPUTS", count, *outputs] if backend == "TF" else []
    options = ["BATCHSIZE", BATCHSIZE, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 50, *names]
    assert (
        wire.ask("AI.MODELSTORE", "m", backend, "CPU", *options, "BLOB", MODELS[kind](name)) == OK
    )
    return outputs


def taken(told):
    """Returns a tensor from what AI.TENSORGET META BLOB told of it."""
    dtype, shape, blob = told[1::2]
    dtypes = {b"FLOAT": np.float32, b"INT64": np.int64, b"INT32": np.int32}
    return np.frombuffer(blob, dtypes[dtype]).reshape(shape)


def check(found, x, name):
    for one, expected in zip(found, FUNCTIONS[name][0](x), strict=True):
        assert taken(one).shape == np.shape(expected)
        np.testing.assert_allclose(taken(one), expected, rtol=1e-4, atol=1e-5)


def ask_all(wires, requests):
    """Sends a request of each client before any reply is read."""
    for wire, request in zip(wires, requests, strict=True):
        wire.send(*request)
    return [read_value(wire.reply()) for wire in wires]


def rounds(wires, outputs, name):
    """Lets all clients run the model with inputs of their own, over and over."""
    random = np.random.default_rng(7)
    count = len(outputs)
    for turn in range(ROUNDS):
        inputs = [
            random.uniform(0, 5, (random.choice([1, 1, 2]), 2)).astype(np.float32) for _ in wires
        ]
        requests = []
        for number, (wire, x) in enumerate(zip(wires, inputs, strict=True)):
            wire.ask("AI.TENSORSET", f"x{number}", "FLOAT", *x.shape, "BLOB", x.tobytes())
            names = [f"{output}{number}" for output in outputs]
            run = ["AI.MODELEXECUTE", "m", "INPUTS", 1, f"x{number}", "OUTPUTS", count, *names]
            if (number + turn) % 2:
                dag = ["AI.DAGEXECUTE", "LOAD", 1, f"x{number}", "PERSIST", count, *names]
                run = [*dag, "|>", *run]
            requests.append(run)
        replies = ask_all(wires, requests)
        assert all(reply in ("OK", ["OK"]) for reply in replies), replies
        for number, (wire, x) in enumerate(zip(wires, inputs, strict=True)):
            told = [wire.read("AI.TENSORGET", f"{o}{number}", "META", "BLOB") for o in outputs]
            check(told, x, name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_client_gets_what_it_would_get_alone(wires, kind, name):
    outputs = stored(wires[0], kind, name)
    rounds(wires, outputs, name)
    told = wires[0].read("AI.INFO", "m")
    info = dict(zip(told[::2], told[1::2], strict=True))
    assert info[b"errors"] == 0
    assert info[b"calls"] == CLIENTS * ROUNDS
    _, may_share = FUNCTIONS[name]
    assert (b"batching" in info) is not may_share, info


def test_a_batch_axis_of_one_input_alone_is_none(wires):
    """Weights that have as many rows as the batch are not stacked."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [value("x", TensorProto.FLOAT, ["n", 2]), value("w", TensorProto.FLOAT, [2, 2])],
        [value("y", TensorProto.FLOAT, ["n", 2])],
    )
    blob = onnx_bytes(graph)
    wire = wires[0]
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BATCHSIZE", 16, "BLOB", blob) == OK
    assert wire.read("AI.INFO", "m")[18:] == [
        b"batching",
        b"none: input 'w' is [2, 2], of a fixed first size",
    ]
    requests = []
    for number, each in enumerate(wires):
        eye = (np.eye(2, dtype=np.float32) * (number + 1)).tobytes()
        each.ask("AI.TENSORSET", f"x{number}", "FLOAT", 2, 2, "BLOB", np.ones(4, "f4").tobytes())
        each.ask("AI.TENSORSET", f"w{number}", "FLOAT", 2, 2, "BLOB", eye)
        inputs = ["INPUTS", 2, f"x{number}", f"w{number}"]
        requests.append(["AI.MODELEXECUTE", "m", *inputs, "OUTPUTS", 1, f"y{number}"])
    assert ask_all(wires, requests) == ["OK"] * CLIENTS
    for number in range(CLIENTS):
        expected = [str(number + 1).encode()] * 4
        assert wire.read("AI.TENSORGET", f"y{number}", "VALUES") == expected


def onnx_of_rows(nodes, constants=()):
    value = helper.make_tensor_value_info
    x, y = (value(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    return onnx_bytes(helper.make_graph(nodes, "graph", [x], [y], constants))


# Models with a declared batch axis that mix rows; the first batch shows nothing of it.
UNSEEN = {
    "turned round": (
        [NODE("Slice", ["x", "last", "end", "zero", "last"], ["y"])],
        [[[1, 2]], [[3, 1]], [[1, 2]]],
    ),
    "a common maximum": (
        [NODE("ReduceMax", ["x"], ["m"], keepdims=0), NODE("Add", ["x", "m"], ["y"])],
        [[[1, 9]], [[9, 3]], [[2, 9]]],
    ),
    "dynamically quantized": (
        [
            NODE("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            NODE("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        [[[0.5, 1]], [[0, 1]], [[1, 0.25]]],
    ),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_rows_that_are_mixed_are_not_shared_though_the_first_batch_shows_nothing(wires, name):
    nodes, first = UNSEEN[name]
    indices = {"last": [-1], "end": [-(10**9)], "zero": [0]}
    constants = [numpy_helper.from_array(np.int64(of), each) for each, of in indices.items()]
    wire, clients = wires[0], wires[:3]
    options = ["BATCHSIZE", 16, "MINBATCHSIZE", 3, "MINBATCHTIMEOUT", 500]

    def asked(inputs):
        for number, x in enumerate(inputs):
            blob = np.float32(x).tobytes()
            wire.ask("AI.TENSORSET", f"x{number}", "FLOAT", 1, 2, "BLOB", blob)
        run = ["AI.MODELEXECUTE", "m", "INPUTS", 1, "x{}", "OUTPUTS", 1, "y{}"]
        requests = [[str(each).format(n) for each in run] for n in range(len(inputs))]
        senders = clients if len(inputs) > 1 else [wire]
        assert ask_all(senders, requests) == ["OK"] * len(inputs)
        return [
            taken(wire.read("AI.TENSORGET", f"y{n}", "META", "BLOB")) for n in range(len(inputs))
        ]

    blob = onnx_of_rows(nodes, constants)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == OK
    batches = [first, [[[1, 2]], [[0.5, -4]], [[700, 8]]]]
    alone = [[asked([x])[0] for x in inputs] for inputs in batches]
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", *options, "BLOB", blob) == OK
    for inputs, expected in zip(batches, alone, strict=True):
        np.testing.assert_allclose(asked(inputs), expected, rtol=1e-5)
    assert b"batching" in wire.read("AI.INFO", "m")


# ---------------------------------------------------------------------- outputs that are no tensor
def test_an_output_that_is_a_sequence_leaves_no_old_tensor_under_its_key(wires, serving):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("SequenceConstruct", ["x"], ["s"]),
        ],
        "graph",
        [value("x", TensorProto.FLOAT, ["n", 2])],
        [
            value("y", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None),
        ],
    )
    blob = onnx_bytes(graph)
    wire = wires[0]
    assert wire.ask("AI.MODELSTORE", "pieces", "ONNX", "CPU", "BLOB", blob) == OK
    told = "a run of the model pieces fails when one of these outputs is no tensor: output 's'"
    serving.wait_for_log(told)
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, 2, "VALUES", 1, 2)
    wire.ask("AI.TENSORSET", "s", "FLOAT", 1, "VALUES", 9)
    found = wire.read("AI.MODELEXECUTE", "pieces", "INPUTS", 1, "x", "OUTPUTS", 2, "y", "s")
    assert found == WireError(NO_TENSOR.format("'s'"))
    assert wire.read("AI.TENSORGET", "s", "VALUES") == [b"9"]
    assert wire.ask("EXISTS", "y") == b":0\r\n"


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_an_output_that_is_none_this_time_leaves_no_old_tensor_under_its_key(wires):
    import torch  # noqa: PLC0415 - it takes seconds

    source = """
def forward(self, x) -> Tuple[Tensor, Optional[Tensor]]:
    y: Optional[Tensor] = None
    if bool(x.sum() > 0):
        y = x * 2
    return x, y
"""
    builder = torch._C.ConcreteModuleTypeBuilder(torch.nn.Module)
    kind = builder.build()
    made = torch._C._create_module_with_type(kind.jit_type)
    made._define(kind, source, {"torch": torch}.get)
    wire = wires[0]
    blob = bytes(made.save_to_buffer({}))
    assert wire.ask("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob) == OK
    run = ["AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 2, "y", "z"]
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, 2, "VALUES", 1, 2)
    assert wire.ask(*run) == OK
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, 2, "VALUES", -1, -2)
    assert wire.read(*run) == WireError(NO_TENSOR.format(2))
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"1", b"2"]
    assert wire.read("AI.TENSORGET", "z", "VALUES") == [b"2", b"4"]
