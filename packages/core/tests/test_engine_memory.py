"""What the engine lets go of, and when; without the garbage collector's help."""

import gc
import json
import sys
import threading
import time
import traceback

import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.engine import Engine
from tensorkeep.graph import run_of
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.manual_loop import ManualLoop

INPUT = Tensor.zeros(DType.FLOAT, (2,))


@pytest.fixture
def loop():
    return ManualLoop()


@pytest.fixture
def fake():
    return FakeBackend()


@pytest.fixture
def engine(loop, fake):
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    engine = Engine(loop, EngineConfig(inline_limit=0), backends)
    yield engine
    fake.release()
    ended = []
    engine.close(30, lambda: ended.append(True))
    loop.run_until(lambda: ended)


@pytest.fixture
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def create(engine, loop, **model):
    made = []
    blob = json.dumps(model).encode()
    engine.create_model(ModelSpec("FAKE"), blob, lambda *result: made.append(result[0]))
    loop.run_until(lambda: made)
    engine.catalog[b"m"] = made[0]
    return made.pop()


def run(engine, loop, model):
    graph = run_of(model, [INPUT])
    engine.execute(graph)
    loop.run_until(lambda: graph.done)
    return graph


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("model", [{"op": "identity"}, {"op": "fail", "text": "no luck"}])
def test_a_model_is_freed_when_its_last_run_is_looked_at(engine, loop, fake, model):
    run(engine, loop, create(engine, loop, **model))
    fake.await_calls("model_free")
    assert b"m" not in engine.catalog


def test_the_traceback_of_a_failed_run_can_still_be_printed(engine, loop):
    graph = run(engine, loop, create(engine, loop, op="fail", text="no luck"))
    text = "".join(traceback.format_exception(graph.errors[0]))
    assert "RuntimeError: no luck" in text
    assert "fake_backend.py" in text


def test_a_retired_model_leaves_the_catalog_at_once(engine, loop):
    model = create(engine, loop, op="identity")
    engine.retire(b"m", model)
    assert b"m" not in engine.catalog


def test_a_retired_model_stays_in_the_catalog_while_it_runs(engine, loop, fake):
    model = create(engine, loop, op="block")
    graph = run_of(model, [INPUT])
    engine.execute(graph)
    engine.retire(b"m", model)
    assert engine.catalog[b"m"] is model
    fake.release()
    loop.run_until(lambda: graph.done)
    engine.retire(b"m", model)
    assert b"m" not in engine.catalog


def test_another_model_of_the_name_is_not_retired(engine, loop):
    old = create(engine, loop, op="identity")
    new = create(engine, loop, op="identity")
    engine.retire(b"m", old)
    assert engine.catalog[b"m"] is new


@pytest.mark.usefixtures("without_collector")
def test_a_model_is_freed_after_runs_that_failed_on_the_loop(loop, fake):
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    engine = Engine(loop, EngineConfig(inline_limit=10), backends)
    held = [create(engine, loop, op="fail", text="no luck", steady=True)]
    for _ in range(3):
        held.append(run_of(held[0], [INPUT]))
        loop.call_soon(engine.execute, held[-1])
        loop.run_until(lambda: held[-1].done)
    threads = {call.thread for call in fake.calls_of("model_run")}
    assert threading.current_thread().name in threads
    text = "".join(traceback.format_exception(held[-1].errors[0]))
    assert "fake_backend.py" in text
    held.clear()
    loop.run_until(lambda: fake.calls_of("model_free"))
    ended = []
    engine.close(30, lambda: ended.append(True))
    loop.run_until(lambda: ended)


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("text", ["no JSON", '{"op": "slow_create", "seconds": "no"}'])
def test_what_could_not_be_built_is_gone_at_once(engine, loop, text):
    blob = text.encode()
    before = sys.getrefcount(blob)
    made = []
    engine.create_model(ModelSpec("FAKE"), blob, lambda *result: made.append(result))
    loop.run_until(lambda: made)
    assert "must be" in str(made[0][1])
    assert "fake_backend.py" in "".join(traceback.format_exception(made[0][1]))
    made.clear()
    eventually(lambda: sys.getrefcount(blob) == before)


def eventually(condition):
    """Waits for the loader's thread to get on."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
