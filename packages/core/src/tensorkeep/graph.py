"""The operations of one request: which may start, what a finished one frees, how failure spreads.

A graph is a plan with numbered slots for tensors; each slot is written once. The first slots are
given with the request, every other one is an output of an operation. Nothing here runs anything.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.hookspecs import ScriptCall
    from tensorkeep.model import Model, Runnable, Script
    from tensorkeep.tensor import Tensor


# Named tuples here: one of each is made for every request, and nothing frozen is cheaper.
class Operation(NamedTuple):
    """One model or script to run.

    Attributes:
        runnable: The model or script.
        inputs: Slots that it reads, one per input; negative ones count from the end.
        outputs: Slots that it writes, one per output; likewise.
        after: An earlier operation that must have ended well before it starts, beside those whose
            outputs it reads; -1 for none.
        call: What a script is asked for, without the tensors; None for a model.
    """

    runnable: Runnable
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    after: int = -1
    call: ScriptCall | None = None


class Graph(NamedTuple):
    """A plan: operations in an order in which each only reads what stands before it.

    Attributes:
        operations: The operations.
        given: Number of slots that the request fills; they come first.
        slots: Number of all slots.
    """

    operations: tuple[Operation, ...]
    given: int
    slots: int

    @classmethod
    def of(cls, model: Model, given: int) -> Graph:
        """Returns the plan of a single run: inputs first, outputs after them.

        Args:
            model: The model.
            given: Number of inputs.
        """
        inputs, outputs = _slots_of_one(given, len(model.loaded.outputs))
        return cls((Operation(model, inputs, outputs),), given, given + len(outputs))

    @classmethod
    def of_call(cls, script: Script, given: int, call: ScriptCall) -> Graph:
        """Returns the plan of a single call of a script: inputs first, outputs after them.

        Args:
            script: The script.
            given: Number of tensors that the function is given.
            call: What it is asked for.
        """
        inputs, outputs = _slots_of_one(given, call.outputs or 0)
        return cls((Operation(script, inputs, outputs, call=call),), given, given + len(outputs))


@lru_cache
def _slots_of_one(inputs: int, outputs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(range(inputs)), tuple(range(inputs, inputs + outputs))


class GraphRun:
    """A graph on its way.

    Attributes:
        graph: The plan.
        expires_at: Monotonic time from which on no operation is started, None for never.
        values: The tensor in each slot, None while (or because) there is none.
        errors: What each operation failed with, None for those that did not.
        ran: Whether each operation ended well.
        error: Why the request as a whole was given up, None when it was not.
        running: Number of operations that were started and have not ended.
        failed: Whether what has not started never will.
        on_done: Called once when the request is done, unless it was done before this was set.
    """

    __slots__ = (
        "_frees",
        "_waits",
        "error",
        "errors",
        "expires_at",
        "failed",
        "graph",
        "on_done",
        "ran",
        "running",
        "values",
    )

    def __init__(
        self, graph: Graph, given: Sequence[Tensor], expires_at: float | None = None
    ) -> None:
        self.graph = graph
        self.expires_at = expires_at
        count = len(graph.operations)
        self.values: list[Tensor | None] = [*given, *[None] * (graph.slots - graph.given)]
        self.errors: list[Exception | None] = [None] * count
        self.ran = [False] * count
        self.error: Exception | None = None
        self.running = 0
        self.on_done: Callable[[GraphRun], None] | None = None
        self.failed = False
        # For each operation that waits: for how many others. And who waits for each of those.
        self._waits: dict[int, int] = {}
        self._frees: dict[int, list[int]] = {}

    @property
    def done(self) -> bool:
        """Whether nothing of it runs, or will start, any more."""
        return not self.running and (self.failed or not self._waits)

    def start(self) -> list[int]:
        """Returns the operations that may start at once."""
        operations = self.graph.operations
        if len(operations) == 1:  # it can only read what is given
            self.running = 1
            return [0]
        ready = []
        makers: dict[int, int] = {}
        for index, operation in enumerate(operations):
            before = {makers[slot] for slot in operation.inputs if slot in makers}
            if operation.after >= 0:
                before.add(operation.after)
            makers.update(dict.fromkeys(operation.outputs, index))
            if not before:
                ready.append(index)
                continue
            self._waits[index] = len(before)
            for each in before:
                self._frees.setdefault(each, []).append(index)
        self.running = len(ready)
        return ready

    def inputs(self, index: int) -> list[Tensor]:
        """Returns the inputs of an operation that may start: what wrote them has ended well."""
        values = self.values
        return [cast("Tensor", values[slot]) for slot in self.graph.operations[index].inputs]

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors in all slots that were not given, once everything ended well."""
        return [cast("Tensor", value) for value in self.values[self.graph.given :]]

    def finish(self, index: int, outputs: Sequence[Tensor]) -> list[int]:
        """Takes the outputs of an operation that ended well; returns those that may start now."""
        self.running -= 1
        self.ran[index] = True
        slots = self.graph.operations[index].outputs
        for slot, output in zip(slots, outputs, strict=True):
            self.values[slot] = output
        if self.failed:
            return []
        ready = []
        for each in self._frees.pop(index, ()):
            self._waits[each] -= 1
            if not self._waits[each]:
                del self._waits[each]
                ready.append(each)
        self.running += len(ready)
        return ready

    def skip(self) -> None:
        """Takes back an operation that was to run, has not begun and never will."""
        self.running -= 1
        self.failed = True

    def fail(self, index: int, error: Exception) -> None:
        """Takes the failure of an operation: what has not started will not."""
        self.running -= 1
        self.errors[index] = error
        self.failed = True

    def give_up(self, error: Exception) -> None:
        """Gives up the request as a whole: what has not started will not."""
        if self.error is None:
            self.error = error
        self.failed = True

    def __repr__(self) -> str:
        return f"GraphRun({sum(self.ran)} of {len(self.ran)} done, {self.running} running)"


def call_of(
    script: Script, inputs: Sequence[Tensor], call: ScriptCall, expires_at: float | None = None
) -> GraphRun:
    """Returns a request to call a function of a script.

    Args:
        script: The script.
        inputs: The tensors that the function is given.
        call: What it is asked for.
        expires_at: See `run_of`.
    """
    return GraphRun(Graph.of_call(script, len(inputs), call), inputs, expires_at)


def run_of(model: Model, inputs: Sequence[Tensor], expires_at: float | None = None) -> GraphRun:
    """Returns a request to run one model.

    Args:
        model: The model.
        inputs: One tensor per input.
        expires_at: Time of the loop's clock from which on it is not started any more.
    """
    return GraphRun(Graph.of(model, len(inputs)), inputs, expires_at)
