"""Operators beyond plain arithmetic: each gives what TensorFlow gives when called directly."""

import numpy as np
import pytest

from tensorkeep.errors import RunFailed
from tensorkeep_tf.framework import tf

v1 = tf.compat.v1


def summed(x):
    data = tf.data.Dataset.from_tensor_slices(x)
    data = data.map(lambda each: each * 2)
    return data.reduce(0.0, lambda so_far, each: so_far + each)


def queued(x):
    queue = v1.FIFOQueue(1, [tf.float32])
    with tf.control_dependencies([queue.enqueue(x)]):
        return queue.dequeue() * 3


def looked_up(x):
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, -1)
    numbers = tf.cast(x, tf.int64)
    with tf.control_dependencies([table.insert(numbers[:1], [7.0])]):
        return table.lookup(numbers)


def timed(x):
    with tf.control_dependencies([tf.raw_ops.Timestamp()]):
        return tf.identity(x)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (summed, [12]),
        (queued, [3, 6, 9]),
        (looked_up, [7, -1, -1]),
        (timed, [1, 2, 3]),
        (lambda x: tf.map_fn(lambda each: each * each, x), [1, 4, 9]),
        (lambda x: tf.cond(x[0] > 0, lambda: -x, lambda: x), [-1, -2, -3]),
        (tf.function(lambda x: x * 2 + 1, jit_compile=True), [3, 5, 7]),
        (lambda x: tf.reduce_sum(tf.RaggedTensor.from_row_splits(x, [0, 2, 3]), 1), [3, 3]),
        (tf.nondifferentiable_batch_function(1, 3, 10)(tf.negative), [-1, -2, -3]),
        (lambda x: tf.while_loop(lambda y: y[0] < 9, lambda y: [y * 2], [x])[0], [16, 32, 48]),
        (lambda x: tf.scan(lambda so_far, each: so_far + each, x), [1, 3, 6]),
    ],
)
def test_a_model_may_have_it(graphs, load, run, make, expected):
    blob = graphs.graph(lambda: tf.identity(make(graphs.given(shape=[3])), name="y"))

    assert run(load(blob), [1, 2, 3])[0].values() == expected


def test_words_of_different_numbers_are_counted(graphs, load, run, strings):
    def make():
        words = tf.strings.split(graphs.given(dtype="string", shape=[None]))
        tf.identity(words.row_lengths(), name="y")

    assert run(load(graphs.graph(make)), strings(["a b c", "d"]))[0].values() == [3, 1]


def test_what_is_printed_does_not_change_a_run(graphs, load, run, capfd):
    blob = graphs.graph(lambda: v1.Print(graphs.given(), ["said"], name="y"))

    assert run(load(blob), [5])[0].values() == [5]
    assert "said" in capfd.readouterr().err


def test_a_function_of_python_is_not_in_the_model(graphs, load, run):
    blob = graphs.graph(
        lambda: v1.numpy_function(np.negative, [graphs.given()], tf.float32, name="y")
    )
    blob = blob.replace(b"pyfunc_", b"absent_")

    with pytest.raises(RunFailed, match="absent_"):
        run(load(blob), [1])
