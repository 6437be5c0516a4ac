"""Each run has an interpreter to itself, with as many threads as were asked for."""

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tensorkeep.thread_budget import ThreadBudget
from tensorkeep_tflite import devices, model


@pytest.fixture
def opened(monkeypatch):
    """Records the settings of the interpreters that are opened."""
    opened = []
    native = devices.Interpreter

    def recorded(**settings):
        opened.append(settings)
        return native(**settings)

    monkeypatch.setattr(devices, "Interpreter", recorded)
    return opened


def in_threads(count, work):
    """Calls `work(number)` on threads that begin at the same time."""
    barrier = threading.Barrier(count)
    errors = []

    def begin(number):
        barrier.wait()
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - the test reports it
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_threads_that_run_one_model_at_once_get_their_own_answers(graphs, load, run):
    model = load(graphs.unary("ABS"))

    def work(number):
        for turn in range(100):
            value = number * 100 + turn
            shape = (turn % 5 + 1, 3)
            (output,) = run(model, np.full(shape, -value, np.float32))
            assert (output.shape, set(output.values())) == (shape, {value})

    in_threads(8, work)

    assert 1 <= len(model.native._all) <= 8


def test_runs_one_after_the_other_share_one_interpreter(graphs, load, run, opened):
    model = load(graphs.unary(), workers=4)

    for _ in range(5):
        run(model, [4.0])

    assert len(opened) == 1


def test_runs_at_the_same_time_have_an_interpreter_each_and_it_is_kept(graphs, load, run, opened):
    model = load(graphs.unary())
    idle = model.native._idle
    busy = [idle.pop()]  # as if a run were going on
    for _ in range(2):
        run(model, [4.0])
        busy.append(idle.pop())
    idle.extend(busy)

    for _ in range(3):
        run(model, [4.0])

    assert len({*busy, *idle}) == len(opened) == 3
    assert {id(each["model_content"]) for each in opened} == {id(opened[0]["model_content"])}


def test_other_threads_go_on_while_a_model_runs(graphs, load, run):
    model = load(graphs.counting())
    enough = threading.Event()

    def work():
        while not enough.is_set():
            run(model, np.array(500_000, np.int32))

    thread = threading.Thread(target=work)
    thread.start()
    pauses, last = [], time.perf_counter()
    while len(pauses) < 100:
        time.sleep(0.001)
        pauses.append(time.perf_counter() - last)
        last = time.perf_counter()
    assert thread.is_alive()
    enough.set()
    thread.join()

    assert sorted(pauses)[50] < 0.05


def test_the_number_of_threads_is_handed_on(graphs, load, opened):
    load(graphs.unary(), intra_op_threads=3)

    assert opened[0]["num_threads"] == 3


def test_by_default_litert_decides_which_takes_one(graphs, load, opened):
    load(graphs.unary())

    assert opened[0]["num_threads"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process' threads")
def test_a_model_has_the_threads_that_were_asked_for(graphs, load, run):
    def threads():
        return {task.name for task in Path("/proc/self/task").iterdir()}

    # New ones only: threads of earlier tests may end meanwhile.
    before = threads()
    one = load(graphs.dense(64))
    run(one, np.ones((64, 64), np.float32))
    with_one = threads()
    assert not with_one - before
    four = load(graphs.dense(64), intra_op_threads=4)
    run(four, np.ones((64, 64), np.float32))

    assert len(threads() - with_one) == 3  # the thread that runs the model is the fourth
    assert one
    assert four


def test_a_model_has_one_thread_when_others_have_them_all(graphs, load, run, opened, monkeypatch):
    budget = ThreadBudget(4)
    monkeypatch.setattr(model, "OF_POOLS", budget)
    models = [load(graphs.unary(), intra_op_threads=3) for _ in range(4)]
    assert [each["num_threads"] for each in opened] == [3, 3, 1, 1]
    for each in models:
        run(each, [4.0])
    del models, each
    assert budget.take(4), "what has ended gives its threads back"
