"""A run ends when it is told to, and only then."""

import threading
import time

import numpy as np
import pytest

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext

KILLED = "Exiting due to terminate flag being set to true"


@pytest.fixture
def start(run):
    """Starts a run on another thread: gives its context and a function that returns its error."""

    def start(model, *inputs):
        context = RunContext(CPU)
        errors = []

        def attempt():
            try:
                run(model, *inputs, context=context)
            except RunFailed as error:
                errors.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()

        def end():
            thread.join(60)
            assert not thread.is_alive()
            return str(errors[0]) if errors else None

        return context, end, thread

    return start


@pytest.mark.parametrize("threads", [1, 2])
def test_an_endless_run_ends_when_it_is_cancelled(graphs, load, start, threads):
    model = load(graphs.endless(), inter_op_threads=threads)
    context, end, thread = start(model, [1])
    thread.join(0.1)

    assert thread.is_alive()
    context.cancel()

    assert KILLED in end()


def test_a_run_that_was_cancelled_before_it_began_ends_at_once(graphs, load, run):
    context = RunContext(CPU)
    context.cancel()

    with pytest.raises(RunFailed, match=KILLED):
        run(load(graphs.endless()), [1], context=context)


def test_only_the_run_that_was_cancelled_ends(graphs, load, run, start):
    endless, quick = load(graphs.endless()), load(graphs.identity())
    first, first_end, _ = start(endless, [1])
    second, second_end, second_thread = start(endless, [1])

    first.cancel()
    assert KILLED in first_end()
    assert run(quick, [1])[0].values() == [1]
    assert second_thread.is_alive()

    second.cancel()
    assert KILLED in second_end()


def test_the_model_and_the_thread_work_on_after_a_cancelled_run(graphs, load, run):
    model = load(graphs.identity())
    cancelled = RunContext(CPU)
    cancelled.cancel()
    with pytest.raises(RunFailed, match=KILLED):
        run(model, [1], context=cancelled)

    assert run(model, [2])[0].values() == [2]


def test_cancelling_too_late_does_nothing(graphs, load, run):
    model = load(graphs.identity())
    context = RunContext(CPU)
    run(model, [1], context=context)

    assert context._on_cancel is None
    context.cancel()
    assert run(model, [2])[0].values() == [2]


def test_nothing_is_left_to_cancel_after_a_failed_run(graphs, load, run):
    context = RunContext(CPU)
    with pytest.raises(RunFailed):
        run(load(graphs.identity()), np.array([1], np.int8), context=context)

    assert context._on_cancel is None


def test_other_threads_go_on_while_a_model_runs(graphs, load, start):
    context, end, thread = start(load(graphs.endless()), [1])
    pauses, last = [], time.perf_counter()
    while len(pauses) < 100:
        time.sleep(0.001)
        pauses.append(time.perf_counter() - last)
        last = time.perf_counter()

    assert thread.is_alive()
    assert sorted(pauses)[50] < 0.05
    context.cancel()
    assert end()
