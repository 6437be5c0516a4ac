"""What memory is taken, what may be, and what goes for more."""

import sys
from types import SimpleNamespace

import pytest

from tensorkeep.eviction import POLICIES, Eviction, Usage
from tensorkeep.memory_limit import MemoryLimit, Outcome

MIB = 1024 * 1024


class Store:
    """A store whose values all have the same size."""

    def __init__(self, count, size):
        self.usage = Usage(count * size)
        self.size = size
        self.databases = [SimpleNamespace(structures=10)] * 16
        self.told = Eviction()

    def evict_by(self, eviction):
        self.told = eviction

    def evict(self):
        if self.told.policy.order is None or not self.usage.values:
            return False
        self.usage.values -= self.size
        return True


@pytest.fixture
def store():
    return Store(100, 1000)


@pytest.fixture
def clients():
    return SimpleNamespace(total=500)


@pytest.fixture
def memory(store, clients):
    return MemoryLimit(store, clients)


def test_what_is_taken_is_the_sum_of_all(memory, clients):
    memory.startup = 7000
    memory.look(models=3000)
    assert memory.used == 100_000 + 7000 + 160 + 3000 + 500
    assert memory.overhead == memory.used - 100_000
    clients.total += 50
    memory.shared = 20
    assert memory.used == 100_000 + 7000 + 160 + 3000 + 530


def test_the_peak_stays(memory, store):
    memory.look(0)
    peak = memory.peak
    store.usage.values = 0
    memory.look(0)
    assert memory.peak == peak == 100_660


def test_without_a_limit_there_is_always_room(memory):
    assert memory.has_room(10**15)
    assert memory.near == sys.maxsize


def test_room_is_what_the_limit_leaves(memory):
    memory.limit = 101_000
    assert memory.has_room(500)
    assert not memory.has_room(501)
    assert memory.make_room(501, lambda: True) is Outcome.FULL
    memory.limit = 0
    assert memory.has_room(501)


def test_keys_go_until_there_is_room(memory, store):
    memory.eviction = Eviction(POLICIES["allkeys-lru"])
    memory.limit = 101_000
    assert memory.make_room(20_000, lambda: True) is Outcome.ROOM
    assert store.usage.values == 80_000
    assert memory.evicted == 20


def test_nobody_waits_for_long(memory, store):
    memory.eviction = Eviction(POLICIES["allkeys-lru"])
    memory.limit = 1000
    looks = iter([True, True, False])
    assert memory.make_room(0, lambda: next(looks)) is Outcome.MORE
    assert 10 <= memory.evicted <= 40
    assert memory.make_room(0, lambda: True) is Outcome.ROOM
    assert memory.make_room(1000, lambda: True) is Outcome.FULL
    assert store.usage.values == 0


def test_requests_are_looked_at_long_before_the_limit_is_reached(memory, store, clients):
    memory.startup = 50 * MIB
    memory.limit = 150 * MIB
    most = memory.limit - memory.startup - 100 * MIB // 16
    assert memory.near == pytest.approx(most, abs=10)
    clients.total += 20 * MIB
    memory.look(0)
    assert memory.near == pytest.approx(most, abs=1000)  # what clients hold is added to it
    memory.limit = 51 * MIB
    assert memory.near < MIB
    memory.limit = 10**12
    assert memory.near > 10**12 - 200 * MIB


def test_without_values_of_our_own_nothing_goes(clients):
    memory = MemoryLimit(None, clients)
    memory.eviction = Eviction(POLICIES["allkeys-lru"])
    memory.limit = 100
    assert memory.make_room(0, lambda: True) is Outcome.FULL
    memory.look(0)
    assert memory.used == 500
