"""Commands on one sorted set: ZADD, ZSCORE, ZRANK, ZPOPMIN, ZSCAN and the like."""

from __future__ import annotations

from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Final, NamedTuple

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
from tensorkeep.commands.numerals import parse_doubles
from tensorkeep.commands.reply import BLOCK, RESP2, LongArray
from tensorkeep_memory.commands.elements import (
    Draw,
    ElementScan,
    draw,
    parse_draw,
    parse_pop,
    parse_scan,
    scan,
    settle,
)
from tensorkeep_memory.values.sorted_set import Entry, SortedSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.commands.reply import Reply, Version
    from tensorkeep_memory.client import Client

_OPTIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))
_INCR: Final = b"INCR"
_MANY: Final = 64  # members from which on it is worth the trouble to give all their scores at once
_WHOLE: Final = 2**62  # up to here a small sorted set of Redis keeps whole scores as integers


# --------------------------------------------------------------------------- arguments
class Addition(NamedTuple):
    """ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...].

    Attributes:
        key: The key.
        options: The options that are set.
        scores: The scores, or what is to be added to them.
        members: As many members.
    """

    key: bytes
    options: frozenset[bytes]
    scores: list[float]
    members: list[bytes]


def parse_add(args: Args, *, increments: bool = False) -> Addition:
    """Parses ZADD; or ZINCRBY, which is ZADD with INCR, options included.

    Raises:
        CommandError: The first thing that is wrong, in Redis' order.
    """
    key = args.take()
    given: set[bytes] = {_INCR} if increments else set()
    while args.peek() in _OPTIONS:
        given.add(args.take_keyword())
    words = args.take_rest()
    if len(words) % 2 or not words:
        raise CommandError(SYNTAX)
    if given:
        _check_options(given, len(words) // 2)
    scores = parse_doubles(words[::2])
    if scores is None:
        raise CommandError("ERR value is not a valid float")
    return Addition(key, frozenset(given), scores, words[1::2])


def _check_options(given: set[bytes], count: int) -> None:
    """Makes sure that options can be together, and with so many members.

    Raises:
        CommandError: They cannot.
    """
    if {b"NX", b"XX"} <= given:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if len({b"NX", b"GT", b"LT"} & given) > 1:
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if _INCR in given and count > 1:
        raise CommandError("ERR INCR option supports a single increment-element pair")


# --------------------------------------------------------------------------- replies
def entries_reply(client: Client, entries: Sequence[Entry], *, scores: bool) -> Reply:
    """Returns members, each with its score if that is wanted: in RESP3 as pairs."""
    if len(entries) <= BLOCK // 2:
        return _entries(entries, client.version, scores=scores)
    show = partial(_entries, version=client.version, scores=scores)
    parts = range(0, len(entries), BLOCK // 2)
    per_entry = 2 if scores and client.version == RESP2 else 1
    return LongArray(
        per_entry * len(entries), lambda: (show(entries[at : at + BLOCK // 2]) for at in parts)
    )


def _entries(entries: Sequence[Entry], version: Version, *, scores: bool) -> list[Reply]:
    if not scores:
        return [member for _, member in entries]
    if version == RESP2:
        return [word for score, member in entries for word in (member, b"%.17g" % score)]
    return [(member, score) for score, member in entries]


# --------------------------------------------------------------------------- members
def add(client: Client, request: Addition) -> Reply:
    """Adds members or changes their scores.

    Returns how many are new, with CH how many are new or changed, and with INCR the score, or
    null when an option kept it as it was.

    Raises:
        CommandError: An infinite score would be added to its opposite.
    """
    key, options, scores, members = request
    keys = client.keys
    value = keys.find(key, SortedSet)
    increments = _INCR in options
    if value is None:
        if b"XX" in options:
            return None if increments else 0
        value = SortedSet()
        keys.set(key, value)
    else:
        value.check_growth()
    added = changed = 0
    result = None
    wanted = dict(zip(members, scores, strict=True)) if len(members) >= _MANY else {}
    if wanted and len(wanted) == len(members):  # each once: no score hangs on one before it
        if options:
            found = ((m, _new_score(options, value.score(m), s)) for m, s in wanted.items())
            wanted = {member: new for member, new in found if new is not None}
        added, changed = value.update(wanted)
        members, scores = [], []
    for score, member in zip(scores, members, strict=True):
        old = value.score(member)
        new = _new_score(options, old, score) if options else score
        if new is None:
            continue
        result = new
        if old != new:
            changed += 1
            added += value.put(member, new)
    if changed:
        keys.changed(key, "zincr" if increments else "zadd")
    if increments:
        return result
    return changed if b"CH" in options else added


def _new_score(options: frozenset[bytes], old: float | None, score: float) -> float | None:
    """Returns the score that a member gets; None when an option keeps what is there.

    Raises:
        CommandError: It would be no number.
    """
    if old is None:
        return None if b"XX" in options else score
    if b"NX" in options:
        return None
    new = old + score if _INCR in options else score
    if isnan(new):
        raise CommandError("ERR resulting score is not a number (NaN)")
    if (b"GT" in options and new <= old) or (b"LT" in options and new >= old):
        return None
    return new


def remove(client: Client, words: list[bytes]) -> Reply:
    """Removes members from a sorted set; returns how many there were."""
    key, *members = words
    value = client.keys.find(key, SortedSet)
    if value is None:
        return 0
    removed = sum(map(value.remove, members))
    if removed:
        settle(client.keys, key, value, "zrem")
    return removed


def size(client: Client, key: bytes) -> Reply:
    """Returns how many members a sorted set has."""
    value = client.keys.find(key, SortedSet)
    return 0 if value is None else len(value)


def score(client: Client, words: list[bytes]) -> Reply:
    """Returns the score of a member."""
    key, member = words
    value = client.keys.find(key, SortedSet)
    return None if value is None else value.score(member)


def scores(client: Client, words: list[bytes]) -> Reply:
    """Returns the scores of several members."""
    key, *members = words
    value = client.keys.find(key, SortedSet)
    return tuple([None if value is None else value.score(member) for member in members])


def rank(client: Client, words: list[bytes], *, backwards: bool) -> Reply:
    """Returns how many members come before one, or after it."""
    key, member = words
    value = client.keys.find(key, SortedSet)
    found = None if value is None else value.rank(member)
    if value is None or found is None or not backwards:
        return found
    return len(value) - 1 - found


# --------------------------------------------------------------------------- popping
def pop(client: Client, request: Draw, *, backwards: bool) -> Reply:
    """Removes and returns the first or the last members with their scores."""
    key, count, _ = request
    keys = client.keys
    value = keys.find(key, SortedSet)
    if value is None or count == 0:
        return []
    number = min(1 if count is None else count, len(value))
    start = len(value) - number if backwards else 0
    entries = cut(client, key, value, start, start + number, "zpopmax" if backwards else "zpopmin")
    if backwards:
        entries.reverse()
    if count is None:
        ((highest, member),) = entries
        return (member, highest)
    return entries_reply(client, entries, scores=True)


def cut(  # noqa: PLR0913, PLR0917 - a range of ranks, and what settle takes
    client: Client, key: bytes, value: SortedSet, start: int, stop: int, event: str
) -> list[Entry]:
    """Removes and returns the members from one rank to before another.

    All of a large one are not removed one by one: the key is, and the rest is swept.
    """
    if stop - start < len(value):
        entries = value.cut(start, stop)
        client.keys.changed(key, event)
    else:
        entries = value.part(start, stop)
        client.keys.changed(key, event)
        client.keys.delete(key)
    return entries


# --------------------------------------------------------------------------- at random, in pieces
def random_members(client: Client, request: Draw) -> Reply:
    """Returns members at random, alone or with their scores."""
    key, count, with_scores = request
    value = client.keys.find(key, SortedSet)
    if count is None:
        return None if value is None else value.pick()
    if value is None:
        return []
    entries = [value.content[member] for member in draw(value, count)]
    return entries_reply(client, entries, scores=with_scores)


def scan_members(client: Client, request: ElementScan) -> Reply:
    """Returns some members with their scores, and the cursor to go on with."""
    value = client.keys.find(request.key, SortedSet)
    if value is None:
        return (b"0", [])
    cursor, found = scan(value, request)
    small = value.small
    return (
        cursor,
        [
            word
            for member in found
            for word in (member, _scanned(value.content[member][0], small=small))
        ],
    )


def _scanned(score: float, *, small: bool) -> bytes:
    """Returns a score as ZSCAN shows it, which looks at how Redis keeps it."""
    if small and -_WHOLE <= score <= _WHOLE and score.is_integer():
        return b"%d" % int(score)
    return b"%.17g" % score


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "zadd",
        parse_add,
        add,
        summary="Adds members to a sorted set, or gives them other scores.",
        group="sorted-set",
        arity=-4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        since="1.2.0",
    ),
    command(
        "zincrby",
        partial(parse_add, increments=True),
        add,
        summary="Adds to the score of a member of a sorted set.",
        group="sorted-set",
        arity=4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key increment member",
        since="1.2.0",
    ),
    command(
        "zrem",
        Args.take_rest,
        remove,
        summary="Removes members from a sorted set.",
        group="sorted-set",
        arity=-3,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        syntax="key member [member ...]",
        since="1.2.0",
    ),
    command(
        "zcard",
        Args.take,
        size,
        summary="Returns how many members a sorted set has.",
        group="sorted-set",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key",
        since="1.2.0",
    ),
    command(
        "zscore",
        Args.take_rest,
        score,
        summary="Returns the score of a member.",
        group="sorted-set",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key member",
        since="1.2.0",
    ),
    command(
        "zmscore",
        Args.take_rest,
        scores,
        summary="Returns the scores of several members.",
        group="sorted-set",
        arity=-3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key member [member ...]",
        since="6.2.0",
    ),
    command(
        "zrank",
        Args.take_rest,
        partial(rank, backwards=False),
        summary="Returns how many members come before one.",
        group="sorted-set",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key member",
        since="2.0.0",
    ),
    command(
        "zrevrank",
        Args.take_rest,
        partial(rank, backwards=True),
        summary="Returns how many members come after one.",
        group="sorted-set",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key member",
        since="2.0.0",
    ),
    command(
        "zpopmin",
        parse_pop,
        partial(pop, backwards=False),
        summary="Removes and returns the members with the lowest scores.",
        group="sorted-set",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key [count]",
        since="5.0.0",
    ),
    command(
        "zpopmax",
        parse_pop,
        partial(pop, backwards=True),
        summary="Removes and returns the members with the highest scores.",
        group="sorted-set",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key [count]",
        since="5.0.0",
    ),
    command(
        "zrandmember",
        partial(parse_draw, values=b"WITHSCORES"),
        random_members,
        summary="Returns members at random, alone or with their scores.",
        group="sorted-set",
        arity=-2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key [count [WITHSCORES]]",
        since="6.2.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "zscan",
        parse_scan,
        scan_members,
        summary="Returns the members page by page, with their scores.",
        group="sorted-set",
        arity=-3,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key cursor [MATCH pattern] [COUNT count]",
        since="2.8.0",
        tips=("nondeterministic_output",),
    ),
)
