"""DLPack in and out for arrays whose type NumPy's own DLPack support lacks.

NumPy exchanges every type of ours but BFLOAT16. A bfloat16 array travels as its uint16 view with
the type code in the capsule rewritten; nothing is copied. This module touches capsules and knows
nothing of tensors.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Offsets of DLDataType.code from the start of DLManagedTensor and DLManagedTensorVersioned
# (dlpack.h 1.0): in DLTensor it follows `void* data`, `DLDevice` and `int32_t ndim`; the
# versioned struct puts version, context, deleter and flags before its DLTensor.
_CODE_IN_TENSOR = 20
_CODE_OFFSETS = {b"dltensor": _CODE_IN_TENSOR, b"dltensor_versioned": 32 + _CODE_IN_TENSOR}
_UINT, _BFLOAT = 1, 4

CPU_DEVICE = (1, 0)
_HOST_DEVICE_TYPES = frozenset({1, 3})  # kDLCPU and kDLCUDAHost (pinned memory)
_VERSIONED = (1, 0)

_get_name = ctypes.pythonapi.PyCapsule_GetName
_get_name.restype, _get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class SupportsDLPack(Protocol):
    """An array of any framework that can be exchanged through DLPack."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401 - the protocol's own

    def __dlpack_device__(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class _Capsule:
    """Hands a capsule that is already at hand to a consumer that wants to ask for one."""

    capsule: Any

    def __dlpack__(self, **_: object) -> Any:  # noqa: ANN401 - a PyCapsule has no type of its own
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU_DEVICE


def _type_code(capsule: object) -> ctypes.c_uint8:
    name = _get_name(capsule)
    return ctypes.c_uint8.from_address(_get_pointer(capsule, name) + _CODE_OFFSETS[name])


def to_capsule(array: NDArray[Any], max_version: tuple[int, int] | None) -> object:
    """Exports a C-contiguous array.

    Args:
        array: The array; bfloat16 is allowed.
        max_version: The newest DLPack version that the consumer reads, None for the oldest form.
            That form cannot say "read-only", so a consumer that knows no other gets a copy.
    """
    versioned = max_version is not None and max_version >= _VERSIONED
    if not versioned and not array.flags.writeable:
        array = array.copy()
    keywords: dict[str, Any] = {"max_version": max_version} if versioned else {}
    if array.dtype != ml_dtypes.bfloat16:
        return array.__dlpack__(**keywords)
    capsule = array.view(np.uint16).__dlpack__(**keywords)
    _type_code(capsule).value = _BFLOAT
    return capsule


def to_array(source: SupportsDLPack) -> NDArray[Any]:
    """Imports an array of another framework without copying it.

    Args:
        source: An array in host memory.

    Raises:
        BufferError: The array is not in host memory, or its type cannot be exchanged.
    """
    kind, _ = source.__dlpack_device__()
    if kind not in _HOST_DEVICE_TYPES:
        msg = f"the array must be in host memory, not on a DLPack device of type {kind}"
        raise BufferError(msg)
    try:
        capsule = source.__dlpack__(max_version=_VERSIONED)
    except TypeError:  # a producer older than DLPack 1.0 does not know the argument
        capsule = source.__dlpack__()
    code = _type_code(capsule)
    if code.value != _BFLOAT:
        return np.from_dlpack(_Capsule(capsule))
    code.value = _UINT
    return np.from_dlpack(_Capsule(capsule)).view(ml_dtypes.bfloat16)
