"""A catalogue of models and scripts that end, hang or fill the process that uses them.

Each was tried on the framework itself, without us: `python tests/hostile_models.py` tries all of
them again, each in a process of its own, and prints what they do with the installed versions. They
are made of bytes here, since importing TensorFlow and torch takes seconds.

`all_of("TF")` gives those of one backend. Whoever uses them must have isolated workers.
"""

from __future__ import annotations

import io
import resource
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOWEST = -(2**31)
LONG_ENOUGH = 40.0  # seconds after which what still runs is called endless
WRITTEN = Path("/tmp/tensorkeep-hostile")  # noqa: S108 - what may write there at all is what is tried
ENOUGH = 3 * 2**30  # bytes beyond which a process has taken too much

Word = str | bytes | int | float


@dataclass(frozen=True)
class Hostile:
    """A model, or a script, and what it does to the process that uses it.

    Attributes:
        name: For people, and in names of tests.
        backend: Its backend.
        does: `SIGSEGV`, `SIGFPE`, `SIGABRT`, `endless`, `memory`, `leak` (a little with each run),
            `reads` a file, `writes` to `WRITTEN`, writes to memory `beyond` its tensors.
        when: `store`, or `run`.
        make: Returns the blob or the source.
        inputs: The inputs that do it.
        good: Inputs that do nothing; empty where the model does harm with any.
        answer: The first output for `good`.
        inputs_named: Names of inputs, for a backend that needs them.
        outputs_named: Names of outputs, for a backend that needs them.
        function: The function of a script to call; empty for a model.
        arguments: What the function is given beside its inputs.
    """

    name: str
    backend: str
    does: str
    when: str
    make: Callable[[], bytes]
    inputs: tuple[np.ndarray, ...] = ()
    good: tuple[np.ndarray, ...] = ()
    answer: np.ndarray | None = None
    inputs_named: tuple[str, ...] = ()
    outputs_named: tuple[str, ...] = ()
    function: str = ""
    arguments: tuple[str, ...] = ()

    def store(self, key: str, *options: Word) -> list[Word]:
        """Returns the command that stores it under a key."""
        if self.function:
            words: list[Word] = ["AI.SCRIPTSTORE", key, "CPU", *options]
            return [*words, "ENTRY_POINTS", 1, self.function, "SOURCE", self.make()]
        names: list[Word] = []
        if self.inputs_named:
            names += ["INPUTS", len(self.inputs_named), *self.inputs_named]
            names += ["OUTPUTS", len(self.outputs_named), *self.outputs_named]
        return ["AI.MODELSTORE", key, self.backend, "CPU", *options, *names, "BLOB", self.make()]

    def run(self, key: str, *, good: bool = False) -> tuple[list[list[Word]], list[Word]]:
        """Returns the commands that set its inputs beside the key, and the one that runs it."""
        given = self.good if good else self.inputs
        names = [f"{key}:{place}" for place in range(len(given))]
        setting = [tensor_set(name, each) for name, each in zip(names, given, strict=True)]
        words: list[Word] = ["INPUTS", len(names), *names]
        if self.arguments:
            words += ["ARGS", len(self.arguments), *self.arguments]
        words += ["OUTPUTS", 1, f"{key}:y"]
        command = ["AI.SCRIPTEXECUTE", key, self.function] if self.function else []
        return setting, [*(command or ["AI.MODELEXECUTE", key]), *words]


_TYPES = {"f": "FLOAT", "i": "INT32", "l": "INT64"}


def tensor_set(key: str, array: np.ndarray) -> list[Word]:
    """Returns the command that stores an array."""
    kind = _TYPES[array.dtype.char]
    return ["AI.TENSORSET", key, kind, *array.shape, "BLOB", array.tobytes()]


def of(values: Any, kind: str = "f") -> np.ndarray:
    """Returns an array of floats, or of another kind of NumPy's."""
    return np.array(values, kind)


# --------------------------------------------------------------------------- ONNX
def onnx_model(nodes: list[Any], inputs: list[Any], outputs: list[Any], **more: Any) -> bytes:
    """Returns a serialized model."""
    from onnx import helper  # noqa: PLC0415 - each maker imports what it needs

    constants = more.pop("constants", [])
    return bytes(
        helper.make_model(
            helper.make_graph(nodes, "hostile", inputs, outputs, constants),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
            ir_version=8,
            **more,
        ).SerializeToString()
    )


def onnx_divide() -> bytes:
    """Divides whole numbers: for the least one and -1 the processor raises a signal."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    a, b, y = (
        helper.make_tensor_value_info(name, TensorProto.INT32, ["n", 1]) for name in ("a", "b", "y")
    )
    return onnx_model([helper.make_node("Div", ["a", "b"], ["y"])], [a, b], [y])


def onnx_no_groups() -> bytes:
    """Is a convolution of no groups, by whose number ONNX Runtime divides."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y"))
    weights = numpy_helper.from_array(np.ones((1, 1, 2, 2), np.float32), "w")
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=0)
    return onnx_model([node], [x], [y], constants=[weights])


def onnx_doubling() -> bytes:
    """Is 40 functions that call the next one twice: written out they never end."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for number in range(40):
        following = f"f{number + 1}"
        nodes = [
            helper.make_node(following, ["x"], ["half"], domain="own"),
            helper.make_node(following, ["half"], ["y"], domain="own"),
        ]
        last = [helper.make_node("Neg", ["x"], ["y"])]
        body = nodes if number < 39 else last
        functions.append(
            helper.make_function("own", f"f{number}", ["x"], ["y"], body, versions),
        )
    node = helper.make_node("f0", ["x"], ["y"], domain="own")
    return onnx_model([node], [x], [y], functions=functions)


def onnx_counting() -> bytes:
    """Counts to its first input."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    def value(name: str, kind: int = TensorProto.FLOAT, shape: Any = (1,)) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    same = [
        helper.make_node("Identity", ["going"], ["go"]),
        helper.make_node("Identity", ["value"], ["same"]),
    ]
    body = helper.make_graph(
        same,
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("value"),
        ],
        [value("go", TensorProto.BOOL, []), value("same")],
    )
    return onnx_model(
        [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)],
        [value("turns", TensorProto.INT64), value("x")],
        [value("y")],
        constants=[numpy_helper.from_array(np.array(True), "yes")],
    )


def onnx_fill() -> bytes:
    """Returns as many floats as its input says."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    return onnx_model(
        [helper.make_node("Expand", ["one", "size"], ["y"])],
        [helper.make_tensor_value_info("size", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        constants=[numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )


# --------------------------------------------------------------------------- TORCH
_MODULE = "class Hostile(Module):\n  __parameters__ = []\n  __buffers__ = []\n"
_FORWARD = "  def forward(self: __torch__.Hostile,\n    x: Tensor) -> Tensor:\n"
_PLAIN = b"\x80\x02c__torch__\nHostile\n)\x81}b."  # a pickle: the module, without attributes
_COUNTED = b"\x80\x02c__torch__\nHostile\n)\x81K\x01b."  # the same, with the number 1 for a state


def torch_archive(code: str, data: bytes = _PLAIN) -> bytes:
    """Returns an archive of TorchScript."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        records = {
            "data.pkl": data,
            "code/__torch__.py": code.encode(),
            "constants.pkl": b"\x80\x02).",
            "version": b"3\n",
            "byteorder": b"little",
        }
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def torch_forward(body: str, before: str = "", data: bytes = _PLAIN) -> bytes:
    """Returns an archive of a module whose `forward(x)` has a body."""
    return torch_archive(f"{_MODULE}{before}{_FORWARD}    {body}\n", data)


def torch_recursion() -> bytes:
    """Is a chain of objects that ends in itself: each calls the next."""
    return torch_archive(
        f"{_MODULE}{_FORWARD}"
        "    end = __torch__.End.__new__(__torch__.End)\n"
        "    _0 = (end).__init__()\n"
        "    one = __torch__.Node.__new__(__torch__.Node)\n"
        "    _1 = (one).__init__(end, )\n"
        "    two = __torch__.Node.__new__(__torch__.Node)\n"
        "    _2 = (two).__init__(one, )\n"
        "    one.next = two\n"
        "    return (one).call(x, )\n"
        "class End:\n"
        "  n : int\n"
        "  def __init__(self: __torch__.End) -> NoneType:\n"
        "    self.n = 0\n"
        "    return None\n"
        "  def call(self: __torch__.End,\n    x: Tensor) -> Tensor:\n"
        "    return x\n"
        "class Node:\n"
        "  next : __torch__.Called\n"
        "  def __init__(self: __torch__.Node,\n    n: __torch__.Called) -> NoneType:\n"
        "    self.next = n\n"
        "    return None\n"
        "  def call(self: __torch__.Node,\n    x: Tensor) -> Tensor:\n"
        "    next = self.next\n"
        "    return (next).call(x, )\n"
        "class Called(Interface):\n"
        "  def call(self, x: Tensor) -> Tensor:\n"
        "    pass\n"
    )


def torch_state(body: str) -> bytes:
    """Returns an archive whose module runs some code when it is loaded."""
    state = (
        "  def __getstate__(self: __torch__.Hostile) -> int:\n    return 1\n"
        "  def __setstate__(self: __torch__.Hostile,\n    state: int) -> NoneType:\n"
    )
    return torch_forward("return x", f"{state}{body}    return None\n", _COUNTED)


def torch_endless_state() -> bytes:
    """Loops while it is loaded."""
    return torch_state(
        "    y = torch.ones([1])\n"
        "    while bool(torch.lt(torch.sum(y), 5)):\n"
        "      y = torch.mul(y, 1)\n"
    )


def torch_state_that_writes() -> bytes:
    """Writes a file while it is loaded."""
    return torch_state(f'    torch.save(torch.ones([1]), "{WRITTEN}")\n')


def torch_growing() -> bytes:
    """Keeps 40 MB more with each run."""
    kept = b"X\x04\x00\x00\x00kept"
    tag = b"X\x0c\x00\x00\x00List[Tensor]"
    return torch_forward(
        "_0 = torch.append(self.kept, torch.mul(torch.ones([10000000]), x))\n    return x",
        "  kept : List[Tensor]\n",
        b"\x80\x02c__torch__\nHostile\n)\x81}" + kept + b"ctorch.jit._pickle\n"
        b"restore_type_tag\n]" + tag + b"\x86Rsb.",
    )


def script(body: str) -> bytes:
    """Returns the source of a script of one function, whose first tensor is called x."""
    head = "def f(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
    return f"{head}    x = tensors[0]\n    {body}\n".encode()


def script_doubling() -> bytes:
    """Is compiled for ever: the type of each line is twice as long as that of the line before."""
    pairs = "".join(f"    x{n + 1} = (x{n}, x{n})\n" for n in range(50))
    return script(f"x0 = (x, x)\n{pairs}    return x")


# --------------------------------------------------------------------------- TF
def _field(number: int, value: int | bytes) -> bytes:
    """Returns a field of a protobuf."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    some = bytearray()
    while value > 127:
        some.append(value & 127 | 128)
        value >>= 7
    return bytes([*some, value])


_FLOAT, _INT32, _STRING, _INT64 = 1, 3, 7, 9  # TensorFlow's types


def kind(number: int) -> bytes:
    """Returns an attribute of a node: a type."""
    return _field(6, number)


def node(name: str, op: str, inputs: str = "", **attributes: bytes) -> bytes:
    """Returns a node of a graph."""
    body = _field(1, name.encode()) + _field(2, op.encode())
    body += b"".join(_field(3, each.encode()) for each in inputs.split())
    for key, value in attributes.items():
        body += _field(5, _field(1, key.encode()) + _field(2, value))
    return _field(1, body)


def given(name: str, number: int = _FLOAT) -> bytes:
    """Returns a node that is an input."""
    return node(name, "Placeholder", dtype=kind(number))


def tf_graph(*nodes: bytes) -> bytes:
    """Returns a GraphDef, which says that it is as new as the installed TensorFlow."""
    return b"".join(nodes) + _field(4, _field(1, 2000))


def tf_array(size: bytes, *nodes: bytes) -> bytes:
    """Returns a graph of a TensorArray of floats, `array`, whose size some node gives."""
    array = node("array", "TensorArrayV3", "size", dtype=kind(_FLOAT))
    return tf_graph(size, array, *nodes)


def tf_number(name: str, value: int) -> bytes:
    """Returns a node that is a constant whole number."""
    tensor = _field(1, _INT32) + _field(2, b"") + _field(7, value)
    return node(name, "Const", dtype=kind(_INT32), value=_field(8, tensor))


def tf_split() -> bytes:
    """Splits rows into a TensorArray by lengths that a client chooses."""
    return tf_array(
        tf_number("size", 2),
        given("rows"),
        given("lengths", _INT64),
        node("split", "TensorArraySplitV3", "array rows lengths array:1", T=kind(_FLOAT)),
        node("y", "TensorArraySizeV3", "array split"),
    )


def tf_size() -> bytes:
    """Makes a TensorArray as large as a client says."""
    return tf_array(given("size", _INT32), node("y", "TensorArraySizeV3", "array array:1"))


def tf_cell() -> bytes:
    """Is the cell of an LSTM whose input, of a rank that a client chooses, is not looked at."""
    names = ("x", "c", "h", "w", "wci", "wcf", "wco", "b")
    cell = node("cell", "LSTMBlockCell", " ".join(names), T=kind(_FLOAT))
    last = node("y", "Identity", "cell:6", T=kind(_FLOAT))
    return tf_graph(*map(given, names), cell, last)


def _strides(*numbers: int) -> bytes:
    return _field(1, _field(3, b"".join(map(_varint, numbers))))


def tf_gradient() -> bytes:
    """Is the gradient of a convolution of volumes, whose sizes a client chooses."""
    options = {"T": kind(_FLOAT), "strides": _strides(*[1] * 5), "padding": _field(2, b"SAME")}
    gradient = node("y", "Conv3DBackpropInputV2", "sizes x g", **options)
    return tf_graph(given("x"), given("sizes", _INT32), given("g"), gradient)


def tf_abort() -> bytes:
    """Asks TensorFlow to abort."""
    abort = node("abort", "Abort", "", error_msg=_field(2, b"as it was told to"))
    return tf_graph(given("x"), abort, node("y", "Identity", "x ^abort", T=kind(_FLOAT)))


def tf_text(name: str, value: str) -> bytes:
    """Returns a node that is a constant text."""
    tensor = _field(1, _STRING) + _field(2, b"") + _field(8, value.encode())
    return node(name, "Const", dtype=kind(_STRING), value=_field(8, tensor))


def tf_reads() -> bytes:
    """Returns what is in a file."""
    return tf_graph(given("x"), tf_text("name", "/etc/passwd"), node("y", "ReadFile", "name"))


def tf_writes() -> bytes:
    """Writes a file."""
    write = node("write", "WriteFile", "name name")
    last = node("y", "Identity", "x ^write", T=kind(_FLOAT))
    return tf_graph(given("x"), tf_text("name", str(WRITTEN)), write, last)


# --------------------------------------------------------------------------- TFLITE
class Flat:
    """A model of TFLITE in the making; tensors are referred to by their names."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

        self.schema = schema
        self.model = schema.ModelT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], []
        self.graph()

    def graph(self) -> Flat:
        """Begins another subgraph."""
        self.names: list[str] = []
        graph = self.schema.SubGraphT()
        graph.tensors, graph.operators = [], []
        self.model.subgraphs.append(graph)
        return self

    def tensor(
        self, name: str, shape: list[int], kind: str = "FLOAT32", values: Any = None
    ) -> Flat:
        """Adds a tensor, with values when it is a constant."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape = name, shape
        tensor.type = getattr(self.schema.TensorType, kind)
        if values is not None:
            buffer = self.schema.BufferT()
            buffer.data = list(np.array(values, "f" if kind == "FLOAT32" else "i").tobytes())
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.model.subgraphs[-1].tensors.append(tensor)
        self.names.append(name)
        return self

    def operator(self, op: str, inputs: str, outputs: str, kind: str, **options: int) -> Flat:
        """Adds an operator with options of a kind."""
        code, made = self.schema.OperatorCodeT(), self.schema.OperatorT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, op)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.model.operatorCodes.append(code)
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs = [self.names.index(name) for name in inputs.split()]
        made.outputs = [self.names.index(name) for name in outputs.split()]
        made.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
        made.builtinOptions = getattr(self.schema, f"{kind}T")()
        for name, value in options.items():
            setattr(made.builtinOptions, name, value)
        self.model.subgraphs[-1].operators.append(made)
        return self

    def ends(self, inputs: str, outputs: str) -> Flat:
        """Says what the current subgraph takes and returns."""
        graph = self.model.subgraphs[-1]
        graph.inputs = [self.names.index(name) for name in inputs.split()]
        graph.outputs = [self.names.index(name) for name in outputs.split()]
        return self

    @property
    def blob(self) -> bytes:
        """The serialized model."""
        import flatbuffers  # noqa: PLC0415

        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tflite_reverse() -> bytes:
    """Turns around no axis at all: one byte of a good model was changed, a size of 1 to 0."""
    flat = Flat().tensor("x", [1, 3]).tensor("axis", [1], "INT32", [1]).tensor("y", [1, 3])
    flat.operator("REVERSE_V2", "x axis", "y", "ReverseV2Options").ends("x", "y")
    flat.model.subgraphs[0].tensors[1].shape = [0]
    return flat.blob


def tflite_remainder() -> bytes:
    """Divides whole numbers and gives the rest; the least one by -1 ends in a signal."""
    flat = Flat()
    for name in ("a", "b", "y"):
        flat.tensor(name, [1, 1], "INT32")
    return flat.operator("FLOOR_MOD", "a b", "y", "FloorModOptions").ends("a b", "y").blob


def tflite_counting() -> bytes:
    """Counts to its input: without an end within anyone's patience for a large one."""
    flat = Flat().tensor("n", [], "INT32").tensor("zero", [], "INT32", 0)
    flat.tensor("i", [], "INT32").tensor("m", [], "INT32")
    graphs = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    flat.operator("WHILE", "zero n", "i m", "WhileOptions", **graphs).ends("n", "i")
    flat.graph().tensor("i", [], "INT32").tensor("n", [], "INT32").tensor("go", [], "BOOL")
    flat.operator("LESS", "i n", "go", "LessOptions").ends("i n", "go")
    flat.graph().tensor("i", [], "INT32").tensor("n", [], "INT32").tensor("one", [], "INT32", 0)
    flat.tensor("next", [], "INT32")  # one is nought: it never gets there
    return flat.operator("ADD", "i one", "next", "AddOptions").ends("i n", "next n").blob


# --------------------------------------------------------------------------- the catalogue
_X = (of([1]),)
_DIVIDES = (of([[LOWEST]], "i"), of([[-1]], "i"))
_DIVIDES_WELL = (of([[7]], "i"), of([[2]], "i"))
_CELL = tuple(of(np.ones(shape)) for shape in (1, 1, 1, (2, 4), 1, 1, 1, 4))
_CELL_NAMES = ("x", "c", "h", "w", "wci", "wcf", "wco", "b")
_SUM = " + ".join(["x"] * 10_000)
_HUGE = 2**30

CATALOGUE: tuple[Hostile, ...] = (
    # ONNX
    Hostile(
        "onnx-divide",
        "ONNX",
        "SIGFPE",
        "run",
        onnx_divide,
        _DIVIDES,
        _DIVIDES_WELL,
        of([[3]], "i"),
    ),
    Hostile("onnx-no-groups", "ONNX", "SIGFPE", "store", onnx_no_groups),
    Hostile("onnx-doubling-functions", "ONNX", "endless", "store", onnx_doubling),
    Hostile(
        "onnx-loop",
        "ONNX",
        "endless",
        "run",
        onnx_counting,
        (of([2**62], "l"), of([1])),
        (of([3], "l"), of([1])),
        of([1]),
    ),
    Hostile(
        "onnx-fill",
        "ONNX",
        "memory",
        "run",
        onnx_fill,
        (of([2**31], "l"),),
        (of([2], "l"),),
        of([1, 1]),
    ),
    # Models of TORCH
    Hostile(
        "torch-parentheses",
        "TORCH",
        "SIGSEGV",
        "store",
        lambda: torch_forward(f"return {'(' * 6000}x{')' * 6000}"),
    ),
    Hostile("torch-sum", "TORCH", "SIGSEGV", "store", lambda: torch_forward(f"return {_SUM}")),
    Hostile(
        "torch-tuples",
        "TORCH",
        "SIGSEGV",
        "store",
        lambda: torch_forward("return x", "", b"\x80\x02)" + b"\x85" * 1_000_000 + b"."),
    ),
    Hostile("torch-setstate", "TORCH", "endless", "store", torch_endless_state),
    Hostile("torch-setstate-writes", "TORCH", "writes", "store", torch_state_that_writes),
    Hostile("torch-recursion", "TORCH", "endless", "run", torch_recursion, _X),
    Hostile(
        "torch-remainder",
        "TORCH",
        "SIGFPE",
        "run",
        lambda: torch_forward("return torch.add(x, 7 % int(torch.sum(x)))"),
        (of([0]),),
        (of([2]),),
        of([3]),
    ),
    Hostile("torch-growing", "TORCH", "leak", "run", torch_growing, _X, (of([1]),), of([1])),
    # Scripts of TORCH
    Hostile("script-doubling-types", "TORCH", "endless", "store", script_doubling, function="f"),
    Hostile(
        "script-remainder",
        "TORCH",
        "SIGFPE",
        "run",
        lambda: script("return x * (7 % int(args[0]))"),
        _X,
        function="f",
        arguments=("0",),
    ),
    Hostile(
        "script-least-remainder",
        "TORCH",
        "SIGFPE",
        "run",
        lambda: script("return x * ((int(args[0]) - 1) % -1)"),
        _X,
        function="f",
        arguments=(str(-(2**63) + 1),),
    ),
    Hostile(
        "script-loop",
        "TORCH",
        "endless",
        "run",
        lambda: script("while bool(x.sum() < 10):\n        x = x * 1\n    return x"),
        _X,
        (of([11]),),
        of([11]),
        function="f",
    ),
    Hostile(
        "script-count",
        "TORCH",
        "endless",
        "run",
        lambda: script("n = 0\n    while n < 1000000000000:\n        n = n + 1\n    return x + n"),
        _X,
        function="f",
    ),
    Hostile(
        "script-memory",
        "TORCH",
        "memory",
        "run",
        lambda: script(
            "y = [x]\n    while bool(x.sum() < 10):\n"
            "        y.append(torch.ones([10000000]) * x)\n    return torch.cat(y)"
        ),
        _X,
        (of([11]),),
        of([11]),
        function="f",
    ),
    Hostile(
        "script-beyond-its-tensors",
        "TORCH",
        "beyond",
        "run",
        lambda: script(
            "y = torch.ops.aten._reshape_alias(x, [999999999], [1])\n    y.fill_(7)\n    return x"
        ),
        _X,
        function="f",
    ),
    Hostile(
        "script-saves",
        "TORCH",
        "writes",
        "run",
        lambda: script(f'torch.save(x, "{WRITTEN}")\n    return x'),
        _X,
        function="f",
    ),
    Hostile(
        "script-maps-a-file",
        "TORCH",
        "reads",
        "run",
        lambda: script('return torch.from_file("/etc/passwd", False, 9, dtype=torch.uint8)'),
        _X,
        function="f",
    ),
    # TF
    Hostile(
        "tf-reads-a-file",
        "TF",
        "reads",
        "run",
        tf_reads,
        _X,
        inputs_named=("x",),
        outputs_named=("y",),
    ),
    Hostile(
        "tf-writes-a-file",
        "TF",
        "writes",
        "run",
        tf_writes,
        _X,
        inputs_named=("x",),
        outputs_named=("y",),
    ),
    Hostile(
        "tf-abort",
        "TF",
        "SIGABRT",
        "run",
        tf_abort,
        _X,
        inputs_named=("x",),
        outputs_named=("y",),
    ),
    Hostile(
        "tf-array-split",
        "TF",
        "SIGABRT",
        "run",
        tf_split,
        *((of(np.ones((2, 2))), of([-5, 7], "l")), (of(np.ones((2, 2))), of([1, 1], "l"))),
        of(2, "i"),
        inputs_named=("rows", "lengths"),
        outputs_named=("y",),
    ),
    Hostile(
        "tf-array-size",
        "TF",
        "SIGABRT",
        "run",
        tf_size,
        (of(2**31 - 1, "i"),),
        (of(3, "i"),),
        of(3, "i"),
        inputs_named=("size",),
        outputs_named=("y",),
    ),
    Hostile(
        "tf-lstm-cell",
        "TF",
        "SIGABRT",
        "run",
        tf_cell,
        _CELL,
        inputs_named=_CELL_NAMES,
        outputs_named=("y",),
    ),
    Hostile(
        "tf-gradient",
        "TF",
        "SIGABRT",
        "run",
        tf_gradient,
        (
            of(np.ones((2, 2, 2, 1, 1))),
            of([1, _HUGE, _HUGE, _HUGE, 1], "i"),
            of(np.ones((1, 2, 2, 2, 1))),
        ),
        inputs_named=("x", "sizes", "g"),
        outputs_named=("y",),
    ),
    # TFLITE
    Hostile("tflite-reverse", "TFLITE", "SIGSEGV", "run", tflite_reverse, (of([[1, 2, 3]]),)),
    Hostile(
        "tflite-remainder",
        "TFLITE",
        "SIGFPE",
        "run",
        tflite_remainder,
        _DIVIDES,
        _DIVIDES_WELL,
        of([[1]], "i"),
    ),
    Hostile(
        "tflite-while",
        "TFLITE",
        "endless",
        "run",
        tflite_counting,
        (of(1, "i"),),
        (of(0, "i"),),
        of(0, "i"),
    ),
)


def all_of(*backends: str, does: str = "", when: str = "") -> Iterator[Hostile]:
    """Gives those of some backends, or all; those that do something, at some time."""
    for each in CATALOGUE:
        if (
            (not backends or each.backend in backends)
            and (not does or each.does == does or (does == "crash" and each.does.startswith("SIG")))
            and (not when or each.when == when)
        ):
            yield each


# --------------------------------------------------------------------------- without us
def use(hostile: Hostile) -> None:
    """Stores and runs one in this process with the framework itself."""
    blob = hostile.make()
    for inputs in [hostile.good, hostile.inputs] if hostile.good else [hostile.inputs]:
        seen = _USES[hostile.backend](hostile, blob, inputs)
        if (
            hostile.good
            and inputs is hostile.good
            and not np.array_equal(seen, np.asarray(hostile.answer))
        ):
            raise AssertionError(f"for good inputs it returned {seen!r}")


def _use_onnx(_: Hostile, blob: bytes, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    if not inputs:
        return np.empty(0)
    return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


def _use_torch(hostile: Hostile, blob: bytes, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    import torch  # noqa: PLC0415

    tensors = [torch.from_numpy(each) for each in inputs]
    if not hostile.function:
        model = torch.jit.load(io.BytesIO(blob))
        if hostile.does == "leak" and inputs is not hostile.good:
            for _ in range(100):
                model(*tensors)
        return np.asarray(model(*tensors)) if inputs else np.empty(0)
    function = torch.jit.CompilationUnit(blob.decode()).f
    return np.asarray(function(tensors, [], [*hostile.arguments]))


def _use_tf(hostile: Hostile, blob: bytes, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    import tensorflow as tf  # noqa: PLC0415

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(v1.GraphDef.FromString(blob), name="")
    with v1.Session(graph=graph) as session:
        feeds = zip(hostile.inputs_named, inputs, strict=True)
        return np.asarray(session.run("y:0", {f"{name}:0": each for name, each in feeds}))


def _use_tflite(_: Hostile, blob: bytes, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(model_content=blob)
    interpreter.allocate_tensors()
    for detail, each in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], each)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


_USES: dict[str, Callable[..., np.ndarray]] = {
    "ONNX": _use_onnx,
    "TORCH": _use_torch,
    "TF": _use_tf,
    "TFLITE": _use_tflite,
}


@dataclass(frozen=True)
class Seen:
    """What one did in a process of its own.

    Attributes:
        did: A signal, `endless`, `memory`, or how the process ended by itself.
        seconds: How long it took.
        text: The last line that it wrote.
    """

    did: str
    seconds: float
    text: str = field(default="", compare=False)


def tried(hostile: Hostile) -> Seen:
    """Tries one on the framework itself, in a process of its own."""
    began = time.monotonic()
    command = [sys.executable, __file__, "--use", hostile.name]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONG_ENOUGH
        )
    except subprocess.TimeoutExpired:
        return Seen("endless", time.monotonic() - began)
    seconds = time.monotonic() - began
    if ended.returncode == 0 and hostile.does in {"reads", "writes"}:
        there = hostile.does == "reads" or WRITTEN.exists()
        WRITTEN.unlink(missing_ok=True)
        return Seen(hostile.does if there else "nothing", seconds)
    text = next(reversed(ended.stderr.strip().splitlines()), "")
    if ended.returncode < 0:
        return Seen(signal.Signals(-ended.returncode).name, seconds, text)
    if ended.returncode and any(word in ended.stderr for word in ("alloc", "Memory", "memory")):
        return Seen("memory", seconds, text)
    return Seen(f"ended with {ended.returncode}", seconds, text)


def main() -> int:
    """Tries all of them, and prints what they do; returns 1 when one does something else."""
    if sys.argv[1:2] == ["--use"]:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (ENOUGH, ENOUGH))
        use(next(each for each in CATALOGUE if each.name == sys.argv[2]))
        return 0
    wrong = 0
    for each in CATALOGUE:
        if sys.argv[1:] and not any(word in each.name for word in sys.argv[1:]):
            continue
        seen = tried(each)
        # What leaks was run often, and endless recursion takes memory until there is none.
        others = {"leak": "memory", "endless": "memory", "beyond": "SIGSEGV"}
        expected = {each.does, others.get(each.does)}
        wrong += seen.did not in expected
        mark = "" if seen.did in expected else f"  NOT {each.does}: {seen.text[:200]}"
        size = len(each.make())
        print(
            f"{each.name:26} {size:9} bytes {seen.did:10} {seen.seconds:5.1f} s{mark}", flush=True
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
