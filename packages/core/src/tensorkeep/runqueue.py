"""Which waiting runs go next, and together: one queue per device, decided without a clock.

Runs that cannot share a run of the model leave in the order in which they came. Runs that can are
grouped; the group whose first run is oldest goes next, as soon as it may. Nothing here runs
anything: the engine asks, with the time as an argument, and acts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from tensorkeep.batching import UNBATCHED, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tensorkeep.batching import Batching
    from tensorkeep.graph import GraphRun
    from tensorkeep.hookspecs import ScriptCall
    from tensorkeep.model import Runnable
    from tensorkeep.tensor import Tensor

_MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of inputs that a shared run may have beyond those of its first member: all are copied."""


@dataclass(slots=True, eq=False)
class Run:
    """One execution of a model or script that waits for, or occupies, a device.

    Attributes:
        runnable: The model or script to run.
        inputs: One tensor per input.
        graph: The request that it is part of.
        operation: Which of the request's operations it is.
        queued_at: Monotonic time in seconds at which it began to wait.
        expires_at: Monotonic time from which on it is not started any more, None for never.
        rows: Rows that it adds to a batch; 0 when it must run alone.
        waiting: Whether it is in a queue.
        serial: Its place in the order of arrival.
        group: Which runs it may share a run of the model with; None when it must run alone.
        call: What a script is asked for, without the tensors; None for a model.
    """

    runnable: Runnable
    inputs: Sequence[Tensor]
    graph: GraphRun
    operation: int
    queued_at: float = 0.0
    expires_at: float | None = None
    rows: int = 0
    waiting: bool = False
    serial: int = 0
    group: Hashable = None
    call: ScriptCall | None = None


@dataclass(slots=True, eq=False)
class _Group:
    """Runs that may share one run of a model; those that must run alone share the group None.

    Attributes:
        runnable: What they are runs of; None in the group None.
        runs: Themselves, by serial.
        rows: Their rows, summed up.
    """

    runnable: Runnable | None
    runs: OrderedDict[int, Run] = field(default_factory=OrderedDict)
    rows: int = 0

    @property
    def batching(self) -> Batching:
        """How they may share one: asked each time, for it may turn out that they must not."""
        return UNBATCHED if self.runnable is None else self.runnable.batching

    @property
    def first(self) -> Run:
        return next(iter(self.runs.values()))

    def first_that(self, may: Callable[[Run], bool]) -> Run | None:
        """Returns the run that goes first among those that may; those that share go together."""
        if self.batching is UNBATCHED:
            return next(filter(may, self.runs.values()), None)
        return self.first if may(self.first) else None

    def remove(self, run: Run) -> None:
        del self.runs[run.serial]
        self.rows -= run.rows
        run.waiting = False

    def held_until(self) -> float | None:
        """Returns when the first run stops waiting for others; None when it does not wait."""
        batching = self.batching
        if self.rows >= batching.minimum:
            return None
        if not batching.timeout_ms:
            return float("inf")
        return self.first.queued_at + batching.timeout_ms / 1000


class RunQueue:
    """The runs that wait for one device."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, _Group] = {}
        self._expiring: list[tuple[float, int, Run]] = []
        self._next_serial = 0
        self._size = 0

    def __len__(self) -> int:
        """Returns the number of runs that wait."""
        return self._size

    # ------------------------------------------------------------------ coming and going
    def push(self, run: Run, now: float) -> None:
        """Adds a run at the end.

        Args:
            run: The run; its `expires_at` is kept, the rest of its waiting state is set here.
            now: Monotonic time in seconds.
        """
        run.queued_at = now
        run.waiting = True
        run.serial = self._next_serial
        self._next_serial += 1
        batching = run.runnable.batching
        if batching.size:
            count = rows(run.inputs)
            if 0 < count < batching.size:
                run.rows = count
                run.group = (run.runnable, *[(t.dtype, t.shape[1:]) for t in run.inputs])
        group = self._group_of(run)
        group.runs[run.serial] = run
        group.rows += run.rows
        self._size += 1
        if run.expires_at is not None:
            heappush(self._expiring, (run.expires_at, run.serial, run))

    def restore(self, batch: Sequence[Run]) -> None:
        """Puts runs back that were taken out together, to where they stood."""
        group = self._group_of(batch[0])
        for run in batch:
            group.runs[run.serial] = run
            group.rows += run.rows
            run.waiting = True
            if run.expires_at is not None:
                heappush(self._expiring, (run.expires_at, run.serial, run))
        group.runs = OrderedDict(sorted(group.runs.items()))
        self._size += len(batch)

    def _group_of(self, run: Run) -> _Group:
        group = self._groups.get(run.group)
        if group is None:
            group = _Group(None if run.group is None else run.runnable)
            self._groups[run.group] = group
        return group

    def discard(self, run: Run) -> bool:
        """Takes a run out wherever it stands; returns whether it was waiting."""
        if not run.waiting:
            return False
        group = self._groups[run.group]
        group.remove(run)
        if not group.runs:
            del self._groups[run.group]
        self._size -= 1
        return True

    def runs_of(self, graph: GraphRun) -> list[Run]:
        """Returns the runs of one request that wait here."""
        return [r for g in self._groups.values() for r in g.runs.values() if r.graph is graph]

    def expire(self, now: float) -> list[Run]:
        """Takes out and returns the runs that must not be started any more."""
        expired = []
        while self._expiring and (not self._expiring[0][2].waiting or self._expiring[0][0] <= now):
            run = heappop(self._expiring)[2]
            if self.discard(run):
                expired.append(run)
        return expired

    # ------------------------------------------------------------------ what goes next
    def next_batch(
        self, now: float, *, ahead: bool = False, may: Callable[[Run], bool] | None = None
    ) -> list[Run]:
        """Takes out and returns the runs that go next, together; empty when none may go yet.

        Args:
            now: Monotonic time in seconds.
            ahead: Whether the batch is for a worker that is still busy. Then it is taken only if
                waiting cannot make it better: no run could join it, and none of it may expire.
            may: Whether a run may go; by default each may.
        """
        ready = [
            (first.serial, first, group)
            for group in self._groups.values()
            if (held := group.held_until()) is None or held <= now
            if (first := group.first if may is None else group.first_that(may)) is not None
        ]
        if not ready:
            return []
        _, first, group = min(ready, key=lambda each: each[0])
        batch = [first]
        full = True
        size = group.batching.size
        if size and group.held_until() is None:
            size = min(size, _rows_within(_MOST_BYTES, first))
            total = 0
            batch = []
            for run in group.runs.values():
                total += run.rows
                if total > size:
                    break
                batch.append(run)
            full = total >= size
        if ahead and not (full and all(run.expires_at is None for run in batch)):
            return []
        for run in batch:
            group.remove(run)
        if not group.runs:
            del self._groups[batch[0].group]
        self._size -= len(batch)
        return batch

    def wake_at(self, now: float) -> float | None:
        """Returns when `expire` or `next_batch` may have something new although nothing came.

        None when there will be no such time. What may go already needs no waking: it goes when a
        worker is free.
        """
        while self._expiring and not self._expiring[0][2].waiting:
            heappop(self._expiring)
        times = [
            held
            for g in self._groups.values()
            if (held := g.held_until()) is not None and held > now
        ]
        if self._expiring:
            times.append(self._expiring[0][0])
        earliest = min(times, default=float("inf"))
        return None if earliest == float("inf") else earliest

    # ------------------------------------------------------------------ tidiness
    def validate(self) -> None:
        """Checks what must always hold; for tests.

        Raises:
            AssertionError: Something does not hold.
        """
        assert self._size == sum(len(g.runs) for g in self._groups.values())  # noqa: S101
        for key, group in self._groups.items():
            serials = [run.serial for run in group.runs.values()]
            assert serials  # noqa: S101 - no empty group stays
            assert serials == sorted(serials)  # noqa: S101
            assert group.rows == sum(run.rows for run in group.runs.values())  # noqa: S101
            assert all(run.waiting for run in group.runs.values())  # noqa: S101
            assert key is not None or group.rows == 0  # noqa: S101

    def __repr__(self) -> str:
        return f"RunQueue({self._size} waiting in {len(self._groups)} groups)"


def _rows_within(size: int, run: Run) -> int:
    """Returns how many rows like those of a run have so many bytes; its own at least."""
    taken = sum(tensor.nbytes for tensor in run.inputs)
    return max(run.rows, size * run.rows // taken) if taken else size
