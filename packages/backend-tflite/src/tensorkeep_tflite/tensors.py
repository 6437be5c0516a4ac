"""Which types LiteRT and Tensorkeep have in common, and how tensors get in and out.

An interpreter has memory of its own for its inputs and outputs, and uses it again with the next
run: both ways, elements are copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorkeep.errors import InvalidValue
from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# By the numbers that types have in the file format. BFLOAT16 is missing: LiteRT's interface for
# Python takes no such arrays.
BY_NUMBER: Final = {
    0: DType.FLOAT,
    1: DType.FLOAT16,
    2: DType.INT32,
    3: DType.UINT8,
    4: DType.INT64,
    5: DType.STRING,
    6: DType.BOOL,
    7: DType.INT16,
    9: DType.INT8,
    10: DType.DOUBLE,
    12: DType.UINT64,
    15: DType.UINT32,
    16: DType.UINT16,
}
DTYPES: Final = frozenset(BY_NUMBER.values())

# Bytes from which on copying is left to NumPy, which lets other threads work meanwhile. LiteRT
# does not: 11 ms for 64 MiB in, 46 ms out. Through NumPy a small tensor takes 0.5 µs more.
_LARGE: Final = 2**18


def copy_in(interpreter: Any, indices: Sequence[int], tensors: Sequence[Tensor]) -> None:  # noqa: ANN401 - LiteRT brings no types
    """Copies tensors of the right types and shapes into inputs of an interpreter.

    Raises:
        InvalidValue: A single string is empty, which LiteRT's interface for Python cannot take.
        Exception: LiteRT's own, when one does not fit.
    """
    for index, tensor in zip(indices, tensors, strict=True):
        array = tensor.numpy()
        if tensor.dtype is DType.STRING:
            interpreter.set_tensor(index, array if tensor.shape else _single(tensor))
        elif array.nbytes < _LARGE:
            interpreter.set_tensor(index, array)
        else:
            np.copyto(interpreter.tensor(index)(), array)


def copy_out(
    interpreter: Any,  # noqa: ANN401 - LiteRT brings no types
    outputs: Sequence[tuple[int, DType]],
    large: set[int],
) -> list[Tensor | None]:
    """Copies outputs of an interpreter that has run.

    Args:
        interpreter: The interpreter.
        outputs: The outputs, and the type of each.
        large: Those that were large the last time. Which are so now is noted here.

    Raises:
        InvalidTensor: A tensor cannot hold an output, as a string with a NUL in it.
        Exception: LiteRT's own.
    """
    tensors: list[Tensor | None] = []
    for index, dtype in outputs:
        try:
            if index in large:
                array = interpreter.tensor(index)().copy()
            else:
                array = interpreter.get_tensor(index)
        except ValueError:
            shape = _shape(interpreter, index)
            if 0 not in shape:
                raise
            tensors.append(Tensor.zeros(dtype, shape))  # LiteRT has no memory for no elements
            continue
        if array.nbytes >= _LARGE and array.dtype != np.object_:
            large.add(index)
        tensors.append(Tensor.from_numpy(array))
    return tensors


def _shape(interpreter: Any, index: int) -> tuple[int, ...]:  # noqa: ANN401 - LiteRT brings no types
    details = interpreter.get_output_details()
    return tuple(next(each["shape"].tolist() for each in details if each["index"] == index))


def _single(tensor: Tensor) -> NDArray[Any]:
    """Returns a string of no axes as LiteRT takes it: of an object, it would take the address."""
    (string,) = tensor.strings()
    if not string:
        raise InvalidValue("a STRING tensor of no axes must not be empty")
    return np.array(string)
