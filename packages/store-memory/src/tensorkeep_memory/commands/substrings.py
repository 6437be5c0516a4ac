"""Commands on parts of strings: APPEND, GETRANGE, SETRANGE and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    NEITHER,
    READONLY,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep_memory.commands.strings import Pair, get, parse_pair
from tensorkeep_memory.values.growing import written

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


class Range(NamedTuple):
    """GETRANGE key start end: the first byte and the last one, negative ones from the end."""

    key: bytes
    first: int
    last: int


class SetRange(NamedTuple):
    """SETRANGE key offset value."""

    key: bytes
    offset: int
    value: Argument


def parse_range(args: Args) -> Range:
    """Parses GETRANGE."""
    return Range(args.take(), args.take_integer(), args.take_integer())


def parse_set_range(args: Args) -> SetRange:
    """Parses SETRANGE."""
    request = SetRange(args.take(), args.take_integer(), args.take_blob())
    if request.offset < 0:
        raise CommandError("ERR offset is out of range")
    return request


def length(client: Client, key: bytes) -> Reply:
    """Returns how many bytes a string has; 0 when there is none."""
    return len(get(client, key) or b"")


def get_range(client: Client, request: Range) -> Reply:
    """Returns a part of a string."""
    value = get(client, request.key) or b""
    size = len(value)
    first, last = request.first, request.last
    if first < 0 and last < 0 and first > last:
        return b""
    start = max(first + size, 0) if first < 0 else first
    end = max(last + size, 0) if last < 0 else last
    return value[start : end + 1]


def append(client: Client, request: Pair) -> Reply:
    """Adds to the end of a string, or stores a new one; returns its length."""
    key, more = request
    old = get(client, key)
    if old is None:
        client.keys.set(key, more, None, "append")
        return len(more)
    _check_length(client, len(old) + len(more))
    text = written(old, len(old), more)
    client.keys.replace(key, text, "append")
    return len(text)


def set_range(client: Client, request: SetRange) -> Reply:
    """Writes into a string, or behind its end after some zeros; returns its length."""
    key, offset, more = request
    old = get(client, key) or b""
    if not more:
        return len(old)
    _check_length(client, offset + len(more))
    text = written(old, offset, more)
    client.keys.replace(key, text, "setrange")
    return len(text)


def _check_length(client: Client, size: int) -> None:
    """Makes sure that a string may be so long.

    Raises:
        CommandError: No argument may.
    """
    if size > client.server.most_bytes:
        raise CommandError(_TOO_LONG)


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "append",
        parse_pair,
        append,
        summary="Adds to the end of a string, or stores a new one, and returns its length.",
        group="string",
        arity=3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key value",
        since="2.0.0",
    ),
    command(
        "strlen",
        Args.take,
        length,
        summary="Returns how many bytes a string has.",
        group="string",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key",
        since="2.2.0",
    ),
    command(
        "setrange",
        parse_set_range,
        set_range,
        summary="Writes into a string from some byte on, and returns its length.",
        group="string",
        arity=4,
        flags=(WRITE, DENYOOM),
        keys=(1, 1, 1),
        syntax="key offset value",
        since="2.2.0",
    ),
    command(
        "getrange",
        parse_range,
        get_range,
        summary="Returns a part of a string.",
        group="string",
        arity=4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key start end",
        since="2.4.0",
    ),
    command(
        "substr",
        parse_range,
        get_range,
        summary="The old name of GETRANGE.",
        group="string",
        arity=4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key start end",
    ),
)
