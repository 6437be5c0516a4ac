"""Whether a function keeps something from one run to the next.

It does when it may write to what it is given in front of every run, its module or its weights, or
to a constant. Values that may share memory are put into one group; the answer is yes when anything
that is written to is in the group of those. What shares memory is taken from the operators' own
schemas, and where they do not say, everything that an operator takes and returns is one group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_torch.graphs import subgraph_of
from tensorkeep_torch.operators import STRUCTURE, of_kind, operator_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorkeep_torch.internals import Native

# Types of what cannot be written to.
_IMMUTABLE: Final = frozenset(
    (
        "BoolType",
        "ComplexType",
        "DeviceObjType",
        "FloatType",
        "FunctionType",
        "IntType",
        "NoneType",
        "NumberType",
        "StringType",
    )
)
_KEPT: Final = "kept"  # the name of the group; no value's name is so, for those have a number


def written_values(node: Native) -> list[Native]:
    """Returns the values that a node may write to."""
    kind = node.kind()
    if kind == "prim::SetAttr":
        return [node.inputsAt(0)]
    if kind in {"prim::CallFunction", "prim::CallMethod"}:  # whatever could not be put in place
        return list(node.inputs())
    operator = operator_of(node)
    if not operator.writes:
        return []
    at = operator.training
    if at is not None and node.inputsAt(at).toIValue() is False:
        return []
    return [node.inputsAt(index) for index in sorted(operator.writes)]


def keeps_state(graph: Native, nodes: Iterable[Native], first: int) -> bool:
    """Returns whether a function may change what it is given again in its next run.

    Args:
        graph: Its graph, with all that it calls in place.
        nodes: All nodes of the graph.
        first: How many of its parameters are given the same in every run.
    """
    groups = _Groups()
    for value in list(graph.inputs())[:first]:
        groups.join([_KEPT, value.debugName()])
    written: list[str] = []
    for node in nodes:
        kind = node.kind()
        known = of_kind(kind)
        if known is None or known.writes or known is STRUCTURE:
            written += (value.debugName() for value in written_values(node))
        if known is None or known.aliases is None or known.aliases:  # others share nothing
            for group in _sharing(node, kind):
                groups.join(group)
    return any(groups.same(name, _KEPT) for name in written)


def _sharing(node: Native, kind: str) -> Iterator[list[str]]:
    """Gives the groups of values that share memory because of a node of some kind."""
    if kind == "prim::Constant":
        yield [_KEPT, *_mutable(node.outputs())]
    elif kind == "prim::If":
        outputs = list(node.outputs())
        if outputs:
            branches = [list(block.outputs()) for block in node.blocks()]
            for each in zip(outputs, *branches, strict=True):
                yield _mutable(each)
    elif kind == "prim::Loop":
        body = next(node.blocks())
        given = list(node.inputs())[2:]  # behind the number of turns and the condition
        inside, left = list(body.inputs())[1:], list(body.outputs())[1:]
        for each in zip(node.outputs(), given, inside, left, strict=True):
            yield _mutable(each)
    else:
        operator = operator_of(node)
        aliases = operator.aliases
        if aliases is None:
            shared = (each for each in node.outputs() if not (operator.own and _is_plain(each)))
            values = [*node.inputs(), *shared]
            task = subgraph_of(node)
            if task is not None:
                values += [*task.inputs(), *task.outputs()]
            yield _mutable(values)
        elif aliases:
            yield _mutable([*node.outputs(), *(node.inputsAt(index) for index in aliases)])


def _mutable(values: Iterable[Native]) -> list[str]:
    """Returns the names of those values that can be written to, or hold what can."""
    return [value.debugName() for value in values if not _is_immutable(value.type())]


def _is_immutable(kind: Native) -> bool:
    name = kind.kind()
    if name == "OptionalType":
        return _is_immutable(kind.getElementType())
    return name in _IMMUTABLE


def _is_plain(value: Native) -> bool:
    """Returns whether a value is a list of what cannot be written to."""
    kind = value.type()
    return kind.kind() == "ListType" and _is_immutable(kind.getElementType())


class _Groups:
    """Names in groups, which grow together."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def join(self, names: list[str]) -> None:
        """Makes one group of the groups of some names."""
        for name in names[1:]:
            one, other = self._top(names[0]), self._top(name)
            if one != other:
                self._above[other] = one

    def same(self, one: str, other: str) -> bool:
        """Returns whether two names are in one group."""
        return self._top(one) == self._top(other)

    def _top(self, name: str) -> str:
        above = self._above
        while (next_name := above.get(name)) is not None:
            further = above.get(next_name)
            if further is not None:
                above[name] = further
            name = next_name
        return name
