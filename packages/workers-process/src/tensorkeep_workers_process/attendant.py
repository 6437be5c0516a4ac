"""A thread that attends to what comes by itself: how workers end, what they print, and times.

It also starts nurseries, which end with the thread that started them.
"""

from __future__ import annotations

import logging
import os
import selectors
from collections import deque
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_R = TypeVar("_R")

_WAKE: Final = b"\0"


class Timer:
    """Something that is to be done at a time.

    Args:
        job: What is to be done.
    """

    __slots__ = ("_job",)

    def __init__(self, job: Callable[[], None]) -> None:
        self._job: Callable[[], None] | None = job

    def cancel(self) -> None:
        """Has it not be done, if it was not yet; what it would use is let go of."""
        self._job = None

    def __call__(self) -> None:
        """Does it, unless it was cancelled."""
        job, self._job = self._job, None
        if job is not None:
            job()


class Attendant:
    """The thread. It is started by the first thing that there is to do."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards what follows
        self._jobs: deque[Callable[[], None]] = deque()
        self._times: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._thread: Thread | None = None
        self._closed = False
        self._selector = selectors.DefaultSelector()  # this and the next: for the thread only
        self._paused: set[int] = set()
        self._woken, self._wakes = os.pipe()
        for each in (self._woken, self._wakes):
            os.set_blocking(each, False)

    def do(self, job: Callable[[], None]) -> None:
        """Has the thread do something soon; not once it is closed."""
        with self._lock:
            if self._closed:
                return
            self._jobs.append(job)
            self._wake()

    def at(self, when: float, job: Callable[[], None]) -> Timer:
        """Has the thread do something at a time.

        Args:
            when: Time of `time.monotonic`.
            job: What is to be done; it must look itself whether it still is.

        Returns:
            What may be cancelled.
        """
        timer = Timer(job)
        with self._lock:
            if not self._closed:
                heappush(self._times, (when, next(self._order), timer))
                if self._times[0][0] == when:
                    self._wake()
        return timer

    def watch(self, file: int, ready: Callable[[], float | None]) -> None:
        """Has the thread call something whenever there is something to be read.

        Args:
            file: A descriptor; it is closed in the end.
            ready: Called with nothing; returns the seconds until it may be called again, or None
                for never.
        """
        self.do(partial(self._watch, file, ready))

    def close(self) -> None:
        """Ends the thread once it has done what it was given to do; waits for that."""
        with self._lock:
            thread = self._thread
            if not self._closed:
                self._closed = True
                if thread is None:
                    self._release()
                else:
                    self._wake()
        if thread is not None:
            thread.join()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._attend, name="tensorkeep-attendant", daemon=True)
            self._thread.start()
        with suppress(BlockingIOError):  # it is woken already
            os.write(self._wakes, _WAKE)

    def _attend(self) -> None:
        self._selector.register(self._woken, selectors.EVENT_READ)
        while (jobs := self._due()) is not None:
            for job in jobs:
                _try(job)
            with self._lock:
                pause = max(0.0, self._times[0][0] - monotonic()) if self._times else None
                if self._jobs or self._closed:
                    pause = 0.0
            for key, _ in self._selector.select(pause):
                if key.fd == self._woken:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                else:
                    self._read(key.fd, key.data)
        self._release()

    def _due(self) -> list[Callable[[], None]] | None:
        """Returns what is to be done now; None at the end."""
        now = monotonic()
        with self._lock:
            due = [*self._jobs]
            self._jobs.clear()
            if self._closed and not due:
                return None
            while self._times and self._times[0][0] <= now:
                due.append(heappop(self._times)[2])
        return due

    def _watch(self, file: int, ready: Callable[[], float | None]) -> None:
        self._paused.discard(file)
        self._selector.register(file, selectors.EVENT_READ, ready)

    def _read(self, file: int, ready: Callable[[], float | None]) -> None:
        pause = _try(ready)
        if pause == 0:
            return
        self._selector.unregister(file)
        if pause is None:
            os.close(file)
            return
        self._paused.add(file)
        self.at(monotonic() + pause, partial(self._watch, file, ready))

    def _release(self) -> None:
        watched = {key.fd for key in self._selector.get_map().values()} - {self._woken}
        for file in watched | self._paused:
            os.close(file)
        self._selector.close()
        os.close(self._woken)
        os.close(self._wakes)


def _try(job: Callable[[], _R]) -> _R | None:
    """Does something; what fails is logged, for the thread must go on."""
    try:
        return job()
    except Exception:  # noqa: BLE001 - what comes next may succeed
        _log.exception("attending to workers failed")
        return None
