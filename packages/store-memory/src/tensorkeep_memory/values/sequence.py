"""Lists: values that hold elements in a row, and that change in place.

This module decides how a list is kept and how its elements are reached. It knows no key, no command
and no reply.
"""

from __future__ import annotations

import sys
from collections import deque
from itertools import compress, islice, repeat
from operator import eq
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Argument
from tensorkeep.leftovers import leave
from tensorkeep_memory.values.words import all_bytes, word_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self, SupportsIndex

# Few elements far from both ends are reached one by one: each costs a walk over blocks of 64. Many
# are reached by walking over all before them.
_FEW: Final = 32
_FAR: Final = 256

_COLLECTED: Final = 16  # bytes by which the garbage collector finds a list


class List(deque[Argument]):
    """The elements of a list; each is immutable.

    At both ends it grows and shrinks at once. What is far from them takes longer, as in Redis: of
    a million elements, 0.04 ms to reach the middle, 0.4 ms to insert there, 10 to 40 ms to look at
    all.

    It changes in place: who takes a reference to it has no snapshot. `copy` makes one, on the
    thread that owns the keyspace, in about 10 ms for a million elements; `Keyspace.changed` is
    where to learn that a copy has become old.

    A large one is freed bit by bit, see `leftovers`.

    Only the methods that are defined here may change it: they count what the elements take.

    Args:
        elements: The first elements.
    """

    __slots__ = ("_held",)

    def __init__(self, elements: Iterable[Argument] = ()) -> None:
        super().__init__(elements)
        self._held = all_bytes(self)

    def __del__(self) -> None:
        leave(self)

    def copy(self) -> Self:
        """Returns a copy that shares nothing that changes."""
        made = type(self)()
        super(List, made).extend(self)
        made._held = self._held  # noqa: SLF001 - of the same class
        return made

    # ------------------------------------------------------------------ at the ends
    def append(self, element: Argument) -> None:
        """Adds an element behind the last."""
        super().append(element)
        self._held += word_bytes(element)

    def extend(self, elements: Iterable[Argument]) -> None:
        """Adds elements behind the last."""
        self._held += all_bytes(elements)
        super().extend(elements)

    def extendleft(self, elements: Iterable[Argument]) -> None:
        """Adds elements before the first, one after the other."""
        self._held += all_bytes(elements)
        super().extendleft(elements)

    def pop(self) -> Argument:  # type: ignore[override] # a deque's takes no position either
        """Removes the last element, and returns it."""
        element = super().pop()
        self._held -= word_bytes(element)
        return element

    def popleft(self) -> Argument:
        """Removes the first element, and returns it."""
        element = super().popleft()
        self._held -= word_bytes(element)
        return element

    # ------------------------------------------------------------------ between them
    def __setitem__(self, at: SupportsIndex, element: Argument) -> None:  # type: ignore[override] # no parts
        """Puts an element in the place of another."""
        old = self[at]
        super().__setitem__(at, element)
        self._held += word_bytes(element) - word_bytes(old)

    def insert(self, at: int, element: Argument) -> None:
        """Adds an element before one."""
        super().insert(at, element)
        self._held += word_bytes(element)

    def _replace_all(self, elements: Iterable[Argument]) -> None:
        super().clear()
        super().extend(elements)
        self._held = all_bytes(self)

    def bounds(self, first: int, last: int) -> tuple[int, int]:
        """Returns which part two indices of Redis mean.

        Args:
            first: Index of the first element; a negative one counts from the end.
            last: Index of the last element, likewise.

        Returns:
            The first index and the one after the last, 0 and 0 for no elements.
        """
        size = len(self)
        start = max(first + size, 0) if first < 0 else first
        stop = (last + size if last < 0 else min(last, size - 1)) + 1
        return (start, stop) if start < stop else (0, 0)

    def part(self, start: int, stop: int) -> list[Argument]:
        """Returns the elements from one index to before another; both are within the list."""
        count, behind = stop - start, len(self) - stop
        if count <= _FEW and min(start, behind) > _FAR:
            return [self[at] for at in range(start, stop)]
        if start <= behind:
            return [*islice(self, start, stop)]
        taken = [*islice(reversed(self), behind, behind + count)]
        taken.reverse()
        return taken

    def keep(self, start: int, stop: int) -> None:
        """Removes all elements but those from one index to before another."""
        behind = len(self) - stop
        if start + behind > stop - start:
            self._replace_all(self.part(start, stop))
            return
        for _ in range(start):
            self.popleft()
        for _ in range(behind):
            self.pop()

    def positions(
        self, wanted: Argument, *, backwards: bool = False, limit: int | None = None
    ) -> Iterator[int]:
        """Iterates over the indices at which an element is found; nothing may change meanwhile.

        Args:
            wanted: What the element must be equal to.
            backwards: Whether to begin at the end.
            limit: Most elements to look at.
        """
        size = len(self)
        start = 0
        try:
            # A quarter of the time, and mostly it is all there is to do.
            if not backwards:
                start = self.index(wanted, 0, size if limit is None else limit)
            elif limit is None and wanted not in self:
                return iter(())
        except ValueError:
            return iter(())
        indices = range(size - 1, -1, -1) if backwards else range(start, size)
        walk = reversed(self) if backwards else islice(self, start, None)
        if limit is not None:
            limit -= start
        return compress(indices, map(eq, islice(walk, limit), repeat(wanted)))

    def drop(self, unwanted: Argument, number: int) -> int:
        """Removes elements that are equal to one.

        Args:
            unwanted: What is removed.
            number: Most elements to remove; a negative one begins at the end, 0 removes them all.

        Returns:
            How many were removed.
        """
        most = min(abs(number), len(self)) or None
        found = [*islice(self.positions(unwanted, backwards=number < 0), most)]
        if len(found) <= _FEW:
            for at in sorted(found, reverse=True):
                del self[at]
            self._held -= len(found) * word_bytes(unwanted)
            return len(found)
        gone = {*found}
        self._replace_all([element for at, element in enumerate(self) if at not in gone])
        return len(found)

    def validate(self) -> None:
        """Checks what must always hold; for tests.

        Raises:
            AssertionError: Something does not hold.
        """
        assert self._held == all_bytes(self)  # noqa: S101 - for tests

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it takes, by what was counted: that takes no time."""
        return sys.getsizeof(self) + _COLLECTED + self._held
