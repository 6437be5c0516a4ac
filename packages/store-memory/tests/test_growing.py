"""Strings grow at their end without being copied, and those that were there stay as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_memory.values.growing import Raw, written

LONG = b"long" * 1024  # a longer one gets a room of its own
BEGINNINGS = st.sampled_from([b"", b"short", LONG[:-1], LONG])
STEPS = st.tuples(st.integers(0, 20), st.integers(-5, 40), st.binary(max_size=20))


@given(BEGINNINGS, st.lists(STEPS))
def test_every_string_stays_what_it_was_whatever_is_made_of_it(beginning, steps):
    made, expected = [beginning], [beginning]
    for which, behind, more in steps:
        text = expected[which % len(expected)]
        at = max(len(text) + behind, 0)
        made.append(written(made[which % len(made)], at, more))
        expected.append(text[:at].ljust(at, b"\0") + more + text[at + len(more) :])
    assert [*map(bytes, made)] == expected


def test_what_is_appended_to_a_long_string_is_put_behind_it_where_it_lies():
    text = first = written(LONG, len(LONG), b"b")
    for _ in range(4000):
        text = written(text, len(text), b"c")
    assert text.obj is first.obj
    assert bytes(text) == LONG + b"b" + b"c" * 4000
    assert bytes(first) == LONG + b"b"


def test_a_string_that_grows_is_copied_ever_more_rarely():
    text = written(LONG, len(LONG), b"x")
    rooms = [text.obj]
    for _ in range(100_000):
        text = written(text, len(text), b"x")
        if text.obj is not rooms[-1]:
            rooms.append(text.obj)
    assert len(text) == len(LONG) + 100_001
    assert len(rooms) < 10


def test_a_short_string_has_no_room():
    assert type(written(b"ab", 2, b"c")) is Raw


def test_of_two_strings_with_the_same_beginning_the_second_is_copied():
    start = written(LONG, len(LONG), b"")
    one = written(start, len(start), b"1")
    two = written(start, len(start), b"2")
    assert (bytes(one), bytes(two)) == (LONG + b"1", LONG + b"2")
    assert two.obj is not one.obj


@pytest.mark.parametrize("before_end", [1, 1000])
def test_to_write_within_a_string_copies_it(before_end):
    text = written(LONG, len(LONG), b"x")
    other = written(text, len(text) - before_end, b"y")
    assert bytes(text) == LONG + b"x"
    assert other.obj is not text.obj


def test_zeros_are_between_the_end_and_what_is_written_behind_it():
    assert written(b"a", 3, b"b") == b"a\0\0b"
    text = written(b"a", 5000, b"b")
    assert bytes(written(text, 5003, b"c")) == b"a".ljust(5000, b"\0") + b"b\0\0c"


def test_nobody_can_write_into_a_string():
    assert written(LONG, 1, b"b").readonly
