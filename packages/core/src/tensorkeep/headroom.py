"""Memory that stays free for what must never fail, where the system limits what there is.

Python fails in the midst of things when there is no memory: between two changes that belong
together, or in the loop that serves everybody. So what is large, and what would make the process
take more for good, asks first whether there is room, and is refused while a little is left for
the rest: to read a request to its end, to reply, to delete. Where no limit is set, to ask costs
nothing.

What fails all the same for want of memory says so with `relieve`, which gives up a block that was
kept for that: what comes next finds room.
"""

from __future__ import annotations

import logging
import mmap
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tensorkeep.system_limits import allow_more_data, heap, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.system_limits import Limit

_log = logging.getLogger(__name__)

_LEAST: Final = 8 * 1024 * 1024
_MOST: Final = 32 * 1024 * 1024
_SHARE: Final = 16  # what is kept free is one in so many of the bytes that there are at the start
_TIMES_IN_CGROUPS: Final = 4  # so much more is: nothing says no there before it is too late
_RESERVE: Final = 4  # the block is one in so many of those
_BLOCK: Final = (32, 512)  # bytes of an object of Python on average, at least and at most
_SURE: Final = 0.8  # the part of what seems to be free inside that is counted
_EVERY: Final = 64  # times that it is measured between two looks at that: one takes up to 2 ms

WRITING: Final = 1.0
"""The part of what is kept free that must stay when data is to be stored."""

READING: Final = 0.5
"""The part that must stay when a request is read, or a reply made."""


def kept_free(room: int) -> int:
    """Returns how many bytes are kept free.

    Args:
        room: How many there are at the start.
    """
    return between(room // _SHARE, _LEAST, _MOST)


def between(value: int, least: int, most: int) -> int:
    """Returns a value, or the least or most that it may be."""
    return min(max(value, least), most)


class Headroom:
    """How much memory the process may still take. For the thread of the loop, but for `relieve`.

    Attributes:
        limited: Whether the system sets a limit at all.
        promised: Bytes that were asked for and will be touched later.
    """

    def __init__(self) -> None:
        self.limited = False
        self.promised = 0
        self._limits: Sequence[Limit] = ()
        self._free = 0  # bytes that are kept free
        self._room = 0  # bytes that there were when it was measured last, less what was asked for
        self._reserve: mmap.mmap | None = None
        self._inside = 0  # bytes that are free inside of what the process has taken
        self._looked_before = _EVERY  # times that it was measured since that was looked at
        self._at_first = (0, 0)  # bytes that were taken but for the heap, and objects of Python
        self._most_blocks = 0  # objects of Python, when there were most of them
        self._block = _BLOCK[0]  # bytes of each of those

    def begin(self, found: Sequence[Limit] | None = None) -> None:
        """Looks what limits there are; until then there are none.

        Args:
            found: The limits; by default those of the system.
        """
        self._limits = limits() if found is None else found
        self.limited = bool(self._limits)
        self.promised = 0
        if not self.limited:
            self._drop_reserve()
            return
        self._free = 0
        self._free = kept_free(self.measure())
        if any(limit.touched_only for limit in self._limits):
            self._free *= _TIMES_IN_CGROUPS
        self._at_first = (self._limits[0].taken() - heap().taken, sys.getallocatedblocks())
        self._most_blocks = 0
        self._keep_reserve()
        tightest = min(self._limits, key=lambda limit: limit.most)
        _log.info(
            "the system limits this process' memory (%s: %d MB): %d MB of it are kept free for"
            " replies",
            *(tightest.name, tightest.most // 2**20, self._free // 2**20),
        )

    def measure(self) -> int:
        """Returns how many bytes may still be taken, by the tightest limit.

        Where these are few, what was freed and not given back to the system counts as well.
        """
        with suppress(OSError, ValueError):  # what cannot be read is not known to be tight
            self._room = min(
                limit.most - limit.taken() - (self.promised if limit.touched_only else 0)
                for limit in self._limits
            )
        if self._room < 2 * self._free:
            self._room += self._free_inside()
        return self._room

    def _free_inside(self) -> int:
        """Returns about how many bytes are free inside of what the process has taken."""
        self._looked_before += 1
        if self._looked_before >= _EVERY:
            self._looked_before = 0
            known, blocks = heap(), sys.getallocatedblocks()
            if blocks > self._most_blocks:
                self._most_blocks = blocks
                taken_at_first, blocks_at_first = self._at_first
                more = self._limits[0].taken() - known.taken - taken_at_first
                self._block = between(more // max(1, blocks - blocks_at_first), *_BLOCK)
            free = known.free + self._block * (self._most_blocks - blocks)
            self._inside = int(_SURE * free)
        return self._inside

    def has(self, size: int, part: float = WRITING) -> bool:
        """Returns whether so many bytes may be taken, and that part of what is kept free stays.

        Args:
            size: How many; what is asked for and granted counts as taken until the next look.
            part: `WRITING` or `READING`.
        """
        if not self.limited:
            return True
        least = int(self._free * part)
        if self._room - size < least and self.measure() - size < least:
            return False
        self._room -= size
        return True

    def relieve(self) -> None:
        """Gives up the block that is kept: something failed for want of memory. From any thread."""
        self._drop_reserve()

    def look(self) -> None:
        """Measures, and keeps a block again where there is room; to be called now and then."""
        self._looked_before = _EVERY
        self._allow()
        if self.limited and self.measure() > 2 * self._free:
            self._keep_reserve()

    def _allow(self) -> None:
        """Has the system refuse what a cgroup would end the process for."""
        touched = [limit for limit in self._limits if limit.touched_only]
        with suppress(OSError, ValueError):
            if touched:
                room = min(each.most - each.taken() for each in touched) - self.promised
                allow_more_data(max(room - self._free // 2, self._free // 4))

    def _keep_reserve(self) -> None:
        if self._reserve is None:
            with suppress(OSError, ValueError, MemoryError):
                self._reserve = mmap.mmap(-1, max(self._free // _RESERVE, mmap.PAGESIZE))

    def _drop_reserve(self) -> None:
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            reserve.close()


HEADROOM: Final = Headroom()
"""That of this process: memory is its own, whoever asks."""
