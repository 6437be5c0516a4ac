"""Functions of TorchScript, made ready to be called: what models and scripts share."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import torch

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep_torch.clean_memory import clean_memory, fill, keep_memory_clean
from tensorkeep_torch.graphs import inlined, nodes
from tensorkeep_torch.internals import function_of, set_gradients
from tensorkeep_torch.messages import of_end
from tensorkeep_torch.survey import forbidden, growing, silence, survey

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
        writes: Whether it may write to the memory of its inputs.
        steady: Whether the time that it takes depends on the shapes of its inputs only.
        decided_by: See `Survey.decided_by`.
        turn: Held by the one run that takes place, where a run may change what the next one
            finds; None where runs do not get into each other's way.
        fills: Whether it writes to all memory that it makes room for.
    """

    function: Callable[..., Any]
    first: tuple[Any, ...]
    writes: bool
    steady: bool
    decided_by: str
    turn: Lock | None
    fills: bool

    @classmethod
    def of(
        cls,
        function: Native,
        *first: object,
        place: torch.device,
        bound: object = None,
        python: frozenset[object] = frozenset(),
    ) -> Program:
        """Makes a program.

        Args:
            function: A function or method of torch.
            first: What it is always given in front.
            place: Where it is to run.
            bound: The module of a method.
            python: The functions of Python that it may call.

        Raises:
            ModelRejected: It reaches for what is not its own.
        """
        graph = inlined(function)
        _check(nodes(graph), place, python)
        found = survey(graph, bound, len(first))
        if not found.fills and found.forks:  # tasks may go on when the run has ended
            keep_memory_clean()
        if not found.fills and place.type != "cpu":
            graph = inlined(function)
            fill(graph)
            function = function_of(function.name, graph)
            if bound is not None:  # what becomes of a method is a function
                first = (bound, *first)
        return cls(
            function,
            first,
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
        """Calls the function, without gradients.

        Raises:
            RunFailed: The run was cancelled before it began.
            Exception: torch's own: the function failed.
        """
        if run.cancelled:
            raise RunFailed(of_end(run.reason))
        if self.fills and self.turn is None:  # as most do
            return self._called(arguments)
        with ExitStack() as stack:
            if self.turn is not None:
                _take(self.turn, run)
                stack.callback(self.turn.release)
            if not self.fills:
                stack.enter_context(clean_memory())
            return self._called(arguments)

    def _called(self, arguments: Iterable[object]) -> Any:  # noqa: ANN401 - whatever it returns
        gradients = torch.is_grad_enabled()  # of the caller's thread, which gets back what it had
        set_gradients(False)
        try:
            return self.function(*self.first, *arguments)
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
    functions: Iterable[Native], place: torch.device, python: frozenset[object] = frozenset()
) -> None:
    """Refuses functions that reach for what is not theirs, and has the others print nothing.

    Args:
        functions: Functions of torch, whether they are called or not.
        place: Where they are to run.
        python: The functions of Python that they may call.

    Raises:
        ModelRejected: One uses files, memory that is not its own, or Python.
    """
    for function in functions:
        found = nodes(function.graph)
        _check(found, place, python)
        silence(found)


def _check(found: Sequence[Native], place: torch.device, python: frozenset[object]) -> None:
    name = forbidden(found, python)
    if name is not None:
        raise ModelRejected(f"{name} may not be used: it reaches beyond its tensors, or may")
    name = None if place.type == "cpu" else growing(found)
    if name is not None:
        raise ModelRejected(f"{name} may not be used on a GPU: it shows what others left there")


def flattened(result: object) -> Iterator[object]:
    """Gives what a function returned, piece by piece: tuples and lists are taken apart."""
    if isinstance(result, (tuple, list)):
        for each in result:
            yield from flattened(each)
    else:
        yield result
