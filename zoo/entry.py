"""What the zoo is made of: one entry is one model of one framework, saved in one way.

To add entries, write a module with a function `entries() -> Iterable[Entry]` and name it in
`listing.py`. It may import its frameworks only within that function or what that calls.
`make` returns the file, how it is stored, and what the framework itself makes of some inputs::

    def tagger(size: Size) -> Made:
        network = ...                                   # small where size is SHORT
        inputs = {"x": np.ones((2, 5), np.float32)}     # in the order that the model has
        return Made(blob, [Case(inputs, [network(inputs["x"])])])

    Entry("GRU tagger", "torch", "TorchScript, scripted", "TORCH", tagger)

Rows of the page are models, columns are forms. A form that the framework itself cannot write raises
`NotWritable`; what this server refuses on purpose says so with `refused`, a pattern that the text
of the refusal must match. Everything else must work, or `run_zoo.py` ends with exit code 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


class Size(Enum):
    """How large a model is made."""

    FULL = "full"  # as its package has it by default, or as its entry says
    SHORT = "short"  # the same layers, few and narrow, for the test suite


class NotWritable(Exception):
    """The framework itself cannot save this model in this way; the text says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run.

    Attributes:
        inputs: Arrays by name, in the order in which they are given.
        outputs: What the framework, called directly, makes of them, in the model's order. Strings
            are arrays of objects.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[Array]


@dataclass(frozen=True, slots=True)
class Made:
    """A model as a file, with what it must compute.

    Attributes:
        blob: The file.
        cases: At least one run; the others show that sizes are free.
        options: Words of AI.MODELSTORE before BLOB, such as `("INPUTS", 1, "x")`.
        tolerance: By how much outputs may differ, relative to the largest element of each; 0 means
            bit for bit.
    """

    blob: bytes
    cases: Sequence[Case]
    options: Sequence[str | int] = ()
    tolerance: float = 1e-5


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the zoo in one of its forms.

    Attributes:
        model: The architecture, such as `BERT`; a row of the page.
        package: What it is installed from.
        form: How it was saved, such as `.pt2`; a column of the page.
        backend: The backend that runs it.
        make: Makes the file, of one of two sizes.
        note: With which option it works, or what a user has to do; for the page.
        refused: A pattern of the text with which AI.MODELSTORE refuses it; empty when it works.
        short: Whether it belongs to the short form that the test suite runs.
    """

    model: str
    package: str
    form: str
    backend: str
    make: Callable[[Size], Made]
    note: str = ""
    refused: str = ""
    short: bool = False

    @property
    def title(self) -> str:
        """Names the entry in one line."""
        return f"{self.model} ({self.package}), {self.form}"
