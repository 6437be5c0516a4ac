"""What a DAG asks for: from its arguments to a plan with numbered slots, before anything runs.

Pure: how each kind of operation is read, and how what is stored is found, is given. Names end here.
Every value that a name takes on has a slot of its own, so an operation sees the value that was
current where it stands, and nothing but PERSIST touches a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from tensorkeep.commands.args import Args, keyword, parse_integer, text
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.set_options import ALWAYS, read_options
from tensorkeep.errors import KeyMissing
from tensorkeep.graph import Graph, Operation
from tensorkeep_server.bounds import check_names, check_operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.set_options import Storing
    from tensorkeep.hookspecs import ScriptCall
    from tensorkeep.model import Runnable
    from tensorkeep.tensor import DType, Tensor
    from tensorkeep_server.wire_tensor import Form

_S = TypeVar("_S")

Place: TypeAlias = tuple[int, int]
"""Where an operation stands in a request: the index of the separator behind it, and its length."""
Ready: TypeAlias = "Callable[[], Tensor]"
"""Returns a tensor that was read, or raises the error for it."""

Reader: TypeAlias = "Callable[[Sequence[Argument], Draft[_S]], None]"

SEPARATOR: Final = b"|>"

_NO_KEY_OPTION: Final = (
    "ERR AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of"
    " ROUTING, LOAD, PERSIST keywords"
)


class Dialect(NamedTuple, Generic[_S]):
    """What one of the commands takes, and how it finds what is stored.

    Attributes:
        name: The command's name.
        arity: The error for too few arguments.
        at_least: Fewest arguments, without the command's name.
        read_only: Whether PERSIST is refused.
        needs_key_option: Whether one of LOAD, PERSIST and ROUTING must be given.
        load: Returns the tensor under a key of a store, or raises.
        readers: What reads an operation and adds it to the draft, by its name as a keyword.
    """

    name: str
    arity: str
    at_least: int
    read_only: bool
    needs_key_option: bool
    load: Callable[[_S, bytes], Tensor]
    readers: Mapping[Argument, Reader[_S]]


class Plan(NamedTuple):
    """A DAG that is ready to run.

    Attributes:
        graph: What runs.
        given: What is in the graph's first slots.
        size: Number of operations in the request; each has one element in the reply.
        ran: Places among them: of the operations in the graph, in their order.
        shown: Places, each with the slot of the tensor to answer there and what is shown of it; the
            slot stays empty if no model produces the tensor. Other places are always well.
        persisted: Keys, and the slots of the tensors to store there when all went well.
        storing: On what terms they are stored.
        timeout_ms: Milliseconds after which no model is started any more; none when not positive.
    """

    graph: Graph
    given: Sequence[Tensor]
    size: int
    ran: Sequence[int]
    shown: Sequence[tuple[int, int, Form]]
    persisted: Sequence[tuple[bytes, int]]
    storing: Storing
    timeout_ms: int


class Datum(NamedTuple):
    """Where the data of a tensor stands in a request.

    Attributes:
        place: The argument's index.
        slot: The slot that the tensor fills.
        dtype: The tensor's type.
        shape: Its sizes.
    """

    place: int
    slot: int
    dtype: DType
    shape: tuple[int, ...]


class Origins(NamedTuple):
    """What a plan was made from, beside words.

    Attributes:
        data: The tensors whose data stands in the request.
        loaded: Slots, each with the key whose tensor fills it.
        models: The key of each operation's model.
    """

    data: Sequence[Datum]
    loaded: Sequence[tuple[int, bytes]]
    models: Sequence[bytes]


def read_dag(
    args: Args, dialect: Dialect[_S], store: _S, ready: Mapping[Place, Ready] | None = None
) -> tuple[Plan, Origins]:
    """Reads all of a DAG.

    Args:
        args: Stands behind the command's name.
        dialect: What the command takes.
        store: Where it finds what is stored.
        ready: See `Draft.ready`.

    Returns:
        The plan, and what it was made from.

    Raises:
        CommandError: The first thing that is wrong: options before operations, operations before
            names, and within each from left to right.
    """
    begin, items = args.at, args.items
    ready = ready or {}
    try:
        return _read(args, dialect, store, ready)
    except (CommandError, KeyMissing):
        # Like every keyword, a separator ends at a NUL; but data may begin like that as well. So
        # what goes on after the NUL is only taken for a separator where nothing else makes sense.
        if all(item[:3] != b"|>\0" for item in items):
            raise
    plain = [SEPARATOR if item[:3] == b"|>\0" else item for item in items]
    return _read(Args(plain, begin), dialect, store, ready)


def _read(
    args: Args, dialect: Dialect[_S], store: _S, ready: Mapping[Place, Ready]
) -> tuple[Plan, Origins]:
    draft = Draft(store, ready)
    named, at = _read_options(args, dialect, draft)
    items = args.items
    size = len(items)
    if at < size and items[-1] == SEPARATOR:
        raise _unexpected(SEPARATOR)
    if dialect.needs_key_option and named <= {b"TIMEOUT"}:
        raise CommandError(_NO_KEY_OPTION)
    if at == size:
        raise CommandError("ERR DAG is empty")
    items = [*items, SEPARATOR]
    check_operations(items.count(SEPARATOR) - 1)
    readers = dialect.readers
    while at < size:
        end = items.index(SEPARATOR, at + 1)
        op = items[at + 1 : end]
        at = draft.end = end
        try:
            reader = readers[op[0]]
        except (IndexError, KeyError, TypeError):
            reader = _reader(op, readers)
        reader(op, draft)
    return draft.plan(), draft.origins()


def _reader(op: Sequence[Argument], readers: Mapping[Argument, Reader[_S]]) -> Reader[_S]:
    """Returns what reads an operation whose name is not spelled in the usual way, or missing."""
    reader = readers.get(keyword(op[0])) if op else None
    if reader is None:
        raise CommandError("Unsupported command within DAG")
    return reader


# --------------------------------------------------------------------------- options
def _read_options(args: Args, dialect: Dialect[_S], draft: Draft[_S]) -> tuple[set[bytes], int]:
    """Reads what stands before the first separator; returns the options' names and its place."""
    items = args.items
    size = len(items)
    named: set[bytes] = set()
    while (at := args.at) < size:
        word = bytes(items[at])
        if word == SEPARATOR:
            break
        read = _OPTIONS.get(word)
        if read is None:
            word = keyword(word)
            read = _OPTIONS.get(word)
        if read is None or word in named:
            raise _unexpected(items[at])
        named.add(word)
        args.at = at + 1
        read(args, dialect, draft)
    return named, at


def _read_load(args: Args, dialect: Dialect[_S], draft: Draft[_S]) -> None:
    """Reads the keys of LOAD and looks each up: one that is missing wins over too few."""
    for _ in range(_read_count(args, "LOAD")):
        if not len(args):
            raise CommandError(
                "ERR number of keys to LOAD into DAG does not match the number of given arguments"
            )
        key = args.take()
        draft.load(key, dialect.load(draft.store, key))


def _read_persist(args: Args, dialect: Dialect[_S], draft: Draft[_S]) -> None:
    if dialect.read_only:
        raise CommandError("ERR PERSIST cannot be specified in a read-only DAG")
    for _ in range(_read_count(args, "PERSIST")):
        if not len(args):
            raise CommandError(
                "ERR number of keys to PERSIST after DAG execution does not match"
                " the number of given arguments"
            )
        name = args.take()
        if name in draft.persisted:
            raise CommandError("ERR PERSIST keys must be unique")
        draft.persisted[name] = None
    draft.storing = read_options(args).storing(dialect.name)


def _read_count(args: Args, word: str) -> int:
    if len(args) < 2:  # noqa: PLR2004 - the count and one key
        raise CommandError(f"ERR missing arguments after {word} keyword in DAG command")
    count = parse_integer(args.take())
    if count is None or count <= 0:
        raise CommandError(f"ERR invalid or negative value found in number of keys to {word}")
    check_names(min(count, len(args)), word)
    return count


def _read_routing(args: Args, _: Dialect[_S], __: Draft[_S]) -> None:
    """Skips the value, whatever it is: only a cluster would need it."""
    args.at += 1
    if args.at > len(args.items):
        raise CommandError("ERR Missing ROUTING value")


def _read_timeout(args: Args, _: Dialect[_S], draft: Draft[_S]) -> None:
    if not len(args):
        raise CommandError("ERR No value provided for TIMEOUT")
    draft.timeout_ms = args.take_integer("ERR Invalid value for TIMEOUT")


def _unexpected(word: Argument) -> CommandError:
    return CommandError(f"ERR Invalid DAG command. Unexpected argument:  {text(word)}")


_OPTIONS: Final[dict[bytes, Callable[[Args, Dialect[Any], Draft[Any]], None]]] = {
    b"LOAD": _read_load,
    b"PERSIST": _read_persist,
    b"ROUTING": _read_routing,
    b"TIMEOUT": _read_timeout,
}


# --------------------------------------------------------------------------- operations
class Draft(Generic[_S]):
    """A plan in the making: operations are added in their order, and their names become slots.

    Args:
        store: Where readers of operations find what is stored.
        ready: See the attributes.

    Attributes:
        store: See above.
        ready: Tensors that were read before, because to read them takes long, by the place of
            their operations.
        end: Place of the separator behind the operation that is being read.
        persisted: Names whose values at the end are to be stored, each once.
        storing: See `Plan.storing`.
        timeout_ms: See `Plan.timeout_ms`.
    """

    __slots__ = (
        "_data",
        "_free",
        "_given",
        "_last",
        "_loaded",
        "_models",
        "_operations",
        "_ran",
        "_shown",
        "_size",
        "_slots",
        "_unknown",
        "end",
        "persisted",
        "ready",
        "store",
        "storing",
        "timeout_ms",
    )

    def __init__(self, store: _S, ready: Mapping[Place, Ready]) -> None:
        self.store = store
        self.ready = ready
        self.persisted: dict[bytes, None] = {}
        self.storing = ALWAYS
        self.timeout_ms = 0
        self._given: list[Tensor] = []
        self._free = -1  # the next slot for what models return
        self._slots: dict[bytes, int] = {}  # by name, at this point
        self._size = 0
        self._operations: list[Operation] = []
        self._ran: list[int] = []
        self._shown: list[tuple[int, int, Form]] = []
        # A device does the operations of one request in their order, as in the original: so it is
        # certain which of them have not run after a failure. Devices do not wait for each other.
        self._last: dict[str, int] = {}
        self._unknown = False
        self.end = 0
        self._data: list[Datum] = []
        self._loaded: list[tuple[int, bytes]] = []
        self._models: list[bytes] = []

    def load(self, name: bytes, tensor: Tensor) -> None:
        """Gives a name the value of the key of the same name."""
        self._loaded.append((len(self._given), name))
        self._slots[name] = len(self._given)
        self._given.append(tensor)

    def put(self, name: bytes, tensor: Tensor, *, ends_in_data: bool) -> None:
        """Gives a name a value; an operation, unlike LOAD.

        Args:
            name: The name.
            tensor: Its value from here on.
            ends_in_data: Whether the operation's last argument is the tensor's data.
        """
        slot = len(self._given)
        if ends_in_data:
            self._data.append(Datum(self.end - 1, slot, tensor.dtype, tensor.shape))
        self._slots[name] = slot
        self._given.append(tensor)
        self._size += 1

    def get(self, name: bytes, form: Form) -> None:
        """Returns the value that a name has here."""
        slot = self._slots.get(name)
        if slot is None:
            self._unknown = True
        else:
            self._shown.append((self._size, slot, form))
        self._size += 1

    def execute(
        self,
        key: bytes,
        runnable: Runnable,
        inputs: Sequence[bytes],
        outputs: Sequence[bytes],
        call: ScriptCall | None = None,
    ) -> None:
        """Runs a model or script on the values that names have here; names what it returns.

        Args:
            key: The key of the model or script.
            runnable: The model or script.
            inputs: Names of what it is given.
            outputs: Names for what it returns.
            call: What a script is asked for, without the tensors.
        """
        slots = self._slots
        try:
            reads = tuple(map(slots.__getitem__, inputs))
        except KeyError:
            self._unknown = True
            reads = ()
        operations = self._operations
        # Counted from the end: how many slots the request fills is not known yet.
        first = slot = self._free
        for name in outputs:
            slots[name] = slot
            slot -= 1
        self._free = slot
        queue = runnable.spec.device.queue
        after = self._last.get(queue, -1)
        self._last[queue] = len(operations)
        operations.append(Operation(runnable, reads, tuple(range(first, slot, -1)), after, call))
        self._models.append(key)
        self._ran.append(self._size)
        self._size += 1

    def plan(self) -> Plan:
        """Returns the plan.

        Raises:
            CommandError: A name has no value where it is used.
        """
        if self._unknown:
            raise CommandError("ERR INPUT key cannot be found in DAG")
        persisted = []
        for name in self.persisted:
            slot = self._slots.get(name)
            if slot is None:
                raise CommandError("ERR PERSIST key cannot be found in DAG")
            persisted.append((name, slot))
        given = self._given
        graph = Graph(tuple(self._operations), len(given), len(given) - self._free - 1)
        return Plan(
            graph,
            given,
            self._size,
            self._ran,
            self._shown,
            persisted,
            self.storing,
            self.timeout_ms,
        )

    def origins(self) -> Origins:
        """Returns what the plan was made from, beside words."""
        return Origins(self._data, self._loaded, self._models)
