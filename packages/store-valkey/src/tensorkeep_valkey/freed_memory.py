"""Keeps memory that was freed a moment ago for what comes next.

A server before an engine keeps no values: the memory of each large argument is freed as soon as the
engine has it. Given back to the system and asked for again, its pages cost as much as all the rest
of passing the argument on.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

KEPT: Final = 64 * 2**20
"""Bytes of freed memory that stay with the process."""

LARGEST: Final = 8 * 2**20
"""Larger blocks are given back at once."""

_M_TRIM_THRESHOLD: Final = -1  # of mallopt(3)
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_PADDING: Final = 8 * 2**20  # bytes that are asked for at once


def keep_freed_memory() -> None:
    """Has the C library keep it, where that is glibc; elsewhere nothing happens."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGEST)
        mallopt(_M_TRIM_THRESHOLD, KEPT)
        mallopt(_M_TOP_PAD, _PADDING)
