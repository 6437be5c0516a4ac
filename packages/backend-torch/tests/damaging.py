"""Damages models at random and uses what is left of them; the suite runs it as a process."""

import torch
from conftest import Archives

from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import ModelExample
from tensorkeep.testing.damage import (
    damage_and_use,
    damaged_archive,
    damaged_bytes,
    damaged_text,
)
from tensorkeep_torch import plugin

COUNTING = """
def forward(self, x):
    parts: List[Tensor] = []
    for turn in range(3):
        parts.append(x[turn:, :])
    y = torch.cat(parts, 0)
    if bool(y.sum() > 100):
        y = torch.reshape(y, [-1, 2])
    return torch.matmul(y, self.w), y.sum()
"""


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 2, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(2)
        self.last = torch.nn.Linear(8, 3)

    def forward(self, x):
        y = torch.nn.functional.max_pool2d(self.norm(self.convolution(x)).relu(), 2)
        return self.last(y.flatten(1)).softmax(1)


def examples():
    """Gives one model of each kind that is easily damaged."""
    archives = Archives()
    torch.manual_seed(1)
    picture = torch.ones(1, 1, 4, 4)
    given = (Tensor.from_numpy(picture.numpy()),)
    numbers = Tensor.from_values(DType.FLOAT, (4, 2), range(8))
    network = Network().eval()
    yield ModelExample(archives.saved(network), given)
    yield ModelExample(archives.saved(network, (picture,)), given)
    yield ModelExample(archives.scripted(COUNTING, w=torch.ones(2, 2)), (numbers,))
    yield ModelExample(archives.exported(network, (picture,)), given)


def damaged(blob, draw):
    if draw.random() < 0.1:
        return damaged_bytes(blob, draw)
    return damaged_archive(blob, draw, damaged_member)


def damaged_member(name, content, draw):
    if name.endswith((".py", ".json")):
        return damaged_text(content.decode(), draw).encode()
    return damaged_bytes(content, draw)


if __name__ == "__main__":
    damage_and_use(plugin, "TORCH", examples(), damaged)
