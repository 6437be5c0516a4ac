"""Tensorkeep: an in-memory tensor store and model runner with pluggable backends.

What is named here is public; the modules behind it may be rearranged.
"""

from tensorkeep.batching import Batching
from tensorkeep.config import BackendOptions, EngineConfig
from tensorkeep.device import Device
from tensorkeep.errors import TensorkeepError
from tensorkeep.inprocess import Tensorkeep
from tensorkeep.tensor import DType, Tensor

__all__ = [
    "BackendOptions",
    "Batching",
    "DType",
    "Device",
    "EngineConfig",
    "Tensor",
    "Tensorkeep",
    "TensorkeepError",
]
