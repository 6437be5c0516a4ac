"""Memory that two processes share: files without a name, sealed and mapped.

A file that a worker wrote is taken when it is sealed: it can neither change nor shrink then, so
reading it later is safe whatever becomes of the worker. A mapping keeps no descriptor open.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from fcntl import (
    F_ADD_SEALS,
    F_GET_SEALS,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    fcntl,
)
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorkeep_workers_process.messages import NoMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorkeep.tensor import Blob

ALIGNMENT: Final = 64
_SEALED: Final = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
_FIXED_SIZE: Final = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW
_BLOCK: Final = 512  # bytes that `st_blocks` counts
_FAILED: Final = ctypes.c_void_p(-1).value

# Not the module mmap: it keeps a descriptor open for each mapping, and a stored tensor is one.
_libc: Final = ctypes.CDLL(None, use_errno=True)
_mmap: Final = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_munmap: Final = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Mapping:
    """Memory of a file, mapped; unmapped when nothing uses it any more.

    Args:
        file: Descriptor of the file, which may be closed afterwards.
        size: Bytes to be mapped, at least one.
        flags: `mmap.MAP_SHARED`, or `mmap.MAP_PRIVATE` for a copy of each page that is written.
        writable: Whether it may be written.

    Raises:
        OSError: The system refuses.
    """

    __slots__ = ("__array_interface__", "__weakref__", "_address", "_size")

    def __init__(self, file: int, size: int, flags: int, *, writable: bool) -> None:
        rights = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        address = _mmap(None, size, rights, flags, file, 0)
        self._address: int = 0 if address in {_FAILED, None} else address
        if not self._address:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._size = size
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._address, not writable),
        }

    def __del__(self, unmap: Any = _munmap) -> None:  # noqa: ANN401 - a foreign function
        if self._address:
            unmap(self._address, self._size)

    def bytes(self) -> NDArray[np.uint8]:
        """Returns the memory, which the array keeps mapped."""
        return np.asarray(self)


def new_file(size: int) -> int:
    """Returns the descriptor of a new file of a fixed size, all zeros."""
    file = os.memfd_create("tensorkeep", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, size)
        fcntl(file, F_ADD_SEALS, _FIXED_SIZE)
    except BaseException:
        os.close(file)
        raise
    return file


def sealed_file(blobs: Sequence[tuple[int, Blob]]) -> int:
    """Returns the descriptor of a new file that never changes.

    Args:
        blobs: What it holds: where each begins, and what it is.
    """
    file = os.memfd_create("tensorkeep", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for offset, blob in blobs:
            view, at = memoryview(blob), offset
            while view:  # the system writes 2 GB at once at most
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
        fcntl(file, F_ADD_SEALS, _SEALED)
    except BaseException:
        os.close(file)
        raise
    return file


def map_sealed(file: int, limit: int) -> NDArray[np.uint8]:
    """Returns the memory of a file that another process wrote.

    Args:
        file: Its descriptor, which may be closed afterwards.
        limit: Bytes that it may have; 0 for any number.

    Raises:
        NoMessage: It can still change, is empty or too large, or has less than it claims: what is
            not there would be taken from this process' memory when it is read.
    """
    try:
        seals = fcntl(file, F_GET_SEALS)
        found = os.fstat(file)
    except OSError as error:
        raise NoMessage(f"a file that cannot be sealed: {error}") from error
    size = found.st_size
    if seals & _SEALED != _SEALED:
        raise NoMessage("a file that is not sealed")
    if not size or (limit and size > limit) or found.st_blocks * _BLOCK < size:
        raise NoMessage(f"a file of {size} bytes, {found.st_blocks * _BLOCK} of them written")
    return Mapping(file, size, mmap.MAP_SHARED, writable=False).bytes()


def map_own_copy(file: int) -> NDArray[np.uint8]:
    """Returns the memory of a sealed file that the server wrote.

    It may be written: a framework that changes an input in place changes its own copy.
    """
    size = os.fstat(file).st_size
    return Mapping(file, size, mmap.MAP_PRIVATE, writable=True).bytes()


def aligned(offset: int) -> int:
    """Returns the first place from there on where a tensor may begin."""
    return -(-offset // ALIGNMENT) * ALIGNMENT
