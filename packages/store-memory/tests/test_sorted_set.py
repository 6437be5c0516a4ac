"""Sorted sets: their members, scores and ranks, and which part of them a range means."""

from collections import Counter
from math import copysign, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tensorkeep import leftovers
from tensorkeep.commands.args import Args
from tensorkeep.commands.errors import CommandError
from tensorkeep_memory.range_bounds import Ranks, take_ranks, take_scores, take_words
from tensorkeep_memory.values.sorted_set import SortedSet

LONG = b"x" * 65


def numbered(size):
    return SortedSet({b"%04d" % number: float(number) for number in range(size)})


def signs(value):
    return [copysign(1, score) for score, _ in value.part(0, len(value))]


# --------------------------------------------------------------------------- members
def test_a_member_is_new_once():
    made = SortedSet()
    assert made.put(b"m", 1.0)
    assert not made.put(b"m", 2.0)
    assert made.score(b"m") == 2
    assert made.part(0, 1) == [(2.0, b"m")]
    assert made.remove(b"m")
    assert not made.remove(b"m")
    assert (made.score(b"m"), made.rank(b"m"), len(made)) == (None, None, 0)


def scores_of(members):
    return st.dictionaries(st.sampled_from(members), st.sampled_from([-0.0, 0.0, 1.0, -inf, 2.5]))


MANY = [b"%03d" % number for number in range(300)]


@given(
    st.integers(0, 300),
    scores_of([*MANY, LONG]) | st.just(dict.fromkeys(MANY[100:], -0.0)),
    st.booleans(),
)
def test_many_scores_at_once_are_what_they_are_one_after_the_other(size, scores, scanned):
    one, other = (SortedSet(dict.fromkeys(MANY[:size], 1.0)) for _ in range(2))
    if scanned:
        one.scan(0, 10)
    old = {member: other.score(member) for member in scores}

    added, changed = one.update(scores)

    assert added == sum(score is None for score in old.values())
    assert changed == sum(score != old[member] for member, score in scores.items())
    for member, score in scores.items():
        if score != old[member]:
            other.put(member, score)
    assert one.part(0, len(one)) == other.part(0, len(other))
    assert signs(one) == signs(other)
    assert one.small == other.small
    one.validate()


def test_equal_scores_are_in_the_order_of_the_bytes_of_members():
    made = SortedSet({b"b": 1.0, b"": 1.0, b"\xff": 1.0, b"a": 1.0, b"aa": 1.0, b"z": -inf})
    assert [member for _, member in made.part(0, 6)] == [b"z", b"", b"a", b"aa", b"b", b"\xff"]
    assert [made.rank(member) for member in (b"z", b"aa", b"\xff")] == [0, 3, 5]


@pytest.mark.parametrize(
    ("first", "member", "small"),
    [(127, b"x" * 64, True), (128, b"x", False), (0, LONG, False)],
)
def test_one_with_many_or_long_members_is_not_small_and_stays_so(first, member, small):
    made = numbered(first)
    assert made.small
    made.put(b"0000", 5.0)
    made.put(member, 5.0)
    assert made.small is small
    made.remove(member)
    assert made.small is small
    made.validate()


def test_one_that_begins_with_members_is_as_small_as_they_are():
    assert numbered(128).small
    assert not numbered(129).small
    assert not SortedSet({LONG: 1.0}).small


def test_only_a_large_one_keeps_the_sign_of_zero():
    made = SortedSet({b"a": -0.0})
    made.put(b"b", -0.0)
    assert signs(made) == [1, 1]
    made.put(LONG, -0.0)
    made.put(b"c", -0.0)
    assert signs(made) == [1, 1, -1, -1]
    assert signs(SortedSet({LONG: -0.0})) == [-1]


def test_a_copy_shares_nothing():
    first = numbered(300)
    second = first.copy()
    for number in range(200):
        second.remove(b"%04d" % number)
    second.put(b"0250", -1.0)
    assert len(first) == 300
    assert first.score(b"0250") == 250
    assert second.rank(b"0250") == 0
    first.validate()
    second.validate()


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (3, 7), (290, 300), (0, 300)])
def test_members_of_a_range_of_ranks_are_cut_out(start, stop):
    made = numbered(300)
    made.scan(0, 5)
    assert [member for _, member in made.cut(start, stop)] == [
        b"%04d" % number for number in range(start, stop)
    ]
    assert len(made) == 300 - stop + start
    made.validate()


def test_any_member_is_as_likely_to_be_picked():
    made = numbered(5)
    drawn = Counter(made.draw(1000))
    assert len(drawn) == 5
    assert min(drawn.values()) > 120
    assert sorted(made.sample(9)) == sorted(made.content)
    assert len({*made.sample(2)}) == 2
    assert SortedSet().pick() is None


def test_a_small_one_is_scanned_and_drawn_from_in_the_order_of_its_scores():
    made = SortedSet({b"a": 3.0, b"c": 1.0, b"b": 1.0})
    made.put(b"d", 2.0)
    assert made.scan(0, 1) == (0, [b"b", b"c", b"d", b"a"])
    assert made.sample(9) == [b"a", b"d", b"c", b"b"]  # all of them backwards, as in Redis
    made = numbered(100)
    for _ in range(20):
        drawn = made.sample(30)
        assert drawn == sorted(drawn)


def test_memory_grows_with_number_and_length_of_the_members():
    assert 0 < SortedSet().nbytes < numbered(10).nbytes < numbered(1000).nbytes
    assert SortedSet({b"x" * 5000: 1.0}).nbytes > 5000


def test_it_can_be_shown_in_a_log():
    assert repr(numbered(3)) == "SortedSet(3 members, small=True)"


def test_a_large_one_is_freed_bit_by_bit():
    while leftovers.sweep(100_000):
        pass
    made = numbered(25_000)
    made.scan(0, 10)
    del made
    assert [leftovers.sweep(30_000) for _ in range(4)] == [30_000, 30_000, 15_000, 0]
    made = numbered(1000)
    del made
    assert leftovers.sweep(1) == 0


# --------------------------------------------------------------------------- ranges
LETTERS = SortedSet({b"a": 1.0, b"b": 2.0, b"c": 2.0, b"d": inf, b"": -inf})
WORDS = SortedSet(dict.fromkeys((b"", b"a", b"a\0", b"b", b"\xff"), 1.0))


def within(value, take, *words, **options):
    start, stop = take(Args(words, 0), **options).within(value)
    return b",".join(member for _, member in value.part(start, stop))


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (b"1", b"2", b"a,b,c"),
        (b"(1", b"2", b"b,c"),
        (b"1", b"(2", b"a"),
        (b"(1", b"(2", b""),
        (b"2", b"2", b"b,c"),
        (b"3", b"1", b""),
        (b"-inf", b"inf", b",a,b,c,d"),
        (b"(-inf", b"(inf", b"a,b,c"),
        (b"inf", b"+inf", b"d"),
        (b"(inf", b"inf", b""),
        (b"-inf", b"(-inf", b""),
        (b"1e308", b"1e400", b"d"),
        (b"", b" 1", b"a"),
        (b"(", b"0x2\0x", b"a,b,c"),
    ],
)
def test_a_range_of_scores(low, high, found):
    assert within(LETTERS, take_scores, low, high) == found
    assert within(LETTERS, take_scores, high, low, backwards=True) == found


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (b"-", b"+", b",a,a\0,b,\xff"),
        (b"[a", b"[b", b"a,a\0,b"),
        (b"(a", b"(b", b"a\0"),
        (b"(a", b"(a\0", b""),
        (b"[", b"(a", b""),
        (b"(", b"[a", b"a"),
        (b"[b", b"[a", b""),
        (b"[aa", b"+", b"b,\xff"),
        (b"+", b"+", b""),
        (b"-", b"-", b""),
        (b"(\xff", b"+\0", b""),
    ],
)
def test_a_range_of_words(low, high, found):
    assert within(WORDS, take_words, low, high) == found
    assert within(WORDS, take_words, high, low, backwards=True) == found


@pytest.mark.parametrize("first", [-9, -5, -2, 0, 1, 4, 5, 2**63 - 1])
@pytest.mark.parametrize("last", [-9, -6, -5, -1, 0, 3, 4, 9])
def test_a_range_of_ranks(first, last):
    size = len(LETTERS)
    entries = LETTERS.part(0, size)
    start = max(first + size, 0) if first < 0 else first
    expected = entries[start : last + size + 1 if last < -1 else (last + 1 or size)]
    if last < -size:
        expected = []
    begin, end = Ranks(first, last).within(LETTERS)
    assert LETTERS.part(begin, end) == expected
    begin, end = Ranks(first, last, backwards=True).within(LETTERS)
    assert (
        size - end == 0
        or LETTERS.part(begin, end)[::-1] == entries[::-1][start : start + end - begin]
    )


@pytest.mark.parametrize(
    ("take", "words"),
    [
        *((take_scores, (b"x", b"1")), (take_scores, (b"1", b"((1")), (take_scores, (b"1", b" "))),
        *((take_scores, (b"nan", b"1")), (take_words, (b"a", b"+")), (take_words, (b"-", b""))),
        *((take_words, (b"-x", b"+")), (take_ranks, (b"1.0", b"1"))),
    ],
)
def test_what_is_no_bound_is_refused(take, words):
    with pytest.raises(CommandError):
        take(Args(words, 0))


# --------------------------------------------------------------------------- against a model
class SortedSetMachine(RuleBasedStateMachine):
    """A sorted set is a dictionary that is sorted by score and member when it is asked."""

    members = st.sampled_from([b"", LONG, *(b"%d" % number for number in range(9))])
    scores = st.sampled_from([0.0, -0.0, 1.0, 1.5, -1.0, inf, -inf, 5e-324, 1e308])

    def __init__(self):
        super().__init__()
        self.made = SortedSet()
        self.model = {}

    def entries(self):
        return sorted((score, member) for member, score in self.model.items())

    @rule(member=members, score=scores)
    def put(self, member, score):
        assert self.made.put(member, score) is (member not in self.model)
        self.model[member] = score

    @rule(member=members)
    def remove(self, member):
        assert self.made.remove(member) is (self.model.pop(member, None) is not None)

    @rule(size=st.integers(1, 300), kept=st.integers(0, 9), score=scores)
    def churn(self, size, kept, score):
        """Many come and most of them go, so that limits are passed and indexes get tidied."""
        for number in range(size):
            self.put(b"many%d" % number, score)
        for number in range(kept, size):
            self.remove(b"many%d" % number)

    @rule(data=st.data())
    def cut(self, data):
        start, stop = sorted(data.draw(st.integers(0, len(self.model))) for _ in range(2))
        gone = self.entries()[start:stop]
        assert self.made.cut(start, stop) == gone
        for _, member in gone:
            del self.model[member]

    @rule(score=scores, up_to=st.booleans())
    def below(self, score, up_to):
        expected = sum(s < score or (up_to and s == score) for s in self.model.values())
        assert self.made.below(score, up_to=up_to) == expected

    @rule(member=members, score=scores, up_to=st.booleans())
    def before(self, member, score, up_to):
        made = SortedSet(dict.fromkeys(self.model, score))
        expected = sum(m < member or (up_to and m == member) for m in self.model)
        assert made.before(member, up_to=up_to) == expected

    @rule(member=members)
    def rank(self, member):
        ranks = {member: rank for rank, (_, member) in enumerate(self.entries())}
        assert self.made.rank(member) == ranks.get(member)

    @rule(count=st.integers(1, 20))
    def scan(self, count):
        cursor, found = self.made.scan(0, count)
        while cursor:
            cursor, some = self.made.scan(cursor, count)
            found += some
        assert sorted(found) == sorted(self.model)

    @rule()
    def copy(self):
        self.made = self.made.copy()

    @invariant()
    def agrees(self):
        self.made.validate()
        assert self.made.part(0, len(self.made)) == self.entries()


TestSortedSetMachine = SortedSetMachine.TestCase
TestSortedSetMachine.settings = settings(max_examples=50, deadline=None)
