"""The ONNX file format, as far as it must be known before ONNX Runtime sees a model.

A model is a protobuf message, `ModelProto` of onnx.proto. It is read here without the `onnx`
package, and without looking at the weights: a walk over the fields that skips what it does not
ask for. This module decides what a model may not bring, and never what a model computes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorkeep_onnx.protobuf import (
    LENGTH,
    MalformedModel,
    bytes_field,
    fields_of,
    number_field,
    read_field,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep_onnx.protobuf import Buffer, Field

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
# From the model to the initializers of its own graph, which no other graph holds.
_OUTER: Final = frozenset((("ModelProto", 7), ("GraphProto", 5)))
_OP_TYPE, _DOMAIN = 4, 7  # of NodeProto
RAW_DATA: Final = 9  # of TensorProto
_EXTERNAL_DATA = 13  # of TensorProto: what is said of the file
_DATA_LOCATION = 14  # of TensorProto: 0 is in the message itself, 1 in a file

FLOAT: Final = 1  # of TensorProto.DataType
_NORMALIZER: Final = b"StringNormalizer"

# Messages that hold texts and messages, but for a few numbers; and how many of those may be in a
# model. Files of other kinds often read as millions of numbers, which to walk over takes a minute.
_FEW_NUMBERS: Final = frozenset(("ModelProto", "FunctionProto", "GraphProto", "NodeProto"))
_MOST_NUMBERS: Final = 10_000

# Numbers in a row, as each is a field of its own: a forest of trees has millions of them, which one
# by one take seconds. Floats have four bytes, integers up to ten. At most so many at once as other
# threads can wait for.
_NUMBERS: Final = re.compile(
    rb"(?:\x3d[\x00-\xff]{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f]){1,20000}", re.DOTALL
)

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
KNOWN_DOMAINS: Final = frozenset((b"", b"ai.onnx", b"ai.onnx.ml"))


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A tensor whose data lie in a file.

    Attributes:
        initializer: Whether it is an initializer of the model's own graph, not of a graph within.
        place: Where the message of the tensor starts and ends.
        fields: Where each of its fields about the file starts and ends.
        location: The file.
        offset: Where the data start in it; empty for its start.
        length: Their bytes; empty for all up to the end.
    """

    initializer: bool
    place: tuple[int, int]
    fields: tuple[tuple[int, int], ...]
    location: str
    offset: str
    length: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk over a model found.

    Attributes:
        graph: Whether there is a graph at all; files of other kinds often read as an empty model.
        external: The tensors that say that their data lie in a file.
        weights: Bytes of all tensors that the model brings, but for those in files.
        steady: Whether the time of a run can depend on the shapes of the inputs only.
        operators: The domain and the name of every operator.
        normalizers: Where each node that changes the case of strings starts and ends.
    """

    graph: bool
    external: tuple[ExternalTensor, ...]
    weights: int
    steady: bool
    operators: frozenset[tuple[bytes, bytes]]
    normalizers: tuple[tuple[int, int], ...]


def survey(blob: Buffer) -> Survey:
    """Walks over a serialized model.

    The walk takes no more than ONNX Runtime's own reader does, so that what is not found here is
    not there: groups, which the format does not use, are refused instead of skipped.

    Raises:
        MalformedModel: The bytes are no protobuf message.
    """
    try:
        return _Walk(blob).over_all()
    except IndexError as error:
        raise MalformedModel("the bytes end within a field") from error


class _Walk:
    """A walk over a model, and what was found on it so far."""

    def __init__(self, blob: Buffer) -> None:
        self._blob = blob
        # Messages to look at: kind, start and end, and whether they lead from the model to the
        # initializers of its own graph.
        self._todo = [("ModelProto", 0, len(blob), True)]
        self._graph = False
        self._external: list[ExternalTensor] = []
        self._weights = 0
        self._graphs_within = False
        self._numbers = 0
        self._operators: set[tuple[bytes, bytes]] = set()
        self._normalizers: list[tuple[int, int]] = []

    def over_all(self) -> Survey:
        while self._todo:
            kind, start, end, outer = self._todo.pop()
            in_file, operator, domain = False, b"", b""
            for field in self._fields(kind, start, end):
                child = CHILDREN[kind].get(field.number) if field.wire_type == LENGTH else None
                if child is not None:
                    of_graph = outer and (kind, field.number) in _OUTER
                    self._enter(kind, child, field, of_graph)
                elif kind == "NodeProto" and field.wire_type == LENGTH:
                    if field.number == _OP_TYPE:
                        operator = self._text(field)
                    elif field.number == _DOMAIN:
                        domain = self._text(field)
                elif kind == "TensorProto" and field.number == _DATA_LOCATION:
                    # Anything but 0: where a number is too long for its type, readers differ.
                    in_file = in_file or field.value != 0
            if in_file:
                self._external.append(_external(self._blob, start, end, initializer=outer))
            if kind == "NodeProto":
                self._see_node(domain, operator, (start, end))
        return Survey(
            graph=self._graph,
            external=tuple(self._external),
            weights=self._weights,
            # An operator that has a graph of its own (Loop, If, Scan, SequenceMap, ...) decides
            # from values how often to run it.
            steady=not self._graphs_within
            and all(
                domain in KNOWN_DOMAINS and operator not in _SIZED_BY_VALUES
                for domain, operator in self._operators
            ),
            operators=frozenset(self._operators),
            normalizers=tuple(self._normalizers),
        )

    def _fields(self, kind: str, position: int, end: int) -> Iterator[Field]:
        while position < end:
            if kind == "AttributeProto" and (run := _NUMBERS.match(self._blob, position, end)):
                position = run.end()
                continue
            field = read_field(self._blob, position)
            position = field.end
            if position > end:
                raise MalformedModel("a field is longer than the message that it is in")
            if field.wire_type != LENGTH and kind in _FEW_NUMBERS:
                self._numbers += 1
                if self._numbers > _MOST_NUMBERS:
                    raise MalformedModel("the bytes have more numbers than a model has")
            yield field

    def _see_node(self, domain: bytes, operator: bytes, place: tuple[int, int]) -> None:
        self._operators.add((domain, operator))
        if operator == _NORMALIZER:
            self._normalizers.append(place)

    def _text(self, field: Field) -> bytes:
        return bytes(self._blob[field.start : field.end])

    def _enter(self, kind: str, child: str, field: Field, outer: bool) -> None:  # noqa: FBT001 - as in `_todo`
        self._todo.append((child, field.start, field.end, outer))
        if child == "GraphProto":
            self._graph = True
            self._graphs_within = self._graphs_within or kind == "AttributeProto"
        elif child == "TensorProto":
            self._weights += field.end - field.start


def _external(blob: Buffer, start: int, end: int, *, initializer: bool) -> ExternalTensor:
    """Reads what a tensor says of the file with its data."""
    told = {b"location": b"", b"offset": b"", b"length": b""}
    places: list[tuple[int, int]] = []
    position = start
    for field in fields_of(blob, start, end):
        if field.number == _EXTERNAL_DATA and field.wire_type == LENGTH:
            pair = {1: b"", 2: b""}  # the fields of StringStringEntryProto
            for part in fields_of(blob, field.start, field.end):
                if part.wire_type == LENGTH:
                    pair[part.number] = bytes(blob[part.start : part.end])
            told[pair[1]] = pair[2]
        if field.number in {_EXTERNAL_DATA, _DATA_LOCATION}:
            places.append((position, field.end))
        position = field.end
    location, offset, length = (
        told[key].decode("utf-8", "surrogateescape") for key in (b"location", b"offset", b"length")
    )
    return ExternalTensor(initializer, (start, end), tuple(places), location, offset, length)


def in_file(location: str, length: int) -> bytes:
    """Returns the fields of a tensor that say that its data lie in a file, all of it."""
    pairs = ((b"location", location.encode()), (b"length", b"%d" % length))
    told = (bytes_field(1, key) + bytes_field(2, value) for key, value in pairs)
    entries = b"".join(bytes_field(_EXTERNAL_DATA, entry) for entry in told)
    return entries + number_field(_DATA_LOCATION, 1)


def tiny_model() -> bytes:
    """Returns a model that adds its input, a row of floats, to itself: `y = x + x`."""
    x, y = bytes_field(1, b"x"), bytes_field(1, b"y")  # as names of values
    floats = tensor_type(FLOAT)
    node = x + x + bytes_field(2, b"y") + bytes_field(_OP_TYPE, b"Add")
    ends = bytes_field(11, x + floats) + bytes_field(12, y + floats)
    graph = bytes_field(1, node) + bytes_field(2, b"tiny") + ends
    operators = bytes_field(8, number_field(2, 13))  # in their 13th version
    return number_field(1, 7) + operators + bytes_field(7, graph)  # in the 7th of the format


def tensor_type(dtype: int, *sizes: int) -> bytes:
    """Returns the field of a ValueInfoProto that says of which type it is.

    Args:
        dtype: The elements' type.
        sizes: Sizes behind the first axis; that one may be any.
    """
    axes = [b"", *(number_field(1, size) for size in sizes)]
    shape = bytes_field(2, b"".join(bytes_field(1, axis) for axis in axes))
    return bytes_field(2, bytes_field(1, number_field(1, dtype) + shape))
