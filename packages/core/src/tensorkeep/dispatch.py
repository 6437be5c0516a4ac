"""Where runs go: to a worker, or, short ones, on the loop; and what comes back of them.

A queue is looked at (pumped) once after everything that a turn of the loop brings. Which of its
runs go next, and which worker may be handed them, is decided by the queue and the lane.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tensorkeep.bounded_log import shown
from tensorkeep.calling import let_go
from tensorkeep.contexts import Contexts
from tensorkeep.execution import execute, lost, seconds_of
from tensorkeep.lane import Handed, shapes
from tensorkeep.model import Model
from tensorkeep.naming import named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.bounded_log import BoundedLog
    from tensorkeep.config import EngineConfig
    from tensorkeep.execution import Outcome
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.lane import Lane
    from tensorkeep.lanes import Lanes
    from tensorkeep.loop import Loop
    from tensorkeep.model import Runnable
    from tensorkeep.runqueue import Run
    from tensorkeep.worker import Worker

_log = logging.getLogger(__name__)


class Dispatcher:
    """Hands runs to workers or runs them on the loop. Every method is called on its thread.

    Args:
        loop: The loop.
        config: Settings.
        lanes: Each device's queue and workers.
        lines: Which lines that clients cause are written to the log.
        go_on: Called with each outcome of what was handed to a worker or had waited in a queue.
        expire: Called with each run that has waited in a queue for too long.
        on_idle: Called whenever a worker has done a batch.

    Attributes:
        contexts: The contexts of what runs.
        alone: Whether the client whose requests come now is the only one; see `gather`.
    """

    def __init__(  # noqa: PLR0913 - what it needs of the engine
        self,
        loop: Loop,
        config: EngineConfig,
        lanes: Lanes,
        lines: BoundedLog,
        *,
        go_on: Callable[[Outcome], None],
        expire: Callable[[Run], None],
        on_idle: Callable[[], None],
    ) -> None:
        self.contexts = Contexts(lanes.by_queue, config.model_execution_timeout)
        self.alone = False
        self._loop = loop
        self._inline_limit = config.inline_limit
        self._cores = config.cores
        self._lanes = lanes
        self._lines = lines
        self._go_on = go_on
        self._expire = expire
        self._on_idle = on_idle
        self._due: list[Lane] = []
        self._gathering = False

    def gather(self, clients: int) -> None:
        """Says that requests of so many clients come now, and that `pump` will be called then.

        Not needed: requests gather until the end of the loop's turn anyway. It spares who knows
        when the last of them has come another turn; and a lone client, with whom nobody can share
        a run of a model, the queue.
        """
        self._gathering = True
        self.alone = clients == 1

    def pump(self) -> None:
        """Lets go what has gathered."""
        alone = self.alone
        self._gathering = self.alone = False
        while self._due:
            lane = self._due.pop()
            if lane.pump_is_due:
                self._pump(lane)
                if alone and lane.running == 1:
                    self._wait(lane)

    def _wait(self, lane: Lane) -> None:
        """Waits for the one run that goes on, where it is known to be over soon.

        As long as a run may stay on the loop; to sleep until it is over and be woken would take
        longer. Nobody else has asked for anything.
        """
        for worker, handed in [*lane.workers.items()]:
            if handed and handed[0].seconds < self._inline_limit and self._cores != 1:
                worker.wait(self._inline_limit)

    def pump_soon(self, lane: Lane) -> None:
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
            self._expire(run)
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
            if self.may_stay(lane, *batch):
                outcomes = self.run_inline(lane, batch)
            else:
                self._hand(lane, worker, batch)
                return
        except Exception as error:  # noqa: BLE001 - `lost` logs it; other batches wait behind
            outcomes = lost(batch, error)
        for outcome in outcomes:
            self._go_on(outcome)

    def _hand(self, lane: Lane, worker: Worker, batch: Sequence[Run]) -> None:
        runnable = batch[0].runnable
        context = self.contexts.new(lane.device)
        seconds = runnable.stats.usual(shapes(batch))
        lane.hand(worker, Handed(batch, context, seconds, self._loop.time()))
        try:
            worker.hand(batch, context)
        except BaseException:
            lane.taken_back(worker)
            raise

    # ------------------------------------------------------------------ running on the loop
    def may_stay(self, lane: Lane, *batch: Run) -> bool:
        """Whether a batch is known to be over sooner than a hop to a worker and back takes."""
        runnable = batch[0].runnable
        return (
            runnable.steady
            and not lane.running
            and runnable.stats.usual(shapes(batch)) < self._inline_limit
        )

    def run_inline(self, lane: Lane, batch: Sequence[Run]) -> list[Outcome]:
        """Runs a batch here and now."""
        self.contexts.inline = context = self.contexts.new(lane.device)
        try:
            outcomes = execute(batch, context)
        finally:
            self.contexts.inline = None
        self._note(lane, outcomes)
        for outcome in outcomes:
            if outcome.error is not None:  # once the frames have ended that hold the request
                self._loop.call_soon(let_go, outcome.error)
        return outcomes

    # ------------------------------------------------------------------ what comes back
    def take(self, outcomes: list[Outcome], worker: Worker, done: bool = True) -> None:  # noqa: FBT001, FBT002 - as the outbox hands it over
        """Takes the outcomes of a batch from a worker; see `Outbox.put`."""
        first = outcomes[0].run
        lane = self._lanes.by_queue[first.runnable.spec.device.queue]
        if not done:
            lane.told(worker)
            for outcome in outcomes:
                self._go_on(outcome)
            self.pump_soon(lane)  # others may overtake it now
            return
        context = lane.returned(worker, self._loop.time()).context
        try:
            if context.reason:
                self._tell_of_ended(outcomes, context)
            self.tell_of_crashes(first.runnable)
            self._note(lane, outcomes)
            for outcome in outcomes:
                if not outcome.told:
                    self._go_on(outcome)
        finally:  # whatever went wrong, others wait for this worker
            if lane.running:  # it has more to do: once, after all that comes back now
                self.pump_soon(lane)
            else:
                self._pump(lane)
            self._on_idle()

    def _tell_of_ended(self, outcomes: Sequence[Outcome], context: RunContext) -> None:
        """Tells the log of runs that were ended."""
        for outcome in outcomes:
            if outcome.error is not None and self._lines.allows(_log, logging.WARNING):
                text = "a run of the %s on %s was ended after %.1f s: %s"
                name, queue = named(outcome.run.runnable), context.device.queue
                _log.warning(text, name, queue, outcome.seconds, context.reason)

    def tell_of_crashes(self, runnable: Runnable) -> None:
        """Tells the log of workers that died of a model or script since it was last told."""
        causes = runnable.crashes.news()
        for cause in causes:
            if self._lines.allows(_log, logging.WARNING):
                _log.warning("the %s ended its worker process: %s", named(runnable), cause)
        if causes and runnable.crashes.refused and self._lines.allows(_log, logging.WARNING):
            _log.warning("the %s is not run until it is stored again", named(runnable))

    def _note(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        """Counts a batch, and tells the log when requests are not to share runs any more."""
        lane.batches[len(outcomes)] += 1
        runnable = outcomes[0].run.runnable
        try:
            runnable.stats.note(shapes([o.run for o in outcomes]), seconds_of(outcomes))
        except Exception:  # noqa: BLE001 - who waits for the batch is still to be told
            _log.exception("the time of a run could not be noted")
        reason = runnable.sharing.news() if isinstance(runnable, Model) else ""
        if reason and self._lines.allows(_log, logging.WARNING):
            text = "requests to the %s no longer share its runs, BATCHSIZE or not: %s"
            _log.warning(text, named(runnable), shown(reason))
