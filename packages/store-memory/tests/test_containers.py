"""Hashes and sets: what they hold, find in a scan and draw at random."""

from collections import Counter
from weakref import ref

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from tensorkeep import leftovers
from tensorkeep.tensor import DType, Tensor
from tensorkeep_memory.values.containers import Hash, Set
from tensorkeep_memory.values.sequence import List

LONG = b"x" * 64


def numbers(*bounds):
    return [b"%d" % number for number in range(*bounds)]


def a_hash(fields):
    made = Hash()
    for field in fields:
        made.put(field, b"value")
    return made


def a_set(members):
    made = Set()
    for member in members:
        made.add(member)
    return made


KINDS = pytest.mark.parametrize("make", [a_hash, a_set], ids=["hash", "set"])


def scan_all(container, count):
    cursor, found = container.scan(0, count)
    while cursor:
        cursor, some = container.scan(cursor, count)
        found += some
    return found


# --------------------------------------------------------------------------- content
def test_a_field_is_new_once():
    made = Hash()
    assert made.put(b"f", b"1")
    assert not made.put(b"f", b"2")
    assert made.content == {b"f": b"2"}
    assert made.remove(b"f")
    assert not made.remove(b"f")
    assert len(made) == 0


def test_an_empty_value_is_one_that_is_there():
    made = Hash()
    made.put(b"f", b"")
    assert made.remove(b"f")


def test_a_member_is_new_once():
    made = Set()
    assert made.add(b"m")
    assert not made.add(b"m")
    assert made.remove(b"m")
    assert not made.remove(b"m")
    assert len(made) == 0


@KINDS
def test_a_copy_shares_nothing(make):
    first = make([*numbers(1000), b"word"])
    first.pick()
    second = first.copy()
    assert second.content == first.content
    assert second.small == first.small
    for number in numbers(900):
        second.remove(number)
    assert len(first) == 1001
    assert sorted(scan_all(second, 7)) == sorted(second.content)
    first.validate()
    second.validate()


@KINDS
def test_a_container_can_be_shown_in_a_log(make):
    assert repr(make([b"1", b"2"])).endswith("s, small=True)")


# --------------------------------------------------------------------------- small ones
@pytest.mark.parametrize(
    ("field", "value", "small"),
    [
        (LONG, LONG, True),
        (LONG + b"x", b"", False),
        (b"", LONG + b"x", False),
    ],
)
def test_a_hash_with_long_words_is_not_small_and_stays_so(field, value, small):
    made = Hash()
    made.put(field, value)
    assert made.small is small
    made.put(field, b"")
    made.remove(field)
    assert made.small is small


@pytest.mark.parametrize("member", [b"word", b"01", b"1.5", b"9223372036854775808", b""])
def test_a_set_with_a_word_is_not_small_and_stays_so(member):
    made = a_set([b"1", b"-9223372036854775808"])
    assert made.small
    made.add(member)
    assert not made.small
    made.remove(member)
    assert not made.small


@KINDS
def test_one_with_many_elements_is_not_small_and_stays_so(make):
    made = make(numbers(512))
    assert made.small
    (made.put if make is a_hash else made.add)(b"512", *[b""] * (make is a_hash))
    assert not made.small
    made.remove(b"512")
    assert not made.small


def test_a_set_that_begins_with_members_is_as_small_as_they_are():
    assert Set(set(numbers(512))).small
    assert not Set(set(numbers(513))).small
    assert not Set({b"1", b"word"}).small


@KINDS
def test_a_small_one_is_scanned_at_once_whatever_the_cursor(make):
    made = make(numbers(300))
    for cursor in (0, 17, 2**64 - 1):
        after, found = made.scan(cursor, 1)
        assert after == 0
        assert sorted(found) == sorted(numbers(300))


def test_a_small_set_shows_its_numbers_in_their_order():
    made = a_set([b"10", b"9", b"-3", b"0"])
    ordered = [b"-3", b"0", b"9", b"10"]
    assert made.in_order() == made.scan(0, 1)[1] == made.sample(4) == ordered
    made.add(b"word")
    assert sorted(made.in_order()) == sorted([*ordered, b"word"])


def test_a_small_hash_shows_its_fields_in_the_order_in_which_they_came():
    made = a_hash([b"b", b"c", b"a"])
    made.put(b"b", b"again")
    assert made.in_order() == made.scan(0, 1)[1] == made.sample(3) == [b"b", b"c", b"a"]
    made.remove(b"b")
    made.put(b"b", b"new")
    assert made.in_order() == [b"c", b"a", b"b"]


def test_of_a_small_hash_some_fields_are_drawn_in_their_order():
    made = a_hash(numbers(20))
    for _ in range(50):
        drawn = made.sample(6)
        assert drawn == sorted(drawn, key=int)


@KINDS
def test_any_other_is_scanned_in_pieces(make):
    made = make(numbers(2000))
    cursor, found = made.scan(0, 10)
    assert cursor
    assert len(found) == 10
    assert sorted(scan_all(made, 10)) == sorted(numbers(2000))


# --------------------------------------------------------------------------- at random
@KINDS
@pytest.mark.parametrize("count", [0, 1, 3, 9, 10, 11, 19, 20, 21, 1000])
def test_a_sample_has_different_elements(make, count):
    made = make(numbers(20))
    drawn = made.sample(count)
    assert len(set(drawn)) == len(drawn) == min(count, 20)
    assert set(drawn) <= set(made.content)


@KINDS
@pytest.mark.parametrize("count", [2, 8])
def test_any_element_is_as_likely_in_a_sample(make, count):
    made = make(numbers(10))
    drawn = Counter(element for _ in range(1000) for element in made.sample(count))
    assert len(drawn) == 10
    assert min(drawn.values()) > 60 * count


@KINDS
def test_drawn_elements_repeat(make):
    made = make(numbers(3))
    drawn = made.draw(100)
    assert len(drawn) == 100
    assert set(drawn) == set(numbers(3))
    assert make([]).draw(5) == []
    assert make([]).pick() is None


# --------------------------------------------------------------------------- memory
@KINDS
def test_memory_grows_with_number_and_length_of_the_elements(make):
    few, many, long = (
        make(numbers(10)),
        make(numbers(1000)),
        make(LONG * 9 + n for n in numbers(10)),
    )
    assert 0 < make([]).nbytes < few.nbytes < many.nbytes
    assert few.nbytes + 5000 < long.nbytes


@pytest.fixture
def nothing_left():
    """What other tests left is swept before."""
    while leftovers.sweep(100_000):
        pass


@pytest.mark.parametrize("make", [a_hash, a_set, List], ids=["hash", "set", "list"])
def test_a_large_one_is_freed_bit_by_bit(nothing_left, make):
    made = make(numbers(25_000))
    del made
    assert [leftovers.sweep(10_000) for _ in range(4)] == [10_000, 10_000, 5_000, 0]


@KINDS
def test_what_a_large_one_needed_for_scans_is_freed_bit_by_bit_too(nothing_left, make):
    made = make([*numbers(25_000), b"word"])
    made.scan(0, 10)
    del made
    assert [leftovers.sweep(30_000) for _ in range(3)] == [30_000, 20_002, 0]


@KINDS
def test_a_small_one_is_freed_at_once(nothing_left, make):
    made = make(numbers(100))
    del made
    assert leftovers.sweep(1) == 0


def test_what_somebody_still_refers_to_is_not_freed(nothing_left):
    made = a_hash(numbers(25_000))
    other = made
    del made
    assert leftovers.sweep(10_000) == 0
    assert len(other) == 25_000


def test_a_few_large_strings_and_tensors_are_freed_bit_by_bit_and_models_at_once(nothing_left):
    class Model:
        pass

    model = Model()
    alive = ref(model)
    strings = [bytes(2**20) for _ in range(12)]
    tensors = [Tensor.zeros(DType.UINT8, (2**20,)) for _ in range(12)]
    leftovers.leave_large([*strings, model, *tensors])
    del model, strings, tensors
    assert alive() is None
    turns = iter([True, True, False])
    assert leftovers.sweep(100, lambda: next(turns)) == 24
    assert leftovers.sweep(100) == 0


def test_few_small_strings_are_freed_at_once(nothing_left):
    leftovers.leave_large([bytes(100) for _ in range(100)])
    assert leftovers.sweep(1) == 0


def test_a_sweep_ends_when_its_time_is_over(nothing_left):
    leftovers.leave(set(range(15_000)))
    turns = iter([True, False])
    assert 0 < leftovers.sweep(10_000, lambda: next(turns)) < 100
    assert leftovers.sweep(10_000, lambda: False) == 0


def test_several_large_ones_are_freed_one_after_the_other(nothing_left):
    leftovers.leave(set(range(15_000)))
    leftovers.leave(dict.fromkeys(range(15_000)))
    assert [leftovers.sweep(20_000) for _ in range(3)] == [20_000, 10_000, 0]


def test_more_than_can_be_swept_is_freed_at_once(nothing_left, monkeypatch):
    monkeypatch.setattr(leftovers, "_MOST", 20_000)
    leftovers.leave(set(range(20_000)))
    leftovers.leave(set(range(20_000)))
    assert leftovers.sweep(100_000) == 20_000


# --------------------------------------------------------------------------- against a model
class ContainerMachine(RuleBasedStateMachine):
    """A hash does what a dictionary does, a set what its keys do, and scans miss nothing."""

    scans = Bundle("scans")
    fields = st.sampled_from([b"", LONG + b"x", *numbers(9)])

    @initialize(large=st.booleans())
    def begin(self, large):
        self.hash = Hash()
        self.set = Set()
        self.model = {}
        self.steady = {}  # scan number -> fields there ever since its beginning
        self.seen = {}  # scan number -> fields returned so far
        self.serial = 0
        if large:
            self.put(LONG + b"x", b"")

    @rule(field=fields, value=st.binary(max_size=3))
    def put(self, field, value):
        new = field not in self.model
        assert self.hash.put(field, value) is self.set.add(field) is new
        self.model[field] = value

    @rule(field=fields)
    def remove(self, field):
        there = field in self.model
        assert self.hash.remove(field) is self.set.remove(field) is there
        self.lose([field])

    def lose(self, fields):
        for field in fields:
            self.model.pop(field, None)
        for steady in self.steady.values():
            steady.difference_update(fields)

    @rule(size=st.integers(70, 600), kept=st.integers(0, 9))
    def churn(self, size, kept):
        """Many come and most of them go, so that limits are passed and indexes get tidied."""
        many = [b"many%d" % number for number in range(size)]
        for field in many:
            self.put(field, b"value")
        for field in many[kept:]:
            self.remove(field)

    @rule()
    def copy(self):
        """All goes on with copies, in which no scan was begun."""
        self.hash, self.set = self.hash.copy(), self.set.copy()
        self.steady.clear()
        self.seen.clear()

    @rule(target=scans, kind=st.sampled_from(["hash", "set"]), count=st.integers(1, 5))
    def begin_scan(self, kind, count):
        self.serial += 1
        self.steady[self.serial] = set(self.model)
        self.seen[self.serial] = set()
        return self.go_on((self.serial, kind, 0), count)

    @rule(target=scans, scan=consumes(scans), count=st.integers(1, 5))
    def continue_scan(self, scan, count):
        return self.go_on(scan, count) if scan[0] in self.seen else scan

    def go_on(self, scan, count):
        number, kind, cursor = scan
        cursor, some = getattr(self, kind).scan(cursor, count)
        assert set(some) <= set(self.model)
        self.seen[number].update(some)
        if not cursor:
            assert self.steady.pop(number) <= self.seen.pop(number)
        return number, kind, cursor

    @rule(count=st.integers(0, 12))
    def sample(self, count):
        for container in (self.hash, self.set):
            drawn = container.sample(count)
            assert set(drawn) <= set(self.model)
            assert len(set(drawn)) == len(drawn) == min(count, len(self.model))

    @invariant()
    def agrees(self):
        assert self.hash.content == self.model
        assert [*self.hash.content] == [*self.model]  # in the order in which they came
        assert self.set.content == set(self.model)
        self.hash.validate()
        self.set.validate()


TestContainerMachine = ContainerMachine.TestCase
