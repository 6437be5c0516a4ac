"""The ONNX file format, as far as it must be known before ONNX Runtime sees a model.

A model is a protobuf message, `ModelProto` of onnx.proto. It is read here without the `onnx`
package, and without looking at the weights: a walk over the fields that skips what it does not
ask for. This module decides what a model may not bring, and never what a model computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

# Wire types of protobuf: what follows a field's tag.
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5

# For each message that can hold, however deep, a tensor or a node: the fields that lead there.
# A test compares this table with the onnx package's own description of the format.
CHILDREN: Final[dict[str, dict[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_OP_TYPE, _DOMAIN = 4, 7  # of NodeProto
_DATA_LOCATION = 14  # of TensorProto: 0 is in the message itself, 1 in a file

# Operators whose output has a size that stands in the values of an input: the shape of what the
# model is given then says nothing about the time that it takes.
_SIZED_BY_VALUES: Final = frozenset(
    (
        b"AffineGrid",
        b"BlackmanWindow",
        b"CenterCropPad",
        b"Col2Im",
        b"ConstantOfShape",
        b"DFT",
        b"Expand",
        b"HammingWindow",
        b"HannWindow",
        b"MaxUnpool",
        b"MelWeightMatrix",
        b"OneHot",
        b"Pad",
        b"Range",
        b"Resize",
        b"STFT",
        b"Tile",
        b"Upsample",
    )
)
# The operators of other domains are the runtime's own or functions of the model: not known here.
_KNOWN_DOMAINS: Final = frozenset((b"", b"ai.onnx", b"ai.onnx.ml"))


class MalformedModel(ValueError):
    """The bytes are no protobuf message."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk over a model found.

    Attributes:
        graph: Whether there is a graph at all; files of other kinds often read as an empty model.
        external_data: Whether a tensor says that its data lie in a file.
        weights: Bytes of all tensors that the model brings.
        steady: Whether the time of a run can depend on the shapes of the inputs only.
    """

    graph: bool
    external_data: bool
    weights: int
    steady: bool


def survey(blob: bytes) -> Survey:
    """Walks over a serialized model.

    The walk takes no more than ONNX Runtime's own reader does, so that what is not found here is
    not there: groups, which the format does not use, are refused instead of skipped.

    Raises:
        MalformedModel: The bytes are no protobuf message.
    """
    graph, external_data, weights, steady = False, False, 0, True
    try:
        todo = [("ModelProto", 0, len(blob))]
        while todo:
            message, position, end = todo.pop()
            children = CHILDREN[message]
            while position < end:
                field = _field(blob, position)
                position = field.end
                if position > end:
                    raise MalformedModel("a field is longer than the message that it is in")
                child = children.get(field.number) if field.wire_type == _LENGTH else None
                if child is not None:
                    todo.append((child, field.start, position))
                    graph = graph or child == "GraphProto"
                    weights += position - field.start if child == "TensorProto" else 0
                    # An operator that has a graph of its own (Loop, If, Scan, SequenceMap, ...)
                    # decides from values how often to run it.
                    steady = steady and (message, child) != ("AttributeProto", "GraphProto")
                elif message == "NodeProto" and field.wire_type == _LENGTH:
                    text = blob[field.start : position]
                    steady = steady and not (
                        (field.number == _OP_TYPE and text in _SIZED_BY_VALUES)
                        or (field.number == _DOMAIN and text not in _KNOWN_DOMAINS)
                    )
                elif message == "TensorProto" and field.number == _DATA_LOCATION:
                    # Anything but 0: where the number is too long for its type, readers differ.
                    external_data = external_data or field.value != 0
    except IndexError as error:
        raise MalformedModel("the bytes end within a field") from error
    return Survey(graph, external_data, weights, steady)


class _Field(NamedTuple):
    """One field: its number and wire type, its number as value, where its bytes start and end."""

    number: int
    wire_type: int
    value: int
    start: int
    end: int


def _field(blob: bytes, position: int) -> _Field:
    tag, start = _varint(blob, position)
    tag &= 0xFFFFFFFF  # as protobuf's own reader does
    number, wire_type = tag >> 3, tag & 7
    if number == 0:
        raise MalformedModel("a field has the number 0")
    value = 0
    if wire_type == _VARINT:
        value, end = _varint(blob, start)
    elif wire_type == _LENGTH:
        length, start = _varint(blob, start)
        end = start + length
    elif wire_type == _EIGHT_BYTES:
        end = start + 8
    elif wire_type == _FOUR_BYTES:
        end = start + 4
    else:
        raise MalformedModel(f"a field has the wire type {wire_type}")
    return _Field(number, wire_type, value, start, end)


def _varint(blob: bytes, position: int) -> tuple[int, int]:
    """Returns a number of seven bits per byte, and the position behind it."""
    value = blob[position]
    position += 1
    if value < 0x80:  # noqa: PLR2004 - the bit that says whether a byte follows
        return value, position
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = blob[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the same
            return value, position
    raise MalformedModel("a number has more than ten bytes")


def tiny_model() -> bytes:
    """Returns a model that adds its input, a row of floats, to itself: `y = x + x`."""
    x, y = _bytes(1, b"x"), _bytes(1, b"y")  # as names of values
    row = _bytes(2, _bytes(1, b""))  # one axis of any size
    floats = _bytes(2, _bytes(1, _number(1, 1) + row))  # type.tensor_type: elem_type and shape
    node = x + x + _bytes(2, b"y") + _bytes(_OP_TYPE, b"Add")
    graph = _bytes(1, node) + _bytes(2, b"tiny") + _bytes(11, x + floats) + _bytes(12, y + floats)
    operators = _bytes(8, _number(2, 13))  # in their 13th version
    return _number(1, 7) + operators + _bytes(7, graph)  # in the 7th version of the format


def _number(field: int, value: int) -> bytes:
    return bytes((field << 3 | _VARINT, value))  # one byte: every value here is below 128


def _bytes(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | _LENGTH, len(content))) + content
