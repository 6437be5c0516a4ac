"""Numbers are read as C and Redis read them; C's own `strtod` is asked."""

import ctypes
import errno
import math
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.commands.numerals import (
    add_long_doubles,
    parse_bound,
    parse_count,
    parse_double,
    parse_doubles,
    parse_integers,
    parse_long_double,
)


class LongDouble(ctypes.c_longdouble):
    """Keeps all bits on the way from and to C; ctypes makes a double of the class above."""

    def number(self):
        return np.frombuffer(bytes(self), np.longdouble)[0]


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.strtod.restype = ctypes.c_double
LIBC.strtold.restype = LongDouble
LIBC.strtod.argtypes = LIBC.strtold.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
LIBC.snprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]


def redis_double(word, read=LIBC.strtod):
    """What Redis' string-to-double makes of a word: `strtod`, and what it refuses of that."""
    if not word or word[:1].isspace() or b"\0" in word:
        return None
    buffer = ctypes.create_string_buffer(word)
    end = ctypes.c_char_p()
    ctypes.set_errno(0)
    value = read(ctypes.cast(buffer, ctypes.c_char_p), ctypes.byref(end))
    used = ctypes.cast(end, ctypes.c_void_p).value - ctypes.addressof(buffer)
    if read is LIBC.strtold:
        value = value.number()
    out_of_range = ctypes.get_errno() == errno.ERANGE and (np.isinf(value) or value == 0)
    if used != len(word) or out_of_range or np.isnan(value):
        return None
    return value


def redis_bound(word):
    """What Redis makes of the bound of a range of scores: `strtod` up to the end of a C string."""
    buffer = ctypes.create_string_buffer(word)
    end = ctypes.c_char_p()
    value = LIBC.strtod(ctypes.cast(buffer, ctypes.c_char_p), ctypes.byref(end))
    return None if end.value or np.isnan(value) else value


def redis_sum(number, increment):
    """What INCRBYFLOAT makes of two numbers, after Redis 7.0's ld2string."""
    with np.errstate(all="ignore"):
        total = number + increment
    if not np.isfinite(total):
        return None
    text = ctypes.create_string_buffer(6000)
    LIBC.snprintf(text, len(text), b"%.17Lf", LongDouble.from_buffer_copy(total.tobytes()))
    trimmed = text.value.rstrip(b"0").rstrip(b".")
    return b"0" if trimmed == b"-0" else trimmed


def same(one, other):
    if one is None or other is None:
        return one is other
    return struct.pack("d", one) == struct.pack("d", other)  # tells -0 from 0


def same_long(one, other):
    if one is None or other is None:
        return one is other
    return one == other and np.signbit(one) == np.signbit(other)


PIECES = st.sampled_from(
    [*"0123456789+-.eExXpPaAfF _\0\n", "inf", "Infinity", "nan", "0x", "00", "1e308", "e-3", "p-1"]
)
WORDS = st.one_of(
    st.lists(PIECES, max_size=6).map("".join).map(str.encode),
    st.floats().map(repr).map(str.encode),
    st.floats().map(float.hex).map(str.encode),
    st.tuples(st.integers(), st.integers(-400, 400)).map(lambda p: b"%de%d" % p),
    st.tuples(st.integers(0, 2**70), st.integers(-1200, 1200)).map(lambda p: b"0x%xp%d" % p),
    st.text().map(str.encode),
)


@given(WORDS)
def test_a_word_is_a_number_exactly_when_it_is_one_for_redis(word):
    assert same(parse_double(word), redis_double(word))


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_a_list_is_numbers_exactly_when_each_word_is(words):
    expected = [redis_double(word) for word in words]
    numbers = parse_doubles(words)
    if None in expected:
        assert numbers is None
    else:
        assert numbers is not None
        assert all(map(same, numbers, expected))


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (b"0x1.8p1", 3.0),
        (b"INF", math.inf),
        (b"-infinity", -math.inf),
        (b"+.5", 0.5),
        (b"5.", 5.0),
        (b"007", 7.0),
        (b"5e-324", 5e-324),
        (b"0e-999", 0.0),
        (b"-0x0p9", -0.0),
        (b"nan", None),
        (b"1_0", None),
        (b" 1", None),
        (b"1 ", None),
        (b"", None),
        (b"1\0", None),
        (b"\xd9\xa1", None),  # a digit, but an Arabic one
        (b"1e400", None),
        (b"-1e400", None),
        (b"1e-400", None),
        (b"0x1p1024", None),
        (b"0x0.e1p-5000", None),
        (b"0x", None),
        (b"1e", None),
        (b".", None),
    ],
)
def test_numbers_that_other_readers_take_differently(word, number):
    assert same(redis_double(word), number)
    assert same(parse_double(word), number)
    both = parse_doubles([b"1", word])
    assert both is None if number is None else same(both[1], number)


@pytest.mark.parametrize("digits", [b"1", b"0x1", b"1.", b"1e1", b"0x1p1"])
def test_a_long_word_that_is_no_number_takes_no_longer_than_one_that_is(digits):
    word = digits + b"1" * 200_000
    assert parse_double(word + b"z") is None  # quadratic time would be a minute


@given(st.one_of(WORDS, WORDS.map(lambda word: b" \t" + word)))
def test_a_word_is_a_bound_exactly_when_it_is_one_for_redis(word):
    assert same(parse_bound(word), redis_bound(word))


@pytest.mark.parametrize(
    ("word", "bound"),
    [
        *((b"", 0.0), (b"\0x", 0.0), (b" \n1", 1.0), (b"1\0x", 1.0), (b"1e400", math.inf)),
        *((b"-1e400", -math.inf), (b"-0x1p2000", -math.inf), (b"0x1p2000", math.inf)),
        *((b"1e-400", 0.0), (b"-1e-400", -0.0), (b"+Inf", math.inf), (b"0x10", 16.0)),
        *((b" ", None), (b"1 ", None), (b"nan", None), (b"x", None), (b"(1", None)),
    ],
)
def test_bounds_of_ranges_are_read_more_leniently(word, bound):
    assert same(redis_bound(word), bound)
    assert same(parse_bound(word), bound)


@given(
    st.lists(st.one_of(st.integers(-(2**64), 2**67).map(lambda n: b"%d" % n), WORDS), min_size=1)
)
def test_integers_are_whole_and_plain(words):
    plain = all(re.fullmatch(rb"0|-?[1-9][0-9]{0,19}", word) for word in words)
    assert parse_integers(words) == (list(map(int, words)) if plain else None)


@given(st.integers(-(2**70), 2**70))
def test_a_count_is_an_integer_from_zero_on(count):
    expected = count if 0 <= count < 2**63 else None
    assert parse_count(b"%d" % count) == expected


@pytest.mark.parametrize(
    ("word", "count"),
    [
        (b"2.0", 2),
        (b"1e2", 100),
        (b"0x10", 16),
        (b"-0", 0),
        (b"1.5", None),
        (b"-1", None),
        (b"-2.0", None),
        (b"1e19", None),
        (b"inf", None),
        (b"two", None),
        (b"", None),
    ],
)
def test_a_count_may_be_spelled_as_any_number(word, count):
    assert parse_count(word) == count


LONG_WORDS = st.one_of(
    WORDS,
    st.tuples(st.integers(), st.integers(-5200, 5200)).map(lambda p: b"%de%d" % p),
    st.tuples(st.integers(0, 2**70), st.integers(-17_000, 17_000)).map(lambda p: b"0x%xp%d" % p),
)
LONG_NUMBERS = LONG_WORDS.map(parse_long_double).filter(lambda number: number is not None)


@given(LONG_WORDS)
def test_a_word_is_a_long_double_exactly_when_it_is_one_for_redis(word):
    assert same_long(parse_long_double(word), redis_double(word, LIBC.strtold))


@pytest.mark.parametrize(
    ("word", "known"),
    [
        (b"1e4000", True),
        (b"1e-4940", True),
        (b"0e-9999", True),
        (b"INF", True),
        (b"0x1p16383", True),
        (b"1" * 4900, True),
        (b"0" * 5119, True),
        (b"0" * 5120, False),
        (b"1e5000", False),
        (b"-1e-5000", False),
        (b"0x1p16384", False),
        (b"nan", False),
        (b"1 2", False),
        (b" 1", False),
        (b"", False),
    ],
)
def test_long_doubles_have_a_larger_range(word, known):
    number = parse_long_double(word)
    assert (number is not None) == known
    if len(word) < 5120:  # Redis' own room
        assert same_long(number, redis_double(word, LIBC.strtold))


@given(LONG_NUMBERS, LONG_NUMBERS)
def test_sums_are_printed_as_by_redis(number, increment):
    assert add_long_doubles(number, increment) == redis_sum(number, increment)


@pytest.mark.parametrize(
    ("number", "increment", "total"),
    [
        (b"10.1", b"0.1", b"10.2"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"0", b"-1e-30", b"0"),
        (b"3", b"-3", b"0"),
        (b"1e20", b"0", b"100000000000000000000"),
        (b"0.1", b"0.2", b"0.3"),
        (b"1", b"inf", None),
        (b"inf", b"-inf", None),
        (b"1e4932", b"1e4932", None),
    ],
)
def test_sums_of_long_doubles(number, increment, total):
    assert add_long_doubles(parse_long_double(number), parse_long_double(increment)) == total
