"""The lanes of all devices: which there are, how many there may be, and who works for them.

Workers are started and stopped here, and never handed anything.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from tensorkeep.device import CPU
from tensorkeep.errors import TooManyDevices
from tensorkeep.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tensorkeep.config import EngineConfig
    from tensorkeep.device import Device
    from tensorkeep.worker import Worker

_log = logging.getLogger(__name__)

# Devices that may have queues, each with workers of its own; more where there are many cores.
_MOST: Final = 64


class Lanes:
    """The lanes that there are.

    Args:
        config: Settings.
        start_worker: Makes a worker from a name.
        used: Returns the queues for whose devices there are models or scripts.

    Attributes:
        by_queue: Each device's lane, by queue name.
    """

    def __init__(
        self,
        config: EngineConfig,
        start_worker: Callable[[str], Worker],
        used: Callable[[], Collection[str]],
    ) -> None:
        self.by_queue: dict[str, Lane] = {}
        self._config = config
        self._start_worker = start_worker
        self._used = used
        self._most = max(_MOST, 2 * config.cores)

    def of(self, device: Device) -> Lane:
        """Returns a device's lane; the first call for a device makes it."""
        lane = self.by_queue.get(device.queue)
        if lane is None:
            names = [f"{device.queue}-{n + 1}" for n in range(self._config.threads_per_queue)]
            workers = [self._start_worker(name) for name in names]
            lane = Lane(device, workers, self._config.overtake_after)
            self.by_queue[device.queue] = lane
        return lane

    def check(self, device: Device) -> None:
        """Checks that a device has a lane, or may have one.

        Raises:
            TooManyDevices: It has none, and all that there may be are in use.
        """
        if device.queue in self.by_queue or len(self.by_queue) < self._most:
            return
        self._end_unused()
        if len(self.by_queue) >= self._most:
            raise TooManyDevices(device.name, self._most)

    def one_more_worker(self, lane: Lane) -> Worker | None:
        """Starts a worker beside those that a device always has; None when there can be none."""
        try:
            worker = self._start_worker(f"{lane.device.queue}-{len(lane.workers) + 1}")
        except Exception:  # noqa: BLE001 - no thread could be started; runs wait for one there is
            _log.exception("no further worker for device %s", lane.device.queue)
            return None
        lane.workers[worker] = deque()
        return worker

    def stop(self) -> None:
        """Ends all workers, each once it has done what it was handed."""
        for lane in self.by_queue.values():
            _stop(lane)

    def _end_unused(self) -> None:
        """Ends the lanes of devices for which there is neither a model nor a script any more."""
        used = {CPU.queue, *self._used()}
        for queue, lane in [*self.by_queue.items()]:
            if queue not in used and not lane.queue and not lane.running:
                del self.by_queue[queue]
                _stop(lane)


def _stop(lane: Lane) -> None:
    for worker in lane.workers:
        worker.stop()
