"""Commands on all keys of a database: KEYS, SCAN, FLUSHDB and the like."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX, Args
from tensorkeep.commands.command import FAST, READONLY, WRITE, Command, command, nothing
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK
from tensorkeep.leftovers import leave, leave_large
from tensorkeep_memory.scanning import Options, matching, read_cursor, read_options
from tensorkeep_memory.values.kinds import types_named

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client
    from tensorkeep_memory.keyspace import Keyspace

_INT32: Final = range(-(2**31), 2**31)


# --------------------------------------------------------------------------- arguments
class Scan(NamedTuple):
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type].

    Attributes:
        cursor: Where to go on; 0 begins.
        options: Which keys are wanted, and how many are looked at.
    """

    cursor: int
    options: Options


class Swap(NamedTuple):
    """SWAPDB first second."""

    first: int
    second: int


def parse_scan(args: Args) -> Scan:
    """Parses SCAN."""
    return Scan(read_cursor(args.take()), read_options(args, of_keys=True))


def parse_flush(args: Args) -> None:
    """Parses [ASYNC | SYNC]: many keys are freed bit by bit either way."""
    if len(args):
        word = args.take_keyword()
        if word not in {b"ASYNC", b"SYNC"}:
            raise CommandError(SYNTAX)
    args.end()


def parse_swap(args: Args) -> Swap:
    """Parses SWAPDB, but for whether there are such databases."""
    numbers = []
    for name in ("first", "second"):
        error = f"ERR invalid {name} DB index"
        number = args.take_integer(error)
        if number not in _INT32:
            raise CommandError(error)
        numbers.append(number)
    return Swap(*numbers)


# --------------------------------------------------------------------------- commands
def find_keys(client: Client, pattern: bytes) -> Reply:
    """Returns all keys that a pattern matches."""
    return matching(client.keys, pattern)


def scan(client: Client, request: Scan) -> Reply:
    """Returns some keys and the cursor to go on with.

    A key that is there from the beginning of a scan to its end is answered exactly once. Keys are
    filtered after they were counted, so an answer may be empty and the scan not over.
    """
    pattern, limit, type_name = request.options
    wanted = partial(matching, pattern=pattern)
    cursor, found = client.keys.scan(request.cursor, limit, wanted)
    if type_name is not None:
        kinds = types_named(type_name)
        found = [key for key in found if type(client.keys.get(key, touch=False)) in kinds]
    return (b"%d" % cursor, found)


def random_key(client: Client, _: None) -> Reply:
    """Returns any key."""
    return client.keys.random_key()


def size(client: Client, _: None) -> Reply:
    """Returns how many keys there are, with those that expired and were not yet removed."""
    return len(client.keys)


def flush(client: Client, _: None) -> Reply:
    """Removes all keys of the client's database."""
    _release(client.keys)
    return OK


def flush_all(client: Client, _: None) -> Reply:
    """Removes all keys of all databases."""
    for keys in client.server.databases:
        _release(keys)
    return OK


def _release(keys: Keyspace) -> None:
    """Removes all keys; what many of them took, or large ones, is freed bit by bit."""
    entries, names, expiring = keys.release()
    leave_large(entry.value for entry in entries.values())
    leave(entries, names, expiring)


def swap(client: Client, request: Swap) -> Reply:
    """Swaps two databases: who had selected one of them finds the other's keys from now on."""
    databases = client.server.databases
    if not all(number in range(len(databases)) for number in request):
        raise CommandError("ERR DB index is out of range")
    databases[request.first].swap(databases[request.second])
    return OK


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "keys",
        Args.take,
        find_keys,
        summary="Returns all keys that a pattern matches.",
        group="generic",
        arity=2,
        flags=(READONLY,),
        syntax="pattern",
        categories=("dangerous",),
        tips=("request_policy:all_shards", "nondeterministic_output_order"),
    ),
    command(
        "scan",
        parse_scan,
        scan,
        summary="Returns the keys page by page.",
        group="generic",
        arity=-2,
        flags=(READONLY,),
        syntax="cursor [MATCH pattern] [COUNT count] [TYPE type]",
        since="2.8.0",
        tips=("nondeterministic_output", "request_policy:special"),
    ),
    command(
        "randomkey",
        nothing,
        random_key,
        summary="Returns any key.",
        group="generic",
        arity=1,
        flags=(READONLY,),
        tips=("request_policy:all_shards", "nondeterministic_output"),
    ),
    command(
        "dbsize",
        nothing,
        size,
        summary="Returns how many keys the database has.",
        group="server",
        arity=1,
        flags=(READONLY, FAST),
        categories=("keyspace",),
        tips=("request_policy:all_shards", "response_policy:agg_sum"),
    ),
    command(
        "flushdb",
        parse_flush,
        flush,
        summary="Deletes all keys of the database.",
        group="server",
        flags=(WRITE,),
        syntax="[ASYNC | SYNC]",
        categories=("keyspace", "dangerous"),
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    ),
    command(
        "flushall",
        parse_flush,
        flush_all,
        summary="Deletes all keys of all databases.",
        group="server",
        flags=(WRITE,),
        syntax="[ASYNC | SYNC]",
        categories=("keyspace", "dangerous"),
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    ),
    command(
        "swapdb",
        parse_swap,
        swap,
        summary="Swaps two databases.",
        group="server",
        arity=3,
        flags=(WRITE, FAST),
        syntax="index1 index2",
        since="4.0.0",
        categories=("keyspace", "dangerous"),
    ),
)
