r"""Glob patterns, as KEYS and SCAN MATCH take them, become regular expressions.

This module decides which keys a pattern matches. It knows no keyspace and no command.

    *      any bytes, also none; but a pattern of stars does not match an empty key
    ?      one byte
    [ab]   one of these bytes; [a-z] one of a range, whichever end is named first; [^a] any other
    \x     the byte x itself, whatever it means otherwise, also inside brackets

As in Redis, brackets that are never closed end with the pattern, and a lone backslash at the end
means itself. Bytes are ordered from 0 to 255; Redis on some machines takes those above 127 for
negative numbers, which shows in ranges such as [a-\xff] only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_ANY: Final = range(256)
_ONE: Final = b"."
_NEVER: Final = b"(?!)"


@lru_cache(maxsize=64)  # a scan brings the same pattern page after page
def compile_glob(pattern: bytes) -> re.Pattern[bytes]:
    """Returns a regular expression whose `fullmatch` tells whether a key matches a pattern.

    What stands between two stars has a fixed length, so the first place where it fits is as good
    as any later one. Atomic groups say so, and the search never comes back to try another: its
    time grows with the key's length times the pattern's, not with its power.
    """
    parts: list[list[bytes]] = [[]]  # what stands between stars
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            parts.append([])
        elif byte == b"?":
            parts[-1].append(_ONE)
        elif byte == b"[":
            one, at = _brackets(pattern, at)
            parts[-1].append(one)
        else:
            if byte == b"\\" and at < len(pattern):
                byte = pattern[at : at + 1]
                at += 1
            parts[-1].append(re.escape(byte))
    first, *others = map(b"".join, parts)
    if pattern and not first and not any(others):  # stars alone
        return re.compile(b".+", re.DOTALL)
    if not others:
        return re.compile(first, re.DOTALL)
    *middle, last = others
    searches = [b"(?>.*?%b)" % part for part in middle if part]
    return re.compile(b"%b%b.*%b" % (first, b"".join(searches), last), re.DOTALL)


def _brackets(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Reads what follows an opening bracket.

    Returns:
        An expression for one byte, and where the pattern goes on.
    """
    others = pattern[at : at + 1] == b"^"
    at += others
    chosen: set[int] = set()
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            chosen.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            chosen.update(range(low, high + 1))
            at += 3
        else:
            chosen.add(pattern[at])
            at += 1
    if others:
        chosen = set(_ANY) - chosen
    if not chosen:
        return _NEVER, at + 1
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(chosen)), at + 1
