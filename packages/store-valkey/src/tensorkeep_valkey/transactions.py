"""Commands of the front end's own within a transaction of the engine's, and EXEC's reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorkeep_valkey.framing import elements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Place:
    """What stands behind some elements of EXEC's array.

    Attributes:
        index: Number of the first, counted from 0.
        count: How many elements the engine has for it.
        make: Makes the one element that the client gets instead, encoded.
    """

    index: int
    count: int
    make: Callable[[Sequence[bytes]], bytes]


def rebuild(reply: bytes, places: Sequence[Place]) -> bytes:
    """Returns EXEC's reply as the client gets it.

    Args:
        reply: The engine's; an error or null is returned as it is.
        places: In order. Where two have the same index, the first has no elements.
    """
    if reply[:1] != b"*" or reply.startswith(b"*-1"):
        return reply
    _, found = elements(reply)
    made: list[bytes] = []
    begin = 0
    for place in places:
        made += found[begin : place.index]
        begin = place.index + place.count
        made.append(place.make(found[place.index : begin]))
    made += found[begin:]
    return b"*%d\r\n" % len(made) + b"".join(made)
