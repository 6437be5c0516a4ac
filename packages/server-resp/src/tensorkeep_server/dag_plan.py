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
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.model import Model, Script
    from tensorkeep.tensor import Tensor
    from tensorkeep_server.codec import Argument
    from tensorkeep_server.reply import Reply

SEPARATOR: Final = b"|>"

_NO_OPTION: Final = (
    "ERR AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of"
    " ROUTING, LOAD, PERSIST keywords"
)


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


# --------------------------------------------------------------------------- operations, by names
class Put(NamedTuple):
    """Gives a name a value that came with the request."""

    name: bytes
    tensor: Tensor


class Get(NamedTuple):
    """Answers the value of a name.

    Attributes:
        name: The name.
        show: Makes the reply of the value.
    """

    name: bytes
    show: Callable[[Tensor], Reply]


class Execute(NamedTuple):
    """Runs a model.

    Attributes:
        model: The model.
        inputs: Names of the values that it takes, as many as it has inputs.
        outputs: Names for what it returns, as many as it has outputs.
    """

    model: Model
    inputs: Sequence[bytes]
    outputs: Sequence[bytes]


Op: TypeAlias = "Put | Get | Execute"
Reader: TypeAlias = "Callable[[Args, Stored], Op]"


class Dialect(NamedTuple):
    """What one of the commands takes.

    Attributes:
        arity: The error for too few arguments.
        at_least: Fewest arguments, without the command's name.
        read_only: Whether PERSIST is refused.
        needs_option: Whether one of LOAD, PERSIST and ROUTING must be given.
        readers: The operations, each by its name as a keyword; a reader's cursor stands behind it.
    """

    arity: str
    at_least: int
    read_only: bool
    needs_option: bool
    readers: Mapping[bytes, Reader]


# --------------------------------------------------------------------------- the plan, by slots
class Shown(NamedTuple):
    """A step that answers the tensor in a slot, if there is one."""

    slot: int
    show: Callable[[Tensor], Reply]


class Ran(NamedTuple):
    """A step that is an operation of the graph, by its index."""

    operation: int


Step: TypeAlias = "Put | Shown | Ran"


class Plan(NamedTuple):
    """A DAG that is ready to run.

    Attributes:
        graph: What runs.
        given: The tensors in the graph's first slots.
        steps: What was asked for, in order; each has one element in the reply.
        persisted: Keys, and the slots of the tensors to store there when all went well.
        timeout_ms: Milliseconds after which no model is started any more; none when not positive.
    """

    graph: Graph
    given: list[Tensor]
    steps: list[Step]
    persisted: list[tuple[bytes, int]]
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
    starts = _separators(args.items, args.at)
    if starts and starts[-1] == len(args.items) - 1:
        raise _unexpected(args.items[-1])
    if dialect.needs_option and not options.named & {b"LOAD", b"PERSIST", b"ROUTING"}:
        raise CommandError(_NO_OPTION)
    if not starts:
        raise CommandError("ERR DAG is empty")
    return _link(options, _read_ops(args.items, starts, dialect.readers, stored))


# --------------------------------------------------------------------------- options
class _Options(NamedTuple):
    named: set[bytes]
    loaded: Mapping[bytes, Tensor]
    persisted: Sequence[bytes]
    timeout_ms: int


def _read_options(args: Args, load: Callable[[bytes], Tensor], *, read_only: bool) -> _Options:
    """Reads what stands before the first separator, which is left where it is."""
    named: set[bytes] = set()
    loaded: dict[bytes, Tensor] = {}
    persisted: Sequence[bytes] = ()
    timeout_ms = 0
    while (word := args.peek()) is not None:
        if word == SEPARATOR and len(args) > 1:
            break
        if word == b"PERSIST" and read_only:
            raise CommandError("ERR PERSIST cannot be specified in a read-only DAG")
        if word in named:
            raise _unexpected(args.take())
        match word:
            case b"LOAD":
                _read_loaded(args, load, loaded)
            case b"PERSIST":
                persisted = _read_persisted(args)
            case b"ROUTING":
                _value(args, "ERR Missing ROUTING value")
            case b"TIMEOUT":
                timeout = parse_integer(_value(args, "ERR No value provided for TIMEOUT"))
                if timeout is None:
                    raise CommandError("ERR Invalid value for TIMEOUT")
                timeout_ms = timeout
            case _:
                raise _unexpected(args.take())
        named.add(word)
    return _Options(named, loaded, persisted, timeout_ms)


def _read_loaded(args: Args, load: Callable[[bytes], Tensor], loaded: dict[bytes, Tensor]) -> None:
    """Reads a LOAD, whose keys are looked up one by one: a missing key wins over a missing name."""
    for _ in range(_read_count(args, "LOAD")):
        if not len(args):
            raise CommandError(
                "ERR number of keys to LOAD into DAG does not match the number of given arguments"
            )
        key = args.take()
        loaded[key] = load(key)


def _read_persisted(args: Args) -> Sequence[bytes]:
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
    return list(names)


def _read_count(args: Args, word: str) -> int:
    args.at += 1
    if len(args) < 2:  # noqa: PLR2004 - the count and one key
        raise CommandError(f"ERR missing arguments after {word} keyword in DAG command")
    count = parse_integer(args.take())
    if count is None or count <= 0:
        raise CommandError(f"ERR invalid or negative value found in number of keys to {word}")
    return count


def _value(args: Args, missing: str) -> bytes:
    """Takes the value of an option, whatever it is."""
    args.at += 1
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


def _read_ops(
    items: Sequence[Argument], starts: list[int], readers: Mapping[bytes, Reader], stored: Stored
) -> list[Op]:
    ops: list[Op] = []
    for start, end in pairwise((*starts, len(items))):
        op = items[start + 1 : end]
        name = op[0] if op else b""
        reader = readers.get(name) if type(name) is bytes else None
        reader = reader or readers.get(keyword(name))
        if reader is None:
            raise CommandError("Unsupported command within DAG")
        ops.append(reader(Args(op), stored))
    return ops


# --------------------------------------------------------------------------- names
def _link(options: _Options, ops: Sequence[Op]) -> Plan:
    """Gives every value a slot: what came with the request first, what models return after it."""
    given = list(options.loaded.values())
    slots = {name: slot for slot, name in enumerate(options.loaded)}
    first = free = len(given) + [*map(type, ops)].count(Put)
    steps: list[Step] = []
    operations: list[Operation] = []
    # One device does the operations of one request in their order, as in the original: so it is
    # certain which of them have not run after a failure. Devices do not wait for each other.
    last: dict[str, int] = {}
    for op in ops:
        if isinstance(op, Put):
            slots[op.name] = len(given)
            given.append(op.tensor)
            steps.append(op)
        elif isinstance(op, Get):
            steps.append(Shown(_slot(slots, op.name, "INPUT"), op.show))
        else:
            model, inputs, outputs = op
            reads = tuple([_slot(slots, name, "INPUT") for name in inputs])
            writes = tuple(range(free, free + len(outputs)))
            free += len(outputs)
            slots.update(zip(outputs, writes, strict=True))
            queue = model.spec.device.queue
            steps.append(Ran(len(operations)))
            operations.append(Operation(model, reads, writes, last.get(queue, -1)))
            last[queue] = len(operations) - 1
    persisted = [(name, _slot(slots, name, "PERSIST")) for name in options.persisted]
    graph = Graph(tuple(operations), first, free)
    return Plan(graph, given, steps, persisted, options.timeout_ms)


def _slot(slots: Mapping[bytes, int], name: bytes, kind: str) -> int:
    slot = slots.get(name)
    if slot is None:
        raise CommandError(f"ERR {kind} key cannot be found in DAG")
    return slot
