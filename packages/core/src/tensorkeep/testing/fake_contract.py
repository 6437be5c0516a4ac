"""What the fake backend is held to, wherever its hooks are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.contract import BackendContract
from tensorkeep.testing.examples import ModelExample, ScriptExample
from tensorkeep.testing.fake_backend import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Sequence


def floats(*rows: Sequence[float]) -> Tensor:
    """Returns rows of floats as a tensor."""
    return Tensor.from_numpy(np.array(rows, np.float32))


PAIR: Final = floats([1, 2], [3, 4])
DOUBLED: Final = floats([2, 4], [6, 8])
TWO: Final = Tensor.from_values(DType.INT64, (), [2])


class FakeContract(BackendContract):
    """The contract of backends with the models and scripts of the fake one."""

    plugin = FakeBackend()
    name = "FAKE"
    scalars = True
    zero_rows = True

    def examples(self) -> Sequence[ModelExample]:
        """See `BackendContract`."""
        return [
            ModelExample(b'{"op": "multiply", "by": 2}', (PAIR,), (DOUBLED,), batches=True),
            ModelExample(b'{"op": "add"}', (PAIR, DOUBLED), (floats([3, 6], [9, 12]),)),
            ModelExample(b'{"op": "none_output"}', (PAIR,), (None,), batches=True, refuses=None),
            ModelExample(b'{"op": "identity", "inputs": 0, "axis": "no inputs"}'),
            ModelExample(b'{"op": "multiply", "by": 1, "axis": "no axes"}', (TWO,), (TWO,)),
        ]

    def identity(self, dtype: DType, rank: int) -> ModelExample:  # noqa: ARG002 - any will do
        """See `BackendContract`."""
        return ModelExample(b'{"op": "identity"}')

    def long_run(self) -> ModelExample:
        """See `BackendContract`."""
        return ModelExample(b'{"op": "sleep", "seconds": 20}', (PAIR,))

    def script_examples(self) -> Sequence[ScriptExample]:
        """See `BackendContract`."""
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

    def long_script(self) -> ScriptExample:
        """See `BackendContract`."""
        return ScriptExample(b"block", "block", (PAIR,), (PAIR,))
