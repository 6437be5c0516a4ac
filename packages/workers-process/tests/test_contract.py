"""What stands in for a backend keeps to the contract of backends, as the backend itself does."""

import numpy as np
import pytest

from tensorkeep.isolation import WorkerOptions
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import BackendContract, ModelExample, ScriptExample
from tensorkeep_workers_process import start


def floats(*rows):
    return Tensor.from_numpy(np.array(rows, np.float32))


PAIR = floats([1, 2], [3, 4])
DOUBLED = floats([2, 4], [6, 8])
TWO = Tensor.from_values(DType.INT64, (), [2])


@pytest.fixture(scope="module", autouse=True)
def isolation():
    workers = start(WorkerOptions(), {"FAKE": "tensorkeep.testing.fake_backend:plugin"})
    TestFakeBackendInWorkers.plugin = workers.plugin("FAKE")
    yield
    workers.close()


class TestFakeBackendInWorkers(BackendContract):
    name = "FAKE"
    scalars = True
    zero_rows = True
    cancel_within = 1.0

    def examples(self):
        return [
            ModelExample(b'{"op": "multiply", "by": 2}', (PAIR,), (DOUBLED,), batches=True),
            ModelExample(b'{"op": "add"}', (PAIR, DOUBLED), (floats([3, 6], [9, 12]),)),
            ModelExample(b'{"op": "none_output"}', (PAIR,), (None,), batches=True, refuses=None),
            ModelExample(b'{"op": "identity", "inputs": 0, "axis": "no inputs"}'),
            ModelExample(b'{"op": "multiply", "by": 1, "axis": "no axes"}', (TWO,), (TWO,)),
        ]

    def identity(self, dtype, rank):
        return ModelExample(b'{"op": "identity"}')

    def long_run(self):
        return ModelExample(b'{"op": "sleep", "seconds": 20}', (PAIR,))

    def script_examples(self):
        return [
            ScriptExample(b"sum stack", "sum", (PAIR, PAIR), (DOUBLED,), entry_points=("sum",)),
            ScriptExample(
                b"execute",
                "execute",
                (),
                (Tensor.from_values(DType.STRING, (1,), [b"a value"]),),
                arguments=(b"GET", b"a key"),
                command=(b"GET", b"a key"),
                reply=b"a value",
            ),
            ScriptExample(b"run_model", "run_model", (PAIR,), (PAIR,), keys=(b"m",), model="m"),
        ]

    def long_script(self):
        return ScriptExample(b"block", "block", (PAIR,), (PAIR,))
