"""Scripts in the engine, in virtual time: where they run, what is counted, what they may reach."""

import gc
import math
import weakref
from threading import current_thread

import numpy as np
import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.device import Device
from tensorkeep.engine import Engine
from tensorkeep.errors import (
    BackendUnavailable,
    CommandFailed,
    DeviceUnavailable,
    EngineClosed,
    ModelRejected,
    RunExpired,
    RunFailed,
)
from tensorkeep.graph import call_of
from tensorkeep.hookspecs import ScriptCall, hookimpl
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.manual_loop import ManualLoop

FUNCTIONS = b"sum identity execute run_model fail block"


class Store:
    """What scripts may reach: commands that a test answers, and one model."""

    def __init__(self):
        self.requests = []
        self.answers = []  # called with `done`, one for each request
        self.models = {}

    def execute(self, request, done):
        self.requests.append(request)
        if self.answers:
            self.answers.pop(0)(done)

    def model(self, key, inputs, outputs, done):
        done(self.models.get((key, inputs, outputs)) or CommandFailed("no such model"))


class Bench:
    """An engine whose inline limit would let anything steady stay on the loop."""

    def __init__(self, config=None, fake=None):
        self.loop = ManualLoop()
        self.fake = fake or FakeBackend()
        self.backends = Backends(installed=lambda: ())
        self.backends.add("FAKE", self.fake)
        self.engine = Engine(self.loop, config or EngineConfig(inline_limit=9), self.backends)
        self.store = Store()
        self.closed = False

    def create(self, source=FUNCTIONS, device="CPU", entry_points=()):
        spec = ScriptSpec("FAKE", Device.parse(device), entry_points=entry_points)
        return self._created(self.engine.create_script, spec, source)

    def create_model(self, blob):
        return self._created(self.engine.create_model, ModelSpec("FAKE"), blob)

    def _created(self, create, *args):
        got = []
        create(*args, lambda *result: got.append(result))
        self.loop.run_until(lambda: got)
        made, error = got[0]
        if error is not None:
            raise error
        return made

    def start(self, script, function, *values, expires_at=None, **asked):
        commands = self.engine.commands(self.store)
        asked = {"keys": (), "arguments": (), "outputs": 1} | asked
        call = ScriptCall(function, (), commands=commands, **asked)
        inputs = [Tensor.from_numpy(np.float32(v)) for v in values]
        graph = call_of(script, inputs, call, expires_at)
        self.engine.execute(graph)
        return graph

    def finish(self, graph):
        self.loop.run_until(lambda: graph.done)
        error = graph.error or graph.errors[0]
        if error is not None:
            return error
        return [t.values() for t in graph.values[graph.graph.given :]]

    def call(self, *args, **options):
        return self.finish(self.start(*args, **options))

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.fake.release(math.inf)
        self.fake.hurry.set()
        ended = []
        self.engine.close(1.0, lambda: ended.append(True))
        self.loop.turn()
        self.loop.advance(2.0)
        assert ended == [True]


@pytest.fixture
def make():
    benches = []

    def build(*args, **kwargs):
        bench = Bench(*args, **kwargs)
        benches.append(bench)
        return bench

    yield build
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make):
    return make()


# ---------------------------------------------------------------------- creating and freeing
def test_a_script_is_compiled_on_the_loader_and_gets_a_queue_for_its_device(bench):
    script = bench.create(device="CPU:7", entry_points=("sum",))
    assert script.source == FUNCTIONS
    (created,) = bench.fake.calls_of("script_create")
    assert created.thread == "tensorkeep-loader"
    assert "CPU:7" in bench.engine.lanes


def test_what_cannot_be_compiled_is_refused_with_the_backends_words(bench):
    with pytest.raises(ModelRejected, match="must name functions"):
        bench.create(b"def (")
    with pytest.raises(DeviceUnavailable):
        bench.create(device="GPU")


def test_a_backend_without_scripts_compiles_none(make):
    class Without(FakeBackend):
        @hookimpl
        def script_create(self, spec, source, options):
            return None

    with pytest.raises(BackendUnavailable, match="script_create returned None"):
        make(fake=Without()).create()


def test_a_script_that_nobody_waits_for_any_more_goes_on_to_its_end(bench):
    script = bench.create()
    graph = bench.start(script, "block", [1])
    bench.loop.turn()
    bench.fake.await_calls("script_run")
    bench.engine.abandon(graph)
    bench.loop.advance(1.0)
    bench.fake.release()
    bench.loop.run_until(lambda: graph.done)
    assert (script.stats.calls, script.stats.errors) == (1, 0)


def test_a_script_is_freed_when_its_last_user_lets_go_of_it(bench):
    script = bench.create()
    bench.engine.catalog[b"s"] = script
    graph = bench.start(script, "block", [1])
    bench.loop.turn()
    bench.fake.await_calls("script_run")
    bench.engine.retire(b"s", script)
    assert bench.engine.catalog[b"s"] is script  # it runs
    seen = weakref.ref(script)
    del script
    bench.fake.release()
    assert bench.finish(graph) == [[1]]
    del graph
    gc.collect()
    assert seen() is None
    assert not bench.engine.catalog
    bench.fake.await_calls("script_free")


# ---------------------------------------------------------------------- calling
def test_a_function_runs_on_a_worker_however_short_it_is(bench):
    script = bench.create()
    for _ in range(5):
        assert bench.call(script, "sum", [1, 2], [10, 20]) == [[11, 22]]
    assert {call.thread for call in bench.fake.calls_of("script_run")} == {"CPU-1"}
    assert (script.stats.calls, script.stats.errors, script.stats.samples) == (5, 0, -1)


def test_what_nobody_wants_is_dropped(bench):
    assert bench.call(bench.create(), "identity", [1], [2], outputs=None) == []


def test_a_function_that_fails_is_counted_and_tells_why(bench):
    script = bench.create()
    error = bench.call(script, "fail", arguments=[b"alas"])
    assert isinstance(error, RunFailed)
    assert str(error) == "alas"
    assert (script.stats.calls, script.stats.errors, script.stats.samples) == (1, 1, -1)


def test_another_number_of_tensors_than_promised_is_an_error(make):
    class Generous(FakeBackend):
        @hookimpl
        def script_run(self, script, call, run):
            return [*call.tensors, *call.tensors]

    bench = make(fake=Generous())
    error = bench.call(bench.create(), "identity", [1])
    assert str(error) == "the backend returned 2 outputs for 1"


def test_a_backend_that_raises_something_strange_does_not_stop_its_worker(make):
    class Strange(FakeBackend):
        @hookimpl
        def script_run(self, script, call, run):
            if call.arguments:
                raise SystemExit
            return call.tensors

    bench = make(fake=Strange())
    script = bench.create()
    assert isinstance(bench.call(script, "identity", [1], arguments=[b"x"]), RunFailed)
    assert bench.call(script, "identity", [1]) == [[1]]


def test_a_call_that_waits_too_long_is_not_made(bench):
    script = bench.create()
    first = bench.start(script, "block", [1])
    bench.loop.turn()
    bench.fake.await_calls("script_run")
    late = bench.start(script, "sum", [1], expires_at=5.0)
    bench.loop.advance(6.0)
    assert isinstance(late.error, RunExpired)
    bench.fake.release()
    assert bench.finish(first) == [[1]]
    assert len(bench.fake.calls_of("script_run")) == 1


def test_calls_of_one_script_never_share_a_run(bench):
    script = bench.create()
    graphs = [bench.start(script, "identity", [n]) for n in range(4)]
    assert [bench.finish(graph) for graph in graphs] == [[[0]], [[1]], [[2]], [[3]]]
    assert bench.engine.lanes["CPU"].batches == {1: 4}


# ---------------------------------------------------------------------- commands
def test_a_command_is_done_on_the_loop_and_its_reply_goes_to_the_script(bench):
    bench.store.answers = [lambda done: done(lambda: b"PONG")]
    graph = bench.start(bench.create(), "execute", arguments=[b"PING", b"\xff"])
    assert bench.finish(graph) == [[b"PONG"]]
    assert bench.store.requests == [[b"PING", b"\xff"]]


def test_the_script_s_own_thread_makes_the_reply(bench):
    makers = []

    def make():
        makers.append(current_thread().name)
        return b"long"

    bench.store.answers = [lambda done: done(make)]

    assert bench.call(bench.create(), "execute", arguments=[b"LRANGE"]) == [[b"long"]]
    assert makers == ["CPU-1"]


def test_a_reply_may_come_later_and_the_loop_goes_on_meanwhile(bench):
    waiting = []
    bench.store.answers = [waiting.append]
    graph = bench.start(bench.create(), "execute", arguments=[b"SLOW"])
    bench.loop.run_until(lambda: waiting)
    assert not graph.done
    waiting[0](lambda: 42)
    assert bench.finish(graph) == [[b"42"]]


@pytest.mark.parametrize("later", [True, False])
def test_an_error_is_raised_in_the_script(bench, later):
    def refuse(done):
        def fail():
            raise CommandFailed("not today")

        if not later:
            fail()
        done(fail)

    bench.store.answers = [refuse]
    script = bench.create()
    error = bench.call(script, "execute", arguments=[b"SET"])
    assert isinstance(error, CommandFailed)
    assert str(error) == "not today"
    assert script.stats.errors == 1


def test_who_waits_for_a_reply_when_the_engine_ends_is_told(bench):
    waiting = []
    bench.store.answers = [waiting.append]
    graph = bench.start(bench.create(), "execute", arguments=[b"SLOW"])
    bench.loop.run_until(lambda: waiting)
    bench.close()
    assert isinstance(bench.finish(graph), EngineClosed)
    waiting[0](lambda: b"too late")  # nobody minds


def test_a_script_waits_for_no_command_longer_than_a_run_may_take(make):
    bench = make(EngineConfig(inline_limit=9, model_execution_timeout=0.05))
    waiting = []
    bench.store.answers = [waiting.append]
    script = bench.create()
    error = bench.call(script, "execute", arguments=[b"WAITS"])
    assert isinstance(error, CommandFailed)
    assert str(error) == "ERR what the script asked for was not done within 0.05 s"
    waiting[0](lambda: b"too late")  # nobody minds


def test_no_command_is_done_after_the_end(make):
    bench = make()
    commands = bench.engine.commands(bench.store)
    bench.close()
    with pytest.raises(EngineClosed):
        commands.execute("PING", [])


# ---------------------------------------------------------------------- models within scripts
def test_a_model_runs_on_the_scripts_thread_and_is_not_counted(bench):
    model = bench.create_model(b'{"op": "multiply", "by": 3}')
    bench.store.models[b"m", 1, 1] = model
    assert bench.call(bench.create(), "run_model", [1, 2], keys=[b"m"]) == [[3, 6]]
    assert bench.fake.calls_of("model_run")[-1].thread == "CPU-1"
    assert model.stats.calls == 0
    assert not bench.engine.lanes["CPU"].queue


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (None, "no such model"),
        (b'{"op": "fail", "text": "no luck"}', "no luck"),
        (b'{"op": "none_output"}', "output 'output0' is no tensor"),
    ],
)
def test_a_model_that_cannot_be_run_fails_the_script(bench, model, text):
    if model is not None:
        bench.store.models[b"m", 1, 1] = bench.create_model(model)
    error = bench.call(bench.create(), "run_model", [1], keys=[b"m"])
    assert str(error) == text


def test_a_model_within_a_script_is_ended_when_its_time_is_up(make):
    bench = make(EngineConfig(model_execution_timeout=0.1))
    bench.store.models[b"m", 1, 1] = bench.create_model(b'{"op": "block"}')
    error = bench.call(bench.create(), "run_model", [1], keys=[b"m"])
    assert str(error) == "the run was cancelled"
