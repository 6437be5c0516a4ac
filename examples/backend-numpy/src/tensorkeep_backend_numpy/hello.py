"""The smallest backend: its one model is the word hello, and returns its input."""

from collections.abc import Sequence

from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor


@hookimpl
def backend_info() -> BackendInfo:
    """Says what this is."""
    return BackendInfo(api_version=1, framework="hello", framework_version="1.0")


@hookimpl
def devices() -> Sequence[DeviceInfo]:
    """Says where models can run, and on which types of elements."""
    return [DeviceInfo("CPU", None, "this computer", None, frozenset(DType))]


@hookimpl
def model_create(blob: bytes) -> LoadedModel:
    """Builds a model from the bytes that a user stored."""
    if blob != b"hello":
        raise ValueError("the only model is the word hello")
    return LoadedModel(native=None, inputs=("x",), outputs=("y",))


@hookimpl
def model_run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Runs a model."""
    (x,) = inputs
    return [x]
