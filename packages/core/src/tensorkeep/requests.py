"""Requests on their way: starts what their graphs allow, and ends them.

What a graph frees, and how a failure spreads in it, is decided by the graph; where a run goes, by
who dispatches it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from tensorkeep.bounded_log import shown
from tensorkeep.calling import let_go
from tensorkeep.dispatch import Dispatcher
from tensorkeep.errors import InternalError, RunAbandoned, RunCutShort, RunExpired
from tensorkeep.execution import refused
from tensorkeep.naming import named
from tensorkeep.runqueue import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.bounded_log import BoundedLog
    from tensorkeep.config import EngineConfig
    from tensorkeep.errors import TensorkeepError
    from tensorkeep.execution import Outcome
    from tensorkeep.graph import GraphRun
    from tensorkeep.lanes import Lanes
    from tensorkeep.loop import Loop

_log = logging.getLogger(__name__)

# Runs of one request that stay on the loop in one turn of it: other requests want their turn too.
_STAY_PER_TURN: Final = 10
# Seconds that a run goes on for which nobody waits any more. To end one may cost the worker of a
# backend that cannot do so, and with it the models that it has built.
_GOES_ON: Final = 0.5


class Requests:
    """The requests that are not done. Every method is called on the loop's thread.

    Args:
        loop: The loop.
        config: Settings.
        lanes: Each device's queue and workers.
        lines: Which lines that clients cause are written to the log.
        on_idle: Called whenever a worker has done a batch.

    Attributes:
        dispatcher: Where their runs go.
        unfinished: Those that were not done when they had been started.
    """

    def __init__(
        self,
        loop: Loop,
        config: EngineConfig,
        lanes: Lanes,
        lines: BoundedLog,
        *,
        on_idle: Callable[[], None],
    ) -> None:
        self.unfinished: set[GraphRun] = set()
        self.dispatcher = Dispatcher(
            loop,
            config,
            lanes,
            lines,
            go_on=self._go_on,
            expire=self._expire,
            on_idle=on_idle,
        )
        self._loop = loop
        self._lanes = lanes
        self._lines = lines
        self._deadline_ends_runs = config.deadline_ends_runs

    def start(self, graph: GraphRun, operations: list[int]) -> None:
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
            if runnable.crashes.refused and (outcome := refused(run)):
                todo += self._settle_outcome(outcome)
                continue
            spec = runnable.spec
            lane = self._lanes.by_queue.get(spec.device.queue) or self._lanes.of(spec.device)
            batching = runnable.batching
            if (
                (not batching.size or (self.dispatcher.alone and not batching.minimum))
                and not lane.queue
                and self.dispatcher.may_stay(lane, run)
                and (run.expires_at is None or self._loop.time() < run.expires_at)
            ):
                todo += self._settle_outcome(self.dispatcher.run_inline(lane, [run])[0])
                stayed += 1
                continue
            lane.queue.push(run, self._loop.time())
            self.dispatcher.pump_soon(lane)

    def keep(self, graph: GraphRun) -> None:
        """Keeps a request that was started and is not done."""
        self.unfinished.add(graph)
        if self._deadline_ends_runs and graph.expires_at is not None:
            self._loop.call_at(graph.expires_at, self._end_overdue, graph)

    # ------------------------------------------------------------------ ended before their time
    def give_up(self, graph: GraphRun, error: TensorkeepError) -> None:
        """Ends a request; nothing more of it starts, and what runs of it is not looked at."""
        graph.give_up(error)
        self._withdraw(graph)
        self._settle(graph)

    def abandon(self, graph: GraphRun) -> None:
        """Ends a request whose reply nobody waits for.

        Runs of models that were for it alone are ended as well if they go on for long. A script
        that has begun goes on: others may see what it does.
        """
        self.give_up(graph, RunAbandoned())
        if graph.running:
            until = self._loop.time() + _GOES_ON
            self._loop.call_at(
                until, self._end_runs_of, graph, "its client went away", _is_of_model
            )

    def cut_short(self) -> None:
        """Tells all who still wait that nothing will come of it any more."""
        for graph in [*self.unfinished]:
            self.give_up(graph, RunCutShort())
            self._call_back(graph)

    def _expire(self, run: Run) -> None:
        """Ends the request of a run that has waited for too long."""
        run.graph.fail(run.operation, RunExpired())
        self.give_up(run.graph, RunExpired())

    def _end_overdue(self, graph: GraphRun) -> None:
        """Ends a request whose time is up, and its runs that nobody shares."""
        if graph.done:
            return
        self.give_up(graph, RunExpired())
        self._call_back(graph)
        self._end_runs_of(graph, "the TIMEOUT of its request was over")

    def _end_runs_of(
        self, graph: GraphRun, reason: str, may: Callable[[Run], bool] = lambda _: True
    ) -> None:
        """Ends the runs of a request that was given up, but for those that others share."""
        for lane in self._lanes.by_queue.values():
            for handed in (h for batches in lane.workers.values() for h in batches):
                mine = any(run.graph is graph and may(run) for run in handed.batch)
                if mine and all(run.graph.error is not None for run in handed.batch):
                    handed.context.cancel(reason)

    def _withdraw(self, graph: GraphRun) -> None:
        """Takes what waits of a request out of the queues: it will not start any more."""
        for lane in self._lanes.by_queue.values():
            for run in lane.queue.runs_of(graph):
                lane.queue.discard(run)
                graph.skip()

    # ------------------------------------------------------------------ what comes of runs
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
        """Does as `start`; what goes wrong is the end of this request alone."""
        try:
            self.start(graph, operations)
        except Exception:  # noqa: BLE001 - others of the batch are still to be told
            _log.exception("a request was lost")
            self._lose(graph)

    def _lose(self, graph: GraphRun) -> None:
        """Ends a request that a bug of ours left in an unknown state."""
        graph.running = 0
        self.give_up(graph, InternalError())

    def _settle_outcome(self, outcome: Outcome) -> list[int]:
        """Counts a run and tells its request; returns the operations that it frees."""
        run = outcome.run
        if outcome.error is not None:
            let_go(outcome.error)
            if self._lines.allows(_log, logging.DEBUG):
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
            self.unfinished.discard(graph)
            self._call_back(graph)

    def _call_back(self, graph: GraphRun) -> None:
        on_done, graph.on_done = graph.on_done, None
        if on_done is not None:
            try:
                on_done(graph)
            except Exception:  # noqa: BLE001 - other requests are still to be told
                _log.exception("what was to be done after a request failed")


def _is_of_model(run: Run) -> bool:
    return run.call is None
