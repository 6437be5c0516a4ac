"""In which order AI._MODELSCAN lists names: that of the hash table in which RedisAI keeps them.

Clients' tests depend on it, and neither the order of storing nor its reverse satisfies them. The
table has a power of two of buckets, four at least, and is never smaller than what it holds. A name
goes to the bucket that the low bits of its SipHash-1-2 under an all-zero key say. Buckets are
listed in ascending order, the newest name of a bucket first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_FEWEST_BUCKETS: Final = 4
_BITS: Final = 2**64 - 1
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def scan_order(names: Iterable[bytes]) -> list[bytes]:
    """Returns names in the order in which a scan lists them.

    Args:
        names: In the order in which they were stored.
    """
    newest_first = [*names][::-1]
    buckets = _FEWEST_BUCKETS
    while buckets < len(newest_first):
        buckets *= 2
    return sorted(newest_first, key=lambda name: siphash_1_2(name) & (buckets - 1))


def siphash_1_2(data: bytes) -> int:
    """Returns the SipHash of bytes under an all-zero key: one round per word, two at the end."""
    state = _START
    whole = len(data) // 8 * 8
    last = int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    for word in (*words, last):
        a, b, c, d = state
        a, b, c, d = _round(a, b, c, d ^ word)
        state = (a ^ word, b, c, d)
    a, b, c, d = state
    a, b, c, d = _round(*_round(a, b, c ^ 0xFF, d))
    return a ^ b ^ c ^ d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _BITS
    b = _rotated(b, 13) ^ a
    a = _rotated(a, 32)
    c = (c + d) & _BITS
    d = _rotated(d, 16) ^ c
    a = (a + d) & _BITS
    d = _rotated(d, 21) ^ a
    c = (c + b) & _BITS
    b = _rotated(b, 17) ^ c
    return a, b, _rotated(c, 32), d


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _BITS
