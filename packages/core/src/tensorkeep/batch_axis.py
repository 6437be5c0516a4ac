"""Whether axis 0 of a model's inputs and outputs is a batch: what a backend says of it.

Requests share a run of a model by being stacked along axis 0, and the outputs are cut there again.
That is right only where axis 0 of every input and output counts independent rows. Backends say what
their formats tell, here is decided what follows from that; what the rows hold is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Sizes: TypeAlias = "Sequence[int | str | None] | None"
"""The sizes that a model declares for an input or output: numbers where they are fixed, symbols
where equal ones stand for equal sizes, None for any. None as a whole where nothing is declared."""


class AxisKind(Enum):
    """What is known of axis 0.

    Attributes:
        KNOWN: The backend knows that it is the batch axis of every input and output, and that rows
            never depend on each other: requests share runs.
        DECLARED: The model declares it as the batch axis of every input and output. The first
            shared run is compared with runs alone, for rows may be mixed nevertheless.
        POSSIBLE: Nothing speaks against it, and the sizes of all outputs follow from the shapes of
            the inputs. A shared run of each size is compared with runs alone.
        NONE: It is none, or nobody can tell: requests never share a run.
    """

    KNOWN = auto()
    DECLARED = auto()
    POSSIBLE = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class BatchAxis:
    """What a backend says of axis 0 of a model's inputs and outputs.

    Attributes:
        kind: What is known.
        reason: Why requests never share a run, as the end of a sentence for people; empty for
            other kinds.
    """

    kind: AxisKind
    reason: str = ""

    @classmethod
    def none(cls, reason: str) -> BatchAxis:
        """Says that requests never share a run, and why."""
        return cls(AxisKind.NONE, reason)


KNOWN: Final = BatchAxis(AxisKind.KNOWN)
DECLARED: Final = BatchAxis(AxisKind.DECLARED)
POSSIBLE: Final = BatchAxis(AxisKind.POSSIBLE)
UNKNOWN: Final = BatchAxis.none("its backend does not say whether axis 0 is the batch")
"""What holds for backends that say nothing."""


def batch_axis(
    inputs: Sequence[tuple[str, Sizes]],
    outputs: Sequence[tuple[str, Sizes]],
    sized_by_values: str = "",
) -> BatchAxis:
    """Decides from declared sizes.

    Args:
        inputs: Name and declared sizes of each input.
        outputs: The same of each output. Whoever runs the model need not hold to them.
        sized_by_values: Why sizes of outputs may depend on the values of inputs, as the end of a
            sentence; empty where they follow from the inputs' shapes.

    Returns:
        `DECLARED` where one symbol stands first, and nowhere else, in all inputs and outputs, and
        every other size of an output is fixed or a size of an input. No axis where a first size is
        fixed, is missing, or is another axis of an input. Otherwise `POSSIBLE`, or no axis where
        sizes depend on values.
    """
    if not inputs:
        return BatchAxis.none("it has no inputs")
    everything = [("input", *each) for each in inputs] + [("output", *each) for each in outputs]
    inner = {size for _, sizes in inputs for size in (sizes or ())[1:]}
    symbols = {sizes[0] for _, _, sizes in everything if sizes}
    first = symbols.pop() if len(symbols) == 1 else None
    for kind, name, sizes in everything:
        problem = "" if sizes is None else _problem(sizes, first)
        if not problem and kind == "output" and sizes and sizes[0] in inner - {None}:
            problem = f"begins with {sizes[0]}, which is another axis of an input"
        if problem:
            return BatchAxis.none(f"{kind} {name!r} {problem}")
    bounded = all(
        isinstance(size, int) or size in inner - {None}
        for _, sizes in outputs
        for size in (sizes or ())[1:]
    )
    if first is not None and bounded and all(sizes for _, _, sizes in everything):
        return DECLARED
    return BatchAxis.none(sized_by_values) if sized_by_values else POSSIBLE


def _problem(sizes: Sequence[int | str | None], first: object) -> str:
    """Returns why axis 0 of an input or output is no batch; empty when it may be one.

    Args:
        sizes: Its sizes.
        first: The first size of everything, None where there are several.
    """
    if not sizes:
        return "has no axes"
    if isinstance(sizes[0], int):
        shown = ", ".join("?" if size is None else str(size) for size in sizes)
        return f"is [{shown}], of a fixed first size"
    # As a word: exporters write sizes such as "2*batch" too.
    word = re.compile(rf"(?<!\w){re.escape(str(first))}(?!\w)")
    if first is not None and any(isinstance(size, str) and word.search(size) for size in sizes[1:]):
        return f"has its first size {first} once more"
    return ""
