"""What the `forward` of a TorchScript module takes and returns, counted and named as in RedisAI.

Each parameter is one input, and each tensor that is returned one output. Beyond RedisAI, where
such models could be stored and never run: a tuple of tensors is as many inputs as it has members,
a list is one, and tuples and lists that are returned may lie in one another.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import ModelRejected
from tensorkeep_torch.internals import method_of
from tensorkeep_torch.messages import of_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from tensorkeep_torch.internals import Native

_INPUTS: Final = "Erorr while trying to retrive model inputs number: {}"
_OUTPUTS: Final = "Erorr while trying to retrive model outputs number: {}"
_NO_LENGTH: Final = _OUTPUTS.format(
    "std::exception: forward returns a list, and its code does not say how long it is"
)


def forward_of(module: Native) -> Native:
    """Returns the method `forward` of a module.

    Raises:
        ModelRejected: There is none.
    """
    try:
        return method_of(module, "forward")
    except RuntimeError as error:
        raise ModelRejected(_INPUTS.format(of_load(error))) from error


def inputs_of(
    forward: Native,
) -> tuple[tuple[str, ...], Callable[[Sequence[torch.Tensor]], Sequence[object]] | None]:
    """Returns the names of a method's inputs, and what makes its arguments of as many tensors.

    That is None where tensors are the arguments.
    """
    parameters = forward.schema.arguments[1:]  # without self
    names = tuple(chain.from_iterable(_names(each.name, each.type) for each in parameters))
    takers = [_taker(each.type) for each in parameters]
    if all(taker is next for taker in takers):
        return names, None

    def arrange(tensors: Sequence[torch.Tensor]) -> list[object]:
        rest = iter(tensors)
        return [taker(rest) for taker in takers]

    return names, arrange


def count_outputs(forward: Native) -> int:
    """Returns how many tensors a method returns.

    Raises:
        ModelRejected: Its code does not say.
    """
    (returned,) = forward.schema.returns
    (value,) = (forward.inlined_graph if _has_list(returned.type) else forward.graph).outputs()
    return _count(returned.type, value)


def _names(name: str, kind: Native) -> Iterator[str]:
    if kind.kind() != "TupleType":
        yield name
        return
    for index, each in enumerate(kind.elements()):
        yield from _names(f"{name}.{index}", each)


def _taker(kind: Native) -> Callable[[Iterator[torch.Tensor]], object]:
    """Returns what makes a value of a type of the next tensors."""
    if kind.kind() == "OptionalType":
        return _taker(kind.getElementType())
    if kind.kind() == "ListType":
        inner = _taker(kind.getElementType())
        return lambda tensors: [inner(tensors)]
    if kind.kind() == "TupleType":
        takers = [_taker(each) for each in kind.elements()]
        return lambda tensors: tuple(taker(tensors) for taker in takers)
    return next


def _has_list(kind: Native) -> bool:
    if kind.kind() == "TupleType":
        return any(_has_list(each) for each in kind.elements())
    return bool(kind.kind() == "ListType")


def _count(kind: Native, value: Native) -> int:
    """Counts the tensors in a value of the graph that has some type; None is a value not known."""
    if kind.kind() in {"TensorType", "OptionalType"}:
        return 1
    node = value.node() if value is not None else None
    if kind.kind() == "TupleType":
        members: list[Native] = [None] * len(kind.elements())
        if node is not None and node.kind() == "prim::TupleConstruct":
            members = list(node.inputs())
        return sum(
            _count(each, member) for each, member in zip(kind.elements(), members, strict=True)
        )
    if kind.kind() == "ListType":
        # A list that something else uses too may be longer by then.
        if node is None or node.kind() != "prim::ListConstruct" or len(value.uses()) != 1:
            raise ModelRejected(_NO_LENGTH)
        return sum(_count(kind.getElementType(), member) for member in node.inputs())
    return 0
