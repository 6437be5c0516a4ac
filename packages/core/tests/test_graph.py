"""Graphs: what may start, what a finished operation frees, how failure spreads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.errors import RunAbandoned, RunFailed
from tensorkeep.graph import Graph, GraphRun, Operation
from tensorkeep.model import LoadedModel, Model, ModelSpec
from tensorkeep.tensor import Tensor

MODEL = Model(ModelSpec("FAKE"), b"", LoadedModel(None, ("x",), ("y",)), None)  # type: ignore[arg-type] # nothing is run
TENSOR = Tensor.from_numpy(np.ones(1, np.float32))


def chain(*operations, given_slots=1):
    """A graph of (inputs, outputs) or (inputs, outputs, after)."""
    slots = given_slots + sum(len(operation[1]) for operation in operations)
    return Graph(tuple(Operation(MODEL, *o) for o in operations), given_slots, slots)


def test_a_single_run_is_a_graph_of_one():
    two = Model(ModelSpec("FAKE"), b"", LoadedModel(None, ("a", "b"), ("c",)), None)
    graph = Graph.of(two, 2)
    assert graph == ((Operation(two, (0, 1), (2,)),), 2, 3)
    run = GraphRun(graph, [TENSOR, TENSOR])
    assert run.start() == [0]
    assert run.finish(0, [TENSOR]) == []
    assert run.done
    assert run.values == [TENSOR] * 3


def test_independent_operations_start_together_and_the_dependent_one_waits_for_both():
    run = GraphRun(chain(((0,), (1,)), ((0,), (2,)), ((1, 2), (3,))), [TENSOR])
    assert run.start() == [0, 1]
    assert run.finish(1, [TENSOR]) == []
    assert not run.done
    assert run.finish(0, [TENSOR]) == [2]
    run.finish(2, [TENSOR])
    assert run.done
    assert run.ran == [True] * 3


def test_an_operation_may_wait_for_one_whose_outputs_it_does_not_read():
    run = GraphRun(chain(((0,), (1,)), ((0,), (2,), 0), ((1,), (3,), 0)), [TENSOR])
    assert run.start() == [0]
    assert run.finish(0, [TENSOR]) == [1, 2]
    run.finish(1, [TENSOR])
    assert not run.done
    run.finish(2, [TENSOR])
    assert run.done


def test_slots_may_be_counted_from_the_end():
    run = GraphRun(chain(((0,), (-1, -2)), ((-2, 0), (-3,))), [TENSOR])
    assert run.start() == [0]
    one, two, three = (Tensor.from_numpy(np.float32([n])) for n in range(3))
    assert run.finish(0, [one, two]) == [1]
    assert run.inputs(1) == [two, TENSOR]
    run.finish(1, [three])
    assert run.values == [TENSOR, three, two, one]


def test_an_operation_that_was_taken_back_leaves_no_trace():
    run = GraphRun(chain(((0,), (1,)), ((0,), (2,))), [TENSOR])
    run.start()
    run.fail(0, RunFailed("no"))
    assert not run.done
    run.skip()
    assert run.done
    assert run.errors[1] is None
    assert run.ran == [False, False]


@pytest.mark.timeout(20)
def test_the_time_for_each_operation_does_not_grow_with_the_graph():
    long = 30_000
    in_a_row = [((n,), (n + 1,)) for n in range(long)]
    in_a_fan = [((1,), (long + 1 + n,)) for n in range(long)]
    run = GraphRun(chain(*in_a_row, *in_a_fan), [TENSOR])
    todo = run.start()
    while todo:
        todo += run.finish(todo.pop(), [TENSOR])
    assert run.done
    assert all(run.ran)


def test_after_a_failure_nothing_more_starts_but_what_runs_ends():
    run = GraphRun(chain(((0,), (1,)), ((0,), (2,)), ((2,), (3,))), [TENSOR])
    run.start()
    error = RunFailed("no")
    run.fail(0, error)
    assert not run.done
    assert run.finish(1, [TENSOR]) == []
    assert run.done
    assert run.errors == [error, None, None]
    assert run.ran == [False, True, False]


def test_a_request_that_was_given_up_is_done_once_nothing_of_it_runs():
    run = GraphRun(chain(((0,), (1,)), ((1,), (2,))), [TENSOR])
    run.start()
    run.give_up(RunAbandoned())
    run.give_up(RunFailed("a later reason changes nothing"))
    assert isinstance(run.error, RunAbandoned)
    assert not run.done
    assert run.finish(0, [TENSOR]) == []
    assert run.done


def test_a_graph_without_operations_is_done():
    run = GraphRun(chain(), [TENSOR])
    assert run.start() == []
    assert run.done


@st.composite
def graphs(draw):
    """Any graph whose operations each read what stands before them."""
    slots = draw(st.integers(1, 3))
    given_slots = slots
    operations = []
    for _ in range(draw(st.integers(0, 8))):
        inputs = draw(st.lists(st.integers(0, slots - 1), min_size=1, max_size=3))
        outputs = draw(st.integers(1, 2))
        after = draw(st.integers(-1, len(operations) - 1))
        operations.append((tuple(inputs), tuple(range(slots, slots + outputs)), after))
        slots += outputs
    return chain(*operations, given_slots=given_slots)


def compute(index, inputs, outputs):
    """A stand-in for a model: depends on the operation and on every input."""
    total = index + sum(t.values()[0] * (at + 1) for at, t in enumerate(inputs))
    return [Tensor.from_numpy(np.int64([total % 1009 + out])) for out in range(outputs)]


@given(graphs(), st.randoms(use_true_random=False))
def test_any_order_of_finishing_gives_the_answers_of_one_after_another(graph, random):
    given_tensors = [Tensor.from_numpy(np.int64([n + 1])) for n in range(graph.given)]
    expected = [*given_tensors]
    for index, operation in enumerate(graph.operations):
        inputs = [expected[slot] for slot in operation.inputs]
        expected += compute(index, inputs, len(operation.outputs))
    run = GraphRun(graph, given_tensors)
    running = run.start()
    while running:
        index = running.pop(random.randrange(len(running)))
        outputs = len(graph.operations[index].outputs)
        running += run.finish(index, compute(index, run.inputs(index), outputs))
    assert run.done
    assert run.values == expected


@given(graphs(), st.randoms(use_true_random=False), st.floats(0, 1))
def test_with_failures_every_operation_ends_once_or_never_starts(graph, random, rate):
    given_tensors = [Tensor.from_numpy(np.int64([1])) for _ in range(graph.given)]
    run = GraphRun(graph, given_tensors)
    running = run.start()
    started = list(running)
    while running:
        assert not run.done
        index = running.pop(random.randrange(len(running)))
        if random.random() < rate:
            run.fail(index, RunFailed("no"))
            continue
        freed = run.finish(
            index, compute(index, run.inputs(index), len(graph.operations[index].outputs))
        )
        running += freed
        started += freed
    assert run.done
    assert len(started) == len(set(started))
    for index in range(len(graph.operations)):
        ended = run.ran[index] + (run.errors[index] is not None)
        assert ended == (index in started)
