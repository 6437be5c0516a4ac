"""Damages models at random and uses what is left of them; the suite runs it as a process."""

import numpy as np
from tensorkeep_backend_numpy import plugin
from tensorkeep_backend_numpy.layers import Dense, save

from tensorkeep import Tensor
from tensorkeep.testing import ModelExample
from tensorkeep.testing.damage import damage_and_use, damaged_archive, damaged_bytes


def examples():
    ones = np.ones((2, 2), np.float32)
    x = Tensor.from_numpy(ones)
    return [ModelExample(save([Dense(ones, ones[0], "relu")]), (x,))]


def damaged(blob, draw):
    """An `.npz` file is an archive: damage one of its arrays, or the file itself."""
    if draw.random() < 0.2:
        return damaged_bytes(blob, draw)
    return damaged_archive(blob, draw, lambda _name, content, draw: damaged_bytes(content, draw))


if __name__ == "__main__":
    damage_and_use(plugin, "NUMPY", examples(), damaged)
