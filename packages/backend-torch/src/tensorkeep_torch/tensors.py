"""Tensors to torch's, and what torch returns to tensors.

Inputs share their memory through DLPack unless the model may write to it. Outputs share theirs
when they are large and nobody else has it: not an input, not the model's weights, not another
output. Small ones are copied, which costs less than finding that out.
"""

from __future__ import annotations

from typing import Final

import torch

from tensorkeep.errors import RunFailed
from tensorkeep.tensor import DType, Tensor
from tensorkeep_torch.internals import from_dlpack, owners_of
from tensorkeep_torch.messages import STRINGS, of_output

_SMALL: Final = 16 * 1024  # bytes; up to here a tensor keeps its elements as bytes anyway
_DLPACK: Final = (1, 0)  # the first version that can say "read-only"
DTYPES: Final[dict[torch.dtype, DType]] = {
    torch.float16: DType.FLOAT16,
    torch.bfloat16: DType.BFLOAT16,
    torch.float32: DType.FLOAT,
    torch.float64: DType.DOUBLE,
    torch.int8: DType.INT8,
    torch.int16: DType.INT16,
    torch.int32: DType.INT32,
    torch.int64: DType.INT64,
    torch.uint8: DType.UINT8,
    torch.uint16: DType.UINT16,
    torch.uint32: DType.UINT32,
    torch.uint64: DType.UINT64,
    torch.bool: DType.BOOL,
}


def to_torch(tensor: Tensor, device: torch.device | None, *, copy: bool) -> torch.Tensor:
    """Returns a tensor as torch's.

    Args:
        tensor: A tensor of any type but STRING.
        device: Where it is to be; None leaves it where it is, in host memory.
        copy: Whether it may be written to.

    Raises:
        RunFailed: It is a STRING tensor.
    """
    if tensor.dtype is DType.STRING:
        raise RunFailed(STRINGS)
    # NumPy's own export, where it has one: a third of the time.
    source = tensor if tensor.dtype is DType.BFLOAT16 else tensor.numpy()
    taken = from_dlpack(source.__dlpack__(max_version=_DLPACK))
    if device is not None:
        return taken.to(device)
    return taken.clone() if copy else taken


def from_torch(value: torch.Tensor, given: list[torch.Tensor]) -> Tensor:
    """Returns a tensor of torch as a tensor that nobody else can write to.

    Args:
        value: What a model returned.
        given: The model's inputs.

    Raises:
        RunFailed: It is of a type that tensors do not have.
        Exception: torch's own: it has no elements in memory.
    """
    dtype = DTYPES.get(value.dtype)
    if dtype is None:
        raise RunFailed(of_output(value.dtype))
    shared = value.nbytes > _SMALL and value.is_cpu and not _is_owned(value, given)
    plain = value.view(torch.uint16) if dtype is DType.BFLOAT16 else value
    try:
        array = plain.numpy()
    except (TypeError, RuntimeError):  # on a GPU, a weight, a negative view: torch finds a way
        array = plain.numpy(force=True)
    if array.nbytes <= _SMALL:
        return Tensor.trusted(dtype, array.shape, array.tobytes())
    if shared:
        array = array.copy()
    return Tensor.from_numpy(array.view(dtype.numpy))


def _is_owned(value: torch.Tensor, given: list[torch.Tensor]) -> bool:
    """Returns whether nothing but a tensor itself keeps its memory, and it keeps no more."""
    return (
        owners_of(value) == _ALONE
        and value.untyped_storage().nbytes() == value.nbytes
        and not any(value is each for each in given)
    )


_ALONE: Final = owners_of(torch.empty(1))
