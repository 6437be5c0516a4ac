"""Backends that return or raise what they must not: an error for the request, and all goes on."""

# Values of wrong types are what is tested.
# mypy: disable-error-code="arg-type, list-item, misc"

import gc
import logging
import warnings
from collections import UserList, deque

import numpy as np
import pytest

from tensorkeep.backends import Backends
from tensorkeep.batch_axis import AxisKind, BatchAxis
from tensorkeep.config import BackendOptions, EngineConfig
from tensorkeep.engine import Engine
from tensorkeep.errors import (
    BackendUnavailable,
    InternalError,
    ModelRejected,
    RunFailed,
    TensorkeepError,
    text_of,
)
from tensorkeep.graph import call_of, run_of
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, ScriptCall, hookimpl
from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.manual_loop import ManualLoop

ONE = Tensor.from_numpy(np.array([1], np.float32))
CPU = DeviceInfo("CPU", None, "", None, frozenset(DType))
MODEL = b'{"op": "identity"}'


class Returning(FakeBackend):
    """A backend whose hooks return what it is told, or what a function makes of nothing."""

    def __init__(self, **results):
        super().__init__()
        self.results = results

    def _result(self, hook, otherwise):
        if hook not in self.results:
            return otherwise()
        result = self.results[hook]
        return result() if callable(result) else result

    @hookimpl
    def backend_info(self):
        return self._result("backend_info", super().backend_info)

    @hookimpl
    def devices(self):
        return self._result("devices", super().devices)

    @hookimpl
    def self_check(self):
        return self._result("self_check", super().self_check)

    @hookimpl
    def model_create(self, spec, blob, options):
        return self._result(
            "model_create", lambda: super(Returning, self).model_create(spec, blob, options)
        )

    @hookimpl
    def model_run(self, model, inputs, run):
        return self._result(
            "model_run", lambda: super(Returning, self).model_run(model, inputs, run)
        )

    @hookimpl
    def serialize(self, model):
        return self._result("serialize", lambda: super(Returning, self).serialize(model))

    @hookimpl
    def model_free(self, model):
        return self._result("model_free", lambda: super(Returning, self).model_free(model))

    @hookimpl
    def backend_stats(self):
        return self._result("backend_stats", super().backend_stats)

    @hookimpl
    def script_create(self, spec, source, options):
        return self._result(
            "script_create", lambda: super(Returning, self).script_create(spec, source, options)
        )

    @hookimpl
    def script_run(self, script, call, run):
        return self._result(
            "script_run", lambda: super(Returning, self).script_run(script, call, run)
        )

    @hookimpl
    def script_free(self, script):
        return self._result("script_free", lambda: super(Returning, self).script_free(script))


async def coroutine():
    return [ONE]


def generator():
    yield ONE


async def async_generator():
    yield ONE


class Raising:
    """A sequence whose methods raise."""

    def __len__(self):
        raise RuntimeError("no length")

    def __iter__(self):
        raise SystemExit("no elements")


class RaisingList(UserList):
    def __iter__(self):
        raise SystemExit("no elements")


def impostor():
    """An object that looks like a tensor and raises."""

    class Subclass(Tensor):
        def __getattribute__(self, name):
            raise RuntimeError(name)

    return object.__new__(Subclass)


NO_OUTPUTS = {
    "a tensor": lambda: ONE,
    "an array": lambda: np.zeros((1, 2), np.float32),
    "a list of arrays": lambda: [np.zeros(2, np.float32)],
    "a dict": lambda: {"y": ONE},
    "a set": lambda: {1},
    "a string": lambda: "outputs",
    "bytes": lambda: b"outputs",
    "a number": lambda: 3,
    "a generator": generator,
    "a coroutine": coroutine,
    "an asynchronous generator": async_generator,
    "a list with a float": lambda: [1.5],
    "a list with a list": lambda: [[ONE]],
    "what raises": Raising,
    "a list that raises": lambda: RaisingList([ONE]),
    "a subclass of Tensor": lambda: [impostor()],
    "too many": lambda: [ONE, ONE],
    "too few": list,
    "None": lambda: None,
}


class Liar(Exception):
    def __str__(self):
        raise SystemExit("no text")


class Claiming(RunFailed):
    """Says that it is one of the core's errors."""

    def __str__(self):
        raise RuntimeError("no text")


def ring():
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    return first


RAISED = {
    "SystemExit": lambda: SystemExit("out"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration([ONE]),
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "an exception without a text": Liar,
    "an error of the core's without a text": lambda: RunFailed(Liar()),
    "a subclass of an error of the core's": Claiming,
    "a text that cannot be encoded": lambda: RuntimeError("\ud800"),
    "a group": lambda: BaseExceptionGroup("several", [SystemExit(), ValueError("x")]),
    "a ring of causes": ring,
}


def raising(make):
    def result():
        raise make()

    return result


class Bench:
    """An engine over one broken backend."""

    def __init__(self, backend, wrappers=(), config=None):
        self.loop = ManualLoop()
        backends = Backends(wrappers=wrappers, installed=lambda: ())
        backends.add("FAKE", backend)
        self.backend = backend
        self.engine = Engine(self.loop, config or EngineConfig(inline_limit=0), backends)

    def create(self, blob=MODEL):
        return self._made(lambda done: self.engine.create_model(ModelSpec("FAKE"), blob, done))

    def compile(self, source=b"identity"):
        return self._made(lambda done: self.engine.create_script(ScriptSpec("FAKE"), source, done))

    def _made(self, create):
        made = []
        create(lambda *result: made.append(result))
        self.loop.run_until(lambda: made)
        runnable, error = made[0]
        if error is not None:
            raise error
        return runnable

    def run(self, runnable, outputs=None):
        if isinstance(runnable.spec, ScriptSpec):
            call = ScriptCall("identity", (), (), (), outputs, None)
            graph = call_of(runnable, [ONE], call)
        else:
            graph = run_of(runnable, [ONE])
        self.engine.execute(graph)
        self.loop.run_until(lambda: graph.done)
        error = graph.error or graph.errors[0]
        return error or graph.values[graph.graph.given :]

    def close(self):
        ended = []
        self.engine.close(30, lambda: ended.append(True))
        self.loop.run_until(lambda: ended)


@pytest.fixture
def bench_of():
    benches = []

    def build(*args, **options):
        benches.append(Bench(*args, **options))
        return benches[-1]

    yield build
    for bench in benches:
        bench.close()


@pytest.fixture(params=[0.0, 1.0], ids=["on a worker", "on the loop"])
def place(request):
    """Where runs take place, as an engine's settings."""
    return EngineConfig(inline_limit=request.param)


# ------------------------------------------------------------------ runs
@pytest.mark.parametrize("what", NO_OUTPUTS)
def test_a_run_that_returns_no_outputs_fails_alone(bench_of, what, place):
    backend = Returning()
    bench = bench_of(backend, config=place)
    model = bench.create(b'{"op": "identity", "steady": true}')
    assert bench.run(model) == [ONE]

    backend.results["model_run"] = NO_OUTPUTS[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = bench.run(model)
        gc.collect()
    assert type(error) is RunFailed
    assert "broke its contract" in str(error) or "outputs for 1" in str(error)

    backend.results.clear()
    assert bench.run(model) == [ONE]


@pytest.mark.parametrize("what", [*NO_OUTPUTS, "a missing output"])
def test_a_script_that_returns_no_outputs_fails_alone(bench_of, what):
    backend = Returning()
    bench = bench_of(backend)
    script = bench.compile()
    backend.results["script_run"] = NO_OUTPUTS.get(what, lambda: [None])
    error = bench.run(script, outputs=1)
    assert type(error) is RunFailed
    assert "broke its contract" in str(error) or "outputs for 1" in str(error)
    backend.results.clear()
    assert bench.run(script, outputs=1) == [ONE]


def test_what_a_script_returns_unasked_may_be_anything_but_unfinished(bench_of):
    backend = Returning()
    bench = bench_of(backend)
    script = bench.compile()
    for ignored in (3.5, [ONE], "done"):
        backend.results["script_run"] = ignored
        assert bench.run(script) == []
    backend.results["script_run"] = coroutine
    assert "script_run returned a coroutine" in str(bench.run(script))


@pytest.mark.parametrize("make", [tuple, deque, UserList])
def test_any_sequence_of_tensors_will_do(bench_of, make):
    bench = bench_of(Returning(model_run=lambda: make([ONE])))
    assert bench.run(bench.create()) == [ONE]


@pytest.mark.parametrize("what", RAISED)
def test_whatever_a_run_raises_the_worker_goes_on(bench_of, what, place):
    backend = Returning()
    bench = bench_of(backend, config=place)
    model = bench.create(b'{"op": "identity", "steady": true}')
    assert bench.run(model) == [ONE]
    backend.results["model_run"] = raising(RAISED[what])
    error = bench.run(model)
    assert isinstance(error, TensorkeepError)
    assert str(error)
    backend.results.clear()
    assert bench.run(model) == [ONE]


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda: None,
        lambda: (yield),
        lambda: [(yield), (yield)],
        lambda: (_ for _ in ()),
    ],
    ids=["does not yield", "returns nothing", "yields twice", "is a generator of none"],
)
def test_a_wrapper_that_misbehaves_fails_the_run_and_no_more(bench_of, wrapper):
    broken = [False]

    class Wrapper:
        @hookimpl(wrapper=True)
        def model_run(self):
            if broken[0]:
                yield from wrapper() or ()
                return {"no": "outputs"}
            return (yield)

    bench = bench_of(FakeBackend(), wrappers=[Wrapper()])
    model = bench.create()
    broken[0] = True
    assert isinstance(bench.run(model), RunFailed)
    broken[0] = False
    assert bench.run(model) == [ONE]


def test_a_backend_cannot_take_a_runs_inputs_away(bench_of, place):
    class Greedy(FakeBackend):
        @hookimpl
        def model_run(self, model, inputs, run):
            inputs.clear()

    bench = bench_of(Greedy(), config=place)
    model = bench.create()
    for _ in range(2):
        assert isinstance(bench.run(model), RunFailed)


# ------------------------------------------------------------------ building and the rest
@pytest.mark.parametrize(
    "what",
    [
        {"a": 1},
        3,
        coroutine,
        generator,
        lambda: LoadedModel(None, "xy", ("y",)),
        lambda: LoadedModel(None, ("x",), (b"y",)),
        lambda: LoadedModel(None, ("x",), ("y",), steady="yes"),
        lambda: LoadedModel(None, ("x",), ("y",), fewer_inputs=None),
        lambda: LoadedModel(None, ("x",), ("y",), fewer_inputs=frozenset(["1"])),
        lambda: LoadedModel(None, ("x",), ("y",), batch_axis="rows"),
        lambda: LoadedModel(None, ("x",), ("y",), batch_axis=BatchAxis("rows")),
        lambda: LoadedModel(None, ("x",), ("y",), batch_axis=BatchAxis(AxisKind.NONE)),
        lambda: LoadedModel(None, ("x",), ("y",), batch_axis=BatchAxis(AxisKind.KNOWN, "so")),
        lambda: LoadedModel(None, ("x",), ("y",), optional_outputs=[0]),
        lambda: LoadedModel(None, ("x",), ("y",), optional_outputs=(1,)),
        lambda: LoadedModel(None, ("x",), ("y",), optional_outputs=([],)),
        lambda: None,
    ],
)
def test_what_is_no_model_is_not_stored(bench_of, what):
    backend = Returning(model_create=what)
    bench = bench_of(backend)
    with pytest.raises(BackendUnavailable, match="model_create returned"):
        bench.create()
    backend.results.clear()
    assert bench.run(bench.create()) == [ONE]


def test_names_may_come_as_lists(bench_of):
    bench = bench_of(
        Returning(model_create=LoadedModel(None, ["x"], ["y"]), model_run=lambda: [ONE])
    )
    assert bench.create().loaded == LoadedModel(None, ("x",), ("y",))


@pytest.mark.parametrize("what", [None, coroutine, generator])
def test_what_is_no_script_is_not_stored(bench_of, what):
    bench = bench_of(Returning(script_create=what))
    with pytest.raises(BackendUnavailable, match="script_create returned"):
        bench.compile()


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("hook", ["model_create", "script_create"])
def test_whatever_building_raises_the_loader_goes_on(bench_of, hook, what):
    backend = Returning(**{hook: raising(RAISED[what])})
    bench = bench_of(backend)
    build = bench.create if hook == "model_create" else bench.compile
    with pytest.raises(TensorkeepError) as caught:
        build()
    assert str(caught.value)
    assert caught.type is RunFailed or caught.type is ModelRejected
    backend.results.clear()
    assert build()


@pytest.mark.parametrize(
    ("hook", "what"),
    [
        ("backend_info", {}),
        ("backend_info", coroutine),
        ("backend_info", BackendInfo("1", "fake", "1")),
        ("backend_info", BackendInfo(1, None, "1")),
        ("backend_info", BackendInfo(1, "fake", "1", scripts=None)),
        ("devices", CPU),
        ("devices", "CPU"),
        ("devices", lambda: iter([CPU])),
        ("devices", ["CPU"]),
        ("devices", [DeviceInfo("cpu", None, "", None, frozenset())]),
        ("devices", [DeviceInfo(["CPU"], None, "", None, frozenset())]),
        ("devices", [DeviceInfo("GPU", "0", "", None, frozenset())]),
        ("devices", [DeviceInfo("CPU", None, None, None, frozenset())]),
        ("devices", [DeviceInfo("CPU", None, "", None, ["FLOAT"])]),
        ("self_check", False),
        ("self_check", coroutine),
        ("self_check", raising(Liar)),
    ],
)
def test_a_backend_that_says_the_wrong_kind_of_itself_is_not_loaded(hook, what):
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", Returning(**{hook: what}))
    with pytest.raises(BackendUnavailable) as caught:
        backends.load("FAKE")
    assert hook in caught.value.reason or "Liar" in caught.value.reason
    backends.add("OTHER", FakeBackend())
    assert backends.load("OTHER")


def loaded(**results):
    backends = Backends(installed=lambda: ())
    plugin = Returning()
    backends.add("FAKE", plugin)
    backend = backends.load("FAKE")
    model = backend.model_create(ModelSpec("FAKE"), MODEL, BackendOptions())
    plugin.results.update(results)
    return backend, model


@pytest.mark.parametrize("what", [None, "text", 5, coroutine, raising(Liar)])
def test_a_model_that_is_not_serialized_to_bytes_is_an_error(what):
    backend, model = loaded(serialize=what)
    with pytest.raises(RunFailed):
        backend.serialize(model, MODEL)


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_a_serialized_model_may_lie_in_any_memory(make):
    backend, model = loaded(serialize=lambda: make(b"abc"))
    assert backend.serialize(model, MODEL) == b"abc"


@pytest.mark.parametrize(
    "what", ["text", [1], {"memory": "much"}, {1: 1}, coroutine, raising(Liar)]
)
def test_figures_that_are_no_numbers_by_name_are_an_error(what):
    backend, _ = loaded(backend_stats=what)
    with pytest.raises(RunFailed):
        backend.backend_stats()


@pytest.mark.parametrize("what", [coroutine, raising(Liar), raising(SystemExit)])
def test_whatever_freeing_does_the_loader_goes_on(bench_of, what, caplog):
    backend = Returning()
    bench = bench_of(backend)
    model = bench.create()
    backend.results["model_free"] = what
    with caplog.at_level(logging.ERROR):
        del model
        bench.loop.run_until(lambda: caplog.records)
    assert "could not free" in caplog.text
    assert bench.run(bench.create()) == [ONE]


# ------------------------------------------------------------------ nets under the engine
class Broken(Exception):
    """A bug of ours."""


def break_once(monkeypatch, owner, name):
    """Has a method raise at its next call."""
    original = getattr(owner, name)
    calls = []

    def broken(*args, **options):
        if not calls:
            calls.append(name)
            raise Broken(name)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, broken)
    return calls


@pytest.mark.parametrize(
    "target",
    [
        "tensorkeep.execution._execute",
        "tensorkeep.requests.Requests._settle_outcome",
        "tensorkeep.dispatch.Dispatcher._hand",
        "tensorkeep.requests.Requests._start_safely",
        "tensorkeep.graph.GraphRun.finish",
        "tensorkeep.stats.RunStats.note",
        "tensorkeep.stats.RunStats.succeed",
        "tensorkeep.worker.ThreadWorker.hand",
    ],
)
def test_a_bug_in_the_way_of_a_run_is_an_error_of_that_run(bench_of, monkeypatch, caplog, target):
    bench = bench_of(FakeBackend())
    model = bench.create()
    path, _, name = target.rpartition(".")
    owner = pytest.importorskip(path) if path.islower() else _class(path)
    calls = break_once(monkeypatch, owner, name)
    with caplog.at_level(logging.ERROR):
        found = bench.run(model)
    assert calls
    assert found == [ONE] or type(found) is InternalError
    assert "Broken" in caplog.text
    assert bench.run(model) == [ONE]


def _class(path):
    module, _, name = path.rpartition(".")
    return getattr(pytest.importorskip(module), name)


def test_who_is_told_of_a_request_and_raises_stops_nobody(bench_of, caplog):
    bench = bench_of(FakeBackend())
    model = bench.create()
    first, second = run_of(model, [ONE]), run_of(model, [ONE])

    def broken(_):
        raise Broken

    for graph in (first, second):
        bench.engine.execute(graph)
    first.on_done = broken
    told = []
    second.on_done = told.append
    bench.loop.run_until(lambda: told)
    assert "Broken" in caplog.text


def test_who_is_told_of_a_model_and_raises_stops_nobody(bench_of):
    bench = bench_of(FakeBackend())
    told = []

    def broken(*_):
        told.append("broken")
        raise Broken

    bench.engine.create_model(ModelSpec("FAKE"), MODEL, broken)
    with pytest.raises(Broken):  # the loop's own net, which a loop for tests has not
        bench.loop.run_until(lambda: told)
    assert not bench.engine.busy
    assert bench.run(bench.create()) == [ONE]


def test_a_worker_that_cannot_be_started_is_an_error_of_who_stores(bench_of, monkeypatch):
    bench = bench_of(FakeBackend())
    bench.create()
    calls = break_once(monkeypatch, Engine, "lane")
    with pytest.raises(InternalError):
        bench.create()
    assert calls


def test_a_run_that_cannot_be_cancelled_stops_nobody(bench_of):
    class Clinging(FakeBackend):
        @hookimpl
        def model_run(self, model, inputs, run):
            run.on_cancel(raising(SystemExit))
            return super().model_run(model, inputs, run)

    backend = Clinging()
    bench = bench_of(backend)
    model = bench.create()
    bench.run(model)
    for context in bench.engine._contexts.running():
        context.cancel()


def test_the_text_of_any_exception_can_be_had():
    assert text_of(Liar()) == "Liar"
    assert text_of(ValueError()) == "ValueError"
    assert text_of(ValueError("\ud800")).encode()
    assert text_of(ValueError("\udcff")) == "\udcff", "a byte as it was sent"
