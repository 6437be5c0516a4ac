"""Tensors to what TensorFlow takes, and what it returns to tensors.

Both sides know the same types, strings of any bytes included, as NumPy arrays. TensorFlow copies
an input only where its memory is not aligned to 64 bytes, and never writes to one; an output is the
array around TensorFlow's own memory, which lives as long as the array does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorkeep.errors import UnknownDType
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf.framework import tf

if TYPE_CHECKING:
    from collections.abc import Sequence


def dtype_of(dtype: Any) -> DType | None:  # noqa: ANN401 - TensorFlow brings no types
    """Returns our name for a type of TensorFlow, None when we have none."""
    if dtype == tf.string:
        return DType.STRING
    try:
        return DType.of(np.dtype(dtype.as_numpy_dtype))
    except (KeyError, TypeError, UnknownDType):  # KeyError: no type of NumPy either
        return None


def from_results(results: Sequence[Any], dtypes: Sequence[DType]) -> list[Tensor | None]:
    """Returns what a session returned as tensors.

    Args:
        results: Arrays, or scalars of NumPy, or bytes.
        dtypes: The type of each.
    """
    return [
        Tensor.from_numpy(each)
        if type(each) is np.ndarray
        else Tensor.from_numpy(np.array(each, dtypes[index].numpy))
        for index, each in enumerate(results)
    ]
