"""The conformance suite on torch: archives of TorchScript, of `torch.export`, and scripts.

In the test's own process, where what goes on for long cannot be ended, and in workers.
"""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import BackendContract, ModelExample, ScriptExample
from tensorkeep_torch import plugin
from tensorkeep_torch.tensors import DTYPES

ROW = Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 4])
TENS = Tensor.from_values(DType.FLOAT, (2, 2), [10, 20, 30, 40])
SUM = Tensor.from_values(DType.FLOAT, (2, 2), [11, 22, 33, 44])
WEIGHTS = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
PRODUCT = Tensor.from_values(DType.FLOAT, (2, 2), [7, 12, 15, 26])
PRODUCT_AND_TENS = Tensor.from_values(DType.FLOAT, (2, 2), [17, 32, 45, 66])

PRODUCT_SOURCE = """
def forward(self, x, b):
    p = torch.matmul(x, self.w)
    return p + b, p
"""
IN_PLACE_SOURCE = """
def forward(self, x):
    x.mul_(2)
    return x
"""
NARROW_SOURCE = """
def forward(self, x, y: Optional[Tensor]):
    narrow = x.to(torch.bfloat16)
    if bool(x.sum() > 1e30):
        return narrow, y
    return narrow, None
"""
OWN_SOURCE = """
def forward(self):
    return self.w
"""
ENDLESS_SOURCE = """
def forward(self, x):
    n = 0
    while n >= 0:
        n = (n + 1) % 1000
    return x + n
"""
SCRIPT = b"""
def helper(reply: Any):
    return torch.tensor(float(str(reply)))
def total(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] + tensors[1]
def both(a, b):
    a.add_(b)
    return a, b
def ask(tensors: List[Tensor], keys: List[str], args: List[str]):
    return helper(redis.execute("GET", keys[0], args[0]))
def run(tensors: List[Tensor], keys: List[str], args: List[str]):
    return redisAI.model_execute(keys[0], tensors, len(tensors))
def endless(tensors: List[Tensor], keys: List[str], args: List[str]):
    n = 0
    while True:  # torch leaves out a loop that changes nothing
        n = (n + 1) % 1000
    return torch.tensor(n)
"""
ENTRY_POINTS = ("total", "ask", "run", "endless")


class Product(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(WEIGHTS)

    def forward(self, x, b):
        p = x @ self.w
        return {"sum": p + b, "product": p}


class Itself(torch.nn.Module):
    def forward(self, x):
        return x


class TestTorchScript(BackendContract):
    plugin = plugin
    name = "TORCH"
    damaging = Path(__file__).with_name("damaging.py")
    damages = 100
    scalars = True
    zero_rows = True

    @pytest.fixture(autouse=True)
    def _take_archives(self, archives):
        self.archives = archives

    def examples(self):
        narrow = Tensor.from_numpy(np.array([[1.5], [-2]], ml_dtypes.bfloat16))
        wide = Tensor.from_numpy(narrow.numpy().astype(np.float32))
        scripted = self.archives.scripted
        return [
            ModelExample(
                scripted(PRODUCT_SOURCE, w=WEIGHTS),
                (ROW, TENS),
                (PRODUCT_AND_TENS, PRODUCT),
                batches=True,
            ),
            ModelExample(
                scripted(IN_PLACE_SOURCE),
                (ROW,),
                (Tensor.from_values(DType.FLOAT, (2, 2), [2, 4, 6, 8]),),
                batches=True,
            ),
            ModelExample(scripted(NARROW_SOURCE), (wide, wide), (narrow, None), batches=True),
            ModelExample(scripted(OWN_SOURCE, w=WEIGHTS), (), (Tensor.from_dlpack(WEIGHTS),)),
        ]

    def identity(self, dtype, rank):
        return ModelExample(self.archives.scripted("def forward(self, x):\n    return x\n"))

    def script_examples(self):
        number = Tensor.from_values(DType.FLOAT, (), [2.5])
        return [
            ScriptExample(SCRIPT, "total", (ROW, TENS), (SUM,), ENTRY_POINTS),
            ScriptExample(SCRIPT, "both", (ROW, TENS), (SUM, TENS), ENTRY_POINTS),
            ScriptExample(
                SCRIPT,
                "ask",
                (),
                (number,),
                ENTRY_POINTS,
                keys=(b"a key",),
                arguments=(b"an argument",),
                command=(b"GET", b"a key", b"an argument"),
                reply=b"2.5",
            ),
            ScriptExample(
                SCRIPT, "run", (ROW, TENS), (ROW, TENS), ENTRY_POINTS, keys=(b"m",), model="m"
            ),
        ]


class TestExport(TestTorchScript):
    def examples(self):
        rows = {0: torch.export.Dim("n", max=1000)}
        blob = self.archives.exported(
            Product(), (torch.zeros(3, 2), torch.zeros(3, 2)), (rows, rows)
        )
        return [
            ModelExample(
                blob, (ROW, TENS), (PRODUCT_AND_TENS, PRODUCT), batches=True, refuses=DType.DOUBLE
            )
        ]

    def identity(self, dtype, rank):
        torch_type = {ours: theirs for theirs, ours in DTYPES.items()}[dtype]
        given = torch.zeros([2, 3] if rank else [], dtype=torch_type)
        return ModelExample(self.archives.exported(Itself(), (given,)))


class TestIsolated(TestTorchScript):
    """The same in a worker outside this process, where what goes on for long can be ended."""

    isolated = True

    def long_run(self):
        return ModelExample(self.archives.scripted(ENDLESS_SOURCE), (ROW,))

    def long_script(self):
        return ScriptExample(SCRIPT, "endless", (), (), ENTRY_POINTS)


class TestExportIsolated(TestExport):
    """Programs of `torch.export` in such a worker."""

    isolated = True
