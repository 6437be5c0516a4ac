"""How a tensor is kept: one string, of a line of text and the elements.

The line is `TENSOR/1`, the type's name and the sizes, such as `TENSOR/1 FLOAT 2 3`, padded with
spaces so that with its line break it is a multiple of 64 bytes. The elements follow in C order and
little endian, those of STRING each with a NUL behind it. What is not written exactly so is not
taken for a tensor.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.errors import InvalidTensor, StoreError, WrongType
from tensorkeep.tensor import DType, Tensor, element_count

if TYPE_CHECKING:
    from tensorkeep.tensor import Blob

VERSION: Final = 1
"""Version of the layout that is written, of tensors, models and scripts."""

_ALIGNMENT: Final = 64  # bytes; elements begin where a processor likes to read them
_LONGEST: Final = 64 * 32  # bytes of a line: 64 sizes of 20 digits at most
_COPY_BELOW: Final = 16 * 1024  # bytes; up to here a bytes object is cheaper than a memoryview
_OURS: Final = re.compile(rb"TENSOR/([0-9]{1,9})")
_LINE: Final = re.compile(rb"TENSOR/1 ([A-Z0-9]+)((?: (?:0|[1-9][0-9]{0,19}))*) *\n")


class _Header(NamedTuple):
    """What the line says.

    Attributes:
        dtype: The elements' type.
        shape: The sizes.
        size: Bytes of the line.
        checked: How many bytes the elements must have; -1 where the elements must be looked at.
    """

    dtype: DType
    shape: tuple[int, ...]
    size: int
    checked: int


def header_of(tensor: Tensor) -> bytes:
    """Returns the line that stands before the elements."""
    return _written(tensor.dtype, tensor.shape)


def encode_tensor(tensor: Tensor) -> bytes:
    """Returns the whole string that keeps a tensor."""
    return b"".join((header_of(tensor), tensor.blob))


def decode_tensor(key: bytes, value: bytes | memoryview) -> Tensor:
    """Returns the tensor that a string keeps; it shares the memory of a large one.

    Args:
        key: Where it was found, for errors.
        value: The string.

    Raises:
        WrongType: It is something else than a tensor.
        StoreError: A newer Tensorkeep has written it, or it is damaged.
    """
    line = bytes(value[:_ALIGNMENT])
    if line[-1:] != b"\n":
        line = _longer_line(bytes(value[:_LONGEST]))
    header = _read(line)
    if header is None:
        raise _strange(key, line)
    dtype, shape, size, checked = header
    elements: Blob = value[size:] if len(value) < _COPY_BELOW else memoryview(value)[size:]
    if checked >= 0:
        if len(elements) != checked:
            msg = f"its {len(elements)} bytes of elements should be {checked}"
            raise damaged("tensor", msg)
        return Tensor.trusted(dtype, shape, elements)
    try:
        return Tensor.from_blob(dtype, shape, elements)
    except InvalidTensor as error:
        raise damaged("tensor", str(error)) from error


def damaged(what: str, why: str) -> StoreError:
    """Returns the error that something of ours cannot be read."""
    return StoreError(f"ERR the {what} under this key is damaged: {why}")


def too_new(what: str, version: int) -> StoreError:
    """Returns the error that something was written in a layout that is not known here."""
    return StoreError(
        f"ERR the {what} under this key was stored by a newer Tensorkeep, in version {version} of"
        f" its layout; this one knows version {VERSION}"
    )


@lru_cache(maxsize=1024)
def _written(dtype: DType, shape: tuple[int, ...]) -> bytes:
    line = " ".join(("TENSOR/1", dtype.name, *map(str, shape))).encode()
    padding = -(len(line) + 1) % _ALIGNMENT
    return line + b" " * padding + b"\n"


def _longer_line(begin: bytes) -> bytes:
    """Returns the line that something begins with, up to 64, 128, ... bytes."""
    end = begin.find(b"\n") + 1
    return begin[:end] if end and end % _ALIGNMENT == 0 else begin


@lru_cache(maxsize=1024)
def _read(line: bytes) -> _Header | None:
    """Returns what a line says, None if it is none of version 1."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    dtype = DType.__members__.get(match[1].decode())
    if dtype is None:
        return None
    shape = tuple(map(int, match[2].split()))
    try:
        count = element_count(shape)
    except InvalidTensor:
        return None
    looked_at = dtype in {DType.BOOL, DType.STRING}
    return _Header(dtype, shape, len(line), -1 if looked_at else count * dtype.itemsize)


def _strange(key: bytes, begin: bytes) -> WrongType | StoreError:
    """Returns the error for a string that is no tensor of version 1."""
    ours = _OURS.match(begin)
    if ours is None:
        return WrongType(key)
    version = int(ours[1])
    if version != VERSION:
        return too_new("tensor", version)
    return damaged("tensor", "its first line makes no sense")
