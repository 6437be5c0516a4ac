"""The memory in which inputs go to a worker: used again for each call, mapped once on each side."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final
from weakref import ref

import numpy as np

from tensorkeep_workers_process.messages import ARENA, Cell
from tensorkeep_workers_process.shared_memory import Mapping, aligned, new_file
from tensorkeep_workers_process.tensor_cells import POSITIONS, SMALL, inline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.tensor import Tensor

LARGEST: Final = 64 * 1024 * 1024
"""Bytes beyond which inputs have sealed files instead: memory so large is not kept for later."""

_LEAST: Final = 1024 * 1024


class Arena:
    """The server's side of it: of one worker, for one call at a time."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def holds(self, tensors: Sequence[Tensor]) -> bool:
        """Returns whether tensors may go this way."""
        return sum([tensor.nbytes for tensor in tensors if tensor.nbytes > SMALL]) <= LARGEST

    def put(self, tensors: Sequence[Tensor]) -> tuple[list[Cell], int]:
        """Writes tensors; other threads run meanwhile.

        Returns:
            The tensors as cells, and the descriptor of a new file that the worker is to map before
            it reads them, which the caller closes; -1 where it knows it already.
        """
        cells: list[Cell] = []
        places: list[tuple[int, Tensor]] = []
        end = 0
        for tensor in tensors:
            size = tensor.nbytes
            if size <= SMALL:
                cells.append(inline(tensor))
                continue
            offset = aligned(end)
            end = offset + size
            places.append((offset, tensor))
            cells.append(Cell(POSITIONS[tensor.dtype], tensor.shape, b"", ARENA, offset, size))
        file = self._make_room(end)
        for offset, tensor in places:
            blob = np.frombuffer(tensor.blob, np.uint8)
            np.copyto(self._memory[offset : offset + len(blob)], blob)
        return cells, file

    @property
    def size(self) -> int:
        """Bytes that it has."""
        return len(self._memory)

    def give_up(self) -> None:
        """Leaves the memory to the worker, which still uses it."""
        self._memory = np.empty(0, np.uint8)

    def _make_room(self, size: int) -> int:
        if size <= len(self._memory):
            return -1
        self._memory = np.empty(0, np.uint8)
        size = max(_LEAST, 1 << (size - 1).bit_length())
        file = new_file(size)
        self._memory = Mapping(file, size, mmap.MAP_SHARED, writable=True).bytes()
        return file


class _Lease:
    """Stands between the memory and whatever uses it: lives as long as anything does."""

    __slots__ = ("__array_interface__", "__weakref__", "_mapping")

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self.__array_interface__ = mapping.__array_interface__


class ArenaReader:
    """The worker's side of it.

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
        if self._lease is None or self._lease() is None:
            return True
        self._mapping = None
        return False
