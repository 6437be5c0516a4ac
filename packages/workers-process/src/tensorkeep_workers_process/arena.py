"""The memory in which tensors go to a worker and back: used again for each call.

The server makes it, and each side maps it once: the system takes longer to find new memory for a
tensor than to copy it twice. What a worker wrote there is copied before it is looked at.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final
from weakref import ref

import numpy as np

from tensorkeep_workers_process.messages import ARENA, Cell
from tensorkeep_workers_process.shared_memory import Mapping, aligned, new_file
from tensorkeep_workers_process.tensor_cells import POSITIONS, inline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tensorkeep.tensor import Tensor

LARGEST: Final = 64 * 1024 * 1024
"""Bytes beyond which tensors have sealed files instead: so much is not kept for later."""

SOON_COPIED: Final = 2 * 1024 * 1024
"""Bytes that an event loop may copy: a fraction of a millisecond."""

SMALL: Final = 32 * 1024
"""Bytes up to which a tensor goes in the message."""

_LEAST: Final = 1024 * 1024


def room(sizes: Iterable[int]) -> int:
    """Returns how many bytes of an arena tensors of some sizes take."""
    return sum([aligned(size) for size in sizes if size > SMALL])


def place(taken: Sequence[tuple[int, int]], wanted: int, size: int) -> int | None:
    """Returns where in an arena there is room; None where there is none.

    It is taken around and around, and freed in the order in which it was taken.

    Args:
        taken: What is taken, from where to where, the oldest first.
        wanted: Bytes that are wanted, at least one.
        size: Bytes that the arena has.
    """
    if not taken:
        return 0 if wanted <= size else None
    (oldest, _), (newest, end) = taken[0], taken[-1]
    if newest < oldest:  # it has gone around
        return end if end + wanted <= oldest else None
    if end + wanted <= size:
        return end
    return 0 if wanted <= oldest else None


def put(
    memory: NDArray[np.uint8], tensors: Sequence[Tensor | None], offset: int = 0
) -> list[Cell | None]:
    """Writes tensors, of which there is room for all; other threads run meanwhile.

    Args:
        memory: The memory of an arena.
        tensors: The tensors.
        offset: Where the first is written.
    """
    cells: list[Cell | None] = []
    for tensor in tensors:
        if tensor is None:
            cells.append(None)
            continue
        size = tensor.nbytes
        if size <= SMALL:
            cells.append(inline(tensor))
            continue
        np.copyto(memory[offset : offset + size], np.frombuffer(tensor.blob, np.uint8))
        cells.append(Cell(POSITIONS[tensor.dtype], tensor.shape, b"", ARENA, offset, size))
        offset += aligned(size)
    return cells


class Arena:
    """The server's side of it, of one worker.

    Attributes:
        memory: The memory; nothing until room was made.
    """

    def __init__(self) -> None:
        self.memory: NDArray[np.uint8] = np.empty(0, np.uint8)

    def make_room(self, size: int) -> int:
        """Sees that there are so many bytes.

        Returns:
            The descriptor of a new file that the worker is to map, which the caller closes; -1
            where it knows it already.
        """
        if size <= len(self.memory):
            return -1
        self.give_up()
        size = max(_LEAST, 1 << (size - 1).bit_length())
        file = new_file(size)
        self.memory = Mapping(file, size, mmap.MAP_SHARED, writable=True).bytes()
        return file

    def give_up(self) -> None:
        """Leaves the memory to the worker, which still uses it."""
        self.memory = np.empty(0, np.uint8)


class _Lease:
    """Stands between the memory and whatever uses it: lives as long as anything does."""

    __slots__ = ("__array_interface__", "__weakref__", "_mapping")

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self.__array_interface__ = mapping.__array_interface__


class ArenaReader:
    """The worker's side of it, for inputs.

    Tensors made of it may be written in place, which nobody else sees. What a framework keeps of
    them for longer than the call must not be used again: see `returned`.
    """

    def __init__(self) -> None:
        self._mapping: Mapping | None = None
        self._lease: ref[_Lease] | None = None

    def map(self, file: int, size: int) -> None:
        """Maps a new file instead of the one before."""
        self._mapping = Mapping(file, size, mmap.MAP_SHARED, writable=True)

    def lend(self) -> memoryview | None:
        """Returns the memory for one call; None where there is none yet."""
        if self._mapping is None:
            return None
        lease = _Lease(self._mapping)
        self._lease = ref(lease)
        return np.asarray(lease).data

    def returned(self) -> bool:
        """Returns whether nothing uses what was lent; otherwise another file has to come."""
        return self._lease is None or self._lease() is None
