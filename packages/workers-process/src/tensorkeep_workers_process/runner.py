"""Runs of models for an event loop: sent to a worker and taken from it, and nobody waits."""

from __future__ import annotations

import logging
import os
from collections import deque
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from tensorkeep.isolation import NotBegun
from tensorkeep_workers_process.arena import SOON_COPIED, place, room
from tensorkeep_workers_process.messages import NoMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.errors import TensorkeepError
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.model import LoadedModel
    from tensorkeep.tensor import Tensor
    from tensorkeep_workers_process.pool import Pool
    from tensorkeep_workers_process.process import Process

    Done = Callable[[Sequence[Tensor | None] | Exception], None]

_log = logging.getLogger(__name__)


class ReadingLoop(Protocol):
    """The part of an event loop that is needed here."""

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: object) -> object:
        """Has something called while a file can be read."""

    def remove_reader(self, fd: int) -> bool:
        """Has it called no longer."""

    def call_soon(self, callback: Callable[..., object], /, *args: object) -> object:
        """Calls back after what is being done now."""

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: object) -> object:
        """Calls back on the loop's thread; may be called from any thread."""


@dataclass(slots=True)
class _Sent:
    """A run that was sent.

    Attributes:
        number: Number of the call.
        run: Its context.
        place: From where to where its inputs lie in the arena; None where they do not.
        done: What is told of its end; None once it was withdrawn.
    """

    number: int
    run: RunContext
    place: tuple[int, int] | None
    done: Done | None


class ProcessRunner:
    """See `tensorkeep.isolation.Runner`.

    It has a worker from the pool only while runs go on there.

    Args:
        pool: The workers of the backend.
        loop: The loop on whose thread it is called.
    """

    def __init__(self, pool: Pool, loop: ReadingLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._worker: Process | None = None
        self._sent: deque[_Sent] = deque()
        self._dying = False
        self._flushes = False  # whether what is to be sent will be, soon

    # ------------------------------------------------------------------ starting
    def start(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext, done: Done
    ) -> bool:
        """See `tensorkeep.isolation.Runner.start`."""
        sizes = [tensor.nbytes for tensor in inputs]
        if self._dying or sum(sizes) > SOON_COPIED:
            return False
        runnable: int = model.native.number
        worker = self._worker_for(runnable)
        if worker is None:
            return False
        wanted = room(sizes)
        offset = None
        taken = [sent.place for sent in self._sent if sent.place is not None] if wanted else []
        if taken:
            offset = place(taken, wanted, worker.room_for_inputs)
            if offset is None:
                return False  # there is room again when those before it are done
        try:
            number = worker.start_run(runnable, inputs, run, behind=bool(self._sent), offset=offset)
        except BlockingIOError:
            self._release_if_idle()
            return False
        first = offset or 0
        self._sent.append(_Sent(number, run, (first, first + wanted) if wanted else None, done))
        if len(self._sent) == 1:
            worker.flush()  # the worker waits for it
            self._begin_first()
        elif not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)
        return True

    def _flush(self) -> None:
        """Sends what was started in this turn of the loop, together: each message wakes a process.

        What there is no room for goes when the worker has answered something.
        """
        self._flushes = False
        if self._worker is not None and not self._dying:
            self._worker.flush()

    def _worker_for(self, runnable: int) -> Process | None:
        """Returns the worker to which a run may be sent; None where there is none at once."""
        worker = self._worker
        if worker is not None:
            if not self._pool.is_old(worker) and self._pool.use(worker, runnable):
                return worker
            if self._sent:
                return None
            self._release()
        worker = self._worker = self._pool.take_holding(runnable)
        if worker is not None:
            self._loop.add_reader(worker.file, self._read)
        return worker

    def _begin_first(self) -> None:
        first = self._sent[0]
        first.run.begin(monotonic())
        assert self._worker is not None  # noqa: S101 - it was sent to it
        self._worker.goes_on(first.number, first.run)

    def withdraw(self) -> int:
        """See `tensorkeep.isolation.Runner.withdraw`: the worker does it all the same."""
        waiting = [sent for sent in [*self._sent][1:] if sent.done is not None]
        for sent in waiting:
            sent.done = None
        return len(waiting)

    def stop(self) -> None:
        """See `tensorkeep.isolation.Runner.stop`: it has a worker only while runs go on."""

    # ------------------------------------------------------------------ what comes back
    def wait(self, seconds: float) -> None:
        """See `tensorkeep.isolation.Runner.wait`: asks again and again, and never sleeps."""
        self._read(monotonic() + seconds)

    def _read(self, until: float = 0.0) -> None:
        """Takes what the worker has sent, and sends until then."""
        while self._sent and not self._dying:
            assert self._worker is not None  # noqa: S101 - runs were sent to it
            try:
                result = self._worker.reply(self._sent[0].number)
            except BlockingIOError:
                self._worker.flush()
                if monotonic() < until:
                    continue
                return
            except (EOFError, ConnectionError):
                self._has_died("")
                return
            except NoMessage as error:
                self._has_died(str(error))
                return
            self._end_first(result)
        self._release_if_idle()

    def _end_first(self, result: Sequence[Tensor | None] | Exception) -> None:
        first = self._sent.popleft()
        first.run.on_cancel(None)
        if self._dying:
            pass
        elif self._sent:
            self._begin_first()
        elif self._worker is not None:
            self._worker.goes_on(0, None)
        if first.done is None:
            return
        try:
            first.done(result)
        except Exception:  # noqa: BLE001 - others are still to be told
            _log.exception("the end of a run could not be told")

    def _release_if_idle(self) -> None:
        if self._worker is not None and not self._sent:
            self._release()

    def _release(self) -> None:
        worker, self._worker = self._worker, None
        assert worker is not None  # noqa: S101 - asked by who calls
        self._loop.remove_reader(worker.file)
        os.set_blocking(worker.file, True)  # the loop has changed that
        self._pool.release(worker)

    # ------------------------------------------------------------------ the worker's end
    def _has_died(self, violation: str) -> None:
        """Finds out of what the worker died, which may take a moment, on a thread of its own."""
        worker = self._worker
        assert worker is not None  # noqa: S101 - runs were sent to it
        self._dying = True
        self._loop.remove_reader(worker.file)
        os.set_blocking(worker.file, True)

        def find_out() -> None:
            error = worker.death(violation)
            try:
                self._loop.call_soon_threadsafe(self._bury, worker, error)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                self._pool.release(worker)

        Thread(target=find_out, name="tensorkeep-death", daemon=True).start()

    def _bury(self, worker: Process, error: TensorkeepError) -> None:
        self._pool.release(worker)
        self._worker = None
        result: Exception = error
        while self._sent:
            self._end_first(result)
            result = NotBegun()
        self._dying = False
