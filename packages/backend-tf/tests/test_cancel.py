"""A run ends when it is told to, and only that run."""

import threading
import time

import numpy as np
import pytest

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep_tf.framework import tf

v1 = tf.compat.v1
KILLED = "The run was cancelled"


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


@pytest.fixture
def counting(graphs):
    """A graph that takes `turns` and `x`, counts to `turns` and returns `x` as `y`."""

    def make():
        x, turns = graphs.given(), graphs.given("turns", "int32", [])
        _, y = tf.while_loop(
            lambda turn, _: turn < turns,
            lambda turn, value: (turn + 1, tf.identity(value)),
            [tf.constant(0), x],
        )
        tf.identity(y, name="y")

    return graphs.graph(make)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_endless_run_ends_when_it_is_cancelled(graphs, load, start, threads, functional):
    model = load(graphs.endless(functional=functional), inter_op_threads=threads)
    context, end, thread = start(model, [1])
    thread.join(0.1)

    assert thread.is_alive()
    context.cancel()

    assert end() == KILLED


def test_a_loop_that_stays_a_function_can_be_ended_as_well(graphs, load, start):
    definition = graphs.parse(graphs.endless(functional=True))
    loop = next(node for node in definition.node if "While" in node.op)
    loop.attr["_lower_using_switch_merge"].b = False
    context, end, thread = start(load(definition.SerializeToString()), [1])
    thread.join(0.1)

    assert thread.is_alive()
    context.cancel()

    assert end() == KILLED


def test_a_run_that_was_cancelled_before_it_began_ends_at_once(graphs, load, run):
    context = RunContext(CPU)
    context.cancel()

    with pytest.raises(RunFailed, match=KILLED):
        run(load(graphs.endless()), [1], context=context)


def test_only_the_run_that_was_cancelled_ends(graphs, load, start):
    model = load(graphs.endless())
    first, first_end, _ = start(model, [1])
    second, second_end, second_thread = start(model, [1])
    second_thread.join(0.1)

    first.cancel()
    assert first_end() == KILLED
    second_thread.join(0.1)
    assert second_thread.is_alive()

    second.cancel()
    assert second_end() == KILLED


def test_a_run_beside_one_that_was_cancelled_gives_its_answer(counting, load, run, start):
    model = load(counting, "x turns")
    first, first_end, _ = start(model, [1], np.int32(2**30))
    answers = []

    def count():
        answers.extend(run(model, [7], np.int32(200_000)))

    second = threading.Thread(target=count)
    second.start()
    first.cancel()

    assert first_end() == KILLED
    second.join(30)
    assert [each.values() for each in answers] == [[7]]


def test_the_model_works_on_after_a_cancelled_run(counting, load, run, start):
    model = load(counting, "x turns")
    for _ in range(3):
        context, end, thread = start(model, [1], np.int32(2**30))
        thread.join(0.05)
        context.cancel()
        assert end() == KILLED

        assert run(model, [2], np.int32(3))[0].values() == [2]


def test_a_saved_model_gets_its_values_back_after_a_cancelled_run(served, run, start):
    class Counting(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(5.0)

        @tf.function(
            input_signature=[
                tf.TensorSpec([1], tf.float32, "x"),
                tf.TensorSpec([], tf.int32, "turns"),
            ]
        )
        def serve(self, x, turns):
            for _ in tf.range(turns):
                x = tf.identity(x)
            return {"y": x * self.w}

    model = served(Counting())
    context, end, thread = start(model, np.int32(2**30), [1])
    thread.join(0.2)
    assert thread.is_alive()
    context.cancel()

    assert end() == KILLED
    assert run(model, np.int32(3), [2])[0].values() == [10]


def test_cancelling_too_late_does_nothing(counting, load, run):
    model = load(counting, "x turns")
    context = RunContext(CPU)
    run(model, [1], np.int32(1), context=context)

    assert context._on_cancel is None
    context.cancel()
    assert run(model, [2], np.int32(1))[0].values() == [2]


def test_nothing_is_left_to_cancel_after_a_failed_run(counting, load, run):
    context = RunContext(CPU)
    with pytest.raises(RunFailed, match="Type mismatch"):
        run(load(counting, "x turns"), [1], [2], context=context)

    assert context._on_cancel is None


def test_a_run_that_waits_for_ever_can_be_ended_as_well(graphs, load, start):
    def make():
        queue = v1.FIFOQueue(1, [tf.float32])
        tf.add(queue.dequeue(), graphs.given(), name="y")

    context, end, thread = start(load(graphs.graph(make)), [1])
    thread.join(0.1)
    assert thread.is_alive()
    context.cancel()

    assert end() == KILLED


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
