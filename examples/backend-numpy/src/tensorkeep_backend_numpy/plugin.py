"""The backend NUMPY: what Tensorkeep calls, in terms of what the framework offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorkeep.batch_axis import KNOWN
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, RunContext, hookimpl
from tensorkeep.model import LoadedModel, ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_backend_numpy.layers import Dense, load, save

if TYPE_CHECKING:
    from collections.abc import Sequence


@hookimpl
def backend_info() -> BackendInfo:
    """Says what this is."""
    return BackendInfo(api_version=1, framework="NumPy", framework_version=np.__version__)


@hookimpl
def devices() -> Sequence[DeviceInfo]:
    """Says where models can run, and on which types of elements."""
    return [DeviceInfo("CPU", None, "this computer", None, frozenset({DType.FLOAT}))]


@hookimpl
def self_check() -> None:
    """Runs the smallest model, so that a broken NumPy is noticed before a user's model fails."""
    layer = Dense(np.eye(1, dtype=np.float32), np.zeros(1, np.float32), "relu")
    model = model_create(ModelSpec("NUMPY"), save([layer]), BackendOptions())
    one = Tensor.from_values(DType.FLOAT, (1, 1), [1])
    if model_run(model, [one], RunContext(CPU)) != [one]:
        raise RuntimeError("NumPy cannot multiply")


@hookimpl
def model_create(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds a model from the bytes that a user stored."""
    del spec, options  # NumPy has one device, and takes its threads from the environment
    # a run takes as long for any values: a short one may stay off the worker threads;
    # and no row depends on another: requests may share one
    return LoadedModel(
        native=load(blob), inputs=("x",), outputs=("y",), steady=True, batch_axis=KNOWN
    )


@hookimpl
def model_run(model: LoadedModel, inputs: Sequence[Tensor], run: RunContext) -> Sequence[Tensor]:
    """Runs a model on one row or more."""
    layers: list[Dense] = model.native
    columns = layers[0].weights.shape[0]
    if len(inputs) != 1:
        raise ValueError(f"the model takes one input, not {len(inputs)}")
    (x,) = inputs
    if x.dtype is not DType.FLOAT or len(x.shape) != 2 or x.shape[1] != columns:
        raise ValueError(f"the input must be FLOAT of shape [rows, {columns}], not {x}")
    rows = x.numpy()  # shares the tensor's memory, and cannot be written to
    with np.errstate(all="ignore"):  # a user's NaN is no reason to warn in the server's log
        for layer in layers:
            if run.cancelled:
                raise RuntimeError("the run was cancelled")
            rows = layer(rows)
    return [Tensor.from_numpy(rows)]  # shares the memory again: the array is ours, and new
