"""Functions of TorchScript, made ready to be called: what models and scripts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tensorkeep.errors import ModelRejected
from tensorkeep_torch.internals import set_gradients
from tensorkeep_torch.loops import interruptible, new_flag, set_flag
from tensorkeep_torch.survey import forbidden, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorkeep.hookspecs import RunContext
    from tensorkeep_torch.internals import Native


@dataclass(frozen=True, slots=True)
class Program:
    """A function, with what is known of it.

    Attributes:
        function: The function.
        first: What it is always given in front: a method's module, or weights.
        flagged: Whether its last argument is the flag that ends its loops.
        writes: Whether it may write to the memory of its inputs.
        steady: Whether the time that it takes depends on the shapes of its inputs only.
    """

    function: Callable[..., Any]
    first: tuple[Any, ...]
    flagged: bool
    writes: bool
    steady: bool

    @classmethod
    def of(cls, function: Native, *first: object, bound: object = None) -> Program:
        """Makes a program.

        Args:
            function: A function or method of torch.
            first: What it is always given in front.
            bound: The module of a method.
        """
        found = survey(function)
        if not found.loops:
            return cls(function, first, flagged=False, writes=found.writes, steady=found.steady)
        if bound is not None:  # what becomes of a method is a function
            first = (bound, *first)
        loops = interruptible(function)
        return cls(loops, first, flagged=True, writes=found.writes, steady=found.steady)

    def __call__(self, arguments: Iterable[object], run: RunContext) -> Any:  # noqa: ANN401 - whatever it returns
        """Calls the function, without gradients; its loops end when the run is cancelled.

        Raises:
            Exception: torch's own: the function failed, or a loop was ended.
        """
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


def refuse_forbidden(functions: Iterable[Native], allowed: frozenset[object] = frozenset()) -> None:
    """Refuses functions that reach for what is not theirs.

    Args:
        functions: Functions of torch.
        allowed: The functions of Python that they may call.

    Raises:
        ModelRejected: One uses files, the network, or Python.
    """
    name = forbidden(functions, allowed)
    if name is not None:
        raise ModelRejected(f"{name} may not be used: it reaches beyond tensors")


def flattened(result: object) -> Iterator[object]:
    """Gives what a function returned, piece by piece: tuples and lists are taken apart."""
    if isinstance(result, (tuple, list)):
        for each in result:
            yield from flattened(each)
    else:
        yield result
