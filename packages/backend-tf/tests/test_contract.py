"""The conformance suite on TF."""

from pathlib import Path

import numpy as np
import pytest

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import BackendContract, ModelExample
from tensorkeep_tf import plugin
from tensorkeep_tf.framework import tf


class TestContract(BackendContract):
    plugin = plugin
    name = "TF"
    damaging = Path(__file__).with_name("damaging.py")
    damages = 60  # TensorFlow takes its time
    scalars = True
    zero_rows = True

    @pytest.fixture(autouse=True)
    def _take_graphs(self, graphs, saved, pack):
        self.graphs = graphs
        self.saved = saved
        self.pack = pack

    def examples(self):
        graphs = self.graphs

        def product():
            p = tf.matmul(graphs.given(shape=[None, 2]), tf.constant([[1.0, 2], [3, 5]]), name="p")
            tf.add(p, graphs.given("b", shape=[None, 2]), name="y")

        row = Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 4])
        words = Tensor.from_values(DType.STRING, (2, 1), ["one", "zwö"])
        narrow = Tensor.from_values(DType.BFLOAT16, (2, 1), [1.5, -2])
        return [
            ModelExample(
                graphs.graph(product),
                (row, Tensor.from_values(DType.FLOAT, (2, 2), [10, 20, 30, 40])),
                (
                    Tensor.from_values(DType.FLOAT, (2, 2), [17, 32, 45, 66]),
                    Tensor.from_values(DType.FLOAT, (2, 2), [7, 12, 15, 26]),
                ),
                input_names=("x", "b"),
                output_names=("y", "p"),
                batches=True,
            ),
            ModelExample(
                graphs.identity("string"),
                (words,),
                (words,),
                input_names=("x",),
                output_names=("y",),
                batches=True,
                refuses=DType.FLOAT,
            ),
            ModelExample(
                graphs.graph(lambda: tf.cast(graphs.given(), tf.bfloat16, name="y")),
                (Tensor.from_numpy(narrow.numpy().astype(np.float32)),),
                (narrow,),
                input_names=("x",),
                output_names=("y",),
                batches=True,
            ),
            ModelExample(
                graphs.graph(lambda: tf.constant([1.0, 2], name="y")),
                (),
                (Tensor.from_values(DType.FLOAT, (2,), [1, 2]),),
                output_names=("y",),
            ),
            ModelExample(
                self.pack(self.saved()),
                (Tensor.from_values(DType.FLOAT, (3,), [1, 2, 3]),),
                (Tensor.from_values(DType.FLOAT, (3,), [3, 5, 7]),),
                batches=True,
            ),
        ]

    def identity(self, dtype, rank):
        name = {DType.FLOAT: "float32", DType.DOUBLE: "float64"}.get(dtype, dtype.name.lower())
        return ModelExample(self.graphs.identity(name), input_names=("x",), output_names=("y",))

    def long_run(self):
        one = Tensor.from_values(DType.FLOAT, (1,), [1])
        return ModelExample(self.graphs.endless(), (one,), input_names=("x",), output_names=("y",))


class TestIsolated(TestContract):
    """The same in a worker outside this process."""

    isolated = True
