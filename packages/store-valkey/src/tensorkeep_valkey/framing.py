"""Finds where the replies and messages of an engine end, in bytes that come in any portions.

It looks at headers only, keeps nothing of large values, and knows RESP2 and RESP3. Streamed values
(`$?`, `*?`), which no engine sends, are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PUSH: Final = ord(">")
ERROR: Final = ord("-")
STATUS: Final = ord("+")
ARRAY: Final = ord("*")
BULK: Final = ord("$")

_LINES: Final = frozenset(b"+-:_,#(")
_BULKS: Final = frozenset(b"$!=")
# How many elements stand behind each count.
_ELEMENTS: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
_ATTRIBUTE: Final = ord("|")
# What may stand before any element and is none itself: old engines push within an array.
_BESIDES: Final = frozenset({_ATTRIBUTE, PUSH})
_LONGEST_HEADER: Final = 32  # bytes; the longest count has 20


class BrokenReply(Exception):
    """What came is not the protocol."""


class Framer:
    """Follows one stream of replies.

    Attributes:
        kind: First byte of the reply that is not complete yet, 0 between replies.
        opens: Whether the header of the next reply, if it is an array, is a reply of its own, and
            so is each of its elements.
    """

    __slots__ = ("_begins", "_head", "_left", "_line", "_skip", "kind", "opens")

    def __init__(self) -> None:
        self.kind = 0
        self.opens = False
        self._left = 0  # elements until the reply is complete
        self._skip = 0  # bytes of a value and its line end that are still to come
        self._line = False  # within a line whose content does not matter
        self._head = b""  # a header that was cut
        self._begins = False  # the header that comes, or was cut, is the first of its reply

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """Takes the next bytes.

        Args:
            data: At least one byte.

        Returns:
            Where in the bytes replies end, each with the reply's first byte. What stands behind the
            last belongs to a reply that is not complete.

        Raises:
            BrokenReply: This is not the protocol.
        """
        if not self._left:  # most often it is one small reply
            first = data[0]
            if first == BULK:
                end = data.find(b"\n")
                try:
                    if end > 0 and end + 3 + int(data[1:end]) == len(data):
                        return [(len(data), BULK)]
                except ValueError as error:
                    raise BrokenReply(f"a length is no number: {data[:end]!r}") from error
            elif first in _LINES and data.find(b"\n") == len(data) - 1:
                return [(len(data), first)]
        return list(self.walk(data))

    def walk(self, data: bytes) -> Iterator[tuple[int, int]]:
        """As `feed`, reply by reply: no byte is looked at before what stands before it was used."""
        position, size = 0, len(data)
        while position < size:
            if self._skip:
                taken = min(self._skip, size - position)
                position += taken
                self._skip -= taken
                done = not self._skip
            elif self._line:
                end = data.find(b"\n", position)
                position = size if end < 0 else end + 1
                done = end >= 0
                self._line = not done
            else:
                position, done = self._header(data, position)
            if done:
                self._left -= 1
                if not self._left:
                    kind, self.kind = self.kind, 0
                    yield position, kind

    def _header(self, data: bytes, position: int) -> tuple[int, bool]:
        """Takes one header; returns where it ends and whether an element ends with it."""
        first = self._head[0] if self._head else data[position]
        if not self._left:
            self._left = 1
            self.kind = first
            self._begins = True
        if first in _LINES:
            self._line = True
            self._begins = False
            return position + 1, False
        end = data.find(b"\n", position)
        line = self._head + (data[position:] if end < 0 else data[position:end])
        if len(line) > _LONGEST_HEADER or (first not in _BULKS and first not in _ELEMENTS):
            raise BrokenReply(f"no reply begins with {line[:_LONGEST_HEADER]!r}")
        if end < 0:
            self._head = line
            return len(data), False
        self._head = b""
        begins, self._begins = self._begins, False
        try:
            count = int(line[1:])
        except ValueError as error:
            raise BrokenReply(f"a length is no number: {line!r}") from error
        if first in _BULKS:
            if count < 0:
                return end + 1, True
            self._skip = count + 2
            return end + 1, False
        if begins and first == ARRAY and self.opens:
            return end + 1, True
        self._left += max(count, 0) * _ELEMENTS[first]
        return end + 1, first not in _BESIDES or (first == PUSH and begins)


def elements(reply: bytes) -> tuple[int, list[bytes]]:
    """Splits a whole reply that is an array into its elements.

    Returns:
        How many bytes its header has, and the bytes of each element.
    """
    start = reply.index(b"\n") + 1
    inner = Framer()
    found = []
    begin = start
    for end, _ in inner.feed(reply[start:]) if len(reply) > start else ():
        found.append(reply[begin : start + end])
        begin = start + end
    return start, found
