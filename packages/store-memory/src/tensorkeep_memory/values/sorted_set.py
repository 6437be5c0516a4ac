"""Sorted sets: members with scores, in the order of their scores, that change in place.

This module decides what a sorted set is and how its members are reached. It knows no key, no
command and no reply.
"""

from __future__ import annotations

from itertools import islice
from math import inf, nextafter
from random import randrange
from typing import TYPE_CHECKING, Final, TypeAlias

from tensorkeep.leftovers import leave
from tensorkeep_memory.values.containers import Container
from tensorkeep_memory.values.ranking import Ranking
from tensorkeep_memory.values.words import all_bytes, word_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

Entry: TypeAlias = "tuple[float, bytes]"
"""A score and a member. Where scores are equal, the bytes of the members decide the order."""

# Redis' own defaults.
_SMALL_SIZE: Final = 128  # members of a small one
_SMALL_WORD: Final = 64  # bytes of each of them

# How large a part of the members must change for all of them to be put in order anew. That takes
# about 0.4 us for each member; to put one in its place takes 1.5 us, to take it away as long.
_LARGE_PART: Final = 0.25

_PER_MEMBER: Final = 64 + 32 + 8  # bytes of its entry, its score and its place in the ranking
_RANKING: Final = 368  # bytes of a ranking with few members


class SortedSet(Container):
    """Different members, each with a score, which is never NaN.

    Among a million members, it takes some 10 us to add one, to change its score, to find its rank
    or to find what has a rank, and about 60 ms to make a `copy`. See `Container` for what else
    holds.

    Args:
        scores: The first members and their scores.
    """

    __slots__ = ("_ranking",)
    content: dict[bytes, Entry]

    def __init__(self, scores: Mapping[bytes, float] | None = None) -> None:
        first = scores or {}
        small = len(first) <= _SMALL_SIZE and all(len(member) <= _SMALL_WORD for member in first)
        entries = [(score, member) for member, score in first.items()]
        if small:
            entries = [(_without_sign(score), member) for score, member in entries]
        super().__init__({entry[1]: entry for entry in entries})
        self._held = self._bytes_of_elements()
        self.small = small
        entries.sort()
        self._ranking = Ranking(entries)

    def __del__(self) -> None:
        leave(*self._ranking.release())
        super().__del__()

    def copy(self) -> Self:
        """Returns a copy that shares nothing that changes."""
        made = super().copy()
        made._ranking = self._ranking.copy()  # noqa: SLF001 - of the same class
        return made

    # ------------------------------------------------------------------ members
    def put(self, member: bytes, score: float) -> bool:
        """Gives a member a score; returns whether it is a new one."""
        members = self.content
        old = members.get(member)
        if old is not None:
            self._ranking.remove(old)
        elif self.small and (len(members) >= _SMALL_SIZE or len(member) > _SMALL_WORD):
            self.small = False
        entry = members[member] = (_without_sign(score) if self.small else score, member)
        self._ranking.add(entry)
        if old is not None:
            return False
        self._held += word_bytes(member)
        if self._index is not None:
            self._index.add(member)
        return True

    def update(self, scores: Mapping[bytes, float]) -> tuple[int, int]:
        """Gives members scores, many sooner than `put` does one after the other.

        Returns:
            How many are new, and how many are new or had another score.
        """
        members = self.content
        before, changed = len(members), 0
        few = len(scores) < _LARGE_PART * (before + len(scores))
        items = iter(scores.items())
        # With so many members a small one is none any more.
        for member, score in items if few else islice(items, (_SMALL_SIZE + 1) * self.small):
            if self.score(member) != score:
                self.put(member, score)
                changed += 1
        entries = {
            member: (score, member)
            for member, score in items
            if (old := members.get(member)) is None or old[0] != score
        }
        if entries:
            new = entries.keys() - members.keys()
            self._held += all_bytes(new)
            if self._index is not None:
                for member in new:
                    self._index.add(member)
            members.update(entries)
            leave(*self._ranking.release())
            self._ranking = Ranking(sorted(members.values()))
        return len(members) - before, changed + len(entries)

    def remove(self, member: bytes) -> bool:
        """Removes a member; returns whether it was there."""
        entry = self.content.pop(member, None)
        if entry is None:
            return False
        self._held -= word_bytes(member)
        self._ranking.remove(entry)
        if self._index is not None:
            self._index.remove(member)
        return True

    def score(self, member: bytes) -> float | None:
        """Returns the score of a member, None when it is not there."""
        entry = self.content.get(member)
        return None if entry is None else entry[0]

    def pick(self) -> bytes | None:
        """Returns any member, each as likely as any other; None when there is none."""
        if not self.content:
            return None
        rank = randrange(len(self.content))  # noqa: S311 - no secret hangs on it
        return self._ranking.part(rank, rank + 1)[0][1]

    def in_order(self) -> list[bytes]:
        """Returns all members in the order of their scores."""
        return [member for _, member in self._ranking.part(0, len(self.content))]

    def sample(self, count: int) -> list[bytes]:
        """See `Container.sample`; all of them begin with the highest score, as in Redis."""
        found = super().sample(count)
        return found[::-1] if len(found) == len(self.content) else found

    # ------------------------------------------------------------------ ranks
    def rank(self, member: bytes) -> int | None:
        """Returns how many members come before one, None when it is not there."""
        entry = self.content.get(member)
        return None if entry is None else self._ranking.rank(entry)

    def below(self, score: float, *, up_to: bool) -> int:
        """Returns how many members have a lower score, or one that is at most so high.

        Args:
            score: The score to compare with.
            up_to: Whether those with the same score count as well.
        """
        if up_to:
            if score == inf:
                return len(self.content)
            score = nextafter(score, inf)  # there is none between
        return self._ranking.rank((score, b""))

    def before(self, member: bytes, *, up_to: bool) -> int:
        """Returns how many members come before one, if all scores are the same.

        Args:
            member: What to compare with; it need not be there.
            up_to: Whether it counts itself, if it is there.
        """
        if not self.content:
            return 0
        ((score, _),) = self._ranking.part(0, 1)
        return self._ranking.rank((score, member + b"\0" if up_to else member))

    def part(self, start: int, stop: int) -> list[Entry]:
        """Returns the entries from one rank to before another; both are within the set."""
        return self._ranking.part(start, stop)

    def cut(self, start: int, stop: int) -> list[Entry]:
        """Removes the members from one rank to before another; returns what they were."""
        entries = self._ranking.cut(start, stop)
        for _, member in entries:
            del self.content[member]
            self._held -= word_bytes(member)
            if self._index is not None:
                self._index.remove(member)
        return entries

    # ------------------------------------------------------------------ memory
    @property
    def nbytes(self) -> int:
        """See `Container.nbytes`."""
        return super().nbytes + _RANKING + _PER_MEMBER * len(self)

    def validate(self) -> None:
        """Checks what must always hold; for tests.

        Raises:
            AssertionError: Something does not hold.
        """
        super().validate()
        self._ranking.validate()
        assert not self.small or len(self) <= _SMALL_SIZE  # noqa: S101 - for tests
        assert self.part(0, len(self)) == sorted(self.content.values())  # noqa: S101 - for tests
        assert all(member == entry[1] for member, entry in self.content.items())  # noqa: S101 - for tests

    def __repr__(self) -> str:
        return f"SortedSet({len(self)} members, small={self.small})"


def _without_sign(score: float) -> float:
    """Returns a score as Redis keeps it in a small one, where zero has no sign."""
    return score + 0.0
