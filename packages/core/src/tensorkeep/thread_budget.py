"""How many threads the models of a process may keep for themselves.

Some frameworks give each model a pool of threads, one for each core but the caller's. With many
models that makes thousands, nearly all of which sleep. A backend takes threads for a model's own
pool from here, and lets the model share or do without when none are left.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import Final

_PER_CORE: Final = 4
_AT_LEAST: Final = 16


class ThreadBudget:
    """A number of threads, handed out from any thread.

    Args:
        most: How many there are.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = Lock()

    def take(self, count: int) -> bool:
        """Takes threads, all or none; returns whether so many were left."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, count: int) -> None:
        """Gives back threads that have ended."""
        with self._lock:
            self._left += count


OF_POOLS: Final = ThreadBudget(max(_AT_LEAST, _PER_CORE * (os.cpu_count() or 1)))
"""The threads of this process for pools that belong to one model alone."""
