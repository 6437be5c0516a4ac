"""Tensors to what ONNX Runtime takes, and what it returns to tensors.

Numbers share their memory both ways: the runtime only reads its inputs, and what it returns is
a fresh copy that belongs to the array, not to the session. Strings are copied, as they must be.
BFLOAT16, which NumPy lacks, goes in as an `OrtValue` and comes out through DLPack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnxruntime import OrtValue

from tensorkeep.errors import InvalidTensor
from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

BY_NAME: Final = {dtype.name.lower(): dtype for dtype in DType}  # as ONNX Runtime writes them
_BFLOAT16: Final = 16  # onnx.TensorProto.BFLOAT16
_MOST_PADDED: Final = 64 * 2**20  # bytes


def to_feed(tensor: Tensor) -> NDArray[Any] | OrtValue:
    """Returns a tensor of any type in the form that `InferenceSession.run` takes."""
    if tensor.dtype is DType.STRING:
        return _string_array(tensor)
    if tensor.dtype is DType.BFLOAT16:
        return to_value(tensor)
    return tensor.numpy()


def to_value(tensor: Tensor) -> OrtValue:
    """Returns a tensor of numbers as an `OrtValue`, which relies on the tensor to live on."""
    array = tensor.numpy()
    if tensor.dtype is DType.BFLOAT16:
        return OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)
    return OrtValue.ortvalue_from_numpy(array)


def from_result(result: object) -> Tensor | None:
    """Returns what `InferenceSession.run` returned for an output; None when it is no tensor."""
    return Tensor.from_numpy(result) if isinstance(result, np.ndarray) else None


def from_value(value: Any) -> Tensor | None:  # noqa: ANN401 - the runtime brings no types
    """Returns the tensor in an `OrtValue` of the runtime; None when there is none in it."""
    if not value.is_tensor() or not value.has_value():
        return None
    if value.element_type() == _BFLOAT16:
        return Tensor.from_dlpack(value)
    return Tensor.from_numpy(value.numpy())


def _string_array(tensor: Tensor) -> NDArray[Any]:
    try:
        # The whole blob at once: no byte of a longer UTF-8 character is NUL.
        strings = str(tensor.blob, "utf-8").split("\0")[:-1]
    except UnicodeDecodeError:
        return _padded(tensor)
    return np.array(strings, np.object_).reshape(tensor.shape)


def _padded(tensor: Tensor) -> NDArray[Any]:
    """Returns strings that are not UTF-8 as an array of bytes of one length.

    The runtime takes the elements of such an array up to the first NUL, so there must be one
    behind the longest too.
    """
    strings = tensor.strings()
    width = max(map(len, strings)) + 1
    if len(strings) * width > _MOST_PADDED:
        raise InvalidTensor(
            f"a STRING tensor that is not UTF-8 must not have more than {_MOST_PADDED} bytes "
            f"with all its strings padded to the longest, not {len(strings) * width}"
        )
    return np.array(strings, f"S{width}").reshape(tensor.shape)
