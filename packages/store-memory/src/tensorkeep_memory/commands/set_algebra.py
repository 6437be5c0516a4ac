"""Commands on several sets at once: SUNION, SINTER, SDIFF and what stores or counts the result."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tensorkeep.commands.args import SYNTAX, Args, parse_integer
from tensorkeep.commands.command import (
    DENYOOM,
    MOVABLE,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import Set as SetReply
from tensorkeep_memory.values.containers import Set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_Combine: TypeAlias = "Callable[[Sequence[set[bytes]]], set[bytes]]"


# --------------------------------------------------------------------------- arguments
class Combination(NamedTuple):
    """Sets to be combined, and where the result goes.

    Attributes:
        target: The key of the result.
        keys: The keys of the sets.
    """

    target: bytes
    keys: list[bytes]


class Cardinality(NamedTuple):
    """SINTERCARD numkeys key [key ...] [LIMIT limit].

    Attributes:
        keys: The keys of the sets.
        limit: No more is counted; 0 for all.
    """

    keys: list[bytes]
    limit: int


def parse_combination(args: Args) -> Combination:
    """Parses a key for the result, and the keys of sets."""
    return Combination(args.take(), args.take_rest())


def parse_cardinality(args: Args) -> Cardinality:
    """Parses SINTERCARD, whose last LIMIT counts."""
    error = "ERR numkeys should be greater than 0"
    count = args.take_integer(error)
    if count < 1:
        raise CommandError(error)
    if count > len(args):
        raise CommandError("ERR Number of keys can't be greater than number of args")
    keys = [args.take() for _ in range(count)]
    limit = 0
    while len(args):
        if not args.optional(b"LIMIT") or not len(args):
            raise CommandError(SYNTAX)
        error = "ERR LIMIT can't be negative"
        limit = args.take_integer(error)
        if limit < 0:
            raise CommandError(error)
    return Cardinality(keys, limit)


def counted_keys(request: Sequence[Argument]) -> list[Argument]:
    """Returns the keys of a request that says how many they are; none if it cannot have so many."""
    count = parse_integer(request[1]) or 0
    return list(request[2 : 2 + count]) if 0 < count <= len(request) - 2 else []


# --------------------------------------------------------------------------- combining
def _contents(client: Client, keys: Iterable[bytes]) -> list[set[bytes]]:
    """Returns the members of sets, none for a missing one.

    Raises:
        WrongType: A key holds something else.
    """
    found = [client.keys.find(key, Set) for key in keys]
    return [set() if value is None else value.content for value in found]


def _union(contents: Sequence[set[bytes]]) -> set[bytes]:
    return set().union(*contents)


def _intersection(contents: Sequence[set[bytes]]) -> set[bytes]:
    smallest, *others = sorted(contents, key=len)
    return smallest.intersection(*others)


def _difference(contents: Sequence[set[bytes]]) -> set[bytes]:
    first, *others = contents
    return first.difference(*others)


def combine(client: Client, keys: list[bytes], *, how: _Combine) -> Reply:
    """Returns what comes of several sets."""
    return SetReply(Set(how(_contents(client, keys))).in_order())


def store_combined(client: Client, request: Combination, *, how: _Combine, event: str) -> Reply:
    """Stores what comes of several sets, replacing what is there; returns how many members."""
    result = how(_contents(client, request.keys))
    if result:
        client.keys.set(request.target, Set(result), None, event)
    else:
        client.keys.delete(request.target)
    return len(result)


def count_common(client: Client, request: Cardinality) -> Reply:
    """Returns how many members several sets have in common."""
    common = len(_intersection(_contents(client, request.keys)))
    return min(common, request.limit) if request.limit else common


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "sunion",
        Args.take_rest,
        partial(combine, how=_union),
        summary="Returns what is in any of several sets.",
        group="set",
        arity=-2,
        flags=(READONLY,),
        keys=(1, -1, 1),
        syntax="key [key ...]",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "sinter",
        Args.take_rest,
        partial(combine, how=_intersection),
        summary="Returns what is in all of several sets.",
        group="set",
        arity=-2,
        flags=(READONLY,),
        keys=(1, -1, 1),
        syntax="key [key ...]",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "sdiff",
        Args.take_rest,
        partial(combine, how=_difference),
        summary="Returns what is in the first set and in no other.",
        group="set",
        arity=-2,
        flags=(READONLY,),
        keys=(1, -1, 1),
        syntax="key [key ...]",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "sunionstore",
        parse_combination,
        partial(store_combined, how=_union, event="sunionstore"),
        summary="Stores what is in any of several sets.",
        group="set",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, -1, 1),
        access=(TO_CHANGE, TO_READ),
        syntax="destination key [key ...]",
    ),
    command(
        "sinterstore",
        parse_combination,
        partial(store_combined, how=_intersection, event="sinterstore"),
        summary="Stores what is in all of several sets.",
        group="set",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, -1, 1),
        access=(TO_CHANGE, TO_READ),
        syntax="destination key [key ...]",
    ),
    command(
        "sdiffstore",
        parse_combination,
        partial(store_combined, how=_difference, event="sdiffstore"),
        summary="Stores what is in the first set and in no other.",
        group="set",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, -1, 1),
        access=(TO_CHANGE, TO_READ),
        syntax="destination key [key ...]",
    ),
    command(
        "sintercard",
        parse_cardinality,
        count_common,
        summary="Returns how many members several sets have in common.",
        group="set",
        arity=-3,
        flags=(READONLY, MOVABLE),
        keys=counted_keys,
        syntax="numkeys key [key ...] [LIMIT limit]",
        since="7.0.0",
    ),
)
