"""Attacks the operators of ONNX Runtime, one by one and together; see `tensorkeep.testing.attack`.

`python attack_onnx.py listed` makes models of the operators that are called harmless, odd in all
that the check lets through, `composed` of many together, `damaged` of the examples with something
changed, and `others` of all other operators, unchecked, to show what the list is for. The list in
`harmless_operators.py` has only operators without a death in these figures.
"""

from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tensorkeep.testing.attack import (
    MOST_ELEMENTS,
    ODD_SIZES,
    REAL,
    SIZES,
    STRANGE,
    WHOLE,
    Target,
    attack,
)
from tensorkeep.testing.damage import damage_message, damaged_bytes
from tensorkeep_onnx.graph_reader import Constant, Node
from tensorkeep_onnx.harmless import why_isolated
from tensorkeep_onnx.harmless_operators import HARMLESS, OPSETS, Use, Value, check_use

FLOATS = (np.float32, np.float32, np.float32, np.float64)
NUMBERS = (*FLOATS, np.int32, np.int64)
DTYPES = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    11: np.float64,
}
CODES = {np.dtype(value): key for key, value in DTYPES.items()}


def real(draw):
    return float(np.float32(draw.choice(STRANGE if draw.often(0.1) else REAL)))


# --------------------------------------------------------------------------- models
class Maker:
    """Makes one model, a node at a time, from inputs that may be of any size in some axes."""

    def __init__(self, draw):
        self.draw = draw
        self.opset = draw.choice((*OPSETS, *OPSETS[-6:], *OPSETS[-6:]))
        self.values = {}  # name: Value, with the sizes that inputs have at first
        self.inputs, self.constants, self.nodes = {}, {}, []
        self.damage = 0  # how often the model is changed at the end

    def input(self, shape, dtype):
        name = f"x{len(self.inputs)}"
        share = self.draw.choice((0.0, 0.0, 0.0, 0.2, 0.6))  # of axes behind the first
        names = [self.draw.choice(("n", "m", None)) for _ in shape]  # some are the same
        declared = [
            name if self.draw.often(share if axis else 0.5) else size
            for axis, (name, size) in enumerate(zip(names, shape, strict=True))
        ]
        self.inputs[name] = (declared, shape, np.dtype(dtype))
        self.values[name] = Value(CODES[np.dtype(dtype)], tuple(shape))
        return name

    def constant(self, array):
        array = np.asarray(array)
        name = f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(array, name)
        code = CODES[array.dtype]
        read = Constant(code, array.shape, memoryview(array.tobytes()))
        self.values[name] = Value(code, array.shape, read, fixed=True)
        return name

    def pick(self, test=lambda value: True):
        """Returns the name of a value that there is; None if none will do."""
        found = [
            name for name, value in self.values.items() if value.constant is None and test(value)
        ]
        return self.draw.choice(found[-6:]) if found else None

    def first(self, dtypes, least=0, most=5):
        """Returns a value that there is, or a new input."""
        codes = {CODES[np.dtype(each)] for each in dtypes}
        name = self.pick(lambda value: value.dtype in codes and least <= len(value.shape) <= most)
        if name is None or (len(self.inputs) < 3 and self.draw.often(0.15)):
            name = self.input(self.draw.shape(least, most), self.draw.choice(dtypes))
        return name

    def add(self, operator, inputs, attributes, outputs=1):
        """Adds a node; returns whether its output can be used further."""
        name = f"v{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        node = helper.make_node(operator, inputs, names, **attributes)
        read = {
            key: value.encode()
            if isinstance(value, str)
            else tuple(value)
            if isinstance(value, list)
            else value
            for key, value in attributes.items()
        }
        values = [self.values[each] if each else None for each in inputs]
        made = Node(operator, tuple(map(str.encode, inputs)), (b"v",), read)
        try:
            found = check_use(Use(made, self.opset, values))
        except ValueError:
            if self.draw.often(0.05) or operator not in HARMLESS:
                self.nodes.append(node)
            return False
        self.nodes.append(node)
        self.values[name] = Value(found.dtype, found.shape)
        return True

    def blob(self):
        draw = self.draw
        made = [f"v{number}" for number in range(len(self.nodes))]
        taken = {name for node in self.nodes for name in node.input}
        ends = [name for name in made if name not in taken or draw.often(0.2)]
        dtypes = {name: self.values[name].dtype if name in self.values else 1 for name in ends}
        graph = helper.make_graph(
            self.nodes,
            "attack",
            [
                helper.make_tensor_value_info(name, CODES[dtype], declared)
                for name, (declared, _, dtype) in self.inputs.items()
            ],
            [helper.make_tensor_value_info(name, dtypes[name], None) for name in ends],
            [one for name, one in self.constants.items() if name in taken or draw.often(0.05)],
        )
        for name, value in self.values.items():
            if name in made and draw.often(0.1):
                told = [size if draw.often(0.5) else "n" for size in value.shape]
                if name not in ends:
                    graph.value_info.append(helper.make_tensor_value_info(name, value.dtype, told))
        opsets = [helper.make_opsetid("", self.opset)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=draw.choice((8, 9, 10)))
        for _ in range(self.damage):
            damaged(made, draw)
        return made.SerializeToString()

    def feeds(self):
        """Draws what a run is given: sizes that were declared, or odd ones where any will do."""
        draw, feeds = self.draw, []
        odd = draw.often(0.8)
        same = {name: draw.choice(ODD_SIZES) for name in ("n", "m")}
        together = draw.often(0.5)
        for declared, shape, dtype in self.inputs.values():
            sizes = list(shape)
            for axis, size in enumerate(declared):
                if odd and not isinstance(size, int):
                    free = draw.choice(ODD_SIZES)
                    sizes[axis] = same.get(size, free) if together else free
            if draw.often(0.03) and sizes:
                sizes[draw.randrange(len(sizes))] = draw.choice(ODD_SIZES)
            if draw.often(0.02):
                sizes = sizes[1:] if draw.often(0.5) else [1, *sizes]
            while prod(sizes) > MOST_ELEMENTS:
                sizes[sizes.index(max(sizes))] //= 2
            feeds.append(draw.array(sizes, dtype))
        return feeds


# --------------------------------------------------------------------------- plausible uses
def element_wise(maker, operator):
    draw = maker.draw
    entry = HARMLESS[operator]
    first = maker.first([DTYPES[each] for each in sorted(entry.dtypes)])
    attributes = {}
    for name in entry.attributes:
        if draw.often(0.6):
            attributes[name] = (
                draw.choice(("none", "tanh")) if name == "approximate" else real(draw)
            )
    return [first], attributes


def several(least, most):
    def use(maker, operator):
        draw = maker.draw
        dtypes = [DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)]
        first = maker.first(dtypes)
        inputs = [first]
        inputs += [
            partner(maker, first, constant=operator in {"Pow", "PRelu"})
            for _ in range(draw.randint(least, most) - 1)
        ]
        if operator not in {"Pow", "PRelu"} and draw.often(0.5):
            draw.shuffle(inputs)
        return inputs, {}

    return use


def partner(maker, first, *, constant=False):
    """Returns a value that fits another element by element."""
    draw = maker.draw
    value = maker.values[first]
    kind = draw.random()
    if not constant and kind < 0.3:
        found = maker.pick(lambda other: other.dtype == value.dtype and other.shape == value.shape)
        if found:
            return found
    shape = list(value.shape)
    if kind > 0.5:
        shape = [size if draw.often(0.5) else 1 for size in shape]
        shape = shape[draw.randint(0, len(shape)) :]
    if kind > 0.95:
        shape = list(draw.shape())
    if not constant and draw.often(0.3) and len(maker.inputs) < 4:
        return maker.input(shape, DTYPES[value.dtype])
    return maker.constant(draw.array(shape, DTYPES[value.dtype]))


def where(maker, _):
    condition = maker.first([np.bool_])
    dtype = maker.draw.choice(NUMBERS)
    shape = maker.values[condition].shape
    names = [
        maker.input(shape, dtype)
        if maker.draw.often(0.5)
        else maker.constant(maker.draw.array(shape if maker.draw.often(0.7) else (), dtype))
        for _ in range(2)
    ]
    return [condition, *names], {}


def clip(maker, _):
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS["Clip"].dtypes)])
    dtype = DTYPES[maker.values[first].dtype]
    limits = [
        maker.constant(maker.draw.array((), dtype)) if maker.draw.often(0.7) else ""
        for _ in range(maker.draw.randint(0, 2))
    ]
    return [first, *limits], {}


def dropout(maker, _):
    first = maker.first(FLOATS)
    if maker.opset < 12:
        return [first], {"ratio": real(maker.draw)} if maker.draw.often(0.5) else {}
    more = [maker.constant(maker.draw.array((), np.float32)), maker.constant(np.array(False))]
    return [first, *more[: maker.draw.randint(0, 2)]], {}


def cast(maker, _):
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS["Cast"].dtypes)])
    return [first], {"to": maker.draw.choice((*DTYPES,))}


def along_axis(maker, operator):
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)], 1)
    rank = len(maker.values[first].shape)
    attributes = {}
    if maker.draw.often(0.8):
        attributes["axis"] = maker.draw.randint(-rank, rank - 1)
    for name in HARMLESS[operator].attributes - {"axis"}:
        if maker.draw.often(0.5):
            attributes[name] = maker.draw.randint(0, 1)
    return [first], attributes


def matmul(maker, _):
    draw = maker.draw
    first = maker.first(FLOATS, 1)
    value = maker.values[first]
    shape = [value.shape[-1], *draw.shape(0, 1)]
    if len(value.shape) > 2 and draw.often(0.4):
        shape = [*(size if draw.often(0.6) else 1 for size in value.shape[:-2]), *shape]
    if draw.often(0.2):
        second = maker.input(shape, DTYPES[value.dtype])
    else:
        second = maker.constant(draw.array(shape, DTYPES[value.dtype]))
    return [first, second], {}


def gemm(maker, _):
    draw = maker.draw
    first = maker.first(FLOATS, 2, 2)
    value = maker.values[first]
    attributes = {name: real(draw) for name in ("alpha", "beta") if draw.often(0.3)}
    turned = [draw.often(0.3), draw.often(0.5)]
    attributes |= {name: int(turn) for name, turn in zip(("transA", "transB"), turned, strict=True)}
    rows, depth = value.shape[::-1] if turned[0] else value.shape
    columns = draw.choice(SIZES)
    shape = (columns, depth) if turned[1] else (depth, columns)
    inputs = [first, maker.constant(draw.array(shape, DTYPES[value.dtype]))]
    if draw.often(0.7):
        added = draw.choice(((columns,), (1, columns), (rows, columns), (), (1,), (rows, 1)))
        inputs.append(maker.constant(draw.array(added, DTYPES[value.dtype])))
    return inputs, attributes


def windows(draw, kernel):
    """Draws the attributes of windows that move over space."""
    rank = len(kernel)
    attributes = {}
    if draw.often(0.5):
        attributes["strides"] = [draw.whole(1, 1, 2, 3, 7, 1024) for _ in kernel]
    if draw.often(0.3):
        attributes["dilations"] = [draw.whole(1, 1, 2, 3, 9) for _ in kernel]
    if draw.often(0.3):
        attributes["auto_pad"] = draw.choice(("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    elif draw.often(0.7):
        steps = attributes.get("dilations", [1] * rank)
        most = [(size - 1) * step for size, step in zip(kernel, steps, strict=True)]
        attributes["pads"] = [draw.randint(0, min(max(each, 0), 1024)) for each in most * 2]
    return attributes


def conv(maker, _):
    draw = maker.draw
    first = maker.first(FLOATS, 3, 5)
    value = maker.values[first]
    channels, space = value.shape[1], value.shape[2:]
    group = draw.choice([each for each in (1, 1, 2, 3, 4, channels) if channels % each == 0])
    outs = group * draw.choice((1, 1, 2, 3, 8))
    kernel = [draw.choice((1, 1, 2, 3, 3, 5, min(size, 33))) for size in space]
    dtype = DTYPES[value.dtype]
    inputs = [first, maker.constant(draw.array((outs, channels // group, *kernel), dtype))]
    if draw.often(0.6):
        inputs.append(maker.constant(draw.array((outs,), dtype)))
    attributes = windows(draw, kernel)
    if draw.often(0.5):
        attributes["kernel_shape"] = kernel
    if group > 1 or draw.often(0.2):
        attributes["group"] = group
    return inputs, attributes


def pool(maker, operator):
    draw = maker.draw
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)], 3, 5)
    space = maker.values[first].shape[2:]
    kernel = [draw.choice((1, 2, 2, 3, 5, size)) for size in space]
    attributes = {"kernel_shape": kernel, **windows(draw, kernel)}
    if operator == "AveragePool" and maker.opset < 19:
        attributes.pop("dilations", None)
    for name in ("ceil_mode", "count_include_pad", "storage_order"):
        if name in HARMLESS[operator].attributes and draw.often(0.3):
            attributes[name] = draw.randint(0, 1)
    return [first], attributes


def global_pool(maker, _):
    return [maker.first(FLOATS, 3, 5)], {}


def norm(maker, operator):
    draw = maker.draw
    first = maker.first(FLOATS, 1 if operator == "LayerNormalization" else 2)
    value = maker.values[first]
    dtype, rank = DTYPES[value.dtype], len(value.shape)
    attributes = {"epsilon": real(draw)} if draw.often(0.7) else {}
    if operator == "LayerNormalization":
        axis = draw.randint(-rank, rank - 1)
        attributes |= {"axis": axis} if axis != -1 or draw.often(0.5) else {}
        shape, count = value.shape[axis % rank :], draw.randint(1, 2)
    else:
        shape, count = value.shape[1:2], 4
    if operator == "BatchNormalization":
        attributes |= {"momentum": real(draw)} if draw.often(0.5) else {}
    weights = [maker.constant(draw.array(shape, dtype)) for _ in range(count)]
    return [first, *weights], attributes


def concat(maker, _):
    draw = maker.draw
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS["Concat"].dtypes)], 1)
    value = maker.values[first]
    axis = draw.randint(-len(value.shape), len(value.shape) - 1)
    inputs = [first]
    for _ in range(draw.randint(0, 4)):
        shape = list(value.shape)
        shape[axis] = draw.choice(SIZES)
        if draw.often(0.3):
            inputs.append(first)
        elif draw.often(0.3):
            inputs.append(maker.input(shape, DTYPES[value.dtype]))
        else:
            inputs.append(maker.constant(draw.array(shape, DTYPES[value.dtype])))
    draw.shuffle(inputs)
    return inputs, {"axis": axis}


def flatten(maker, operator):
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)])
    rank = len(maker.values[first].shape)
    return [first], {"axis": maker.draw.randint(-rank, rank)} if maker.draw.often(0.8) else {}


def transpose(maker, operator):
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)])
    perm = list(range(len(maker.values[first].shape)))
    maker.draw.shuffle(perm)
    return [first], {"perm": perm} if perm and maker.draw.often(0.8) else {}


def reshape(maker, operator):
    draw = maker.draw
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)])
    shape = list(maker.values[first].shape)
    kind = draw.random()
    if kind < 0.3:
        at = draw.randint(0, len(shape))
        wanted = [*shape[:at], -1]
    elif kind < 0.6:
        wanted = list(shape)
        draw.shuffle(wanted)
    elif kind < 0.8 and len(shape) > 1:
        wanted = [shape[0] * shape[1], *shape[2:]]
    else:
        wanted = [1, *shape, 1] if draw.often(0.5) else [-1]
    wanted = [0 if draw.often(0.2) else each for each in wanted]
    return [first, maker.constant(np.array(wanted, np.int64))], {}


def axes_of(maker, axes, inputs, attributes, since):
    """Puts axes where the version of an operator has them."""
    if maker.opset < since:
        return inputs, attributes | {"axes": axes}
    return [*inputs, maker.constant(np.array(axes, np.int64))], attributes


def squeeze(maker, operator):
    draw = maker.draw
    dtypes = [DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)]
    first = maker.first(dtypes)
    shape = maker.values[first].shape
    rank = len(shape)
    if operator == "Squeeze":
        axes = [axis for axis, size in enumerate(shape) if size == 1 and draw.often(0.7)]
    else:
        rank += draw.randint(1, 3)
        axes = draw.sample(range(rank), rank - len(shape))
    axes = [axis - rank if draw.often(0.3) else axis for axis in axes]
    return axes_of(maker, axes, [first], {}, 13)


def reduce(maker, operator):
    draw = maker.draw
    first = maker.first([DTYPES[each] for each in sorted(HARMLESS[operator].dtypes)])
    rank = len(maker.values[first].shape)
    attributes = {"keepdims": draw.randint(0, 1)} if draw.often(0.7) else {}
    if draw.often(0.2):
        return [first], attributes
    axes = draw.sample(range(rank), draw.randint(0 if draw.often(0.02) else min(1, rank), rank))
    if not axes and draw.often(0.9):
        return [first], attributes
    axes = [axis - rank if draw.often(0.3) else axis for axis in axes]
    return axes_of(maker, axes, [first], attributes, 13 if operator == "ReduceSum" else 18)


def constant_node(maker, _):
    array = maker.draw.array(maker.draw.shape(0, 3), maker.draw.choice(NUMBERS))
    return [], {"value": numpy_helper.from_array(array)}


RECIPES = {
    "Where": where,
    "Clip": clip,
    "Dropout": dropout,
    "Cast": cast,
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": conv,
    "Concat": concat,
    "Flatten": flatten,
    "Transpose": transpose,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": squeeze,
    "Constant": constant_node,
    **dict.fromkeys(("Min", "Max", "Sum"), several(1, 4)),
    **dict.fromkeys(
        (
            *("Add", "Sub", "Mul", "Div", "Pow", "PRelu", "And", "Or", "Xor", "Equal"),
            *("Greater", "Less", "GreaterOrEqual", "LessOrEqual"),
        ),
        several(2, 2),
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "ArgMax", "ArgMin"), along_axis),
    **dict.fromkeys(("MaxPool", "AveragePool"), pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_pool),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization"), norm),
    **dict.fromkeys([name for name in HARMLESS if name.startswith("Reduce")], reduce),
}


def use_of(maker, operator):
    inputs, attributes = RECIPES.get(operator, element_wise)(maker, operator)
    return maker.add(operator, inputs, attributes)


def one_of(operator, draw):
    """Makes a model of an operator, with others before and behind it now and then."""
    maker = Maker(draw)
    if draw.often(0.3):
        add_any(maker, draw.randint(1, 3))
    for _ in range(20):
        if use_of(maker, operator):
            break
    if draw.often(0.3):
        add_any(maker, draw.randint(1, 3))
    return maker


def add_any(maker, count):
    for _ in range(count):
        use_of(maker, maker.draw.choice(sorted(HARMLESS)))


def composed(draw):
    """Makes a model of several operators, those that are often used together more often."""
    maker = Maker(draw)
    for _ in range(draw.randint(2, 14)):
        if draw.often(0.5):
            add_any(maker, 1)
        else:
            for operator in draw.choice(PATTERNS).split():
                use_of(maker, operator)
    return maker


# What ONNX Runtime rewrites to operators of its own.
PATTERNS = (
    "Conv BatchNormalization Relu",
    "Conv Add Relu",
    "Conv Mul",
    "Conv Sigmoid Mul",
    "Conv Clip",
    "Conv HardSigmoid",
    "Conv LeakyRelu MaxPool",
    "Conv Conv GlobalAveragePool Flatten",
    "MatMul Add Relu",
    "MatMul Transpose MatMul",
    "Transpose MatMul",
    "Gemm Relu Gemm",
    "Gemm Sum",
    "Div Erf Add Mul Mul",
    "Sigmoid Mul",
    "ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add",
    "MatMul Add Softmax",
    "Add LayerNormalization",
    "Reshape Transpose Reshape",
    "Unsqueeze Squeeze",
    "Transpose Concat Transpose",
    "Cast Cast",
    "Identity Identity",
    "Dropout Dropout",
    "Relu Clip",
    "Reshape Gemm",
    "BatchNormalization Conv",
    "Mul Conv",
    "ReduceSum Squeeze",
    "Exp ReduceSum Div",
)


# --------------------------------------------------------------------------- damage
def damaged(made, draw):  # noqa: C901 - a branch for each kind
    """Changes something in a model, in place."""
    node = draw.choice(made.graph.node)
    kind = draw.random()
    if kind < 0.4 and node.attribute:
        one = draw.choice(node.attribute)
        if one.ints and draw.often(0.8):
            one.ints[draw.randrange(len(one.ints))] = draw.choice(WHOLE)
        elif one.ints:
            one.ints.append(draw.choice(WHOLE))
        elif one.type == onnx.AttributeProto.INT:
            one.i = draw.choice(WHOLE)
        elif one.type == onnx.AttributeProto.FLOAT:
            one.f = draw.choice(STRANGE)
    elif kind < 0.7 and made.graph.initializer:
        one = draw.choice(made.graph.initializer)
        array = numpy_helper.to_array(one)
        if draw.often(0.5) and array.size:
            other = draw.array(array.shape, array.dtype)
        else:
            other = draw.array(draw.shape(), array.dtype)
        one.CopyFrom(numpy_helper.from_array(other, one.name))
    elif kind < 0.8 and len(node.input) > 1:
        at = draw.randrange(len(node.input))
        node.input[at] = draw.choice(["", *node.input])
    elif kind < 0.82:
        node.input.append(draw.choice(["", *node.input] if node.input else [""]))
    elif made.graph.input:
        one = draw.choice(made.graph.input)
        shape = one.type.tensor_type.shape
        if shape.dim:
            shape.dim[draw.randrange(len(shape.dim))].dim_value = draw.choice(SIZES)


# --------------------------------------------------------------------------- other operators
def unlisted(operator, draw):  # noqa: C901 - a branch for each kind
    """Makes a model of any operator from what its schema says, and nothing else."""
    maker = Maker(draw)
    schema = onnx.defs.get_schema(operator, maker.opset)
    kinds = {}
    for constraint in schema.type_constraints:
        known = [each[7:-1] for each in constraint.allowed_type_strs if each.startswith("tensor(")]
        codes = [getattr(TensorProto, each.upper(), 0) for each in known]
        codes = [code for code in codes if code in DTYPES]
        kinds[constraint.type_param_str] = DTYPES[draw.choice(codes)] if codes else np.float32
    plain = {f"tensor({np.dtype(value)})": value for value in DTYPES.values()}
    plain |= {"tensor(float)": np.float32, "tensor(double)": np.float64}
    inputs = []
    shape = draw.shape()
    for number, one in enumerate(schema.inputs):
        optional = one.option != onnx.defs.OpSchema.FormalParameterOption.Single
        if optional and draw.often(0.4):
            inputs.append("")
            continue
        dtype = kinds.get(one.type_str) or plain.get(one.type_str, np.float32)
        sizes = shape if draw.often(0.4) else draw.shape(0, 3)
        if number == 0 or draw.often(0.5):
            inputs.append(maker.input(sizes, dtype))
        else:
            inputs.append(maker.constant(draw.array(sizes, dtype)))
    attributes = {}
    for name, one in schema.attributes.items():
        if not one.required and draw.often(0.5):
            continue
        rank = draw.randint(0, 4)
        kind = one.type.name
        if kind == "INT":
            attributes[name] = draw.whole(0, 1, 2, 3, 7, -1)
        elif kind == "FLOAT":
            attributes[name] = real(draw)
        elif kind == "INTS" and rank:
            attributes[name] = [draw.whole(0, 1, 2, 3, -1) for _ in range(rank)]
        elif kind == "FLOATS" and rank:
            attributes[name] = [real(draw) for _ in range(rank)]
        elif kind == "STRING" and one.default_value.s:
            attributes[name] = one.default_value.s.decode()
    least = max(schema.min_output, 1)
    maker.add(
        operator, inputs, attributes, draw.randint(least, max(least, min(schema.max_output, 4)))
    )
    return maker


OTHERS = sorted(
    {each.name for each in onnx.defs.get_all_schemas() if not each.domain} - {*HARMLESS}
)


class Damaged:
    """An example of which something was changed, and that is still called harmless."""

    def __init__(self, name, draw):
        self.model = onnx.load(EXAMPLES / name)
        self.draw = draw

    def blob(self):
        if self.draw.often(0.2):
            return damaged_bytes(self.model.SerializeToString(), self.draw)
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        damage_message(made, self.draw, sorted(HARMLESS))
        return made.SerializeToString()

    def feeds(self):
        feeds = []
        for each in self.model.graph.input:
            sizes = [dim.dim_value for dim in each.type.tensor_type.shape.dim]
            sizes = [
                self.draw.choice(ODD_SIZES) if not size or self.draw.often(0.1) else size
                for size in sizes
            ]
            while prod(sizes) > MOST_ELEMENTS:
                sizes[sizes.index(max(sizes))] //= 2
            feeds.append(self.draw.array(sizes, DTYPES[each.type.tensor_type.elem_type]))
        return feeds


EXAMPLES = Path(__file__).parents[3] / "examples"
DAMAGED = ["digits/digits.onnx", "cards/cards.onnx", "flow/subgrid.onnx"]


def make(operator, draw):
    if operator in DAMAGED:
        return Damaged(operator, draw)
    if operator in OTHERS:
        return unlisted(operator, draw)
    maker = composed(draw) if operator == "composed" else one_of(operator, draw)
    maker.damage = draw.choice((1, 1, 2, 4)) if draw.often(0.25) else 0
    return maker


def plugin():
    from tensorkeep_onnx import plugin  # noqa: PLC0415 - for the processes that run models

    return plugin


if __name__ == "__main__":
    operators = {
        "listed": sorted(HARMLESS),
        "composed": ["composed"],
        "damaged": DAMAGED,
        "others": OTHERS,
    }
    attack(Target("ONNX", plugin, why_isolated, operators, make, unchecked={"others"}))
