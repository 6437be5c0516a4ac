"""In which order names are scanned, whatever comes and goes meanwhile, and which one is any.

The names themselves are somebody else's: the keys of a keyspace, the fields of a hash. Whoever has
them tells an index of each that comes or goes, and asks it for what a dictionary cannot say: what
comes next in a scan, and a name at random.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from itertools import compress
from random import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FEW = 64  # below this many removed names, tidying up costs more than it saves
_NAME: Final = sys.getsizeof(b"") + 8  # bytes that a name takes besides its own
_ROOM: Final = 1024  # bytes of removed names that may be kept for each name that is there


class ScanIndex:
    """Names on places, which a scan visits from the newest to the oldest.

    Going up, a scan whose names are replaced as they are found would never end. Places are
    numbered, and a cursor is the number of one: it stays valid whatever comes and goes. A name
    that is removed keeps its place until the index is tidied; if it comes back before, that is its
    place again. So to add and to remove are to append and to note, and no name has to know where
    it is.

    Args:
        names: The first names, each once.
    """

    __slots__ = ("_gone", "_names", "_numbers", "_shift", "_spent")

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._names = [*names]
        self._gone: set[bytes] = set()  # the removed ones among them
        self._spent = 0  # what these keep of the room for removed names, in bytes
        # Tidying leaves gaps between the numbers of the first places, which are listed. The number
        # of any later place is where it stands, and some more. Number 0 is nobody's.
        self._numbers = array("Q")
        self._shift = 1

    def __len__(self) -> int:
        """Returns how many names there are."""
        return len(self._names) - len(self._gone)

    def add(self, name: bytes) -> None:
        """Takes note of a name that was not there."""
        if name in self._gone:
            self._gone.remove(name)
            self._spent -= _ROOM + len(name)
        else:
            self._names.append(name)

    def add_many(self, names: Sequence[bytes]) -> None:
        """Takes note of several names that were not there, each once."""
        if self._gone:
            for name in names:
                self.add(name)
        else:
            self._names.extend(names)

    def remove(self, name: bytes) -> None:
        """Takes note that a name is not there any more."""
        self._note_gone((name,))
        gone = self._gone
        self._spent += _ROOM + len(name)
        if self._spent > _ROOM * (len(self._names) - len(gone) + _FEW):
            self._tidy()

    def remove_many(self, names: Sequence[bytes]) -> None:
        """Takes note that several names are not there any more, each once."""
        self._note_gone(names)
        gone = self._gone
        self._spent += _ROOM * len(names) + sum(map(len, names))
        if self._spent > _ROOM * (len(self._names) - len(gone) + _FEW):
            self._tidy()

    def _note_gone(self, names: Sequence[bytes]) -> None:
        """Notes that names are gone; something must be removable even where memory is short."""
        try:
            self._gone.update(names)
        except MemoryError:
            self._gone.difference_update(names)
            self._tidy_in_place()
            self._gone.update(names)

    def clear(self) -> None:
        """Takes note that no name is there any more."""
        self._shift += len(self._names)
        self._names = []
        self._numbers = array("Q")
        self._gone = set()
        self._spent = 0

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Returns some names and the cursor to go on with; 0 begins a scan and ends it.

        A name that is there from the beginning of a scan to its end is returned exactly once, any
        other at most once. Names that are new meanwhile are not looked at, so that a scan ends. A
        cursor beyond all that were ever returned ends it at once.

        Args:
            cursor: 0, or what the last call returned.
            count: Places to look at.
        """
        if cursor > len(self._names) + self._shift:
            return 0, []
        stop = self._places_below(cursor) if cursor else len(self._names)
        start = max(stop - count, 0)
        found = self._names[start:stop]
        found.reverse()
        gone = self._gone
        if gone:
            found = [name for name in found if name not in gone]
        return (self._number(start) if start else 0), found

    def pick(self) -> bytes | None:
        """Returns any name, each as likely as any other; None when there is none."""
        names, gone = self._names, self._gone
        size = len(names)
        while size > len(gone):
            name = names[int(random() * size)]  # noqa: S311 - no secret hangs on it
            if name not in gone:
                return name
        return None

    def release(self) -> list[bytes]:
        """Hands out the list of names, for who frees a long one bit by bit; then there is none."""
        names = self._names
        self.clear()
        return names

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, with the removed names that are kept; the others are another's."""
        gone = self._gone
        kept = self._spent - _ROOM * len(gone) + _NAME * len(gone)
        return (
            sys.getsizeof(self._names) + sys.getsizeof(gone) + sys.getsizeof(self._numbers) + kept
        )

    def _number(self, place: int) -> int:
        return self._numbers[place] if place < len(self._numbers) else place + self._shift

    def _places_below(self, number: int) -> int:
        """Returns how many places have a number below this one."""
        place = number - self._shift
        if place < len(self._numbers):
            return bisect_left(self._numbers, number)
        return min(place, len(self._names))

    def _tidy(self) -> None:
        """Gives up the places of removed names; the others keep their numbers."""
        names, gone, numbers = self._names, self._gone, self._numbers
        if len(gone) == len(names):
            self.clear()
            return
        try:
            numbers.extend(range(len(numbers) + self._shift, len(names) + self._shift))
            live = [name not in gone for name in names]
            kept_numbers = array("Q", compress(numbers, live))
            kept_names = [*compress(names, live)]
        except MemoryError:
            self._tidy_in_place()
            return
        self._shift += len(gone)  # so many fewer places will be before the next one
        self._numbers, self._names = kept_numbers, kept_names
        self._gone = set()
        self._spent = 0

    def _tidy_in_place(self) -> None:
        """Gives up the places of removed names with no memory to do it in.

        The others get new numbers: a scan that goes on may find some of them twice or not at all.
        """
        names, gone, kept = self._names, self._gone, 0
        for name in names:
            if name not in gone:
                names[kept] = name
                kept += 1
        del names[kept:]
        self._shift += len(gone)
        del self._numbers[:]
        gone.clear()
        self._spent = 0

    def validate(self, names: Iterable[bytes]) -> None:
        """Checks what must always hold; for tests.

        Args:
            names: Those that there are.

        Raises:
            AssertionError: Something does not hold.
        """
        live = [name for name in self._names if name not in self._gone]
        assert sorted(live) == sorted(names)  # noqa: S101
        assert len(live) == len(self)  # noqa: S101
        numbers = [self._number(place) for place in range(len(self._names))]
        assert numbers == sorted({*numbers} - {0})  # noqa: S101
        assert self._spent == sum(_ROOM + len(name) for name in self._gone)  # noqa: S101
        assert self._spent <= _ROOM * (len(live) + _FEW)  # noqa: S101

    def __repr__(self) -> str:
        return f"ScanIndex({len(self)} names, {len(self._gone)} removed)"
