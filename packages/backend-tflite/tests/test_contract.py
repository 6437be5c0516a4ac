"""The conformance suite on TFLITE."""

from pathlib import Path

import numpy as np
import pytest

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import BackendContract, ModelExample
from tensorkeep_tflite import plugin


class TestContract(BackendContract):
    plugin = plugin
    name = "TFLITE"
    damaging = Path(__file__).with_name("damaging.py")
    scalars = True

    @pytest.fixture(autouse=True)
    def _take_graphs(self, graphs):
        self.graphs = graphs

    def examples(self):
        graphs = self.graphs
        row = Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 4])
        more = Tensor.from_values(DType.FLOAT, (2, 2), [10, 20, 30, 40])
        product = graphs.new()
        for name in "xbpy":
            product.tensor(name, [1, 2])
        product.constant("w", [[1, 3], [2, 5]])
        product.operator("FULLY_CONNECTED", ["x", "w", None], ["p"], kind="FullyConnectedOptions")
        product.operator("ADD", ["p", "b"], ["y"], kind="AddOptions")
        quantised = graphs.unary("RELU", (1, 2), DType.INT8)
        for name in "xy":
            quantised[name].quantization = graphs.new().tensor("s", scale=0.5)["s"].quantization
        words = Tensor.from_values(DType.STRING, (2, 1), ["one", "zwö"])
        return [
            ModelExample(
                product.ends(["x", "b"], ["y", "p"]).blob,
                (row, more),
                (
                    Tensor.from_values(DType.FLOAT, (2, 2), [17, 32, 45, 66]),
                    Tensor.from_values(DType.FLOAT, (2, 2), [7, 12, 15, 26]),
                ),
                batches=True,
            ),
            ModelExample(
                quantised.blob,
                (Tensor.from_numpy(np.array([[-128, 3], [-1, 127]], np.int8)),),
                (Tensor.from_numpy(np.array([[0, 3], [0, 127]], np.int8)),),
                batches=True,
                refuses=DType.FLOAT,
            ),
            ModelExample(
                graphs.identity(DType.STRING).blob,
                (words,),
                (words,),
                batches=True,
                refuses=DType.FLOAT,
            ),
            ModelExample(
                graphs.new().constant("w", [1, 2]).ends([], ["w"]).blob,
                (),
                (Tensor.from_values(DType.FLOAT, (2,), [1, 2]),),
            ),
        ]

    def identity(self, dtype, rank):
        return ModelExample(self.graphs.identity(dtype, [1] * rank).blob)


class TestIsolated(TestContract):
    """The same in a worker outside this process."""

    isolated = True
