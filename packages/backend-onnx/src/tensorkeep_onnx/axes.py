"""What an ONNX file tells of axis 0: whether it is a batch along which requests may share a run.

Declared sizes alone do not tell: how many rows an operator returns, or how often a loop is run, may
hang on the values of all rows together. So the graph is walked for where values decide. Only for
files that ONNX Runtime has taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorkeep.batch_axis import BatchAxis, batch_axis
from tensorkeep_onnx.modelproto import KNOWN_DOMAINS
from tensorkeep_onnx.protobuf import LENGTH, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep.batch_axis import Sizes
    from tensorkeep_onnx.protobuf import Buffer

# Operators that return as many rows as values say.
_COUNTING: Final = frozenset(("Compress", "NonMaxSuppression", "NonZero", "Unique"))
# Other operators of whose outputs values decide the sizes, whatever they are given.
_SIZED: Final = frozenset(("ImageDecoder", "StringSplit"))
# The same where these of their inputs are not the same for all inputs of the same shapes.
_SIZED_BY: Final = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1, 2),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
# Operators with graphs, and how many of their first inputs say which of them to run, or how often.
_DECIDING: Final = {"If": 1, "Loop": 2}
_DESCRIBES: Final = frozenset(("Constant", "Shape", "Size"))  # the same for the same shapes
_CHANCE: Final = ("Random", "Bernoulli", "Multinomial", "Dropout")
_SEQUENCES: Final = ("Sequence", "Optional", "ConcatFromSequence", "SplitToSequence")


def axis_of(
    blob: Buffer, inputs: Sequence[tuple[str, Sizes]], outputs: Sequence[tuple[str, Sizes]]
) -> BatchAxis:
    """Returns what is known of axis 0.

    Args:
        blob: The model.
        inputs: Name and sizes of each input, as ONNX Runtime has them: none both for a scalar and
            where the file declares none.
        outputs: The same of the outputs.
    """
    graph = next(
        _Graph(blob, start, end)
        for number, start, end in _fields(blob, 0, len(blob))
        if number == _MODEL_GRAPH
    )
    walk = _Walk(blob)
    walk.through(graph, frozenset())
    if walk.counted:
        return BatchAxis.none(walk.counted)
    return batch_axis(
        [(name, _declared(sizes, name, graph)) for name, sizes in inputs],
        [(name, _declared(sizes, name, graph)) for name, sizes in outputs],
        walk.sized,
    )


def _declared(sizes: Sizes, name: str, graph: _Graph) -> Sizes:
    return sizes if sizes or name in graph.shaped else None


# --------------------------------------------------------------------------- reading
# Numbers of fields in onnx.proto.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_GRAPH_INPUT, _GRAPH_OUTPUT = 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 1, 6, 11
_TENSOR_NAME, _SPARSE_VALUES = 8, 1
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE = 1, 2, 1, 2


def _fields(blob: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields the number, start and end of each field that is a message, text or bytes."""
    for each in fields_of(blob, start, end):
        if each.wire_type == LENGTH:
            yield each.number, each.start, each.end


@dataclass(slots=True)
class _Node:
    """A node: what it is, what it takes and returns, and where the graphs lie that it has."""

    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    graphs: list[tuple[int, int]] = field(default_factory=list)


class _Graph:
    """A graph, read as far as it is asked for here.

    Attributes:
        nodes: Where its nodes lie.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        constants: Names of the tensors that it brings.
        shaped: Inputs and outputs that have a shape, be it an empty one.
    """

    def __init__(self, blob: Buffer, start: int, end: int) -> None:
        self.nodes: list[tuple[int, int]] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.constants: set[str] = set()
        self.shaped: set[str] = set()
        for number, first, last in _fields(blob, start, end):
            if number == _GRAPH_NODE:
                self.nodes.append((first, last))
            elif number == _GRAPH_INITIALIZER:
                self.constants.add(_text(blob, first, last, _TENSOR_NAME))
            elif number == _GRAPH_SPARSE:
                for inner, a, b in _fields(blob, first, last):
                    if inner == _SPARSE_VALUES:
                        self.constants.add(_text(blob, a, b, _TENSOR_NAME))
            elif number in {_GRAPH_INPUT, _GRAPH_OUTPUT}:
                name = _text(blob, first, last, _VALUE_NAME)
                (self.inputs if number == _GRAPH_INPUT else self.outputs).append(name)
                if _has(blob, first, last, (_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE)):
                    self.shaped.add(name)


def _read_node(blob: Buffer, start: int, end: int) -> _Node:
    node = _Node()
    for number, first, last in _fields(blob, start, end):
        if number == _NODE_INPUT:
            node.inputs.append(_decoded(blob, first, last))
        elif number == _NODE_OUTPUT:
            node.outputs.append(_decoded(blob, first, last))
        elif number == _NODE_OP:
            node.op = _decoded(blob, first, last)
        elif number == _NODE_DOMAIN:
            node.domain = _decoded(blob, first, last)
        elif number == _NODE_ATTRIBUTE:
            node.graphs += [
                (a, b)
                for inner, a, b in _fields(blob, first, last)
                if inner in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}
            ]
    return node


def _has(blob: Buffer, start: int, end: int, path: tuple[int, ...]) -> bool:
    """Returns whether a message has a field within fields."""
    return not path or any(
        number == path[0] and _has(blob, first, last, path[1:])
        for number, first, last in _fields(blob, start, end)
    )


def _text(blob: Buffer, start: int, end: int, wanted: int) -> str:
    """Returns a field of a message that is text; empty when it is not there."""
    found = ""
    for number, first, last in _fields(blob, start, end):
        if number == wanted:
            found = _decoded(blob, first, last)
    return found


def _decoded(blob: Buffer, start: int, end: int) -> str:
    return bytes(blob[start:end]).decode("utf-8", "replace")


# --------------------------------------------------------------------------- walking
class _Walk:
    """Looks for where values decide.

    Attributes:
        counted: Why rows may hang on each other, or their number on values; empty when they do not.
        sized: Why sizes may depend on values; empty when they follow from the shapes of inputs.
    """

    def __init__(self, blob: Buffer) -> None:
        self._blob = blob
        self.counted = ""
        self.sized = ""

    def through(self, graph: _Graph, fixed: frozenset[str]) -> set[str]:
        """Walks through a graph.

        Args:
            graph: The graph.
            fixed: Names from outside that are the same for all inputs of the same shapes.

        Returns:
            All names that are.
        """
        known = {*fixed, *graph.constants}
        for place in graph.nodes:
            node = _read_node(self._blob, *place)
            if node.graphs:
                self._into(node, known)
            elif self._is_fixed(node, known):
                known.update(node.outputs)
        return known

    def _is_fixed(self, node: _Node, known: set[str]) -> bool:
        """Notes what a node says; returns whether it gives the same for the same shapes."""
        op = node.op
        if node.domain.encode() not in KNOWN_DOMAINS:
            self.sized = self.sized or f"its operator {node.domain}.{op} is not known"
            return False
        if op in _COUNTING:
            self.counted = f"its operator {op} returns as many rows as values say"
        elif op in _SIZED or op.startswith(_SEQUENCES):
            self.sized = self.sized or f"values decide sizes in its operator {op}"
        for number in _SIZED_BY.get(op, ()):
            if any(each and each not in known for each in node.inputs[number : number + 1]):
                self.sized = self.sized or f"values decide sizes in its operator {op}"
        if op.startswith(_CHANCE):
            return False
        return op in _DESCRIBES or all(not each or each in known for each in node.inputs)

    def _into(self, node: _Node, known: set[str]) -> None:
        """Walks through the graphs of a node."""
        graphs = [_Graph(self._blob, *place) for place in node.graphs]
        decides = f"its operator {node.op} decides by values what to do for all rows"
        if node.op in _DECIDING:
            if any(each and each not in known for each in node.inputs[: _DECIDING[node.op]]):
                self.counted = decides
        elif node.op != "Scan":
            self.sized = self.sized or f"its operator {node.op} is not known"
        for graph in graphs:
            within = {*known, *(graph.inputs[:2] if node.op == "Loop" else ())}
            found = self.through(graph, frozenset(within))
            if node.op == "Loop" and graph.outputs[0] not in found:  # whether to go on
                self.counted = decides
