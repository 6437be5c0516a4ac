"""How requests share one run of a model: the options, and stacking and splitting of tensors.

Which requests go together is the run queue's decision; this module only knows tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Batching:
    """Batch options of a model; zero switches each of them off.

    Attributes:
        size: Most rows that one run may take.
        minimum: Fewest rows that a run waits for.
        timeout_ms: Milliseconds after which a run no longer waits for `minimum`.
    """

    size: int = 0
    minimum: int = 0
    timeout_ms: int = 0


UNBATCHED = Batching()


def rows(inputs: Sequence[Tensor]) -> int:
    """Returns the size of axis 0 that all inputs share, or 0 when they share none."""
    if not inputs:
        return 0
    shape = inputs[0].shape
    if not shape:
        return 0
    count = shape[0]
    for tensor in inputs:
        if not tensor.shape or tensor.shape[0] != count:
            return 0
    return count


def stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joins tensors of one dtype along axis 0.

    Args:
        tensors: At least one tensor; all have the same dtype and the same sizes but for axis 0.

    Returns:
        One tensor whose axis 0 is the sum of theirs.
    """
    if len(tensors) == 1:
        return tensors[0]
    first = tensors[0]
    shape = (sum([t.shape[0] for t in tensors]), *first.shape[1:])
    # Bytes, not arrays: most inputs have come as bytes, and an array of each takes 1 µs to make.
    return Tensor.trusted(first.dtype, shape, b"".join([t.blob for t in tensors]))


def split(tensor: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Cuts a tensor along axis 0.

    Every piece is a copy: a stored row must not keep the whole batch in memory.

    Args:
        tensor: A tensor whose axis 0 is the sum of `counts`.
        counts: Rows of each piece, in order.
    """
    if tensor.dtype is DType.STRING:
        return _split_strings(tensor, counts)
    dtype, (total, *row), blob = tensor.dtype, tensor.shape, tensor.blob
    size = len(blob) // (total or 1)
    pieces = []
    start = 0
    for count in counts:  # bytes, as most are sent; an array would take twice as long to make
        end = start + count * size
        pieces.append(Tensor.trusted(dtype, (count, *row), bytes(blob[start:end])))
        start = end
    return pieces


def _split_strings(tensor: Tensor, counts: Sequence[int]) -> list[Tensor]:
    elements = tensor.strings()
    row = len(elements) // tensor.shape[0] if tensor.shape[0] else 0
    pieces = []
    start = 0
    for count in counts:
        part = elements[start * row : (start + count) * row]
        shape = (count, *tensor.shape[1:])
        pieces.append(Tensor.from_values(DType.STRING, shape, part))
        start += count
    return pieces
