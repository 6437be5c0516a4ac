"""A worker for everything: a thread, and beside it what runs models outside without a thread.

A slot does one batch after another, in the order in which it was handed them. What one run of an
isolated model does goes straight from the loop to a worker process and back, which spares two hops
between threads. Everything else is done by the thread.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from tensorkeep.errors import TensorkeepError
from tensorkeep.execution import inputs_of_one_run, lost, outcomes_of_one_run
from tensorkeep.isolation import NotBegun
from tensorkeep.model import Model
from tensorkeep.trial import UnexpectedRowsError
from tensorkeep.worker import Outbox, ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.backend import Backend
    from tensorkeep.execution import Outcome
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.isolation import Runner
    from tensorkeep.loop import Loop
    from tensorkeep.model import Runnable
    from tensorkeep.runqueue import Run
    from tensorkeep.tensor import Tensor
    from tensorkeep.worker import Worker


class _Batch(NamedTuple):
    """A batch that the slot was handed.

    Attributes:
        runs: Its runs.
        context: Their context.
        failed: What a shared run of them failed with, where they have had one.
        by_thread: Whether the thread is to do it.
    """

    runs: Sequence[Run]
    context: RunContext
    failed: Exception | None = None
    by_thread: bool = False


class Slot:
    """A worker that is a thread of this process, and runs isolated models without it.

    Args:
        name: Name of the thread.
        outbox: Where outcomes go.
        loop: The loop on whose thread it is called.
        runner: Returns what runs models of a backend outside without a thread that waits, None
            where there is no such thing.
    """

    def __init__(
        self,
        name: str,
        outbox: Outbox,
        loop: Loop,
        runner: Callable[[Backend], Runner | None],
    ) -> None:
        self._outbox = outbox
        self._thread = ThreadWorker(name, Outbox(loop, self._take_from_thread))
        self._on_thread = 0  # batches that the thread has
        self._find_runner = runner
        self._runners: dict[Backend, Runner | None] = {}
        self._running: Runner | None = None  # that has the batches of `_started`
        self._started: deque[_Batch] = deque()
        self._began = 0.0  # when the first of them was begun
        self._waiting: deque[_Batch] = deque()  # for what goes on elsewhere

    # ------------------------------------------------------------------ as any worker
    def hand(self, batch: Sequence[Run], context: RunContext) -> None:
        """See `worker.Worker.hand`."""
        handed = _Batch(batch, context)
        if self._waiting or not self._begin(handed):
            self._waiting.append(handed)

    def wait(self, seconds: float) -> None:
        """See `worker.Worker.wait`."""
        if self._started and self._running is not None:
            self._running.wait(seconds)

    def take_back(self) -> int:
        """See `worker.Worker.take_back`."""
        count = len(self._waiting)
        self._waiting.clear()
        from_thread = self._thread.take_back()
        self._on_thread -= from_thread
        if self._running is not None:
            for _ in range(self._running.withdraw()):
                self._started.pop()
                count += 1
        return count + from_thread

    def stop(self) -> None:
        """See `worker.Worker.stop`."""
        self._thread.stop()
        for runner in self._runners.values():
            if runner is not None:
                runner.stop()

    def cpu_seconds(self) -> float:
        """See `worker.Worker.cpu_seconds`; that of the thread."""
        return self._thread.cpu_seconds()

    # ------------------------------------------------------------------ beginning
    def _begin(self, batch: _Batch) -> bool:
        """Begins a batch, or has it begin behind others; returns whether it could."""
        runner = None if batch.by_thread else self._runner_for(batch.runs[0].runnable)
        if runner is not None:
            if self._on_thread or (self._started and runner is not self._running):
                return False
            if self._start(batch, runner):
                return True
        if self._started:
            return False
        self._thread.hand(batch.runs, batch.context, batch.failed)
        self._on_thread += 1
        return True

    def _start(self, batch: _Batch, runner: Runner) -> bool:
        """Starts a batch without the thread; returns whether that was possible."""
        runnable = batch.runs[0].runnable
        assert isinstance(runnable, Model)  # noqa: S101 - see _runner_for
        inputs = inputs_of_one_run(batch.runs)
        if inputs is None:
            return False
        if not self._started:
            self._running, self._began = runner, monotonic()
        self._started.append(batch)
        if not runner.start(runnable.loaded, inputs, batch.context, self._done):
            self._started.pop()
            return False
        return True

    def _runner_for(self, runnable: Runnable) -> Runner | None:
        """Returns what may run something without the thread; None where it has to."""
        backend = runnable.backend
        if not backend.isolated or not isinstance(runnable, Model):
            return None
        if backend not in self._runners:
            self._runners[backend] = self._find_runner(backend)
        return self._runners[backend]

    def _begin_waiting(self) -> None:
        while self._waiting and self._begin(self._waiting[0]):
            self._waiting.popleft()

    # ------------------------------------------------------------------ what comes back
    def _done(self, result: Sequence[Tensor | None] | Exception) -> None:
        """Takes what became of the first batch that was started without the thread."""
        batch = self._started.popleft()
        now = monotonic()
        seconds, self._began = now - self._began, now
        if isinstance(result, NotBegun):
            self._again(batch._replace(by_thread=True))
            return
        try:
            outcomes = outcomes_of_one_run(batch.runs, result, batch.context, seconds)
        except (TensorkeepError, UnexpectedRowsError) as error:
            self._again(batch._replace(failed=error, by_thread=True))
            return
        except Exception as error:  # noqa: BLE001 - `lost` logs it; who waits must hear of it
            outcomes = lost(batch.runs, error)
        self._outbox.give(outcomes, self)
        self._begin_waiting()

    def _again(self, batch: _Batch) -> None:
        """Has a batch done by the thread, before all that were handed after it."""
        first = sum(each.by_thread for each in self._waiting)
        self._waiting.insert(first, batch)
        self._begin_waiting()

    def _take_from_thread(self, outcomes: list[Outcome], _: Worker, done: bool) -> None:  # noqa: FBT001 - a callback
        self._on_thread -= done
        self._outbox.give(outcomes, self, done=done)
        self._begin_waiting()
