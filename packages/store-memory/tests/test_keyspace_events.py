"""What a keyspace's listener is told, and when. The clock is the test's."""

import pytest

from tensorkeep.store import NEW
from tensorkeep.watch import Watch
from tensorkeep_memory.keyspace import Keyspace


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(clock):
    return Keyspace(clock)


@pytest.fixture
def told(keys):
    """What the listener was told, beginning after what the keyspace holds by then."""
    events = []
    keys.listener = lambda event, key: events.append((event, key.decode()))
    return events


def test_a_key_that_was_not_there_is_new_before_anything_else(keys, told):
    keys.set(b"a", 1, None, "set")
    keys.set(b"a", 2, None, "set")
    keys.replace(b"b", 1, "append")
    assert told == [("new", "a"), ("set", "a"), ("set", "a"), ("new", "b"), ("append", "b")]


def test_a_value_that_is_new_each_time_is_told_once_each_time(keys, told):
    keys.set(b"a", 1, None, NEW)
    keys.set(b"a", 2, None, NEW)
    assert told == [("new", "a"), ("new", "a")]


def test_what_is_only_a_part_of_something_is_not_told(keys, told):
    keys.set(b"a", 1)
    del told[:]
    keys.set(b"a", 2)
    keys.replace(b"a", 3)
    keys.changed(b"a")
    keys.expire(b"a", None)
    keys.delete(b"a", event=None)
    assert told == []


def test_what_changes_is_told_under_its_name(keys, told, clock):
    keys.set(b"a", [1], None, "set")
    del told[:]
    keys.changed(b"a", "lpush")
    keys.expire(b"a", clock.now + 10, "expire")
    keys.expire(b"a", None, "persist")
    assert keys.delete(b"a")
    assert not keys.delete(b"a")
    assert told == [("lpush", "a"), ("expire", "a"), ("persist", "a"), ("del", "a")]


def test_a_renaming_has_two_ends(keys, told):
    keys.set(b"a", 1)
    keys.set(b"b", 2)
    del told[:]
    keys.rename(b"a", b"b")
    keys.rename(b"b", b"b")
    assert told == [("new", "b"), ("rename_from", "a"), ("rename_to", "b")]


@pytest.mark.parametrize(
    ("meet", "more"),
    [
        (lambda keys: keys.get(b"a"), [("keymiss", "a")]),
        (lambda keys: keys.delete(b"a"), []),
        (lambda keys: keys.delete(b"a", None), []),
        (lambda keys: keys.remove_expired(10), []),
        (lambda keys: keys.set(b"a", 2, None, "set"), [("new", "a"), ("set", "a")]),
    ],
    ids=["get", "delete", "delete quietly", "remove_expired", "set"],
)
def test_a_key_whose_time_has_come_has_expired_whoever_notices(keys, told, clock, meet, more):
    keys.set(b"a", 1, clock.now + 10)
    del told[:]
    clock.now += 10
    meet(keys)
    assert told == [("expired", "a"), *more]
    keys.validate()


def test_a_key_that_is_looked_for_in_vain_is_missed(keys, told):
    assert keys.get(b"a") is None
    assert b"b" not in keys
    assert told == [("keymiss", "a"), ("keymiss", "b")]


def test_emptying_and_swapping_tell_of_no_key(keys, told, clock):
    other = Keyspace(clock)
    keys.set(b"a", 1)
    del told[:]
    keys.swap(other)
    keys.swap(other)
    keys.clear()
    assert told == []


def test_the_listener_stays_when_keys_are_exchanged(keys, told, clock):
    other = Keyspace(clock)
    keys.swap(other)
    other.set(b"a", 1, None, "set")
    assert told == []
    keys.set(b"a", 1, None, "set")
    assert told == [("new", "a"), ("set", "a")]


def test_watches_notice_what_no_listener_hears(keys):
    keys.set(b"a", 1)
    for change in (
        lambda: keys.replace(b"a", 2, "append"),
        lambda: keys.changed(b"a", "lpush"),
        lambda: keys.expire(b"a", None, "persist"),
        lambda: keys.rename(b"a", b"b"),
    ):
        watch = Watch()
        watch.add(keys, b"a")
        change()
        assert watch.changed
