"""Values of a tensor are read element by element, as plain numbers are, and all of them or none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.commands.args import Args
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.numerals import parse_double
from tensorkeep.errors import InvalidTensor
from tensorkeep.tensor import DType
from tensorkeep_server.wire_tensor import read_tensor

WORDS = st.one_of(
    st.text("0123456789+-.eExXpPaAfF _\0\n", max_size=6).map(str.encode),
    st.sampled_from([b"inf", b"-Infinity", b"nan", b"0x1.8p1", b"1e308", b"1e-400", b" 1", b"1 "]),
    st.floats().map(repr).map(str.encode),
    st.floats().map(float.hex).map(str.encode),
    st.tuples(st.integers(), st.integers(-400, 400)).map(lambda p: b"%de%d" % p),
    st.text().map(str.encode),
)
NUMBERS = WORDS.filter(lambda word: parse_double(word) is not None)


def read_values(dtype, words):
    request = [b"AI.TENSORSET", dtype.name.encode(), b"%d" % len(words), b"VALUES", *words]
    return read_tensor(Args(request), 1000)


FLOATS = [DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE]


@given(st.sampled_from([DType.FLOAT16, DType.FLOAT, DType.DOUBLE]), st.lists(NUMBERS, min_size=1))
def test_values_are_the_nearest_elements(dtype, words):
    with np.errstate(over="ignore"):
        elements = np.array([parse_double(word) for word in words]).astype(dtype.numpy)
    tensor = read_values(dtype, words)
    assert tensor.shape == (len(words),)
    assert tensor.blob == elements.tobytes()


@given(st.sampled_from(FLOATS), st.lists(WORDS, min_size=1))
def test_one_bad_value_refuses_them_all(dtype, words):
    if all(parse_double(word) is not None for word in words):
        assert read_values(dtype, words).shape == (len(words),)
    else:
        with pytest.raises(CommandError, match="ERR invalid value"):
            read_values(dtype, words)


INTEGERS = [dtype for dtype in DType if dtype.numpy.kind in "iu"]
ANY_INTEGERS = st.one_of(
    st.lists(st.integers(0, 300)), st.lists(st.one_of(st.integers(), st.integers(-10, 2**65)))
)


@given(st.sampled_from(INTEGERS), ANY_INTEGERS.map(lambda numbers: [b"%d" % n for n in numbers]))
def test_integers_are_stored_exactly_when_they_fit(dtype, words):
    words.append(b"0")
    limits = np.iinfo(dtype.numpy)
    numbers = list(map(int, words))
    if all(int(limits.min) <= number <= int(limits.max) for number in numbers):
        assert read_values(dtype, words).values() == numbers
    else:
        with pytest.raises(CommandError, match="ERR invalid value"):
            read_values(dtype, words)


@given(st.lists(st.binary(max_size=4), min_size=1))
def test_strings_are_kept_unless_a_nul_is_inside(words):
    contents = [word.removesuffix(b"\0") for word in words]
    if any(b"\0" in content for content in contents):
        with pytest.raises((CommandError, InvalidTensor)):
            read_values(DType.STRING, words)
    else:
        assert read_values(DType.STRING, words).values() == contents
