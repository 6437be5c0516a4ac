"""Several workers run one session at once, with as many threads as were asked for."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep.thread_budget import ThreadBudget
from tensorkeep_onnx import model


def test_threads_that_run_one_session_at_once_get_their_own_answers(graphs, load, run):
    model = load(graphs.identity(op="Sqrt"))
    barrier = threading.Barrier(8)
    wrong = []

    def work(number):
        barrier.wait()
        for turn in range(100):
            value = number * 1000 + turn
            (output,) = run(model, np.full(50, value**2, np.float32))
            if set(output.values()) != {value}:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_the_numbers_of_threads_are_handed_on(settings):
    chosen = settings(intra_op_threads=3, inter_op_threads=2)

    assert (chosen.intra_op_num_threads, chosen.inter_op_num_threads) == (3, 2)
    assert chosen.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL


def test_by_default_the_runtime_decides(settings):
    chosen = settings()

    assert (chosen.intra_op_num_threads, chosen.inter_op_num_threads) == (0, 0)
    assert chosen.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL


def test_idle_threads_do_not_spin(settings):
    chosen = settings()

    assert chosen.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert chosen.get_session_config_entry("session.inter_op.allow_spinning") == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process' threads")
def test_a_session_has_the_threads_that_were_asked_for(graphs, load):
    def threads():
        return {task.name for task in Path("/proc/self/task").iterdir()}

    # New ones only: threads of earlier tests may end meanwhile.
    before = threads()
    one = load(graphs.identity(), intra_op_threads=1)
    with_one = threads()
    assert not with_one - before
    four = load(graphs.identity(), intra_op_threads=4)

    assert len(threads() - with_one) == 3  # the thread that runs the model is the fourth
    assert one
    assert four


# Once ONNX Runtime has a pool that sessions share, every later one has to: not in this process.
SHARING = """
import numpy as np
from pathlib import Path
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import Tensor
from tensorkeep.thread_budget import ThreadBudget
from tensorkeep_onnx import model, plugin

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

def load(blob, **options):
    spec = ModelSpec("ONNX")
    return plugin.model_create(spec, blob, BackendOptions(intra_op_threads=3, **options))

def run(model, value, dtype=np.float32):
    inputs = [Tensor.from_numpy(np.array([value], dtype))]
    return plugin.model_run(model, inputs, RunContext(CPU))[0]

model.OF_POOLS = ThreadBudget(4)
own = [load(SQRT) for _ in range(2)]
first = load(SQRT)  # starts the shared pool
before = threads()
shared = [load(SQRT) for _ in range(50)]
assert threads() == before, (threads(), before)
for each in (*own, first, *shared):
    assert run(each, 4.0).values() == [2.0]
del own, each
assert run(load(SQRT), 4.0).values() == [2.0]

limited = load(FILL, memory_limit=10_000_000)
try:
    run(limited, 5_000_000, np.int64)
except RunFailed as error:
    assert "memory limit exceeded" in str(error), error
else:
    raise AssertionError("the memory limit does not hold")
assert run(limited, 1_000_000, np.int64).shape == (1_000_000,)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process' threads")
def test_many_models_share_one_pool_and_the_memory_limit_holds(graphs):
    models = f"SQRT = {graphs.identity(op='Sqrt')!r}; FILL = {graphs.fill()!r}"
    ran = subprocess.run(
        [sys.executable, "-c", models + SHARING], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_model_that_is_refused_keeps_no_threads(load, graphs, monkeypatch):
    budget = ThreadBudget(2)
    monkeypatch.setattr(model, "OF_POOLS", budget)
    for _ in range(3):
        with pytest.raises(ModelRejected):
            load(graphs.identity(op="NoSuchOperator"), intra_op_threads=3)
    assert budget.take(2)
