"""The keyspace, whose clock is the test's: nothing here waits."""

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

from tensorkeep.errors import KeyMissing, WrongType
from tensorkeep.watch import Watch
from tensorkeep_memory.keyspace import Keyspace

START = 1_700_000_000.0


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(clock):
    return Keyspace(clock)


def scan_all(keys, count):
    found, cursor = [], 0
    while True:
        cursor, some = keys.scan(cursor, count)
        found += some
        if not cursor:
            return found


# --------------------------------------------------------------------------- values
def test_a_value_is_found_under_its_key_until_it_is_deleted(keys):
    keys.set(b"k", "value")
    assert keys.get(b"k") == "value"
    assert b"k" in keys
    assert keys.delete(b"k")
    assert keys.get(b"k") is None
    assert b"k" not in keys
    assert not keys.delete(b"k")


def test_the_time_is_that_of_the_given_clock(keys, clock):
    clock.now += 5
    assert keys.time() == START + 5


def test_a_typed_look_names_a_missing_key_and_a_wrong_type(keys):
    keys.set(b"k", "text")
    assert keys.typed(b"k", str) == "text"
    with pytest.raises(WrongType, match="b'k'"):
        keys.typed(b"k", int)
    with pytest.raises(KeyMissing, match="b'none'"):
        keys.typed(b"none", int)


def test_a_value_of_one_type_is_found_or_missing_and_any_other_refused(keys):
    keys.set(b"k", "text")
    assert keys.find(b"k", str) == "text"
    assert keys.find(b"none", str) is None
    with pytest.raises(WrongType, match="b'k'"):
        keys.find(b"k", int)


def test_reading_touches_a_key_unless_told_otherwise(keys, clock):
    keys.set(b"k", 1)
    clock.now += 10
    keys.get(b"k", touch=False)
    assert b"k" in keys
    assert keys.entry(b"k").touched == START
    keys.get(b"k")
    assert keys.entry(b"k").touched == START + 10
    clock.now += 10
    keys.set(b"k", 2)
    assert keys.entry(b"k").touched == START + 20


def test_clearing_removes_all_keys_and_a_scan_begun_before_ends(keys):
    for number in range(10):
        keys.set(b"%d" % number, number, START + 10)
    cursor, _ = keys.scan(0, 3)
    assert keys.clear() == 10
    assert len(keys) == keys.volatile == 0
    assert keys.next_expiry() is None
    assert keys.scan(cursor, 3) == (0, [])
    keys.set(b"new", 1)
    assert keys.scan(cursor, 3) == (0, [])


def test_it_can_be_shown_in_a_log(keys):
    keys.set(b"a", 1)
    keys.set(b"b", 1, START + 1)
    assert repr(keys) == "Keyspace(2 keys, 1 volatile)"


# --------------------------------------------------------------------------- expiry
def test_a_key_vanishes_when_its_time_has_come(keys, clock):
    keys.set(b"k", 1, START + 2)
    clock.now = START + 1.999
    assert keys.get(b"k") == 1
    clock.now = START + 2
    assert keys.get(b"k") is None
    assert len(keys) == 0


def test_a_key_that_expired_counts_until_it_is_found_out(keys, clock):
    keys.set(b"k", 1, START + 2)
    clock.now = START + 2
    assert len(keys) == 1
    assert list(keys) == []
    assert keys.scan(0, 10) == (0, [])
    assert not keys.delete(b"k")
    assert len(keys) == 0


def test_storing_a_value_forgets_when_the_old_one_was_to_expire(keys, clock):
    keys.set(b"k", 1, START + 2)
    keys.set(b"k", 2)
    assert keys.volatile == 0
    clock.now = START + 3
    assert keys.get(b"k") == 2
    assert keys.remove_expired(10) == []


def test_a_replaced_value_expires_as_the_old_one_would_have(keys, clock):
    keys.set(b"k", "old", START + 10)
    keys.replace(b"k", "new")
    keys.replace(b"l", "first")
    assert keys.get(b"k") == "new"
    assert keys.entry(b"l").expires_at is None
    clock.now += 10
    keys.replace(b"k", "late")
    assert keys.get(b"k") is None
    assert keys.get(b"l") == "first"


def test_an_expiry_is_set_moved_and_taken_back(keys):
    keys.set(b"k", 1)
    keys.expire(b"k", START + 2)
    keys.expire(b"k", START + 9)
    assert keys.entry(b"k").expires_at == START + 9
    assert keys.volatile == 1
    keys.expire(b"k", None)
    assert keys.entry(b"k").expires_at is None
    assert keys.volatile == 0


def test_a_missing_key_cannot_be_given_an_expiry(keys, clock):
    keys.set(b"gone", 1, START + 1)
    clock.now = START + 1
    for key in (b"none", b"gone"):
        with pytest.raises(KeyMissing):
            keys.expire(key, START + 2)


def test_expired_keys_are_removed_in_their_order_and_not_too_many_at_once(keys, clock):
    for number in (3, 1, 2, 4):
        keys.set(b"%d" % number, number, START + number)
    assert keys.next_expiry() == START + 1
    assert keys.remove_expired(10) == []
    clock.now = START + 3
    assert keys.remove_expired(2) == [b"1", b"2"]
    assert keys.remove_expired(2) == [b"3"]
    assert keys.remove_expired(2) == []
    assert keys.next_expiry() == START + 4


def test_a_later_expiry_of_the_same_key_is_not_cut_short(keys, clock):
    keys.set(b"k", 1, START + 1)
    keys.expire(b"k", START + 5)
    clock.now = START + 1
    assert keys.remove_expired(10) == []
    assert keys.get(b"k") == 1


def test_what_was_noted_of_deleted_volatile_keys_does_not_pile_up(keys):
    for number in range(10_000):
        keys.set(b"%d" % number, number, START + 1000)
    for number in range(10_000):
        keys.delete(b"%d" % number)
    keys.validate()  # bounds the marks that are left


def test_what_was_noted_of_moved_expiries_does_not_pile_up(keys):
    keys.set(b"k", 1)
    for number in range(10_000):
        keys.expire(b"k", START + 1 + number)
    keys.validate()  # bounds the marks that are left


# --------------------------------------------------------------------------- renaming
def test_renaming_takes_value_and_expiry_along_and_replaces_the_target(keys):
    keys.set(b"a", "a", START + 5)
    keys.set(b"b", "b")
    keys.rename(b"a", b"b")
    assert keys.get(b"a") is None
    assert keys.get(b"b") == "a"
    assert keys.entry(b"b").expires_at == START + 5
    assert keys.volatile == 1


def test_renaming_a_lasting_key_takes_the_targets_expiry_away(keys):
    keys.set(b"a", "a")
    keys.set(b"b", "b", START + 5)
    keys.rename(b"a", b"b")
    assert keys.entry(b"b").expires_at is None
    assert keys.volatile == 0


def test_renaming_a_key_to_itself_changes_nothing(keys):
    keys.set(b"a", "a", START + 5)
    keys.set(b"b", "b")
    cursor, _ = keys.scan(0, 1)
    keys.rename(b"a", b"a")
    assert keys.get(b"a") == "a"
    assert keys.entry(b"a").expires_at == START + 5
    assert keys.scan(cursor, 1) == (0, [b"a"])


def test_a_missing_key_cannot_be_renamed(keys, clock):
    keys.set(b"gone", 1, START + 1)
    clock.now = START + 1
    for key in (b"none", b"gone"):
        with pytest.raises(KeyMissing):
            keys.rename(key, b"target")


# --------------------------------------------------------------------------- scanning
@pytest.mark.parametrize("count", [1, 2, 7, 100, 2**63 - 1])
def test_a_scan_returns_every_key_once(keys, count):
    for number in range(100):
        keys.set(b"%d" % number, number)
    for number in range(0, 100, 3):
        keys.delete(b"%d" % number)
    assert sorted(scan_all(keys, count)) == sorted(keys)


def test_an_empty_keyspace_is_scanned_in_one_go(keys):
    assert keys.scan(0, 10) == (0, [])


def test_a_scan_removes_what_it_finds_to_have_expired_and_leaves_what_it_does_not_want(keys, clock):
    for key in (b"a1", b"a2", b"b1", b"b2"):
        keys.set(key, "value", START + 1 if key.endswith(b"1") else None)
    clock.now = START + 1

    found = keys.scan(0, 10, lambda some: [key for key in some if key.startswith(b"a")])

    assert found == (0, [b"a2"])
    assert len(keys) == 3  # without a1
    assert keys.scan(0, 10) == (0, [b"b2", b"a2"])
    assert len(keys) == 2


def test_a_scan_ends_although_every_key_is_renamed_as_it_is_found(keys):
    for number in range(50):
        keys.set(b"%d" % number, number)
    cursor, rounds, found = 0, 0, []
    while rounds == 0 or cursor:
        cursor, some = keys.scan(cursor, 5)
        for key in some:
            keys.rename(key, b"new:" + key)
        found += some
        rounds += 1
        assert rounds <= 50
    assert sorted(found) == sorted(b"%d" % number for number in range(50))


def test_a_cursor_outlives_the_tidying_of_the_index(keys):
    for number in range(1000):
        keys.set(b"%d" % number, number)
    cursor, found = keys.scan(0, 10)
    for number in range(900):
        keys.delete(b"%d" % number)
    while cursor:
        cursor, some = keys.scan(cursor, 10)
        found += some
    assert sorted(found) == sorted(b"%d" % number for number in range(900, 1000))


def test_a_cursor_that_no_scan_returned_does_no_harm(keys):
    keys.set(b"k", 1)
    assert keys.scan(2**64 - 1, 10) == (0, [])
    assert keys.scan(2, 10) == (0, [b"k"])


# --------------------------------------------------------------------------- random
def test_a_random_key_is_any_of_those_that_are_there(keys, clock):
    for number in range(5):
        keys.set(b"%d" % number, number)
    keys.set(b"gone", 1, START + 1)
    keys.delete(b"0")
    clock.now = START + 1
    drawn = {keys.random_key() for _ in range(300)}
    assert drawn == {b"1", b"2", b"3", b"4"}


def test_there_is_no_random_key_when_all_have_expired(keys, clock):
    assert keys.random_key() is None
    keys.set(b"a", 1, START + 1)
    keys.set(b"b", 1, START + 1)
    clock.now = START + 1
    assert keys.random_key() is None
    assert len(keys) == 0


# --------------------------------------------------------------------------- swapping
def test_swapping_exchanges_everything_that_two_keyspaces_hold(clock, keys):
    other = Keyspace(clock)
    for number in range(100):
        keys.set(b"%d" % number, number, START + 1 + number)
    other.set(b"k", "value")
    keys.swap(other)
    assert list(keys) == [b"k"]
    assert keys.volatile == 0
    assert len(other) == other.volatile == 100
    assert sorted(scan_all(other, 7)) == sorted(other)
    clock.now += 50
    assert len(other.remove_expired(1000)) == 50
    keys.set(b"l", 1)
    other.delete(b"99")
    keys.validate()
    other.validate()


def test_a_keyspace_that_is_swapped_with_itself_stays_as_it_is(keys):
    keys.set(b"k", 1)
    watch = watching(keys, b"k")
    keys.swap(keys)
    assert keys.get(b"k") == 1
    assert not watch.look()


# --------------------------------------------------------------------------- watching
def watching(keys, *names):
    watch = Watch()
    for name in names:
        watch.add(keys, name)
    return watch


CHANGES = {
    "stored": lambda keys: keys.set(b"k", 1),
    "stored as it was": lambda keys: keys.set(b"k", keys.get(b"k")),
    "changed in place": lambda keys: keys.changed(b"k"),
    "replaced": lambda keys: keys.replace(b"k", 1),
    "deleted": lambda keys: keys.delete(b"k"),
    "renamed": lambda keys: keys.rename(b"k", b"other"),
    "replaced by a renamed one": lambda keys: keys.rename(b"other", b"k"),
    "given an expiry": lambda keys: keys.expire(b"k", START + 9),
    "made to last": lambda keys: keys.expire(b"k", None),
    "cleared": lambda keys: keys.clear(),
    "swapped away": lambda keys: keys.swap(Keyspace(keys.clock)),
    "deleted and stored again": lambda keys: (keys.delete(b"k"), keys.set(b"k", "value")),
}
NO_CHANGES = {
    "read": lambda keys: keys.get(b"k"),
    "looked at": lambda keys: (keys.entry(b"k"), b"k" in keys, list(keys), keys.scan(0, 10)),
    "renamed to itself": lambda keys: keys.rename(b"k", b"k"),
    "not the one that is stored": lambda keys: keys.set(b"l", 1),
    "not the one that is changed": lambda keys: keys.changed(b"other"),
    "not the one that is replaced": lambda keys: keys.replace(b"l", 1),
    "not the one that is deleted": lambda keys: keys.delete(b"other"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_watch_notices_that_a_key_is(keys, change):
    keys.set(b"k", "value")
    keys.set(b"other", "value")
    watch = watching(keys, b"a", b"k", b"z")
    change(keys)
    assert watch.changed
    assert not keys.watches


@pytest.mark.parametrize("event", NO_CHANGES.values(), ids=NO_CHANGES)
def test_a_watch_does_not_mind_that_a_key_is(keys, event):
    keys.set(b"k", "value")
    keys.set(b"other", "value")
    watch = watching(keys, b"k", b"missing")
    event(keys)
    assert not watch.look()
    watch.end()
    assert not keys.watches


def test_a_watch_notices_that_a_missing_key_is_stored(keys):
    watch = watching(keys, b"k")
    assert not keys.delete(b"k")
    assert keys.clear() == 0
    assert not watch.look()
    keys.set(b"k", 1)
    assert watch.changed


def test_a_watch_finds_out_that_a_key_has_expired(keys, clock):
    keys.set(b"k", 1, START + 2)
    watch = watching(keys, b"k")
    assert not watch.look()
    clock.now = START + 2
    assert not watch.changed
    assert watch.look()


def test_a_watch_is_told_of_a_key_whose_expiry_somebody_else_found_out(keys, clock):
    keys.set(b"k", 1, START + 2)
    keys.set(b"l", 1, START + 2)
    first, second = watching(keys, b"k"), watching(keys, b"l")
    clock.now = START + 2
    assert b"k" not in keys
    assert keys.remove_expired(10) == [b"l"]
    assert first.changed
    assert second.changed


def test_a_key_that_had_expired_before_it_was_watched_is_a_missing_one(keys, clock):
    keys.set(b"k", 1, START + 2)
    clock.now = START + 2
    watch = watching(keys, b"k")
    assert keys.remove_expired(10) == []
    assert keys.clear() == 0
    assert not watch.look()


def test_who_watches_a_key_watches_its_name_wherever_the_contents_go(clock, keys):
    other = Keyspace(clock)
    here, there = watching(keys, b"k"), watching(other, b"k")
    keys.swap(other)
    assert not here.look()
    keys.set(b"k", 1)
    assert here.changed
    assert not there.look()
    keys.swap(other)
    assert there.changed


def test_a_watch_sees_keys_of_several_keyspaces(clock, keys):
    other = Keyspace(clock)
    watch = watching(keys, b"k")
    watch.add(other, b"l")
    keys.set(b"l", 1)
    other.set(b"k", 1)
    assert not watch.changed
    other.set(b"l", 1)
    assert watch.changed
    assert not keys.watches


def test_after_a_change_nothing_more_is_watched(keys):
    watch = watching(keys, b"k")
    keys.set(b"k", 1)
    watch.add(keys, b"l")
    assert watch.changed
    assert not keys.watches


def test_several_watches_of_a_key_do_not_disturb_each_other(keys):
    first, second, third = (watching(keys, b"k", b"k") for _ in range(3))
    second.end()
    second.end()
    keys.set(b"k", 1)
    assert (first.changed, second.changed, third.changed) == (True, False, True)


def test_a_watch_can_be_shown_in_a_log(keys):
    assert repr(watching(keys, b"k", b"l")) == "Watch(2 keys, changed=False)"


# --------------------------------------------------------------------------- against a model
class KeyspaceMachine(RuleBasedStateMachine):
    """A keyspace does what a dictionary with deadlines does."""

    scans = Bundle("scans")
    names = st.sampled_from(
        [b"", b"a", b"b", b"c\0", b"d", b"\xff", *(b"n%d" % n for n in range(9))]
    )
    delays = st.one_of(st.none(), st.floats(-2, 30))

    @initialize()
    def begin(self):
        self.clock = Clock()
        self.keys = Keyspace(self.clock)
        self.model = {}  # name -> value, deadline
        self.steady = {}  # scan number -> names there ever since its beginning
        self.seen = {}  # scan number -> names returned so far
        self.serial = 0
        self.watches = []  # each with its names, and whether it should have noticed something

    def live(self):
        now = self.clock.now
        return {n: v for n, (v, at) in self.model.items() if at is None or at > now}

    def touch(self, name):
        for watch in self.watches:
            watch[2] |= name in watch[1]

    def lose(self, name):
        if self.model.pop(name, None):
            self.touch(name)
        for steady in self.steady.values():
            steady.discard(name)

    def forget_expired(self):
        for name in set(self.model) - set(self.live()):
            self.lose(name)

    def deadline(self, delay):
        return None if delay is None else self.clock.now + delay

    @rule(name=names, value=st.integers(), delay=delays)
    def set(self, name, value, delay):
        self.keys.set(name, value, self.deadline(delay))
        self.model[name] = value, self.deadline(delay)
        self.touch(name)

    @rule(values=st.lists(st.tuples(names, st.integers()), max_size=6))
    def set_many(self, values):
        self.keys.set_many(values)
        for name, value in values:
            self.model[name] = value, None
            self.touch(name)

    @rule(some=st.lists(names, max_size=6), touch=st.booleans())
    def get_many(self, some, touch):
        self.clock.now += 1e-3  # before it, nothing was touched
        live = self.live()
        assert self.keys.has_any(some) is any(name in live for name in some)
        assert self.keys.get_many(some, touch=touch) == [live.get(name) for name in some]
        for name in {*some} & {*live}:
            assert (self.keys.entry(name).touched == self.clock.now) is touch

    @rule(some=st.lists(names, max_size=6))
    def delete_many(self, some):
        assert self.keys.delete_many(some) == len({*some} & {*self.live()})
        for name in some:
            self.lose(name)

    @rule(name=names, value=st.integers())
    def replace(self, name, value):
        deadline = self.model[name][1] if name in self.live() else None
        self.keys.get(name)
        self.keys.replace(name, value)
        self.model[name] = value, deadline
        self.touch(name)

    @rule(name=names)
    def change(self, name):
        self.keys.changed(name)
        self.touch(name)

    @rule(numbers=st.integers(70, 140), delay=delays, again=st.booleans())
    def churn(self, numbers, delay, again):
        """Many keys come and go, so that the index and the expiry times get tidied."""
        for _ in range(1 + again):
            for number in range(numbers):
                self.keys.set(b"many%d" % number, number, self.deadline(delay))
        for number in range(numbers):
            there = delay is None or self.deadline(delay) > self.clock.now
            assert self.keys.delete(b"many%d" % number) is there

    @rule(name=names)
    def delete(self, name):
        assert self.keys.delete(name) is (name in self.live())
        self.lose(name)

    @rule(source=names, to=names)
    def rename(self, source, to):
        if source not in self.live():
            with pytest.raises(KeyMissing):
                self.keys.rename(source, to)
            return
        self.keys.rename(source, to)
        if source != to:
            self.model[to] = self.model[source]
            self.touch(to)
            self.lose(source)

    @rule(name=names, delay=delays)
    def expire(self, name, delay):
        if name not in self.live():
            with pytest.raises(KeyMissing):
                self.keys.expire(name, self.deadline(delay))
            return
        self.keys.expire(name, self.deadline(delay))
        self.model[name] = self.model[name][0], self.deadline(delay)
        self.touch(name)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(limit=st.integers(1, 5))
    def remove_expired(self, limit):
        now = self.clock.now
        entries = self.keys._entries.items()  # with those that nobody found out yet
        held = {n for n, e in entries if e.expires_at is not None and e.expires_at <= now}
        removed = self.keys.remove_expired(limit)
        assert len(removed) == len(set(removed)) == min(limit, len(held))
        assert set(removed) <= held

    @rule()
    def clear(self):
        self.keys.clear()
        for name in list(self.model):
            self.lose(name)

    @rule(some=st.lists(names, min_size=1, max_size=3))
    def watch(self, some):
        self.watches.append([watching(self.keys, *some), some, False])

    @rule()
    def stop_watching(self):
        for watch, _, _ in self.watches:
            watch.end()
        self.watches.clear()
        assert not self.keys.watches

    @rule()
    def swap(self):
        """All goes to another keyspace, where it has to be whole."""
        other = Keyspace(self.clock)
        other.swap(self.keys)
        assert len(self.keys) == self.keys.volatile == 0
        for name in self.live():
            self.touch(name)
        self.check_watches()
        self.stop_watching()
        self.keys = other

    @rule(name=names)
    def get(self, name):
        assert self.keys.get(name) == self.live().get(name)

    @rule()
    def random_key(self):
        key = self.keys.random_key()
        assert key in self.live() if self.live() else key is None

    @rule(target=scans, count=st.integers(1, 5))
    def begin_scan(self, count):
        self.serial += 1
        self.steady[self.serial] = set(self.live())
        self.seen[self.serial] = []
        return self.go_on((self.serial, 0), count)

    @rule(target=scans, scan=consumes(scans), count=st.integers(1, 5))
    def continue_scan(self, scan, count):
        return self.go_on(scan, count) if scan[1] else scan

    def go_on(self, scan, count):
        self.forget_expired()
        number, cursor = scan
        cursor, some = self.keys.scan(cursor, count)
        assert set(some) <= set(self.live())
        self.seen[number] += some
        if not cursor:
            seen = self.seen.pop(number)
            for name in self.steady.pop(number):
                assert seen.count(name) == 1
        return number, cursor

    @invariant()
    def agrees(self):
        self.forget_expired()
        live = self.live()
        assert sorted(self.keys) == sorted(live)
        assert len(self.keys) >= len(live)
        self.keys.validate()
        self.check_watches()

    def check_watches(self):
        for watch, names, changed in self.watches:
            assert watch.look() == changed, names


TestKeyspaceMachine = KeyspaceMachine.TestCase
