"""Hypothesis strategies for tensors of every type, built in every way.

Floats come as any bytes, so NaN of every kind, infinities and denormal numbers are among them.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tensorkeep.tensor import NUL, DType, Tensor, element_count

_strings = st.binary(max_size=6).map(lambda text: text.replace(NUL, b""))


def dtypes(*, strings: bool = True) -> st.SearchStrategy[DType]:
    """Any type of element.

    Args:
        strings: Whether STRING is among them.
    """
    return st.sampled_from([each for each in DType if strings or each is not DType.STRING])


def shapes(
    *, min_rank: int = 0, max_rank: int = 4, max_size: int = 4, zeros: bool = True
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of small tensors.

    Args:
        min_rank: Fewest sizes; 0 lets scalars in.
        max_rank: Most sizes.
        max_size: Largest of each size.
        zeros: Whether a size may be zero.
    """
    sizes = st.integers(0 if zeros else 1, max_size)
    return st.lists(sizes, min_size=min_rank, max_size=max_rank).map(tuple)


def blobs(dtype: DType, shape: tuple[int, ...]) -> st.SearchStrategy[bytes]:
    """Bytes that are a tensor of this type and shape."""
    count = element_count(shape)
    if dtype is DType.STRING:
        strings = st.lists(_strings, min_size=count, max_size=count)
        return strings.map(lambda parts: b"".join(part + NUL for part in parts))
    size = count * dtype.itemsize
    if dtype is DType.BOOL:
        return st.lists(st.integers(0, 1), min_size=size, max_size=size).map(bytes)
    return st.binary(min_size=size, max_size=size)


_ANY_DTYPE = dtypes()
_ANY_SHAPE = shapes()


@st.composite
def tensors(
    draw: st.DrawFn,
    dtypes: st.SearchStrategy[DType] = _ANY_DTYPE,
    shapes: st.SearchStrategy[tuple[int, ...]] = _ANY_SHAPE,
) -> Tensor:
    """Tensors, some of which hold bytes and some an array.

    Args:
        draw: Given by hypothesis.
        dtypes: Their types.
        shapes: Their shapes.
    """
    dtype, shape = draw(dtypes), draw(shapes)
    tensor = Tensor.from_blob(dtype, shape, draw(blobs(dtype, shape)))
    return Tensor.from_numpy(tensor.numpy()) if draw(st.booleans()) else tensor


@st.composite
def batches(draw: st.DrawFn, *, max_tensors: int = 4, max_rows: int = 3) -> list[Tensor]:
    """Tensors that can be stacked: of one type, and of one shape but for axis 0.

    Args:
        draw: Given by hypothesis.
        max_tensors: Most tensors; there is at least one.
        max_rows: Largest size of axis 0.
    """
    dtype = draw(_ANY_DTYPE)
    row = draw(shapes(max_rank=2))
    rows = draw(st.lists(st.integers(0, max_rows), min_size=1, max_size=max_tensors))
    return [draw(tensors(st.just(dtype), st.just((count, *row)))) for count in rows]
