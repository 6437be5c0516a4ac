"""Threads for what takes long and must not disturb: imports, and building models.

One job may take for ever: a model whose functions double, a script that compiles without end. No
thread can be ended, so one that is busy for too long is replaced: another takes the jobs that wait,
and whoever waits for the long one can be told that it is given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, Final

from tensorkeep.worker import start_thread, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tensorkeep.loop import Handle, Loop

MOST_THREADS: Final = 64
"""Threads of a loader, those that were replaced included."""


def _nothing() -> None:
    """Tells nobody."""


@dataclass(slots=True, eq=False)
class Job:
    """One thing to do.

    Attributes:
        do: Does it, on a thread.
        done: Called on the loop's thread with its result and its error.
        within: Seconds after which it is beyond its time; 0 for no such limit.
        beyond: Called then, on the loop's thread; `done` is called all the same, once it ends.
        began: When it began, by the monotonic clock; None while it waits.
        told: Whether `beyond` was called.
        replaced: Whether another thread does what its own would have done next.
    """

    do: Callable[[], object]
    done: Callable[..., None]
    within: float = 0.0
    beyond: Callable[[], None] = _nothing
    began: float | None = None
    told: bool = False
    replaced: bool = False


def beyond_time(running: Iterable[Job], now: float) -> list[Job]:
    """Returns the jobs that go on beyond their time, and of which nobody was told."""
    return [job for job in running if _until(job) <= now]


def overtaken(
    running: Sequence[Job], waiting: int, now: float, patience: float | None
) -> list[Job]:
    """Returns the jobs whose threads are to be replaced.

    That is each that is beyond its time, and of those that keep others waiting as many as wait.

    Args:
        running: Jobs that go on, by the time at which they began.
        waiting: Jobs that no thread has taken.
        now: The time.
        patience: Seconds that a job may keep others waiting; None for any time.
    """
    found = [job for job in running if job.told and not job.replaced]
    if patience is not None:
        long = [
            job
            for job in running
            if not (job.told or job.replaced)
            and job.began is not None
            # By the same sum as in `next_look`, for the two must not differ by rounding.
            and job.began + patience <= now
        ]
        found += long[: max(0, waiting - len(found))]
    return found[: max(0, MOST_THREADS - len(running))]


def next_look(running: Iterable[Job], waiting: int, patience: float | None) -> float | None:
    """Returns when to look again at jobs that go on; None for not before something happens."""
    times = [when for job in running if (when := _until(job)) < _NEVER]
    if waiting and patience is not None:
        times += [
            job.began + patience for job in running if job.began is not None and not job.replaced
        ]
    return min(times, default=None)


_NEVER: Final = float("inf")


def _until(job: Job) -> float:
    """Returns when a job is beyond its time, and somebody is to be told."""
    if not job.within or job.told or job.began is None:
        return _NEVER
    return job.began + job.within


class Loader:
    """Threads that do jobs, in the order in which they come.

    Args:
        loop: Where to call back.
        name: Name of the threads.
        most: How many jobs are done at the same time. A further thread is started when all there
            are have something to do.
        patience: Seconds after which a job that goes on no longer keeps others waiting; None for
            one that does for as long as it is not beyond its time.
    """

    def __init__(self, loop: Loop, name: str, most: int = 1, patience: float | None = None) -> None:
        self._loop = loop
        self._name = name
        self._most = most
        self._patience = patience
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = RLock()  # guards what follows; freeing submits from within anything
        self._threads = 1  # that take jobs
        self._waiting = 0
        self._running: list[Job] = []
        self._stopped = False
        self._timer: Handle | None = None  # the loop's thread alone
        start_thread(name, self._work)

    @property
    def stuck(self) -> int:
        """Number of jobs that go on beyond their time."""
        with self._lock:
            return sum(job.told for job in self._running)

    def submit(
        self,
        do: Callable[[], object],
        done: Callable[..., None],
        within: float = 0.0,
        beyond: Callable[[], None] = _nothing,
    ) -> None:
        """Has a job done; from any thread. See `Job` for the arguments."""
        with self._lock:
            self._waiting += 1
            going_on = sum(not job.replaced for job in self._running)
            more = self._threads < min(self._waiting + going_on, self._most)
            late = self._patience is not None and self._waiting + going_on > self._most
        self._jobs.put(Job(do, done, within, beyond))
        if more:
            self._start()
        if late:
            tell(self._loop, self._look)

    def stop(self) -> None:
        """Ends the threads once they have done what they were given."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            self._stopped = True
            threads = self._threads
        for _ in range(threads):
            self._jobs.put(None)

    def _start(self) -> bool:
        """Starts a thread; returns whether there is one more."""
        with self._lock:
            self._threads += 1
        try:
            start_thread(self._name, self._work)
        except (RuntimeError, MemoryError):  # there can be no more: those there are do it, later
            with self._lock:
                self._threads -= 1
            return False
        return True

    # ------------------------------------------------------------------ on the loop's thread
    def _look(self) -> None:
        """Tells of jobs that are beyond their time, and replaces threads."""
        now = monotonic()
        with self._lock:
            if self._stopped:
                return
            late = beyond_time(self._running, now)
            for job in late:
                job.told = True
            replaced = overtaken(self._running, self._waiting, now, self._patience)
        for job in replaced:
            self._replace(job)
        with self._lock:
            when = next_look(self._running, self._waiting, self._patience)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when is not None:
            pause = max(0.0, when - monotonic())
            self._timer = self._loop.call_at(self._loop.time() + pause, self._look)
        for job in late:
            job.beyond()

    def _replace(self, job: Job) -> None:
        """Starts a thread in place of that which does a job, unless it has just ended."""
        if not self._start():
            return
        with self._lock:
            self._threads -= 1
            if job in self._running:
                job.replaced = True
                return
        self._jobs.put(None)  # one too many: whichever comes next ends

    # ------------------------------------------------------------------ on its threads
    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._waiting -= 1
                job.began = monotonic()
                self._running.append(job)
                keeps_waiting = self._patience is not None and self._waiting
            if job.within or keeps_waiting:
                tell(self._loop, self._look)
            # Handed over in a box that is empty once it was taken: this thread must not keep a
            # model alive, and it may be some time until it gets on.
            box: list[tuple[object, BaseException | None]] = []
            try:
                box.append((job.do(), None))
            except BaseException as error:  # noqa: BLE001 - handed to `done`, which decides
                box.append((None, error))
            done = job.done
            with self._lock:
                self._running.remove(job)
                replaced = job.replaced
            tell(self._loop, _unpack, box, done)
            del job, done, box
            if replaced:
                return


def _unpack(box: list[tuple[object, BaseException | None]], done: Callable[..., None]) -> None:
    done(*box.pop())
