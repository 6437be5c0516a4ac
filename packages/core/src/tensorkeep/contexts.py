"""The contexts of the runs that go on now: on workers, on the loop, and within scripts.

Kept by the loop's thread, and read by the watchdog's as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.hookspecs import RunContext
from tensorkeep.naming import named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep.device import Device
    from tensorkeep.lane import Lane


class Contexts:
    """Makes the contexts of runs, and finds those of the runs that go on.

    Args:
        lanes: Each device's queue and workers, by queue name.
        timeout: Seconds after which a run is cancelled.

    Attributes:
        timeout: Seconds after which a run is cancelled.
        inline: The context of what runs on the loop.
        within_scripts: The contexts of models that scripts run on their own.
    """

    def __init__(self, lanes: Mapping[str, Lane], timeout: float) -> None:
        self.timeout = timeout
        self.inline: RunContext | None = None
        self.within_scripts: set[RunContext] = set()
        self._lanes = lanes

    def new(self, device: Device) -> RunContext:
        """Returns the context of a batch."""
        return RunContext(device, self.timeout)

    def describe(self, context: RunContext) -> str:
        """Returns what runs in a context; called by the watchdog's thread."""
        handed = (
            handed
            for lane in list(self._lanes.values())
            for batches in list(lane.workers.values())
            for handed in list(batches)
        )
        found = next((each for each in handed if each.context is context), None)
        return "model within a script" if found is None else named(found.batch[0].runnable)

    def running(self) -> list[RunContext]:
        """Returns what runs now; also called by the watchdog's thread, hence the snapshots."""
        running = [
            handed.context
            for lane in list(self._lanes.values())
            for batches in list(lane.workers.values())
            for handed in list(batches)
        ]
        running += list(self.within_scripts)
        inline = self.inline
        return running if inline is None else [*running, inline]
