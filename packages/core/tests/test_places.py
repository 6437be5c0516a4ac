"""Places: which handle of a backend a model gets, and what happens where there are no workers."""

import json
from types import SimpleNamespace

import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.device import CPU
from tensorkeep.engine import Engine
from tensorkeep.errors import BackendNotInstalled, BackendUnavailable
from tensorkeep.hookspecs import RunContext, hookimpl
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.places import Places
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.fake_isolation import FakeIsolation
from tensorkeep.testing.manual_loop import ManualLoop

SPEC = ModelSpec("FAKE")
BLOB = b"a model"


def judge(why="", *, light=True):
    return SimpleNamespace(LIGHT=light, why_isolated=lambda _spec, _blob: why)


def places(isolation, isolate="auto", **options):
    backends = isolation.backends(**options)
    return Places(backends, EngineConfig(isolate=isolate)), backends


def test_workers_are_started_when_something_is_first_to_run_there_with_their_settings():
    isolation = FakeIsolation()
    config = EngineConfig(
        isolate="all", worker_memory=7, recycle_workers_after=8, store_timeout=9, sandbox=False
    )
    found = Places(isolation.backends(), config)
    assert isolation.options is None
    assert found.workers is None
    assert found.of_model(SPEC, BLOB).isolated
    options = isolation.options
    told = (options.memory, options.recycle_after, options.load_timeout, options.sandbox)
    assert told == (7, 8, 9, False)
    assert options.backend == config.backend_options
    assert found.workers is isolation


def test_a_backend_has_a_handle_in_each_place():
    isolation = FakeIsolation()
    found, backends = places(isolation)
    there = found.load("FAKE", found.of_script("FAKE"))
    here = backends.load("FAKE")
    assert there.isolated
    assert not here.isolated
    assert found.load("FAKE", found.of_script("FAKE")) is there
    assert backends.status()[0].isolated is there
    assert backends.status()[0].backend is here


def test_a_harmless_model_starts_no_workers_and_is_loaded_here():
    isolation = FakeIsolation()
    found, _ = places(isolation, judge=judge())
    placement = found.of_model(SPEC, BLOB)
    assert not placement.isolated
    assert not found.load("FAKE", placement).isolated
    assert isolation.options is None


def test_a_harmless_model_of_a_heavy_backend_runs_here_only_where_that_was_loaded_before():
    found, backends = places(FakeIsolation(), judge=judge(light=False))
    assert found.of_model(SPEC, BLOB).reason == "FAKE is not loaded in this process"
    backends.load("FAKE")
    assert not found.of_model(SPEC, BLOB).isolated


@pytest.mark.parametrize(
    ("light", "may_block", "isolated"),
    [(True, False, False), (True, True, False), (False, True, False), (False, False, True)],
)
def test_a_heavy_backend_is_only_imported_here_while_nobody_is_served(light, may_block, isolated):
    found, _ = places(FakeIsolation(), judge=judge(light=light))
    assert found.of_backend("fake", may_block=may_block).isolated is isolated


def test_a_backend_without_a_judge_is_loaded_in_workers():
    found, _ = places(FakeIsolation())
    assert found.of_backend("FAKE", may_block=True).isolated


def test_a_judge_that_fails_has_not_said_that_a_model_is_harmless(caplog):
    def fail(_spec, _blob):
        raise ZeroDivisionError

    broken = SimpleNamespace(LIGHT=True, why_isolated=fail)
    found, _ = places(FakeIsolation(), judge=broken)
    placement = found.of_model(SPEC, BLOB)
    assert placement.isolated
    assert placement.reason == "whether it is harmless could not be told"
    assert "ZeroDivisionError" in caplog.text


def test_what_is_given_as_an_object_runs_here_for_no_other_process_could_load_it():
    isolation = FakeIsolation()
    backends = isolation.backends()
    backends.add("GIVEN", FakeBackend())
    found = Places(backends, EngineConfig(isolate="all"))
    assert not found.of_script("GIVEN").isolated
    assert isolation.options is None


def fail_to_start(_options):
    raise RuntimeError("this is no Linux")


FAILING = SimpleNamespace(name="processes", load=lambda: fail_to_start)


def without_workers(kinds, isolate):
    backends = Backends(
        installed=lambda: [SimpleNamespace(name="FAKE", load=FakeBackend)],
        worker_kinds=lambda: kinds,
        judges=lambda: (),
    )
    return Places(backends, EngineConfig(isolate=isolate))


@pytest.mark.parametrize(
    ("kinds", "why"), [([FAILING], "processes: this is no Linux"), ([], "no package that brings")]
)
def test_without_workers_everything_runs_here_and_the_log_says_so_once(kinds, why, caplog):
    found = without_workers(kinds, "auto")
    for _ in range(2):
        placement = found.of_model(SPEC, BLOB)
        assert not placement.isolated
        assert why in placement.reason
    assert why in found.unavailable
    (warning,) = caplog.records
    assert why in warning.getMessage()


@pytest.mark.parametrize("isolate", ["all", "FAKE"])
def test_without_workers_what_is_isolated_by_name_is_refused(isolate):
    found = without_workers([FAILING], isolate)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match=r"to be isolated.*this is no Linux"):
            found.of_model(SPEC, BLOB)
        with pytest.raises(BackendUnavailable, match=r"to be isolated.*this is no Linux"):
            found.of_script("FAKE")


def test_a_backend_that_is_not_installed_is_named_wherever_it_was_to_run():
    isolation = FakeIsolation()
    found, backends = places(isolation, "all")
    with pytest.raises(BackendNotInstalled, match="installed: FAKE"):
        found.load("OTHER", found.of_script("OTHER"))
    with pytest.raises(BackendNotInstalled, match="installed: FAKE"):
        backends.load_isolated("OTHER", isolation)


def test_a_worker_that_dies_of_the_backends_import_makes_it_unavailable():
    dead = FakeIsolation(lambda hook, _: "signal SIGSEGV" if hook == "backend_info" else "")
    found, backends = places(dead, "all")
    with pytest.raises(BackendUnavailable, match="signal SIGSEGV"):
        found.load("FAKE", found.of_script("FAKE"))
    assert "signal SIGSEGV" in backends.status()[0].reason


# ------------------------------------------------------------------ through the engine
class Doubled:
    """Wraps the runs of every backend."""

    @hookimpl(wrapper=True)
    def model_run(self, model, inputs, run):
        outputs = yield
        return [*outputs, *outputs]


@pytest.fixture
def engine():
    engines = []

    def start(isolation, isolate="auto", **options):
        loop = ManualLoop()
        made = Engine(loop, EngineConfig(isolate=isolate), isolation.backends(**options))
        engines.append((loop, made))
        return loop, made

    yield start
    for loop, made in engines:
        made.close(0.0, lambda: None)
        loop.turn()
        loop.advance(1.0)


def store(loop, engine, blob=b"", script=b""):
    got = []
    if script:
        engine.create_script(ScriptSpec("FAKE"), script, lambda *result: got.append(result))
    else:
        engine.create_model(SPEC, blob, lambda *result: got.append(result))
    loop.run_until(lambda: got)
    made, error = got[0]
    if error is not None:
        raise error
    return made


def test_an_isolated_model_carries_its_handle_and_never_runs_on_the_loop(engine):
    blob = json.dumps({"op": "identity", "steady": True}).encode()
    loop, there = engine(FakeIsolation())
    model = store(loop, there, blob)
    assert (model.backend.isolated, model.placement.isolated, model.steady) == (True, True, False)
    loop, here = engine(FakeIsolation(), judge=judge())
    model = store(loop, here, blob)
    assert (model.backend.isolated, model.placement.isolated, model.steady) == (False, False, True)


def test_scripts_and_models_of_one_backend_may_run_in_different_places(engine):
    loop, made = engine(FakeIsolation(), judge=judge())
    model = store(loop, made, b'{"op": "identity"}')
    script = store(loop, made, script=b"sum")
    assert not model.backend.isolated
    assert script.backend.isolated


def test_closing_the_engine_ends_the_workers(engine):
    isolation = FakeIsolation()
    loop, made = engine(isolation)
    store(loop, made, script=b"sum")
    made.close(0.0, lambda: None)
    loop.turn()
    assert isolation.closed


def test_a_wrapper_of_runs_wraps_isolated_ones():
    found, _ = places(FakeIsolation(), wrappers=[Doubled()])
    backend = found.load("FAKE", found.of_script("FAKE"))
    model = backend.model_create(SPEC, b'{"op": "identity"}', None)
    one = Tensor.from_values(DType.INT8, (1,), [1])
    assert backend.model_run(model, [one], RunContext(CPU)) == [one, one]
