"""The value that everything here is about: an immutable n-dimensional tensor.

A tensor comes from and goes to a blob, Python values, NumPy and DLPack, without a copy where the
memory allows. What a protocol calls its types, and which of them it takes, is not decided here.
"""

from __future__ import annotations

from enum import Enum
from math import prod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, final

import ml_dtypes
import numpy as np

from tensorkeep import dlpack
from tensorkeep.errors import (
    BlobLengthMismatch,
    InvalidBool,
    InvalidShape,
    InvalidTensor,
    InvalidValue,
    NulInString,
    StringCountMismatch,
    UnknownDType,
    ValueCountMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Blob: TypeAlias = bytes | bytearray | memoryview
NUL: Final = b"\0"
_MAX_BYTES: Final = 2**62  # beyond it a size no longer fits a signed 64-bit length
_MAX_SIZES: Final = 64  # NumPy's limit
# Measured on CPython 3.11: bytes of a tensor and its shape besides their elements' object, of
# each size, and of an array with the one that it is a view of.
_OBJECTS: Final = 112
_OF_SIZE: Final = 8
_ARRAY: Final = 220
_COPY_BELOW: Final = 16 * 1024  # bytes; up to here a bytes object is cheaper than a memoryview


class DType(Enum):
    """The type of a tensor's elements.

    Attributes:
        numpy: The NumPy type of the same elements; `object` (of `bytes`) for STRING.
        itemsize: Bytes of one element; 1 for STRING, whose elements vary in length.
    """

    FLOAT16 = "FLOAT16", np.float16
    BFLOAT16 = "BFLOAT16", ml_dtypes.bfloat16
    FLOAT = "FLOAT", np.float32
    DOUBLE = "DOUBLE", np.float64
    INT8 = "INT8", np.int8
    INT16 = "INT16", np.int16
    INT32 = "INT32", np.int32
    INT64 = "INT64", np.int64
    UINT8 = "UINT8", np.uint8
    UINT16 = "UINT16", np.uint16
    UINT32 = "UINT32", np.uint32
    UINT64 = "UINT64", np.uint64
    BOOL = "BOOL", np.bool_
    STRING = "STRING", np.object_

    numpy: np.dtype[Any]
    itemsize: int

    def __new__(cls, label: str, numpy: type) -> Self:
        """Makes a member whose value is its name."""
        member = object.__new__(cls)
        member._value_ = label
        member.numpy = np.dtype(numpy)
        member.itemsize = 1 if numpy is np.object_ else member.numpy.itemsize
        return member

    @classmethod
    def of(cls, numpy: np.dtype[Any]) -> DType:
        """Returns the member for a NumPy type of native byte order.

        Raises:
            UnknownDType: No member has that NumPy type.
        """
        member = _BY_NUMPY.get(numpy)
        if member is None:
            msg = f"no tensor type for elements of NumPy type {numpy}"
            raise UnknownDType(msg)
        return member

    def __repr__(self) -> str:
        return f"DType.{self.name}"


_FLOATS: Final = {DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE}
_BY_NUMPY: Final = {member.numpy: member for member in DType if member is not DType.STRING}


@final
class Tensor:
    """An immutable tensor, in C order and the machine's byte order.

    Tensors are made by the class methods. One that shares memory with what it was made from relies
    on its maker not to write there any more.

    Attributes:
        dtype: The elements' type.
        shape: The sizes, outermost first; empty for a scalar.
    """

    __slots__ = ("_array", "_blob", "dtype", "shape")

    dtype: DType
    shape: tuple[int, ...]
    _blob: Blob | None
    _array: NDArray[Any] | None

    # ------------------------------------------------------------------ making
    @classmethod
    def trusted(cls, dtype: DType, shape: tuple[int, ...], blob: Blob) -> Tensor:
        """Makes a tensor from a blob that the caller knows to fit; nothing is checked."""
        self = object.__new__(cls)
        self.dtype = dtype
        self.shape = shape
        self._blob = blob
        self._array = None
        return self

    @classmethod
    def from_blob(cls, dtype: DType, shape: tuple[int, ...], blob: Blob) -> Tensor:
        """Makes a tensor from its bytes, without a copy.

        Args:
            dtype: The elements' type.
            shape: The sizes, outermost first.
            blob: Elements in C order and native byte order. BOOL: one byte each, 0 or 1.
                STRING: each element followed by one NUL byte.

        Raises:
            InvalidTensor: The blob is a memoryview with gaps.
            InvalidShape: A size is negative, or the tensor could not be addressed.
            BlobLengthMismatch: The blob is not as long as shape and type say.
            InvalidBool: A BOOL byte is neither 0 nor 1.
            StringCountMismatch: A STRING blob with another number of strings than elements.
        """
        count = element_count(shape)
        if type(blob) is memoryview:
            blob = _as_bytes(blob)
        if dtype is DType.STRING:
            _check_strings(count, blob)
        else:
            expected = count * dtype.itemsize
            if len(blob) != expected:
                wanted = f"{expected} bytes for {dtype.name}{list(shape)}"
                msg = f"blob must have {wanted}, not {len(blob)}"
                raise BlobLengthMismatch(msg)
            if dtype is DType.BOOL and count and np.frombuffer(blob, np.uint8).max() > 1:
                msg = "blob of a BOOL tensor must hold only bytes 0 and 1"
                raise InvalidBool(msg)
        return cls.trusted(dtype, shape, blob)

    @classmethod
    def zeros(cls, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        """Makes a tensor of zeros (of empty strings for STRING).

        Raises:
            InvalidShape: A size is negative, or there is no memory for such a tensor.
        """
        count = element_count(shape, dtype.itemsize)
        try:
            if dtype is DType.STRING:
                return cls.trusted(dtype, shape, bytes(count))
            return cls.from_numpy(np.zeros(shape, dtype.numpy))
        except (MemoryError, ValueError) as error:  # ValueError: beyond NumPy's own limits
            msg = f"no memory for a {dtype.name} tensor of shape {list(shape)}"
            raise InvalidShape(msg) from error

    @classmethod
    def from_values(
        cls, dtype: DType, shape: tuple[int, ...], values: Sequence[float | bool | str | bytes]
    ) -> Tensor:
        """Makes a tensor from Python values in C order.

        Args:
            dtype: The elements' type.
            shape: The sizes, outermost first.
            values: Numbers for the numeric types, 0, 1 or booleans for BOOL, `str` (stored as
                UTF-8) or `bytes` for STRING. Floats are rounded to the nearest element, beyond the
                type's range to infinity.

        Raises:
            InvalidShape: A size is negative, or the tensor could not be addressed.
            ValueCountMismatch: The number of values is not the number of elements.
            InvalidValue: A value is of the wrong kind or out of the type's range.
            NulInString: A string holds a NUL byte.
        """
        count = element_count(shape)
        if len(values) != count:
            msg = f"values must be {count} for shape {list(shape)}, not {len(values)}"
            raise ValueCountMismatch(msg)
        if dtype is DType.STRING:
            return cls.trusted(dtype, shape, _join_strings(values))
        numbers = _numbers(dtype, values)
        try:
            if dtype in _FLOATS:
                array = _rounded(np.array(numbers, np.float64), dtype)
            else:
                # through object: NumPy refuses what does not fit instead of wrapping it around
                array = np.array(numbers, np.object_).astype(dtype.numpy)
        except OverflowError as error:
            msg = f"values must fit {dtype.name}: {error}"
            raise InvalidValue(msg) from error
        return cls.from_numpy(array.reshape(shape))

    @classmethod
    def from_numpy(cls, array: NDArray[Any]) -> Tensor:
        """Makes a tensor from a NumPy array, sharing its memory when its layout allows.

        Args:
            array: Any array (or NumPy scalar) whose elements have a `DType`. Arrays of `str`,
                `bytes`, or objects of those become STRING; they, arrays in foreign byte order,
                and arrays that are not in C order or not aligned are copied.

        Raises:
            UnknownDType: No tensor type has such elements.
            InvalidValue: An array of objects holds something other than `str` and `bytes`.
            NulInString: A string holds a NUL byte.
        """
        dtype = _BY_NUMPY.get(array.dtype)
        if dtype is None:
            return _from_foreign(array)
        flags = array.flags
        if flags.carray:  # in C order, aligned and writeable
            array = array.view(np.ndarray)
            array.setflags(write=False)
        elif type(array) is not np.ndarray or not (flags.c_contiguous and flags.aligned):
            array = np.array(array, order="C")
            array.setflags(write=False)
        self = object.__new__(cls)
        self.dtype = dtype
        self.shape = array.shape
        self._blob = None
        self._array = array
        return self

    @classmethod
    def from_dlpack(cls, source: dlpack.SupportsDLPack) -> Tensor:
        """Makes a tensor from any framework's array in host memory, sharing its memory.

        Raises:
            UnknownDType: The array's type has no `DType`, or DLPack cannot exchange it.
        """
        try:
            array = dlpack.to_array(source)
        except (BufferError, RuntimeError) as error:
            msg = f"the array cannot be taken through DLPack: {error}"
            raise UnknownDType(msg) from error
        return cls.from_numpy(array)

    # ------------------------------------------------------------------ reading
    @property
    def blob(self) -> Blob:
        """The bytes: elements in C order; for STRING each element followed by one NUL."""
        blob = self._blob
        if blob is None:
            array = self._array
            if array is None:  # another thread has just done the same
                assert self._blob is not None  # noqa: S101 - one of the two is always there
                return self._blob
            if array.nbytes < _COPY_BELOW:
                self._blob = blob = array.tobytes()
                self._array = None  # in this order: one of the two is always there
            else:
                # through uint8: bfloat16 has no buffer format of its own
                self._blob = blob = array.reshape(-1).view(np.uint8).data
        return blob

    def numpy(self) -> NDArray[Any]:
        """Returns a read-only array of the same memory; for STRING an object array of `bytes`."""
        array = self._array
        if array is None:
            blob = self._blob
            assert blob is not None  # noqa: S101 - one of the two is always there
            if self.dtype is DType.STRING:
                array = np.empty(self.shape, np.object_)
                array.reshape(-1)[:] = self.strings()
            else:
                array = np.frombuffer(blob, self.dtype.numpy).reshape(self.shape)
                if type(blob) is not bytes and not array.flags.aligned:
                    array = array.copy()  # frameworks read whole words
            array.setflags(write=False)
            self._array = array
        return array

    def values(self) -> list[Any]:
        """Returns the elements in C order as Python numbers, booleans or, for STRING, `bytes`."""
        if self.dtype is DType.STRING:
            return self.strings()
        values: list[Any] = self.numpy().reshape(-1).tolist()
        return values

    def strings(self) -> list[bytes]:
        """Returns the elements of a STRING tensor in C order."""
        return bytes(self.blob).split(NUL)[:-1]

    @property
    def nbytes(self) -> int:
        """Bytes of the elements (for STRING with their NULs)."""
        array = self._array
        return array.nbytes if self._blob is None and array is not None else len(self.blob)

    @property
    def owner(self) -> object:
        """What owns the memory of the elements, see `owner_of`."""
        return owner_of(self._array if self._blob is None else self._blob)

    def memory(self) -> int:
        """Returns how many bytes of memory it takes, the objects that hold its elements included.

        What has no memory of its own, such as a view of a larger array, counts as if it had.
        """
        array, blob = self._array, self._blob
        size = _OBJECTS + _OF_SIZE * len(self.shape)
        if blob is not None:
            size += len(blob)
        elif array is not None:
            size += array.nbytes
        return size if array is None else size + _ARRAY

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401, FBT001 - NumPy's protocol
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(
        self,
        *,
        stream: object = None,  # host memory has none
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        if self.dtype is DType.STRING:
            msg = "a STRING tensor cannot be exchanged through DLPack"
            raise BufferError(msg)
        if dl_device not in {None, dlpack.CPU_DEVICE}:
            msg = f"the tensor is in host memory and cannot be exported to device {dl_device}"
            raise BufferError(msg)
        array = self.numpy()
        return dlpack.to_capsule(array.copy() if copy else array, max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CPU_DEVICE

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        return self.dtype is other.dtype and self.shape == other.shape and self.blob == other.blob

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape, bytes(self.blob)))

    def __repr__(self) -> str:
        return f"Tensor({self.dtype.name}, shape={list(self.shape)})"


def element_count(shape: Sequence[int], itemsize: int = 8) -> int:
    """Returns the product of the sizes; 1 for a scalar.

    Raises:
        InvalidShape: A size is negative, or elements of `itemsize` bytes could not be addressed.
    """
    count = 1
    for size in shape:
        if size < 0:
            msg = f"shape must not have negative sizes: {list(shape)}"
            raise InvalidShape(msg)
        count *= size
    if len(shape) > _MAX_SIZES:
        msg = f"shape must not have more than {_MAX_SIZES} sizes, not {len(shape)}"
        raise InvalidShape(msg)
    # NumPy multiplies the other sizes even when one is zero
    if (count or prod(filter(None, shape))) * itemsize > _MAX_BYTES:
        msg = f"shape {list(shape)} is too large to be addressed"
        raise InvalidShape(msg)
    return count


def owner_of(buffer: object) -> object:
    """Returns what owns the memory of a buffer, however many views there are between."""
    while True:
        if type(buffer) is memoryview:
            buffer = buffer.obj
        elif isinstance(buffer, np.ndarray) and buffer.base is not None:
            buffer = buffer.base
        else:
            return buffer


def _as_bytes(view: memoryview) -> memoryview:
    """Returns a flat view of bytes, whatever the elements that the view shows."""
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    try:
        return view.cast("B")
    except TypeError as error:
        msg = f"blob must be contiguous memory: {error}"
        raise InvalidTensor(msg) from error


def _check_strings(count: int, blob: Blob) -> None:
    if len(blob) < _COPY_BELOW:
        nuls = bytes(blob).count(NUL)
    else:  # of 500 MB that would take 0.3 s, and a copy
        nuls = len(blob) - int(np.count_nonzero(np.frombuffer(blob, np.uint8)))
    if nuls != count or (blob and blob[-1] != 0):
        msg = f"blob of a STRING tensor must hold {count} NUL-terminated strings"
        raise StringCountMismatch(msg)


def _join_strings(values: Sequence[object]) -> bytes:
    parts = []
    for index, value in enumerate(values):
        try:
            part = value.encode() if isinstance(value, str) else value
        except UnicodeEncodeError as error:
            msg = f"values[{index}] cannot be stored as UTF-8: {error}"
            raise InvalidValue(msg) from error
        if not isinstance(part, bytes):
            kind = type(value).__name__
            msg = f"values[{index}] of a STRING tensor must be str or bytes, not {kind}"
            raise InvalidValue(msg)
        if NUL in part:
            msg = f"values[{index}] must not hold a NUL byte"
            raise NulInString(msg)
        parts.append(part)
    return NUL.join([*parts, b""]) if parts else b""


def _numbers(dtype: DType, values: Sequence[Any]) -> Sequence[Any]:
    """Refuses what NumPy would convert: text, None, fractions for integers, 2 for BOOL."""
    integers = dtype.numpy.kind in "iu"
    kinds = (Integral, np.bool_) if integers else (Real, np.bool_, ml_dtypes.bfloat16)
    for kind in set(map(type, values)):
        if not issubclass(kind, kinds):
            wanted = "integers" if integers else "numbers"
            msg = f"values of {dtype.name} must be {wanted}, not {kind.__name__}"
            raise InvalidValue(msg)
    if dtype is DType.BOOL and not {0, 1}.issuperset(values):
        msg = "values of BOOL must be 0, 1 or booleans"
        raise InvalidValue(msg)
    # through int: NumPy's own integers would wrap around even as objects
    return list(map(int, values)) if integers else values


def _rounded(doubles: NDArray[np.float64], dtype: DType) -> NDArray[Any]:
    """Returns the nearest elements of a float type; of two equally near ones, the even one."""
    with np.errstate(over="ignore"):
        if dtype is not DType.BFLOAT16:
            return doubles.astype(dtype.numpy)
        # Its own conversion rounds to float32 first, so that a number just beside the middle of
        # two elements falls on the middle, and then to the wrong side. Rounded to odd instead,
        # a number stays on its side.
        narrow = doubles.astype(np.float32)
        bits = narrow.view(np.uint32)
        wide = narrow.astype(np.float64)
        inexact_and_even = (wide != doubles) & (bits & 1 == 0) & ~np.isnan(doubles)
        bits[inexact_and_even & (np.abs(wide) > np.abs(doubles))] -= 1
        bits[inexact_and_even & (np.abs(wide) < np.abs(doubles))] += 1
        return narrow.astype(dtype.numpy)


def _from_foreign(array: NDArray[Any]) -> Tensor:
    """Takes strings, and numbers in foreign byte order; refuses everything else."""
    kind = array.dtype.kind
    if kind in "OSU" or kind == "T":
        return Tensor.from_values(DType.STRING, array.shape, array.reshape(-1).tolist())
    if array.dtype.isnative:
        DType.of(array.dtype)
    return Tensor.from_numpy(array.astype(array.dtype.newbyteorder("=")))
