"""Which shared runs of a model can be relied on: what was found out by comparing.

A shared run is tried: the members of a batch run alone, then together, in several orders, and what
each gets must be the same; then some of them among other rows, which must change nothing of what
they get. What was so once is relied on for batches of the same sizes; what was not ends the sharing
of runs for as long as the model lives. Nothing here runs anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Outputs: TypeAlias = "Sequence[Tensor]"

_MOST_SIGNATURES: Final = 1024  # shapes of inputs to remember; more would only be a leak

# How far what a run of several rows computes may be from what runs of one do, relative to the
# largest element: kernels add up in another order, and GPUs round inputs to 10 bits. Whatever else
# differs was computed from other rows.
_TOLERANCES: Final = {
    DType.FLOAT16: 2e-2,
    DType.BFLOAT16: 5e-2,
    DType.FLOAT: 1e-3,
    DType.DOUBLE: 1e-6,
}
FLOATS: Final = frozenset(_TOLERANCES)
"""The types of tensors whose elements may differ by rounding."""


class Sharing:
    """What was found out about shared runs of one model.

    Workers write to it while the loop's thread reads; each change is a single operation, so no lock
    is needed, and who reads too early only tries once more.

    Attributes:
        refusal: Why requests share no run of the model any more; empty while they may.
        trying: Whether it is being found out just now, by shared runs that nobody waits for.
    """

    __slots__ = ("_proven", "_told", "refusal", "trying")

    def __init__(self) -> None:
        self.refusal = ""
        self.trying = False
        self._told = False
        # Sizes of axis 0 that came out as they went in, by the inputs' types and other sizes, and
        # by what all members of the batch had where they were alike.
        self._proven: dict[tuple[Hashable, Hashable], set[int]] = {}

    def refuse(self, reason: str) -> None:
        """Notes that requests must not share runs of the model.

        Args:
            reason: Why, as the end of a sentence for people.
        """
        self.refusal = self.refusal or reason

    def news(self) -> str:
        """Returns why requests do not share runs any more, once."""
        if not self.refusal or self._told:
            return ""
        self._told = True
        return self.refusal

    def prove(self, signature: Hashable, sizes: set[int], alike: Hashable = None) -> None:
        """Notes that a shared run gave what runs alone give.

        Args:
            signature: For what inputs that tells something.
            sizes: The rows of its members, and all of them together.
            alike: What stands for the inputs of its members where all had the same: then it tells
                nothing of others. None where they had not.
        """
        if len(self._proven) >= _MOST_SIGNATURES:
            self._proven = {}
        key = (signature, alike)
        self._proven[key] = self._proven.get(key, set()) | sizes

    def knows(self, signature: Hashable) -> bool:
        """Returns whether a shared run of some sizes has given what runs alone give."""
        return (signature, None) in self._proven

    def is_proven(self, signature: Hashable, sizes: set[int], alike: Hashable = None) -> bool:
        """Returns whether such a shared run has given what runs alone give; see `prove`."""
        found = self._proven.get((signature, alike))
        return found is not None and sizes <= found


def alike(members: Sequence[Sequence[Tensor]]) -> Hashable:
    """Returns what stands for the tensors of several requests that all have the same, bit for bit.

    None where they have not.
    """
    first = list(members[0])
    if any(list(each) != first for each in members[1:]):
        return None
    return tuple([(tensor.dtype, tensor.shape, hash(bytes(tensor.blob))) for tensor in first])


def influence(found: Outputs, usual: Outputs, names: Sequence[str], *, exact: bool) -> str:
    """Returns which of a member's outputs were others among other rows.

    Args:
        found: Its outputs among those.
        usual: Its outputs in the same place of a batch of the same sizes.
        names: Names of the outputs, perhaps empty ones.
        exact: Whether they have to be the same to the last bit.

    Returns:
        The end of a sentence for people; empty where none was.
    """
    for index, (one, other) in enumerate(zip(found, usual, strict=True)):
        if one.dtype is not other.dtype or one.shape != other.shape or not are_close(one, other):
            changed = True
        else:
            changed = exact and bytes(one.blob) != bytes(other.blob)
        if changed:
            return f"{output_named(index, names)} changes with the rows of other requests"
    return ""


def difference(found: Outputs, wanted: Outputs, names: Sequence[str]) -> str:
    """Returns in what a member's outputs of a shared run are not those of its run alone.

    Args:
        found: Its part of the outputs of the shared run.
        wanted: Its outputs alone.
        names: Names of the outputs, perhaps empty ones.

    Returns:
        The end of a sentence for people; empty where they are the same.
    """
    for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one.dtype is not other.dtype or one.shape != other.shape:
            return (
                f"{output_named(index, names)} of a run alone is {_shown(other)},"
                f" and its part of a shared run {_shown(one)}"
            )
        if not are_close(one, other):
            return f"{output_named(index, names)} has other values in a shared run than alone"
    return ""


def output_named(index: int, names: Sequence[str]) -> str:
    """Returns how people are told of an output: by its name, or by its number where it has none."""
    name = names[index] if index < len(names) else ""
    return f"output {name!r}" if name else f"output {index + 1}"


def _shown(tensor: Tensor) -> str:
    return f"{tensor.dtype.name}{list(tensor.shape)}"


def are_close(one: Tensor, other: Tensor) -> bool:
    """Returns whether tensors of one type and shape hold the same values, but for rounding."""
    tolerance = _TOLERANCES.get(one.dtype)
    if tolerance is None or one == other:
        return one == other
    with np.errstate(all="ignore"):
        a, b = one.numpy().astype(np.float64), other.numpy().astype(np.float64)
        finite = np.isfinite(b)
        scale = float(np.abs(b[finite]).max(initial=0.0))
        same = np.where(finite, np.abs(a - b) <= tolerance * scale, (a == b) | (a != a) & (b != b))  # noqa: PLR0124 - NaN
        return bool(same.all())
