"""The engine: joins queues, workers, backends and graphs; owned by one thread, the loop's.

It says who is let in, and how everything ends. It decides nothing that another module could decide:
the run queue says what goes next, the graph what may start, the backend does the work. What keys
hold models and where outputs are stored is the business of whoever asks.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

from tensorkeep.backends import Backends
from tensorkeep.bounded_log import BoundedLog
from tensorkeep.builder import Builder
from tensorkeep.config import EngineConfig
from tensorkeep.device import CPU
from tensorkeep.errors import (
    EngineClosed,
    InternalError,
    QueueFull,
    TensorkeepError,
    TooManyDevices,
    TooManyModels,
)
from tensorkeep.lanes import Lanes
from tensorkeep.model import Model, Script
from tensorkeep.naming import named
from tensorkeep.places import Places
from tensorkeep.requests import Requests
from tensorkeep.script_access import Errands, ScriptCommands
from tensorkeep.slot import Slot
from tensorkeep.worker import Outbox, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.backend import Backend
    from tensorkeep.device import Device
    from tensorkeep.graph import GraphRun
    from tensorkeep.hookspecs import Commands
    from tensorkeep.lane import Lane
    from tensorkeep.loop import Loop
    from tensorkeep.model import ModelSpec, Runnable, ScriptSpec
    from tensorkeep.script_access import Access
    from tensorkeep.tensor import Blob
    from tensorkeep.worker import Worker

_log = logging.getLogger(__name__)

_R = TypeVar("_R", Model, Script)


class Engine:
    """Creates and runs models and scripts. Every method is called on the loop's thread.

    Args:
        loop: The loop whose thread owns the engine.
        config: Settings.
        backends: The backends; by default the installed ones.
        start_worker: Makes a worker from a name and an outbox; by default a `Slot`.

    Attributes:
        catalog: Models and scripts by the key under which they were stored. One leaves it when its
            last user is gone: after its key was deleted and its last run has ended.
        lines: Which lines that clients cause are written to the log.
        lanes: Each device's queue and workers, by queue name.
        dispatcher: Where runs go; may be told that requests come together.
        places: Where backends run: in this process, or in workers outside.
    """

    def __init__(
        self,
        loop: Loop,
        config: EngineConfig | None = None,
        backends: Backends | None = None,
        start_worker: Callable[[str, Outbox], Worker] | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.backends = backends or Backends()
        self.places: Final = Places(self.backends, self.config)
        self.catalog: WeakValueDictionary[bytes, Runnable] = WeakValueDictionary()
        self._lanes = Lanes(
            self.config,
            lambda name: (start_worker or self._slot)(name, self._outbox),
            lambda: [each.spec.device.queue for each in self.catalog.values()],
        )
        self.lanes: Final = self._lanes.by_queue
        self._loop = loop
        self.lines = BoundedLog()
        self._requests = Requests(
            loop,
            self.config,
            self._lanes,
            self.lines,
            on_idle=self._close_if_idle,
        )
        self.dispatcher: Final = self._requests.dispatcher
        self._contexts = self.dispatcher.contexts
        self._outbox = Outbox(loop, self.dispatcher.take)
        self._builder = Builder(
            loop,
            self.places,
            self.config,
            self._close_if_idle,
            self.lines,
        )
        self._errands = Errands(loop)
        self._closing: Callable[[], None] | None = None
        self._watchdog = Watchdog(
            self._contexts.running,
            self.config.model_execution_timeout,
            self._contexts.describe,
        )
        self.lane(CPU)

    # ------------------------------------------------------------------ models
    def load_backend(
        self,
        name: str,
        done: Callable[[Backend | None, TensorkeepError | None], None],
        *,
        may_block: bool = False,
    ) -> None:
        """Loads a backend on a thread of its own, then calls `done(backend, error)`.

        It is loaded where its models usually run: in this process or in workers outside.

        Args:
            name: Its name.
            done: Called with the backend or an error.
            may_block: Whether an import that holds this process for long does no harm.
        """
        self._builder.load_backend(name, done, may_block=may_block)

    def create_model(
        self,
        spec: ModelSpec,
        blob: bytes | Sequence[Blob],
        done: Callable[[Model | None, TensorkeepError | None], None],
    ) -> None:
        """Builds a model on a thread of its own, then calls `done(model, error)`.

        A blob may come in pieces, which that thread joins: they must not change meanwhile.

        The error is `BackendUnavailable`, `DeviceUnavailable`, `TooManyDevices`, `EngineClosed`, or
        `ModelRejected` with the framework's own text.
        """
        if self._has_lane(spec.device, done):
            pieces: list[Blob] = [blob] if isinstance(blob, bytes) else [*blob]
            self._builder.create_model(spec, pieces, self._with_lane(done))

    def create_script(
        self,
        spec: ScriptSpec,
        source: bytes,
        done: Callable[[Script | None, TensorkeepError | None], None],
    ) -> None:
        """Compiles a script on a thread of its own, then calls `done(script, error)`.

        The errors are those of `create_model`.
        """
        if self._has_lane(spec.device, done):
            self._builder.create_script(spec, source, self._with_lane(done))

    def _has_lane(
        self, device: Device, done: Callable[[None, TensorkeepError | None], None]
    ) -> bool:
        """Returns whether a device may have a queue; otherwise says so, as building would."""
        try:
            self._lanes.check(device)
        except TooManyDevices as error:
            self._loop.call_soon(done, None, error.with_traceback(None))
            return False
        return True

    def _with_lane(
        self, done: Callable[[_R | None, TensorkeepError | None], None]
    ) -> Callable[[_R | None, TensorkeepError | None], None]:
        """Has a queue made for the device of what was created."""

        def created(runnable: _R | None, error: TensorkeepError | None) -> None:
            if runnable is not None:
                device = runnable.spec.device
                try:
                    self._lanes.check(device)  # again: others have come while it was built
                    self.lane(device)
                except TooManyDevices as refusal:
                    runnable, error = None, refusal.with_traceback(None)
                except Exception:  # noqa: BLE001 - no thread could be started, for example
                    _log.exception("no worker for device %s", device)
                    runnable, error = None, InternalError()
            done(runnable, error)

        return created

    def check_number(self, key: bytes) -> None:
        """Makes sure that one more model or script may be built to be stored under a key.

        Raises:
            TooManyModels: There are as many as there may be, and it would replace none.
        """
        most = self.config.max_models
        if key not in self.catalog and len(self.catalog) + self._builder.creating >= most:
            raise TooManyModels(most)

    def retire(self, key: bytes, runnable: Runnable) -> None:
        """Takes a deleted model or script out of the catalog, unless a run of it goes on.

        It leaves by itself when its last user is gone; this makes sure that it is gone at once
        when only the caller's own call, or a thread that has just finished, still holds it.
        """
        operations = (op for graph in self._requests.unfinished for op in graph.graph.operations)
        if self.catalog.get(key) is runnable and all(
            op.runnable is not runnable for op in operations
        ):
            del self.catalog[key]

    def enter(self, key: bytes, runnable: Runnable, what: str = "stored") -> None:
        """Enters a model or script into the catalog, and tells the log.

        Args:
            key: Where it is stored.
            runnable: The model or script.
            what: What was done with it, for the log.
        """
        self.catalog[key] = runnable
        runnable.stats.key = key
        if self.lines.allows(_log, logging.INFO):
            spec = runnable.spec
            size = len(runnable.blob if isinstance(runnable, Model) else runnable.source)
            text = "%s the %s of %s on %s, %d bytes"
            _log.info(text, what, named(runnable), spec.backend, spec.device.queue, size)

    def commands(self, access: Access) -> Commands:
        """Returns the way of the scripts of a request to what they may reach."""
        timeout, running = self._contexts.timeout, self._contexts.within_scripts
        crashed = self.dispatcher.tell_of_crashes
        return ScriptCommands(access, self._errands, timeout, running, crashed)

    # ------------------------------------------------------------------ runs
    def time(self) -> float:
        """Returns the time of the clock by which runs expire, in seconds."""
        return self._loop.time()

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls back in the next turn of the loop, after what others ask for in this one."""
        self._loop.call_soon(callback)

    def execute(self, graph: GraphRun) -> None:
        """Starts a request; when it is done, `graph.on_done` is called.

        A request whose runs are known to be short may be done already when this returns.
        """
        if self._closing is not None:
            self._requests.give_up(graph, EngineClosed())
            return
        full = self._full_queue(graph) if self.config.max_waiting else None
        if full is not None:
            self._requests.give_up(graph, QueueFull(full, self.config.max_waiting))
            return
        self._requests.start(graph, graph.start())
        if not graph.done:
            self._requests.keep(graph)

    def abandon(self, graph: GraphRun) -> None:
        """Ends a request whose reply nobody waits for.

        What waits of it leaves the queues, runs of models for it alone are ended after a while, and
        nobody looks at what comes of the rest.
        """
        self._requests.abandon(graph)

    def _full_queue(self, graph: GraphRun) -> str | None:
        """Returns the name of a queue that a request would need and that is full."""
        for operation in graph.graph.operations:
            lane = self.lane(operation.runnable.spec.device)
            if len(lane.queue) >= self.config.max_waiting:
                return lane.device.queue
        return None

    def _slot(self, name: str, outbox: Outbox) -> Worker:
        """Starts a worker of the usual kind."""
        return Slot(name, outbox, self._loop, partial(self.places.runner, self._loop))

    def lane(self, device: Device) -> Lane:
        """Returns a device's lane; the first call for a device makes it."""
        return self._lanes.of(device)

    # ------------------------------------------------------------------ the end
    def close(self, grace: float, done: Callable[[], None]) -> None:
        """Takes no new work, lets running work finish, then calls `done`.

        Called again, unfinished work gets no more time than is said then.

        Args:
            grace: Seconds after which unfinished work is cancelled and no longer waited for.
            done: Called once; that of the first call.
        """
        if self._closing is not None:
            self._loop.call_at(self._loop.time() + grace, self._end)
            return
        self._closing = done
        self._builder.refuse()
        self._loop.call_at(self._loop.time() + grace, self._end)
        self._loop.call_soon(self._close_if_idle)

    @property
    def busy(self) -> bool:
        """Whether anything runs, waits or is being loaded."""
        return bool(self._requests.unfinished or self._builder.busy)

    @property
    def working(self) -> bool:
        """Whether a thread of this engine is at work, on something that may be given up."""
        return self._builder.busy or any(lane.running for lane in self.lanes.values())

    def _close_if_idle(self) -> None:
        if self._closing is not None and not self.busy:
            self._end()

    def _end(self) -> None:
        done, self._closing = self._closing, lambda: None
        contexts = self._contexts.running()
        if self.busy:
            self._tell_of_the_end()
        for context in contexts:
            context.cancel("the engine is shutting down")
        self._lanes.stop()
        self._errands.close()
        self._builder.stop()
        self._watchdog.stop()
        self.places.close()
        if done is not None:
            done()

    def _tell_of_the_end(self) -> None:
        """Tells whoever still waits that nothing will come of it any more."""
        _log.warning(
            "the time to end is over: %d requests whose runs went on or waited, and %d models,"
            " scripts or backends that were being loaded, are answered with an error (%s)",
            len(self._requests.unfinished),
            self._builder.pending,
            ", ".join(
                f"{queue}: {lane.running} running, {len(lane.queue)} waiting"
                for queue, lane in self.lanes.items()
                if lane.running or lane.queue
            )
            or "nothing runs",
        )
        self._requests.cut_short()
        self._builder.give_up()
