"""Which part of a sorted set the bounds of a range mean, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.numerals import parse_bound

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep_memory.values.sorted_set import SortedSet


class Score(NamedTuple):
    """A bound of a range of scores.

    Attributes:
        score: The score.
        excluded: Whether members with just that score are outside.
    """

    score: float
    excluded: bool

    def place(self, value: SortedSet, *, up_to: bool) -> int:
        """Returns how many members come before the bound; with `up_to` also those at it."""
        return value.below(self.score, up_to=up_to)


class Word(NamedTuple):
    """A bound of a range of members that have one score.

    Attributes:
        word: The member, or what comes between others; None for a bound beyond all of them.
        excluded: Whether the member itself is outside.
        is_last: Whether a bound beyond all members comes after them.
    """

    word: bytes | None
    excluded: bool = False
    is_last: bool = False

    def place(self, value: SortedSet, *, up_to: bool) -> int:
        """Returns how many members come before the bound; with `up_to` also the one at it."""
        if self.word is None:
            return len(value) if self.is_last else 0
        return value.before(self.word, up_to=up_to)


class Bounds(Protocol):
    """What a range may be between."""

    def within(self, value: SortedSet) -> tuple[int, int]:
        """Returns the rank of the first member and the one after the last."""


class Ranks(NamedTuple):
    """A range of ranks.

    Attributes:
        first: Rank of the first member; a negative one counts from the end.
        last: Rank of the last member, likewise.
        backwards: Whether members are counted from the greatest.
    """

    first: int
    last: int
    backwards: bool = False

    def within(self, value: SortedSet) -> tuple[int, int]:
        """Returns the rank of the first member and the one after the last."""
        size = len(value)
        start = max(self.first + size, 0) if self.first < 0 else self.first
        stop = (self.last + size if self.last < 0 else min(self.last, size - 1)) + 1
        if start >= stop:
            return 0, 0
        return (size - stop, size - start) if self.backwards else (start, stop)


class Between(NamedTuple):
    """A range of scores, or of members that have one score.

    Attributes:
        low: The lower bound.
        high: The upper bound.
    """

    low: Score | Word
    high: Score | Word

    def within(self, value: SortedSet) -> tuple[int, int]:
        """Returns the rank of the first member and the one after the last."""
        start = self.low.place(value, up_to=self.low.excluded)
        stop = self.high.place(value, up_to=not self.high.excluded)
        return (start, stop) if start < stop else (0, 0)


def take_ranks(args: Args, *, backwards: bool = False) -> Ranks:
    """Takes the first and the last rank.

    Raises:
        CommandError: One is no integer.
    """
    return Ranks(args.take_integer(), args.take_integer(), backwards)


def take_scores(args: Args, *, backwards: bool = False) -> Between:
    """Takes the lowest and the highest score, or the other way round; `(` excludes it.

    Raises:
        CommandError: One is no number.
    """
    first, second = (_score(args.take()) for _ in range(2))
    return Between(second, first) if backwards else Between(first, second)


def take_words(args: Args, *, backwards: bool = False) -> Between:
    """Takes the first and the last member behind `[` or `(`, or the other way round.

    `-` is before and `+` after all members.

    Raises:
        CommandError: One is none of these.
    """
    first, second = (_word(args.take()) for _ in range(2))
    return Between(second, first) if backwards else Between(first, second)


def _score(text: bytes) -> Score:
    excluded = text.startswith(b"(")
    score = parse_bound(text[1:] if excluded else text)
    if score is None:
        raise CommandError("ERR min or max is not a float")
    return Score(score, excluded)


def _word(text: bytes) -> Word:
    kind, word = text[:1], text[1:]
    if kind in {b"[", b"("}:
        return Word(word, kind == b"(")
    if kind not in {b"-", b"+"} or word[:1] not in {b"", b"\0"}:
        raise CommandError("ERR min or max not valid string range item")
    return Word(None, is_last=kind == b"+")
