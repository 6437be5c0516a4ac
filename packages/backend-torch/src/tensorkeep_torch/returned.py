"""What the `forward` of a TorchScript module returns, counted as in RedisAI and beyond.

Each tensor is one output. Beyond RedisAI, where such models could be stored and never run: tuples,
lists and dicts may lie in one another, the outputs of a dict have the names of its keys, None in a
fixed place is no output, and a model that returns something else is refused.

Lists and dicts are counted in the graph: what it does not say of their lengths and keys before any
run is not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep.errors import ModelRejected
from tensorkeep_torch.output_kinds import unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tensorkeep_torch.internals import Native

    Pick: TypeAlias = Callable[[Any], Iterator[object]]

_OUTPUTS: Final = "Erorr while trying to retrive model outputs number: std::exception: {}"
_NO_LENGTH: Final = "forward returns a list, and its code does not say how long it is"
_NO_KEYS: Final = "forward returns a dict, and its code does not say which keys it has"
_NOTHING: Final = "forward returns no tensor"
_NO_TENSOR: Final = "forward returns a value of type {}, which is no tensor"

_APPEND, _SET_ITEM, _RETURN = "aten::append", "aten::_set_item", "prim::Return"
# What looks at a list or dict and leaves it as it is.
_READS: Final = frozenset(
    ("aten::__contains__", "aten::__getitem__", "aten::cat", "aten::len", "aten::stack")
)
_CONTAINERS: Final = frozenset(("DictType", "ListType"))
_MADE_BY: Final = {"ListType": "prim::ListConstruct", "DictType": "prim::DictConstruct"}
# What may hold the list or dict that is returned.
_HOLDERS: Final = frozenset(
    (_RETURN, _APPEND, _SET_ITEM, "prim::TupleConstruct", *_MADE_BY.values())
)


@dataclass(frozen=True, slots=True)
class Returned:
    """What a method returns, or a part of that.

    Attributes:
        names: Names of the outputs; empty ones where there are none.
        pick: Gives the outputs of a value that was returned.
        optional: Positions of the outputs that may be None.
    """

    names: tuple[str, ...]
    pick: Pick
    optional: tuple[int, ...] = ()


def returned_of(forward: Native, graph: Native) -> Returned:
    """Returns what a method returns.

    Args:
        forward: The method.
        graph: Its graph, with all that it calls in place.

    Raises:
        ModelRejected: It is no tensor, of a kind that cannot be taken over, or its code does not
            say how many tensors there are.
    """
    (returned,) = forward.schema.returns
    (value,) = graph.outputs()
    found = _Reader(list(graph.nodes())).read("", returned.type, value)
    if not found.names:
        raise ModelRejected(_OUTPUTS.format(_NOTHING))
    return found


class _Reader:
    """Reads what values of a graph are made of.

    Args:
        nodes: The nodes of the graph that run in any case, each once and in this order.
    """

    def __init__(self, nodes: Sequence[Native]) -> None:
        self._nodes = nodes

    def read(self, name: str, kind: Native, value: Native) -> Returned:
        """Returns what a value is made of.

        Args:
            name: The name of an output that it is.
            kind: Its type.
            value: The value, None where the graph does not show it.
        """
        read = _READERS.get(kind.kind())
        if read is None:
            raise ModelRejected(_OUTPUTS.format(_NO_TENSOR.format(kind.annotation_str)))
        return read(self, name, kind, value)

    def _tensor(self, name: str, _: Native, value: Native) -> Returned:
        reason = unsupported(value)
        if reason is not None:
            raise ModelRejected(_OUTPUTS.format(f"forward returns {reason}"))
        return Returned((name,), lambda tensor: iter((tensor,)))

    def _none(self, *_: object) -> Returned:
        return Returned((), lambda _: iter(()))

    def _optional(self, name: str, kind: Native, value: Native) -> Returned:
        if value is not None and value.type().kind() == "NoneType":
            return self._none()
        return _or_none(self.read(name, kind.getElementType(), value))

    def _tuple(self, name: str, kind: Native, value: Native) -> Returned:
        members: list[Native] = [None] * len(kind.elements())
        if value is not None and value.node().kind() == "prim::TupleConstruct":
            members = list(value.node().inputs())
        parts = [
            self.read(_below(name, index), each, member)
            for index, (each, member) in enumerate(zip(kind.elements(), members, strict=True))
        ]
        return _in_order(parts)

    def _list(self, name: str, kind: Native, value: Native) -> Returned:
        if not _is_made_here(value, "ListType"):
            raise ModelRejected(_OUTPUTS.format(_NO_LENGTH))
        appended = self._changes(value, _APPEND, _NO_LENGTH)
        members = [*value.node().inputs(), *(node.inputsAt(1) for node in appended)]
        element = kind.getElementType()
        return _in_order(
            [self.read(_below(name, index), element, each) for index, each in enumerate(members)]
        )

    def _dict(self, name: str, kind: Native, value: Native) -> Returned:
        if not _is_made_here(value, "DictType"):
            raise ModelRejected(_OUTPUTS.format(_NO_KEYS))
        given = list(value.node().inputs())
        pairs = [*zip(given[::2], given[1::2], strict=True)]
        changes = self._changes(value, _SET_ITEM, _NO_KEYS)
        pairs += [(node.inputsAt(1), node.inputsAt(2)) for node in changes]
        members: dict[object, Native] = {}  # a key keeps its place when it is set again
        for key, member in pairs:
            constant = key.toIValue()
            if constant is None:
                raise ModelRejected(_OUTPUTS.format(_NO_KEYS))
            members[constant] = member
        element = kind.getValueType()
        return _by_key(
            {
                key: self.read(_below(name, key, named=True), element, member)
                for key, member in members.items()
            }
        )

    def _changes(self, value: Native, change: str, otherwise: str) -> list[Native]:
        """Returns the nodes that change a list or dict, if they run in any case, and no others do.

        Raises:
            ModelRejected: Something else may change it.
        """
        name = value.debugName()
        found = [
            node
            for node in self._nodes
            if node.kind() == change and node.inputsAt(0).debugName() == name
        ]
        users = [use.user for use in value.uses()]
        changes = [node for node in users if node.kind() == change]
        kept = [node.kind() for node in users if node.kind() != change and not _only_reads(node)]
        # Once in what is returned: what else holds it might change it as well.
        if len(changes) != len(found) or len(kept) != 1 or kept[0] not in _HOLDERS:
            raise ModelRejected(_OUTPUTS.format(otherwise))
        return found


_READERS: Final[Mapping[str, Callable[[_Reader, str, Native, Native], Returned]]] = {
    "DictType": _Reader._dict,  # noqa: SLF001 - its own table
    "ListType": _Reader._list,  # noqa: SLF001
    "NoneType": _Reader._none,  # noqa: SLF001
    "OptionalType": _Reader._optional,  # noqa: SLF001
    "TensorType": _Reader._tensor,  # noqa: SLF001
    "TupleType": _Reader._tuple,  # noqa: SLF001
}


def _only_reads(node: Native) -> bool:
    """Returns whether a node leaves a list or dict as it is, and whatever lies in it."""
    kinds = [each.type().kind() for each in node.outputs()]
    return node.kind() in _READS and not _CONTAINERS.intersection(kinds)


def _is_made_here(value: Native, kind: str) -> bool:
    if value is None:
        return False
    node = value.node()
    # `OrderedDict()`: an empty one, as far as torch is concerned.
    empty = node.kind() == "aten::dict" and not list(node.inputs())
    return bool(node.kind() == _MADE_BY[kind]) or empty


def _below(name: str, key: object, *, named: bool = False) -> str:
    """Returns the name of a member; members of what has no name have none, but those of dicts."""
    if not name:
        return str(key) if named else ""
    return f"{name}.{key}"


# --------------------------------------------------------------------------- picking
def _or_none(part: Returned) -> Returned:
    """Returns a part that may be None: then each of its outputs is."""
    missing = (None,) * len(part.names)

    def pick(value: Any) -> Iterator[object]:  # noqa: ANN401 - None, or what the part is made of
        return iter(missing) if value is None else part.pick(value)

    return Returned(part.names, pick, tuple(range(len(missing))))


def _in_order(parts: Sequence[Returned]) -> Returned:
    picks = [part.pick for part in parts]

    def pick(value: Any) -> Iterator[object]:  # noqa: ANN401 - a tuple or a list
        for each, member in zip(picks, value, strict=True):
            yield from each(member)

    return _joined(parts, pick)


def _by_key(parts: Mapping[object, Returned]) -> Returned:
    picks = {key: part.pick for key, part in parts.items()}

    def pick(value: Any) -> Iterator[object]:  # noqa: ANN401 - a dict
        for key, each in picks.items():
            yield from each(value[key])

    return _joined(list(parts.values()), pick)


def _joined(parts: Sequence[Returned], pick: Pick) -> Returned:
    starts = [0, *accumulate(len(part.names) for part in parts)]
    return Returned(
        tuple(chain.from_iterable(part.names for part in parts)),
        pick,
        tuple(
            start + position
            for start, part in zip(starts, parts, strict=False)
            for position in part.optional
        ),
    )
