"""Inputs of any shape are taken, and what does not fit is refused in the original's words."""

from types import SimpleNamespace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep.tensor import DType, Tensor


@pytest.fixture
def failure(run):
    """Runs a model in vain and returns the text."""

    def failure(model, *inputs, context=None):
        with pytest.raises(RunFailed) as caught:
            run(model, *inputs, context=context)
        return str(caught.value)

    return failure


@pytest.fixture
def calls(monkeypatch):
    """Records how often interpreters are resized and allocated."""
    calls = []

    def record(name):
        native = getattr(Interpreter, name)

        def recorded(self, *arguments):
            calls.append((name, *arguments))
            return native(self, *arguments)

        monkeypatch.setattr(Interpreter, name, recorded)

    record("resize_tensor_input")
    record("allocate_tensors")
    return calls


# --------------------------------------------------------------------------- shapes
@pytest.mark.parametrize(
    "shape", [(1, 3), (2, 3), (8, 3), (3,), (1,), (2, 2, 2), (1, 1, 1, 1, 2), (100_000,)]
)
def test_an_input_may_have_any_shape_of_any_rank(graphs, load, run, shape):
    given = np.random.default_rng(0).random(shape, np.float32)

    (output,) = run(load(graphs.unary()), given)

    assert output.shape == shape
    np.testing.assert_allclose(output.numpy(), np.sqrt(given), rtol=1e-6)


def test_a_flat_picture_is_taken_by_a_model_of_square_ones(graphs, load, run):
    # As clients send it: [784] floats to a model that says [1, 28, 28].
    graph = graphs.new().tensor("x", [1, 28, 28]).constant("shape", [1, 784], np.int32)
    graph.tensor("flat", [1, 784]).constant("w", np.eye(10, 784, dtype=np.float32))
    graph.tensor("y", [1, 10]).operator("RESHAPE", ["x", "shape"], ["flat"])
    graph.operator("FULLY_CONNECTED", ["flat", "w", None], ["y"], kind="FullyConnectedOptions")
    model = load(graph.ends(["x"], ["y"]))
    picture = np.arange(784, dtype=np.float32)

    (flat,) = run(model, picture)

    assert flat.values() == list(range(10))
    assert run(model, picture.reshape(1, 28, 28)) == [flat]


def test_a_shape_that_does_not_change_is_kept(graphs, load, run, calls):
    model = load(graphs.unary())
    run(model, [[1, 4, 9]])
    calls.clear()

    for _ in range(3):
        assert run(model, [[1, 4, 9]])[0].values() == [1, 2, 3]
    assert not calls
    run(model, [[1, 4, 9], [1, 4, 9]])
    assert calls == [("resize_tensor_input", 0, (2, 3)), ("allocate_tensors",)]


def test_shapes_may_change_with_every_run(graphs, load, run):
    model = load(graphs.dense())

    for rows in (1, 3, 1, 8, 2, 64, 1):
        (output,) = run(model, np.ones((rows, 2), np.float32))
        assert output.values() == [1, 5] * rows


def test_an_input_without_elements_is_refused(graphs, load, run, failure):
    model = load(graphs.unary())

    for shape in ((0,), (0, 3), (2, 0, 2)):
        assert failure(model, np.zeros(shape, np.float32)) == (
            "Failed to resize input tensors: an input has no elements"
        )
    assert run(model, [4.0])[0].values() == [2]


def test_an_input_has_no_axes_only_where_the_model_says_so(graphs, load, run, failure):
    scalar, row = load(graphs.unary(shape=())), load(graphs.unary())

    assert run(scalar, 4.0)[0].shape == ()
    assert run(scalar, [4.0])[0].shape == (1,)
    assert failure(row, 4.0) == "Failed to resize input tensors: an input has no axes"


def test_a_size_beyond_what_litert_counts_is_refused(graphs, load):
    model = load(graphs.unary())
    huge = SimpleNamespace(dtype=DType.FLOAT, shape=(2**31,))  # of which there is not the memory

    with pytest.raises(RunFailed, match=r"^Failed to resize input tensors: "):
        model.native.run([huge])


def test_shapes_that_do_not_go_together_are_refused_and_the_model_goes_on(
    graphs, load, run, failure
):
    model = load(graphs.binary())
    good = [[1, 2, 3]]

    for _ in range(3):
        assert run(model, good, good)[0].values() == [2, 4, 6]
        assert failure(model, good, [[1, 2]]).startswith("Failed to allocate tensors: ")


def test_a_run_that_fails_within_is_refused_and_the_model_goes_on(graphs, load, run, failure):
    graph = graphs.new().tensor("x", [3]).tensor("i", [1], DType.INT32).tensor("y")
    model = load(graph.operator("GATHER", ["x", "i"], ["y"]).ends(["x", "i"], ["y"]))
    good, bad = np.array([2], np.int32), np.array([7], np.int32)

    for _ in range(3):
        assert run(model, [1, 2, 3], good)[0].values() == [3]
        text = failure(model, [1, 2, 3], bad)
        assert text.startswith("Failed to invoke TfLite: ")
        assert "(GATHER) failed to invoke" in text


def test_a_recurrent_model_keeps_its_number_of_axes(graphs, load, run, failure):
    # LiteRT would end the process.
    graph = graphs.new().tensor("x", [2, 3]).tensor("y", [2, 4]).tensor("s", [2, 4], variable=True)
    graph.constant("w", np.ones((4, 3))).constant("r", np.ones((4, 4))).constant("b", np.ones(4))
    graph.operator(
        "RNN", ["x", "w", "r", "b", "s"], ["y"], kind="RNNOptions", fusedActivationFunction=1
    )
    model = load(graph.ends(["x"], ["y"]))
    given = np.ones((2, 3), np.float32)

    first = run(model, given)

    assert first[0].values() == [4] * 8
    assert failure(model, given[None]) == (
        "Failed to resize input tensors: inputs must have [2] axes"
    )
    # What one run leaves in the model's variables is not for the next one.
    assert run(model, given) == first


def test_an_interpreter_is_not_used_again_after_a_failed_run(graphs, load, run, failure):
    # LiteRT leaves it with memory that does not fit its tensors.
    model = load(graphs.binary())
    good = [[1, 2, 3]]
    run(model, good, good)
    (first,) = model.native._all
    for bad in (np.zeros((0, 3), np.float32), np.zeros((1, 3), np.int8)):
        failure(model, good, bad)  # which LiteRT never sees
    run(model, good, good)
    assert model.native._all == [first]

    failure(model, good, [[1, 2]])
    assert model.native._all == []
    assert run(model, good, good)[0].values() == [2, 4, 6]

    assert len(model.native._all) == len(model.native._idle) == 1
    assert model.native._all != [first]


# --------------------------------------------------------------------------- numbers and types
def test_a_wrong_number_of_inputs_is_refused_in_the_originals_words(graphs, load, failure):
    model = load(graphs.binary())

    assert failure(model) == "Inconsistent number of inputs"
    assert failure(model, [1.0]) == "Inconsistent number of inputs"
    assert failure(model, [1.0], [1.0], [1.0]) == "Inconsistent number of inputs"


@pytest.mark.parametrize("dtype", [each for each in DType if each is not DType.FLOAT])
def test_a_wrong_type_is_refused_in_the_originals_words(graphs, load, run, failure, dtype):
    model = load(graphs.binary())

    text = failure(model, [[1, 2, 3]], Tensor.zeros(dtype, (1, 3)))

    assert text == "Input tensor type doesn't match the type expected by the model definition"
    assert run(model, [1.0], [2.0])[0].values() == [3]


def test_inputs_are_taken_in_any_layout_and_left_alone(graphs, load, run):
    base = np.array([[1, 4, 9], [16, 25, 36]], np.float32)
    turned = base.T
    turned.setflags(write=False)

    assert run(load(graphs.unary()), turned)[0].values() == [1, 4, 2, 5, 3, 6]
    assert base.tolist() == [[1, 4, 9], [16, 25, 36]]


# --------------------------------------------------------------------------- the end of a run
def test_a_run_that_was_cancelled_before_it_began_does_not_begin(graphs, load, run, failure):
    model = load(graphs.unary())
    context = RunContext(CPU)
    context.cancel()

    assert failure(model, [[1, 4, 9]], context=context) == ("The run was cancelled before it began")
    assert run(model, [4.0])[0].values() == [2]
