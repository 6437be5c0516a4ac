"""The scan index: scans that miss nothing and end, whatever comes and goes."""

from collections import Counter

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

from tensorkeep_memory import scan_index
from tensorkeep_memory.scan_index import ScanIndex


def numbers(*bounds):
    return [b"%d" % number for number in range(*bounds)]


def scan_all(index, count, cursor=0):
    found, begun = [], False
    while cursor or not begun:
        begun = True
        cursor, some = index.scan(cursor, count)
        found += some
    return found


@pytest.mark.parametrize("count", [1, 7, 100, 2**63 - 1])
def test_a_scan_goes_from_the_newest_name_to_the_oldest(count):
    index = ScanIndex(numbers(30))
    for name in numbers(30, 60):
        index.add(name)
    assert scan_all(index, count) == numbers(60)[::-1]


def test_a_name_that_comes_back_has_its_old_place():
    index = ScanIndex(numbers(5))
    index.remove(b"1")
    assert scan_all(index, 2) == [b"4", b"3", b"2", b"0"]
    index.add(b"1")
    assert scan_all(index, 2) == [b"4", b"3", b"2", b"1", b"0"]
    assert len(index) == 5


def test_a_cursor_outlives_the_tidying_of_the_index():
    names = numbers(1000)
    index = ScanIndex(names)
    cursor, found = index.scan(0, 10)
    for name in names[:900]:
        index.remove(name)
    assert len(index._names) < 900
    assert found + scan_all(index, 10, cursor) == names[900:][::-1]


def test_tidying_again_and_again_mixes_up_nothing():
    index = ScanIndex()
    for start in range(0, 5000, 100):
        for name in numbers(start, start + 100):
            index.add(name)
        cursor, found = index.scan(0, 30)
        for name in numbers(start, start + 90):
            index.remove(name)
        left = [b"%d" % number for number in range(start + 100) if number % 100 >= 90]
        kept = [name for name in found if name in left]
        assert kept + scan_all(index, 10, cursor) == left[::-1]
        index.validate(left)


def test_a_scan_that_was_begun_before_all_was_cleared_finds_nothing_new():
    index = ScanIndex(numbers(10))
    cursor, _ = index.scan(0, 3)
    index.clear()
    assert len(index) == 0
    index.add(b"new")
    assert index.scan(cursor, 3) == (0, [])
    assert index.scan(0, 3) == (0, [b"new"])
    index.validate([b"new"])


def test_an_index_that_gave_its_names_away_has_none():
    index = ScanIndex(numbers(3))
    assert index.release() == numbers(3)
    assert len(index) == 0
    index.validate([])


def test_removed_names_do_not_pile_up_even_when_they_are_long():
    index = ScanIndex([b"steady"])
    for number in range(1000):
        name = b"%01000000d" % number
        index.add(name)
        index.remove(name)
        assert sum(map(len, index._names)) < 1_100_000
    index.validate([b"steady"])


def test_any_name_is_as_likely_as_any_other():
    index = ScanIndex(numbers(10))
    for name in numbers(5):
        index.remove(name)
    drawn = Counter(index.pick() for _ in range(5000))
    assert sorted(drawn) == numbers(5, 10)
    assert min(drawn.values()) > 800


def test_there_is_no_name_to_pick_when_all_were_removed():
    index = ScanIndex()
    assert index.pick() is None
    index.add(b"a")
    index.remove(b"a")
    assert index.pick() is None


def test_an_index_can_be_shown_in_a_log():
    index = ScanIndex(numbers(5))
    index.remove(b"1")
    assert repr(index) == "ScanIndex(4 names, 1 removed)"


# --------------------------------------------------------------------------- against a model
class ScanIndexMachine(RuleBasedStateMachine):
    """Scans find what is there all along exactly once, and end."""

    scans = Bundle("scans")
    names = st.sampled_from([b"", *numbers(12), b"long" * 500])

    @initialize(names=st.sets(names))
    def begin(self, names):
        self.index = ScanIndex(names)
        self.there = set(names)
        self.steady = {}  # scan number -> names there ever since its beginning
        self.seen = {}  # scan number -> names returned so far
        self.serial = 0

    @rule(name=names)
    def toggle(self, name):
        if name in self.there:
            self.index.remove(name)
            self.forget([name])
        else:
            self.index.add(name)
            self.there.add(name)

    def forget(self, names):
        self.there.difference_update(names)
        for steady in self.steady.values():
            steady.difference_update(names)

    @rule(size=st.integers(1, 150), kept=st.integers(0, 3))
    def churn(self, size, kept):
        """Many names come and most of them go, so that the index gets tidied."""
        self.serial += 1
        many = [b"%d:%d" % (self.serial, number) for number in range(size)]
        for name in many:
            self.index.add(name)
        for name in many[kept:]:
            self.index.remove(name)
        self.there.update(many[:kept])

    @rule()
    def clear(self):
        self.index.clear()
        self.forget(set(self.there))

    @rule(target=scans, count=st.integers(1, 5))
    def begin_scan(self, count):
        self.serial += 1
        self.steady[self.serial] = set(self.there)
        self.seen[self.serial] = []
        return self.go_on((self.serial, 0), count)

    @rule(target=scans, scan=consumes(scans), count=st.integers(1, 5))
    def continue_scan(self, scan, count):
        return self.go_on(scan, count) if scan[1] else scan

    @rule(target=scans, scan=consumes(scans), count=st.integers(1, 5), name=names)
    def continue_scan_and_replace_what_is_found(self, scan, count, name):
        """What is found goes, and something new comes for each: a scan going up would never end."""
        if not scan[1]:
            return scan
        scan = self.go_on(scan, count)
        found = self.seen.get(scan[0], [])[-count:]
        for number, old in enumerate(found):
            if old in self.there:
                self.index.remove(old)
                self.forget([old])
                self.index.add(b"%d/%d" % (self.serial, number))
                self.there.add(b"%d/%d" % (self.serial, number))
        self.serial += 1
        return scan

    def go_on(self, scan, count):
        number, before = scan
        cursor, some = self.index.scan(before, count)
        assert cursor < before or not before, "a scan that goes down ends"
        assert len(some) <= count
        assert set(some) <= self.there
        self.seen[number] += some
        if not cursor:
            seen = Counter(self.seen.pop(number))
            assert set(seen.values()) <= {1}
            assert self.steady.pop(number) <= seen.keys()
        return number, cursor

    @rule()
    def pick(self):
        name = self.index.pick()
        assert name in self.there if self.there else name is None

    @invariant()
    def holds(self):
        self.index.validate(self.there)


TestScanIndexMachine = ScanIndexMachine.TestCase


def test_names_can_be_removed_where_there_is_no_memory_for_it(monkeypatch):
    class Full(set):
        """A set that cannot grow until it was emptied."""

        def update(self, names):
            if len(self) > 1:
                raise MemoryError
            super().update(names)

    names = [b"%d" % number for number in range(10)]
    index = ScanIndex(names)
    index._gone = Full()
    for name in names[:7]:
        index.remove(name)
    index.validate(names[7:])
    index.add(b"new")
    index.validate([*names[7:], b"new"])
    assert sorted(index.scan(0, 100)[1]) == [*names[7:], b"new"]


def test_an_index_that_cannot_be_tidied_is_tidied_in_place(monkeypatch):
    def no_memory(*_):
        raise MemoryError

    names = [b"%d" % number for number in range(200)]
    index = ScanIndex(names)
    monkeypatch.setattr(scan_index, "compress", no_memory)
    for name in names[:150]:
        index.remove(name)
        index.validate(names[names.index(name) + 1 :])
    assert len(index._names) < 200
