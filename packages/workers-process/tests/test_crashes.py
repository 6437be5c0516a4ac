"""A model that ends its process costs one error, which says of what it died."""

import threading
import time

import numpy as np
import pytest

from tensorkeep.device import CPU
from tensorkeep.errors import WorkerDied, WorkerTookTooLong
from tensorkeep.hookspecs import RunContext
from tensorkeep.tensor import Tensor

BUSY = 10.0  # seconds within which a busy machine does what takes a tenth of one

DEATHS = {
    "segv": "signal 11 (SIGSEGV)",
    "abort": "signal 6 (SIGABRT)",
    "exit_3": "it exited with code 3",
    "garbage": "it sent what is no message",
    "silence": "it closed its connection",
}


@pytest.mark.parametrize("what", DEATHS)
def test_a_run_that_ends_the_process_is_an_error_that_says_of_what(attack, what):
    model = attack.create(f"run {what}".encode())
    good = attack.create(b"run pid")

    with pytest.raises(WorkerDied) as caught:
        attack.run(model)

    assert caught.value.cause.startswith(DEATHS[what])
    assert len(attack.run(good)) == 1


def test_storing_a_model_that_ends_the_process_is_an_error(attack):
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        attack.create(b"create segv")

    assert attack.create(b"run pid").inputs == ("input",)


def test_a_worker_is_there_again_within_a_moment(attack):
    crashing, good = attack.create(b"run segv"), attack.create(b"run pid")
    with pytest.raises(WorkerDied):
        attack.run(crashing)
    started = time.perf_counter()

    attack.run(good)

    assert time.perf_counter() - started < BUSY


@pytest.mark.parametrize("what", ["spin", "hang", "hold"])
def test_a_run_that_takes_no_notice_is_ended_when_it_is_cancelled(attack, what):
    model = attack.create(f"run {what}".encode())
    context = RunContext(CPU, 4 * BUSY)
    timer = threading.Timer(0.1, lambda: context.cancel("it took longer than 4 s"))
    started = time.perf_counter()
    timer.start()

    with pytest.raises(WorkerTookTooLong) as caught:
        attack.run(model, context=context)

    assert caught.value.reason == "it took longer than 4 s"
    assert time.perf_counter() - started < BUSY


def test_a_model_that_never_gets_built_is_given_up(start_attack):
    attack = start_attack(load_timeout=0.3)

    with pytest.raises(WorkerTookTooLong, match=r"it took longer than 0.3 s"):
        attack.create(b"create hang")


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_crash_touches_no_run_beside_it(attack, size):
    inputs = Tensor.from_numpy(np.arange(size, dtype=np.float32))
    crashing, napping = attack.create(b"run segv"), attack.create(b"run nap")
    outputs = []
    beside = threading.Thread(target=lambda: outputs.extend(attack.run(napping, inputs)))
    beside.start()
    time.sleep(0.05)

    with pytest.raises(WorkerDied):
        attack.run(crashing, inputs)

    beside.join()
    assert len(outputs) == 1


def test_deaths_are_counted(alone):
    model = alone.create(b"run segv")
    for _ in range(2):
        with pytest.raises(WorkerDied):
            alone.run(model)

    assert alone.isolation.counts() == {"started": 2, "crashed": 2, "killed": 0, "recycled": 0}
