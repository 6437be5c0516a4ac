"""Whose memory is that of a stored value: for what is sent of it as it lies, without a copy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorkeep.tensor import Tensor, owner_of

if TYPE_CHECKING:
    from tensorkeep.tensor import Blob

LARGE: Final = 64 * 1024
"""Bytes from which on values are looked at: less than that is copied, or does not matter."""


class LargeValues:
    """What owns the memory of the large tensors and strings that are stored."""

    def __init__(self) -> None:
        self._owners: Counter[int] = Counter()

    def exchange(self, old: object, new: object) -> None:
        """Notes that a value was replaced by another; None stands for none."""
        for value, more in ((old, -1), (new, 1)):
            if isinstance(value, Tensor):
                owner = value.owner
            elif isinstance(value, bytes | memoryview):
                owner = owner_of(value)
            else:
                continue
            number = id(owner)
            self._owners[number] += more
            if not self._owners[number]:
                del self._owners[number]

    def holds(self, buffer: Blob) -> bool:
        """Returns whether the memory of a buffer is that of a stored value."""
        return id(owner_of(buffer)) in self._owners
