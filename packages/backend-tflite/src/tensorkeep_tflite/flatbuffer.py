"""Reading flatbuffers without the `flatbuffers` package, and never outside of their bytes.

A flatbuffer is tables that point at each other by offsets. A table's fields are found through a
list of offsets, its vtable, by their number, here called slot. This module knows nothing of what
the tables mean. What leads out of the bytes raises `MalformedModel`.
"""

from __future__ import annotations

from struct import Struct, calcsize, error, unpack_from
from typing import Any, Final

_OFFSET: Final = Struct("<I")  # forward from where it stands; a vector's length looks the same
_VTABLE: Final = Struct("<i")  # backward from the table
_VTABLE_HEAD: Final = 4  # bytes: the size of the vtable, and that of the table
_WORD: Final = 4  # bytes


class MalformedModel(ValueError):
    """The bytes are no model, or not a whole one."""


class Table:
    """A table of a flatbuffer.

    Args:
        blob: The whole flatbuffer.
        position: Where the table starts.

    Raises:
        MalformedModel: The table, or what a method follows, is not within the bytes.
    """

    __slots__ = ("_blob", "_position", "_slots")

    def __init__(self, blob: bytes, position: int) -> None:
        self._blob = blob
        self._position = position
        start = position - self._unpack(_VTABLE, position)
        if start < 0:
            raise MalformedModel("a table begins before the bytes do")
        (size,) = self._numbers("H", 1, start)
        count = (size - _VTABLE_HEAD) // 2
        self._slots = self._numbers("H", count, start + _VTABLE_HEAD) if count > 0 else ()

    @classmethod
    def root(cls, blob: bytes) -> Table:
        """Returns the table that all others are reached from; there must be four bytes at least."""
        return cls(blob, _OFFSET.unpack_from(blob, 0)[0])

    def number(self, slot: int, kind: str, default: Any = 0) -> Any:  # noqa: ANN401 - as `kind` says
        """Returns a number; `kind` is its type as `struct` writes it."""
        at = self._field(slot)
        return self._numbers(kind, 1, at)[0] if at else default

    def numbers(self, slot: int, kind: str = "i") -> tuple[Any, ...]:
        """Returns a vector of numbers; none when there is none."""
        start, count = self._vector(slot)
        return self._numbers(kind, count, start) if count else ()

    def extent(self, slot: int) -> tuple[int, int]:
        """Returns where a vector of bytes starts in the flatbuffer, and how many they are."""
        start, count = self._vector(slot)
        if start + count > len(self._blob):
            raise MalformedModel("a vector of bytes is longer than the bytes that are left")
        return start, count

    def text(self, slot: int) -> str:
        """Returns a string; empty when there is none."""
        start, count = self.extent(slot)
        return self._blob[start : start + count].decode(errors="replace")

    def table(self, slot: int) -> Table | None:
        """Returns a table that this one points at."""
        at = self._field(slot)
        return Table(self._blob, at + self._unpack(_OFFSET, at)) if at else None

    def tables(self, slot: int) -> list[Table]:
        """Returns the tables of a vector; none when there is none."""
        start, count = self._vector(slot)
        offsets = self._numbers("I", count, start) if count else ()
        return [
            Table(self._blob, start + index * _WORD + offset)
            for index, offset in enumerate(offsets)
        ]

    def _field(self, slot: int) -> int:
        """Returns where a field stands; 0 when it has its default."""
        offset = self._slots[slot] if slot < len(self._slots) else 0
        return self._position + offset if offset else 0

    def _vector(self, slot: int) -> tuple[int, int]:
        at = self._field(slot)
        if not at:
            return 0, 0
        start = at + self._unpack(_OFFSET, at)
        return start + _WORD, self._unpack(_OFFSET, start)

    def _unpack(self, what: Struct, at: int) -> int:
        try:
            number: int = what.unpack_from(self._blob, at)[0]
        except error as problem:
            raise MalformedModel("an offset leads out of the bytes") from problem
        return number

    def _numbers(self, kind: str, count: int, at: int) -> tuple[Any, ...]:
        if at + count * calcsize(f"<{kind}") > len(self._blob):
            raise MalformedModel("numbers lead out of the bytes")
        return unpack_from(f"<{count}{kind}", self._blob, at)
