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
        # Like every keyword, a separator ends at a NUL; but data may begin like that as well. So
        # what goes on after the NUL is only taken for a separator where nothing else makes sense.
        if all(item[:3] != b"|>\0" for item in args.items):
            raise
    items = [SEPARATOR if item[:3] == b"|>\0" else item for item in args.items]
    return _read(Args(items, begin), dialect, store)


def _read(args: Args, dialect: Dialect[_S], store: _S) -> Plan:
    named, loaded, persisted, timeout_ms = _read_options(args, dialect, store)
    at, size = args.at, len(args.items)
    if at < size and args.items[-1] == SEPARATOR:
        raise _unexpected(SEPARATOR)
    if dialect.needs_key_option and not (loaded or persisted or b"ROUTING" in named):
        raise CommandError(_NO_KEY_OPTION)
    if at == size:
        raise CommandError("ERR DAG is empty")
    items = [*args.items, SEPARATOR]
    draft = Draft(store, loaded, items.count(SEPARATOR))
    readers = dialect.readers
    while at < size:
        end = items.index(SEPARATOR, at + 1)
        name = items[at + 1]
        reader = readers.get(name) if type(name) is bytes else None
        reader = reader or readers.get(keyword(name))
        if reader is None:
            raise CommandError("Unsupported command within DAG")
        reader(Args(items[at + 1 : end]), draft)
        at = end
    return draft.plan(persisted, timeout_ms)


# --------------------------------------------------------------------------- options
def _read_options(
    args: Args, dialect: Dialect[_S], store: _S
) -> tuple[set[bytes], Mapping[bytes, Tensor], Iterable[bytes], int]:
    """Reads what stands before the first separator, which is left where it is.

    Returns:
        The options' names, what was loaded, what is to be persisted, and the timeout.
    """
    named: set[bytes] = set()
    loaded: Mapping[bytes, Tensor] = {}
    persisted: Iterable[bytes] = ()
    timeout_ms = 0
    items = args.items
    last = len(items) - 1
    while args.at <= last:
        item = items[args.at]
        if item == SEPARATOR and args.at < last:
            break
        word = item if type(item) is bytes and item in _OPTIONS else keyword(item)
        if word == b"PERSIST" and dialect.read_only:
            raise CommandError("ERR PERSIST cannot be specified in a read-only DAG")
        if word not in _OPTIONS or word in named:
            raise _unexpected(item)
        named.add(word)
        args.at += 1
        match word:
            case b"LOAD":
                loaded = _read_loaded(args, dialect, store)
            case b"PERSIST":
                persisted = _read_persisted(args)
            case b"ROUTING":
                _read_value(args, "ERR Missing ROUTING value")
            case _:
                timeout = parse_integer(_read_value(args, "ERR No value provided for TIMEOUT"))
                if timeout is None:
                    raise CommandError("ERR Invalid value for TIMEOUT")
                timeout_ms = timeout
    return named, loaded, persisted, timeout_ms


def _read_loaded(args: Args, dialect: Dialect[_S], store: _S) -> Mapping[bytes, Tensor]:
    """Reads the keys of LOAD and looks each up: one that is missing wins over too few."""
    loaded: dict[bytes, Tensor] = {}
    for _ in range(_read_count(args, "LOAD")):
        if not len(args):
            raise CommandError(
                "ERR number of keys to LOAD into DAG does not match the number of given arguments"
            )
        key = args.take()
        loaded[key] = dialect.load(store, key)
    return loaded


def _read_persisted(args: Args) -> Iterable[bytes]:
    names: dict[bytes, None] = {}
    for _ in range(_read_count(args, "PERSIST")):
        if not len(args):
            raise CommandError(
                "ERR number of keys to PERSIST after DAG execution does not match"
                " the number of given arguments"
            )
        name = args.take()
        if name in names:
            raise CommandError("ERR PERSIST keys must be unique")
        names[name] = None
    return names


def _read_count(args: Args, word: str) -> int:
    if len(args) < 2:  # noqa: PLR2004 - the count and one key
        raise CommandError(f"ERR missing arguments after {word} keyword in DAG command")
    count = parse_integer(args.take())
    if count is None or count <= 0:
        raise CommandError(f"ERR invalid or negative value found in number of keys to {word}")
    return count


def _read_value(args: Args, missing: str) -> bytes:
    """Takes the value of an option, whatever it is."""
    if not len(args):
        raise CommandError(missing)
    return args.take()


def _unexpected(word: Argument) -> CommandError:
    return CommandError(f"ERR Invalid DAG command. Unexpected argument:  {text(word)}")


# --------------------------------------------------------------------------- operations
class Draft(Generic[_S]):
    """A plan in the making: operations are added in their order, and their names become slots.

    Args:
        store: Where readers of operations find what is stored.
        loaded: The tensors that were loaded, by name.
        most: Most operations that will be added.

    Attributes:
        store: See above.
    """

    __slots__ = (
        "_first",
        "_free",
        "_given",
        "_last",
        "_operations",
        "_slots",
        "_steps",
        "_unknown",
        "store",
    )

    def __init__(self, store: _S, loaded: Mapping[bytes, Tensor], most: int) -> None:
        self.store = store
        self._given: list[Tensor | None] = [*loaded.values()]
        self._slots = dict(zip(loaded, range(len(loaded)), strict=True))
        # Values from the request stand before those that models return: room for all there can be.
        self._first = self._free = len(loaded) + most
        self._steps: list[Step] = []
        self._operations: list[Operation] = []
        # A device does the operations of one request in their order, as in the original: so it is
        # certain which of them have not run after a failure. Devices do not wait for each other.
        self._last: dict[str, int] = {}
        self._unknown = False

    def put(self, name: bytes, tensor: Tensor) -> None:
        """Gives a name a value that came with the request."""
        self._slots[name] = len(self._given)
        self._given.append(tensor)
        self._steps.append(None)

    def get(self, name: bytes, form: Form) -> None:
        """Answers the value that a name has here."""
        slot = self._slots.get(name, _UNKNOWN)
        if slot == _UNKNOWN:
            self._unknown = True
        self._steps.append(Shown(slot, form))

    def execute(self, model: Model, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> None:
        """Runs a model on the values that names have here, and gives names what it returns."""
        slots = self._slots
        reads = tuple([slots.get(name, _UNKNOWN) for name in inputs])
        if _UNKNOWN in reads:
            self._unknown = True
        free = self._free
        for name in outputs:
            slots[name] = self._free
            self._free += 1
        index = len(self._operations)
        queue = model.spec.device.queue
        after = self._last.get(queue, -1)
        self._operations.append(Operation(model, reads, tuple(range(free, self._free)), after))
        self._last[queue] = index
        self._steps.append(index)

    def plan(self, persisted: Iterable[bytes], timeout_ms: int) -> Plan:
        """Returns the plan.

        Args:
            persisted: Names whose values at the end are to be stored.
            timeout_ms: See `Plan.timeout_ms`.

        Raises:
            CommandError: A name has no value where it is used.
        """
        if self._unknown:
            raise CommandError("ERR INPUT key cannot be found in DAG")
        pairs = []
        for name in persisted:
            slot = self._slots.get(name)
            if slot is None:
                raise CommandError("ERR PERSIST key cannot be found in DAG")
            pairs.append((name, slot))
        given = self._given
        given += [None] * (self._first - len(given))
        graph = Graph(tuple(self._operations), self._first, self._free)
        return Plan(graph, given, self._steps, pairs, timeout_ms)
