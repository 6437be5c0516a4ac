"""What graphs say of axis 0: which first sizes are fixed, and never that two are the same."""

import pytest

from tensorkeep.batch_axis import POSSIBLE, AxisKind
from tensorkeep_tf.framework import tf


@pytest.fixture
def axis(graphs, load):
    """Returns what is known of axis 0 of a graph that returns an operation on its input."""

    def axis(op, shape=(None, 4)):
        blob = graphs.graph(lambda: tf.identity(op(graphs.given(shape=shape)), name="y"))
        return load(blob).batch_axis

    return axis


@pytest.mark.parametrize(
    "op",
    [
        tf.identity,
        lambda x: tf.nn.softmax(tf.matmul(x, tf.ones([4, 2]))),
        lambda x: tf.reshape(x, [tf.shape(x)[0], 2, 2]),
        lambda x: tf.cumsum(x, 1),
    ],
)
def test_free_sizes_are_possible_where_shapes_decide_all_sizes(axis, op):
    assert axis(op) == POSSIBLE
    assert axis(op, None) == POSSIBLE


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (tf.reduce_sum, "output 'y' has no axes"),
        (tf.transpose, "output 'y' is [4, ?], of a fixed first size"),
        (lambda _: tf.constant([7.0, 8.0]), "output 'y' is [2], of a fixed first size"),
        (tf.where, "values may decide sizes in its operator Where"),
        (lambda x: tf.boolean_mask(x, x[:, 0] > 0), "values may decide sizes in its operator"),
        (lambda x: tf.fill([tf.cast(x[0, 0], tf.int32)], 1.0), "in its operator Fill"),
        (
            lambda x: tf.while_loop(lambda y: y[0, 0] > 0, lambda y: y - 1, [x])[0],
            "in its operator",
        ),
    ],
)
def test_what_is_no_batch_says_why(axis, op, reason):
    found = axis(op)
    assert found.kind is AxisKind.NONE
    assert reason in found.reason


def test_an_input_of_a_fixed_first_size_is_no_batch(axis):
    assert axis(tf.identity, (3, 4)).reason == "input 'x' is [3, 4], of a fixed first size"


def test_a_saved_model_tells_the_same(saved, pack, unpack):
    assert unpack(pack(saved())).batch_axis == POSSIBLE
