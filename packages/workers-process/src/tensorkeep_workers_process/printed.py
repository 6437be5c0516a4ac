"""What nurseries and workers print and log, as lines of the server's log."""

from __future__ import annotations

import logging
import os
import select
from collections import deque
from typing import TYPE_CHECKING, Final

from tensorkeep.bounded_log import BoundedLog
from tensorkeep_workers_process.worker_log import PRINTED, line_of

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(PRINTED)

_LONGEST: Final = 16 * 1024  # bytes of a line
_KEPT: Final = 8  # lines
_AT_ONCE: Final = 64 * 1024


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
        self._last: deque[bytes] = deque(maxlen=_KEPT)
        self._ended = False

    def read(self) -> bool:
        """Logs what has come; False when no more will."""
        data = os.read(self._file, _AT_ONCE)
        self._ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST or not data:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line.strip():
                self._last.append(line)
                self._write(line[:_LONGEST])
        return bool(data)

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
        if self._lines.allows(log, line.level):
            pid, backend = self._pid(), self._backend
            log.log(line.level, "%s (worker %d of %s)", _shown(line.text), pid, backend)


def _shown(text: str) -> str:
    """Returns text in which nothing but a tab or the beginning of a line is unprintable."""
    shown = (c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
    if "\n" not in text:
        return "".join(shown)
    return "\n    ".join(map(_shown, text.split("\n")))
