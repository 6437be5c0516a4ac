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
from tensorkeep_memory.keyspace import KEY_BYTES
from tensorkeep_memory.values.containers import Container, Hash, Set
from tensorkeep_memory.values.growing import Embedded, Raw
from tensorkeep_memory.values.sequence import List
from tensorkeep_memory.values.sorted_set import SortedSet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_PLACE: Final = 53  # bytes of a key's place, for what is counted for all keys together
_VIEW: Final = 350  # bytes of a view of memory that somebody else has allocated
_LARGE_VALUES: Final = 700  # bytes of a model or script itself, with its figures

_EMBEDDED: Final = 44  # bytes of the longest string that Redis keeps beside its key


@dataclass(frozen=True, slots=True)
class ValueType:
    """What is known of one type of value.

    Attributes:
        name: What TYPE answers.
        encoding: Returns what OBJECT ENCODING answers for a value.
        size: Returns the bytes of memory that a value takes, besides `KEY_BYTES` which its key
            counts; in no more time for a large one.
        copy: Returns a copy of a value; None where COPY is refused.
    """

    name: str
    encoding: Callable[[Any], bytes]
    size: Callable[[Any], int]
    copy: Callable[[Any], object] | None = None


def _raw(_: object) -> bytes:
    return b"raw"


def _nbytes(value: List | Container) -> int:
    return value.nbytes


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
    Tensor: ValueType("AI_TENSOR", _raw, Tensor.memory),
    Model: ValueType("AI__MODEL", _raw, lambda model: len(model.blob) + _LARGE_VALUES),
    Script: ValueType("AI_SCRIPT", _raw, lambda script: len(script.source) + _LARGE_VALUES),
    bytes: ValueType("string", _bytes_encoding, len, _same),
    Embedded: ValueType("string", _embedded, len, _same),
    Raw: ValueType("string", _raw, len, _same),
    memoryview: ValueType("string", _raw, lambda view: len(view) + _VIEW, _same),
    List: ValueType("list", lambda _: b"quicklist", _nbytes, List.copy),
    Hash: ValueType("hash", _encoding_of_hash, _nbytes, Hash.copy),
    Set: ValueType("set", _encoding_of_set, _nbytes, Set.copy),
    SortedSet: ValueType("zset", _encoding_of_sorted_set, _nbytes, SortedSet.copy),
}


SIZES: Final[dict[type, Callable[[Any], int]]] = {
    kind: known.size for kind, known in _TYPES.items()
}
"""How many bytes a value takes besides `KEY_BYTES`, by its exact type."""


def type_of(value: object) -> ValueType:
    """Returns what is known of a value's type."""
    return _TYPES[type(value)]


def types_named(word: bytes) -> Collection[type]:
    """Returns the types of that name, in upper case; none for a name that no type has."""
    return [kind for kind, known in _TYPES.items() if known.name.upper().encode() == word]


def memory_of(key: bytes, value: object) -> int:
    """Returns about how many bytes a key and its value take, the value's data included."""
    return KEY_BYTES + _PLACE + len(key) + type_of(value).size(value)
