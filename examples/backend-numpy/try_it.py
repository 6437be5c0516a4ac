"""Stores a model of two layers and runs it, in one process and without a server."""

import numpy as np
from tensorkeep_backend_numpy.layers import Dense, save

from tensorkeep import Tensorkeep

hidden = Dense(np.array([[1, -1], [0, 2]], np.float32), np.zeros(2, np.float32), "relu")
chances = Dense(np.array([[1, 0], [0, 1]], np.float32), np.zeros(2, np.float32), "softmax")

with Tensorkeep() as keep:
    keep.model_store("m", save([hidden, chances]), backend="NUMPY")
    keep.tensor_set("x", np.array([[3, 4]], np.float32))
    keep.model_execute("m", inputs=["x"], outputs=["y"])
    y = keep.tensor_get("y")
    print(y, y.values())
