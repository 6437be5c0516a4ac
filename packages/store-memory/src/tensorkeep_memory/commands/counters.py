"""Commands that count in strings: INCR, DECR, INCRBYFLOAT and the like."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import NOT_AN_INTEGER, Args, parse_integer
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.numerals import add_long_doubles, parse_long_double
from tensorkeep_memory.commands.strings import Pair, get, parse_pair
from tensorkeep_memory.values.growing import Embedded

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1

_OVERFLOW: Final = "ERR increment or decrement would overflow"
_NOT_A_FLOAT: Final = "ERR value is not a valid float"


class Increment(NamedTuple):
    """A key, and what is to be added to its integer."""

    key: bytes
    by: int


def parse_increment(args: Args) -> Increment:
    """Parses INCRBY."""
    return Increment(args.take(), args.take_integer())


def parse_decrement(args: Args) -> Increment:
    """Parses DECRBY; as in Redis, the least integer of all cannot be subtracted."""
    key, decrement = args.take(), args.take_integer()
    if decrement == _INT64_MIN:
        raise CommandError("ERR decrement would overflow")
    return Increment(key, -decrement)


def add(client: Client, request: Increment) -> Reply:
    """Adds to an integer, 0 when there is none, and keeps its expiry; returns the sum."""
    return step(client, request.key, by=request.by)


def step(client: Client, key: bytes, *, by: int) -> Reply:
    """Adds always the same to an integer, see `add`."""
    text = get(client, key)
    number = 0 if text is None else parse_integer(text)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    total = number + by
    if not _INT64_MIN <= total <= _INT64_MAX:
        raise CommandError(_OVERFLOW)
    client.keys.replace(key, b"%d" % total, "incrby")
    return total


def add_float(client: Client, request: Pair) -> Reply:
    """Adds to a number, 0 when there is none, and keeps its expiry; returns the sum as text."""
    key, word = request
    text = get(client, key)
    number = parse_long_double(b"0" if text is None else text)
    increment = parse_long_double(word)
    if number is None or increment is None:
        raise CommandError(_NOT_A_FLOAT)
    total = add_long_doubles(number, increment)
    if total is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    value = total if parse_integer(total) is None else Embedded(total)
    client.keys.replace(key, value, "incrbyfloat")
    return total


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "incr",
        Args.take,
        partial(step, by=1),
        summary="Adds one to an integer and returns the sum.",
        group="string",
        arity=2,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key",
    ),
    command(
        "incrby",
        parse_increment,
        add,
        summary="Adds to an integer and returns the sum.",
        group="string",
        arity=3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key increment",
    ),
    command(
        "incrbyfloat",
        parse_pair,
        add_float,
        summary="Adds to a number, which need not be whole, and returns the sum.",
        group="string",
        arity=3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key increment",
        since="2.6.0",
    ),
    command(
        "decr",
        Args.take,
        partial(step, by=-1),
        summary="Subtracts one from an integer and returns the difference.",
        group="string",
        arity=2,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key",
    ),
    command(
        "decrby",
        parse_decrement,
        add,
        summary="Subtracts from an integer and returns the difference.",
        group="string",
        arity=3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key decrement",
    ),
)
