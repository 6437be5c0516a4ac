"""Tensors in messages: small ones in the message itself, larger ones in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.errors import InvalidTensor
from tensorkeep.memory import join
from tensorkeep.tensor import DType, Tensor
from tensorkeep_workers_process.channel import MOST_FILES, close_all
from tensorkeep_workers_process.messages import ARENA, INLINE, Cell, NoMessage
from tensorkeep_workers_process.shared_memory import aligned, map_own_copy, map_sealed, sealed_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.tensor import Blob

SMALL: Final = 64 * 1024
"""Bytes up to which a tensor goes in the message, rather than in a file."""

DTYPES: Final = tuple(DType)
POSITIONS: Final = {dtype: position for position, dtype in enumerate(DTYPES)}


def inline(tensor: Tensor) -> Cell:
    """Returns a tensor with its elements."""
    blob = tensor.blob
    return Cell(POSITIONS[tensor.dtype], tensor.shape, blob if type(blob) is bytes else bytes(blob))


def in_files(tensors: Sequence[Tensor | None]) -> tuple[list[Cell | None], list[int]]:
    """Returns tensors as cells, and the sealed files of the larger ones, which the caller closes.

    Each has a file of its own, so that none keeps another's memory in use, but for those beyond
    as many as a packet can carry: the last file has all of them.
    """
    files: list[int] = []
    cells: list[Cell | None] = []
    rest: list[tuple[int, Blob]] = []
    end = 0
    try:
        for tensor in tensors:
            if tensor is None:
                cells.append(None)
            elif tensor.nbytes <= SMALL:
                cells.append(inline(tensor))
            else:
                position, blob, offset = POSITIONS[tensor.dtype], tensor.blob, 0
                if len(files) < MOST_FILES - 1:
                    files.append(sealed_file([(0, blob)]))
                    file = len(files) - 1
                else:
                    file, offset = MOST_FILES - 1, aligned(end)
                    rest.append((offset, blob))
                    end = offset + len(blob)
                cells.append(Cell(position, tensor.shape, b"", file, offset, len(blob)))
        if rest:
            files.append(sealed_file(rest))
    except BaseException:
        close_all(files)
        raise
    return cells, files


def from_worker(
    cells: Sequence[Cell | None],
    files: Sequence[int],
    limit: int,
    arena: memoryview | None = None,
) -> list[Tensor | None]:
    """Returns the tensors that a worker sent, each of them checked.

    Args:
        cells: What it sent.
        files: Descriptors that came with it; they may be closed afterwards.
        limit: Bytes that each of the files may have; 0 for any number.
        arena: The memory in which tensors may be as well: each is copied.

    Raises:
        NoMessage: One of them is no tensor.
    """
    memory = [map_sealed(file, limit).data for file in files]
    tensors: list[Tensor | None] = []
    for cell in cells:
        if cell is None:
            tensors.append(None)
            continue
        blob: Blob = cell.blob
        if cell.file != INLINE:
            whole = _memory_of(cell, memory, arena)
            end = cell.offset + cell.size
            if not 0 <= cell.offset <= end <= len(whole) or cell.offset != aligned(cell.offset):
                raise NoMessage(f"a tensor at {cell.offset} to {end} of {len(whole)} bytes")
            blob = whole[cell.offset : end]
            if cell.file == ARENA:
                blob = join([blob])  # other threads run meanwhile
        if not 0 <= cell.dtype < len(DTYPES):
            raise NoMessage(f"a tensor of type {cell.dtype}")
        try:
            tensors.append(Tensor.from_blob(DTYPES[cell.dtype], cell.shape, blob))
        except InvalidTensor as error:
            raise NoMessage(f"a tensor that is none: {error}") from error
    return tensors


def _memory_of(cell: Cell, files: Sequence[memoryview], arena: memoryview | None) -> memoryview:
    if cell.file == ARENA and arena is not None:
        return arena
    if not 0 <= cell.file < len(files):
        raise NoMessage(f"a tensor in file {cell.file} of {len(files)}")
    return files[cell.file]


def from_server(
    cells: Sequence[Cell], files: Sequence[int], arena: memoryview | None = None
) -> list[Tensor]:
    """Returns the tensors that the server sent.

    Args:
        cells: What it sent.
        files: Descriptors that came with it; they may be closed afterwards.
        arena: The memory that is used for each call again.
    """
    memory = [map_own_copy(file).data for file in files]
    tensors = []
    for cell in cells:
        blob: Blob = cell.blob
        if cell.file != INLINE:
            whole = arena if cell.file == ARENA else memory[cell.file]
            assert whole is not None  # noqa: S101 - the server sent one before it used it
            blob = whole[cell.offset : cell.offset + cell.size]
        tensors.append(Tensor.trusted(DTYPES[cell.dtype], cell.shape, blob))
    return tensors
