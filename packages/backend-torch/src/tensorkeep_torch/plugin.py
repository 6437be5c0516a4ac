"""The hooks of the TORCH backend; see `tensorkeep.hookspecs` for what each must do.

There is no `serialize`, because the stored blob is the model, and nothing to do when a model or
script is freed, because it ends with the last run that holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorkeep_torch.ahead  # noqa: F401 - what it loads is there when the next is imported

# isort: split

import torch

from tensorkeep.hookspecs import BackendInfo, hookimpl
from tensorkeep_torch.devices import run_something_tiny, usable_devices
from tensorkeep_torch.model import create_model, run_model, weights_in_use
from tensorkeep_torch.script import TorchScript, create_script, run_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import DeviceInfo, RunContext, ScriptCall
    from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec
    from tensorkeep.tensor import Tensor


@hookimpl
def backend_info() -> BackendInfo:
    """Names the contract's version and torch's."""
    return BackendInfo(
        api_version=1,
        framework="PyTorch",
        framework_version=str(torch.__version__),  # of a class of torch
        scripts=True,
    )


@hookimpl
def devices() -> Sequence[DeviceInfo]:
    """Returns the CPU, and the GPUs on which something has run."""
    return usable_devices()


@hookimpl
def self_check() -> None:
    """Compiles and runs something tiny on the CPU."""
    run_something_tiny(torch.device("cpu"))


@hookimpl
def model_create(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds a model; names come from the archive, whatever the specification says."""
    return create_model(blob, spec.device, options)


@hookimpl
def model_run(
    model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
) -> Sequence[Tensor | None]:
    """Runs a model."""
    return run_model(model, inputs, run)


@hookimpl
def backend_stats() -> Mapping[str, int]:
    """Returns the bytes of weights of all models held for the CPU."""
    return {"memory": weights_in_use()}


@hookimpl
def script_create(spec: ScriptSpec, source: bytes, options: BackendOptions) -> object:
    """Compiles a script."""
    return create_script(spec, source, options)


@hookimpl
def script_run(script: object, call: ScriptCall, run: RunContext) -> Sequence[Tensor]:
    """Calls a function of a script."""
    if not isinstance(script, TorchScript):
        raise TypeError(f"script must be what script_create returned, not {script!r}")
    return run_script(script, call, run)


@hookimpl
def script_free(script: object) -> None:
    """Does nothing: a compiled script ends with its last reference."""
