"""Strings that are made of other strings, without copying long ones each time.

A stored string never changes: whoever holds one, for a reply that waits to be sent or for a
snapshot of the keyspace, may keep it. To append to it means to store another string that begins
like it. So that this does not copy what is long (60 ms for 100 MB), a long string that was written
to is a view of a larger buffer, and the next one a longer view of the same buffer, as long as
nothing else was written behind its end. This module decides nothing about keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument

# Shorter strings are copied: that takes 0.2 us, and a view and its buffer 1 KiB of memory.
_LONG: Final = 4096


class Raw(bytes):
    """A short string that was written to. Redis keeps such a one, and no other short one, raw."""

    __slots__ = ()


class Embedded(bytes):
    """A sum of INCRBYFLOAT that is an integer, though Redis does not keep it as one."""

    __slots__ = ()


class Room(np.ndarray[tuple[int], np.dtype[np.uint8]]):
    """A buffer; behind what belongs to strings are zeros, which cost no memory yet.

    Attributes:
        used: Bytes from the beginning that belong to strings.
    """

    used: int


def written(text: Argument, at: int, more: Argument) -> Raw | memoryview:
    """Returns a string with other bytes from some place on; `text` stays as it is.

    Args:
        text: The string, as a whole.
        at: Where the other bytes begin. Between the end of the string and that place come zeros.
            Within the string, everything is copied.
        more: The other bytes.

    Returns:
        Of a long string, a view of a `Room`, read-only.
    """
    size = len(text)
    end = at + len(more)
    whole = max(size, end)
    if whole < _LONG:
        return Raw(b"".join((bytes(text[:at]).ljust(at, b"\0"), more, text[end:])))
    old: object = text.obj if type(text) is memoryview else None
    if type(old) is Room and old.used == size <= at and whole <= len(old):
        room = old
        view = room.data
    else:
        room = np.zeros(2 * whole, np.uint8).view(Room)
        view = room.data
        view[:size] = text
    view[at:end] = more
    room.used = whole
    return view[:whole].toreadonly()
