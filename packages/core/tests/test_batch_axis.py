"""What declared sizes say of axis 0: whether it is a batch."""

import pytest

from tensorkeep.batch_axis import DECLARED, POSSIBLE, AxisKind, batch_axis

MOVED = "output 'y0' begins with m, which is another axis of an input"


def axis(inputs, outputs, sized_by_values=""):
    """Returns what follows from sizes; inputs are named x0, x1, ..., outputs y0, y1, ..."""
    return batch_axis(
        [(f"x{n}", sizes) for n, sizes in enumerate(inputs)],
        [(f"y{n}", sizes) for n, sizes in enumerate(outputs)],
        sized_by_values,
    )


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([["n", 3]], [["n", 2]]),
        ([["n", 3], ["n"]], [["n"], ["n", 2, 2]]),
        ([["n", "length"]], [["n", "length", 8]]),
        ([["n", 3]], []),
    ],
)
def test_one_symbol_in_front_of_everything_is_a_declaration(inputs, outputs):
    assert axis(inputs, outputs) == DECLARED
    assert axis(inputs, outputs, "a loop decides") == DECLARED


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([["n", 3]], [["m", 2]]),
        ([["n", 3], ["m", 3]], [["n", 2]]),
        ([[None, 3]], [[None, 2]]),
        ([[None, 3]], [["n", 2]]),
        ([None], [None]),
        ([["n", 3]], [None]),
        ([["n", 3]], [["n", "longest"]]),
        ([["n", 3]], [["n", None]]),
        ([["n", "m"]], [["n", "2*m"]]),
    ],
)
def test_what_is_left_open_is_possible_unless_values_decide_sizes(inputs, outputs):
    assert axis(inputs, outputs) == POSSIBLE
    refused = axis(inputs, outputs, "a loop decides")
    assert (refused.kind, refused.reason) == (AxisKind.NONE, "a loop decides")


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([["n", 3]], [["n", 3], [2]], "output 'y1' is [2], of a fixed first size"),
        ([["n", 3]], [[1, None]], "output 'y0' is [1, ?], of a fixed first size"),
        ([["n", 3], [3, 2]], [["n", 2]], "input 'x1' is [3, 2], of a fixed first size"),
        ([["n", 3], []], [["n", 2]], "input 'x1' has no axes"),
        ([["n", 3]], [["n", 3], []], "output 'y1' has no axes"),
        (
            [["n", "m"]],
            [["m", "n"]],
            "output 'y0' begins with m, which is another axis of an input",
        ),
        ([["n", "m"]], [["m", 2]], MOVED),
        ([["n", "n"]], [["n"]], "input 'x0' has its first size n once more"),
        ([["n", 3]], [["n", "n"]], "output 'y0' has its first size n once more"),
        ([["n", 3]], [["n", "2*n"]], "output 'y0' has its first size n once more"),
        ([], [["n"]], "it has no inputs"),
    ],
)
def test_what_cannot_be_cut_into_rows_is_no_batch_and_says_what(inputs, outputs, reason):
    found = axis(inputs, outputs)
    assert (found.kind, found.reason) == (AxisKind.NONE, reason)
