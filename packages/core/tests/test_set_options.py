"""The options of SET: how they are read, and until when a key stays."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.commands.args import Args
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.set_options import (
    ALWAYS,
    OF_STORING,
    Lifetime,
    Options,
    Storing,
    is_option,
    read_lifetime,
    read_options,
)

SYNTAX = "ERR syntax error"
LONGEST = {b"EX": (2**63 - 1 - 2**42) // 1000, b"PX": 2**63 - 1 - 2**42}
LAST = {b"EXAT": (2**63 - 1) // 1000, b"PXAT": 2**63 - 1}
MOST = {**LONGEST, **LAST}
WORDS = (*MOST, *OF_STORING)


def read(*words, of=OF_STORING):
    return read_options(Args(words, 0), of)


def refused(action):
    with pytest.raises(CommandError) as raised:
        action()
    return raised.value.line


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), Options(b"", False, b"", b"")),
        ((b"NX",), Options(b"NX", False, b"", b"")),
        ((b"xx", b"ex", b"10"), Options(b"XX", False, b"EX", b"10")),
        ((b"KeepTtl", b"NX"), Options(b"NX", False, b"KEEPTTL", b"")),
        ((b"PX", b"PX"), Options(b"", False, b"PX", b"PX")),
        ((b"EX", b"1", b"EX", b"2"), Options(b"", False, b"EX", b"2")),
        ((b"EX\0garbage", b"1"), Options(b"", False, b"EX", b"1")),
        ((memoryview(b"NX"),), Options(b"NX", False, b"", b"")),
    ],
)
def test_options_are_read_in_any_order_and_case(words, options):
    assert read(*words) == options


@pytest.mark.parametrize(
    "words",
    [
        (b"NX", b"XX"),
        (b"EX", b"1", b"PX", b"1"),
        (b"EX", b"1", b"KEEPTTL"),
        (b"KEEPTTL", b"PXAT", b"1"),
        (b"EX",),
        (b"NX", b"PXAT"),
    ],
)
def test_options_that_contradict_each_other_or_lack_their_time_are_refused(words):
    assert refused(lambda: read(*words)) == SYNTAX


def test_reading_stops_before_what_is_no_option_of_the_command():
    for words in ((b"NX", b"TIMEOUT", b"1"), (b"NX", b"GET"), (b"NX", b"PERSIST"), (b"NX", b"")):
        args = Args(words, 0)
        assert read_options(args) == Options(b"NX", False, b"", b"")
        assert args.at == 1
    assert read(b"GET", of=frozenset({*OF_STORING, b"GET"})).answers


def test_what_begins_an_option_is_what_is_read_as_one():
    for word in (*WORDS, b"GET", b"PERSIST", b"TIMEOUT", b"10", b""):
        args = Args((word, b"1"), 0)
        read_options(args)
        assert is_option(word) == (args.at > 0)


@pytest.mark.parametrize("word", MOST)
def test_a_time_is_above_zero_and_can_be_kept(word):
    refusal = "ERR invalid expire time in 'ai.tensorset' command"
    for number in (0, -1, -(2**63), MOST[word] + 1, 2**63 - 1):
        if word != b"PXAT" or number <= 0:
            line = refused(lambda: read_lifetime(b"%d" % number, word, "ai.tensorset"))  # noqa: B023 - called at once
            assert line == refusal, number
    for text in (b"", b"x", b"1.0", b"01", b"+1", b"%d" % 2**63):
        line = refused(lambda: read_lifetime(text, word, "ai.tensorset"))  # noqa: B023 - called at once
        assert line == "ERR value is not an integer or out of range", text
    lifetime = read_lifetime(b"%d" % MOST[word], word, "")
    assert lifetime.ends_at(2**42 / 1000) <= 2**63 / 1000


def test_the_time_is_judged_after_all_options_were_read():
    assert refused(lambda: read(b"EX", b"0", b"NX", b"XX")) == SYNTAX
    assert read(b"EX", b"0").expiry == b"EX"


def test_until_when_a_key_stays():
    now = 1000.5
    assert read_lifetime(b"10", b"EX", "").ends_at(now) == 1010.5
    assert read_lifetime(b"10", b"PX", "").ends_at(now) == 1000.51
    assert read_lifetime(b"2000", b"EXAT", "").ends_at(now) == 2000
    assert read_lifetime(b"2000001", b"PXAT", "").ends_at(now) == 2000.001
    assert not read_lifetime(b"10", b"EX", "").kept
    assert Lifetime(b"KEEPTTL", 0).kept


def test_on_what_terms_something_is_stored():
    assert read().storing("") == ALWAYS
    assert read(b"NX").storing("") == Storing(present=False, lifetime=None)
    assert read(b"XX", b"EX", b"2").storing("") == Storing(True, Lifetime(b"PX", 2000))
    assert read(b"KEEPTTL").storing("") == Storing(None, Lifetime(b"KEEPTTL", 0))


@given(st.lists(st.sampled_from((*WORDS, b"10", b"x", b"")), max_size=5))
def test_what_is_read_ends_before_what_begins_no_option(words):
    args = Args(words, 0)
    with suppress(CommandError):
        options = read_options(args)
        assert read(*words[: args.at]) == options
        assert not any(map(is_option, words[args.at : args.at + 1]))
