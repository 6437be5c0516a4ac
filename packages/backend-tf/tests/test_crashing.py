"""Models with which TensorFlow 2.21 ends its process cost an error each, and nothing else.

TensorFlow takes what a graph says of itself for granted, most of all while it simplifies it.
"""

import numpy as np
import pytest

from tensorkeep.errors import WorkerDied
from tensorkeep.tensor import Tensor
from tensorkeep.testing.isolated_plugin import isolated_plugin
from tensorkeep.testing.subject import Subject
from tensorkeep_tf.framework import tf

TWO = np.ones(2, np.float32)


# What ends the process, as a graph and an input of it.
def constant_of_another_type(graphs):
    graph = graphs.define(lambda: tf.add(tf.multiply(graphs.given(), 1.0), [2.0, 3.0], name="y"))
    (node,) = [each for each in graph.node if each.name == "y/y"]
    node.attr["value"].tensor.dtype = tf.int32.as_datatype_enum
    return graph.SerializeToString(), TWO


def billions_of_turns_side_by_side(graphs):
    graph = graphs.parse(graphs.endless(functional=True))
    (loop,) = [each for each in graph.node if "While" in each.op]
    loop.attr["parallel_iterations"].i = 2**32 - 1
    return graph.SerializeToString(), TWO


def channels_of_a_scalar(graphs):
    quantise = tf.raw_ops.FakeQuantWithMinMaxVarsPerChannel
    blob = graphs.graph(lambda: quantise(inputs=graphs.given(), min=[0.0], max=[1.0], name="y"))
    return blob, np.array(1, np.float32)


def array_of_billions_of_elements(graphs):
    def make():
        array = tf.raw_ops.TensorArrayV3(size=graphs.given(dtype="int32"), dtype=tf.float32)
        tf.raw_ops.TensorArrayReadV3(
            handle=array.handle, index=0, flow_in=0.0, dtype=tf.float32, name="y"
        )

    return graphs.graph(make), np.array(2**31 - 1, np.int32)


@pytest.mark.parametrize(
    "make",
    [
        constant_of_another_type,
        billions_of_turns_side_by_side,
        channels_of_a_scalar,
        array_of_billions_of_elements,
    ],
)
def test_a_model_that_ends_its_worker_costs_one_error(graphs, make):
    subject = Subject(isolated_plugin("TF"), "TF", "CPU")

    def use(blob, given):
        with subject.loaded(blob, ("x",), ("y",)) as model:
            return subject.run(model, [Tensor.from_numpy(given)])

    with pytest.raises(WorkerDied):
        use(*make(graphs))

    assert use(graphs.identity(op=tf.negative), TWO)[0].values() == [-1, -1]
