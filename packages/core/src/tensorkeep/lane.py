"""A device's run queue, and what each of its workers has to do: who may be handed more.

A device has a fixed number of workers, which take runs in the order in which they came. A run that
takes long must not block other models, so another may go beside it once it has waited for some time
and for at least as long as it takes itself; further workers are started for those. Among runs that
take the same time none ever overtakes.

Pure like the queue itself: the engine asks, hands and takes.
"""

from __future__ import annotations

from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.runqueue import RunQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from tensorkeep.device import Device
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.loop import Handle
    from tensorkeep.runqueue import Run
    from tensorkeep.worker import Worker

# Seconds of work, known to be that little, on top of which a busy worker is handed more: it spares
# the worker to wait for the loop between short runs, and no other request waits longer for it.
_AHEAD: Final = 0.001
# Workers beside those that a device always has. Each holds the memory of one more run.
_MOST_BESIDE: Final = 8


class Handed(NamedTuple):
    """A batch that a worker was handed.

    Attributes:
        batch: Its runs.
        context: Its context.
        seconds: How long such a batch usually takes; infinite when that is not known.
        at: Monotonic time at which it was handed.
        told: Whether its outcomes are known, while its worker is still busy with it.
    """

    batch: Sequence[Run]
    context: RunContext
    seconds: float
    at: float
    told: bool = False


class Lane:
    """A device's run queue and its workers.

    Args:
        device: The device.
        workers: The workers that it always has.
        overtake_after: Seconds after which a run keeps others waiting no longer; 0 for never.

    Attributes:
        device: The device.
        queue: The runs that wait.
        workers: Its workers, each with the batches that it was handed and has not returned.
        regular: Number of workers that it always has.
        running: Number of batches that were handed out.
        batches: How many batches of each number of requests were run.
        waited: Seconds that requests have waited before they were run, summed up.
        timer: Wakes the engine when a run expires or need not wait for others any more.
        watch: Wakes the engine when a run may overtake another.
        pump_is_due: Whether the engine looks at the lane after this turn of the loop anyway.
    """

    def __init__(
        self, device: Device, workers: Iterable[Worker], overtake_after: float = 0.0
    ) -> None:
        self.device = device
        self.queue = RunQueue()
        self.workers: dict[Worker, deque[Handed]] = {worker: deque() for worker in workers}
        self.regular = len(self.workers)
        self.running = 0
        self.batches: Counter[int] = Counter()
        self.waited = 0.0
        self.timer: Handle | None = None
        self.watch: Handle | None = None
        self.pump_is_due = False
        self._overtake_after = overtake_after
        self._since: dict[Worker, float] = {}  # when each busy worker began what it does

    # ------------------------------------------------------------------ handing and taking
    def hand(self, worker: Worker, handed: Handed) -> None:
        """Notes that a worker is handed a batch."""
        batches = self.workers[worker]
        if not batches:
            self._since[worker] = handed.at
        batches.append(handed)
        self.running += 1
        self.waited += sum([handed.at - run.queued_at for run in handed.batch])

    def returned(self, worker: Worker, now: float) -> Handed:
        """Notes that a worker has done the first of its batches, and begins the next."""
        handed = self.workers[worker].popleft()
        self._since[worker] = now
        self.running -= 1
        return handed

    def told(self, worker: Worker) -> None:
        """Notes that a worker made known the outcomes of its batch, and is still busy with it."""
        batches = self.workers[worker]
        batches[0] = batches[0]._replace(told=True)

    def taken_back(self, worker: Worker, count: int = 1) -> list[Handed]:
        """Notes that a worker will not do the last of its batches; returns them."""
        taken = [self.workers[worker].pop() for _ in range(count)]
        self.running -= count
        for handed in taken:
            self.waited -= sum([handed.at - run.queued_at for run in handed.batch])
        return taken

    # ------------------------------------------------------------------ who may be handed more
    def next_worker(self, now: float) -> tuple[Worker | None, bool]:
        """Returns who may be handed the run that goes next, and whether it is idle.

        None when all that the device always has are busy.
        """
        busy = [(worker, handed) for worker, handed in self.workers.items() if handed]
        if len(busy) < self.regular:
            return self.idle_worker(), True
        if self._held_up(now):
            return None, False  # what waits behind a run that takes long is not known to be short
        ahead = [sum([each.seconds for each in handed]) for _, handed in busy]
        least = min(ahead)
        return (busy[ahead.index(least)][0] if least < _AHEAD else None), False

    def idle_worker(self) -> Worker | None:
        """Returns a worker that has nothing to do."""
        return next((worker for worker, handed in self.workers.items() if not handed), None)

    # ------------------------------------------------------------------ overtaking
    def may_overtake(self, now: float) -> Callable[[Run], bool] | None:
        """Returns which runs may go beside those that take long; None when there is no such run.

        Beside those, the device does as many runs at once as it has workers of those that are known
        to be short, and as many others: neither wait for the other kind. The last worker is for
        short ones: whatever else goes on, they get on.
        """
        if not self._held_up(now):
            return None
        at_once = [
            (now - self._since[worker], handed[0])
            for worker, handed in self.workers.items()
            if handed
        ]
        left = self.regular + _MOST_BESIDE - len(at_once)
        if left <= 0:
            return None
        # What goes on when all of a batch are told is no run that others of the model wait for.
        counts = Counter(id(each.batch[0].runnable) for _, each in at_once if not each.told)
        full = {each for each, count in counts.items() if count >= self.regular}
        after = self._overtake_after

        def may(run: Run) -> bool:
            if id(run.runnable) in full:
                return False
            usual = run.runnable.stats.usual(shapes([run]))
            short = usual <= after
            if left == 1 and not short:
                return False
            patience = after if usual == inf else max(after, usual)
            before = sum(
                elapsed < patience and (each.seconds <= after) is short for elapsed, each in at_once
            )
            return before < self.regular

        return may

    def held_up(self, now: float) -> list[Worker]:
        """Returns the workers that take long, and were handed more on top."""
        return [
            worker
            for worker, handed in self.workers.items()
            if len(handed) > 1 and now - self._since[worker] >= self._overtake_after
        ]

    def look_at(self, now: float) -> float | None:
        """Returns when it may be different who may overtake; None when nobody waits."""
        if not self._overtake_after or not self.running:
            return None
        if not self.queue and all(len(handed) <= 1 for handed in self.workers.values()):
            return None
        first = min(self._since[worker] for worker, handed in self.workers.items() if handed)
        when = first + self._overtake_after
        return when if when > now else now + self._overtake_after / 2

    def _held_up(self, now: float) -> bool:
        after = self._overtake_after
        return after > 0 and any(
            handed and now - self._since[worker] >= after for worker, handed in self.workers.items()
        )


def shapes(batch: Sequence[Run]) -> Hashable:
    """Returns what the time of a batch depends on."""
    if len(batch) == 1:
        inputs, call = batch[0].inputs, batch[0].call
        if call is not None:
            return (call.function, *[t.shape for t in inputs])
        return inputs[0].shape if len(inputs) == 1 else tuple([t.shape for t in inputs])
    first = batch[0].inputs
    return (sum(run.rows for run in batch), *[t.shape[1:] for t in first])
