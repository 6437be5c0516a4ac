"""What keys and values take is counted as they change, and comes to nothing when all are gone."""

from random import Random

import numpy as np
import pytest

from tensorkeep.eviction import Usage
from tensorkeep.tensor import DType, Tensor
from tensorkeep_memory.keyspace import KEY_BYTES, Keyspace
from tensorkeep_memory.large_values import LargeValues
from tensorkeep_memory.values.containers import Hash, Set
from tensorkeep_memory.values.kinds import SIZES, memory_of
from tensorkeep_memory.values.sequence import List
from tensorkeep_memory.values.sorted_set import SortedSet

KEYS = [b"k%d" % number for number in range(20)]


@pytest.fixture
def usage():
    return Usage()


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def two(usage, now):
    return [Keyspace(lambda: now[0], SIZES, usage) for _ in range(2)]


def anything(random):
    number = random.randrange(1000)
    value = random.choice([Hash, Set, SortedSet, List, bytes, Tensor])
    if value is bytes:
        return bytes(number)
    if value is Tensor:
        return Tensor.from_blob(DType.UINT8, (number,), bytes(number))
    return value()


def grow(value, random):
    word = b"x" * random.randrange(100)
    match value:
        case Hash():
            value.put(word, word)
        case Set():
            value.add(word)
        case SortedSet():
            value.put(word, random.random())
        case List():
            value.append(word)


def expected(two):
    return sum(
        KEY_BYTES + len(key) + SIZES[type(entry.value)](entry.value)
        for keys in two
        for key, entry in keys.entries()
    )


def _grow(keys, key, _, random):
    value = keys.get(key)
    if value is not None:
        grow(value, random)
        keys.changed(key)


def _rename(keys, key, other, _):
    if key in keys:
        keys.rename(key, other)


CHANGES = [
    lambda keys, key, _, random: keys.set(key, anything(random), None, "set"),
    lambda keys, key, _, random: keys.set(key, anything(random), keys.time() + 5),
    lambda keys, key, other, random: keys.set_many(
        [(key, anything(random)), (other, anything(random))]
    ),
    _grow,
    _grow,
    _grow,
    lambda keys, key, _, random: keys.replace(key, anything(random)),
    lambda keys, key, *_: keys.delete(key),
    lambda keys, key, other, _: keys.delete_many([key, other]),
    _rename,
    lambda keys, *_: keys.remove_expired(2),
]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_done_the_count_is_what_all_keys_take(two, usage, now, seed):
    random = Random(seed)
    for step in range(300):
        keys, key, other = random.choice(two), random.choice(KEYS), random.choice(KEYS)
        random.choice(CHANGES)(keys, key, other, random)
        now[0] += 0.1
        if step % 70 == 50:
            two[0].swap(two[1])
        if step % 100 == 90:
            keys.release()
        assert usage.values == expected(two)
        for each in two:
            each.validate()
    for keys in two:
        keys.clear()
    assert usage.values == 0


def test_the_memory_of_large_values_is_known_while_they_are_stored():
    large = LargeValues()
    keys = Keyspace(lambda: 0.0, SIZES, Usage(), large)
    received = np.zeros(200_000, np.uint8).data[:-2].toreadonly()
    array = np.ones((100, 1000), np.float32)
    keys.set(b"received", Tensor.from_blob(DType.UINT8, (len(received),), received))
    keys.set(b"made", Tensor.from_numpy(array[10:]))
    keys.replace(b"text", received[:100_000])
    made = keys.get(b"made").blob
    other = np.zeros(200_000, np.uint8).data
    assert large.holds(received[5:])
    assert large.holds(made)
    assert not large.holds(other)
    keys.delete(b"received")
    assert large.holds(received)  # it is the text's as well
    keys.set(b"text", b"")
    assert not large.holds(received)
    keys.rename(b"made", b"moved")
    assert large.holds(made)
    keys.release()
    assert not large.holds(made)


def test_a_key_alone_takes_what_is_counted_for_it(two, usage):
    before = two[0].structures
    for number in range(10_000):
        two[0].set(b"key%07d" % number, b"x" * 50)
    taken = usage.values + two[0].structures - before
    assert taken == pytest.approx(10_000 * memory_of(b"key%07d" % 0, b"x" * 50), rel=0.1)


def test_the_structures_grow_with_the_keys_and_with_times_of_expiry(two):
    keys = two[0]
    before = keys.structures
    for key in KEYS:
        keys.set(key, b"")
    without = keys.structures
    for key in KEYS:
        keys.expire(key, 5000.0)
    assert before < without < keys.structures - 20 * 100
