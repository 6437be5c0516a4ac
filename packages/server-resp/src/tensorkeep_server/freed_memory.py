"""Memory that was freed and not given back to the system: when it is, and how.

The C library keeps what is freed between what is not. Where values of all sizes come and go, the
process takes a quarter more than they do.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_LEAST: Final = 16 * 1024 * 1024  # bytes that are worth the trouble
_PART: Final = 20  # of what is used, one in so many
_PAUSE: Final = 100  # times as long as it took, before it is done again
_LITTLE: Final = 4  # of what is not counted, one in so many is little
_VAIN: Final = 1000  # times as long as it took, where little went back
_LEAST_VAIN: Final = 3.0  # seconds, likewise


class FreedMemory:
    """Decides when memory is given back.

    That takes 60 ms for each GB that is given back, and 6 ms for each that is looked through, in
    which nobody can allocate much.
    """

    def __init__(self) -> None:
        self._not_before = 0.0

    def is_due(self, uncounted: int, used: int, now: float) -> bool:
        """Returns whether memory is to be given back.

        Args:
            uncounted: Bytes that the process takes beyond what is counted.
            used: Bytes that are counted.
            now: A time in seconds that never goes back.
        """
        return uncounted > max(_LEAST, used // _PART) and now >= self._not_before

    def done(self, before: int, after: int, began: float, now: float) -> None:
        """Notes that memory was given back.

        Args:
            before: Bytes that the process took beyond what is counted, before it.
            after: And after it.
            began: When that began.
            now: The time.
        """
        took = now - began
        in_vain = before - after < before // _LITTLE
        self._not_before = now + (max(_VAIN * took, _LEAST_VAIN) if in_vain else _PAUSE * took)


def give_back() -> None:
    """Gives back what the C library can; where it is another than glibc, nothing."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
