"""Commands on a range of a sorted set: ZRANGE in all its forms, ZCOUNT, ZREMRANGEBYSCORE, ..."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tensorkeep.commands.args import SYNTAX, Args
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.leftovers import leave
from tensorkeep_memory.commands.sorted_sets import cut, entries_reply
from tensorkeep_memory.range_bounds import take_ranks, take_scores, take_words
from tensorkeep_memory.values.sorted_set import Entry, SortedSet

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client
    from tensorkeep_memory.range_bounds import Bounds

_BOUNDS: Final = 2  # words that a range is between


# --------------------------------------------------------------------------- arguments
class Take(Protocol):
    """Takes the two bounds of a range."""

    def __call__(self, args: Args, *, backwards: bool = False) -> Bounds:
        """Takes them."""


class Part(NamedTuple):
    """A range of a sorted set.

    Attributes:
        key: The key.
        bounds: What is in it.
    """

    key: bytes
    bounds: Bounds


class Range(NamedTuple):
    """A range of a sorted set, and what of it is answered how.

    Attributes:
        key: The key.
        bounds: What is in it.
        backwards: Whether the greatest comes first.
        offset: How many are left out at the beginning; all for a negative number.
        limit: Most members; all for a negative number.
        with_scores: Whether scores are answered, too.
    """

    key: bytes
    bounds: Bounds
    backwards: bool
    offset: int
    limit: int
    with_scores: bool


class RangeStore(NamedTuple):
    """ZRANGESTORE.

    Attributes:
        target: The key of the result.
        range: What is stored there.
    """

    target: bytes
    range: Range


def parse_part(args: Args, *, by: Take) -> Part:
    """Parses a key and bounds."""
    return Part(args.take(), by(args))


def parse_range(
    args: Args, *, by: Take | None = None, backwards: bool | None = None, stores: bool = False
) -> Range:
    """Parses key, bounds and options, which come in any order.

    Args:
        args: Stands before the key.
        by: What the bounds are; None if options may say so.
        backwards: Whether the greatest comes first; None if an option may say so.
        stores: Whether the result is stored, always with its scores.

    Raises:
        CommandError: The first thing that is wrong, in Redis' order: options before bounds.
    """
    key, at = args.take(), args.at
    args.at += _BOUNDS
    offset, limit, with_scores = 0, -1, False
    while len(args):
        word = args.take_keyword()
        if word == b"WITHSCORES" and not stores:
            with_scores = True
        elif word == b"LIMIT" and len(args) >= _BOUNDS:
            offset, limit = args.take_integer(), args.take_integer()
        elif word == b"REV" and backwards is None:
            backwards = True
        elif word in _TAKES and by is None:
            by = _TAKES[word]
        else:
            raise CommandError(SYNTAX)
    by = by or take_ranks
    if limit != -1 and by is take_ranks:
        raise CommandError(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if with_scores and by is take_words:
        raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    bounds = by(Args(args.items, at), backwards=bool(backwards))
    if by is take_ranks:
        offset = 0
    return Range(key, bounds, bool(backwards), offset, limit, with_scores)


_TAKES: Final[dict[bytes, Take]] = {b"BYSCORE": take_scores, b"BYLEX": take_words}


def parse_range_store(args: Args) -> RangeStore:
    """Parses ZRANGESTORE."""
    return RangeStore(args.take(), parse_range(args, stores=True))


# --------------------------------------------------------------------------- commands
def _chosen(client: Client, request: Range) -> list[Entry]:
    """Returns the members in a range, in the order in which they are wanted.

    Raises:
        WrongType: The key holds something else.
    """
    value = client.keys.find(request.key, SortedSet)
    if value is None:
        return []
    start, stop = request.bounds.within(value)
    skipped = stop - start if request.offset < 0 else min(request.offset, stop - start)
    left = stop - start - skipped
    number = left if request.limit < 0 else min(request.limit, left)
    if not request.backwards:
        return value.part(start + skipped, start + skipped + number)
    entries = value.part(stop - skipped - number, stop - skipped)
    entries.reverse()
    return entries


def show(client: Client, request: Range) -> Reply:
    """Returns the members in a range."""
    return entries_reply(client, _chosen(client, request), scores=request.with_scores)


def store(client: Client, request: RangeStore) -> Reply:
    """Stores the members in a range, replacing what is there; returns how many."""
    entries = _chosen(client, request.range)
    if entries:
        made = SortedSet({member: score for score, member in entries})
        client.keys.set(request.target, made, None, "zrangestore")
    else:
        client.keys.delete(request.target)
    return len(entries)


def count(client: Client, request: Part) -> Reply:
    """Returns how many members are in a range."""
    value = client.keys.find(request.key, SortedSet)
    if value is None:
        return 0
    start, stop = request.bounds.within(value)
    return stop - start


def remove(client: Client, request: Part, *, event: str) -> Reply:
    """Removes the members in a range; returns how many there were."""
    key, bounds = request
    value = client.keys.find(key, SortedSet)
    if value is None:
        return 0
    start, stop = bounds.within(value)
    if start < stop:
        leave(cut(client, key, value, start, stop, event))
    return stop - start


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "zrange",
        parse_range,
        show,
        summary="Returns the members in a range of ranks, scores or words.",
        group="sorted-set",
        arity=-4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        since="1.2.0",
    ),
    command(
        "zrevrange",
        partial(parse_range, by=take_ranks, backwards=True),
        show,
        summary="Returns the members in a range of ranks, the greatest first.",
        group="sorted-set",
        arity=-4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key start stop [WITHSCORES]",
        since="1.2.0",
    ),
    command(
        "zrangebyscore",
        partial(parse_range, by=take_scores, backwards=False),
        show,
        summary="Returns the members in a range of scores.",
        group="sorted-set",
        arity=-4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key min max [WITHSCORES] [LIMIT offset count]",
        since="1.0.5",
    ),
    command(
        "zrevrangebyscore",
        partial(parse_range, by=take_scores, backwards=True),
        show,
        summary="Returns the members in a range of scores, the greatest first.",
        group="sorted-set",
        arity=-4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key max min [WITHSCORES] [LIMIT offset count]",
        since="2.2.0",
    ),
    command(
        "zrangebylex",
        partial(parse_range, by=take_words, backwards=False),
        show,
        summary="Returns the members in a range of words, if all have one score.",
        group="sorted-set",
        arity=-4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key min max [LIMIT offset count]",
        since="2.8.9",
    ),
    command(
        "zrevrangebylex",
        partial(parse_range, by=take_words, backwards=True),
        show,
        summary="Returns the members in a range of words, the greatest first.",
        group="sorted-set",
        arity=-4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key max min [LIMIT offset count]",
        since="2.8.9",
    ),
    command(
        "zrangestore",
        parse_range_store,
        store,
        summary="Stores the members in a range of ranks, scores or words.",
        group="sorted-set",
        arity=-5,
        flags=(WRITE, DENYOOM),
        keys=(1, 2, 1),
        access=(TO_CHANGE, TO_READ),
        syntax="dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        since="6.2.0",
    ),
    command(
        "zcount",
        partial(parse_part, by=take_scores),
        count,
        summary="Returns how many members are in a range of scores.",
        group="sorted-set",
        arity=4,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key min max",
        since="2.0.0",
    ),
    command(
        "zlexcount",
        partial(parse_part, by=take_words),
        count,
        summary="Returns how many members are in a range of words.",
        group="sorted-set",
        arity=4,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key min max",
        since="2.8.9",
    ),
    command(
        "zremrangebyrank",
        partial(parse_part, by=take_ranks),
        partial(remove, event="zremrangebyrank"),
        summary="Removes the members in a range of ranks.",
        group="sorted-set",
        arity=4,
        flags=(WRITE,),
        keys=(1, 1, 1),
        syntax="key start stop",
        since="2.0.0",
    ),
    command(
        "zremrangebyscore",
        partial(parse_part, by=take_scores),
        partial(remove, event="zremrangebyscore"),
        summary="Removes the members in a range of scores.",
        group="sorted-set",
        arity=4,
        flags=(WRITE,),
        keys=(1, 1, 1),
        syntax="key min max",
        since="1.2.0",
    ),
    command(
        "zremrangebylex",
        partial(parse_part, by=take_words),
        partial(remove, event="zremrangebylex"),
        summary="Removes the members in a range of words.",
        group="sorted-set",
        arity=4,
        flags=(WRITE,),
        keys=(1, 1, 1),
        syntax="key min max",
        since="2.8.9",
    ),
)
