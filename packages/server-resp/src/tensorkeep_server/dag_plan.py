"""What a DAG asks for: from its arguments to a plan with numbered slots, before anything runs.

Pure: how each kind of operation is read, and how what is stored is found, is given. Names end here.
Every value that a name takes on has a slot of its own, so an operation sees the value that was
current where it stands, and nothing but PERSIST touches a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeAlias, TypeVar

from tensorkeep.graph import Graph, Operation
from tensorkeep_server.args import Args, keyword, parse_integer, text
from tensorkeep_server.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorkeep.model import Model
    from tensorkeep.tensor import Tensor
    from tensorkeep_server.codec import Argument
    from tensorkeep_server.commands.tensors import Form

_S = TypeVar("_S")

SEPARATOR: Final = b"|>"

_OPTIONS: Final = {b"LOAD", b"PERSIST", b"ROUTING", b"TIMEOUT"}
_NO_KEY_OPTION: Final = (
    "ERR AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of"
    " ROUTING, LOAD, PERSIST keywords"
)
_UNKNOWN: Final = -1  # the slot of a name that was neither loaded nor produced


class Dialect(NamedTuple, Generic[_S]):
    """What one of the commands takes, and how it finds what is stored.

    Attributes:
        arity: The error for too few arguments.
        at_least: Fewest arguments, without the command's name.
        read_only: Whether PERSIST is refused.
        needs_key_option: Whether one of LOAD, PERSIST and ROUTING must be given.
        load: Returns the tensor under a key of a store, or raises.
        readers: What reads an operation and adds it to the draft, by its name as a keyword.
    """

    arity: str
    at_least: int
    read_only: bool
    needs_key_option: bool
    load: Callable[[_S, bytes], Tensor]
    readers: Mapping[bytes, Callable[[Args, Draft[_S]], None]]


class Shown(NamedTuple):
    """A tensor that is to be answered.

    Attributes:
        slot: Its slot; empty if the tensor was never produced.
        form: What is shown of it.
    """

    slot: int
    form: Form


# What was asked for: a model's run, by the index of the operation in the graph; a tensor to answer;
# or None for a tensor that was taken from the request and needs nothing more.
Step: TypeAlias = "int | Shown | None"


class Plan(NamedTuple):
    """A DAG that is ready to run.

    Attributes:
        graph: What runs.
        given: What is in the graph's first slots; some may be left empty.
        steps: What was asked for, in order; each has one element in the reply.
        persisted: Keys, and the slots of the tensors to store there when all went well.
        timeout_ms: Milliseconds after which no model is started any more; none when not positive.
    """

    graph: Graph
    given: Sequence[Tensor | None]
    steps: Sequence[Step]
    persisted: Sequence[tuple[bytes, int]]
    timeout_ms: int


def read_dag(args: Args, dialect: Dialect[_S], store: _S) -> Plan:
    """Reads all of a DAG.

    Args:
        args: Stands behind the command's name.
        dialect: What the command takes.
        store: Where it finds what is stored.

    Raises:
        CommandError: The first thing that is wrong: options before operations, operations before
            names, and within each from left to right.
    """
    begin = args.at
    try:
        return _read(args, dialect, store)
    except CommandError:
        # Like every keyword, a separator ends at a NUL. But data may begin so as well: whatever
        # does not begin like one of them is only taken for one where it makes no sense otherwise.
        items = [SEPARATOR if item[:3] == b"|>\0" else item for item in args.items]
        if items == args.items:
            raise
        return _read(Args(items, begin), dialect, store)


def _read(args: Args, dialect: Dialect[_S], store: _S) -> Plan:
    draft = Draft(store)
    _read_options(args, dialect, draft)
    at, last = args.at, len(args.items) - 1
    if at <= last and args.items[last] == SEPARATOR:
        raise _unexpected(SEPARATOR)
    if dialect.needs_key_option and not draft.has_key_option:
        raise CommandError(_NO_KEY_OPTION)
    if at > last:
        raise CommandError("ERR DAG is empty")
    items = [*args.items, SEPARATOR]
    readers = dialect.readers
    while at <= last:
        end = items.index(SEPARATOR, at + 1)
        name = items[at + 1]
        reader = readers.get(name) if type(name) is bytes else None
        if reader is None:
            reader = readers.get(keyword(name))
            if reader is None:
                raise CommandError("Unsupported command within DAG")
        reader(Args(items[at + 1 : end]), draft)
        at = end
    return draft.plan()
