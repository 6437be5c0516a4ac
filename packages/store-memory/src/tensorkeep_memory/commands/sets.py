"""Commands on one set, or from one to another: SADD, SMEMBERS, SPOP, SMOVE and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import SYNTAX, Args
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    NEITHER,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import Set as SetReply
from tensorkeep_memory.commands.elements import (
    Draw,
    ElementScan,
    draw,
    parse_pop,
    parse_scan,
    scan,
    settle,
    take_count,
)
from tensorkeep_memory.values.containers import Set

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_EMPTY: Final = SetReply(())


# --------------------------------------------------------------------------- arguments
def parse_draw(args: Args) -> Draw:
    """Parses SRANDMEMBER key [count]."""
    key = args.take()
    if not len(args):
        return Draw(key)
    if len(args) > 1:
        raise CommandError(SYNTAX)
    return Draw(key, take_count(args))


# --------------------------------------------------------------------------- members
def add(client: Client, words: list[bytes]) -> Reply:
    """Adds members to a set; returns how many are new."""
    key, *members = words
    keys = client.keys
    value = keys.find(key, Set)
    if value is None:
        value = Set()
        keys.set(key, value)
    else:
        value.check_growth()
    added = sum(map(value.add, members))
    if added:
        keys.changed(key, "sadd")
    return added


def remove(client: Client, words: list[bytes]) -> Reply:
    """Removes members from a set; returns how many there were."""
    key, *members = words
    value = client.keys.find(key, Set)
    if value is None:
        return 0
    removed = sum(map(value.remove, members))
    if removed:
        settle(client.keys, key, value, "srem")
    return removed


def move(client: Client, words: list[bytes]) -> Reply:
    """Moves a member to another set; returns whether it was in the first."""
    source, target, member = words
    keys = client.keys
    # As in Redis, a target of another type is no mistake where there is nothing to move from.
    origin = keys.find(source, Set)
    if origin is None:
        return 0
    goal = keys.find(target, Set)
    if origin is goal:
        return int(member in origin.content)
    if goal is not None:
        goal.check_growth()
    if not origin.remove(member):
        return 0
    settle(keys, source, origin, "srem")
    if goal is None:
        keys.set(target, Set({member}), None, "sadd")
    elif goal.add(member):
        keys.changed(target, "sadd")
    return 1


def members(client: Client, key: bytes) -> Reply:
    """Returns all members of a set."""
    value = client.keys.find(key, Set)
    return _EMPTY if value is None else SetReply(value.in_order())


def size(client: Client, key: bytes) -> Reply:
    """Returns how many members a set has."""
    value = client.keys.find(key, Set)
    return 0 if value is None else len(value.content)


def contains(client: Client, words: list[bytes]) -> Reply:
    """Returns whether something is a member of a set."""
    key, member = words
    value = client.keys.find(key, Set)
    return int(value is not None and member in value.content)


def contains_each(client: Client, words: list[bytes]) -> Reply:
    """Returns of each of several things whether it is a member of a set."""
    key, *asked = words
    value = client.keys.find(key, Set)
    if value is None:
        return [0] * len(asked)
    return [int(member in value.content) for member in asked]


# --------------------------------------------------------------------------- at random, in pieces
def pop(client: Client, request: Draw) -> Reply:
    """Removes and returns members at random."""
    key, count, _ = request
    keys = client.keys
    value = keys.find(key, Set)
    if count is None:
        member = None if value is None else value.pick()
        if value is not None and member is not None:
            value.remove(member)
            settle(keys, key, value, "spop")
        return member
    if value is None or not count:
        return _EMPTY
    popped = value.sample(count)
    if len(popped) == len(value.content):
        keys.changed(key, "spop")
        keys.delete(key)
    else:
        for each in popped:
            value.remove(each)
        keys.changed(key, "spop")
    return SetReply(popped)


def random_members(client: Client, request: Draw) -> Reply:
    """Returns members at random."""
    key, count, _ = request
    value = client.keys.find(key, Set)
    if count is None:
        return None if value is None else value.pick()
    return [] if value is None else draw(value, count)


def scan_members(client: Client, request: ElementScan) -> Reply:
    """Returns some members and the cursor to go on with."""
    value = client.keys.find(request.key, Set)
    return (b"0", []) if value is None else scan(value, request)


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "sadd",
        Args.take_rest,
        add,
        summary="Adds members to a set.",
        group="set",
        arity=-3,
        flags=(WRITE, DENYOOM, FAST),
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
        flags=(WRITE, FAST),
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
        flags=(WRITE, FAST),
        keys=(1, 2, 1),
        access=(TO_READ | TO_CHANGE, TO_CHANGE),
        syntax="source destination member",
    ),
    command(
        "smembers",
        Args.take,
        members,
        summary="Returns all members of a set.",
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
        summary="Returns how many members a set has.",
        group="set",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key",
    ),
    command(
        "sismember",
        Args.take_rest,
        contains,
        summary="Returns whether something is a member of a set.",
        group="set",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key member",
    ),
    command(
        "smismember",
        Args.take_rest,
        contains_each,
        summary="Returns of several things whether they are members of a set.",
        group="set",
        arity=-3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key member [member ...]",
        since="6.2.0",
    ),
    command(
        "spop",
        parse_pop,
        pop,
        summary="Removes and returns members at random.",
        group="set",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key [count]",
        tips=("nondeterministic_output",),
    ),
    command(
        "srandmember",
        parse_draw,
        random_members,
        summary="Returns members at random.",
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
        summary="Returns the members page by page.",
        group="set",
        arity=-3,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key cursor [MATCH pattern] [COUNT count]",
        since="2.8.0",
        tips=("nondeterministic_output",),
    ),
)
