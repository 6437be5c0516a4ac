"""Lines of a log that clients cause at will: so many a minute, and then how many were left out."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_MOST: Final = 1000  # lines of each level
_SECONDS: Final = 60.0  # in which they may be written
_SHOWN: Final = 200  # characters of what clients send


class BoundedLog:
    """Decides which lines are written; for one thread.

    Args:
        most: Lines of each level that may be written in so many seconds.
        seconds: In how many.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, most: int = _MOST, seconds: float = _SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._windows: dict[int, tuple[float, int]] = {}  # by level: since when, and how many

    def allows(self, log: logging.Logger, level: int) -> bool:
        """Returns whether a line may be written; the caller does so then.

        Args:
            log: Where it is to be written.
            level: Its level.
        """
        if not log.isEnabledFor(level):
            return False
        now = self._clock()
        since, count = self._windows.get(level, (now, 0))
        if now - since >= self._seconds:
            if count > self._most:
                _log.log(level, "%d more such lines were left out", count - self._most)
            since, count = now, 0
        self._windows[level] = since, count + 1
        return count < self._most


def shown(text: str | bytes) -> str:
    """Returns what a client sent as a part of one line: escaped where need be, and not too long."""
    cut = text[:_SHOWN]
    if isinstance(cut, bytes):
        cut = cut.decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)
