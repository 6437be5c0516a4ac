"""What large values leave behind, freed bit by bit.

Python frees a dictionary of a million entries in one go, and nobody would be served meanwhile:
some 0.1 s. So a large value that nobody refers to any more leaves its content here, and the server
sweeps it between other work. Who refers to a value is what counts, not the command that removed
it: its key may have been moved, or somebody may hold it for a snapshot.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Content: TypeAlias = dict[Any, Any] | set[Any] | list[Any] | deque[Any]

_LARGE: Final = 10_000  # entries that are freed in about 1 ms
_LARGE_BYTES: Final = 16 * 1024 * 1024  # of values that are freed in about 1 ms
_SWEPT: Final = (Tensor, bytes, memoryview)
_BETWEEN: Final = 16  # entries from one look at the time to the next
_MOST: Final = 10_000_000  # entries that may wait; more come faster than they are swept

# Shared by all servers of a process, as a value does not know whose it was. To append and to pop
# are safe on any thread.
_left: Final[list[Content]] = []


def leave(*contents: Content) -> None:
    """Keeps what a value held, if all of it is large, until it is swept.

    Args:
        contents: Nobody else may use them any more.
    """
    if sum(map(len, contents)) > _LARGE and sum(map(len, [*_left])) < _MOST:
        _left.extend(contents)


def leave_large(values: Iterable[object]) -> None:
    """Keeps tensors and strings, if they take much memory together, until they are swept.

    Others, models for example, are gone as soon as nobody refers to them.

    Args:
        values: Values of keys that are being removed.
    """
    kept = [value for value in values if isinstance(value, _SWEPT)]
    sizes = [value.nbytes if isinstance(value, Tensor) else len(value) for value in kept]
    if sum(sizes) > _LARGE_BYTES:
        _left.append(kept)


def sweep(limit: int, may_go_on: Callable[[], bool] = lambda: True) -> int:
    """Frees entries of what was left.

    Args:
        limit: Most entries to free, so that other work gets its turn.
        may_go_on: Asked now and then: a few entries may take much memory.

    Returns:
        How many were freed.
    """
    freed = 0
    while freed < limit and _left and may_go_on():
        content = _left.pop()
        take = content.popitem if isinstance(content, dict) else content.pop
        few = min(len(content), limit - freed, _BETWEEN)
        for _ in range(few):
            take()
        freed += few
        if content:
            _left.append(content)
    return freed
