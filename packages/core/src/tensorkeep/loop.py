"""What the engine needs of an event loop, and a small loop for programs that have none.

asyncio's and uvloop's loops fit the protocol as they are.
"""

from __future__ import annotations

import logging
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


_log = logging.getLogger(__name__)


class Handle(Protocol):
    """A callback that may still be called off."""

    def cancel(self) -> None:
        """Calls the callback off."""


class Loop(Protocol):
    """The part of an event loop that the engine uses; all but the last on the loop's thread."""

    def time(self) -> float:
        """Returns the loop's monotonic time in seconds."""

    def call_soon(self, callback: Callable[..., object], /, *args: object) -> Handle:
        """Calls back after what is being done now."""

    def call_at(self, when: float, callback: Callable[..., object], /, *args: object) -> Handle:
        """Calls back at a time of the loop's clock."""

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: object) -> Handle:
        """Calls back on the loop's thread; may be called from any thread."""


class Callback:
    """A callback with its arguments, which can be called off."""

    __slots__ = ("_call",)

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self._call: tuple[Callable[..., object], tuple[object, ...]] | None = (callback, args)

    def cancel(self) -> None:
        """Calls the callback off."""
        self._call = None

    def run(self) -> None:
        """Calls it, once, unless it was called off."""
        call, self._call = self._call, None
        if call is not None:
            call[0](*call[1])


class Timers:
    """Callbacks by the time at which they are due; those of one time keep their order."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callback]] = []
        self._serials = count()

    def add(self, when: float, callback: Callback) -> None:
        """Adds a callback."""
        heappush(self._heap, (when, next(self._serials), callback))

    def next(self) -> float | None:
        """Returns when the next one is due, None when there is none."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Callback | None:
        """Takes out one that is due, None when none is."""
        return heappop(self._heap)[2] if self._heap and self._heap[0][0] <= now else None


class QueueLoop:
    """A loop that only knows callbacks and timers; `run` occupies the thread that calls it."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callback] = SimpleQueue()
        self._timers = Timers()
        self._running = True

    def time(self) -> float:
        """Returns the monotonic time in seconds."""
        return monotonic()

    def call_soon(self, callback: Callable[..., object], /, *args: object) -> Callback:
        """See `Loop.call_soon`."""
        call = Callback(callback, args)
        self._calls.put(call)
        return call

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., object], /, *args: object) -> Callback:
        """See `Loop.call_at`."""
        call = Callback(callback, args)
        self._timers.add(when, call)
        return call

    def stop(self) -> None:
        """Makes `run` return after what is being done now."""
        self._running = False

    def run(self) -> None:
        """Runs callbacks until `stop` is called."""
        while self._running:
            call = self._timers.pop_due(monotonic())
            if call is None:
                when = self._timers.next()
                try:
                    timeout = None if when is None else max(0.0, when - monotonic())
                    call = self._calls.get(timeout=timeout)
                except Empty:
                    continue
            try:
                call.run()
            except BaseException:  # noqa: BLE001 - the others' callbacks are still to come
                _log.exception("a callback failed")
            del call
