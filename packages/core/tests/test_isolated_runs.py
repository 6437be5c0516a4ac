"""An engine whose workers die: who is told what, what still runs, and when a model is refused."""

import json
import math
import time
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from tensorkeep.batching import Batching
from tensorkeep.config import EngineConfig
from tensorkeep.engine import Engine
from tensorkeep.errors import (
    BuildCrashed,
    BuildTookTooLong,
    RunCrashed,
    RunFailed,
    RunRefused,
    WorkerDied,
    WorkerTookTooLong,
)
from tensorkeep.graph import call_of, run_of
from tensorkeep.hookspecs import ScriptCall
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import Tensor
from tensorkeep.testing.fake_isolation import FakeIsolation
from tensorkeep.testing.manual_loop import ManualLoop

POISON = 13.0


def poisoned(hook, tensors):
    """A worker dies of tensors with an unlucky number in them."""
    if hook in {"model_run", "script_run"} and any(POISON in t.numpy() for t in tensors):
        return "signal SIGSEGV"
    return ""


def several_rows(_hook, tensors):
    """A worker dies of tensors with more than one number."""
    return "signal SIGBUS" if any(t.numpy().size > 1 for t in tensors) else ""


class Bench:
    """An engine all of whose models are isolated, and what tests do with it."""

    def __init__(self, dies=poisoned, **config):
        self.loop = ManualLoop()
        self.isolation = FakeIsolation(dies)
        self.engine = Engine(
            self.loop,
            EngineConfig(isolate="all", **config),
            self.isolation.backends(names=("FAKE", "OTHER")),
        )

    def made(self, create, *args):
        got = []
        create(*args, lambda *result: got.append(result))
        self.loop.run_until(lambda: got)
        made, error = got[0]
        if error is not None:
            raise error
        return made

    def model(self, op="identity", key=b"m", batching=None, **fields):
        blob = json.dumps({"op": op, **fields}).encode()
        spec = ModelSpec("FAKE", batching=batching or Batching())
        model = self.made(self.engine.create_model, spec, blob)
        self.engine.enter(key, model)
        return model

    def script(self, source, key=b"s"):
        script = self.made(self.engine.create_script, ScriptSpec("FAKE"), source)
        self.engine.enter(key, script)
        return script

    def start(self, model, *values):
        graph = run_of(model, [Tensor.from_numpy(np.float32(v)) for v in values])
        self.engine.execute(graph)
        return graph

    def finish(self, *graphs):
        self.loop.run_until(lambda: all(graph.done for graph in graphs))
        return [graph.errors[0] or graph.outputs[0].values() for graph in graphs]

    def run(self, model, *values):
        return self.finish(self.start(model, *values))[0]

    def close(self):
        self.isolation.fake.release(math.inf)
        self.engine.close(0.0, lambda: None)
        self.loop.turn()
        self.loop.advance(1.0)


@pytest.fixture
def make():
    benches = []

    def build(*args, **kwargs):
        benches.append(Bench(*args, **kwargs))
        return benches[-1]

    yield build
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make):
    return make()


def hooks(bench, hook="model_run"):
    return len(bench.isolation.fake.calls_of(hook))


def test_a_worker_that_died_is_an_error_with_the_models_key_and_the_cause(bench, caplog):
    model = bench.model(key=b"net")
    error = bench.run(model, [POISON])
    assert isinstance(error, RunCrashed)
    assert str(error) == "the model net ended its worker process: signal SIGSEGV"
    assert (model.stats.calls, model.stats.errors) == (1, 1)
    assert "the model net ended its worker process: signal SIGSEGV" in caplog.text


def test_what_waited_behind_a_crash_runs(bench):
    model, other = bench.model(), bench.model(key=b"other")
    graphs = [bench.start(model, [POISON]), bench.start(other, [1]), bench.start(model, [2])]
    crashed, *others = bench.finish(*graphs)
    assert isinstance(crashed, RunCrashed)
    assert others == [[1], [2]]


def test_members_of_a_crashed_batch_are_tried_alone_and_only_the_bad_one_fails(bench):
    model = bench.model(batching=Batching(8))
    graphs = [bench.start(model, [value]) for value in (1, POISON, 2)]
    one, bad, two = bench.finish(*graphs)
    assert (one, two) == ([1], [2])
    assert isinstance(bad, RunCrashed)
    assert model.crashes.total == 2  # together, and the bad one alone
    assert not model.unshared


def test_requests_share_no_run_any_more_after_one_crashed_that_none_of_them_crashes(make):
    bench = make(several_rows)
    model = bench.model(batching=Batching(8))
    assert bench.finish(*[bench.start(model, [value]) for value in (1, 2)]) == [[1], [2]]
    assert "ended its worker process where each member alone did not" in model.unshared
    assert bench.finish(*[bench.start(model, [value]) for value in (1, 2)]) == [[1], [2]]
    assert model.crashes.total == 1


def test_a_trial_of_sharing_that_crashes_is_the_end_of_sharing(make):
    bench = make(several_rows)
    model = bench.model(batching=Batching(8), axis="possible")
    assert bench.finish(*[bench.start(model, [value]) for value in (1, 2)]) == [[1], [2]]
    assert "ended its worker process" in model.unshared
    assert model.crashes.total == 1


def test_a_model_that_died_three_times_running_is_refused_until_it_is_stored_again(bench, caplog):
    model = bench.model(key=b"net")
    for _ in range(3):
        assert isinstance(bench.run(model, [POISON]), RunCrashed)
    assert "the model net is not run until it is stored again" in caplog.text
    tried = hooks(bench)
    graph = bench.start(model, [1])
    assert graph.done  # at once, without waiting for its turn
    (error,) = bench.finish(graph)
    assert isinstance(error, RunRefused)
    assert str(error) == (
        "the model net is not run until it is stored again: it ended its worker process 3 times"
        " running, at last by signal SIGSEGV"
    )
    assert hooks(bench) == tried
    assert bench.run(bench.model(key=b"net"), [1]) == [1]


def test_a_run_that_goes_well_in_between_begins_the_count_again(bench):
    model = bench.model()
    for _ in range(3):
        for _ in range(2):
            assert isinstance(bench.run(model, [POISON]), RunCrashed)
        assert bench.run(model, [1]) == [1]
    assert model.crashes.total == 6
    assert not model.crashes.refused


def test_a_batch_of_bad_requests_ends_no_more_workers_than_it_takes_to_refuse_the_model(bench):
    model = bench.model(batching=Batching(8))
    errors = bench.finish(*[bench.start(model, [POISON]) for _ in range(6)])
    assert all(isinstance(error, RunCrashed | RunRefused) for error in errors)
    assert model.crashes.total == 3


def test_a_script_that_dies_is_counted_and_refused_as_a_model_is(bench):
    script = bench.script(b"sum", key=b"adds")
    call = ScriptCall("sum", (), (), (), 1, None)

    def answer(value):
        graph = call_of(script, [Tensor.from_numpy(np.float32([value]))], call)
        bench.engine.execute(graph)
        return bench.finish(graph)[0]

    for _ in range(3):
        assert str(answer(POISON)) == "the script adds ended its worker process: signal SIGSEGV"
    assert isinstance(answer(1), RunRefused)


def test_a_model_that_dies_within_a_script_is_the_one_that_is_counted(bench, caplog):
    model, script = bench.model(key=b"net"), bench.script(b"run_model")
    access = SimpleNamespace(model=lambda *asked: asked[-1](model))
    dies = ScriptCall("run_model", (), (b"net",), (), 1, bench.engine.commands(access))
    bench.isolation.dies = lambda hook, _: "signal SIGSEGV" if hook == "model_run" else ""
    graph = call_of(script, [Tensor.from_numpy(np.float32([POISON]))], dies)
    bench.engine.execute(graph)
    (error,) = bench.finish(graph)
    assert str(error) == "the model net ended its worker process: signal SIGSEGV"
    assert (model.crashes.total, script.crashes.total) == (1, 0)
    assert caplog.text.count("the model net ended its worker process") == 1


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (WorkerTookTooLong("it was killed"), ""),
        (WorkerTookTooLong("it took longer than 4 s; it had no memory"), "; it had no memory"),
        (WorkerDied("signal 9"), ""),
    ],
)
def test_a_run_that_was_ended_for_its_time_is_no_crash_and_says_why(bench, error, more):
    model = bench.model()

    class Ended:
        isolated = False

        def model_run(self, _model, _inputs, run):
            run.cancel("it took longer than 4 s")
            raise error

    object.__setattr__(model, "backend", Ended())
    found = bench.run(model, [1])
    assert type(found) is RunFailed
    assert str(found) == f"The run was ended: it took longer than 4 s{more}"
    assert model.crashes.total == 0


# ------------------------------------------------------------------ storing
@pytest.mark.parametrize("what", ["model", "script"])
def test_a_worker_that_dies_while_something_is_built_is_an_error_of_storing_it(make, what):
    bench = make(lambda hook, _: "signal SIGABRT" if hook.endswith("_create") else "")
    with pytest.raises(BuildCrashed, match="building it ended its worker process: signal SIGABRT"):
        bench.model() if what == "model" else bench.script(b"sum")


def test_building_beyond_its_time_is_an_error_that_names_the_setting(make):
    def slow(hook, _):
        if hook == "model_create":
            raise WorkerTookTooLong("killed")
        return ""

    with pytest.raises(BuildTookTooLong, match="longer than 7 s, the --store-timeout"):
        make(slow, store_timeout=7).model()


def test_a_slow_build_keeps_no_other_model_from_being_stored(bench):
    got = []
    slow = json.dumps({"op": "slow_create", "seconds": 30}).encode()
    for _ in range(3):
        bench.engine.create_model(ModelSpec("FAKE"), slow, lambda *result: got.append(result))
    while hooks(bench, "model_create") < 3:
        bench.loop.turn()
        time.sleep(0.001)
    assert bench.run(bench.model(), [1]) == [1]
    assert not got
    bench.isolation.fake.hurry.set()
    bench.loop.run_until(lambda: len(got) == 3)


def test_many_that_wait_for_one_backend_keep_no_other_from_being_stored(make):
    """However many are stored while a backend is imported, one thread waits for it."""
    go_on, imports = Event(), []

    def slow(hook, _):
        if hook == "backend_info":
            imports.append(hook)
            if len(imports) == 1:
                go_on.wait(30)
        return ""

    bench = make(slow)
    stored = {"FAKE": [], "OTHER": []}

    def store(backend):
        spec, done = ModelSpec(backend), stored[backend].append
        create = bench.engine.create_model
        create(spec, b'{"op": "identity"}', lambda *result: done(result))

    for _ in range(20):
        store("FAKE")
    while not imports:
        bench.loop.turn()
        time.sleep(0.001)
    store("OTHER")
    bench.loop.run_until(lambda: stored["OTHER"])
    assert not stored["FAKE"]
    go_on.set()
    bench.loop.run_until(lambda: len(stored["FAKE"]) == 20)
    assert all(error is None for results in stored.values() for _, error in results)
    assert len(imports) == 2


def test_an_isolated_model_is_freed_where_it_was_built(bench):
    model = bench.model()
    bench.engine.retire(b"m", model)
    del model
    bench.isolation.fake.await_calls("model_free")
    assert bench.isolation.fake.backend_stats()["models"] == 0
