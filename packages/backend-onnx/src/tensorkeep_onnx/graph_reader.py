"""What a serialized model is made of, as far as it must be known to say whether it is harmless.

Numbers are decoded only where a tensor has few of them, and weights are never copied. This module
decides how a model must be written, and never what it may compute.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep_onnx.protobuf import MalformedModel
from tensorkeep_onnx.strict_messages import (
    FEW,
    FEW_ONE_BY_ONE,
    Unreadable,
    message,
    packed_numbers,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep_onnx.strict_messages import Place

# Of which real models have a tenth: the time that the runtime's rearranging of a graph takes is
# known only for so many.
_MOST_NODES: Final = 5_000
_MOST_RANK: Final = 8

# Of TensorProto.DataType, with the bytes that one element takes.
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 6, 7, 9, 10, 11
SIZES: Final = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}
_KINDS: Final = {
    "float_data": frozenset((FLOAT,)),
    "double_data": frozenset((DOUBLE,)),
    "int64_data": frozenset((INT64,)),
    "int32_data": frozenset((UINT8, INT8, INT32, BOOL)),
}
_ONE_BY_ONE: Final = frozenset(("int64_data", "int32_data"))
_FORMATS: Final = {1: "f", 6: "i", 7: "q", 9: "?", 10: "e", 11: "d"}


# The kinds of attributes (AttributeProto.AttributeType), and the field that each is written in.
_ATTRIBUTES: Final = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}
_SEVERAL: Final = frozenset(("floats", "ints"))


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that the model brings.

    Attributes:
        dtype: Of TensorProto.DataType.
        shape: Its sizes, none of them 0.
        data: Its elements as they lie in the model.
        packed: Whether these are numbers of which each has a length of its own.
    """

    dtype: int
    shape: tuple[int, ...]
    data: memoryview
    packed: bool = False

    def numbers(self) -> tuple[float, ...]:
        """Returns its elements.

        Raises:
            Unreadable: There are too many to look at, or of a type that is not looked at.
        """
        if self.packed:
            return tuple(packed_numbers(self.data))
        count = prod(self.shape)
        if count > FEW or self.dtype not in _FORMATS:
            raise Unreadable("a constant that decides on a size has too many numbers")
        return struct.unpack(f"<{count}{_FORMATS[self.dtype]}", self.data)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a model says of a value.

    Attributes:
        dtype: Of TensorProto.DataType.
        shape: Its sizes, None for any; None altogether where nothing is said.
    """

    dtype: int
    shape: tuple[int | None, ...] | None


Attribute: TypeAlias = int | float | bytes | tuple[int, ...] | tuple[float, ...] | Constant


@dataclass(frozen=True, slots=True)
class Node:
    """One use of an operator; inputs and outputs that are left out have an empty name."""

    operator: str
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Graph:
    """A model.

    Attributes:
        opset: Version of the operators.
        nodes: In the model's order.
        constants: By name.
        inputs: What a run is given, by name.
        outputs: What a run returns, by name.
        told: What is said of values in between, by name.
    """

    opset: int
    nodes: list[Node] = field(default_factory=list)
    constants: dict[bytes, Constant] = field(default_factory=dict)
    inputs: dict[bytes, Declared] = field(default_factory=dict)
    outputs: dict[bytes, Declared] = field(default_factory=dict)
    told: dict[bytes, Declared] = field(default_factory=dict)


def read_graph(blob: bytes) -> Graph:
    """Reads a serialized model.

    Raises:
        Unreadable: It is none, or is not written as exporters write models.
    """
    try:
        return _read(memoryview(blob))
    except IndexError as error:
        raise Unreadable("its bytes end within a field") from error
    except MalformedModel as error:
        raise Unreadable(str(error)) from error


def _read(blob: memoryview) -> Graph:
    model = message(blob, (0, len(blob)), "ModelProto")
    if "graph" not in model:
        raise Unreadable("it has no graph")
    if not 4 <= model.get("ir_version", 0) <= 13:  # noqa: PLR2004 - earlier, constants may be inputs
        raise Unreadable("the version of its format is not one that was tested")
    graph = Graph(_opset(blob, model))
    parts = message(blob, model["graph"], "GraphProto")
    if len(parts.get("node", ())) > _MOST_NODES:
        raise Unreadable(f"it has more than {_MOST_NODES} nodes")
    for place in parts.get("initializer", ()):
        name, constant = _tensor(blob, place)
        _add(graph.constants, name, constant)
    for part, values in (
        ("input", graph.inputs),
        ("output", graph.outputs),
        ("value_info", graph.told),
    ):
        for place in parts.get(part, ()):
            _add(values, *_value(blob, place))
    graph.nodes.extend(_node(blob, place) for place in parts.get("node", ()))
    return graph


def _opset(blob: memoryview, model: dict[str, Any]) -> int:
    """Returns the version of the operators; those of other domains may be named, not used."""
    found = []
    for place in model.get("opset_import", ()):
        one = message(blob, place, "OperatorSetIdProto")
        if text(blob, one.get("domain")) in {b"", b"ai.onnx"}:
            found.append(one.get("version", 0))
    if len(found) != 1:
        raise Unreadable("it does not name one version of ONNX's operators")
    version: int = found[0]
    return version


def _add(values: dict[bytes, Any], name: bytes, value: object) -> None:
    if not name or name in values:
        raise Unreadable("a value has no name, or one that is there twice")
    values[name] = value


def _value(blob: memoryview, place: Place) -> tuple[bytes, Declared]:
    """Reads a ValueInfoProto."""
    value = message(blob, place, "ValueInfoProto")
    kind = message(blob, value.get("type", (0, 0)), "TypeProto")
    if "tensor_type" not in kind:
        raise Unreadable("a value is no tensor")
    tensor = message(blob, kind["tensor_type"], "TypeProto.Tensor")
    shape = None
    if "shape" in tensor:
        dims = message(blob, tensor["shape"], "TensorShapeProto").get("dim", ())
        if len(dims) > _MOST_RANK:
            raise Unreadable(f"a value has more than {_MOST_RANK} axes")
        shape = tuple(message(blob, dim, "Dimension").get("dim_value") for dim in dims)
        if any(size is not None and size < 1 for size in shape):
            raise Unreadable("a value has a size below 1")
    return text(blob, value.get("name")), Declared(tensor.get("elem_type", 0), shape)


def _node(blob: memoryview, place: Place) -> Node:
    node = message(blob, place, "NodeProto")
    operator = text(blob, node.get("op_type")).decode("ascii", "replace")
    domain = text(blob, node.get("domain"))
    if domain not in {b"", b"ai.onnx"}:
        raise Unreadable(f"{operator} is of the domain {domain.decode('ascii', 'replace')}")
    attributes: dict[str, Attribute] = {}
    for each in node.get("attribute", ()):
        name, value = _attribute(blob, each, operator)
        if name in attributes:
            raise Unreadable(f"{operator} has the attribute {name} twice")
        attributes[name] = value
    inputs, outputs = (
        tuple(text(blob, each) for each in node.get(part, ())) for part in ("input", "output")
    )
    return Node(operator, inputs, outputs, attributes)


def _attribute(blob: memoryview, place: Place, operator: str) -> tuple[str, Attribute]:
    attribute = message(blob, place, "AttributeProto")
    name = text(blob, attribute.get("name")).decode("ascii", "replace")
    part = _ATTRIBUTES.get(attribute.get("type", 0))
    values = {key for key in attribute if key in _ATTRIBUTES.values()}
    # A list that is empty, or a number that is 0, need not be written.
    if part is None or not values <= {part} or (not values and part == "t"):
        raise Unreadable(f"the attribute {name} of {operator} is not what it says")
    if part in _SEVERAL:
        return name, tuple(attribute.get(part, ()))
    if part == "t":
        return name, _tensor(blob, attribute["t"])[1]
    if part == "s":
        return name, text(blob, attribute.get("s"))
    value: Attribute = attribute.get(part, 0)
    return name, value


# --------------------------------------------------------------------------- tensors
def _tensor(blob: memoryview, place: Place) -> tuple[bytes, Constant]:
    tensor = message(blob, place, "TensorProto")
    name = text(blob, tensor.get("name"))
    if tensor.get("data_location", 0):
        raise Unreadable("its weights lie in a file")
    dtype, shape = tensor.get("data_type", 0), tuple(tensor.get("dims", ()))
    size = SIZES.get(dtype)
    if size is None or len(shape) > _MOST_RANK or any(each < 1 for each in shape):
        raise Unreadable("a constant is of a type or of sizes that were not tested")
    kinds = [key for key in tensor if key.endswith("_data")]
    if len(kinds) != 1:
        raise Unreadable("a constant has its data not in one place")
    count, kind = prod(shape), kinds[0]
    if dtype not in _KINDS.get(kind, SIZES):
        raise Unreadable("a constant has data of another type than it says")
    start, end = tensor[kind]
    data, packed = blob[start:end], kind in _ONE_BY_ONE
    if packed:
        fits = count <= FEW_ONE_BY_ONE and _are_numbers_of(dtype, count, packed_numbers(data))
    else:
        fits = end - start == count * size
    if not fits:
        raise Unreadable("a constant has more or less data than it says")
    return name, Constant(dtype, shape, data, packed)


def _are_numbers_of(dtype: int, count: int, numbers: list[int]) -> bool:
    """Returns whether numbers are so many of a type."""
    bits = 8 * SIZES[dtype]
    if dtype == BOOL:
        least, most = 0, 1
    elif dtype == UINT8:
        least, most = 0, 255
    else:
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return len(numbers) == count and all(least <= each <= most for each in numbers)
