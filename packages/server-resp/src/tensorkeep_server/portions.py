"""What is sent next of the replies that wait: all of them, or a portion of a long one.

`take` makes what has many elements in portions, as the client takes them; it also joins what is
small, so that a burst of replies is one buffer and a tensor's memory goes out as it lies.
"""

from collections.abc import Generator
from types import GeneratorType
from typing import Any, Final, TypeAlias, cast

from tensorkeep.commands.reply import Blob

PORTION: Final = 64 * 1024
"""Bytes of a long reply that are made at a time: about 1 ms of work, for numbers."""

Piece: TypeAlias = "Blob | Portions"
"""What `encode` appends: bytes to be sent, or what makes such pieces in portions."""
Portions: TypeAlias = "Generator[list[Piece], None, None]"


def is_long(pieces: list[Piece]) -> bool:
    """Returns whether a reply is better sent before the next one is made.

    Args:
        pieces: What `encode` appended for it. What is long has more than one piece, or is made in
            portions.
    """
    if GeneratorType in map(type, pieces):
        return True
    return len(pieces) > 1 and sum(map(len, cast("list[Blob]", pieces))) > PORTION


def take(out: list[Piece], enough: int = PORTION) -> list[Blob]:
    """Takes from the front of what waits to be sent what is to be sent next.

    That is all of it; or, if something is to be made in portions, some of it.

    Args:
        out: What `encode` appended. What is taken is removed.
        enough: Bytes after which no more is made.

    Returns:
        Buffers to be written in order. Only large bulks stand alone.

    Raises:
        TypeError: See `encoding.encode`; what was sent of that reply cannot be completed.
    """
    if GeneratorType not in map(type, out):
        buffers = _joined(out)
        out.clear()
        return buffers
    taken: list[Any] = []
    size = 0
    while out and size < enough:
        piece = out.pop(0)
        if isinstance(piece, Generator):
            made = next(piece, None)
            if made is not None:
                out[:0] = (*made, piece)
        else:
            taken.append(piece)
            size += len(piece)
    return _joined(taken)


def _joined(pieces: list[Any]) -> list[Blob]:
    """Joins what is small among pieces, of which none is to be made in portions."""
    if len(pieces) == 1:
        return [*pieces]
    buffers: list[Blob] = []
    small = pieces
    if memoryview in map(type, pieces):
        small = []
        for piece in pieces:
            if type(piece) is memoryview:
                buffers += (b"".join(small), piece)
                small = []
            else:
                small.append(piece)
    buffers.append(b"".join(small))
    return buffers
