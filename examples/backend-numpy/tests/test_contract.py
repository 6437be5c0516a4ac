"""Both backends of this distribution, held to the contract."""

from pathlib import Path

import numpy as np
from tensorkeep_backend_numpy import hello
from tensorkeep_backend_numpy import plugin as numpy_plugin
from tensorkeep_backend_numpy.layers import Dense, save

from tensorkeep import Tensor
from tensorkeep.testing import BackendContract, ModelExample


def floats(*rows):
    return Tensor.from_numpy(np.array(rows, np.float32))


# begin hello
class TestHello(BackendContract):
    plugin = hello
    name = "HELLO"

    def examples(self):
        x = floats([1, 2], [3, 4])
        return [ModelExample(b"hello", inputs=(x,), outputs=(x,), refuses=None)]

    # end hello

    scalars = True

    def identity(self, dtype, rank):
        return ModelExample(b"hello")


# begin numpy
class TestNumpy(BackendContract):
    plugin = numpy_plugin
    name = "NUMPY"
    damaging = Path(__file__).with_name("damaging.py")
    zero_rows = True

    def examples(self):
        relu = Dense(np.array([[1, -1], [0, 2]], np.float32), np.ones(2, np.float32), "relu")
        softmax = Dense(np.array([[1], [1]], np.float32), np.ones(1, np.float32), "softmax")
        x = floats([3, 4], [-2, 0.5])
        return [
            ModelExample(save([relu]), (x,), (floats([4, 6], [0, 4]),), batches=True),
            ModelExample(save([relu, softmax]), (x,), (floats([1], [1]),), batches=True),
        ]


# end numpy


# begin isolated
class TestNumpyIsolated(TestNumpy):
    isolated = True


# end isolated
