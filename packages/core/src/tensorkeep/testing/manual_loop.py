"""A loop with virtual time: nothing happens, and no time passes, until the test says so."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tensorkeep.loop import Callback, Timers

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 30.0  # real seconds to wait for another thread before the test has failed


class ManualLoop:
    """A `tensorkeep.loop.Loop` that a test turns by hand.

    Attributes:
        now: The virtual time in seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: SimpleQueue[Callback] = SimpleQueue()
        self._timers = Timers()

    def time(self) -> float:
        """Returns the virtual time."""
        return self.now

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

    def turn(self) -> None:
        """Calls back everything that is due now, and what that brings."""
        while True:
            due = self._timers.pop_due(self.now)
            if due is None:
                try:
                    due = self._calls.get_nowait()
                except Empty:
                    return
            due.run()

    def advance(self, seconds: float) -> None:
        """Lets virtual time pass, calling back what falls due on the way, in order."""
        until = self.now + seconds
        self.turn()
        while (when := self._timers.next()) is not None and when <= until:
            self.now = max(self.now, when)
            self.turn()
        self.now = until

    def run_until(self, condition: Callable[[], object]) -> None:
        """Turns until a condition holds, waiting for other threads; virtual time stands still.

        Raises:
            TimeoutError: It does not hold although nothing came for a long real time.
        """
        self.turn()
        while not condition():
            try:
                self._calls.get(timeout=_PATIENCE).run()
            except Empty:
                message = "nothing happened any more, and the condition does not hold"
                raise TimeoutError(message) from None
            self.turn()
