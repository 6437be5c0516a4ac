"""What commands on keys of any type must know of each type of value.

This module decides what a type is called, what OBJECT and MEMORY say of its values, and whether
they can be copied: one row per type of value that a keyspace may hold. It touches no keyspace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensorkeep.commands.args import parse_integer
from tensorkeep.model import Model, Script
from tensorkeep.tensor import Tensor
from tensorkeep_memory.values.containers import Hash, Set
from tensorkeep_memory.values.growing import Embedded, Raw
from tensorkeep_memory.values.sequence import List
from tensorkeep_memory.values.sorted_set import SortedSet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

KEY_OVERHEAD: Final = 300
"""Bytes that a key costs besides its name and its value's data.

Measured on CPython 3.11: 292 with a tensor that was set from a blob, 518 with one that came out of
a model as an array.
"""

_EMBEDDED: Final = 44  # bytes of the longest string that Redis keeps beside its key


@dataclass(frozen=True, slots=True)
class ValueType:
    """What is known of one type of value.

    Attributes:
        name: What TYPE answers.
        encoding: Returns what OBJECT ENCODING answers for a value.
        size: Returns the bytes of a value's data.
        copy: Returns a copy of a value; None where COPY is refused.
    """

    name: str
    encoding: Callable[[Any], bytes]
    size: Callable[[Any], int]
    copy: Callable[[Any], object] | None = None


def _raw(_: object) -> bytes:
    return b"raw"


def _same(value: object) -> object:
    return value


def _embedded(string: bytes) -> bytes:
    return b"embstr" if len(string) <= _EMBEDDED else b"raw"


def _bytes_encoding(string: bytes) -> bytes:
    return _embedded(string) if parse_integer(string) is None else b"int"


def _encoding_of_hash(value: Hash) -> bytes:
    return b"listpack" if value.small else b"hashtable"


def _encoding_of_set(value: Set) -> bytes:
    return b"intset" if value.small else b"hashtable"


def _encoding_of_sorted_set(value: SortedSet) -> bytes:
    return b"listpack" if value.small else b"skiplist"


# By the exact type. A model counts as the blob it was made from: what a framework keeps for it is
# the framework's own, and not told. AI values cannot be copied, as in the original.
_TYPES: Final[dict[type, ValueType]] = {
    Tensor: ValueType("AI_TENSOR", _raw, lambda tensor: int(tensor.nbytes)),
    Model: ValueType("AI__MODEL", _raw, lambda model: len(model.blob)),
    Script: ValueType("AI_SCRIPT", _raw, lambda script: len(script.source)),
    bytes: ValueType("string", _bytes_encoding, len, _same),
    Embedded: ValueType("string", _embedded, len, _same),
    Raw: ValueType("string", _raw, len, _same),
    memoryview: ValueType("string", _raw, len, _same),
    List: ValueType("list", lambda _: b"quicklist", lambda value: int(value.nbytes), List.copy),
    Hash: ValueType("hash", _encoding_of_hash, lambda value: int(value.nbytes), Hash.copy),
    Set: ValueType("set", _encoding_of_set, lambda value: int(value.nbytes), Set.copy),
    SortedSet: ValueType(
        "zset", _encoding_of_sorted_set, lambda value: int(value.nbytes), SortedSet.copy
    ),
}


def type_of(value: object) -> ValueType:
    """Returns what is known of a value's type."""
    return _TYPES[type(value)]


def types_named(word: bytes) -> Collection[type]:
    """Returns the types of that name, in upper case; none for a name that no type has."""
    return [kind for kind, known in _TYPES.items() if known.name.upper().encode() == word]


def memory_of(key: bytes, value: object) -> int:
    """Returns about how many bytes a key and its value take, the value's data included."""
    return KEY_OVERHEAD + len(key) + type_of(value).size(value)
