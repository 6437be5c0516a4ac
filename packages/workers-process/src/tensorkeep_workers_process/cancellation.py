"""How a run in a worker is cancelled while its thread is in the framework: by another thread."""

from __future__ import annotations

import os
from contextlib import suppress
from struct import Struct
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tensorkeep.hookspecs import RunContext

_HEAD: Final = Struct("<QH")  # number of the call, bytes of the reason
_LONGEST: Final = 2000  # bytes of a reason: what is written to a pipe at once comes whole


def cancel(pipe: int, number: int, reason: str) -> None:
    """Asks a worker to cancel a call; one that takes no notice is not waited for.

    Args:
        pipe: The pipe to the worker, which never blocks.
        number: Number of the call.
        reason: Why, for people.
    """
    text = reason.encode("utf-8", "replace")[:_LONGEST]
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(pipe, _HEAD.pack(number, len(text)) + text)


class Cancellation:
    """The worker's side of it.

    Args:
        pipe: The pipe from the server.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = Lock()  # guards the two below
        self._running: tuple[int, RunContext] | None = None
        self._cancelled: tuple[int, str] = (0, "")
        Thread(target=self._listen, name="cancellation", daemon=True).start()

    def begin(self, number: int, context: RunContext) -> None:
        """Says what runs now; it is cancelled at once if that was asked for before."""
        with self._lock:
            self._running = (number, context)
            cancelled, reason = self._cancelled
        if cancelled == number:
            context.cancel(reason)

    def end(self) -> None:
        """Says that nothing runs."""
        with self._lock:
            self._running = None

    def _listen(self) -> None:
        with os.fdopen(self._pipe, "rb") as pipe:
            while head := pipe.read(_HEAD.size):
                number, length = _HEAD.unpack(head)
                reason = pipe.read(length).decode("utf-8", "replace")
                with self._lock:
                    self._cancelled = (number, reason)
                    running = self._running
                if running is not None and running[0] == number:
                    running[1].cancel(reason)
