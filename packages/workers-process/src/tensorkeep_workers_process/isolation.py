"""Workers that are processes, of all backends: `tensorkeep.isolation.Isolation`."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from tensorkeep.isolation import WorkerStatus
from tensorkeep_workers_process.attendant import Attendant
from tensorkeep_workers_process.confinement import available
from tensorkeep_workers_process.memory_limit import default_limit
from tensorkeep_workers_process.nursery_link import NurseryLink
from tensorkeep_workers_process.nursery_messages import Settings
from tensorkeep_workers_process.pool import Pool
from tensorkeep_workers_process.process_memory import machine_memory, own_memory
from tensorkeep_workers_process.runner import ProcessRunner
from tensorkeep_workers_process.stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.isolation import WorkerOptions
    from tensorkeep.loop import Loop
    from tensorkeep_workers_process.runner import ReadingLoop

_LOOK: Final = 10.0  # seconds between two looks for workers that may end
_WATCH: Final = 0.25  # seconds between two looks at what they take
_COUNTED: Final = ("started", "crashed", "killed", "recycled")


class ProcessIsolation:
    """Workers that are processes; see `tensorkeep.isolation.Isolation`.

    Args:
        options: What workers are told, and their limits.
        plugins: Where plugins are that no entry point names: `module:attribute`, by backend.
    """

    def __init__(self, options: WorkerOptions, plugins: Mapping[str, str] | None = None) -> None:
        self._options = options
        self._memory = default_limit() if options.memory is None else options.memory
        self._plugins = plugins or {}
        self._attendant = Attendant()
        self._lock = Lock()  # guards what follows
        self._backends: dict[str, tuple[StandIn, Pool, NurseryLink]] = {}
        self._counts: Counter[str] = Counter()
        self._looking = False

    def plugin(self, name: str) -> StandIn:
        """See `tensorkeep.isolation.Isolation.plugin`."""
        name = name.upper()
        with self._lock:
            if name not in self._backends:
                self._backends[name] = self._new(name)
            if not self._looking:
                self._looking = True
                self._attendant.at(monotonic() + _LOOK, self._look)
                self._attendant.at(monotonic() + _WATCH, self._watch)
            return self._backends[name][0]

    def runner(self, name: str, loop: Loop) -> ProcessRunner | None:
        """See `tensorkeep.isolation.Isolation.runner`."""
        if not hasattr(loop, "add_reader"):
            return None
        return ProcessRunner(self._backends[name.upper()][1], cast("ReadingLoop", loop))

    def workers(self) -> Sequence[WorkerStatus]:
        """See `tensorkeep.isolation.Isolation.workers`."""
        return [
            WorkerStatus(name, each.pid, each.runs, len(each.holds), own_memory(each.pid))
            for name, (_, pool, _) in [*self._backends.items()]
            for each in pool.workers()
        ]

    def counts(self) -> Mapping[str, int]:
        """See `tensorkeep.isolation.Isolation.counts`."""
        return {name: self._counts[name] for name in _COUNTED}

    def sandbox(self) -> str:
        """See `tensorkeep.isolation.Isolation.sandbox`."""
        said = [
            each.sandbox for _, pool, _ in [*self._backends.values()] for each in pool.workers()
        ]
        return (said or [str(available())])[0] if self._options.sandbox else ""

    def close(self) -> None:
        """See `tensorkeep.isolation.Isolation.close`."""
        backends = [*self._backends.values()]
        for _, pool, link in backends:
            pool.close()
            link.close()
        for _, _, link in backends:
            link.wait_until_gone()
        self._attendant.close()

    def _new(self, name: str) -> tuple[StandIn, Pool, NurseryLink]:
        options = self._options
        settings = Settings(
            name,
            self._plugins.get(name, ""),
            sys.path,
            self._memory,
            options.sandbox,
            logging.getLogger().getEffectiveLevel(),
        )
        limit = self._memory * 3 // 4 if self._memory else machine_memory() // 2
        link = NurseryLink(settings, self._attendant)
        keep = max(1, options.backend.workers)
        pool = Pool(link.fork, keep, limit, options.recycle_after, self._counts)
        link.on_end = pool.has_ended
        return StandIn(pool, options), pool, link

    def _look(self) -> None:
        for _, pool, _ in [*self._backends.values()]:
            pool.end_surplus()
        self._attendant.at(monotonic() + _LOOK, self._look)

    def _watch(self) -> None:
        for _, pool, _ in [*self._backends.values()]:
            pool.watch()
        self._attendant.at(monotonic() + _WATCH, self._watch)
