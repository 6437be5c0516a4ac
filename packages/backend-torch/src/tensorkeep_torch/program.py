"""Functions of TorchScript, made ready to be called: what models and scripts share."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import torch

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep_torch.changes import changed_for_runs, silence
from tensorkeep_torch.clean_memory import CLEAN_MEMORY, keep_memory_clean
from tensorkeep_torch.graphs import inlined
from tensorkeep_torch.internals import set_gradients
from tensorkeep_torch.loops import new_flag, set_flag
from tensorkeep_torch.messages import of_end
from tensorkeep_torch.survey import calls_others, forbidden, growing, size_of, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorkeep.hookspecs import RunContext
    from tensorkeep_torch.internals import Native

_LOOKS_EVERY: Final = 0.05  # seconds in which a run that waits for its turn may be cancelled


@dataclass(frozen=True, slots=True)
class Program:
    """A function, with what is known of it.

    Attributes:
        function: The function.
        first: What it is always given in front: a method's module, or weights.
        flagged: Whether its last argument is the flag that ends its loops.
        writes: Whether it may write to the memory of its inputs.
        steady: Whether the time that it takes depends on the shapes of its inputs only.
        decided_by: See `Survey.decided_by`.
        turn: Held by the one run that takes place, where a run may change what the next one
            finds; None where runs do not get into each other's way.
        fills: Whether it writes to all memory that it makes room for.
    """

    function: Callable[..., Any]
    first: tuple[Any, ...]
    flagged: bool
    writes: bool
    steady: bool
    decided_by: str
    turn: Lock | None
    fills: bool

    @classmethod
    def of(cls, function: Native, *first: object, bound: object = None) -> Program:
        """Makes a program.

        Args:
            function: A function or method of torch.
            first: What it is always given in front.
            bound: The module of a method.
        """
        found = survey(function, bound, len(first))
        changed = changed_for_runs(function, found)
        if changed is not function and bound is not None:  # what becomes of a method is a function
            first = (bound, *first)
        if found.forks and not found.fills:  # tasks may go on when the run has ended
            keep_memory_clean()
        return cls(
            changed,
            first,
            flagged=found.loops,
            writes=found.writes,
            steady=found.steady and not found.state,
            decided_by=found.decided_by,
            turn=Lock() if found.state else None,
            fills=found.fills,
        )

    @property
    def state(self) -> bool:
        """Whether a run may change what the next one finds."""
        return self.turn is not None

    def __call__(self, arguments: Iterable[object], run: RunContext) -> Any:  # noqa: ANN401 - whatever it returns
        """Calls the function, without gradients; its loops end when the run is cancelled.

        Raises:
            RunFailed: The run was cancelled before its turn came.
            Exception: torch's own: the function failed, or a loop was ended.
        """
        if self.fills and self.turn is None:  # as most do
            return self._called(arguments, run)
        with ExitStack() as stack:
            if self.turn is not None:
                _take(self.turn, run)
                stack.callback(self.turn.release)
            if not self.fills:
                stack.enter_context(CLEAN_MEMORY)
            return self._called(arguments, run)

    def _called(self, arguments: Iterable[object], run: RunContext) -> Any:  # noqa: ANN401 - whatever it returns
        gradients = torch.is_grad_enabled()  # of the caller's thread, which gets back what it had
        set_gradients(False)
        try:
            if not self.flagged:
                return self.function(*self.first, *arguments)
            flag = new_flag()
            run.on_cancel(lambda: set_flag(flag))
            try:
                return self.function(*self.first, *arguments, flag)
            finally:
                run.on_cancel(None)
        finally:
            set_gradients(gradients)


def _take(turn: Lock, run: RunContext) -> None:
    """Waits until no other run of the program takes place.

    Raises:
        RunFailed: The run was cancelled meanwhile.
    """
    while not turn.acquire(timeout=_LOOKS_EVERY):
        if run.cancelled:
            raise RunFailed(of_end(run.reason))


def vet(
    functions: Sequence[Native],
    called: Sequence[Native],
    place: torch.device,
    most: int,
    allowed: frozenset[object] = frozenset(),
) -> None:
    """Refuses functions that reach for what is not theirs, and has the others print nothing.

    Args:
        functions: Functions of torch, with those that they call.
        called: Those that clients call.
        place: Where they are to run.
        most: How many steps those may have, each with all that it calls in place.
        allowed: The functions of Python that they may call.

    Raises:
        ModelRejected: One uses files, the network, or Python, or swells beyond measure.
    """
    graphs = [function.graph for function in functions]
    _vet_operators(graphs, place, allowed)
    try:
        size = size_of(functions, called)
    except RecursionError as error:
        raise ModelRejected("Functions call each other too deeply") from error
    if size > most:
        raise ModelRejected(f"Functions with all that they call have more than {most} steps")
    if calls_others(functions):
        _vet_operators([inlined(function) for function in called], place, allowed)
    silence(graphs)


def _vet_operators(
    graphs: Sequence[Native], place: torch.device, allowed: frozenset[object]
) -> None:
    name = forbidden(graphs, allowed)
    if name is not None:
        raise ModelRejected(f"{name} may not be used: it reaches beyond its tensors, or may")
    name = None if place.type == "cpu" else growing(graphs)
    if name is not None:
        raise ModelRejected(f"{name} may not be used on a GPU: it shows what others left there")


def flattened(result: object) -> Iterator[object]:
    """Gives what a function returned, piece by piece: tuples and lists are taken apart."""
    if isinstance(result, (tuple, list)):
        for each in result:
            yield from flattened(each)
    else:
        yield result
