"""Large blocks of memory, joined and freed without stopping other threads.

`bytes.join` holds the interpreter while it copies: 0.3 to 1.4 ms for each MB, in which a server
serves nobody, and freeing what it made holds it for 0.15 ms for each MB. Both are the work of the
system, which hands out and takes back memory in pages of 4 KB; in large pages it is a tenth.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorkeep.tensor import Blob

Block: TypeAlias = tuple[int, int]
"""The address of a block of memory, and the one behind it."""

LARGE: Final = 1024 * 1024
"""Bytes from which on copying is worth the trouble."""

_PAGE: Final = mmap.PAGESIZE
_AT_ONCE: Final = 8 * 1024 * 1024  # bytes, a multiple of a large page
_LARGE_BLOCK: Final = 32 * 1024 * 1024  # which others allocate, and that is worth a look
_COLLAPSE: Final = 25  # Linux' MADV_COLLAPSE; a system that does not know it does nothing
_NAMELESS: Final = 3  # fields of a mapping that is no file's, behind its address and rights
_LARGE_PAGES: Final = getattr(mmap, "MADV_HUGEPAGE", None)  # not on every system

# CPython's own way to bytes that are filled in before anybody sees them; this holds the
# interpreter, and takes no time.
_new = ctypes.pythonapi.PyBytes_FromStringAndSize
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.c_ssize_t)
_address = ctypes.pythonapi.PyBytes_AsString
_address.restype, _address.argtypes = ctypes.c_void_p, (ctypes.py_object,)


def join(pieces: list[Blob]) -> bytes:
    """Joins pieces into one; other threads run while something large is copied.

    For a thread that nobody waits for: the caller itself does wait.

    Args:
        pieces: What is to be joined, each a flat block of bytes. It must not change meanwhile.
            Many are taken out of the list, each once it was copied: to free all of them at once
            holds the interpreter for long.

    Returns:
        The only piece itself, if it is of type `bytes`.

    Raises:
        MemoryError: There is no memory for as many bytes.
    """
    if len(pieces) == 1 and type(pieces[0]) is bytes:
        return pieces[0]
    size = sum(map(len, pieces))
    if size < LARGE:
        return b"".join(pieces)
    joined: bytes = _new(None, size)
    start: int = _address(joined)
    _ask_for_large_pages(start, size)
    end = start + size
    # The last one first: where they came from the heap, its end is given back then, piece by piece.
    while pieces:
        piece = pieces.pop()
        if len(piece):
            end -= len(piece)
            # A foreign function is called without the interpreter.
            ctypes.memmove(end, np.frombuffer(piece, np.uint8).ctypes.data, len(piece))
    return joined


def _ask_for_large_pages(address: int, size: int) -> None:
    """Asks the system to hand out memory in large pages; it may do as it likes."""
    if _LARGE_PAGES is None:
        return
    start = -(-address // _PAGE) * _PAGE
    length = (address + size) // _PAGE * _PAGE - start
    _madvise(start, length, _LARGE_PAGES)


def _madvise(address: int, length: int, advice: int) -> None:
    ctypes.CDLL(None).madvise(
        ctypes.c_void_p(address), ctypes.c_size_t(length), ctypes.c_int(advice)
    )


@contextmanager
def in_large_pages(size: int) -> Iterator[None]:
    """Puts what is allocated meanwhile into large pages of memory, where the system can do that.

    For what a framework allocates for a large model: it is freed while the interpreter is held,
    and then 500 MB take 2 ms instead of 40. The system copies it page by page, on the calling
    thread and without the interpreter: 1 to 2 s for each GB.

    Args:
        size: Bytes that will be allocated, about; nothing is done for few.
    """
    if size < _LARGE_BLOCK:
        yield
        return
    before = _mappings()
    yield
    for start, end in without(_mappings(), before):
        for at in range(-(-start // _AT_ONCE) * _AT_ONCE, end - _AT_ONCE + 1, _AT_ONCE):
            _madvise(at, _AT_ONCE, _COLLAPSE)


def without(blocks: Iterable[Block], others: Iterable[Block]) -> Iterator[Block]:
    """Gives the parts of blocks that belong to no other: the system joins neighbours."""
    others = sorted(others)
    for start, end in blocks:
        begin = start
        for other_start, other_end in others:
            if begin < other_start < end:
                yield begin, other_start
            if other_start < end:
                begin = max(begin, other_end)
        if begin < end:
            yield begin, end


def _mappings() -> list[Block]:
    """Returns where large blocks of this process' own memory begin and end."""
    if sys.platform != "linux":
        return []
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        addresses, rights, *rest = line.split()
        if rights == "rw-p" and len(rest) == _NAMELESS:
            start, end = (int(address, 16) for address in addresses.split("-"))
            if end - start >= _LARGE_BLOCK:
                found.append((start, end))
    return found
