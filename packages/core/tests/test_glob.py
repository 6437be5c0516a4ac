"""Glob patterns, against a plain reading of Redis' rules."""

import time
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorkeep.commands.glob import compile_glob


def matches(pattern, key):
    return compile_glob(pattern).fullmatch(key) is not None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"", [b""], [b"a"]),
        (b"*", [b"a", b"a\nb\0\xff"], [b""]),
        (b"**", [b"a", b"ab"], [b""]),
        (b"?", [b"a", b"\n", b"\xff"], [b"", b"ab"]),
        (b"a*", [b"a", b"ab", b"a\n"], [b"", b"ba"]),
        (b"*a", [b"a", b"ba", b"aa"], [b"", b"ab"]),
        (b"a*b*c", [b"abc", b"aXbXc", b"abcbc"], [b"acb", b"ab", b"bc"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo", b"hllo"]),
        (b"h[^e]llo", [b"hallo", b"h\nllo", b"h\xffllo"], [b"hello"]),
        (b"h[a-b]llo", [b"hallo", b"hbllo"], [b"hcllo", b"h-llo"]),
        (b"h[b-a]llo", [b"hallo", b"hbllo"], [b"hcllo"]),
        (b"[\x80-\xff]", [b"\x80", b"\xc3", b"\xff"], [b"\x7f", b"a"]),
        (b"\\*", [b"*"], [b"a", b"\\*", b""]),
        (b"\\\\", [b"\\"], [b"\\\\"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"[\\]a]", [b"]", b"a"], [b"\\"]),
        (b"[\\", [b"\\"], [b"["]),
        (b"[\\a-c]", [b"a", b"-", b"c"], [b"b"]),
        (b"[ab", [b"a", b"b"], [b"[ab", b"c"]),
        (b"[a-", [b"a", b"-"], [b"b"]),
        (b"[a-]", [b"]", b"^", b"a"], [b"-", b"b"]),
        (b"[]", [], [b"", b"]", b"[]"]),
        (b"[^]", [b"]", b"\0"], [b""]),
        (b"[", [], [b"", b"["]),
        (b"[^", [b"a"], [b""]),
        (b"[a^]", [b"a", b"^"], [b"b"]),
        (b"a.c", [b"a.c"], [b"abc"]),
        (b"(a|b)+$", [b"(a|b)+$"], [b"a"]),
        (b"\xff*\0", [b"\xff\0", b"\xffx\0"], [b"\xff", b"x\0"]),
    ],
)
def test_a_pattern_matches_what_redis_would_match(pattern, yes, no):
    assert [key for key in yes if not matches(pattern, key)] == []
    assert [key for key in no if matches(pattern, key)] == []


def plainly(pattern, key):
    """Tells whether a pattern matches, step by step and without any cleverness."""

    @cache
    def go(p, k):
        rest = pattern[p:]
        if rest[:1] == b"*":
            return any(go(p + 1, later) for later in range(k, len(key) + 1))
        if not rest or k == len(key):
            return not rest and k == len(key)
        fits, size = rest[0] == key[k], 1
        if rest[:1] == b"?":
            fits = True
        elif rest[:1] == b"[":
            fits, size = one_of(rest[1:], key[k])
            size += 1
        elif rest[:1] == b"\\" and len(rest) > 1:
            fits, size = rest[1] == key[k], 2
        return fits and go(p + size, k + 1)

    return go(0, 0) if key else not pattern


def one_of(rest, byte):
    """Tells whether a byte is one of those in brackets, and how long the brackets are."""
    negated = rest[:1] == b"^"
    at, found = int(negated), False
    while True:
        if at >= len(rest):
            return found != negated, at
        if rest[at : at + 1] == b"]":
            return found != negated, at + 1
        if rest[at : at + 1] == b"\\" and at + 1 < len(rest):
            found |= rest[at + 1] == byte
            at += 2
        elif rest[at + 1 : at + 2] == b"-" and at + 2 < len(rest):
            ends = rest[at], rest[at + 2]
            found |= min(ends) <= byte <= max(ends)
            at += 3
        else:
            found |= rest[at] == byte
            at += 1


def words(alphabet):
    one = st.sampled_from([bytes([byte]) for byte in alphabet])
    return st.lists(one, max_size=12).map(b"".join)


@given(words(b"**??[[]]^--\\\\ab.\xff"), st.lists(words(b"aabb*?[]^-\\.\n\xff"), min_size=1))
@example(b"*a*ab", [b"aab", b"abab", b"aba"])
def test_any_pattern_matches_what_a_plain_reading_of_the_rules_matches(pattern, keys):
    assert [matches(pattern, key) for key in keys] == [plainly(pattern, key) for key in keys]


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_key_with_its_marks_escaped_matches_itself_only(key, other):
    pattern = b"".join(b"\\%c" % byte for byte in key)
    assert matches(pattern, key)
    assert matches(pattern, other) is (other == key)


@pytest.mark.parametrize(
    "pattern", [b"a*" * 30 + b"b", b"*a" * 30 + b"b", b"*" * 5000 + b"b", b"*?a" * 30 + b"[b]*c"]
)
def test_many_stars_do_not_make_the_search_explode(pattern):
    began = time.process_time()
    assert not matches(pattern, b"a" * 5000)
    assert time.process_time() - began < 5  # it takes milliseconds; exploding takes for ever
