"""What a TFLITE file says of its graph and LiteRT does not tell: names, shapes, operators.

It is read with LiteRT's own description of the format, a flatbuffer, once LiteRT has found it
whole. Weights are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensorkeep.errors import ModelRejected
from tensorkeep_tflite.framework import schema
from tensorkeep_tflite.messages import NO_MODEL, because, no_signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IDENTIFIER: Final = b"TFL3"  # bytes 4 to 8 of every model
STRING: Final[int] = schema.TensorType.STRING


@dataclass(frozen=True, slots=True)
class Operand:
    """An input or output of the graph.

    Attributes:
        name: What users call it.
        index: The tensor.
        type: Number of its element type.
        shape: The sizes that the file gives.
        signature: The same with -1 for those that may be any; empty where the file does not tell.
        constant: Whether the file brings its values.
    """

    name: str
    index: int
    type: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    constant: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of the graph.

    Attributes:
        code: Which one it is.
        inputs: Whether each input is a constant.
    """

    code: int
    inputs: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The subgraph that is run.

    Attributes:
        number: Which of the file's subgraphs it is.
        inputs: What it takes.
        outputs: What it returns.
        operators: What it does, in this order.
        has_variables: Whether a tensor keeps its values from one run to the next.
        weights: Bytes of all constants of the file.
    """

    number: int
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    operators: tuple[Operator, ...]
    has_variables: bool
    weights: int


def read_graph(blob: bytes, signature: str) -> Graph:
    """Reads the graph of a model that LiteRT has taken.

    Args:
        blob: The model.
        signature: Name of the signature whose subgraph is run; empty for the first subgraph.

    Raises:
        ModelRejected: There is no such signature, or weights lie in other files.
    """
    model = schema.Model.GetRootAs(blob, 0)
    if model.ExternalBuffersLength() or model.ExternalBufferGroupsLength():
        raise ModelRejected(because(NO_MODEL, "weights in other files are not allowed"))
    subgraphs = list(_each(model, "Subgraphs"))
    signatures = [
        each for each in _each(model, "SignatureDefs") if each.SubgraphIndex() < len(subgraphs)
    ]
    candidates, number = signatures, 0
    if signature:
        candidates = [each for each in signatures if _text(each.SignatureKey()) == signature]
        if not candidates:
            known = sorted(_text(each.SignatureKey()) for each in signatures)
            raise ModelRejected(no_signature(signature, ", ".join(known) or "none"))
        number = candidates[0].SubgraphIndex()
    graph = subgraphs[number]
    sizes = [max(each.DataLength(), each.Size()) for each in _each(model, "Buffers")]
    tensors = [_Tensor(each, constant=sizes[each.Buffer()] > 0) for each in _each(graph, "Tensors")]
    ends = [_indices(graph, "Inputs"), _indices(graph, "Outputs")]
    names = _names([each for each in candidates if each.SubgraphIndex() == number], ends)
    codes = [
        max(each.BuiltinCode(), each.DeprecatedBuiltinCode())  # the newer field has larger ones
        for each in _each(model, "OperatorCodes")
    ]
    return Graph(
        number,
        _operands("input", ends[0], tensors, names[0]),
        _operands("output", ends[1], tensors, names[1]),
        tuple(
            Operator(
                codes[each.OpcodeIndex()],
                tuple(index >= 0 and tensors[index].constant for index in _indices(each, "Inputs")),
            )
            for each in _each(graph, "Operators")
        ),
        any(each.IsVariable() for some in subgraphs for each in _each(some, "Tensors")),
        sum(sizes),
    )


class _Tensor:
    """A tensor of the file, and whether its values are there."""

    __slots__ = ("constant", "table")

    def __init__(self, table: Any, *, constant: bool) -> None:  # noqa: ANN401 - LiteRT brings no types
        self.table = table
        self.constant = constant


def _operands(
    kind: str, indices: Sequence[int], tensors: Sequence[_Tensor], names: Mapping[int, str]
) -> tuple[Operand, ...]:
    found: list[Operand] = []
    taken: set[str] = set()
    for number, index in enumerate(indices):
        tensor = tensors[index]
        name = names.get(index, _text(tensor.table.Name())) or f"{kind}_{number}"
        name = name if name not in taken else f"{name}_{number}"
        taken.add(name)
        shape, signature = _indices(tensor.table, "Shape"), _indices(tensor.table, "ShapeSignature")
        found.append(Operand(name, index, tensor.table.Type(), shape, signature, tensor.constant))
    return tuple(found)


def _names(signatures: Sequence[Any], ends: Sequence[Sequence[int]]) -> list[dict[int, str]]:
    """Returns names for inputs and outputs by the first signature that has one for each."""
    for each in signatures:
        maps = [
            {one.TensorIndex(): _text(one.Name()) for one in _each(each, kind)}
            for kind in ("Inputs", "Outputs")
        ]
        if all(known.keys() >= {*indices} for known, indices in zip(maps, ends, strict=True)):
            return maps
    return [{}, {}]


# --------------------------------------------------------------------------- the generated code
def _each(table: Any, field: str) -> Iterator[Any]:  # noqa: ANN401 - LiteRT brings no types
    """Gives the tables of a list."""
    at = getattr(table, field)
    return (at(number) for number in range(getattr(table, f"{field}Length")()))


def _indices(table: Any, field: str) -> tuple[int, ...]:  # noqa: ANN401 - LiteRT brings no types
    """Returns a list of numbers; of none, the generated code returns the number 0."""
    if not getattr(table, f"{field}Length")():
        return ()
    return tuple(getattr(table, f"{field}AsNumpy")().tolist())


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
