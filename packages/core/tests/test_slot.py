"""A worker's slot: what its thread does, what goes straight to a worker outside, and the order."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep import slot as module
from tensorkeep.batch_axis import KNOWN, POSSIBLE
from tensorkeep.batching import Batching
from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed, WorkerDied
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep.isolation import NotBegun
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.runqueue import Run
from tensorkeep.slot import Slot
from tensorkeep.tensor import Tensor
from tensorkeep.testing.manual_loop import ManualLoop
from tensorkeep.worker import Outbox


class FakeThread:
    """Stands in for the slot's thread: does a batch when it is told to."""

    def __init__(self, name, outbox):
        self.outbox = outbox
        self.batches = []

    def hand(self, batch, context, failed=None):
        self.batches.append((batch, failed))

    def finish(self):
        batch, _ = self.batches.pop(0)
        self.outbox.give([SimpleNamespace(run=run, by="thread") for run in batch], self)

    def take_back(self):
        count = len(self.batches[1:])
        del self.batches[1:]
        return count

    def stop(self):
        pass

    def cpu_seconds(self):
        return 0.0


class FakeRunner:
    """Stands in for a worker outside: ends runs when it is told to."""

    def __init__(self):
        self.runs = []
        self.ready = True

    def start(self, model, inputs, run, done):
        if self.ready:
            self.runs.append((inputs, done))
        return self.ready

    def finish(self, result=None):
        inputs, done = self.runs.pop(0)
        done(list(inputs) if result is None else result)

    def wait(self, seconds):
        while self.runs:
            self.finish()

    def withdraw(self):
        count = len(self.runs[1:])
        del self.runs[1:]
        return count

    def stop(self):
        pass


class FakeHandle:
    """Stands in for the handle to a backend."""

    def __init__(self, name):
        self.name = name
        self.isolated = name != "HERE"


class Bench:
    """A slot with two isolated backends, of which it takes what they return."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(module, "ThreadWorker", FakeThread)
        self.outcomes = []
        self.runners = {"A": FakeRunner(), "B": FakeRunner()}
        outbox = Outbox(ManualLoop(), self.take)
        self.slot = Slot("CPU-1", outbox, ManualLoop(), lambda each: self.runners[each.name])
        self.thread = self.slot._thread
        self.backends = {name: FakeHandle(name) for name in ["A", "B", "HERE"]}

    def take(self, outcomes, worker, done):
        assert worker is self.slot
        self.outcomes.append([outcome.run.name for outcome in outcomes])
        self.last = outcomes

    def model(self, backend="A", axis=KNOWN):
        loaded = LoadedModel(None, ("x",), ("y",), batch_axis=axis)
        spec = ModelSpec(backend, batching=Batching(64))
        return Model(spec, b"", loaded, self.backends[backend])

    def script(self, backend="A"):
        return Script(ScriptSpec(backend), b"", None, self.backends[backend])

    def hand(self, name, runnable, rows=1):
        runs = []
        for each in name.split("+"):
            tensors = [Tensor.from_numpy(np.full((rows, 2), ord(each), np.float32))]
            call = ScriptCall("f", (), (), (), 1, None) if isinstance(runnable, Script) else None
            run = NamedRun(runnable, tensors, SimpleNamespace(), 0, rows=rows, call=call)
            run.name = each
            runs.append(run)
        self.slot.hand(runs, RunContext(CPU))


class NamedRun(Run):
    name = ""


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_runs_of_isolated_models_go_without_the_thread_several_ahead(bench):
    model = bench.model()
    bench.hand("a", model)
    bench.hand("b", model)

    assert len(bench.runners["A"].runs) == 2
    bench.runners["A"].finish()
    bench.runners["A"].finish()
    assert bench.outcomes == [["a"], ["b"]]
    assert bench.thread.batches == []


def test_scripts_and_what_runs_in_this_process_are_done_by_the_thread(bench):
    bench.hand("a", bench.script())
    bench.hand("b", bench.model("HERE"))

    assert len(bench.thread.batches) == 2
    bench.thread.finish()
    bench.thread.finish()
    assert bench.outcomes == [["a"], ["b"]]


def test_what_is_handed_behind_work_elsewhere_waits_and_order_holds(bench):
    bench.hand("a", bench.model("A"))
    bench.hand("b", bench.model("B"))
    bench.hand("c", bench.script())
    bench.hand("d", bench.model("A"))
    assert bench.runners["B"].runs == []
    assert bench.thread.batches == []

    bench.runners["A"].finish()
    bench.runners["B"].finish()
    assert bench.runners["A"].runs == []
    bench.thread.finish()
    bench.runners["A"].finish()
    assert bench.outcomes == [["a"], ["b"], ["c"], ["d"]]


def test_what_a_worker_cannot_take_at_once_is_done_by_the_thread(bench):
    bench.runners["A"].ready = False
    bench.hand("a", bench.model())

    bench.thread.finish()
    assert bench.outcomes == [["a"]]


def test_members_of_a_batch_share_a_run_that_is_cut(bench):
    bench.hand("a+b", bench.model())

    (inputs, _), *_ = bench.runners["A"].runs
    assert inputs[0].shape == (2, 2)
    bench.runners["A"].finish()
    assert bench.outcomes == [["a", "b"]]
    assert [each.outputs[0].numpy().tolist() for each in bench.last] == [[[97, 97]], [[98, 98]]]
    assert all(each.shared for each in bench.last)


def test_a_batch_that_is_to_be_tried_first_is_done_by_the_thread(bench):
    bench.hand("a+b", bench.model(axis=POSSIBLE))

    assert [failed for _, failed in bench.thread.batches] == [None]


@pytest.mark.parametrize("result", [RunFailed("no"), WorkerDied("SIGSEGV"), []])
def test_members_of_a_shared_run_that_failed_run_alone_before_what_came_later(bench, result):
    model = bench.model()
    bench.hand("a+b", model)
    bench.hand("c", model)
    bench.runners["A"].finish(result)
    assert bench.slot.take_back() == 0
    bench.runners["A"].finish()
    assert bench.outcomes == []  # in the order in which they were handed

    assert [failed is None for _, failed in bench.thread.batches] == [False]
    bench.thread.finish()
    assert bench.outcomes == [["a", "b"], ["c"]]


def test_members_run_alone_when_the_outputs_do_not_have_the_expected_rows(bench):
    model = bench.model()
    bench.hand("a+b", model)
    bench.runners["A"].finish([Tensor.from_numpy(np.zeros((3, 2), np.float32))])

    (_, failed), *_ = bench.thread.batches
    assert "not as many rows" in str(failed)


def test_a_run_that_failed_fails_alone(bench):
    bench.hand("a", bench.model())
    bench.runners["A"].finish(ValueError("bad shape"))

    assert str(bench.last[0].error) == "bad shape"
    assert isinstance(bench.last[0].error, RunFailed)


def test_what_was_not_begun_when_the_worker_died_is_done_by_the_thread_in_order(bench):
    model, runner = bench.model(), bench.runners["A"]
    for name in "abc":
        bench.hand(name, model)
    runner.ready = False
    runner.finish(WorkerDied("SIGSEGV"))
    bench.hand("d", model)
    runner.finish(NotBegun())
    runner.finish(NotBegun())
    assert bench.outcomes == [["a"]]

    runner.ready = True
    bench.thread.finish()
    bench.thread.finish()
    runner.finish()
    assert bench.outcomes == [["a"], ["b"], ["c"], ["d"]]


def test_what_was_not_begun_can_be_taken_back(bench):
    model = bench.model()
    for name in "abc":
        bench.hand(name, model)
    bench.hand("d", bench.script())

    assert bench.slot.take_back() == 3
    bench.runners["A"].finish()
    assert bench.outcomes == [["a"]]


def test_what_is_waited_for_has_come_when_that_returns(bench):
    bench.hand("a", bench.model())
    bench.slot.wait(0.001)

    assert bench.outcomes == [["a"]]


def test_nothing_is_waited_for_while_the_thread_is_at_work(bench):
    bench.hand("a", bench.script())
    bench.slot.wait(10)

    assert bench.outcomes == []


def test_what_waits_behind_a_shared_run_that_failed_can_be_taken_back(bench):
    model = bench.model()
    bench.hand("a+b", model)
    bench.hand("c", model)
    bench.runners["A"].finish(RunFailed("no"))
    bench.hand("d", bench.script())

    assert bench.slot.take_back() == 1
    bench.runners["A"].finish()
    bench.thread.finish()
    assert bench.outcomes == [["a", "b"], ["c"]]


def test_what_the_thread_has_not_begun_can_be_taken_back(bench):
    for name in "abc":
        bench.hand(name, bench.script())
    bench.hand("d", bench.model())

    assert bench.slot.take_back() == 3
    bench.thread.finish()
    assert bench.outcomes == [["a"]]


STEPS = ["model A", "model B", "pair", "script", "end A", "end B", "fail A", "end thread", "back"]


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_each_batch_ends_once_and_in_order_unless_it_was_taken_back(steps):
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(monkeypatch)
        model = {name: bench.model(name) for name in "AB"}
        script = bench.script()
        expected = []

        for number, step in enumerate(steps):
            names = [chr(0x100 + 2 * number), chr(0x101 + 2 * number)]
            match step.split():
                case ["back"]:
                    ended = len(bench.outcomes)
                    count = bench.slot.take_back()
                    assert count <= len(expected) - ended
                    del expected[len(expected) - count :]
                case ["end" | "fail", _]:
                    end(bench, step)
                case [kind, *which]:
                    handed = names if kind == "pair" else names[:1]
                    runnable = script if kind == "script" else model[which[0] if which else "A"]
                    bench.hand("+".join(handed), runnable)
                    expected.append(handed)
        for _ in range(3 * len(steps)):
            for step in ("end A", "end B", "end thread"):
                end(bench, step)
        assert bench.outcomes == expected


def end(bench, step):
    """Ends what goes on somewhere, if anything does."""
    how, where = step.split()
    if where == "thread":
        if bench.thread.batches:
            bench.thread.finish()
    elif bench.runners[where].runs:
        bench.runners[where].finish(RunFailed("no") if how == "fail" else None)
