"""What nurseries and workers print and log, as lines of the server's log."""

from __future__ import annotations

import logging
import os
import select
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from tensorkeep.bounded_log import BoundedLog
from tensorkeep_workers_process.worker_log import PRINTED, line_of

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(PRINTED)

_LONGEST: Final = 16 * 1024  # bytes of a line
_KEPT: Final = 8  # lines
_AT_ONCE: Final = 64 * 1024
_A_SECOND: Final = 1024 * 1024  # bytes; whoever prints more waits, and keeps nobody busy


class Pace:
    """Keeps what comes to so much a second, after a first second's worth at once.

    Args:
        a_second: How much.
    """

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._paid_until = 0.0  # when all that has come would have come at that pace

    def pause(self, amount: int, now: float) -> float:
        """Returns the seconds until more may come.

        Args:
            amount: How much has come.
            now: The time in seconds.
        """
        self._paid_until = max(self._paid_until, now - 1) + amount / self._a_second
        return max(0.0, self._paid_until - now)


class Printed:
    """What one process prints.

    Args:
        file: The descriptor to read from.
        backend: The backend that it serves.
        pid: Returns its process.
        count: Called with the figures that it tells.
    """

    def __init__(
        self,
        file: int,
        backend: str,
        pid: Callable[[], int],
        count: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> None:
        self._file = file
        self._backend = backend
        self._pid = pid
        self._count = count
        self._rest = b""
        self._lines = BoundedLog()
        self._pace = Pace(_A_SECOND)
        self._last: deque[bytes] = deque(maxlen=_KEPT)
        self._ended = False

    def read(self) -> float | None:
        """Logs what has come.

        Returns:
            The seconds until more is to be read; None when no more will come.
        """
        data = os.read(self._file, _AT_ONCE)
        self._ended = not data
        self._take(data)
        return None if self._ended else self._pace.pause(len(data), monotonic())

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST or not data:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line.strip():
                self._last.append(line)
                self._write(line[:_LONGEST])

    def last_words(self) -> str:
        """Returns what a process printed last that has ended; logs what of it had not come yet."""
        while not self._ended and select.select([self._file], [], [], 0)[0]:
            self.read()
        return b"\n".join(self._last).decode("utf-8", "replace")

    def _write(self, written: bytes) -> None:
        line = line_of(written)
        if isinstance(line, dict):
            self._count(line)
            return
        known = line.name in logging.root.manager.loggerDict  # others would stay for ever
        log = logging.getLogger(line.name) if known else _log
        level = min(max(line.level // 10 * 10, logging.DEBUG), logging.CRITICAL)
        if self._lines.allows(log, level):  # it counts each level for itself
            pid, backend = self._pid(), self._backend
            log.log(level, "%s (worker %d of %s)", _shown(line.text), pid, backend)


def _shown(text: str) -> str:
    """Returns text in which nothing but a tab or the beginning of a line is unprintable."""
    shown = (c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
    if "\n" not in text:
        return "".join(shown)
    return "\n    ".join(map(_shown, text.split("\n")))
