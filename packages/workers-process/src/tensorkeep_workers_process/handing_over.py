"""Tensors on their way to one worker and back: in the message, in its arenas, or in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from tensorkeep_workers_process.arena import LARGEST, SOON_COPIED, Arena, put, room
from tensorkeep_workers_process.channel import close_all
from tensorkeep_workers_process.tensor_cells import from_worker, in_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.tensor import Tensor
    from tensorkeep_workers_process import messages


_AHEAD: Final = 4
"""Runs whose inputs of the usual size find room in an arena: all but one wait for the first."""


class Given(NamedTuple):
    """Inputs on their way to a worker.

    Attributes:
        cells: The inputs.
        files: Descriptors that go with them.
        arena: See `messages.Run`.
        results: See `messages.Run`.
    """

    cells: list[messages.Cell]
    files: list[int]
    arena: int
    results: int


class HandingOver:
    """The server's side, for one worker; for one thread at a time.

    Args:
        limit: Bytes that a file of the worker may have; 0 for any number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arena = Arena()  # for inputs
        self._results = Arena()  # for outputs
        self._wanted = 0  # bytes of outputs for which there was no room

    @property
    def room_for_inputs(self) -> int:
        """Bytes of the arena for inputs."""
        return len(self._arena.memory)

    def give(
        self, tensors: Sequence[Tensor], *, behind: bool = False, offset: int | None = None
    ) -> Given:
        """Returns inputs as cells, and what else goes with them: files that the caller closes.

        Args:
            tensors: The inputs.
            behind: Whether outputs of a run before this one may still lie in the arena for outputs.
            offset: Where in the arena for inputs there is room for them; None where nothing of it
                is in use.
        """
        wanted = room([tensor.nbytes for tensor in tensors])
        files: list[int] = []
        try:
            arena = 0
            if offset is None and wanted <= LARGEST:
                several = _AHEAD * wanted if wanted <= SOON_COPIED else wanted
                arena = _new_in(self._arena, several, files)
            results = 0 if behind else _new_in(self._results, self._wanted, files)
            if wanted <= LARGEST:
                cells = put(self._arena.memory, tensors, offset or 0)
            else:
                cells, sealed = in_files(tensors)
                files += sealed
        except BaseException:
            close_all(files)
            raise
        return Given(cast("list[messages.Cell]", cells), files, arena, results)

    def was_not_sent(self, given: Given) -> None:
        """Says that the worker does not know of new arenas."""
        if given.arena:
            self._arena.give_up()
        if given.results:
            self._results.give_up()

    def take(
        self, cells: Sequence[messages.Cell | None], files: Sequence[int]
    ) -> Sequence[Tensor | None]:
        """Returns the outputs of a run, each of them checked.

        Args:
            cells: What the worker sent.
            files: Descriptors that came with it; they may be closed afterwards.

        Raises:
            NoMessage: One of them is no tensor.
        """
        if files:  # next time there is room for as much
            wanted = room([cell.size for cell in cells if cell is not None])
            self._wanted = wanted if wanted <= LARGEST else 0
        return from_worker(cells, files, self._limit, self._results.memory.data)

    def leave_inputs(self) -> None:
        """Leaves the memory of the inputs to the worker, which still uses it."""
        self._arena.give_up()

    def close(self) -> None:
        """Lets go of all memory."""
        self._arena.give_up()
        self._results.give_up()


def _new_in(arena: Arena, wanted: int, files: list[int]) -> int:
    """Makes room in an arena; returns its size, and adds its file, if the worker is to map it."""
    file = arena.make_room(wanted)
    if file < 0:
        return 0
    files.append(file)
    return len(arena.memory)
