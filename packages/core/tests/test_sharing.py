"""What was found out about shared runs, and when outputs are the same."""

import ml_dtypes
import numpy as np
import pytest

from tensorkeep.sharing import Sharing, alike, are_close, difference, influence
from tensorkeep.tensor import DType, Tensor


def floats(*values, dtype=np.float32):
    return Tensor.from_numpy(np.array(values, dtype))


def test_only_sizes_that_were_tried_are_proven_each_for_its_own_inputs():
    sharing = Sharing()
    assert not sharing.is_proven("wide", {1, 2})
    sharing.prove("wide", {1, 2})
    sharing.prove("wide", {1, 3})
    assert sharing.is_proven("wide", {1, 2, 3})
    assert not sharing.is_proven("wide", {1, 4})
    assert not sharing.is_proven("narrow", {1, 2})


def test_members_that_were_alike_prove_nothing_of_others():
    sharing = Sharing()
    sharing.prove("wide", {1, 2}, "values")
    assert sharing.is_proven("wide", {1, 2}, "values")
    assert not sharing.is_proven("wide", {1, 2}, "other values")
    assert not sharing.is_proven("wide", {1, 2})
    assert not sharing.knows("wide")
    sharing.prove("wide", {1, 3})
    assert sharing.knows("wide")


def test_what_is_remembered_is_bounded():
    sharing = Sharing()
    for width in range(3000):
        sharing.prove(width, {1, 2})
    assert not sharing.is_proven(0, {1, 2})
    assert sharing.is_proven(2999, {1, 2})


def test_the_first_reason_stays_and_is_told_once():
    sharing = Sharing()
    assert sharing.news() == ""
    sharing.refuse("labels")
    sharing.refuse("something else")
    assert (sharing.refusal, sharing.news(), sharing.news()) == ("labels", "labels", "")


def test_members_alike_only_with_the_same_tensors():
    one, other = floats(1, 2), floats(1, 3)
    assert alike([[one, other], (floats(1, 2), other)]) is not None
    assert alike([[one, one], [one, other]]) is None
    assert alike([[one], [floats(1, 2, dtype=np.float64)]]) is None


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        (floats(1, 1e-6), floats(1.0001, 0), True),
        (floats(1, 2), floats(1, 2.01), False),
        (floats(0), floats(1e-9), False),
        (floats(np.nan, np.inf, 1), floats(np.nan, np.inf, 1.00001), True),
        (floats(np.nan), floats(1), False),
        (floats(1), floats(np.nan), False),
        (floats(np.inf), floats(-np.inf), False),
        (floats(1, 2, dtype=np.float64), floats(1, 2.0001, dtype=np.float64), False),
        (floats(1, dtype=ml_dtypes.bfloat16), floats(1.02, dtype=ml_dtypes.bfloat16), True),
        (floats(1, dtype=np.int64), floats(2, dtype=np.int64), False),
        (floats(3, dtype=np.int64), floats(3, dtype=np.int64), True),
        (floats(), floats(), True),
        (
            Tensor.from_values(DType.STRING, (1,), [b"a"]),
            Tensor.from_values(DType.STRING, (1,), [b"b"]),
            False,
        ),
    ],
)
def test_floats_may_differ_by_rounding_and_nothing_else_by_anything(one, other, close):
    assert are_close(one, other) is close


def test_a_difference_names_the_output_by_its_name_or_number():
    same, wide = floats(1), floats(1, 2)
    assert difference([same, same], [same, same], ["p", "q"]) == ""
    assert difference([same, wide], [same, same], ["p", "q"]) == (
        "output 'q' of a run alone is FLOAT[1], and its part of a shared run FLOAT[2]"
    )
    assert difference([floats(2)], [same], [""]) == (
        "output 1 has other values in a shared run than alone"
    )


def test_what_other_rows_change_is_an_influence_to_the_last_bit_where_bits_repeat():
    usual, close, other = floats(1, 1e6), floats(2, 1e6), floats(1, 2e6)
    assert influence([usual], [floats(1, 1e6)], ["p"], exact=True) == ""
    assert influence([usual, close], [usual, usual], ["p", "q"], exact=True) == (
        "output 'q' changes with the rows of other requests"
    )
    assert influence([close], [usual], ["p"], exact=False) == ""
    assert influence([other], [usual], ["p"], exact=False)
    assert influence([floats(np.nan)], [floats(np.nan)], ["p"], exact=True) == ""
