"""Commands on sets: SADD, SMEMBERS, SPOP, SINTER and the like."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tensorkeep_server.args import SYNTAX, Args, parse_integer
from tensorkeep_server.command import (
    DENYOOM,
    FAST,
    MOVABLE,
    READONLY,
    WRITE,
    Command,
    command,
)
from tensorkeep_server.commands.elements import (
    Draw,
    ElementScan,
    draw,
    parse_scan,
    scan,
    settle,
    take_count,
)
from tensorkeep_server.containers import Set
from tensorkeep_server.errors import CommandError
from tensorkeep_server.reply import Set as SetReply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tensorkeep_server.codec import Argument
    from tensorkeep_server.reply import Reply
    from tensorkeep_server.state import Client

_Combine: TypeAlias = "Callable[[Sequence[set[bytes]]], set[bytes]]"

_EMPTY: Final = SetReply(())
_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"


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


def parse_pop(args: Args) -> Draw:
    """Parses SPOP key [count]."""
    key = args.take()
    if not len(args):
        return Draw(key)
    if len(args) > 1:
        raise CommandError(SYNTAX)
    count = args.take_integer(_NOT_POSITIVE)
    if count < 0:
        raise CommandError(_NOT_POSITIVE)
    return Draw(key, count)


def parse_draw(args: Args) -> Draw:
    """Parses SRANDMEMBER key [count]."""
    key = args.take()
    if not len(args):
        return Draw(key)
    if len(args) > 1:
        raise CommandError(SYNTAX)
    return Draw(key, take_count(args))


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


# --------------------------------------------------------------------------- members
def add(client: Client, words: list[bytes]) -> Reply:
    """Adds members to a set; answers how many are new."""
    key, *members = words
    keys = client.keys
    value = keys.find(key, Set)
    if value is None:
        value = Set()
        keys.set(key, value)
    added = sum(map(value.add, members))
    if added:
        keys.changed(key)
    return added


def remove(client: Client, words: list[bytes]) -> Reply:
    """Removes members from a set; answers how many there were."""
    key, *members = words
    value = client.keys.find(key, Set)
    if value is None:
        return 0
    removed = sum(map(value.remove, members))
    if removed:
        settle(client.keys, key, value)
    return removed


def move(client: Client, words: list[bytes]) -> Reply:
    """Moves a member to another set; answers whether it was in the first."""
    source, target, member = words
    keys = client.keys
    # As in Redis, a target of another type is no mistake where there is nothing to move from.
    origin = keys.find(source, Set)
    if origin is None:
        return 0
    goal = keys.find(target, Set)
    if origin is goal:
        return int(member in origin.content)
    if not origin.remove(member):
        return 0
    settle(keys, source, origin)
    if goal is None:
        keys.set(target, Set({member}))
    elif goal.add(member):
        keys.changed(target)
    return 1


def members(client: Client, key: bytes) -> Reply:
    """Answers all members of a set."""
    value = client.keys.find(key, Set)
    return _EMPTY if value is None else SetReply(tuple(value.content))


def size(client: Client, key: bytes) -> Reply:
    """Answers how many members a set has."""
    value = client.keys.find(key, Set)
    return 0 if value is None else len(value.content)


def contains(client: Client, words: list[bytes]) -> Reply:
    """Answers whether something is a member of a set."""
    key, member = words
    value = client.keys.find(key, Set)
    return int(value is not None and member in value.content)


def contains_each(client: Client, words: list[bytes]) -> Reply:
    """Answers of each of several things whether it is a member of a set."""
    key, *asked = words
    value = client.keys.find(key, Set)
    if value is None:
        return [0] * len(asked)
    return [int(member in value.content) for member in asked]


# --------------------------------------------------------------------------- at random, in pieces
def pop(client: Client, request: Draw) -> Reply:
    """Removes and answers members at random."""
    key, count, _ = request
    keys = client.keys
    value = keys.find(key, Set)
    if count is None:
        member = None if value is None else value.pick()
        if value is not None and member is not None:
            value.remove(member)
            settle(keys, key, value)
        return member
    if value is None or not count:
        return _EMPTY
    popped = value.sample(count)
    if len(popped) == len(value.content):
        keys.delete(key)
    else:
        for each in popped:
            value.remove(each)
        keys.changed(key)
    return SetReply(tuple(popped))


def random_members(client: Client, request: Draw) -> Reply:
    """Answers members at random."""
    key, count, _ = request
    value = client.keys.find(key, Set)
    if count is None:
        return None if value is None else value.pick()
    return [] if value is None else draw(value, count)


def scan_members(client: Client, request: ElementScan) -> Reply:
    """Answers some members and the cursor to go on with."""
    value = client.keys.find(request.key, Set)
    return (b"0", []) if value is None else scan(value, request)


# --------------------------------------------------------------------------- several sets
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
    """Answers what comes of several sets."""
    return SetReply(tuple(how(_contents(client, keys))))


def store_combined(client: Client, request: Combination, *, how: _Combine) -> Reply:
    """Stores what comes of several sets, replacing what is there; answers how many members."""
    result = how(_contents(client, request.keys))
    if result:
        client.keys.set(request.target, Set(result))
    else:
        client.keys.delete(request.target)
    return len(result)


def count_common(client: Client, request: Cardinality) -> Reply:
    """Answers how many members several sets have in common."""
    common = len(_intersection(_contents(client, request.keys)))
    return min(common, request.limit) if request.limit else common


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "sadd",
        Args.take_rest,
        add,
        summary="Adds members to a set.",
        group="set",
        arity=-3,
        flags=(
            WRITE,
            DENYOOM,
            FAST,
        ),
        keys=(1, 1, 1),
        syntax="key member [member ...]",
    ),
    command(
        "srem",
        Args.take_rest,
        remove,
        summary="Removes members from a set.",
        group="set",
        arity=-3,
        flags=(
            WRITE,
            FAST,
        ),
        keys=(1, 1, 1),
        syntax="key member [member ...]",
    ),
    command(
        "smove",
        Args.take_rest,
        move,
        summary="Moves a member from one set to another.",
        group="set",
        arity=4,
        flags=(
            WRITE,
            FAST,
        ),
        keys=(1, 2, 1),
        syntax="source destination member",
    ),
    command(
        "smembers",
        Args.take,
        members,
        summary="Answers all members of a set.",
        group="set",
        arity=2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "scard",
        Args.take,
        size,
        summary="Answers how many members a set has.",
        group="set",
        arity=2,
        flags=(
            READONLY,
            FAST,
        ),
        keys=(1, 1, 1),
        syntax="key",
    ),
    command(
        "sismember",
        Args.take_rest,
        contains,
        summary="Answers whether something is a member of a set.",
        group="set",
        arity=3,
        flags=(
            READONLY,
            FAST,
        ),
        keys=(1, 1, 1),
        syntax="key member",
    ),
    command(
        "smismember",
        Args.take_rest,
        contains_each,
        summary="Answers of several things whether they are members of a set.",
        group="set",
        arity=-3,
        flags=(
            READONLY,
            FAST,
        ),
        keys=(1, 1, 1),
        syntax="key member [member ...]",
        since="6.2.0",
    ),
    command(
        "spop",
        parse_pop,
        pop,
        summary="Removes and answers members at random.",
        group="set",
        arity=-2,
        flags=(
            WRITE,
            FAST,
        ),
        keys=(1, 1, 1),
        syntax="key [count]",
        tips=("nondeterministic_output",),
    ),
    command(
        "srandmember",
        parse_draw,
        random_members,
        summary="Answers members at random.",
        group="set",
        arity=-2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key [count]",
        tips=("nondeterministic_output",),
    ),
    command(
        "sscan",
        parse_scan,
        scan_members,
        summary="Answers the members page by page.",
        group="set",
        arity=-3,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key cursor [MATCH pattern] [COUNT count]",
        since="2.8.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "sunion",
        Args.take_rest,
        partial(combine, how=_union),
        summary="Answers what is in any of several sets.",
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
        summary="Answers what is in all of several sets.",
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
        summary="Answers what is in the first set and in no other.",
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
        partial(store_combined, how=_union),
        summary="Stores what is in any of several sets.",
        group="set",
        arity=-3,
        flags=(
            WRITE,
            DENYOOM,
        ),
        keys=(1, -1, 1),
        syntax="destination key [key ...]",
    ),
    command(
        "sinterstore",
        parse_combination,
        partial(store_combined, how=_intersection),
        summary="Stores what is in all of several sets.",
        group="set",
        arity=-3,
        flags=(
            WRITE,
            DENYOOM,
        ),
        keys=(1, -1, 1),
        syntax="destination key [key ...]",
    ),
    command(
        "sdiffstore",
        parse_combination,
        partial(store_combined, how=_difference),
        summary="Stores what is in the first set and in no other.",
        group="set",
        arity=-3,
        flags=(
            WRITE,
            DENYOOM,
        ),
        keys=(1, -1, 1),
        syntax="destination key [key ...]",
    ),
    command(
        "sintercard",
        parse_cardinality,
        count_common,
        summary="Answers how many members several sets have in common.",
        group="set",
        arity=-3,
        flags=(
            READONLY,
            MOVABLE,
        ),
        keys=counted_keys,
        syntax="numkeys key [key ...] [LIMIT limit]",
        since="7.0.0",
    ),
)
