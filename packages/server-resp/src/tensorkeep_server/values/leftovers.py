"""What large values leave behind, freed bit by bit.

Python frees a dictionary of a million entries in one go, and nobody would be served meanwhile:
some 0.1 s. So a large value that nobody refers to any more leaves its content here, and the server
sweeps it between other work. Who refers to a value is what counts, not the command that removed
it: its key may have been moved, or somebody may hold it for a snapshot.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeAlias

Content: TypeAlias = dict[Any, Any] | set[Any] | list[Any] | deque[Any]

_LARGE: Final = 10_000  # entries that are freed in about 1 ms
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


def sweep(limit: int) -> int:
    """Frees entries of what was left.

    Args:
        limit: Most entries to free, so that other work gets its turn.

    Returns:
        How many were freed.
    """
    freed = 0
    while freed < limit and _left:
        content = _left.pop()
        take = content.popitem if isinstance(content, dict) else content.pop
        few = min(len(content), limit - freed)
        for _ in range(few):
            take()
        freed += few
        if content:
            _left.append(content)
    return freed
