"""Reading and writing protobuf messages without the `protobuf` package, a field at a time.

What the fields mean is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

Buffer: TypeAlias = "bytes | memoryview | mmap"

# What follows a field's tag.
VARINT: Final = 0
EIGHT_BYTES: Final = 1
LENGTH: Final = 2
FOUR_BYTES: Final = 5


class MalformedModel(ValueError):
    """The bytes are no protobuf message."""


class Field(NamedTuple):
    """One field: its number and wire type, its number as value, where its bytes start and end."""

    number: int
    wire_type: int
    value: int
    start: int
    end: int


def read_field(blob: Buffer, position: int) -> Field:
    """Reads one field.

    Raises:
        MalformedModel: It is none.
        IndexError: The bytes end within it.
    """
    tag, start = _varint(blob, position)
    tag &= 0xFFFFFFFF  # as protobuf's own reader does
    number, wire_type = tag >> 3, tag & 7
    if number == 0:
        raise MalformedModel("a field has the number 0")
    value = 0
    if wire_type == VARINT:
        value, end = _varint(blob, start)
    elif wire_type == LENGTH:
        length, start = _varint(blob, start)
        end = start + length
    elif wire_type == EIGHT_BYTES:
        end = start + 8
    elif wire_type == FOUR_BYTES:
        end = start + 4
    else:
        raise MalformedModel(f"a field has the wire type {wire_type}")
    return Field(number, wire_type, value, start, end)


def _varint(blob: Buffer, position: int) -> tuple[int, int]:
    """Returns a number of seven bits per byte, and the position behind it."""
    value = blob[position]
    position += 1
    if value < 0x80:  # noqa: PLR2004 - the bit that says whether a byte follows
        return value, position
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = blob[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the same
            return value, position
    raise MalformedModel("a number has more than ten bytes")


def fields_of(blob: Buffer, start: int, end: int) -> Iterator[Field]:
    """Gives the fields of a message that was walked over before.

    Args:
        blob: The bytes that the message is in.
        start: Where it starts.
        end: Where it ends.
    """
    while start < end:
        field = read_field(blob, start)
        yield field
        start = field.end


def number_field(number: int, value: int) -> bytes:
    """Returns a field with a number that is not negative."""
    return _packed(number << 3 | VARINT) + _packed(value)


def bytes_field(number: int, content: bytes) -> bytes:
    """Returns a field with bytes: a text or a message."""
    return head_of(number, len(content)) + content


def head_of(number: int, length: int) -> bytes:
    """Returns what stands before the bytes of a field."""
    return _packed(number << 3 | LENGTH) + _packed(length)


def _packed(value: int) -> bytes:
    """Returns a number of seven bits per byte."""
    packed = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - the bit that says whether a byte follows
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)
