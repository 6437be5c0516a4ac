"""With what a shared run of a model is tried: arrangements of its members, and stand-ins for some.

Members stand together in several orders, and each of some members among stand-ins: rows that differ
as much as rows may from those of the requests that came. Nothing here runs anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tensorkeep.batching import split, stack
from tensorkeep.sharing import FLOATS
from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# How much larger the elements of stand-ins are than those of members: a mean over all rows then
# differs by far more than rounding does, and no threshold that members keep is likely to be kept.
_LARGER: Final = 1e6
_LARGEST: Final = {DType.FLOAT16: 6e4}  # above, float16 has no numbers
_MOST: Final = 1e38  # above, nor has float32


def grouped(members: Sequence[Sequence[Tensor]]) -> list[int]:
    """Returns the places of members in an order in which those with the same inputs are neighbours.

    A model that turns the rows round would give A, B, A what they get alone, but not A, A, B.
    """
    firsts: list[int] = []  # the first of each group
    groups: list[list[int]] = []
    for place, member in enumerate(members):
        for first, group in zip(firsts, groups, strict=True):
            if list(members[first]) == list(member):
                group.append(place)
                break
        else:
            firsts.append(place)
            groups.append([place])
    return [place for group in groups for place in group]


def orders(count: int) -> list[list[int]]:
    """Returns in which orders members are tried.

    As they stand and the other way round, for what sorts rows gives the right ones in one of the
    two; and each moved on by one, in which no order is that looks the same from both ends.
    """
    forth = list(range(count))
    found = [forth, forth[::-1]]
    return found if count < 3 else [*found, [*forth[1:], 0]]  # noqa: PLR2004 - of two that is the second


def pairs(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[list[Sequence[Tensor]]]:
    """Returns pairs of members to put among stand-ins.

    The two given, without infinities and what is no number: these would hide a larger element. And,
    where they have whole numbers or truth values, two that differ in all of them: the least of one
    input's elements wherever there is one, and the greatest. Both are values that the model takes.
    """
    first = [[_finite(tensor) for tensor in each] for each in (one, other)]
    if all(tensor.dtype in FLOATS or tensor.dtype is DType.STRING for tensor in one):
        return [list(first)]
    apart: list[list[Tensor]] = [[], []]
    for columns in zip(*first, strict=True):
        filled = columns
        if columns[0].dtype not in FLOATS and columns[0].dtype is not DType.STRING:
            filled = _apart(*columns)
        for tensors, tensor in zip(apart, filled, strict=True):
            tensors.append(tensor)
    return [list(first), list(apart)]


def _finite(tensor: Tensor) -> Tensor:
    if tensor.dtype not in FLOATS:
        return tensor
    array = tensor.numpy()
    known = np.isfinite(array.astype(np.float64))
    if known.all():
        return tensor
    return Tensor.from_numpy(np.where(known, array, np.zeros_like(array)))


def _apart(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Returns tensors of the least and of the greatest element of two, of their shapes."""
    arrays = one.numpy(), other.numpy()
    elements = np.concatenate([array.ravel() for array in arrays])
    extremes = (
        (False, True)
        if one.dtype is DType.BOOL or not elements.size
        else (elements.min(), elements.max())
    )
    least, greatest = (
        Tensor.from_numpy(np.full_like(array, value))
        for array, value in zip(arrays, extremes, strict=True)
    )
    return least, greatest


def stand_ins(members: Sequence[Sequence[Tensor]], place: int) -> Iterator[list[Sequence[Tensor]]]:
    """Yields batches of the same sizes in which one member stays, among rows that are others.

    First its own rows over and over. Then, where it has inputs of floats, these have elements far
    above and far below all of its own, by turns. Other types hold indices and lengths, of which
    nobody knows which a model takes: they stay those of the member.

    Args:
        members: The inputs of each member; all have the same types and shapes but for axis 0.
        place: Which of them stays.
    """
    own = members[place]
    yield [
        own if at == place else [_repeated(tensor, each[0].shape[0]) for tensor in own]
        for at, each in enumerate(members)
    ]
    if any(tensor.dtype in FLOATS for tensor in own):
        yield [
            own
            if at == place
            else [
                _filled(tensor, each[0].shape[0], below=place > 0)
                if tensor.dtype in FLOATS
                else _repeated(tensor, each[0].shape[0])
                for tensor in own
            ]
            for at, each in enumerate(members)
        ]


def _repeated(tensor: Tensor, rows: int) -> Tensor:
    """Returns so many rows of a tensor, beginning anew after its last."""
    own = tensor.shape[0]
    times = -(-rows // own)
    return split(stack([tensor] * times), [rows, times * own - rows])[0]


def _filled(tensor: Tensor, rows: int, *, below: bool) -> Tensor:
    """Returns so many rows of elements far above and below those of a tensor, by turns.

    Args:
        tensor: The tensor.
        rows: How many rows.
        below: Whether to begin with one below: a row may have only one.
    """
    array = tensor.numpy()
    elements = array.astype(np.float64)
    largest = float(np.abs(elements[np.isfinite(elements)]).max(initial=0.0))
    value = min(_LARGER * (1 + largest), _LARGEST.get(tensor.dtype, _MOST))
    shape = (rows, *tensor.shape[1:])
    flat = np.full(np.prod(shape), value)
    flat[int(not below) :: 2] *= -1
    return Tensor.from_numpy(flat.astype(array.dtype).reshape(shape))
