"""Which models take the same time for inputs of the same shapes."""

import pytest

from tensorkeep_tf import sizes as operators
from tensorkeep_tf.framework import op_def_registry, tf

v1 = tf.compat.v1


def network(x):
    x = tf.reshape(x, [-1, 4, 4, 1])
    x = tf.nn.conv2d(x, tf.ones([3, 3, 1, 2]), 1, "SAME")
    x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
    x = tf.reshape(x, [tf.shape(x)[0], -1])
    x = tf.concat([x, tf.zeros_like(x)], axis=1)
    return tf.nn.softmax(tf.reduce_sum(x, axis=1, keepdims=True) + tf.pad(x, [[0, 0], [0, 0]]))


@pytest.mark.parametrize(
    ("op", "steady"),
    [
        (tf.identity, True),
        (lambda x: tf.matmul(x, x), True),
        (network, True),
        (tf.function(network), True),
        (lambda x: tf.tile(x, tf.shape(x)), True),
        (lambda x: tf.transpose(x, [1, 0]), True),
        (lambda x: tf.tile(x, tf.cast(x[0], tf.int32)), False),
        (lambda x: tf.fill([tf.cast(x[0], tf.int32)], 1.0), False),
        (tf.function(lambda x: tf.fill([tf.cast(x[0], tf.int32)], 1.0)), False),
        (lambda x: tf.range(tf.cast(x[0], tf.int32)), False),
        (lambda x: tf.where(x > 0), False),
        (lambda x: tf.unique(x).y, False),
        (lambda x: tf.cond(x > 0, lambda: x, lambda: x * x), False),
        (lambda x: tf.while_loop(lambda y: y > 0, lambda y: y - 1, [x])[0], False),
        (lambda x: tf.random.normal(tf.shape(x)), False),
    ],
)
def test_a_model_is_steady_when_shapes_alone_decide(graphs, load, op, steady):
    blob = graphs.graph(lambda: tf.identity(op(graphs.given()), name="y"))

    assert load(blob).steady is steady


def test_a_model_that_takes_strings_is_not_steady(graphs, load):
    assert not load(graphs.identity("string")).steady


def test_a_saved_model_can_be_steady(saved, pack, unpack):
    assert unpack(pack(saved())).steady


def test_the_operators_that_are_steady_are_there_and_have_such_inputs():
    for name in operators._PLAIN:
        assert op_def_registry.get(name), name
    for name, numbers in operators._PLAIN_WHEN_SIZED.items():
        known = op_def_registry.get(name)
        assert known, name
        assert max(numbers) < len(known.input_arg), name
    for name in operators._SIZED_BY_SHAPES:
        assert op_def_registry.get(name), name
        assert name not in operators._PLAIN, name
