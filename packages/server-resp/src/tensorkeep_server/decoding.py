"""Reads encoded replies: what an engine has sent becomes the values that `encoding` encodes.

Clients tell a status from a bulk, and a set from an array, so that what is put together from an
engine's reply and ours must keep them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.reply import (
    NULL_ARRAY,
    BigNumber,
    Error,
    Map,
    Push,
    Set,
    Simple,
    Verbatim,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorkeep.commands.reply import Reply

_VERBATIM_FORMAT: Final = 4  # bytes, such as `txt:`


def decode(data: bytes) -> Reply:
    """Returns the one reply that bytes of RESP2 or RESP3 hold.

    Raises:
        ValueError: It is not one whole reply.
    """
    reply, end = _read(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes are left behind a reply")
    return reply


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


_LINES: Final[Mapping[int, Callable[[bytes], Reply]]] = {
    ord("+"): lambda line: Simple(_text(line)),
    ord("-"): lambda line: Error(_text(line)),
    ord(":"): int,
    ord("("): lambda line: BigNumber(int(line)),
    ord(","): float,
    ord("#"): lambda line: line == b"t",
    ord("_"): lambda _: None,
}


def _read(data: bytes, at: int) -> tuple[Reply, int]:
    """Returns the reply that begins at some byte, and where it ends."""
    end = data.index(b"\r\n", at)
    mark, line, after = data[at], data[at + 1 : end], end + 2
    scalar = _LINES.get(mark)
    if scalar is not None:
        return scalar(line), after
    size = int(line)
    if mark in b"$=!":
        return _bulk(data, mark, after, size)
    if mark not in b"*~%>":
        raise ValueError(f"no reply begins with {data[at : at + 1]!r}")
    if size < 0:
        return NULL_ARRAY, after
    items: list[Reply] = []
    for _ in range(2 * size if mark == ord("%") else size):
        item, after = _read(data, after)
        items.append(item)
    if mark == ord("*"):
        return items, after
    if mark == ord("%"):
        return Map(tuple(zip(items[::2], items[1::2], strict=True))), after
    return (Set if mark == ord("~") else Push)(tuple(items)), after


def _bulk(data: bytes, mark: int, begin: int, size: int) -> tuple[Reply, int]:
    if size < 0:
        return None, begin
    after = begin + size + 2
    if after > len(data):
        raise ValueError("a reply has no end")
    content = data[begin : begin + size]
    if mark == ord("="):
        return Verbatim(_text(content[_VERBATIM_FORMAT:])), after
    return Error(_text(content)) if mark == ord("!") else content, after
