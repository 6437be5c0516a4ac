"""Commands on all keys of a database: KEYS, SCAN, FLUSHDB and the like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep_server.args import SYNTAX, Args
from tensorkeep_server.command import FAST, READONLY, WRITE, Command, command, nothing
from tensorkeep_server.errors import CommandError
from tensorkeep_server.glob import compile_glob
from tensorkeep_server.reply import OK
from tensorkeep_server.values import types_named

if TYPE_CHECKING:
    from tensorkeep_server.reply import Reply
    from tensorkeep_server.state import Client

_ALL: Final = b"*"
_LIMIT: Final = 10  # Redis' own
_CURSOR: Final = re.compile(rb"[+-]?[0-9]+")
_INT32: Final = range(-(2**31), 2**31)
_UINT64: Final = 2**64


# --------------------------------------------------------------------------- arguments
class Scan(NamedTuple):
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type].

    Attributes:
        cursor: Where to go on; 0 begins.
        pattern: What the keys must look like.
        limit: Keys to look at.
        type_name: Name of their values' type in upper case, None for any.
    """

    cursor: int
    pattern: bytes
    limit: int
    type_name: bytes | None


class Swap(NamedTuple):
    """SWAPDB first second."""

    first: int
    second: int


def parse_scan(args: Args) -> Scan:
    """Parses SCAN, whose options come in any order, the last of a kind counting."""
    cursor = _read_cursor(args.take())
    pattern, limit, type_name = _ALL, _LIMIT, None
    while len(args):
        word = args.take_keyword()
        if not len(args):
            raise CommandError(SYNTAX)
        match word:
            case b"MATCH":
                pattern = args.take()
            case b"COUNT":
                limit = args.take_integer()
                if limit < 1:
                    raise CommandError(SYNTAX)
            case b"TYPE":
                type_name = args.take_keyword()
            case _:
                raise CommandError(SYNTAX)
    return Scan(cursor, pattern, limit, type_name)


def _read_cursor(argument: bytes) -> int:
    """Reads a cursor as Redis does, with C's strtoul: an empty one is 0, a negative one large."""
    digits = argument.partition(b"\0")[0] or b"0"
    if not _CURSOR.fullmatch(digits) or len(digits) > len(str(_UINT64)) + 1:
        raise CommandError("ERR invalid cursor")
    cursor = int(digits)
    if abs(cursor) >= _UINT64:
        raise CommandError("ERR invalid cursor")
    return cursor % _UINT64


def parse_flush(args: Args) -> None:
    """Parses [ASYNC | SYNC]: both mean the same here."""
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
    """Answers all keys that a pattern matches."""
    return _matching(list(client.keys), pattern)


def scan(client: Client, request: Scan) -> Reply:
    """Answers some keys and the cursor to go on with.

    A key that is there from the beginning of a scan to its end is answered exactly once. Keys are
    filtered after they were counted, so an answer may be empty and the scan not over.
    """
    cursor, found = client.keys.scan(request.cursor, request.limit)
    found = _matching(found, request.pattern)
    if request.type_name is not None:
        kinds = types_named(request.type_name)
        found = [key for key in found if type(client.keys.get(key, touch=False)) in kinds]
    return (b"%d" % cursor, found)


def _matching(keys: list[bytes], pattern: bytes) -> list[bytes]:
    if pattern == _ALL:
        return keys
    matches = compile_glob(pattern).fullmatch
    return [key for key in keys if matches(key)]


def random_key(client: Client, _: None) -> Reply:
    """Answers any key."""
    return client.keys.random_key()


def size(client: Client, _: None) -> Reply:
    """Answers how many keys there are, with those that expired and were not yet removed."""
    return len(client.keys)


def flush(client: Client, _: None) -> Reply:
    """Removes all keys of the client's database."""
    client.keys.clear()
    return OK


def flush_all(client: Client, _: None) -> Reply:
    """Removes all keys of all databases."""
    for keys in client.server.databases:
        keys.clear()
    return OK


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
        summary="Answers all keys that a pattern matches.",
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
        summary="Answers the keys page by page.",
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
        summary="Answers any key.",
        group="generic",
        arity=1,
        flags=(READONLY,),
        tips=("request_policy:all_shards", "nondeterministic_output"),
    ),
    command(
        "dbsize",
        nothing,
        size,
        summary="Answers how many keys the database has.",
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
