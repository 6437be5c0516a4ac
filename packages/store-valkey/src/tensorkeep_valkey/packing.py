"""Requests as the engine reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from hiredis import pack_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Argument: TypeAlias = bytes | bytearray | memoryview
Word: TypeAlias = "Argument | Parts"
"""What a request that we make ourselves consists of."""

_ONLY_BYTES: Final = {bytes}
LARGE: Final = 16 * 1024
"""Arguments of more bytes are written from where they lie, not copied."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A large argument in two pieces, which are written one behind the other, not joined first.

    Attributes:
        head: Its begin.
        rest: What follows.
    """

    head: bytes
    rest: Argument

    def __len__(self) -> int:
        """Returns the bytes of both."""
        return len(self.head) + size_of(self.rest)


def size_of(argument: Word) -> int:
    """Returns the bytes of an argument."""
    return argument.nbytes if isinstance(argument, memoryview) else len(argument)


def pack(request: Sequence[Word], out: list[Argument]) -> None:
    """Adds a request to what is to be written.

    Args:
        request: The command's name and its arguments.
        out: Takes it in pieces; large arguments are pieces of their own, as they are.
    """
    if max(map(len, request)) <= LARGE and {*map(type, request)} == _ONLY_BYTES:
        out.append(pack_command(tuple(request)))  # type: ignore[arg-type]  # of any length
        return
    small = bytearray(b"*%d\r\n" % len(request))
    for argument in request:
        size = size_of(argument)
        small += b"$%d\r\n" % size
        if isinstance(argument, Parts):
            out += (bytes(small + argument.head), argument.rest)
            small.clear()
        elif size > LARGE:
            out += (bytes(small), argument)
            small.clear()
        else:
            small += argument
        small += b"\r\n"
    out.append(bytes(small))


def packed(requests: Iterable[Sequence[Word]]) -> bytes:
    """Returns small requests in one piece."""
    out: list[Argument] = []
    for request in requests:
        pack(request, out)
    return b"".join(out)


def gather(pieces: Sequence[Argument]) -> list[Argument]:
    """Joins small pieces that stand side by side; large ones stay as they are."""
    if len(pieces) == 1:
        return [pieces[0]]
    gathered: list[Argument] = []
    small: list[Argument] = []
    for piece in pieces:
        if len(piece) <= LARGE:
            small.append(piece)
            continue
        if small:
            gathered.append(b"".join(small))
            small = []
        gathered.append(piece)
    if small:
        gathered.append(b"".join(small))
    return gathered
