"""Commands that count in fields of hashes: HINCRBY and HINCRBYFLOAT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import numpy as np

from tensorkeep.commands.args import Args, parse_integer
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
from tensorkeep_memory.commands.hashes import found_or_new

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_Number = TypeVar("_Number", int, np.longdouble)

_INT64: Final = range(-(2**63), 2**63)
_ZERO: Final = b"0"  # what a field that is missing is taken for, to add to


# --------------------------------------------------------------------------- arguments
class Increment(NamedTuple, Generic[_Number]):
    """A number to be added: key field increment.

    Attributes:
        key: The key.
        field: The field.
        by: What is added to it.
    """

    key: bytes
    field: bytes
    by: _Number


def parse_increment(args: Args) -> Increment[int]:
    """Parses HINCRBY."""
    return Increment(args.take(), args.take(), args.take_integer())


def parse_float_increment(args: Args) -> Increment[np.longdouble]:
    """Parses HINCRBYFLOAT."""
    key, field, word = args.take_rest()
    by = parse_long_double(word)
    if by is None:
        raise CommandError("ERR value is not a valid float")
    if not np.isfinite(by):
        raise CommandError("ERR value is NaN or Infinity")
    return Increment(key, field, by)


# --------------------------------------------------------------------------- commands
def increment(client: Client, request: Increment[int]) -> Reply:
    """Adds to an integer in a field; returns the sum.

    Raises:
        CommandError: The field holds something else, or the sum is out of range.
    """
    key, field, by = request
    value = found_or_new(client, key)  # nothing can go wrong with a new one
    old = parse_integer(value.content.get(field, _ZERO))
    if old is None:
        raise CommandError("ERR hash value is not an integer")
    total = old + by
    if total not in _INT64:
        raise CommandError("ERR increment or decrement would overflow")
    value.put(field, b"%d" % total)
    client.keys.changed(key, "hincrby")
    return total


def increment_float(client: Client, request: Increment[np.longdouble]) -> Reply:
    """Adds to a number in a field; returns the sum as text.

    Raises:
        CommandError: The field holds no number, or the sum is infinite.
    """
    key, field, by = request
    value = found_or_new(client, key)  # nothing can go wrong with a new one
    old = parse_long_double(value.content.get(field, _ZERO))
    if old is None:
        raise CommandError("ERR hash value is not a float")
    total = add_long_doubles(old, by)
    if total is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    value.put(field, total)
    client.keys.changed(key, "hincrbyfloat")
    return total


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "hincrby",
        parse_increment,
        increment,
        summary="Adds to an integer in a field of a hash.",
        group="hash",
        arity=4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key field increment",
        since="2.0.0",
    ),
    command(
        "hincrbyfloat",
        parse_float_increment,
        increment_float,
        summary="Adds to a number in a field of a hash.",
        group="hash",
        arity=4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key field increment",
        since="2.6.0",
    ),
)
