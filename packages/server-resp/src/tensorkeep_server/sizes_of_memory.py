"""Sizes of memory as Redis' settings spell them: `100mb`, `1gb`, `4k`, `512`."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 2**10,
    "m": 10**6,
    "mb": 2**20,
    "g": 10**9,
    "gb": 2**30,
}
_SIZE: Final = re.compile(r"([0-9]{1,19})([a-z]*)")


def read_size(word: str) -> int:
    """Reads a number of bytes, as Redis does: a unit may follow, in any case.

    `k`, `m` and `g` are powers of 1000; `kb`, `mb` and `gb` are powers of 1024.

    Raises:
        ValueError: It is no such size, or one beyond 2 ** 63 - 1 bytes.
    """
    match = _SIZE.fullmatch(word.lower())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None or (size := int(match[1]) * unit) >= 2**63:
        raise ValueError("argument must be a memory value")
    return size
