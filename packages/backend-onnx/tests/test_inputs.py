"""Inputs that do not fit are refused with what was expected and what came."""

import ml_dtypes
import numpy as np
import pytest

from tensorkeep.errors import RunFailed


@pytest.fixture
def pair(graphs, load):
    """A model with two inputs, called `0` and `1`, whose first axes must be 2."""
    return load(
        graphs.model(
            [graphs.node("Add", ["0", "1"], ["2"])],
            [graphs.value("0", "float", [2, "n"]), graphs.value("1", "float", [2, "n"])],
            [graphs.value("2", "float", [2, "n"])],
        )
    )


@pytest.fixture
def refusal(pair, run):
    """Runs the model in vain and returns the text; then checks that the model still works."""

    def refusal(*inputs):
        with pytest.raises(RunFailed) as caught:
            run(pair, *inputs)
        good = np.ones((2, 1), np.float32)
        assert run(pair, good, good)[0].values() == [2, 2]
        return str(caught.value)

    return refusal


def test_a_wrong_number_of_inputs_is_named(refusal):
    one = [[1], [2]]

    assert refusal(one) == "Expected 2 inputs but got 1"
    assert refusal(one, one, one) == "Expected 2 inputs but got 3"
    assert refusal() == "Expected 2 inputs but got 0"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(np.float64, "DOUBLE"), (np.uint32, "UINT32"), (np.bool_, "BOOL"), (np.float16, "FLOAT16")],
)
def test_a_wrong_type_is_named_with_the_input(refusal, dtype, name):
    text = refusal([[1], [2]], np.array([[1], [2]], dtype))

    assert text == f"Input 1 must be FLOAT, not {name}"


def test_types_that_numpy_lacks_are_named_as_well(refusal):
    right = np.array([[1], [2]], np.float32)

    assert refusal(right.astype(ml_dtypes.bfloat16), right) == (
        "Input 0 must be FLOAT, not BFLOAT16"
    )
    assert refusal(np.array([["a"], ["b"]]), right) == "Input 0 must be FLOAT, not STRING"


@pytest.mark.parametrize("dtype", ["string", "bfloat16"])
def test_numbers_where_another_kind_is_expected_are_named(graphs, load, run, dtype):
    with pytest.raises(RunFailed, match=f"^Input x must be {dtype.upper()}, not FLOAT$"):
        run(load(graphs.identity(dtype)), [1])


def test_a_wrong_size_is_told_in_the_words_that_clients_look_for(refusal):
    text = refusal([[1], [2], [3]], [[1], [2]])

    # On the wire a newline becomes a blank.
    assert text.replace("\n", " ") == (
        "Got invalid dimensions for input: 0 for the following indices  "
        "index: 0 Got: 3 Expected: 2  Please fix either the inputs or the model."
    )


def test_a_wrong_rank_is_told_in_the_runtimes_words(refusal):
    assert refusal([1, 2], [[1], [2]]) == (
        "Invalid rank for input: 0 Got: 1 Expected: 2 Please fix either the inputs or the model."
    )


def test_sizes_that_do_not_go_together_fail_without_the_runtimes_codes(refusal):
    text = refusal([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6]])

    assert text.startswith("Non-zero status code returned while running Add node.")
    assert "2 by 3" in text


def test_inputs_are_taken_in_any_layout_and_left_alone(pair, run):
    base = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    turned = base.T[:2, :2]
    turned.setflags(write=False)

    assert run(pair, turned, base[:, ::2])[0].values() == [2, 7, 6, 11]
    assert base.tolist() == [[1, 2, 3], [4, 5, 6]]
