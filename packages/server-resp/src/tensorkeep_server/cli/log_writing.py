"""Writing the log on a thread of its own: who does not read it must not stop those who serve."""

from __future__ import annotations

import logging
from queue import Full, Queue
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

_MOST: Final = 10_000  # lines that may wait to be written
_PATIENCE: Final = 1.0  # seconds that the end of the process waits for them
_STEP: Final = 0.005


class LogWriter(logging.Handler):
    """Writes lines to a stream, which may be a pipe that nobody reads.

    Lines wait while the stream takes none; those beyond a number are left out, and their number is
    written once it takes lines again.

    Args:
        stream: The stream.
        most: Lines that may wait.
    """

    def __init__(self, stream: TextIO, most: int = _MOST) -> None:
        super().__init__()
        self._stream = stream
        self._lines: Queue[str] = Queue(most)
        self._left_out = 0
        Thread(target=self._write, name="tensorkeep-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record; never waits."""
        try:
            self._lines.put_nowait(self.format(record))
        except Full:
            self._left_out += 1
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a line is not worth more
            self.handleError(record)

    def flush(self) -> None:
        """Waits for what was taken to be written, but not for long."""
        end = monotonic() + _PATIENCE
        while self._lines.unfinished_tasks and monotonic() < end:
            sleep(_STEP)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            left_out, self._left_out = self._left_out, 0
            if left_out:
                line = f"({left_out} lines of the log were left out: nobody read it)\n{line}"
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody is there to read it any more
                pass
            self._lines.task_done()
