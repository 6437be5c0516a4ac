"""A worker for everything: a thread, and beside it what runs models outside without a thread.

A slot does one batch after another, in the order in which it was handed them. What one run of an
isolated model does goes straight from the loop to a worker process and back, which spares two hops
between threads. Everything else is done by the thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

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


class _Where(Enum):
    """Where a batch is."""

    WAITING = "waiting for what goes on elsewhere"
    OUTSIDE = "in a worker outside, without the thread"
    THREAD = "with the thread"
    DONE = "done, behind one that is not"


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch that the slot was handed, and whose outcomes it has not given back.

    Attributes:
        runs: Its runs.
        context: Their context.
        where: Where it is.
        by_thread: Whether the thread is to do it.
        failed: What a shared run of it failed with, where it has had one.
        outcomes: Its outcomes, once it is done.
    """

    runs: Sequence[Run]
    context: RunContext
    where: _Where = _Where.WAITING
    by_thread: bool = False
    failed: Exception | None = None
    outcomes: list[Outcome] = field(default_factory=list)


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
        self._find_runner = runner
        self._runners: dict[Backend, Runner | None] = {}
        self._batches: deque[_Batch] = deque()  # in the order in which they were handed
        self._waiting = 0  # how many of them wait
        self._on_thread: deque[_Batch] = deque()  # those with the thread
        self._outside: deque[_Batch] = deque()  # those outside
        self._running: Runner | None = None  # that has those
        self._began = 0.0  # when the first of those was begun

    # ------------------------------------------------------------------ as any worker
    def hand(self, batch: Sequence[Run], context: RunContext) -> None:
        """See `worker.Worker.hand`."""
        handed = _Batch(batch, context)
        self._batches.append(handed)
        if self._waiting or not self._begin(handed):
            self._waiting += 1

    def wait(self, seconds: float) -> None:
        """See `worker.Worker.wait`."""
        if self._outside and self._running is not None:
            self._running.wait(seconds)

    def take_back(self) -> int:
        """See `worker.Worker.take_back`."""
        before = len(self._batches)
        while self._batches:
            last = self._batches[-1]
            if last.where is not _Where.WAITING or last.failed is not None:
                break
            self._batches.pop()
            self._waiting -= 1
        if self._batches and self._batches[-1].where is _Where.THREAD:
            for _ in range(self._thread.take_back()):
                self._on_thread.pop()
                self._batches.pop()
        elif self._batches and self._batches[-1].where is _Where.OUTSIDE:
            assert self._running is not None  # noqa: S101 - it has them
            for _ in range(self._running.withdraw()):
                self._outside.pop()
                self._batches.pop()
        return before - len(self._batches)

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
            if self._on_thread or (self._outside and runner is not self._running):
                return False
            if self._start(batch, runner):
                return True
        if self._outside:
            return False
        batch.where = _Where.THREAD
        self._on_thread.append(batch)
        self._thread.hand(batch.runs, batch.context, batch.failed)
        return True

    def _start(self, batch: _Batch, runner: Runner) -> bool:
        """Starts a batch without the thread; returns whether that was possible."""
        runnable = batch.runs[0].runnable
        assert isinstance(runnable, Model)  # noqa: S101 - see _runner_for
        inputs = inputs_of_one_run(batch.runs)
        if inputs is None or not runner.start(runnable.loaded, inputs, batch.context, self._done):
            return False
        if not self._outside:
            self._running, self._began = runner, monotonic()
        batch.where = _Where.OUTSIDE
        self._outside.append(batch)
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
        """Begins what waits, in order, as far as that is possible."""
        if not self._waiting:
            return
        for batch in [each for each in self._batches if each.where is _Where.WAITING]:
            if not self._begin(batch):
                return
            self._waiting -= 1

    # ------------------------------------------------------------------ what comes back
    def _done(self, result: Sequence[Tensor | None] | Exception) -> None:
        """Takes what became of the first batch that was started without the thread."""
        batch = self._outside.popleft()
        now = monotonic()
        seconds, self._began = now - self._began, now
        if isinstance(result, NotBegun):
            self._do_again(batch)
            return
        try:
            outcomes = outcomes_of_one_run(batch.runs, result, batch.context, seconds)
        except (TensorkeepError, UnexpectedRowsError) as error:
            batch.failed = error
            self._do_again(batch)
            return
        except Exception as error:  # noqa: BLE001 - `lost` logs it; who waits must hear of it
            outcomes = lost(batch.runs, error)
        self._end(batch, outcomes)

    def _do_again(self, batch: _Batch) -> None:
        """Has a batch done by the thread."""
        batch.by_thread, batch.where = True, _Where.WAITING
        self._waiting += 1
        self._begin_waiting()

    def _take_from_thread(self, outcomes: list[Outcome], _: Worker, done: bool) -> None:  # noqa: FBT001 - a callback
        if done:
            self._end(self._on_thread.popleft(), outcomes)
        else:
            self._outbox.give(outcomes, self, done=False)

    def _end(self, batch: _Batch, outcomes: list[Outcome]) -> None:
        """Gives back the outcomes of a batch, once all before it have theirs."""
        batch.where, batch.outcomes = _Where.DONE, outcomes
        while self._batches and self._batches[0].where is _Where.DONE:
            self._outbox.give(self._batches.popleft().outcomes, self)
        self._begin_waiting()
