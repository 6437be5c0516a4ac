"""The engine: joins queues, workers, backends and graphs; owned by one thread, the loop's.

It decides nothing that another module could decide: the run queue says what goes next, the graph
what may start, the backend does the work. What keys hold models and where outputs are stored is
the business of whoever asks.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

from tensorkeep.backends import Backends
from tensorkeep.bounded_log import BoundedLog, shown
from tensorkeep.builder import Builder, named
from tensorkeep.config import EngineConfig
from tensorkeep.device import CPU
from tensorkeep.errors import (
    EngineClosed,
    InternalError,
    QueueFull,
    RunAbandoned,
    RunCutShort,
    RunExpired,
    TensorkeepError,
    TooManyDevices,
)
from tensorkeep.execution import Outcome, execute, let_go, lost, seconds_of
from tensorkeep.hookspecs import RunContext
from tensorkeep.lane import Handed, shapes
from tensorkeep.lanes import Lanes
from tensorkeep.model import Model, Script
from tensorkeep.runqueue import Run
from tensorkeep.script_access import Errands, ScriptCommands
from tensorkeep.worker import Outbox, ThreadWorker, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.backends import Backend
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

# Runs of one request that stay on the loop in one turn of it: other requests want their turn too.
_STAY_PER_TURN: Final = 10
_LOOKS_PER_TIMEOUT: Final = 20  # the watchdog ends a run at most 5 % after its time


class Engine:
    """Creates and runs models and scripts. Every method is called on the loop's thread.

    Args:
        loop: The loop whose thread owns the engine.
        config: Settings.
        backends: The backends; by default the installed ones.
        start_worker: Makes a worker from a name and an outbox.

    Attributes:
        catalog: Models and scripts by the key under which they were stored. One leaves it when its
            last user is gone: after its key was deleted and its last run has ended.
        lines: Which lines that clients cause are written to the log.
        lanes: Each device's queue and workers, by queue name.
    """

    def __init__(
        self,
        loop: Loop,
        config: EngineConfig | None = None,
        backends: Backends | None = None,
        start_worker: Callable[[str, Outbox], Worker] = ThreadWorker,
    ) -> None:
        self.config = config or EngineConfig()
        self.backends = backends or Backends()
        self.catalog: WeakValueDictionary[bytes, Runnable] = WeakValueDictionary()
        self._lanes = Lanes(
            self.config,
            lambda name: start_worker(name, self._outbox),
            lambda: [each.spec.device.queue for each in self.catalog.values()],
        )
        self.lanes: Final = self._lanes.by_queue
        self._loop = loop
        self._outbox = Outbox(loop, self._take)
        self.lines = BoundedLog()
        self._builder = Builder(
            loop,
            self.backends,
            self.config.backend_options,
            self._close_if_idle,
            self.lines,
            strict_batching=self.config.strict_batching,
        )
        self._inline: RunContext | None = None
        self._within_scripts: set[RunContext] = set()  # models that scripts run on their own
        self._errands = Errands(loop)
        self._due: list[Lane] = []
        self._gathering = False
        self._alone = False
        self._closing: Callable[[], None] | None = None
        self._unfinished: set[GraphRun] = set()
        self._watchdog = Watchdog(
            self._contexts,
            self.config.model_execution_timeout / _LOOKS_PER_TIMEOUT,
            self._describe,
        )
        self.lane(CPU)

    # ------------------------------------------------------------------ models
    def load_backend(
        self, name: str, done: Callable[[Backend | None, TensorkeepError | None], None]
    ) -> None:
        """Loads a backend on the loader thread, then calls `done(backend, error)`."""
        self._builder.load_backend(name, done)

    def create_model(
        self,
        spec: ModelSpec,
        blob: bytes | Sequence[Blob],
        done: Callable[[Model | None, TensorkeepError | None], None],
    ) -> None:
        """Builds a model on the loader thread, then calls `done(model, error)`.

        A blob may come in pieces, which that thread joins: they must not change meanwhile.

        The error is `BackendUnavailable`, `DeviceUnavailable`, `TooManyDevices`, `EngineClosed`, or
        `ModelRejected` with the framework's own text.
        """
        if self._has_lane(spec.device, done):
            pieces = (blob,) if isinstance(blob, bytes) else blob
            self._builder.create_model(spec, pieces, self._with_lane(done))

    def create_script(
        self,
        spec: ScriptSpec,
        source: bytes,
        done: Callable[[Script | None, TensorkeepError | None], None],
    ) -> None:
        """Compiles a script on the loader thread, then calls `done(script, error)`.

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

    def retire(self, key: bytes, runnable: Runnable) -> None:
        """Takes a deleted model or script out of the catalog, unless a run of it goes on.

        It leaves by itself when its last user is gone; this makes sure that it is gone at once
        when only the caller's own call, or a thread that has just finished, still holds it.
        """
        operations = (op for graph in self._unfinished for op in graph.graph.operations)
        if self.catalog.get(key) is runnable and all(
            op.runnable is not runnable for op in operations
        ):
            del self.catalog[key]

    def enter(self, key: bytes, runnable: Runnable) -> None:
        """Enters a model or script into the catalog, and tells the log."""
        self.catalog[key] = runnable
        runnable.stats.key = key
        if self.lines.allows(_log, logging.INFO):
            spec = runnable.spec
            size = len(runnable.blob if isinstance(runnable, Model) else runnable.source)
            text = "stored the %s of %s on %s, %d bytes"
            _log.info(text, named(runnable), spec.backend, spec.device.queue, size)

    def commands(self, access: Access) -> Commands:
        """Returns the way of the scripts of a request to what they may reach."""
        timeout = self.config.model_execution_timeout
        return ScriptCommands(access, self._errands, self.backends, timeout, self._within_scripts)

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
            self._give_up(graph, EngineClosed())
            return
        full = self._full_queue(graph) if self.config.max_waiting else None
        if full is not None:
            self._give_up(graph, QueueFull(full, self.config.max_waiting))
            return
        self._start(graph, graph.start())
        if not graph.done:
            self._unfinished.add(graph)
            if self.config.deadline_ends_runs and graph.expires_at is not None:
                self._loop.call_at(graph.expires_at, self._end_overdue, graph)

    def abandon(self, graph: GraphRun) -> None:
        """Takes what waits of a request out of the queues; what runs ends, and is not looked at."""
        self._give_up(graph, RunAbandoned())

    def _full_queue(self, graph: GraphRun) -> str | None:
        """Returns the name of a queue that a request would need and that is full."""
        for operation in graph.graph.operations:
            lane = self.lane(operation.runnable.spec.device)
            if len(lane.queue) >= self.config.max_waiting:
                return lane.device.queue
        return None

    def _end_overdue(self, graph: GraphRun) -> None:
        """Returns a request whose time is up, and ends its runs that nobody shares."""
        if graph.done:
            return
        self._give_up(graph, RunExpired())
        self._call_back(graph)
        for lane in self.lanes.values():
            for handed in (h for batches in lane.workers.values() for h in batches):
                if all(run.graph.error is not None for run in handed.batch):
                    handed.context.cancel("the TIMEOUT of its request was over")

    def _give_up(self, graph: GraphRun, error: TensorkeepError) -> None:
        graph.give_up(error)
        self._withdraw(graph)
        self._settle(graph)

    def _withdraw(self, graph: GraphRun) -> None:
        """Takes what waits of a request out of the queues: it will not start any more."""
        for lane in self.lanes.values():
            for run in lane.queue.runs_of(graph):
                lane.queue.discard(run)
                graph.skip()

    def lane(self, device: Device) -> Lane:
        """Returns a device's lane; the first call for a device makes it."""
        return self._lanes.of(device)

    def _start(self, graph: GraphRun, operations: list[int]) -> None:
        """Runs operations at once or queues them, and what they free in turn.

        A list instead of recursion: a graph may be long.
        """
        todo = operations
        stayed = 0
        while todo:
            if stayed == _STAY_PER_TURN:
                self._loop.call_soon(self._start_safely, graph, todo)
                return
            index = todo.pop(0)
            if graph.failed:  # by an operation that could start together with this one
                graph.skip()
                self._settle(graph)
                continue
            operation = graph.graph.operations[index]
            runnable = operation.runnable
            run = Run(
                runnable,
                tuple(graph.inputs(index)),  # a list a backend could change
                graph,
                index,
                expires_at=graph.expires_at,
                call=operation.call,
            )
            spec = runnable.spec
            lane = self.lanes.get(spec.device.queue) or self.lane(spec.device)
            batching = runnable.batching
            if (
                (not batching.size or (self._alone and not batching.minimum))
                and not lane.queue
                and self._may_stay(lane, run)
                and (run.expires_at is None or self._loop.time() < run.expires_at)
            ):
                todo += self._settle_outcome(self._run_inline(lane, [run])[0])
                stayed += 1
                continue
            lane.queue.push(run, self._loop.time())
            self._pump_soon(lane)

    def gather(self, clients: int) -> None:
        """Says that requests of so many clients come now, and that `pump` will be called then.

        Not needed: requests gather until the end of the loop's turn anyway. It spares who knows
        when the last of them has come another turn; and a lone client, with whom nobody can share
        a run of a model, the queue.
        """
        self._gathering = True
        self._alone = clients == 1

    def pump(self) -> None:
        """Lets go what has gathered."""
        self._gathering = self._alone = False
        while self._due:
            lane = self._due.pop()
            if lane.pump_is_due:
                self._pump(lane)

    def _pump_soon(self, lane: Lane) -> None:
        """Pumps once after everything that this turn of the loop brings.

        Requests that arrive together can so share a batch, and no lone request waits for others.
        """
        if not lane.pump_is_due:
            lane.pump_is_due = True
            if not self._due and not self._gathering:
                self._loop.call_soon(self.pump)
            self._due.append(lane)

    def _pump(self, lane: Lane) -> None:
        """Expires what waited too long, hands idle workers what goes next, sets the alarm."""
        lane.pump_is_due = False
        now = self._loop.time()
        queue = lane.queue
        for run in queue.expire(now):
            run.graph.fail(run.operation, RunExpired())
            self._give_up(run.graph, RunExpired())
        while queue:
            worker, idle = lane.next_worker(now)
            if worker is None:
                break
            batch = queue.next_batch(now, ahead=not idle)
            if not batch:
                break
            self._do(lane, worker, batch)
        if queue:
            self._let_overtake(lane, now)
        if lane.watch is None:
            look_at = lane.look_at(now)
            if look_at is not None:
                lane.watch = self._loop.call_at(look_at, self._look, lane)
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        wake_at = queue.wake_at(now)
        if wake_at is not None:
            lane.timer = self._loop.call_at(wake_at, self._pump, lane)

    def _let_overtake(self, lane: Lane, now: float) -> None:
        """Hands runs that may overtake others to workers of their own."""
        while lane.queue:
            may = lane.may_overtake(now)
            if may is None:
                break
            batch = lane.queue.next_batch(now, may=may)
            if not batch:
                break
            worker = lane.idle_worker() or self._lanes.one_more_worker(lane)
            if worker is None:
                lane.queue.restore(batch)
                break
            self._do(lane, worker, batch)

    def _look(self, lane: Lane) -> None:
        """Looks whether a run takes long; what its worker was handed on top goes elsewhere."""
        lane.watch = None
        for worker in lane.held_up(self._loop.time()):
            for handed in lane.taken_back(worker, worker.take_back()):
                lane.queue.restore(handed.batch)
        self._pump(lane)

    def _do(self, lane: Lane, worker: Worker, batch: Sequence[Run]) -> None:
        """Runs a batch here or hands it to a worker."""
        try:
            if self._may_stay(lane, *batch):
                outcomes = self._run_inline(lane, batch)
            else:
                self._hand(lane, worker, batch)
                return
        except Exception as error:  # noqa: BLE001 - `lost` logs it; other batches wait behind
            outcomes = lost(batch, error)
        for outcome in outcomes:
            self._go_on(outcome)

    def _hand(self, lane: Lane, worker: Worker, batch: Sequence[Run]) -> None:
        runnable = batch[0].runnable
        context = self._context(lane.device)
        seconds = runnable.stats.usual(shapes(batch))
        lane.hand(worker, Handed(batch, context, seconds, self._loop.time()))
        try:
            worker.hand(self.backends.loaded[runnable.spec.backend], batch, context)
        except BaseException:
            lane.taken_back(worker)
            raise

    # ------------------------------------------------------------------ running on the loop
    def _may_stay(self, lane: Lane, *batch: Run) -> bool:
        """Whether a batch is known to be over sooner than a hop to a worker and back takes."""
        runnable = batch[0].runnable
        return (
            runnable.steady
            and not lane.running
            and runnable.stats.usual(shapes(batch)) < self.config.inline_limit
        )

    def _run_inline(self, lane: Lane, batch: Sequence[Run]) -> list[Outcome]:
        self._inline = context = self._context(lane.device)
        runnable = batch[0].runnable
        try:
            outcomes = execute(self.backends.loaded[runnable.spec.backend], batch, context)
        finally:
            self._inline = None
        self._note(lane, outcomes)
        for outcome in outcomes:
            if outcome.error is not None:  # once the frames have ended that hold the request
                self._loop.call_soon(let_go, outcome.error)
        return outcomes

    # ------------------------------------------------------------------ what comes back
    def _take(self, outcomes: list[Outcome], worker: Worker) -> None:
        """Takes the outcomes of a batch from a worker."""
        first = outcomes[0].run
        lane = self.lanes[first.runnable.spec.device.queue]
        context = lane.returned(worker, self._loop.time()).context
        try:
            if context.reason:
                self._tell_of_ended(outcomes, context)
            self._note(lane, outcomes)
            for outcome in outcomes:
                self._go_on(outcome)
        finally:  # whatever went wrong, others wait for this worker
            self._pump(lane)
            self._close_if_idle()

    def _tell_of_ended(self, outcomes: Sequence[Outcome], context: RunContext) -> None:
        """Tells the log of runs that were ended."""
        for outcome in outcomes:
            if outcome.error is not None and self.lines.allows(_log, logging.WARNING):
                text = "a run of the %s on %s was ended after %.1f s: %s"
                name, queue = named(outcome.run.runnable), context.device.queue
                _log.warning(text, name, queue, outcome.seconds, context.reason)

    def _go_on(self, outcome: Outcome) -> None:
        """Tells a request how a run of it ended, and starts what that frees."""
        graph = outcome.run.graph
        try:
            freed = self._settle_outcome(outcome)
        except Exception:  # noqa: BLE001 - others of the batch are still to be told
            _log.exception("a request was lost")
            self._lose(graph)
        else:
            self._start_safely(graph, freed)

    def _start_safely(self, graph: GraphRun, operations: list[int]) -> None:
        """Does as `_start`; what goes wrong is the end of this request alone."""
        try:
            self._start(graph, operations)
        except Exception:  # noqa: BLE001 - others of the batch are still to be told
            _log.exception("a request was lost")
            self._lose(graph)

    def _lose(self, graph: GraphRun) -> None:
        """Ends a request that a bug of ours left in an unknown state."""
        graph.running = 0
        self._give_up(graph, InternalError())

    def _note(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        """Counts a batch, and tells the log when requests are not to share runs any more."""
        lane.batches[len(outcomes)] += 1
        runnable = outcomes[0].run.runnable
        try:
            runnable.stats.note(shapes([o.run for o in outcomes]), seconds_of(outcomes))
        except Exception:  # noqa: BLE001 - who waits for the batch is still to be told
            _log.exception("the time of a run could not be noted")
        reason = runnable.sharing.news() if isinstance(runnable, Model) else ""
        if reason and self.lines.allows(_log, logging.WARNING):
            text = "requests to the %s no longer share its runs, BATCHSIZE or not: %s"
            _log.warning(text, named(runnable), shown(reason))

    def _settle_outcome(self, outcome: Outcome) -> list[int]:
        """Counts a run and tells its request; returns the operations that it frees."""
        run = outcome.run
        if outcome.error is not None:
            let_go(outcome.error)
            if self.lines.allows(_log, logging.DEBUG):
                why = shown(str(outcome.error))
                _log.debug("a run of the %s failed: %s", named(run.runnable), why)
            run.runnable.stats.fail()
            self._fail(run.graph, run.operation, outcome.error)
            freed = []
        else:
            first = outcome.outputs[0] if outcome.outputs else None
            samples = first.shape[0] if first is not None and first.shape else 0
            run.runnable.stats.succeed(outcome.seconds, samples)
            freed = run.graph.finish(run.operation, outcome.outputs)
        self._settle(run.graph)
        return freed

    def _fail(self, graph: GraphRun, operation: int, error: TensorkeepError) -> None:
        """Tells a request that one of its operations failed; nothing more of it starts."""
        graph.fail(operation, error)
        if graph.running:
            self._withdraw(graph)

    def _settle(self, graph: GraphRun) -> None:
        """Calls back when a request is done."""
        if graph.done:
            self._unfinished.discard(graph)
            self._call_back(graph)

    def _call_back(self, graph: GraphRun) -> None:
        on_done, graph.on_done = graph.on_done, None
        if on_done is not None:
            try:
                on_done(graph)
            except Exception:  # noqa: BLE001 - other requests are still to be told
                _log.exception("what was to be done after a request failed")

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
        return bool(self._unfinished or self._builder.busy)

    @property
    def working(self) -> bool:
        """Whether a thread of this engine is at work, on something that may be given up."""
        return self._builder.busy or any(lane.running for lane in self.lanes.values())

    def _close_if_idle(self) -> None:
        if self._closing is not None and not self.busy:
            self._end()

    def _end(self) -> None:
        done, self._closing = self._closing, lambda: None
        contexts = self._contexts()
        if self.busy:
            self._tell_of_the_end()
        for context in contexts:
            context.cancel("the engine is shutting down")
        self._lanes.stop()
        self._errands.close()
        self._builder.stop()
        self._watchdog.stop()
        if done is not None:
            done()

    def _tell_of_the_end(self) -> None:
        """Tells whoever still waits that nothing will come of it any more."""
        _log.warning(
            "the time to end is over: %d requests whose runs went on or waited, and %d models,"
            " scripts or backends that were being loaded, are answered with an error (%s)",
            len(self._unfinished),
            self._builder.pending,
            ", ".join(
                f"{queue}: {lane.running} running, {len(lane.queue)} waiting"
                for queue, lane in self.lanes.items()
                if lane.running or lane.queue
            )
            or "nothing runs",
        )
        for graph in [*self._unfinished]:
            self._give_up(graph, RunCutShort())
            self._call_back(graph)
        self._builder.give_up()

    # ------------------------------------------------------------------ deadlines
    def _context(self, device: Device) -> RunContext:
        return RunContext(device, self.config.model_execution_timeout)

    def _describe(self, context: RunContext) -> str:
        """Returns what runs in a context; called by the watchdog's thread."""
        handed = (
            handed
            for lane in list(self.lanes.values())
            for batches in list(lane.workers.values())
            for handed in list(batches)
        )
        found = next((each for each in handed if each.context is context), None)
        return "model within a script" if found is None else named(found.batch[0].runnable)

    def _contexts(self) -> list[RunContext]:
        """Returns what runs now; also called by the watchdog's thread, hence the snapshots."""
        running = [
            handed.context
            for lane in list(self.lanes.values())
            for batches in list(lane.workers.values())
            for handed in list(batches)
        ]
        running += list(self._within_scripts)
        inline = self._inline
        return running if inline is None else [*running, inline]
