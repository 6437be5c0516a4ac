"""The engine's settings, as plain values; where they come from is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EXECUTION_TIMEOUT: Final = 4.0
"""Seconds that a run may take by default.

Clients that give up after five seconds and send a run again, as redis-py does from version 8 on,
get the error first, unless the run has waited long before it began.
"""

STORE_TIMEOUT: Final = 60.0
"""Seconds that the building of a model or script may take by default."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What a backend is told when it builds a model.

    Attributes:
        intra_op_threads: Threads inside one operator; 0 leaves it to the framework.
        inter_op_threads: Threads across operators; 0 leaves it to the framework.
        memory_limit: Bytes that the backend may allocate on the CPU, for the weights of models at
            least; 0 sets no limit.
        execution_timeout: Seconds after which a run is cancelled, for backends that can.
        workers: Threads that may run models of one device at the same time.
    """

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    memory_limit: int = 0
    execution_timeout: float = EXECUTION_TIMEOUT
    workers: int = 1


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of an engine, fixed for its life.

    Attributes:
        threads_per_queue: Worker threads of each device.
        cores: Processor cores that the workers of a device share; 0 leaves it to the frameworks
            how many threads they start, and each of them takes all there are.
        intra_op_parallelism: See `BackendOptions.intra_op_threads`; 0 gives each worker its share
            of the cores.
        inter_op_parallelism: See `BackendOptions.inter_op_threads`.
        model_execution_timeout: Seconds after which a running model is cancelled.
        backend_memory_limit: Bytes that each backend may allocate on the CPU; 0 sets no limit.
        inline_limit: A run that is known to take less than this many seconds stays on the
            caller's loop when its device is idle, which saves the hop to a worker thread and
            back; 0 sends every run to a worker.
        overtake_after: Seconds after which a run that goes on no longer keeps runs of other models
            waiting: they go beside it, on further workers, once they have waited for that long
            and for as long as they usually take themselves; 0 keeps the order.
        max_waiting: Runs that may wait for one device; a request beyond it is refused at once.
            0 sets no limit.
        deadline_ends_runs: Whether a request that may wait no longer than some time is also
            answered when that time is up while it runs, and its run is ended if the backend can
            and nobody else shares it. Otherwise the time only counts until it starts.
        strict_batching: Whether a model that is to share runs, and is known not to be able to, is
            rejected.
        isolate: Which backends run outside this process, where they can harm nobody else: `auto`
            for all whose models are not known to be harmless, `all`, `none`, or names with commas
            between; see `placement`.
        worker_memory: Bytes that a worker outside this process may take; 0 sets no limit, None
            leaves it to the kind of worker.
        recycle_workers_after: Runs after which such a worker is replaced; 0 for never.
        store_timeout: Seconds that the building of a model or script may take. Outside this
            process it is ended then; in it, it is given up and goes on for as long as it likes.
        max_models: Models and scripts that there may be; what replaces another is always built.
        sandbox: Whether such workers are kept from files and the network, where the system can.
    """

    threads_per_queue: int = 1
    cores: int = 0
    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    model_execution_timeout: float = EXECUTION_TIMEOUT
    backend_memory_limit: int = 0
    inline_limit: float = 100e-6
    overtake_after: float = 0.1
    max_waiting: int = 0
    deadline_ends_runs: bool = False
    strict_batching: bool = False
    isolate: str = "none"
    worker_memory: int | None = None
    recycle_workers_after: int = 0
    store_timeout: float = STORE_TIMEOUT
    max_models: int = 10_000
    sandbox: bool = True

    @property
    def backend_options(self) -> BackendOptions:
        """The part of the settings that backends are told."""
        share = max(1, self.cores // self.threads_per_queue) if self.cores else 0
        return BackendOptions(
            intra_op_threads=self.intra_op_parallelism or share,
            inter_op_threads=self.inter_op_parallelism,
            memory_limit=self.backend_memory_limit,
            execution_timeout=self.model_execution_timeout,
            workers=self.threads_per_queue,
        )
