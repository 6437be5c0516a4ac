"""What the `forward` of a TorchScript module takes, counted and named as in RedisAI.

Each parameter is one input. Beyond RedisAI, where such models could be stored and never run: a
tuple of tensors is as many inputs as it has members, a list is one, what is optional may be left
out, and a parameter that no tensor can be keeps its default, or the model is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep.errors import ModelRejected
from tensorkeep_torch.internals import method_of
from tensorkeep_torch.messages import of_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch

    from tensorkeep_torch.internals import Native

    Take: TypeAlias = Callable[[Iterator[torch.Tensor]], object]

_INPUTS: Final = "Erorr while trying to retrive model inputs number: {}"
_NO_TENSOR: Final = _INPUTS.format(
    "forward takes '{}' of type {}, which no tensor can be and which has no default"
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a method takes.

    Attributes:
        names: Names of the inputs.
        fewer: Other numbers of inputs that will do: so many of the first, the rest left out.
        arrange: Makes the method's arguments of tensors; None where they are the arguments.
    """

    names: tuple[str, ...]
    fewer: frozenset[int]
    arrange: Callable[[Sequence[torch.Tensor]], Sequence[object]] | None


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter.

    Attributes:
        names: Names of its inputs; empty for one that keeps its default.
        take: Makes its value of as many tensors.
        default: Its value where they are left out.
        optional: Whether they may be.
    """

    names: tuple[str, ...]
    take: Take
    default: Any
    optional: bool


def forward_of(module: Native) -> Native:
    """Returns the method `forward` of a module.

    Raises:
        ModelRejected: There is none.
    """
    try:
        return method_of(module, "forward")
    except RuntimeError as error:
        raise ModelRejected(_INPUTS.format(of_load(error))) from error


def parameters_of(forward: Native, graph: Native) -> Parameters:
    """Returns what a method takes.

    Args:
        forward: The method.
        graph: Its graph, with all that it calls in place.

    Raises:
        ModelRejected: A parameter has a type that no tensor can be, and no default.
    """
    _, *values = graph.inputs()  # without self
    _, *arguments = forward.schema.arguments
    found = [_parameter(each, value) for each, value in zip(arguments, values, strict=True)]
    names = tuple(chain.from_iterable(each.names for each in found))
    fewer = frozenset(_fewer(found)) - {len(names)}
    if not fewer and all(each.take is next for each in found):
        return Parameters(names, fewer, None)

    def arrange(tensors: Sequence[torch.Tensor]) -> list[object]:
        rest, left = iter(tensors), len(tensors)
        arguments: list[object] = []
        for each in found:
            given = bool(each.names) and left >= len(each.names)
            arguments.append(each.take(rest) if given else each.default)
            left -= len(each.names)
        return arguments

    return Parameters(names, fewer, arrange)


def _fewer(parameters: Sequence[_Parameter]) -> Iterator[int]:
    """Gives the numbers of inputs behind which every parameter is optional."""
    counts = [0, *accumulate(len(each.names) for each in parameters)]
    for index in range(len(parameters) - 1, -1, -1):
        if not parameters[index].optional:
            return
        yield counts[index]


def _parameter(argument: Native, value: Native) -> _Parameter:
    kind = argument.type
    has_default = argument.has_default_value()
    default = argument.default_value if has_default else None
    optional = has_default or kind.kind() == "OptionalType"
    found = _taken(argument.name, kind, value)
    if found is not None:
        names, take = found
        return _Parameter(names, take, default, optional)
    if not optional:
        raise ModelRejected(_NO_TENSOR.format(argument.name, kind.annotation_str))
    return _Parameter((), lambda _: default, default, optional)


def _taken(name: str, kind: Native, value: Native) -> tuple[tuple[str, ...], Take] | None:
    """Returns the names of what a value is made of, and what makes it; None if no tensors can.

    Args:
        name: How the value is called.
        kind: Its type.
        value: Its place in the method's graph, None where it has none.
    """
    match kind.kind():
        case "TensorType":
            return (name,), next
        case "OptionalType":
            return _taken(name, kind.getElementType(), None)
        case "ListType" if kind.getElementType().kind() == "TensorType":
            length = _length(value)
            if length is None:
                return (name,), lambda tensors: [next(tensors)]
            names = tuple(f"{name}.{index}" for index in range(length))
            return names, lambda tensors: [next(tensors) for _ in names]
        case "TupleType":
            members = [
                _taken(f"{name}.{index}", each, None) for index, each in enumerate(kind.elements())
            ]
            return _of_tuple([each for each in members if each], len(members))
    return None


def _of_tuple(
    members: Sequence[tuple[tuple[str, ...], Take]], count: int
) -> tuple[tuple[str, ...], Take] | None:
    if len(members) != count:
        return None
    takes = [take for _, take in members]
    names = _joined(names for names, _ in members)
    return names, lambda tensors: tuple(take(tensors) for take in takes)


def _joined(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(chain.from_iterable(names))


def _length(value: Native) -> int | None:
    """Returns how long a list must be that is only taken apart, as those of traced modules are."""
    uses = list(value.uses()) if value is not None else []
    if len(uses) != 1 or uses[0].user.kind() != "prim::ListUnpack":
        return None
    return len(list(uses[0].user.outputs()))
