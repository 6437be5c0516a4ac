"""Commands on several sorted sets: ZUNION, ZINTER, ZDIFF and what stores or counts the result.

Sets take part as well, as if each of their members had score 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, isnan
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tensorkeep.commands.args import SYNTAX, Args
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
from tensorkeep.commands.numerals import parse_double
from tensorkeep.errors import WrongType
from tensorkeep_memory.commands.set_algebra import counted_keys
from tensorkeep_memory.commands.sorted_sets import entries_reply
from tensorkeep_memory.values.containers import Set
from tensorkeep_memory.values.sorted_set import SortedSet

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client


def _sum(one: float, other: float) -> float:
    """Adds; opposite infinite scores are 0 together, as in Redis."""
    total = one + other
    return 0.0 if isnan(total) else total


_Aggregate: TypeAlias = Callable[[float, float], float]
_AGGREGATES: Final[dict[bytes | None, _Aggregate]] = {b"SUM": _sum, b"MIN": min, b"MAX": max}
_WEIGHING: Final = "[WEIGHTS weight ...] [AGGREGATE (SUM | MIN | MAX)]"
_ONE: Final = 1.0  # the score of a member of a set


# --------------------------------------------------------------------------- arguments
class Reading(NamedTuple):
    """Sorted sets to be combined.

    Options are read only after the keys were looked at: one of another type wins over mistakes.

    Attributes:
        keys: The keys of the sorted sets.
        options: Stands behind them.
    """

    keys: list[bytes]
    options: Args


class Combination(NamedTuple):
    """Sorted sets to be combined, and where the result goes.

    Attributes:
        target: The key of the result.
        sources: What is combined.
    """

    target: bytes
    sources: Reading


class Options(NamedTuple):
    """[WEIGHTS weight ...] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES].

    Attributes:
        weights: Factors of the scores, one for each sorted set.
        aggregate: What becomes of two scores of a member.
        with_scores: Whether scores are answered, too.
    """

    weights: list[float]
    aggregate: _Aggregate
    with_scores: bool


def parse_reading(args: Args) -> Reading:
    """Parses how many keys there are, and the keys."""
    count = args.take_integer()
    if count < 1:
        raise CommandError(f"ERR at least 1 input key is needed for '{args.name.lower()}' command")
    if count > len(args):
        raise CommandError(SYNTAX)
    return Reading([args.take() for _ in range(count)], args)


def parse_combination(args: Args) -> Combination:
    """Parses a key for the result, and what is combined."""
    return Combination(args.take(), parse_reading(args))


def stored_keys(request: Sequence[Argument]) -> list[Argument]:
    """Returns the keys of a request that begins with one for the result; none if some lack."""
    keys = counted_keys(request[1:])
    return [request[1], *keys] if keys else []


def _read_options(args: Args, count: int, *, weighs: bool, shows: bool) -> Options:
    """Reads options, which come in any order, the last of a kind counting.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    weights, aggregate, with_scores = [1.0] * count, _AGGREGATES[b"SUM"], False
    while len(args):
        left = len(args)
        word = args.take_keyword()
        if word == b"WEIGHTS" and weighs and left > count:
            weights = [_take_weight(args) for _ in range(count)]
        elif word == b"AGGREGATE" and weighs and args.peek() in _AGGREGATES:
            aggregate = _AGGREGATES[args.take_keyword()]
        elif word == b"WITHSCORES" and shows:
            with_scores = True
        else:
            raise CommandError(SYNTAX)
    return Options(weights, aggregate, with_scores)


def _take_weight(args: Args) -> float:
    weight = parse_double(args.take())
    if weight is None:
        raise CommandError("ERR weight value is not a float")
    return weight


# --------------------------------------------------------------------------- combining
class _Source(NamedTuple):
    """Members with scores that are weighed.

    Attributes:
        members: A set's members, or a sorted set's entries by member.
        weight: The factor.
    """

    members: set[bytes] | Mapping[bytes, tuple[float, bytes]]
    weight: float = 1.0

    def score(self, member: bytes) -> float:
        """Returns the weighed score of a member that is there."""
        members = self.members
        return self.weight * (_ONE if isinstance(members, set) else members[member][0])

    def scores(self) -> dict[bytes, float]:
        """Returns the weighed scores of all members; what is not a number is 0, as in Redis."""
        weight = self.weight
        if isinstance(self.members, set):
            return dict.fromkeys(self.members, weight)
        scores = {member: weight * score for score, member in self.members.values()}
        if weight in {0, inf, -inf}:
            return {member: 0.0 if isnan(score) else score for member, score in scores.items()}
        return scores


_Combine: TypeAlias = Callable[[Sequence[_Source], _Aggregate], dict[bytes, float]]


def _by_size(sources: Sequence[_Source]) -> list[_Source]:
    """Returns the smallest first: in which order scores are added shows in their last digit."""
    return sorted(sources, key=lambda source: len(source.members))


def union(sources: Sequence[_Source], aggregate: _Aggregate) -> dict[bytes, float]:
    """Returns the members of any, with their scores aggregated."""
    first, *others = _by_size(sources)
    result = first.scores()
    for other in others:
        for member, score in other.scores().items():
            before = result.get(member)
            result[member] = score if before is None else aggregate(before, score)
    return result


def intersection(sources: Sequence[_Source], aggregate: _Aggregate) -> dict[bytes, float]:
    """Returns the members of all, with their scores aggregated."""
    first, *others = _by_size(sources)
    result = first.scores()
    for other in others:
        there = other.members
        result = {
            member: aggregate(score, other.score(member))
            for member, score in result.items()
            if member in there
        }
    return result


def difference(sources: Sequence[_Source], _: _Aggregate) -> dict[bytes, float]:
    """Returns the members of the first and of no other, with their scores."""
    first, *others = sources
    result = first.scores()
    for other in others:
        there = other.members
        result = {member: score for member, score in result.items() if member not in there}
    return result


def _members(client: Client, keys: list[bytes]) -> list[_Source]:
    """Returns the members of sets and sorted sets, none for a missing one.

    Raises:
        WrongType: A key holds something else.
    """
    sources = []
    for key in keys:
        value = client.keys.get(key)
        if value is not None and not isinstance(value, Set | SortedSet):
            raise WrongType(key)
        sources.append(_Source(set() if value is None else value.content))
    return sources


def _combined(
    client: Client, request: Reading, how: _Combine, *, shows: bool
) -> tuple[dict[bytes, float], bool]:
    """Returns what comes of several sorted sets, and whether scores are wanted."""
    sources = _members(client, request.keys)
    options = _read_options(
        request.options, len(sources), weighs=how is not difference, shows=shows
    )
    weighed = [
        _Source(source.members, weight)
        for source, weight in zip(sources, options.weights, strict=True)
    ]
    return how(weighed, options.aggregate), options.with_scores


def combine(client: Client, request: Reading, *, how: _Combine) -> Reply:
    """Returns what comes of several sorted sets."""
    result, with_scores = _combined(client, request, how, shows=True)
    entries = sorted((score, member) for member, score in result.items())
    return entries_reply(client, entries, scores=with_scores)


def store_combined(client: Client, request: Combination, *, how: _Combine, event: str) -> Reply:
    """Stores what comes of several sorted sets, replacing what is there; returns how many."""
    result, _ = _combined(client, request.sources, how, shows=False)
    if result:
        client.keys.set(request.target, SortedSet(result), None, event)
    else:
        client.keys.delete(request.target)
    return len(result)


def count_common(client: Client, request: Reading) -> Reply:
    """Returns how many members several sorted sets have in common, up to a limit."""
    sources = _members(client, request.keys)
    limit = 0
    while len(request.options):
        if not request.options.optional(b"LIMIT") or not len(request.options):
            raise CommandError(SYNTAX)
        error = "ERR LIMIT can't be negative"
        limit = request.options.take_integer(error)
        if limit < 0:
            raise CommandError(error)
    first, *others = _by_size(sources)
    found = sum(1 for each in first.members if all(each in other.members for other in others))
    return min(found, limit) if limit else found


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "zunion",
        parse_reading,
        partial(combine, how=union),
        summary="Returns what is in any of several sorted sets.",
        group="sorted-set",
        arity=-3,
        flags=(READONLY, MOVABLE),
        keys=counted_keys,
        syntax=f"numkeys key [key ...] {_WEIGHING} [WITHSCORES]",
        since="6.2.0",
    ),
    command(
        "zinter",
        parse_reading,
        partial(combine, how=intersection),
        summary="Returns what is in all of several sorted sets.",
        group="sorted-set",
        arity=-3,
        flags=(READONLY, MOVABLE),
        keys=counted_keys,
        syntax=f"numkeys key [key ...] {_WEIGHING} [WITHSCORES]",
        since="6.2.0",
    ),
    command(
        "zdiff",
        parse_reading,
        partial(combine, how=difference),
        summary="Returns what is in the first sorted set and in no other.",
        group="sorted-set",
        arity=-3,
        flags=(READONLY, MOVABLE),
        keys=counted_keys,
        syntax="numkeys key [key ...] [WITHSCORES]",
        since="6.2.0",
    ),
    command(
        "zunionstore",
        parse_combination,
        partial(store_combined, how=union, event="zunionstore"),
        summary="Stores what is in any of several sorted sets.",
        group="sorted-set",
        arity=-4,
        flags=(WRITE, DENYOOM, MOVABLE),
        keys=stored_keys,
        access=(TO_CHANGE, TO_READ),
        syntax=f"destination numkeys key [key ...] {_WEIGHING}",
        since="2.0.0",
        shown_keys=(1, 1, 1),
    ),
    command(
        "zinterstore",
        parse_combination,
        partial(store_combined, how=intersection, event="zinterstore"),
        summary="Stores what is in all of several sorted sets.",
        group="sorted-set",
        arity=-4,
        flags=(WRITE, DENYOOM, MOVABLE),
        keys=stored_keys,
        access=(TO_CHANGE, TO_READ),
        syntax=f"destination numkeys key [key ...] {_WEIGHING}",
        since="2.0.0",
        shown_keys=(1, 1, 1),
    ),
    command(
        "zdiffstore",
        parse_combination,
        partial(store_combined, how=difference, event="zdiffstore"),
        summary="Stores what is in the first sorted set and in no other.",
        group="sorted-set",
        arity=-4,
        flags=(WRITE, DENYOOM, MOVABLE),
        keys=stored_keys,
        access=(TO_CHANGE, TO_READ),
        syntax="destination numkeys key [key ...]",
        since="6.2.0",
        shown_keys=(1, 1, 1),
    ),
    command(
        "zintercard",
        parse_reading,
        count_common,
        summary="Returns how many members several sorted sets have in common.",
        group="sorted-set",
        arity=-3,
        flags=(READONLY, MOVABLE),
        keys=counted_keys,
        syntax="numkeys key [key ...] [LIMIT limit]",
        since="7.0.0",
    ),
)
