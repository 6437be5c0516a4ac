"""How much memory may be taken, and what is given up when more is wanted.

The sum is kept as it changes: to ask for it takes no walk over anything. What cannot be counted so,
such as the interpreter and the frameworks, is measured at the start and now and then.
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from tensorkeep.eviction import Eviction, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.store import LocalStore

_LITTLE: Final = 16  # the part of what may be taken that is little
_LEAST_LITTLE: Final = 1024 * 1024  # bytes, more than a request has that came in one piece
_MOST_LITTLE: Final = 64 * 1024 * 1024
_BETWEEN: Final = 8  # keys that are given up from one look at the time to the next


class Counted(Protocol):
    """What somebody else keeps the sum of.

    Attributes:
        total: Bytes.
    """

    total: int


class Outcome(Enum):
    """What came of making room."""

    ROOM = "there is room"
    MORE = "there is more to be given up, which takes too long to wait for"
    FULL = "nothing may be given up any more"


class MemoryLimit:
    """What is taken, what may be, and what goes for more.

    Args:
        store: The values, and who gives them up; None where they are an engine's.
        clients: What clients hold.

    Attributes:
        usage: What the store's keys and values take.
        near: Bytes of these and of what clients hold beyond which each request is looked at; those
            that bring more than a little are looked at in any case.
        startup: Bytes that the process took when it was ready, and what loading frameworks has
            added since then.
        structures: Bytes that finding keys takes, as they were at the last look.
        models: Bytes that frameworks keep for models, likewise.
        peak: The most that was ever taken, likewise.
        shared: Bytes of what clients hold that are counted elsewhere.
        evicted: Keys that were given up.
    """

    def __init__(self, store: LocalStore | None, clients: Counted) -> None:
        self.usage = Usage() if store is None else store.usage
        self.near = sys.maxsize
        self.startup = 0
        self.structures = 0
        self.models = 0
        self.peak = 0
        self.shared = 0
        self.evicted = 0
        self._store = store
        self._limit = 0
        self._clients = clients
        self._eviction = Eviction()

    @property
    def limit(self) -> int:
        """Bytes that may be taken; 0 for no limit."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._draw_line()

    @property
    def eviction(self) -> Eviction:
        """What is given up, and how it is chosen."""
        return self._eviction

    @eviction.setter
    def eviction(self, eviction: Eviction) -> None:
        self._eviction = eviction
        if self._store is not None:
            self._store.evict_by(eviction)

    @property
    def used(self) -> int:
        """Bytes that are taken now, within 10 %."""
        return self.overhead + self.usage.values

    @property
    def overhead(self) -> int:
        """Those of them that are no key's and no value's."""
        return self.startup + self.structures + self.models + self._clients.total - self.shared

    def look(self, models: int) -> None:
        """Looks at what is not counted as it changes; for a few times a second.

        Args:
            models: Bytes that frameworks keep for models.
        """
        self.models = models
        if self._store is not None:
            self.structures = sum([keys.structures for keys in self._store.databases])
        self.peak = max(self.peak, self.used)
        self._draw_line()

    def _draw_line(self) -> None:
        """Sets `near` so that until the next look nobody passes the limit unseen."""
        limit = self._limit
        little = min(max((limit - self.startup) // _LITTLE, _LEAST_LITTLE), _MOST_LITTLE)
        others = self.overhead - self._clients.total
        self.near = limit - others - little if limit else sys.maxsize

    def has_room(self, size: int) -> bool:
        """Returns whether so many bytes more may be taken."""
        return not self._limit or self.used + size <= self._limit

    def make_room(self, size: int, may_go_on: Callable[[], bool]) -> Outcome:
        """Gives up keys until so many bytes more may be taken.

        Args:
            size: Bytes.
            may_go_on: Asked now and then: others wait.
        """
        store = self._store
        while not self.has_room(size):
            if store is None or not may_go_on():
                return Outcome.FULL if store is None else Outcome.MORE
            for _ in range(_BETWEEN):
                if not store.evict():
                    return Outcome.FULL
                self.evicted += 1
                if self.has_room(size):
                    break
        return Outcome.ROOM
