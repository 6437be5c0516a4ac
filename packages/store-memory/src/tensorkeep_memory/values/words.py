"""How many bytes the words take that containers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.commands.args import Argument

STRING: Final = 41
"""Bytes that a string takes besides its own: CPython's 33, and half of what is left over of 16."""


def word_bytes(word: Argument) -> int:
    """Returns how many bytes a word takes; of those of one byte, and the empty one, there is one.

    CPython's allocator hands out multiples of 16 bytes.
    """
    size = len(word)
    return (size + 48) & ~15 if size > 1 else 0


def all_bytes(words: Iterable[Argument]) -> int:
    """Returns how many bytes words take together."""
    return sum([word_bytes(word) for word in words])
