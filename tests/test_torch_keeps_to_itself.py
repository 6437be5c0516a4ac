"""What one client's models and scripts of TORCH do is not felt by another, as clients meet it."""

import importlib
import io
import warnings
from importlib.util import find_spec
from threading import Thread

import numpy as np
import pytest

from tensorkeep_server.testing import WireError

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is tested on Python 3.11 only, see the noxfile"
)

COUNTS = """
def forward(self, x):
    for i in range(100):
        self.past.append(x)
        self.past = self.past[-3:]
        self.n += 1
    return x + self.n
"""
SCRIPT = """
def leaves(x):
    return torch.empty([int(x.numel())])

def trains(x):
    return torch.native_batch_norm(x, None, None, x[0], x[1], True, 0.5, 1e-5)[0]

def prints(x):
    for i in range(1000):
        print("a line of a script", i)
    return x

def endless(x):
    while True:
        x = x * 1
        print("a line of a script")
    return x
"""


@pytest.fixture(scope="module")
def serving(start):
    """A server with several workers, whose runs end after a second."""
    with start("--threads-per-queue", "4", "--model-execution-timeout", "1000") as serving:
        yield serving


@pytest.fixture
def wire(serving):
    with serving.wire() as wire:
        wire.ask("FLUSHALL")
        assert wire.read("AI.SCRIPTSET", "s", "CPU", "SOURCE", SCRIPT) == "OK"
        yield wire


@pytest.fixture(scope="module")
def counting():
    torch = importlib.import_module("torch")

    class Counts(torch.jit.ScriptModule):
        """Keeps the last three inputs, and how many there were."""

        def __init__(self):
            super().__init__()
            self.past = torch.jit.Attribute([torch.ones(1)], list[torch.Tensor])
            self.n = torch.jit.Attribute(0, int)
            self.define(COUNTS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = io.BytesIO()
        torch.jit.save(Counts(), file)
    return file.getvalue()


def call(wire, function):
    return wire.read("AI.SCRIPTRUN", "s", function, "INPUTS", "x", "OUTPUTS", "y")


def blob(wire, key):
    return np.frombuffer(wire.read("AI.TENSORGET", key, "BLOB"), np.float32)


def test_a_module_that_changes_itself_is_run_by_one_worker_at_a_time(serving, wire, counting):
    assert wire.read("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", counting) == "OK"
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 0)
    failures = []

    def work():
        with serving.wire() as own:
            replies = {
                str(own.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y"))
                for _ in range(40)
            }
            failures.extend(replies - {"OK"})

    threads = [Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert wire.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == "OK"
    assert blob(wire, "y").tolist() == [100 * (6 * 40 + 1)]


def test_memory_that_was_not_written_to_shows_nothing_of_others(wire):
    for size in (10, 1000, 100_000):
        secret = np.full(size, 77, np.float32).tobytes()
        for _ in range(20):
            wire.ask("AI.TENSORSET", "x", "FLOAT", size, "BLOB", secret)
            assert call(wire, "leaves") == "OK"
            assert not blob(wire, "y").any()


def test_a_stored_tensor_stays_as_it_is_whatever_a_script_does_with_it(wire):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 2, 2, "VALUES", 1, 2, 3, 4)

    assert call(wire, "trains") == "OK"
    assert blob(wire, "x").tolist() == [1, 2, 3, 4]


def test_a_script_prints_nothing_and_its_endless_loop_ends(serving, wire):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)

    assert call(wire, "prints") == "OK"
    assert isinstance(call(wire, "endless"), WireError)
    assert call(wire, "prints") == "OK"
    assert "a line of a script" not in serving.log()


@pytest.mark.parametrize(
    "expression",
    [
        "torch.ops.inductor._reinterpret_tensor(x, [9], [1], 0)",
        "torch.ops.inductor._alloc_from_pool(x, 0, torch.float, [9], [1])",
        "torch.ops.aten._reshape_alias(x, [9], [1])",
        "torch.ops.aten._nested_view_from_buffer(x, x, x, x)",
        "torch.ops.aten._sparse_coo_tensor_unsafe(x, x, [9])",
        "torch.ops.prims.as_strided(x, [9], [1], 0)",
        "torch.ops.mkldnn.data_ptr(x)",
    ],
)
def test_operators_that_take_raw_memory_are_refused(wire, expression):
    source = f"def f(x):\n    return {expression}\n"
    refused = wire.read("AI.SCRIPTSET", "bad", "CPU", "SOURCE", source)

    assert isinstance(refused, WireError)
    assert "may not be used" in str(refused)
    assert wire.read("EXISTS", "bad") == 0


def test_views_stay_within_their_tensor(wire):
    source = "def f(x):\n    return torch.as_strided(x, [1000], [1], 0)\n"
    assert wire.read("AI.SCRIPTSET", "s", "CPU", "SOURCE", source) == "OK"
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)

    assert "out of bounds" in str(call(wire, "f"))
