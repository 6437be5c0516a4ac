"""Stacking requests to a batch and splitting the batch again."""

import numpy as np
import pytest
from hypothesis import given

from tensorkeep.batching import UNBATCHED, Batching, rows, split, stack
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import strategies


def shaped(*shape, dtype=DType.FLOAT):
    return Tensor.zeros(dtype, shape)


@given(strategies.batches())
def test_splitting_a_stack_gives_the_tensors_back(tensors):
    stacked = stack(tensors)
    assert stacked.shape[0] == sum(each.shape[0] for each in tensors)
    assert split(stacked, [each.shape[0] for each in tensors]) == tensors


@given(strategies.batches(max_tensors=3))
def test_a_stack_holds_the_bytes_one_after_the_other(tensors):
    stacked = stack(tensors)
    assert bytes(stacked.blob) == b"".join(bytes(each.blob) for each in tensors)
    assert (stacked.dtype, stacked.shape[1:]) == (tensors[0].dtype, tensors[0].shape[1:])


def test_a_stack_of_one_is_that_one():
    tensor = shaped(2, 3)
    assert stack([tensor]) is tensor


@pytest.mark.parametrize("dtype", DType)
def test_pieces_are_copies_so_that_a_row_does_not_keep_the_batch(dtype):
    tensor = shaped(4, 3, dtype=dtype)
    for piece in split(tensor, [1, 3]):
        assert not np.shares_memory(piece.numpy(), tensor.numpy())
        assert piece.nbytes == tensor.nbytes * piece.shape[0] // 4


def test_a_piece_may_have_no_rows():
    tensor = Tensor.from_values(DType.STRING, (1, 2), ["a", "b"])
    none, one = split(tensor, [0, 1])
    assert none == Tensor.from_values(DType.STRING, (0, 2), [])
    assert one == tensor


@pytest.mark.parametrize(
    ("inputs", "count"),
    [
        ([], 0),
        ([shaped(3)], 3),
        ([shaped(3, 2), shaped(3)], 3),
        ([shaped(3), shaped(2)], 0),
        ([shaped()], 0),
        ([shaped(3), shaped()], 0),
        ([shaped(0, 2)], 0),
    ],
)
def test_rows_are_what_all_inputs_share(inputs, count):
    assert rows(inputs) == count


def test_batching_is_off_unless_asked_for():
    assert Batching() == UNBATCHED == Batching(size=0, minimum=0, timeout_ms=0)
    with pytest.raises(AttributeError):
        UNBATCHED.size = 1
