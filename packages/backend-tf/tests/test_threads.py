"""Several workers run one session at once, with as many threads as were asked for."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from tensorkeep_tf.framework import tf


@pytest.mark.parametrize("inter_op", [0, 2])
def test_threads_that_run_one_session_at_once_get_their_own_answers(graphs, load, run, inter_op):
    model = load(graphs.identity(op=tf.sqrt), inter_op_threads=inter_op)
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


def test_the_numbers_of_threads_are_handed_on(graphs, load, configs):
    load(graphs.identity(), intra_op_threads=3, inter_op_threads=2)

    (config,) = configs
    assert config.intra_op_parallelism_threads == 3
    assert config.inter_op_parallelism_threads == 2


@pytest.mark.parametrize("inter_op", [0, 1])
def test_by_default_operators_run_one_after_the_other_on_the_callers_thread(
    graphs, load, configs, inter_op
):
    load(graphs.identity(), inter_op_threads=inter_op)

    (config,) = configs
    assert config.intra_op_parallelism_threads == 0
    assert config.inter_op_parallelism_threads == -1


COUNT = """
import os
import numpy as np
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import Tensor
from tensorkeep_tf import plugin
from tensorkeep_tf.framework import tf

with tf.Graph().as_default() as graph:
    x = tf.compat.v1.placeholder(tf.float32, [None, 500], "x")
    tf.matmul(x, tf.ones([500, 500]), name="y")
blob = graph.as_graph_def().SerializeToString()
x = Tensor.from_numpy(np.ones((500, 500), np.float32))
options = BackendOptions(intra_op_threads=8)
spec = ModelSpec("TF", inputs=("x",), outputs=("y",))
count = lambda: len(os.listdir("/proc/self/task"))
before, models, counts = count(), [], []
for _ in range(5):
    models.append(plugin.model_create(spec, blob, options))
    plugin.model_run(models[-1], [x], RunContext(CPU))
    counts.append(count() - before)
print(*counts)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process' threads")
def test_all_models_together_have_the_threads_that_were_asked_for():
    # In a process of its own: the first session decides for all that follow.
    command = [sys.executable, "-c", COUNT]
    first, *more = map(int, subprocess.check_output(command, text=True).split())

    assert 6 <= first <= 10
    assert max(more) <= first + 1
