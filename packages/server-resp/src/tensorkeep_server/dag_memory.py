"""DAGs that a client has sent before: their plans are made again without reading every word.

Clients send the same few DAGs over and over, with other data. Of a request that was read, all is
kept that hangs on its words alone; when the same words come again, what they stand for is looked
up and the rest is taken as it was. Whatever is not quite the same is read anew, which also words
every error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast
from weakref import ref

from tensorkeep.errors import TensorkeepError
from tensorkeep.graph import Operation
from tensorkeep.model import Model
from tensorkeep.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep_server.dag_plan import Origins, Plan

_KEPT: Final = 8  # requests that are remembered of one client
_LARGEST: Final = 128  # arguments of a request that is worth it
_LONGEST: Final = 4096  # bytes of all that is kept of it
_PATIENCE: Final = 16  # requests in a row that none was like before


class _Known(NamedTuple):
    words: list[Argument | None]  # None where data stands
    origins: Origins
    given: list[Tensor | None]  # None where data or a stored tensor goes
    models: list[ref[Model]]  # weakly: a deleted model must not stay because it was once used
    operations: list[tuple[tuple[int, ...], tuple[int, ...], int]]
    plan: Plan  # without its models and tensors


class DagMemory:
    """The DAGs that one client has sent."""

    __slots__ = ("_known", "_strange")

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}  # by number of arguments
        self._strange = 0

    def recall(self, request: Sequence[Argument], find: Callable[[bytes], object]) -> Plan | None:
        """Returns the plan of a request like one before; None when it is to be read.

        Args:
            request: The whole request.
            find: Returns what is stored under a key, None when nothing is.
        """
        known = self._known.get(len(request))
        if known is None:
            return None
        words: list[Argument | None] = [*request]
        for datum in known.origins.data:
            if request[datum.place][:2] == b"|>":  # data that would be taken for a separator
                return None
            words[datum.place] = None
        if words != known.words:
            return None
        given = _given(known, request, find)
        operations = _operations(known, find)
        if given is None or operations is None:
            return None
        self._strange = 0
        plan = known.plan
        return plan._replace(graph=plan.graph._replace(operations=operations), given=given)

    def note(self, request: Sequence[Argument], plan: Plan, origins: Origins) -> None:
        """Remembers a request that was read, if it may come again."""
        if self._strange >= _PATIENCE or len(request) > _LARGEST:
            return
        self._strange += 1
        words: list[Argument | None] = [*request]
        given: list[Tensor | None] = [*plan.given]
        for datum in origins.data:
            words[datum.place] = given[datum.slot] = None
        for slot, _ in origins.loaded:
            given[slot] = None
        size = sum([len(word) for word in words if word is not None])
        if size + sum([tensor.nbytes for tensor in given if tensor is not None]) > _LONGEST:
            return
        models = []
        operations = []
        for runnable, inputs, outputs, after, _ in plan.graph.operations:
            if type(runnable) is not Model:  # a call of a script is made for its request alone
                return
            models.append(ref(runnable))
            operations.append((inputs, outputs, after))
        bare = plan._replace(graph=plan.graph._replace(operations=()), given=())
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[len(request)] = _Known(words, origins, given, models, operations, bare)


def _given(
    known: _Known, request: Sequence[Argument], find: Callable[[bytes], object]
) -> list[Tensor] | None:
    """Returns what fills the first slots; None when something is not as it should be."""
    given = known.given.copy()
    for slot, key in known.origins.loaded:
        tensor = find(key)
        if type(tensor) is not Tensor:
            return None
        given[slot] = tensor
    try:
        for place, slot, dtype, shape in known.origins.data:
            given[slot] = Tensor.from_blob(dtype, shape, request[place])
    except TensorkeepError:
        return None
    return cast("list[Tensor]", given)


def _operations(known: _Known, find: Callable[[bytes], object]) -> tuple[Operation, ...] | None:
    """Returns the operations; None when a model is not the one that it was."""
    operations = []
    for key, model, operation in zip(
        known.origins.models, known.models, known.operations, strict=True
    ):
        found = model()
        if found is None or find(key) is not found:
            return None
        operations.append(Operation(found, *operation))
    return tuple(operations)
