"""The conformance suite on ONNX."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import BackendContract, ModelExample
from tensorkeep_onnx import plugin


class TestContract(BackendContract):
    plugin = plugin
    name = "ONNX"
    damaging = Path(__file__).with_name("damaging.py")
    scalars = True
    zero_rows = True

    @pytest.fixture(autouse=True)
    def _take_graphs(self, graphs):
        self.graphs = graphs

    def examples(self):
        graphs = self.graphs
        row = Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 4])
        weights = graphs.constant("w", [[1, 2], [3, 5]])
        product = graphs.model(
            [graphs.node("MatMul", ["x", "w"], ["p"]), graphs.node("Add", ["p", "b"], ["y"])],
            [graphs.value("x", "float", ["n", 2]), graphs.value("b", "float", ["n", 2])],
            [graphs.value("y"), graphs.value("p")],
            [weights],
        )
        words = Tensor.from_values(DType.STRING, (2, 1), ["one", "zwö"])
        narrow = Tensor.from_values(DType.BFLOAT16, (2, 1), [1.5, -2])
        cast = graphs.node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
        listed = graphs.node("SequenceConstruct", ["x"], ["list"])
        return [
            ModelExample(
                product,
                (row, Tensor.from_values(DType.FLOAT, (2, 2), [10, 20, 30, 40])),
                (
                    Tensor.from_values(DType.FLOAT, (2, 2), [17, 32, 45, 66]),
                    Tensor.from_values(DType.FLOAT, (2, 2), [7, 12, 15, 26]),
                ),
                batches=True,
            ),
            ModelExample(
                graphs.identity("string"), (words,), (words,), batches=True, refuses=DType.FLOAT
            ),
            ModelExample(
                graphs.model(
                    [cast, listed],
                    [graphs.value("x")],
                    [graphs.value("y", "bfloat16"), graphs.sequence("list")],
                ),
                (Tensor.from_numpy(narrow.numpy().astype(np.float32)),),
                (narrow, None),
                batches=True,
            ),
            ModelExample(
                graphs.model([], [], [graphs.value("w")], [weights]),
                (),
                (Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 5]),),
            ),
        ]

    def identity(self, dtype, rank):
        return ModelExample(self.graphs.identity(dtype.name, ["n", "m"] if rank else []))

    def long_run(self):
        return ModelExample(self.graphs.endless(), (Tensor.from_values(DType.FLOAT, (1,), [1]),))


class TestIsolated(TestContract):
    """The same in a worker outside this process."""

    isolated = True
