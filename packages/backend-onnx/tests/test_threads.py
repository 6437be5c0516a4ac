"""Several workers run one session at once, with as many threads as were asked for."""

import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest


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
