"""Reading flexbuffers, in which custom operators of a TFLITE model have their options.

A flexbuffer is read from its end. The options that are known here are maps from names to numbers,
and nothing else is read: whatever is of another kind, or leads out of the bytes, raises
`MalformedModel`.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final

from tensorkeep_tflite.flatbuffer import MalformedModel

# Types of values.
_INT, _UINT, _FLOAT, _MAP, _BOOL = 1, 2, 3, 9, 26
_INDIRECT: Final = 5  # that much more is a type whose value is elsewhere
_KINDS: Final = {_INT: "bhiq", _UINT: "BHIQ", _FLOAT: " efd", _BOOL: "BHIQ"}  # by width: 1, 2, 4, 8
_SIZE_AHEAD, _KEYS_AHEAD = 1, 3  # in widths before a map: its size, and where its keys are
_ROOT: Final = 3  # bytes at least: a value, its type, its width


def read_numbers(blob: bytes) -> dict[str, float]:
    """Returns a map of names to numbers.

    Raises:
        MalformedModel: The bytes are something else.
    """
    if len(blob) < _ROOT:
        raise MalformedModel("the bytes are too few for a flexbuffer")
    width, packed = blob[-1], blob[-2]
    if packed >> 2 != _MAP or width not in {1, 2, 4, 8}:
        raise MalformedModel("the options are no map")
    values = _follow(blob, len(blob) - 2 - width, width)
    width = 1 << (packed & 3)
    count = _number(blob, values - _SIZE_AHEAD * width, width)
    keys = _follow(blob, values - _KEYS_AHEAD * width, width)
    key_width = _number(blob, values - 2 * width, width)
    if count > len(blob) or key_width not in {1, 2, 4, 8}:
        raise MalformedModel("a map is larger than the bytes that it is in")
    found: dict[str, float] = {}
    last = b""
    for index in range(count):
        start = _follow(blob, keys + index * key_width, key_width)
        end = blob.find(b"\0", start)
        if end < 0:
            raise MalformedModel("a name has no end")
        if blob[start:end] <= last:  # names are looked up by halving
            raise MalformedModel("names are not in order")
        last = blob[start:end]
        packed = _number(blob, values + count * width + index, 1)
        found[last.decode(errors="replace")] = _value(blob, values + index * width, width, packed)
    return found


def _value(blob: bytes, at: int, width: int, packed: int) -> float:
    kind = packed >> 2
    if kind - _INDIRECT in {_INT, _UINT, _FLOAT}:
        kind -= _INDIRECT
        at, width = _follow(blob, at, width), 1 << (packed & 3)
    kinds = _KINDS.get(kind, " ")
    code = kinds[width.bit_length() - 1] if len(kinds) > 1 else " "
    if code == " " or not 0 <= at <= len(blob) - width:
        raise MalformedModel("a value is no number")
    number: float = unpack_from(f"<{code}", blob, at)[0]
    return number


def _follow(blob: bytes, at: int, width: int) -> int:
    """Returns where an offset leads, which is always backward."""
    return at - _number(blob, at, width)


def _number(blob: bytes, at: int, width: int) -> int:
    if not 0 <= at <= len(blob) - width:
        raise MalformedModel("an offset leads out of the bytes")
    return int.from_bytes(blob[at : at + width], "little")
