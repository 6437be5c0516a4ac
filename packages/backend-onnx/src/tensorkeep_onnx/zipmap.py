"""Class labels and their probabilities, as a tensor instead of a map for each row.

Converters of scikit-learn and its like end a classifier with `ZipMap`, which makes of a row of
probabilities a map from class labels to probabilities. A map is no tensor, and the labels are the
same in all rows: so the operator is left out, and its output is what it was given, a tensor of
[rows, classes] in the order in which the operator lists its labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.errors import InvalidTensor
from tensorkeep.tensor import Tensor
from tensorkeep_onnx.modelproto import FLOAT, tensor_type
from tensorkeep_onnx.protobuf import LENGTH, VARINT, Field, bytes_field, fields_of
from tensorkeep_onnx.rewriting import Edit

if TYPE_CHECKING:
    from collections.abc import Iterable

ZIP_MAP: Final = (b"ai.onnx.ml", b"ZipMap")
"""The domain and the name of the operator."""

_GRAPH: Final = 7  # of ModelProto
_NODE, _OUTPUT = 1, 12  # of GraphProto
# Of NodeProto.
_TAKEN, _GIVEN, _OP_TYPE, _ATTRIBUTE, _OF_DOMAIN = 1, 2, 4, 5, 7
_NAME: Final = 1  # of AttributeProto and ValueInfoProto
_LABELS: Final = {b"classlabels_strings": 9, b"classlabels_int64s": 8}  # fields of AttributeProto


class ZipMaps(NamedTuple):
    """The maps of a model that can be tensors.

    Attributes:
        edits: What makes them tensors.
        classes: The number of classes, by the names of outputs.
    """

    edits: list[Edit]
    classes: dict[str, int]


NO_ZIP_MAPS: Final = ZipMaps([], {})


class _Node(NamedTuple):
    field: Field
    start: int
    parts: list[Field]

    def texts(self, blob: bytes, number: int) -> list[bytes]:
        return [blob[each.start : each.end] for each in self.parts if each.number == number]


def find_zip_maps(blob: bytes) -> ZipMaps:
    """Finds the outputs of a model that are made by `ZipMap`.

    Args:
        blob: A model that was walked over before.
    """
    graphs = [each for each in fields_of(blob, 0, len(blob)) if each.number == _GRAPH]
    if len(graphs) != 1:  # readers would join them
        return ZipMaps([], {})
    nodes, outputs, position = [], {}, graphs[0].start
    for field in fields_of(blob, graphs[0].start, graphs[0].end):
        if field.wire_type == LENGTH and field.number == _NODE:
            nodes.append(_Node(field, position, [*fields_of(blob, field.start, field.end)]))
        elif field.wire_type == LENGTH and field.number == _OUTPUT:
            parts = fields_of(blob, field.start, field.end)
            names = [blob[each.start : each.end] for each in parts if each.number == _NAME]
            outputs[names[-1] if names else b""] = (position, field.end)
        position = field.end
    found = ZipMaps([], {})
    taken = {name for node in nodes for name in node.texts(blob, _TAKEN)}
    for node in nodes:
        if (*node.texts(blob, _OF_DOMAIN), *node.texts(blob, _OP_TYPE)) != ZIP_MAP:
            continue
        given, classes = node.texts(blob, _GIVEN), _classes(blob, node)
        if len(given) != 1 or given[0] in taken or given[0] not in outputs or not classes:
            continue
        found.edits.extend(_as_identity(node))
        start, end = outputs[given[0]]
        value = bytes_field(_NAME, given[0]) + tensor_type(FLOAT, classes)
        found.edits.append(Edit(start, end, (bytes_field(_OUTPUT, value),)))
        found.classes[given[0].decode("utf-8", "replace")] = classes
    return found


def as_rows(name: str, output: Tensor | None, classes: int) -> Tensor | None:
    """Returns an output as probabilities of [rows, classes].

    Args:
        name: The output's name.
        output: The output.
        classes: The number of classes; 0 for an output that was never a map.

    Raises:
        InvalidTensor: It does not have one probability for each class.
    """
    if not classes or output is None:
        return output
    *rows, columns = output.shape or (0,)
    if len(rows) > 1 or columns != classes:
        raise InvalidTensor(
            f"{name} must have {classes} columns, one for each class, not the shape"
            f" {list(output.shape)}"
        )
    return output if rows else Tensor.from_numpy(output.numpy().reshape(1, classes))


def _as_identity(node: _Node) -> Iterable[Edit]:
    """Gives what makes a node return what it takes."""
    start = node.field.start
    for part in node.parts:
        if part.number == _OP_TYPE:
            yield Edit(start, part.end, (bytes_field(_OP_TYPE, b"Identity"),))
        elif part.number in {_ATTRIBUTE, _OF_DOMAIN}:
            yield Edit(start, part.end)
        start = part.end


def _classes(blob: bytes, node: _Node) -> int:
    """Returns how many labels a node has."""
    counts = []
    for part in node.parts:
        if part.number == _ATTRIBUTE:
            fields = [*fields_of(blob, part.start, part.end)]
            names = [blob[each.start : each.end] for each in fields if each.number == _NAME]
            number = _LABELS.get(names[-1]) if names else None
            counts.append(sum(_count(blob, each) for each in fields if each.number == number))
    counts = [count for count in counts if count]
    return counts[0] if len(counts) == 1 else 0


def _count(blob: bytes, field: Field) -> int:
    """Returns the number of labels in one field: strings are one each, numbers may be packed."""
    if field.wire_type == VARINT or field.number == _LABELS[b"classlabels_strings"]:
        return 1
    return sum(byte < 0x80 for byte in blob[field.start : field.end])  # noqa: PLR2004 - the last byte of each
