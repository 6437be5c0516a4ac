"""What the engine lets go of, and when; without the garbage collector's help."""

import gc
import json
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
