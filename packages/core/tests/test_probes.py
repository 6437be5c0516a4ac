"""With what shared runs are tried: arrangements of members, and stand-ins for some of them."""

import ml_dtypes
import numpy as np
import pytest

from tensorkeep.probes import grouped, orders, pairs, stand_ins
from tensorkeep.tensor import DType, Tensor


def tensor(values, dtype=np.float32):
    return Tensor.from_numpy(np.array(values, dtype))


def test_members_with_the_same_inputs_become_neighbours():
    a, b = [tensor([[1]])], [tensor([[2]])]
    assert grouped([a, b, a, b, a]) == [0, 2, 4, 1, 3]
    assert grouped([b, a]) == [0, 1]


def test_members_are_tried_in_both_directions_and_moved_on():
    assert orders(2) == [[0, 1], [1, 0]]
    assert orders(3) == [[0, 1, 2], [2, 1, 0], [1, 2, 0]]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_floats_are_replaced_by_their_own_and_by_ones_far_off(dtype):
    stays, other = [tensor([[1, np.nan]], dtype)], [tensor([[5, 6], [7, 8], [9, 9]], dtype)]
    own, far = stand_ins([stays, other], 0)
    assert own[0] is far[0] is stays
    assert own[1][0].numpy()[:, 0].tolist() == [1, 1, 1]
    found = far[1][0]
    assert (found.dtype, found.shape) == (other[0].dtype, (3, 2))
    values = found.numpy().astype(float)
    assert np.isfinite(values).all()
    assert (values[:, 0] > 1e4).all()
    assert (values[:, 1] < -1e4).all()


def test_the_other_member_has_one_far_below_first():
    one = [tensor([[1]])]
    (far,) = [batch for at, batch in enumerate(stand_ins([one, one], 1)) if at == 1]
    assert far[0][0].numpy().item() < -1e5
    assert far[1] is one


def test_whole_numbers_and_strings_stay_those_of_the_member():
    strings = Tensor.from_values(DType.STRING, (2, 1), [b"a", b"bcd"])
    others = Tensor.from_values(DType.STRING, (3, 1), [b"", b"x", b"y"])
    stays = [tensor([[1], [2]], np.int64), strings]
    (own,) = stand_ins([[tensor([[5], [6], [7]], np.int64), others], stays], 1)
    assert own[0][0].numpy().tolist() == [[1], [2], [1]]
    assert own[0][1].strings() == [b"a", b"bcd", b"a"]


def test_whole_numbers_beside_floats_stay_those_of_the_member():
    stays = [tensor([[1]], np.int64), tensor([[2]])]
    _, far = stand_ins([stays, [tensor([[7]], np.int64), tensor([[8]])]], 0)
    assert far[1][0].numpy().tolist() == [[1]]
    assert far[1][1].numpy().item() > 1e6


def test_a_pair_holds_numbers_alone():
    one, other = [tensor([[1, np.nan]])], [tensor([[-np.inf, 3]])]
    (found,) = pairs(one, other)
    assert [each[0].numpy().tolist() for each in found] == [[[1, 0]], [[0, 3]]]


def test_whole_numbers_are_probed_with_the_least_and_the_greatest_that_came_too():
    strings = Tensor.from_values(DType.STRING, (1,), [b"a"])
    one = [tensor([[4, 9]], np.int64), tensor([[1]]), tensor([[True]], bool), strings]
    other = [tensor([[7, 3]], np.int64), tensor([[2]]), tensor([[True]], bool), strings]
    usual, apart = pairs(one, other)
    assert [list(each) for each in usual] == [one, other]
    assert apart[0] == [tensor([[3, 3]], np.int64), tensor([[1]]), tensor([[False]], bool), strings]
    assert apart[1] == [tensor([[9, 9]], np.int64), tensor([[2]]), tensor([[True]], bool), strings]
