"""The hooks of the ONNX backend; see `tensorkeep.hookspecs` for what each must do.

There is no `serialize`, because the stored blob is the model, and no `model_free`, because a
session ends when the last run that holds it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorkeep_onnx.ahead  # noqa: F401 - what it loads is there when the next is imported

# isort: split

import onnxruntime

from tensorkeep.device import CPU
from tensorkeep.hookspecs import BackendInfo, hookimpl
from tensorkeep_onnx.devices import run_tiny_model, usable_devices
from tensorkeep_onnx.model import create_model, run_model, weights_in_use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import DeviceInfo, RunContext
    from tensorkeep.model import LoadedModel, ModelSpec
    from tensorkeep.tensor import Tensor


@hookimpl
def backend_info() -> BackendInfo:
    """Names the contract's version and ONNX Runtime's."""
    return BackendInfo(
        api_version=1,
        framework="ONNX Runtime",
        framework_version=onnxruntime.__version__,
        limits_runs=True,
    )


@hookimpl
def devices() -> Sequence[DeviceInfo]:
    """Returns the CPU, and the GPUs on which a model has run."""
    return usable_devices()


@hookimpl
def self_check() -> None:
    """Runs something tiny on the CPU."""
    run_tiny_model(CPU)


@hookimpl
def model_create(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds a session; names come from the model, whatever the specification says."""
    return create_model(blob, spec.device, options)


@hookimpl
def model_run(
    model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
) -> Sequence[Tensor | None]:
    """Runs a session."""
    return run_model(model, inputs, run)


@hookimpl
def backend_stats() -> Mapping[str, int]:
    """Returns what the runtime's interface for Python lets one know.

    `memory` is the bytes of weights of all models held for the CPU, as they lie in the stored
    models. The runtime tells of its allocators only to programs in C: what it packs anew for its
    kernels, what runs take while they last, and how often it allocates cannot be had.
    """
    return {"memory": weights_in_use()}
