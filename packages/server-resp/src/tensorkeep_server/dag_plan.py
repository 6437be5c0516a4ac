"""What a DAG asks for: from its arguments to a plan with numbered slots, before anything runs.

Pure: what is stored is looked up by functions that are given, and so is each kind of operation
read. Names end here. Every value that a name takes on has a slot of its own, so an operation sees
the value that was current where it stands, and nothing but PERSIST touches a key.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tensorkeep.graph import Graph, Operation
from tensorkeep_server.args import Args, keyword, parse_integer, text
from tensorkeep_server.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorkeep.model import Model, Script
    from tensorkeep.tensor import Tensor
    from tensorkeep_server.codec import Argument
    from tensorkeep_server.reply import Reply

SEPARATOR: Final = b"|>"

_OPTIONS: Final = {b"LOAD", b"PERSIST", b"ROUTING", b"TIMEOUT"}
_KEY_OPTIONS: Final = {b"LOAD", b"PERSIST", b"ROUTING"}
_NO_KEY_OPTION: Final = (
    "ERR AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of"
    " ROUTING, LOAD, PERSIST keywords"
)
_UNKNOWN: Final = -1  # the slot of a name that was neither loaded nor produced


class Stored(NamedTuple):
    """Where a DAG finds what is stored; each function raises when it is not there.

    Attributes:
        tensor: Returns the tensor under a key.
        model: Returns the model under a key.
        script: Returns the script under a key.
        max_bytes: Most bytes that a tensor without data may have.
    """

    tensor: Callable[[bytes], Tensor]
    model: Callable[[bytes], Model]
    script: Callable[[bytes], Script]
    max_bytes: int


Reader: TypeAlias = "Callable[[Args, Draft], None]"


class Dialect(NamedTuple):
    """What one of the commands takes.

    Attributes:
        arity: The error for too few arguments.
        at_least: Fewest arguments, without the command's name.
        read_only: Whether PERSIST is refused.
        needs_key_option: Whether one of LOAD, PERSIST and ROUTING must be given.
        readers: What reads an operation and adds it to the draft, by its name as a keyword.
    """

    arity: str
    at_least: int
    read_only: bool
    needs_key_option: bool
    readers: Mapping[bytes, Reader]


class Shown(NamedTuple):
    """A tensor that is to be answered.

    Attributes:
        slot: Its slot; empty if the tensor was never produced.
        show: Makes the reply of it.
    """

    slot: int
    show: Callable[[Tensor], Reply]


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


def read_dag(args: Args, dialect: Dialect, stored: Stored) -> Plan:
    """Reads all of a DAG.

    Args:
        args: Stands behind the command's name.
        dialect: What the command takes.
        stored: Where keys are looked up.

    Raises:
        CommandError: The first thing that is wrong: options before operations, operations before
            names, and within each from left to right.
    """
    options = _read_options(args, stored.tensor, read_only=dialect.read_only)
    items = args.items
    starts = _separators(items, args.at)
    if starts and starts[-1] == len(items) - 1:
        raise _unexpected(items[-1])
    if dialect.needs_key_option and _KEY_OPTIONS.isdisjoint(options.named):
        raise CommandError(_NO_KEY_OPTION)
    if not starts:
        raise CommandError("ERR DAG is empty")
    draft = Draft(options.loaded, len(starts), stored)
    for start, end in pairwise((*starts, len(items))):
        op = items[start + 1 : end]
        name = op[0] if op else b""
        reader = dialect.readers.get(name) if type(name) is bytes else None
        reader = reader or dialect.readers.get(keyword(name))
        if reader is None:
            raise CommandError("Unsupported command within DAG")
        reader(Args(op), draft)
    return draft.plan(options.persisted, options.timeout_ms)


# --------------------------------------------------------------------------- options
class _Options(NamedTuple):
    named: set[bytes]
    loaded: Mapping[bytes, Tensor]
    persisted: Iterable[bytes]
    timeout_ms: int


def _read_options(args: Args, load: Callable[[bytes], Tensor], *, read_only: bool) -> _Options:
    """Reads what stands before the first separator, which is left where it is."""
    named: set[bytes] = set()
    loaded: Mapping[bytes, Tensor] = {}
    persisted: Iterable[bytes] = ()
    timeout_ms = 0
    items = args.items
    while args.at < len(items):
        item = items[args.at]
        word = item if type(item) is bytes and item in _OPTIONS else keyword(item)
        if word == SEPARATOR and len(args) > 1:
            break
        if word == b"PERSIST" and read_only:
            raise CommandError("ERR PERSIST cannot be specified in a read-only DAG")
        if word not in _OPTIONS or word in named:
            raise _unexpected(item)
        named.add(word)
        args.at += 1
        match word:
            case b"LOAD":
                loaded = _read_loaded(args, load)
            case b"PERSIST":
                persisted = _read_persisted(args)
            case b"ROUTING":
                _read_value(args, "ERR Missing ROUTING value")
            case _:
                timeout = parse_integer(_read_value(args, "ERR No value provided for TIMEOUT"))
                if timeout is None:
                    raise CommandError("ERR Invalid value for TIMEOUT")
                timeout_ms = timeout
    return _Options(named, loaded, persisted, timeout_ms)


def _read_loaded(args: Args, load: Callable[[bytes], Tensor]) -> Mapping[bytes, Tensor]:
    """Reads the keys of LOAD and looks each up: one that is missing wins over too few."""
    loaded: dict[bytes, Tensor] = {}
    for _ in range(_read_count(args, "LOAD")):
        if not len(args):
            raise CommandError(
                "ERR number of keys to LOAD into DAG does not match the number of given arguments"
            )
        key = args.take()
        loaded[key] = load(key)
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
def _separators(items: Sequence[Argument], at: int) -> list[int]:
    """Returns where operations begin: the places of all separators from the first one on."""
    found = [index for index, item in enumerate(items) if item[:2] == SEPARATOR]
    return [index for index in found if index >= at and _separates(items, index)]


def _separates(items: Sequence[Argument], index: int) -> bool:
    """Tells a separator from what only begins like one.

    Like every keyword it ends at a NUL; but data that so begins is data.
    """
    item = items[index]
    return len(item) == len(SEPARATOR) or (
        item[2:3] == b"\0" and keyword(items[index - 1]) != b"BLOB"
    )


class Draft:
    """A plan in the making: operations are added in their order, and their names become slots.

    Args:
        loaded: The tensors that were loaded, by name.
        operations: Most operations that will be added.
        stored: Where readers of operations look up keys.

    Attributes:
        stored: The same.
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
        "stored",
    )

    def __init__(self, loaded: Mapping[bytes, Tensor], operations: int, stored: Stored) -> None:
        self.stored = stored
        self._given: list[Tensor | None] = [*loaded.values()]
        self._slots = {name: slot for slot, name in enumerate(loaded)}
        # Values from the request stand before those that models return: room for all there can be.
        self._first = self._free = len(loaded) + operations
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

    def get(self, name: bytes, show: Callable[[Tensor], Reply]) -> None:
        """Answers the value that a name has here."""
        slot = self._slots.get(name, _UNKNOWN)
        if slot == _UNKNOWN:
            self._unknown = True
        self._steps.append(Shown(slot, show))

    def execute(self, model: Model, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> None:
        """Runs a model on the values that names have here, and gives names what it returns."""
        slots = self._slots
        reads = tuple([slots.get(name, _UNKNOWN) for name in inputs])
        if _UNKNOWN in reads:
            self._unknown = True
        free = self._free
        self._free = end = free + len(outputs)
        writes = tuple(range(free, end))
        slots.update(zip(outputs, writes, strict=True))
        index = len(self._operations)
        queue = model.spec.device.queue
        self._operations.append(Operation(model, reads, writes, self._last.get(queue, -1)))
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
        slots = self._slots
        pairs = [(name, slots.get(name, _UNKNOWN)) for name in persisted]
        if any(slot == _UNKNOWN for _, slot in pairs):
            raise CommandError("ERR PERSIST key cannot be found in DAG")
        given = self._given
        given += [None] * (self._first - len(given))
        graph = Graph(tuple(self._operations), self._first, self._free)
        return Plan(graph, given, self._steps, pairs, timeout_ms)
