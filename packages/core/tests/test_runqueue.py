"""The run queue: it loses nothing, keeps the promised order, never overfills, and always wakes."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tensorkeep import runqueue
from tensorkeep.batch_axis import DECLARED
from tensorkeep.batching import Batching
from tensorkeep.model import LoadedModel, Model, ModelSpec
from tensorkeep.runqueue import Run, RunQueue
from tensorkeep.tensor import Tensor


def model(size=0, minimum=0, timeout_ms=0):
    spec = ModelSpec("FAKE", batching=Batching(size, minimum, timeout_ms))
    return Model(spec, b"", LoadedModel(None, ("x",), ("y",), batch_axis=DECLARED), None)


def run(of, rows=1, expires_at=None, dtype=np.float32, width=2):
    graph = SimpleNamespace()
    return Run(
        of, [Tensor.from_numpy(np.zeros((rows, width), dtype))], graph, 0, expires_at=expires_at
    )


@pytest.fixture
def queue():
    return RunQueue()


def test_runs_that_cannot_share_leave_one_by_one_in_order(queue):
    runs = [run(model()) for _ in range(3)]
    for each in runs:
        queue.push(each, 0.0)
    assert [queue.next_batch(0.0) for _ in range(4)] == [[r] for r in runs] + [[]]


def test_compatible_runs_leave_together(queue):
    shared = model(size=8)
    runs = [run(shared) for _ in range(3)]
    for each in runs:
        queue.push(each, 0.0)
    assert queue.next_batch(0.0) == runs
    assert not queue


def test_a_batch_never_exceeds_its_size_and_takes_the_oldest_first(queue):
    shared = model(size=4)
    runs = [run(shared, rows) for rows in (2, 1, 3, 1)]
    for each in runs:
        queue.push(each, 0.0)
    assert queue.next_batch(0.0) == runs[:2]
    assert queue.next_batch(0.0) == runs[2:]


@pytest.mark.parametrize("rows", [4, 5])
def test_a_run_as_large_as_the_batch_size_runs_alone(queue, rows):
    shared = model(size=4, minimum=2)
    large, small = run(shared, rows), run(shared, 1)
    queue.push(large, 0.0)
    queue.push(small, 0.0)
    assert queue.next_batch(0.0) == [large]
    assert queue.next_batch(0.0) == []


@pytest.mark.parametrize(
    "other",
    [{"dtype": np.float64}, {"width": 3}],
    ids=["another data type", "another shape"],
)
def test_runs_that_do_not_fit_together_are_never_joined(queue, other):
    shared = model(size=4)
    first, second = run(shared), run(shared, **other)
    queue.push(first, 0.0)
    queue.push(second, 0.0)
    assert queue.next_batch(0.0) == [first]
    assert queue.next_batch(0.0) == [second]


def test_the_same_model_stored_again_is_another_model(queue):
    first, second = run(model(size=4)), run(model(size=4))
    queue.push(first, 0.0)
    queue.push(second, 0.0)
    assert queue.next_batch(0.0) == [first]


def test_a_run_waits_for_its_minimum_while_others_pass(queue):
    held, other = run(model(size=4, minimum=2)), run(model())
    queue.push(held, 0.0)
    queue.push(other, 0.0)
    assert queue.next_batch(0.0) == [other]
    assert queue.next_batch(0.0) == []
    assert queue.wake_at(0.0) is None  # without a timeout only another request ends the wait
    joined = run(held.runnable)
    queue.push(joined, 1.0)
    assert queue.next_batch(1.0) == [held, joined]


def test_a_run_that_waited_out_its_minimum_runs_alone(queue):
    shared = model(size=8, minimum=4, timeout_ms=100)
    first, second = run(shared), run(shared)
    queue.push(first, 0.0)
    queue.push(second, 0.05)
    assert queue.next_batch(0.05) == []
    assert queue.wake_at(0.05) == pytest.approx(0.1)
    assert queue.next_batch(0.1) == [first]
    assert queue.wake_at(0.1) == pytest.approx(0.15)


def test_what_may_go_already_asks_for_no_waking(queue):
    held = run(model(size=8, minimum=4, timeout_ms=100))
    queue.push(held, 0.0)
    assert queue.wake_at(0.2) is None, "its time is up: it goes when a worker is free"


def test_an_expired_run_leaves_the_queue_and_the_rest_stays(queue):
    expiring, staying = run(model(), expires_at=1.0), run(model())
    queue.push(expiring, 0.0)
    queue.push(staying, 0.0)
    assert queue.expire(0.9) == []
    assert queue.wake_at(0.9) == 1.0
    assert queue.expire(1.0) == [expiring]
    assert queue.next_batch(1.0) == [staying]


def test_a_discarded_run_is_gone_and_discarding_it_again_does_nothing(queue):
    first = run(model(size=4), expires_at=1.0)
    queue.push(first, 0.0)
    assert queue.discard(first)
    assert not queue.discard(first)
    assert queue.expire(2.0) == []
    assert queue.wake_at(2.0) is None
    queue.validate()


def test_the_runs_of_a_request_can_be_found(queue):
    first, second = run(model()), run(model())
    queue.push(first, 0.0)
    queue.push(second, 0.0)
    assert queue.runs_of(second.graph) == [second]


def test_ahead_goes_only_what_waiting_cannot_make_better(queue):
    alone, expiring = run(model()), run(model(), expires_at=9.0)
    shared = model(size=2)
    queue.push(alone, 0.0)
    assert queue.next_batch(0.0, ahead=True) == [alone]
    queue.push(expiring, 0.0)
    assert queue.next_batch(0.0, ahead=True) == []
    assert queue.next_batch(0.0) == [expiring]
    first, second = run(shared), run(shared)
    queue.push(first, 0.0)
    assert queue.next_batch(0.0, ahead=True) == []
    queue.push(second, 0.0)
    assert queue.next_batch(0.0, ahead=True) == [first, second]


def test_a_batch_has_no_more_bytes_than_can_be_copied_whatever_its_size(queue, monkeypatch):
    monkeypatch.setattr(runqueue, "_MOST_BYTES", 3 * 8)  # three rows of two floats
    of = model(size=10**12)
    runs = [run(of) for _ in range(5)]
    large = run(of, rows=9)
    for each in (*runs, large):
        queue.push(each, 0.0)
    assert queue.next_batch(0.0) == runs[:3]
    assert queue.next_batch(0.0) == runs[3:]
    assert queue.next_batch(0.0) == [large]


class QueueMachine(RuleBasedStateMachine):
    """Any mix of pushes, expiries, disconnects and finished batches, against a plain list."""

    def __init__(self):
        super().__init__()
        self.queue = RunQueue()
        self.now = 0.0
        self.models = [model(), model(4), model(4, 2), model(3, 3, 50), model(2, 4, 1000)]
        self.waiting = []

    @rule(
        which=st.integers(0, 4),
        rows=st.integers(0, 5),
        timeout=st.none() | st.floats(0, 2),
        width=st.integers(1, 2),
    )
    def push(self, which, rows, timeout, width):
        expires_at = None if timeout is None else self.now + timeout
        new = run(self.models[which], rows, expires_at, width=width)
        self.queue.push(new, self.now)
        self.waiting.append(new)

    @rule(seconds=st.floats(0, 1))
    def let_time_pass(self, seconds):
        self.now += seconds

    @rule()
    def expire(self):
        expired = self.queue.expire(self.now)
        due = [r for r in self.waiting if r.expires_at is not None and r.expires_at <= self.now]
        assert sorted(map(id, expired)) == sorted(map(id, due))
        self.waiting = [r for r in self.waiting if r not in due]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def disconnect(self, data):
        gone = data.draw(st.sampled_from(self.waiting))
        assert self.queue.discard(gone)
        self.waiting.remove(gone)

    @rule()
    def take(self):
        batch = self.queue.next_batch(self.now)
        if not batch:
            for held in self.waiting:
                options = held.runnable.spec.batching
                assert held.rows, "a run that must run alone was held back"
                group = [r for r in self.waiting if r.group == held.group]
                assert sum(r.rows for r in group) < options.minimum
                waited = self.now - group[0].queued_at
                assert not options.timeout_ms or waited < options.timeout_ms / 1000
            return
        size = batch[0].runnable.spec.batching.size
        assert len({id(r.runnable) for r in batch}) == 1
        assert len({(r.inputs[0].dtype, r.inputs[0].shape[1:]) for r in batch}) == 1
        if len(batch) > 1:
            assert sum(r.inputs[0].shape[0] for r in batch) <= size
        peers = [r for r in self.waiting if r.group == batch[0].group]
        assert peers[: len(batch)] == batch, "the oldest of a group go first"
        self.waiting = [r for r in self.waiting if r not in batch]

    @rule()
    def sleep_until_woken(self):
        """Whoever sleeps until `wake_at` finds something to do, and missed nothing before."""
        while self.queue.next_batch(self.now):
            pass
        self.queue.expire(self.now)
        self.waiting = [r for r in self.waiting if r.waiting]
        wake_at = self.queue.wake_at(self.now)
        if wake_at is None:
            return
        before = (self.now + wake_at) / 2
        if self.now < before < wake_at:
            assert not self.queue.expire(before)
            assert not self.queue.next_batch(before)
        self.now = max(self.now, wake_at)
        assert self.queue.expire(self.now) or self.queue.next_batch(self.now)
        self.waiting = [r for r in self.waiting if r.waiting]

    @invariant()
    def nothing_is_lost(self):
        self.queue.validate()
        assert len(self.queue) == len(self.waiting)
        assert all(r.waiting for r in self.waiting)


TestQueueMachine = QueueMachine.TestCase
