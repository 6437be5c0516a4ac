"""How many devices may have queues and workers, and which make room."""

import json

import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.device import CPU, Device
from tensorkeep.engine import Engine
from tensorkeep.errors import TooManyDevices
from tensorkeep.graph import run_of
from tensorkeep.lanes import Lanes
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.manual_loop import ManualLoop

INPUT = Tensor.zeros(DType.FLOAT, (2,))
MOST = 64


class Worker:
    def __init__(self, name):
        self.name = name
        self.stopped = False

    def stop(self):
        self.stopped = True


@pytest.fixture
def used():
    return []


@pytest.fixture
def lanes(used):
    lanes = Lanes(EngineConfig(), Worker, lambda: used)
    lanes.of(CPU)
    return lanes


def fill(lanes, used):
    for n in range(MOST - 1):
        device = Device.parse(f"CPU:{n}")
        lanes.check(device)
        lanes.of(device)
        used.append(device.queue)


def test_there_is_a_most_and_devices_with_queues_stay(lanes, used):
    fill(lanes, used)
    with pytest.raises(TooManyDevices, match=r"'cpu:777' .* 64 devices have one"):
        lanes.check(Device.parse("cpu:777"))
    for name in ("CPU", "CPU:5"):
        lanes.check(Device.parse(name))
    assert len(lanes.by_queue) == MOST


def test_many_cores_may_have_more_devices(used):
    lanes = Lanes(EngineConfig(cores=100), Worker, lambda: used)
    for n in range(200):
        lanes.check(Device.parse(f"CPU:{n}"))
        used.append(lanes.of(Device.parse(f"CPU:{n}")).device.queue)
    with pytest.raises(TooManyDevices):
        lanes.check(Device.parse("CPU:200"))


def test_devices_without_models_make_room_and_their_workers_end(lanes, used):
    fill(lanes, used)
    used.remove("CPU:7")
    (worker,) = lanes.by_queue["CPU:7"].workers
    lanes.check(Device.parse("CPU:777"))
    assert worker.stopped
    assert "CPU:7" not in lanes.by_queue
    assert "CPU" in lanes.by_queue


def test_a_device_with_something_to_do_makes_no_room(lanes, used):
    fill(lanes, used)
    used.remove("CPU:7")
    lanes.by_queue["CPU:7"].running = 1
    with pytest.raises(TooManyDevices):
        lanes.check(Device.parse("CPU:777"))


# ------------------------------------------------------------------ in the engine
class Bench:
    def __init__(self):
        self.loop = ManualLoop()
        backends = Backends(installed=lambda: ())
        backends.add("FAKE", FakeBackend())
        self.engine = Engine(self.loop, EngineConfig(inline_limit=0), backends)
        self.models = []

    def create(self, device):
        made = []
        spec = ModelSpec("FAKE", Device.parse(device))
        blob = json.dumps({"op": "identity"}).encode()
        self.engine.create_model(spec, blob, lambda *result: made.append(result))
        self.loop.run_until(lambda: made)
        model, error = made[0]
        if model is not None:
            self.engine.catalog[device.encode()] = model
            self.models.append(model)
        return error

    def run(self, model):
        graph = run_of(model, [INPUT])
        self.engine.execute(graph)
        self.loop.run_until(lambda: graph.done)
        return graph.values[-1]


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    ended = []
    bench.engine.close(30, lambda: ended.append(True))
    bench.loop.run_until(lambda: ended)


def test_a_model_for_one_device_too_many_is_refused_and_a_deleted_one_makes_room(bench):
    for n in range(MOST - 1):
        assert bench.create(f"CPU:{n}") is None
    assert isinstance(bench.create("CPU:100"), TooManyDevices)
    made = []
    spec = ScriptSpec("FAKE", Device.parse("CPU:100"))
    bench.engine.create_script(spec, b"identity", lambda *result: made.append(result))
    bench.loop.run_until(lambda: made)
    assert isinstance(made[0][1], TooManyDevices)
    assert bench.create("cpu:3") is None
    assert len(bench.engine.lanes) == MOST

    del bench.models[5]
    assert bench.create("CPU:100") is None
    assert bench.run(bench.models[-1]) == INPUT
    assert "CPU:5" not in bench.engine.lanes


def test_a_model_that_nobody_lists_still_runs_after_its_device_made_room(bench):
    """Two databases may have models under one key; the catalog lists one of them."""
    for n in range(MOST - 1):
        assert bench.create(f"CPU:{n}") is None
    unlisted = bench.models[5]
    del bench.engine.catalog[b"CPU:5"]
    assert bench.create("CPU:100") is None
    assert bench.run(unlisted) == INPUT
