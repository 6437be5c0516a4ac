"""Doing a batch: whose runs are shared, tried first, and what becomes of what cannot be cut."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep import execution
from tensorkeep.batch_axis import DECLARED, POSSIBLE
from tensorkeep.batching import Batching
from tensorkeep.device import CPU
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import LoadedModel, Model, ModelSpec
from tensorkeep.runqueue import Run
from tensorkeep.tensor import Tensor


class Function:
    """A backend whose one model is a function of arrays; it counts the rows of its runs."""

    def __init__(self, function):
        self.function = function
        self.rows = []

    def model_run(self, model, inputs, run):
        self.rows.append(inputs[0].shape[0])
        found = self.function(*[each.numpy() for each in inputs])
        return [Tensor.from_numpy(np.array(each, order="C")) for each in found]


def model(axis=POSSIBLE, inputs=1, outputs=1):
    names = tuple(f"x{n}" for n in range(inputs)), tuple(f"y{n}" for n in range(outputs))
    return Model(
        ModelSpec("FAKE", batching=Batching(64)),
        b"",
        LoadedModel(None, *names, batch_axis=axis),
        None,
    )


def execute(backend, batch, context, *tell):
    """Runs a batch of runs of one model, which a backend is said to have built."""
    object.__setattr__(batch[0].runnable, "backend", backend)
    return execution.execute(batch, context, *tell)


def batch(of, *members):
    """Returns a run of a model for each member: the arrays of its inputs."""
    runs = []
    for arrays in members:
        tensors = [Tensor.from_numpy(np.asarray(each, np.float32)) for each in arrays]
        runs.append(Run(of, tensors, SimpleNamespace(), 0, rows=tensors[0].shape[0]))
    return runs


def outputs(outcomes):
    return [
        outcome.error or [each.numpy().tolist() for each in outcome.outputs] for outcome in outcomes
    ]


def alone(function, *members):
    return [
        [np.asarray(each).tolist() for each in function(*[np.float32(x) for x in arrays])]
        for arrays in members
    ]


ROWS = ([[[1.0, 5.0]]], [[[2.0, 4.0]]], [[[3.0, 3.5]]])


def test_what_was_compared_once_is_shared_for_the_same_sizes_from_then_on():
    of, backend = model(), Function(lambda x: [x * 2])
    probes = [2] * 6  # a pair as it is, twice; each of the two among two kinds of other rows
    for expected in ([1, 1, 2, 2, *probes], [2], [2]):
        backend.rows.clear()
        found = execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
        assert outputs(found) == [[[[2.0, 10.0]]], [[[4.0, 8.0]]]]
        assert backend.rows == expected
    backend.rows.clear()
    execute(backend, batch(of, *ROWS), RunContext(CPU))
    assert backend.rows == [1, 1, 1, 3, 3, 3]
    backend.rows.clear()
    wider = [[[[1.0, 2.0, 3.0]]], [[[3.0, 2.0, 1.0]]]]
    execute(backend, batch(of, *wider), RunContext(CPU))
    assert backend.rows == [1, 1, 2, 2, *probes]
    assert of.unshared == ""


def test_what_members_got_alone_is_told_before_they_run_together():
    of, backend, told = model(), Function(lambda x: [x * 2]), []

    def tell(outcomes):
        told.append((outputs(outcomes), [*backend.rows]))

    found = execute(backend, batch(of, *ROWS), RunContext(CPU), tell)

    assert told == [(alone(backend.function, *ROWS), [1, 1, 1])]
    assert outputs(found) == told[0][0]
    assert all(outcome.told for outcome in found)
    assert len(backend.rows) > 3

    again = execute(backend, batch(of, *ROWS), RunContext(CPU), tell)
    one = execute(backend, batch(of, ROWS[0]), RunContext(CPU), tell)
    assert not any(outcome.told for outcome in [*again, *one])
    assert len(told) == 1


def test_what_was_told_stays_whatever_goes_wrong_afterwards(monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(execution, "compare", fail)
    of, backend, told = model(), Function(lambda x: [x * 2]), []

    found = execute(backend, batch(of, *ROWS), RunContext(CPU), told.append)

    assert outputs(found) == outputs(told[0]) == alone(backend.function, *ROWS)
    assert all(outcome.told for outcome in found)
    assert "ZeroDivisionError" in caplog.text
    assert not of.sharing.trying


def test_while_shared_runs_are_tried_others_run_alone_and_try_nothing():
    of, told = model(), []

    def beside(x):
        if x.shape[0] > 1 and not told:
            told.append(True)
            told.append(execute(backend, batch(of, *ROWS[:2]), RunContext(CPU)))
        return [x * 2]

    backend = Function(beside)
    execute(backend, batch(of, *ROWS), RunContext(CPU))

    assert outputs(told[1]) == alone(lambda x: [x * 2], *ROWS[:2])
    assert backend.rows[:7] == [1, 1, 1, 3, 1, 1, 3]
    assert not of.unshared


def test_of_a_declared_axis_one_comparison_is_enough():
    of, backend = model(DECLARED), Function(lambda x: [x * 2])
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    backend.rows.clear()
    assert outputs(execute(backend, batch(of, *ROWS), RunContext(CPU))) == [
        [[[2.0, 10.0]]],
        [[[4.0, 8.0]]],
        [[[6.0, 7.0]]],
    ]
    assert backend.rows == [3]


# What no shared run gives right, though sizes may fit: each is a function of all rows.
MIXING = {
    "labels": lambda x: [x, np.array([7, 8], np.float32)],
    "two labels alone": lambda x: [np.array([7, 8], np.float32)],
    "three labels": lambda x: [np.array([7, 8, 9], np.float32)],
    "transposed": lambda x: [x.T],
    "transposed square": lambda x: [x.T, x],
    "scalar": lambda x: [x, x.sum()],
    "sum": lambda x: [x.sum(0, keepdims=True)],
    "gram": lambda x: [x @ x.T],
    "mean": lambda x: [x - x.mean(0)],
    "softmax over rows": lambda x: [np.exp(x) / np.exp(x).sum(0)],
    "normed": lambda x: [x / np.abs(x).max()],
    "sorted": lambda x: [np.sort(x, 0)],
    "sorted descending": lambda x: [-np.sort(-x, 0)],
    "flipped": lambda x: [x[::-1]],
    "rolled": lambda x: [np.roll(x, 1, 0)],
    "running sum": lambda x: [x.cumsum(0)],
    "at most two": lambda x: [x[:2]],
    "every other": lambda x: [x[::2]],
    "repeated": lambda x: [np.repeat(x, 2, 0)],
    "flat": lambda x: [x.reshape(-1)],
    "number of rows": lambda x: [np.full((len(x), 1), len(x), np.float32)],
    "padded to the batch": lambda x: [np.ones((len(x), len(x) + 1), np.float32)],
}


@pytest.mark.parametrize("axis", [POSSIBLE, DECLARED])
@pytest.mark.parametrize("name", MIXING)
def test_every_member_gets_what_it_gets_alone_whatever_the_model_does_with_rows(name, axis):
    function = MIXING[name]
    of, backend = model(axis, outputs=len(function(np.float32([[1, 2]])))), Function(function)
    for members in (ROWS[:2], ROWS[1::-1], ROWS, ROWS[:2], ROWS):
        found = execute(backend, batch(of, *members), RunContext(CPU))
        assert outputs(found) == alone(function, *members)


def test_a_branch_on_the_number_of_rows_is_found_out_where_it_is_taken():
    def function(x):
        return [x - x.mean(0) + 1 if len(x) > 2 else x]

    of, backend = model(), Function(function)
    for members in (ROWS[:2], ROWS, ROWS[:2]):
        found = outputs(execute(backend, batch(of, *members), RunContext(CPU)))
        assert found == alone(function, *members)


def test_a_second_input_that_is_no_batch_is_found_out():
    def function(x, weights):
        return [x @ weights]

    members = [
        [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]],
        [[[5.0, 6.0], [7.0, 8.0]], [[2.0, 0.0], [0.0, 2.0]]],
    ]
    of, backend = model(inputs=2), Function(function)
    found = outputs(execute(backend, batch(of, *members), RunContext(CPU)))
    assert found == alone(function, *members)
    assert "a shared run fails where each member alone does not" in of.unshared


def test_members_that_are_alike_prove_sharing_only_for_such():
    of, backend = model(), Function(lambda x: [x * 2])
    same = [ROWS[0], ROWS[0]]
    for expected in ([1, 1, 2, *[2] * 4], [2]):
        backend.rows.clear()
        execute(backend, batch(of, *same), RunContext(CPU))
        assert backend.rows == expected
    backend.rows.clear()
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    assert backend.rows == [1, 1, 2, 2, *[2] * 6]


def test_a_run_alone_that_does_not_return_its_rows_settles_it():
    of, backend = model(), Function(lambda x: [np.array([7, 8], np.float32)])
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    assert backend.rows == [1, 1]
    assert of.unshared == "output 'y0' of a run of 1 rows is [2], not as many rows"


def test_while_outputs_do_not_differ_nothing_is_proven_and_nothing_shared():
    of, backend = model(), Function(lambda x: [np.ones((len(x), 1), np.float32)])
    for _ in range(2):
        execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    assert backend.rows == [1] * 4
    assert of.unshared == ""


def test_a_bad_member_fails_alone_and_says_nothing_of_its_model():
    def function(x):
        if x.min() < 0:
            raise ValueError("no negatives")
        return [x]

    of, backend = model(), Function(function)
    members = [ROWS[0], [[[-1.0, 0.0]]]]
    for _ in range(2):
        good, bad = outputs(execute(backend, batch(of, *members), RunContext(CPU)))
        assert good == [[[1.0, 5.0]]]
        assert str(bad) == "no negatives"
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))  # sharing two rows is proven now
    good, bad = outputs(execute(backend, batch(of, *members), RunContext(CPU)))
    assert (good, str(bad), of.unshared) == ([[[1.0, 5.0]]], "no negatives", "")


def test_a_cancelled_trial_says_nothing_of_its_model():
    context = RunContext(CPU)

    def function(x):
        if len(x) == 2:
            context.cancel()
            raise ValueError("it was cancelled")
        return [x]

    of, backend = model(), Function(function)
    found = outputs(execute(backend, batch(of, *ROWS[:2]), context))
    assert found == [[[[1.0, 5.0]]], [[[2.0, 4.0]]]]
    assert of.unshared == ""


def test_a_proven_model_that_does_not_return_its_rows_runs_alone_and_is_remembered():
    of, backend = model(DECLARED), Function(lambda x: [x[x[:, 0] != 3]])
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    assert of.unshared == ""
    found = execute(backend, batch(of, *ROWS), RunContext(CPU))
    assert outputs(found) == [[[[1.0, 5.0]]], [[[2.0, 4.0]]], [[]]]
    assert of.unshared == "output 'y0' of a run of 3 rows is [2, 2], not as many rows"
    backend.rows.clear()
    execute(backend, batch(of, *ROWS), RunContext(CPU))
    assert backend.rows == [1, 1, 1]


@given(
    name=st.sampled_from(["twice", *MIXING]),
    sizes=st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=4), min_size=1, max_size=4),
    # Continuous: of values that coincide, such as a common maximum, no comparison tells the source.
    values=st.randoms(use_true_random=True),
    declared=st.booleans(),
)
def test_whatever_comes_together_every_member_gets_its_own(name, sizes, values, declared):
    def twice(x):
        return [x * 2]

    function = MIXING.get(name, twice)
    axis = DECLARED if declared else POSSIBLE
    of, backend = model(axis, outputs=len(function(np.float32([[1, 2]])))), Function(function)
    for counts in sizes:
        members = [
            [[[values.uniform(1.0, 3.0) for _ in range(2)] for _ in range(count)]]
            for count in counts
        ]
        found = outputs(execute(backend, batch(of, *members), RunContext(CPU)))
        assert found == alone(function, *members)


# What gives the first batch what its members get alone, and the second one something else.
UNSEEN = {
    "flipped, two of three alike": (lambda x: [x[::-1]], [1, 2, 1], [1, 2, 3]),
    "halves exchanged": (lambda x: [np.roll(x, len(x) // 2, 0)], [1, 2, 1, 2], [1, 2, 3, 4]),
    "running sum of nothing": (lambda x: [x.cumsum(0)], [0, 0], [1, 1]),
    "a common maximum": (lambda x: [x[:, 0] + x.max()], [9, 9], [2, 1]),
    "a threshold": (lambda x: [x * (x.max() < 100)], [1, 2], [1, 1000]),
    "a threshold below": (lambda x: [x * (x.min() > -100)], [1, 2], [1, -1000]),
    "beside large values": (
        lambda x: [np.stack([x * 1e7, x - x.mean(0)], 1)],
        [1, 2],
        [2, 1],
    ),
    "beside large values, bounded": (
        lambda x: [np.stack([x * 1e7, np.sign(x.mean()) + 0 * x], 1)],
        [1, 2],
        [1, -5],
    ),
    "quantized by the range of all": (
        lambda x: [np.round(x * 255 / max(1, x.max())) * max(1, x.max()) / 255],
        [1, 0.5],
        [1, 1000],
    ),
}


@pytest.mark.parametrize("axis", [POSSIBLE, DECLARED])
@pytest.mark.parametrize("name", UNSEEN)
def test_rows_that_are_mixed_are_found_also_where_the_first_batch_shows_none_of_it(name, axis):
    def function(x):
        return [each.astype(np.float32) for each in UNSEEN[name][0](x)]

    of, backend = model(axis), Function(function)
    for rows in UNSEEN[name][1:]:
        members = [[[[row]]] for row in rows]
        found = outputs(execute(backend, batch(of, *members), RunContext(CPU)))
        assert found == alone(function, *members)
    assert of.unshared


def batch_of(of, dtype, rows):
    """Returns a run of a model for each row, of one column and of some type."""
    runs = batch(of, *[[[[0]]]] * len(rows))
    for run, row in zip(runs, rows, strict=True):
        run.inputs = [Tensor.from_numpy(np.full((1, 1), row, dtype))]
    return runs


UNSEEN_OTHERS = {
    "flipped": (lambda x: [x[::-1]], np.int64, [1, 2, 1], [1, 2, 3]),
    "halves exchanged": (
        lambda x: [np.roll(x, len(x) // 2, 0)],
        np.int64,
        [1, 2, 1, 2],
        [1, 2, 3, 4],
    ),
    "least of padded": (lambda x: [np.minimum(x, x.max() - 5)], np.int64, [1, 9], [1, 2]),
    "brightest": (lambda x: [x / np.float32(x.max())], np.uint8, [255, 25], [25, 5]),
    "all true": (lambda x: [np.float32(x & x.all())], bool, [True, True], [True, False]),
    "greatest beside infinity": (
        lambda x: [np.stack([x, np.full_like(x, x.max())], 1)],
        np.float32,
        [np.inf, np.inf],
        [1, 2],
    ),
}


@pytest.mark.parametrize("axis", [POSSIBLE, DECLARED])
@pytest.mark.parametrize("name", UNSEEN_OTHERS)
def test_mixed_whole_numbers_truth_values_and_infinities_are_found_as_well(name, axis):
    function, dtype, *batches = UNSEEN_OTHERS[name]
    of, backend = model(axis), Function(function)
    for rows in batches:
        found = outputs(execute(backend, batch_of(of, dtype, rows), RunContext(CPU)))
        with np.errstate(all="ignore"):
            expected = [
                [np.asarray(function(np.full((1, 1), row, dtype))[0]).tolist()] for row in rows
            ]
        np.testing.assert_equal(found, expected)


def test_members_that_are_alike_prove_nothing_of_others_that_are():
    """Sums of zeros are the same over any rows; whole numbers have no stand-ins."""
    of, backend = model(), Function(lambda x: [x.cumsum(0)])
    for value in (0, 1):
        runs = batch_of(of, np.int64, [value] * 2)
        assert outputs(execute(backend, runs, RunContext(CPU))) == [[[[value]]]] * 2


def test_rows_that_the_model_does_not_take_as_stand_ins_say_nothing_of_it():
    def function(x):
        if np.abs(x).max() > 100:
            raise ValueError("at most 100")
        return [x * 2]

    of, backend = model(), Function(function)
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    backend.rows.clear()
    execute(backend, batch(of, *ROWS[:2]), RunContext(CPU))
    assert backend.rows == [2]


def test_rounding_that_does_not_repeat_itself_is_no_influence():
    random = np.random.default_rng(3)
    noisy = Function(lambda x: [x * np.float32(1 + random.uniform(-1e-5, 1e-5))])
    of = model()
    execute(noisy, batch(of, *ROWS[:2]), RunContext(CPU))
    assert of.unshared == ""


def test_a_declared_axis_of_whole_numbers_is_believed_once_outputs_differ():
    of, backend = model(DECLARED), Function(lambda x: [x.max(0, keepdims=True) > x - 5])
    for values in ((1, 2), (1, 9)):
        found = outputs(execute(backend, batch_of(of, np.int64, values), RunContext(CPU)))
        assert found == [[[[True]]]] * 2
    assert backend.rows == [1] * 4
