"""The hooks of the TFLITE backend; see `tensorkeep.hookspecs` for what each must do.

There is no `serialize`, because the stored blob is the model, and no `model_free`, because an
interpreter ends when the last run that holds it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.hookspecs import BackendInfo, hookimpl
from tensorkeep_tflite.devices import run_tiny_model, usable_devices
from tensorkeep_tflite.framework import VERSION
from tensorkeep_tflite.model import create_model, run_model, weights_in_use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import DeviceInfo, RunContext
    from tensorkeep.model import LoadedModel, ModelSpec
    from tensorkeep.tensor import Tensor


@hookimpl
def backend_info() -> BackendInfo:
    """Names the contract's version and LiteRT's."""
    return BackendInfo(
        api_version=1, framework="LiteRT", framework_version=VERSION, signatures=True
    )


@hookimpl
def devices() -> Sequence[DeviceInfo]:
    """Returns the CPU."""
    return usable_devices()


@hookimpl
def self_check() -> None:
    """Runs something tiny: what imports beside this NumPy need not work."""
    run_tiny_model()


@hookimpl
def model_create(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds an interpreter; names come from the model, whatever the specification says."""
    return create_model(spec, blob, options)


@hookimpl
def model_run(
    model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
) -> Sequence[Tensor | None]:
    """Runs an interpreter."""
    return run_model(model, inputs, run)


@hookimpl
def backend_stats() -> Mapping[str, int]:
    """Returns what can be known of the memory in use.

    `memory` is the bytes of weights of all models held, as they lie in the stored models, once
    for each interpreter. LiteRT does not tell programs in Python what it packs anew for its
    kernels, nor how large its arena for tensors is.
    """
    return {"memory": weights_in_use()}
