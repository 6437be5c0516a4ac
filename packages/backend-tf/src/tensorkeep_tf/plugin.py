"""The hooks of the TF backend; see `tensorkeep.hookspecs` for what each must do.

There is no `serialize`, because the stored blob is the model, and no `model_free`, because a
session ends when the last run that holds it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.device import CPU
from tensorkeep.hookspecs import BackendInfo, hookimpl
from tensorkeep_tf.devices import run_tiny_graph, usable_devices
from tensorkeep_tf.framework import tf
from tensorkeep_tf.model import create_model, run_model, weights_in_use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import DeviceInfo, RunContext
    from tensorkeep.model import LoadedModel, ModelSpec
    from tensorkeep.tensor import Tensor


@hookimpl
def backend_info() -> BackendInfo:
    """Names the contract's version and TensorFlow's.

    Only GraphDefs need names, and say so themselves: a SavedModel brings its own.
    """
    return BackendInfo(
        api_version=1,
        framework="TensorFlow",
        framework_version=tf.__version__,
        signatures=True,
    )


@hookimpl
def devices() -> Sequence[DeviceInfo]:
    """Returns the CPU, and the GPUs on which a graph has run."""
    return usable_devices()


@hookimpl
def self_check() -> None:
    """Runs something tiny on the CPU."""
    run_tiny_graph(CPU)


@hookimpl
def model_create(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds a session from a GraphDef and names, or from a SavedModel in a zip archive."""
    return create_model(spec, blob, options)


@hookimpl
def model_run(
    model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
) -> Sequence[Tensor | None]:
    """Runs a session."""
    return run_model(model, inputs, run)


@hookimpl
def backend_stats() -> Mapping[str, int]:
    """Returns what TensorFlow lets one know.

    `memory` is the bytes of weights of all models held for the CPU, as they lie in the stored
    models. What TensorFlow makes of them, and what runs take while they last, it does not tell.
    """
    return {"memory": weights_in_use()}
