"""A device's run queue, and what each of its workers has to do: who may be handed more.

Pure like the queue itself: the engine asks, hands and takes.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.runqueue import RunQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorkeep.device import Device
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.loop import Handle
    from tensorkeep.runqueue import Run
    from tensorkeep.worker import Worker

# Seconds of work, known to be that little, on top of which a busy worker is handed more: it spares
# the worker to wait for the loop between short runs, and no other request waits longer for it.
_AHEAD: Final = 0.001


class Handed(NamedTuple):
    """A batch that a worker was handed.

    Attributes:
        batch: Its runs.
        context: Its context.
        seconds: How long such a batch usually takes; infinite when that is not known.
    """

    batch: Sequence[Run]
    context: RunContext
    seconds: float


class Lane:
    """A device's run queue and its workers.

    Attributes:
        device: The device.
        queue: The runs that wait.
        workers: Its workers, each with the batches that it was handed and has not returned.
        running: Number of batches that were handed out.
        batches: How many batches of each number of requests were run.
        waited: Seconds that requests have waited before they were run, summed up.
    """

    def __init__(self, device: Device, workers: Iterable[Worker]) -> None:
        self.device = device
        self.queue = RunQueue()
        self.workers: dict[Worker, deque[Handed]] = {worker: deque() for worker in workers}
        self.running = 0
        self.batches: Counter[int] = Counter()
        self.waited = 0.0
        self.timer: Handle | None = None
        self.pump_is_due = False

    def next_worker(self) -> tuple[Worker, bool]:
        """Returns who has least to do, and whether that is nothing."""
        worker = min(self.workers, key=lambda w: sum(h.seconds for h in self.workers[w]))
        return worker, not self.workers[worker]

    def may_take_ahead(self, worker: Worker) -> bool:
        """Whether all that a worker was handed will be over before it could be handed more."""
        return sum(handed.seconds for handed in self.workers[worker]) < _AHEAD
