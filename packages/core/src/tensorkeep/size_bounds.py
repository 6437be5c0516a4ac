"""How large the values of a model can get, whatever a run is given.

An axis of an input may be of any size; that size is a symbol. What a model computes has axes whose
sizes are known, or at most a factor times such symbols. A value may grow no faster than the bytes
that a client sends: a size that could be the product of one symbol with itself, or of symbols
of two inputs, is not allowed.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_ALTERNATIVES: Final = 16


class Unbounded(ValueError):
    """A size cannot be bounded as it must be; the text says why, for people."""


class Unfitting(Unbounded):
    """Sizes do not fit each other, so that a run would fail."""


class Symbol(NamedTuple):
    """The size of an axis of an input, which a run may choose; 1 in place of 0."""

    input: int
    axis: int


Product: TypeAlias = frozenset[Symbol]


class AtMost(NamedTuple):
    """A size that is not known.

    Attributes:
        factor: What it is at most, times the largest of some products.
        products: Those.
    """

    factor: float
    products: frozenset[Product]


Size: TypeAlias = int | AtMost
Shape: TypeAlias = tuple[Size, ...]


def any_size(number: int, axis: int) -> AtMost:
    """Returns the size of an axis that a run may choose."""
    return AtMost(1.0, frozenset((frozenset((Symbol(number, axis),)),)))


def factor_of(size: Size) -> float:
    """Returns what a size is at most where all symbols are 1."""
    return size.factor if isinstance(size, AtMost) else size


def factor_of_all(shape: Iterable[Size]) -> float:
    """Returns how many elements there are at most where all symbols are 1."""
    return prod(map(factor_of, shape), start=1.0)


def largest(sizes: Sequence[Size]) -> Size:
    """Returns a bound for all of some sizes."""
    known = [size for size in sizes if not isinstance(size, AtMost)]
    if len(known) == len(sizes):
        return max(known)
    return AtMost(max(map(factor_of, sizes)), _either(sizes))


def total(sizes: Sequence[Size]) -> Size:
    """Returns a bound for the sum of some sizes."""
    if not any(isinstance(size, AtMost) for size in sizes):
        return sum(size for size in sizes if not isinstance(size, AtMost))
    return AtMost(sum(map(factor_of, sizes)), _either(sizes))


def _either(sizes: Sequence[Size]) -> frozenset[Product]:
    found = frozenset[Product]().union(
        *(size.products for size in sizes if isinstance(size, AtMost))
    )
    if len(found) > _MOST_ALTERNATIVES:
        raise Unbounded("a size depends on too many sizes of inputs")
    return found


def times(sizes: Sequence[Size], divided_by: int = 1) -> Size:
    """Returns a bound for the product of some sizes, divided by a number.

    Raises:
        Unbounded: It grows faster than the inputs, or the division leaves a rest.
    """
    products = _products(sizes)
    factor = factor_of_all(sizes)
    if products == {frozenset()}:
        whole = prod(size for size in sizes if not isinstance(size, AtMost))
        if whole % divided_by:
            raise Unfitting("a shape does not fit the number of elements")
        return whole // divided_by
    return AtMost(factor / divided_by, products)


def scaled(size: Size, factor: int) -> Size:
    """Returns a bound for a multiple of a size."""
    return (
        AtMost(size.factor * factor, size.products) if isinstance(size, AtMost) else size * factor
    )


def inputs_of(shape: Sequence[Size]) -> set[int]:
    """Returns the inputs whose sizes a shape depends on.

    Raises:
        Unbounded: It grows faster than they do.
    """
    return {symbol.input for each in _products(shape) for symbol in each}


def _products(sizes: Sequence[Size]) -> frozenset[Product]:
    """Returns what the product of some sizes is at most, but for its factor."""
    choices = [size.products for size in sizes if isinstance(size, AtMost)]
    if prod(map(len, choices)) > _MOST_ALTERNATIVES**2:
        raise Unbounded("a size depends on too many sizes of inputs")
    found = set()
    for chosen in product(*choices):
        symbols = [symbol for each in chosen for symbol in each]
        if len(set(symbols)) < len(symbols) or len({each.input for each in symbols}) > 1:
            raise Unbounded("it can get larger than the inputs times a number")
        found.add(frozenset(symbols))
    return frozenset(found)


def broadcast(*shapes: Shape) -> Shape:
    """Returns the shape of what takes an element of each of some values at a time.

    Raises:
        Unbounded: They do not fit.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(
        _fitting([size for size in sizes if size != 1]) for sizes in zip(*padded, strict=True)
    )


def _fitting(sizes: list[Size]) -> Size:
    """Returns the size of an axis that others, none of them 1, must agree on, or be 1 in a run."""
    known = {size for size in sizes if not isinstance(size, AtMost)}
    if len(known) > 1:
        raise Unfitting("the shapes do not fit")
    if known:
        return known.pop()
    return largest(sizes) if sizes else 1


def window_count(size: Size, pads: tuple[int, int], reach: int, stride: int, *, ceil: bool) -> Size:
    """Returns how many places a window has that moves along an axis.

    Args:
        size: The size of the axis.
        pads: What is added to it before and behind, each less than `reach`.
        reach: The elements from the first to the last of the window.
        stride: By how many elements it moves.
        ceil: Whether a window that is not whole counts.

    Raises:
        Unfitting: It is larger than the axis.
    """
    room = sum(pads) - reach
    if isinstance(size, AtMost):
        return scaled(size, 1 + max(0, room + 1) + ceil)
    if size + room < 0:
        raise Unfitting("a window is larger than what it moves over")
    count = (size + room) // stride + 1
    if ceil and (size + room) % stride and count * stride < size + pads[0]:
        count += 1
    return count
