"""The messages of an ONNX model, read strictly: only what needs no second look is read at all.

ONNX Runtime's own reader is lenient: it merges what stands twice and skips what it does not
expect. Here that raises `Unreadable`, so that what was read is what the runtime will see. Weights
are never copied: the bytes of a field are told by where they start and end.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tensorkeep_onnx.protobuf import FOUR_BYTES, LENGTH, VARINT, read_field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep_onnx.protobuf import Field

Place: TypeAlias = tuple[int, int]
"""Where the bytes of something start and end in a model."""

# Most fields of a message, of which real models have a tenth: the time that reading takes is
# known only for so many.
_MOST: Final = {"GraphProto": 40_000, "NodeProto": 400, "ModelProto": 1_000}
_MOST_OTHERS: Final = 2_000
_LONGEST_NAME: Final = 1_000  # bytes
FEW: Final = 4_096  # numbers that are decoded of a tensor or an attribute
FEW_ONE_BY_ONE: Final = 256  # the same where each has a length of its own


class Unreadable(ValueError):
    """The model is not written as exporters write it; the text says in what, for people."""


class _Part(NamedTuple):
    """A field of a message.

    Attributes:
        name: Its name.
        wire_type: How it is written; numbers that may be several are written packed as well.
        several: Whether it may stand more than once.
    """

    name: str
    wire_type: int
    several: bool = False


# What may stand in each message. What is missing here, such as functions, training and sparse
# tensors, files with weights and parts for the runtime's own use, may not.
_SCHEMA: Final[Mapping[str, Mapping[int, _Part]]] = {
    "ModelProto": {
        1: _Part("ir_version", VARINT),
        2: _Part("producer_name", LENGTH),
        3: _Part("producer_version", LENGTH),
        4: _Part("domain", LENGTH),
        5: _Part("model_version", VARINT),
        6: _Part("doc_string", LENGTH),
        7: _Part("graph", LENGTH),
        8: _Part("opset_import", LENGTH, several=True),
        14: _Part("metadata_props", LENGTH, several=True),
    },
    "OperatorSetIdProto": {1: _Part("domain", LENGTH), 2: _Part("version", VARINT)},
    "GraphProto": {
        1: _Part("node", LENGTH, several=True),
        2: _Part("name", LENGTH),
        5: _Part("initializer", LENGTH, several=True),
        10: _Part("doc_string", LENGTH),
        11: _Part("input", LENGTH, several=True),
        12: _Part("output", LENGTH, several=True),
        13: _Part("value_info", LENGTH, several=True),
        16: _Part("metadata_props", LENGTH, several=True),
    },
    "NodeProto": {
        1: _Part("input", LENGTH, several=True),
        2: _Part("output", LENGTH, several=True),
        3: _Part("name", LENGTH),
        4: _Part("op_type", LENGTH),
        5: _Part("attribute", LENGTH, several=True),
        6: _Part("doc_string", LENGTH),
        7: _Part("domain", LENGTH),
        9: _Part("metadata_props", LENGTH, several=True),
    },
    "AttributeProto": {
        1: _Part("name", LENGTH),
        2: _Part("f", FOUR_BYTES),
        3: _Part("i", VARINT),
        4: _Part("s", LENGTH),
        5: _Part("t", LENGTH),
        7: _Part("floats", FOUR_BYTES, several=True),
        8: _Part("ints", VARINT, several=True),
        13: _Part("doc_string", LENGTH),
        20: _Part("type", VARINT),
    },
    "TensorProto": {
        1: _Part("dims", VARINT, several=True),
        2: _Part("data_type", VARINT),
        4: _Part("float_data", LENGTH),
        5: _Part("int32_data", LENGTH),
        7: _Part("int64_data", LENGTH),
        8: _Part("name", LENGTH),
        9: _Part("raw_data", LENGTH),
        10: _Part("double_data", LENGTH),
        12: _Part("doc_string", LENGTH),
        14: _Part("data_location", VARINT),
        16: _Part("metadata_props", LENGTH, several=True),
    },
    "ValueInfoProto": {
        1: _Part("name", LENGTH),
        2: _Part("type", LENGTH),
        3: _Part("doc_string", LENGTH),
        4: _Part("metadata_props", LENGTH, several=True),
    },
    "TypeProto": {1: _Part("tensor_type", LENGTH), 6: _Part("denotation", LENGTH)},
    "TypeProto.Tensor": {1: _Part("elem_type", VARINT), 2: _Part("shape", LENGTH)},
    "TensorShapeProto": {1: _Part("dim", LENGTH, several=True)},
    "Dimension": {
        1: _Part("dim_value", VARINT),
        2: _Part("dim_param", LENGTH),
        3: _Part("denotation", LENGTH),
    },
}


def message(blob: memoryview, place: Place, kind: str) -> dict[str, Any]:
    """Reads the fields of a message, by name.

    Returns:
        For each field that is there a number, or where its bytes start and end, or a list of those.

    Raises:
        Unreadable: It has something that it may not have.
    """
    found: dict[str, Any] = {}
    schema, left = _SCHEMA[kind], _MOST.get(kind, _MOST_OTHERS)
    position, stop = place
    while position < stop:
        field = read_field(blob, position)
        position = field.end
        left -= 1
        if position > stop or left < 0:
            raise Unreadable(f"a {kind} has a field too long, or too many fields")
        part = schema.get(field.number)
        if part is None:
            raise Unreadable(f"a {kind} has a field {field.number}, which was not tested")
        if part.several:
            found.setdefault(part.name, []).extend(_values(blob, part, field))
        elif part.name in found:
            raise Unreadable(f"a {kind} has its {part.name} twice")
        else:
            found[part.name] = _value(blob, part, field)
    return found


def _values(blob: memoryview, part: _Part, field: Field) -> list[Any]:
    """Returns the values of a field that may stand more than once; numbers may be packed."""
    if field.wire_type != LENGTH or part.wire_type == LENGTH:
        return [_value(blob, part, field)]
    data = blob[field.start : field.end]
    if part.wire_type == VARINT:
        return [*packed_numbers(data)]
    count, rest = divmod(len(data), 4)
    if rest or count > FEW:
        raise Unreadable(f"{part.name} has too many numbers")
    return [*struct.unpack(f"<{count}f", data)]


def _value(blob: memoryview, part: _Part, field: Field) -> int | float | Place:
    if field.wire_type != part.wire_type:
        raise Unreadable(f"{part.name} is not written as the format says")
    if part.wire_type == VARINT:
        return _signed(field.value)
    if part.wire_type == FOUR_BYTES:
        number: float = struct.unpack_from("<f", blob, field.start)[0]
        return number
    return field.start, field.end


def packed_numbers(data: memoryview) -> list[int]:
    """Decodes numbers that are written one by one.

    Raises:
        Unreadable: They are too many, or none.
    """
    numbers, value, shift = [], 0, 0
    if len(data) > 10 * FEW_ONE_BY_ONE:
        raise Unreadable("a list has too many numbers")
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says whether a byte follows
            numbers.append(_signed(value))
            value = shift = 0
        elif shift >= 70:  # noqa: PLR2004 - ten bytes
            raise Unreadable("a number has more than ten bytes")
    if shift:
        raise Unreadable("its bytes end within a number")
    return numbers


def _signed(value: int) -> int:
    """Returns a number of 64 bits with its sign."""
    if value >= 2**64:
        raise Unreadable("a number has more than 64 bits")
    return value - 2**64 if value >= 2**63 else value


def text(blob: memoryview, place: Place | None) -> bytes:
    """Returns the bytes of a name; empty where there is none."""
    if place is None:
        return b""
    start, end = place
    if end - start > _LONGEST_NAME:
        raise Unreadable("a name is too long")
    return bytes(blob[start:end])
