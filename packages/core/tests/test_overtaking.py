"""Runs of other models beside one that takes long."""

import json
import math
import time

import pytest

from tensorkeep.backends import Backends
from tensorkeep.batching import UNBATCHED, Batching
from tensorkeep.config import EngineConfig
from tensorkeep.device import CPU
from tensorkeep.engine import Engine
from tensorkeep.execution import Outcome
from tensorkeep.graph import run_of
from tensorkeep.lane import Handed, Lane
from tensorkeep.model import LoadedModel, Model, ModelSpec
from tensorkeep.runqueue import Run, RunQueue
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.manual_loop import ManualLoop
from tensorkeep.worker import Outbox, ThreadWorker

INPUT = Tensor.zeros(DType.FLOAT, (2,))
AFTER = 0.1


def model_of(usual=None):
    """A model whose runs usually take so many seconds; None for one that has not run yet."""
    model = Model(ModelSpec("FAKE"), b"", LoadedModel(None, ("x",), ("y",)), None)
    if usual is not None:
        model.stats.note((2,), usual)
    return model


def run_of_(model):
    return Run(model, (INPUT,), run_of(model, [INPUT]), 0)


def lane_of(*workers, after=AFTER):
    return Lane(CPU, workers, after)


def hand(lane, worker, model, at=0.0):
    lane.workers.setdefault(worker, type(lane.workers[next(iter(lane.workers))])())
    lane.hand(worker, Handed([run_of_(model)], None, model.stats.usual((2,)), at))


def may(lane, model, now):
    found = lane.may_overtake(now)
    return found is not None and found(run_of_(model))


# ------------------------------------------------------------------ who may overtake, and when
def test_nobody_overtakes_before_the_time_is_over():
    lane = lane_of("w1")
    hand(lane, "w1", model_of())
    assert not may(lane, model_of(0.001), AFTER - 0.001)
    assert may(lane, model_of(0.001), AFTER)
    assert may(lane, model_of(), AFTER), "nor is one kept that nobody knows yet"


def test_a_run_waits_for_at_least_as_long_as_it_takes_itself():
    lane = lane_of("w1")
    hand(lane, "w1", model_of())
    slow = model_of(0.3)
    assert not may(lane, slow, 0.29)
    assert may(lane, slow, 0.3)


def test_runs_of_one_model_never_overtake_each_other():
    lane, model = lane_of("w1"), model_of(0.001)
    hand(lane, "w1", model)
    assert not may(lane, model, 100)
    assert may(lane, model_of(0.001), 100)


def test_with_several_workers_each_run_that_takes_long_makes_way_for_one():
    lane = lane_of("w1", "w2")
    hand(lane, "w1", model_of())
    hand(lane, "w2", model_of(), at=0.2)
    assert may(lane, model_of(), 0.25)
    hand(lane, "w3", model_of(), at=0.25)
    assert not may(lane, model_of(), 0.29)
    assert may(lane, model_of(), 0.31)


def test_beside_a_run_that_takes_long_there_is_one_other_at_a_time():
    lane = lane_of("w1")
    hand(lane, "w1", model_of())
    hand(lane, "w2", model_of(0.001), at=1.0)
    assert not may(lane, model_of(0.001), 1.01)


def test_short_runs_and_others_do_not_wait_for_each_other_beside_one_that_takes_long():
    lane = lane_of("w1")
    hand(lane, "w1", model_of())
    hand(lane, "w2", model_of(), at=1.0)
    assert may(lane, model_of(0.001), 1.01)
    assert not may(lane, model_of(), 1.01)
    hand(lane, "w3", model_of(0.001), at=1.01)
    assert not may(lane, model_of(0.001), 1.02)
    assert not may(lane, model_of(), 1.09)
    assert may(lane, model_of(), 1.11)


def test_the_last_worker_is_for_runs_that_are_known_to_be_short():
    lane = lane_of("w1")
    for n in range(8):
        hand(lane, f"w{n + 1}", model_of())
    assert not may(lane, model_of(), 100)
    assert not may(lane, model_of(0.2), 100)
    assert may(lane, model_of(0.01), 100)
    hand(lane, "w9", model_of(0.01), at=0)
    assert lane.may_overtake(100) is None


def test_the_order_can_be_kept():
    lane = lane_of("w1", after=0)
    hand(lane, "w1", model_of())
    assert lane.may_overtake(100) is None
    assert lane.look_at(100) is None
    assert lane.next_worker(100) == (None, False)


def test_nothing_is_handed_on_top_of_a_run_that_takes_longer_than_it_should():
    lane = lane_of("w1")
    hand(lane, "w1", model_of(0.0001))
    assert lane.next_worker(0.01) == ("w1", False)
    assert lane.next_worker(AFTER) == (None, False)


def test_a_lane_is_looked_at_when_and_only_when_somebody_waits():
    lane = lane_of("w1")
    assert lane.look_at(0) is None
    hand(lane, "w1", model_of(), at=1.0)
    assert lane.look_at(1.0) is None
    lane.queue.push(run_of_(model_of()), 1.01)
    assert lane.look_at(1.02) == pytest.approx(1.1)
    assert lane.look_at(5.0) == pytest.approx(5.05)


def test_what_was_handed_on_top_is_known_with_what_it_waited():
    lane = lane_of("w1")
    hand(lane, "w1", model_of(0.0001))
    hand(lane, "w1", model_of(0.0001), at=0.02)
    assert lane.held_up(0.05) == []
    assert lane.held_up(0.1) == ["w1"]
    (taken,) = lane.taken_back("w1")
    assert taken.at == 0.02
    assert (lane.running, lane.waited) == (1, 0)


def test_runs_that_are_put_back_go_first_and_in_their_order():
    queue, model = RunQueue(), model_of()
    runs = [run_of_(model) for _ in range(4)]
    for run in runs:
        queue.push(run, 0.0)
    taken = [queue.next_batch(0.0) for _ in range(3)]
    for batch in reversed(taken):
        queue.restore(batch)
        queue.validate()
    assert [queue.next_batch(0.0) for _ in range(4)] == [[run] for run in runs]
    assert not queue


def test_a_run_that_is_put_back_still_expires():
    queue, run = RunQueue(), run_of_(model_of())
    run.expires_at = 5.0
    queue.push(run, 0.0)
    queue.restore(queue.next_batch(0.0))
    assert queue.wake_at(1.0) == 5.0
    assert queue.expire(5.0) == [run]
    assert queue.expire(6.0) == []
    taken = run_of_(model_of())
    taken.expires_at = 7.0
    queue.push(taken, 6.0)
    queue.restore(queue.next_batch(6.0))
    assert queue.next_batch(6.5) == [taken]
    assert queue.expire(8.0) == [], "what has started does not expire"


def test_the_first_that_may_goes_and_the_others_keep_their_order():
    queue, one, other = RunQueue(), model_of(), model_of()
    runs = [run_of_(model) for model in (one, other, one, other)]
    for run in runs:
        queue.push(run, 0.0)
    assert queue.next_batch(0.0, may=lambda run: run.runnable is other) == [runs[1]]
    assert queue.next_batch(0.0, may=lambda _: False) == []
    queue.validate()
    assert [queue.next_batch(0.0) for _ in range(3)] == [[runs[0]], [runs[2]], [runs[3]]]


# ------------------------------------------------------------------ in the engine
class Bench:
    def __init__(self, **config):
        self.loop, self.fake = ManualLoop(), FakeBackend()
        backends = Backends(installed=lambda: ())
        backends.add("FAKE", self.fake)
        config = EngineConfig(inline_limit=0, **config)
        self.engine = Engine(self.loop, config, backends)

    def create(self, op="identity", batching=UNBATCHED, **options):
        made = []
        blob = json.dumps({"op": op, **options}).encode()
        spec = ModelSpec("FAKE", batching=batching)
        self.engine.create_model(spec, blob, lambda *result: made.append(result[0]))
        self.loop.run_until(lambda: made)
        return made[0]

    def start(self, model, value=INPUT):
        graph = run_of(model, [value])
        self.engine.execute(graph)
        return graph

    def finish(self, *graphs):
        self.loop.run_until(lambda: all(graph.done for graph in graphs))
        assert all(graph.errors == [None] for graph in graphs)

    def workers(self):
        return len(self.engine.lanes["CPU"].workers)


@pytest.fixture
def make():
    benches = []

    def build(**config):
        benches.append(Bench(**config))
        return benches[-1]

    yield build
    for bench in benches:
        bench.fake.release(math.inf)
        ended = []
        bench.engine.close(30, lambda ended=ended: ended.append(True))
        bench.loop.run_until(lambda ended=ended: ended)


@pytest.fixture
def bench(make):
    return make()


def test_a_model_gets_on_beside_runs_of_others_that_do_not_end(bench):
    blocked = [bench.start(bench.create("block")) for _ in range(3)]
    late = bench.start(bench.create())
    bench.loop.advance(1.0)
    bench.finish(late)
    assert not any(graph.done for graph in blocked)
    assert bench.workers() == 4
    again = bench.start(bench.create())
    bench.finish(again)
    assert bench.workers() == 4, "a worker that is there is used again"
    bench.fake.release(3)
    bench.finish(*blocked)


def test_many_runs_of_one_slow_model_hold_up_no_other_and_take_one_worker(bench):
    slow = bench.create("block")
    blocked = [bench.start(slow) for _ in range(5)]
    late = bench.start(bench.create())
    bench.loop.advance(1.0)
    bench.finish(late)
    bench.fake.await_calls("model_run", 2)
    assert len(bench.fake.calls_of("model_run")) == 2
    bench.fake.release(5)
    bench.finish(*blocked)
    assert bench.workers() == 2


def test_what_was_handed_on_top_of_a_run_that_takes_long_goes_elsewhere(bench):
    blocker, model = bench.create("block"), bench.create()
    bench.finish(bench.start(model))
    blocker.stats.note((2,), 1e-6)  # as if it were known to be short
    blocked = bench.start(blocker)
    ahead = [bench.start(model) for _ in range(3)]
    bench.loop.turn()
    assert not bench.engine.lanes["CPU"].queue, "all were handed to the worker"
    bench.fake.await_calls("model_run", 2)
    bench.loop.advance(0.5)
    bench.finish(*ahead)
    assert not blocked.done
    bench.fake.release()
    bench.finish(blocked)
    assert not bench.engine.lanes["CPU"].running


def test_nobody_waits_for_what_is_found_out_about_shared_runs_of_a_slow_model(make):
    bench = make(model_execution_timeout=600)
    model = bench.create("block", Batching(8, 2), axis="possible")
    rows = [Tensor.from_values(DType.FLOAT, (1,), [float(number)]) for number in range(4)]
    first = [bench.start(model, row) for row in rows[:2]]
    bench.fake.release(2)
    bench.finish(*first)
    assert [[*graph.outputs] for graph in first] == [[row] for row in rows[:2]]
    bench.fake.await_calls("model_run", 3)  # the two together, which goes on
    later = [bench.start(model, row) for row in rows[2:]]
    bench.loop.advance(1.0)
    bench.fake.await_calls("model_run", 4)
    assert len(bench.fake.calls_of("model_run")) == 4
    bench.fake.release(math.inf)
    bench.finish(*later)
    bench.loop.run_until(lambda: not bench.engine.lanes["CPU"].running)
    bench.finish(*[bench.start(model, row) for row in rows[:2]])
    assert bench.fake.calls_of("model_run")[-1].shapes == ((2,),)
    assert (model.stats.calls, model.stats.errors) == (6, 0)


def test_the_order_is_kept_where_that_is_asked_for(make):
    bench = make(overtake_after=0)
    blocked, late = bench.start(bench.create("block")), bench.start(bench.create())
    bench.loop.advance(100)
    assert not late.done
    bench.fake.release()
    bench.finish(blocked, late)
    assert bench.workers() == 1


def test_a_worker_that_cannot_be_started_leaves_runs_waiting(make, monkeypatch, caplog):
    bench = make()
    blocked, late = bench.start(bench.create("block")), bench.start(bench.create())

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(bench.engine._lanes, "_start_worker", refuse)
    bench.loop.advance(1.0)
    assert not late.done
    assert "can't start new thread" in caplog.text
    bench.fake.release()
    bench.finish(blocked, late)


# ------------------------------------------------------------------ the worker
def test_a_worker_gives_back_what_it_has_not_begun():
    returned, fake = [], FakeBackend()

    class Loop:
        def call_soon_threadsafe(self, callback, *args):
            callback(*args)

    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    backend = backends.load("FAKE")
    spec = ModelSpec("FAKE")
    worker = ThreadWorker("w", Outbox(Loop(), lambda outcomes, *_: returned.extend(outcomes)))
    models = [
        Model(spec, b"", backend.model_create(spec, json.dumps({"op": op}).encode(), None), backend)
        for op in ("block", "identity", "identity", "identity")
    ]
    runs = [run_of_(model) for model in models]
    for run in runs[:3]:
        worker.hand([run], Context())
    fake.await_calls("model_run")
    assert worker.take_back() == 2
    assert worker.take_back() == 0
    worker.hand([runs[3]], Context())
    fake.release()
    fake.await_calls("model_run", 2)
    worker.stop()
    worker._thread.join(10)
    assert [outcome.run for outcome in returned] == [runs[0], runs[3]]
    assert all(type(outcome) is Outcome and outcome.error is None for outcome in returned)


class Context:
    """A run's context that is never cancelled."""

    cancelled = False
    device = CPU

    def begin(self, now):
        assert now <= time.monotonic()

    def on_cancel(self, end):
        pass
