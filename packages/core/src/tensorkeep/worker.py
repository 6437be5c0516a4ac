"""The only file that starts threads: workers that run batches, the watchdog, and what others ask.

A worker takes batches through a queue and gives outcomes back on the loop's thread, a burst of
them in one hop. Whoever takes a batch and returns outcomes is a worker: one in another process
would fit the same place.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from time import clock_gettime, monotonic, pthread_getcpuclockid, sleep
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

from tensorkeep.execution import Outcome, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.hookspecs import RunContext
    from tensorkeep.loop import Loop
    from tensorkeep.runqueue import Run

_log = logging.getLogger(__name__)

_LOOK, _END = "look", "end"
_LOOKS_PER_TIMEOUT: Final = 20  # at a run that goes on although it was cancelled
_PATIENCE: Final = 0.01  # seconds until it is tried again where there was no memory


class Worker(Protocol):
    """Whoever takes a batch and returns its outcomes."""

    def hand(self, batch: Sequence[Run], context: RunContext) -> None:
        """Gives the worker a batch; called on the loop's thread."""

    def wait(self, seconds: float) -> None:
        """Waits so long at most for what it does; called on the loop's thread.

        A worker whose outcomes come from another thread does not.
        """

    def take_back(self) -> int:
        """Takes back what the worker has not begun; called on the loop's thread.

        Returns:
            How many batches, the last that it was handed: it will not return their outcomes. A
            worker that cannot tell returns 0.
        """

    def stop(self) -> None:
        """Ends the worker once it has done what it was handed."""

    def cpu_seconds(self) -> float:
        """Returns the processor time that the worker has used."""


class Outbox:
    """Carries what threads have for the loop: everything that piled up goes in one hop.

    Args:
        loop: Where to deliver.
        deliver: Called on the loop's thread with each item, in order.
    """

    def __init__(self, loop: Loop, deliver: Callable[[list[Outcome], Worker, bool], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        self._items: deque[tuple[list[Outcome], Worker, bool]] = deque()
        self._announced = False

    def give(self, outcomes: list[Outcome], worker: Worker, *, done: bool = True) -> None:
        """Delivers the outcomes of a batch at once; called on the loop's thread. See `put`."""
        try:
            self._deliver(outcomes, worker, done)
        except BaseException:  # noqa: BLE001 - what comes with it is still to be delivered
            _log.exception("outcomes of %d runs could not be delivered", len(outcomes))

    def put(self, outcomes: list[Outcome], worker: Worker, *, done: bool = True) -> None:
        """Adds the outcomes of a batch; may be called from any thread.

        Args:
            outcomes: The outcomes.
            worker: Who did the batch.
            done: Whether that is all. Otherwise the worker is still busy with it, and will put its
                outcomes again, marked as told.
        """
        self._items.append((outcomes, worker, done))
        if not self._announced:
            self._announced = True
            tell(self._loop, self._drain)

    def _drain(self) -> None:
        # Cleared first: what is added from here on announces itself again.
        self._announced = False
        while self._items:
            outcomes, worker, done = self._items.popleft()
            self.give(outcomes, worker, done=done)


class ThreadWorker:
    """A worker that is a thread of this process.

    Args:
        name: Name of the thread.
        outbox: Where outcomes go.
    """

    def __init__(self, name: str, outbox: Outbox) -> None:
        self._outbox = outbox
        # A batch is whoever's who takes it out: the thread's, or the loop's that takes it back.
        self._batches: deque[tuple[Sequence[Run], RunContext, Exception | None]] = deque()
        self._calls: SimpleQueue[str] = SimpleQueue()  # one for each batch, and one at the end
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def hand(
        self, batch: Sequence[Run], context: RunContext, failed: Exception | None = None
    ) -> None:
        """See `Worker.hand`; and for the last argument `execution.execute`."""
        self._batches.append((batch, context, failed))
        self._calls.put(_LOOK)

    def wait(self, seconds: float) -> None:
        """See `Worker.wait`."""

    def take_back(self) -> int:
        """See `Worker.take_back`."""
        count = 0
        with suppress(IndexError):
            while True:
                self._batches.pop()
                count += 1
        return count

    def stop(self) -> None:
        """See `Worker.stop`."""
        self._calls.put(_END)

    def cpu_seconds(self) -> float:
        """See `Worker.cpu_seconds`."""
        ident = self._thread.ident
        if ident is None or not self._thread.is_alive():
            return 0.0
        return clock_gettime(pthread_getcpuclockid(ident))

    def _put_early(self, outcomes: list[Outcome]) -> None:
        self._outbox.put(outcomes, self, done=False)

    def _work(self) -> None:
        while self._calls.get() is not _END:
            try:
                batch, context, failed = self._batches.popleft()
            except IndexError:  # it was taken back
                continue
            outcomes = execute(batch, context, self._put_early, failed)
            del batch
            self._outbox.put(outcomes, self)
            del outcomes, context, failed


class Watchdog:
    """A thread that cancels runs beyond their deadline, wherever they run.

    It sleeps until the earliest deadline instead of setting a timer for each run: a run that ends
    in time, as nearly all do, costs nothing. One that goes on although it was cancelled is
    cancelled again and again, and reported, once: not every backend can end a run.

    Args:
        running: Returns what runs now.
        timeout: Seconds that each run has. What begins while the watchdog sleeps has its deadline
            later than that.
        describe: Returns what runs in a context, for the log.
    """

    def __init__(
        self,
        running: Callable[[], Sequence[RunContext]],
        timeout: float,
        describe: Callable[[RunContext], str],
    ) -> None:
        self._running = running
        self._describe = describe
        self._timeout = timeout
        self._again = timeout / _LOOKS_PER_TIMEOUT
        self._stopped = Event()
        self._reported: WeakSet[RunContext] = WeakSet()
        Thread(target=self._watch, name="tensorkeep-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()

    def _watch(self) -> None:
        pause = self._timeout
        while not self._stopped.wait(pause):
            try:
                pause = self._look()
            except Exception:  # noqa: BLE001 - the next look may succeed
                _log.exception("looking for runs beyond their time failed")
                pause = self._again

    def _look(self) -> float:
        """Cancels what is beyond its time; returns the seconds until the next look."""
        now = monotonic()
        pause = self._timeout
        for context in self._running():
            deadline = context.deadline
            if deadline is None:
                continue
            if deadline > now:
                pause = min(pause, deadline - now)
                continue
            if context.cancelled:
                self._report(context)
            context.cancel(
                f"it took longer than {context.timeout:g} s, the MODEL_EXECUTION_TIMEOUT"
            )
            pause = min(pause, self._again)
        return pause

    def _report(self, context: RunContext) -> None:
        if context not in self._reported:
            self._reported.add(context)
            _log.warning(
                "a run of the %s on %s goes on beyond its time and does not let itself be ended",
                self._describe(context),
                context.device.queue,
            )


def tell(loop: Loop, callback: Callable[..., object], *args: object) -> None:
    """Calls back on the loop's thread; once the loop is closed, nobody is left to be told."""
    while True:
        try:
            loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # what asyncio and uvloop raise then, and only then
            _log.debug("the loop was closed before it could be told of %r", callback)
        except MemoryError:  # a client waits for what nobody else would tell
            sleep(_PATIENCE)
            continue
        return


def start_thread(name: str, target: Callable[[], None]) -> Thread:
    """Starts a daemon thread."""
    thread = Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
