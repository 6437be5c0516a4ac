"""Stores a model of two layers and runs it, in one process and without a server.

Given a path, it writes the model there, for a server.
"""

import sys
from pathlib import Path

import numpy as np
from tensorkeep_backend_numpy.layers import Dense, save

from tensorkeep import Tensorkeep

hidden = Dense(np.array([[1, -1], [0, 2]], np.float32), np.zeros(2, np.float32), "relu")
chances = Dense(np.array([[1, 0], [0, 1]], np.float32), np.zeros(2, np.float32), "softmax")
model = save([hidden, chances])

with Tensorkeep() as keep:
    keep.model_store("m", model, backend="NUMPY")
    keep.tensor_set("x", np.array([[3, 4]], np.float32))
    keep.model_execute("m", inputs=["x"], outputs=["y"])
    y = keep.tensor_get("y")
    print(y, y.values())

for path in sys.argv[1:2]:
    Path(path).write_bytes(model)
