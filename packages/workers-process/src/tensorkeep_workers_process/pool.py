"""The workers of one backend: which there are, what they hold, and who is given to whom."""

from __future__ import annotations

from threading import Condition
from time import monotonic
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import WorkerTookTooLong
from tensorkeep_workers_process.placement import LOOKS_EVERY, chosen, dropped, surplus

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from tensorkeep.hookspecs import RunContext
    from tensorkeep_workers_process.process import Process

IDLE: Final = 60.0
"""Seconds after which a worker may end that is not needed."""


class Pool:
    """The workers of one backend. Its methods may be called from any thread.

    Args:
        fork: Returns a new worker.
        keep: How many workers stay although they have nothing to do.
        memory: Bytes that the models of one worker may have together.
        recycle_after: Runs after which a worker is replaced; 0 for never.
        counts: What is counted; see `isolation.Isolation.counts`.
    """

    def __init__(
        self,
        fork: Callable[[], Process],
        keep: int,
        memory: int,
        recycle_after: int,
        counts: Counter[str],
    ) -> None:
        self._fork = fork
        self._keep = keep
        self._memory = memory
        self._recycle_after = recycle_after
        self._counts = counts
        # Guards what follows, and `Process.holds`; told of when a worker is idle again or ended.
        self._lock = Condition()
        self._keeping: set[int] = set()  # the models that keep state
        self._idle: dict[int, Process] = {}
        self._busy: dict[int, Process] = {}
        self._freed: dict[int, list[int]] = {}  # what workers could not be told yet, by worker
        self._closed = False

    def take(self, runnable: int | None = None, run: RunContext | None = None) -> Process:
        """Returns a worker that has nothing else to do, until it is released.

        Waits while the one is busy that holds the model, if that keeps state.

        Args:
            runnable: The model or script that it is to run; None to build one, or for what else
                there is.
            run: The run; one that is cancelled waits no longer.

        Raises:
            BackendUnavailable: There is none, and the plugin cannot be loaded.
            WorkerDied: There is none, and a new one died at once.
            WorkerTookTooLong: The run was cancelled meanwhile.
        """
        with self._lock:
            while runnable in self._keeping and self._is_busy_with(runnable):
                self._lock.wait(LOOKS_EVERY)
                if run is not None and run.cancelled:
                    raise WorkerTookTooLong(run.reason or "it was cancelled")
            number = chosen(self._alive(), runnable)
            if number is not None:
                worker = self._busy[number] = self._idle.pop(number)
                return worker
        worker = self._fork()
        with self._lock:
            self._busy[worker.number] = worker
            self._counts["started"] += 1
        return worker

    def take_holding(self, runnable: int) -> Process | None:
        """Returns a worker that has nothing to do and holds a model, until it is released.

        None where there is none.
        """
        with self._lock:
            number = chosen(self._alive(), runnable)
            if number is None or runnable not in self._idle[number].holds:
                return None
            worker = self._busy[number] = self._idle.pop(number)
            return worker

    def release(self, worker: Process) -> None:
        """Takes a worker back."""
        with self._lock:
            del self._busy[worker.number]
            self._lock.notify_all()
            old = self.is_old(worker)
            gone = worker.gone
            if not (gone or old or self._closed):
                worker.since = monotonic()
                self._idle[worker.number] = worker
                self._tell_of_freed(worker)
                return
            self._freed.pop(worker.number, None)
            self._counts["recycled"] += old and not gone
        if gone:
            worker.close()
        else:
            worker.retire()

    def is_old(self, worker: Process) -> bool:
        """Returns whether a worker is to be replaced once it is released.

        That is where it lacks memory, or has done its runs and no model keeps state in it.
        """
        old = 0 < self._recycle_after <= worker.runs
        return worker.exhausted or (old and self._keeping.isdisjoint(worker.holds))

    def use(self, worker: Process, runnable: int) -> bool:
        """Returns whether a worker holds a model or script; it is used just now."""
        with self._lock:
            size = worker.holds.pop(runnable, None)
            if size is None:
                return False
            worker.holds[runnable] = size
            return True

    def make_room(self, worker: Process, size: int) -> None:
        """Has a worker free what it must before something of so many bytes is built."""
        with self._lock:
            holds = {each: n for each, n in worker.holds.items() if each not in self._keeping}
            gone = dropped(holds, size, self._memory)
            for runnable in gone:
                del worker.holds[runnable]
            self._free(worker, gone)

    def built(
        self, worker: Process, runnable: int, size: int, *, keeps_state: bool = False
    ) -> None:
        """Says that a worker holds something more."""
        with self._lock:
            if keeps_state:
                self._keeping.add(runnable)
            worker.holds[runnable] = size

    def forget(self, runnable: int) -> None:
        """Has a model or script freed wherever it is held."""
        with self._lock:
            self._keeping.discard(runnable)
            for worker in (*self._idle.values(), *self._busy.values()):
                if worker.holds.pop(runnable, None) is not None:
                    self._free(worker, [runnable])

    def workers(self) -> list[Process]:
        """Returns the workers that there are."""
        with self._lock:
            return [*self._idle.values(), *self._busy.values()]

    def watch(self) -> None:
        """Ends those workers that take more memory than they may, or speak unasked."""
        with self._lock:
            self._alive()
        for worker in self.workers():
            worker.look()

    def end_surplus(self) -> None:
        """Lets those workers end that have had nothing to do for long and are not needed."""
        with self._lock:
            busy = [worker.holds for worker in self._busy.values()]
            numbers = surplus(self._alive(), busy, self._keep, monotonic() - IDLE)
            ended = [self._idle.pop(number) for number in numbers]
            for worker in ended:
                self._freed.pop(worker.number, None)
        for worker in ended:
            worker.retire()

    def has_ended(self, worker: Process) -> None:
        """Says that a worker has ended, whatever it was doing."""
        with self._lock:
            self._lock.notify_all()
            idle = self._idle.pop(worker.number, None)
            self._freed.pop(worker.number, None)
            if not worker.retired:
                self._counts["killed" if worker.for_time else "crashed"] += 1
        if idle is not None:
            idle.close()

    def close(self) -> None:
        """Lets go of all workers; those that do something, once they are released."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for worker in idle.values():
            worker.close()

    # ------------------------------------------------------------------ inside
    def _is_busy_with(self, runnable: int | None) -> bool:
        return any(
            runnable in worker.holds and not worker.ended.is_set() for worker in self._busy.values()
        )

    def _alive(self) -> list[Process]:
        return [worker for worker in self._idle.values() if worker.is_quiet()]

    def _free(self, worker: Process, runnables: Sequence[int]) -> None:
        if runnables and not worker.drop(runnables):
            self._freed.setdefault(worker.number, []).extend(runnables)

    def _tell_of_freed(self, worker: Process) -> None:
        freed = self._freed.pop(worker.number, None)
        if freed:
            self._free(worker, freed)
