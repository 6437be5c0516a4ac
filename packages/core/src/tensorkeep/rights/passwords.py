"""Passwords: kept as SHA-256 hashes, compared in a time that tells nothing of them."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HASH: Final = re.compile("[0-9a-f]{64}")

MOST_BITS: Final = 4096
_DEFAULT_BITS: Final = 256
_BITS_OF_DIGIT: Final = 4


def hashed(password: bytes) -> str:
    """Returns what is kept of a password: 64 hexadecimal digits."""
    return sha256(password).hexdigest()


def fits(password: bytes, hashes: Iterable[str]) -> bool:
    """Returns whether a password has one of some hashes; all are looked at in any case."""
    mine = hashed(password)
    found = False
    for each in hashes:
        found |= compare_digest(mine, each)
    return found


def new_password(bits: int = _DEFAULT_BITS) -> str:
    """Returns a password that nobody can guess, in hexadecimal digits.

    Args:
        bits: How many bits of chance it has at least; up to `MOST_BITS`.
    """
    digits = -(-bits // _BITS_OF_DIGIT)
    return secrets.token_hex(digits)[:digits]
