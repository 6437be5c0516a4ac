"""Which key goes when memory is full."""

import pytest

from tensorkeep.eviction import POLICIES, Eviction
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep_memory.store import MemoryStore

MODEL = Model(ModelSpec("ONNX"), b"x" * 1000, LoadedModel(None, (), ()), None)  # type: ignore[arg-type] # not run
SCRIPT = Script(ScriptSpec(), b"def f(): pass", None, None)  # type: ignore[arg-type] # not run
VOLATILE = [name for name, policy in POLICIES.items() if policy.volatile]
ALL_KEYS = [name for name, policy in POLICIES.items() if policy.order and not policy.volatile]


@pytest.fixture
def now():
    return [1_700_000_000.0]


@pytest.fixture
def store(now):
    made = MemoryStore()
    for keys in made.databases:
        keys.clock = lambda: now[0]
    return made


def evict_by(store, name, **options):
    store.evict_by(Eviction(POLICIES[name], **options))


def left(store, database=0):
    return sorted(store.databases[database])


def test_nothing_goes_where_nothing_may(store):
    store.databases[0].set(b"a", b"1")
    assert not store.evict()
    evict_by(store, "noeviction")
    assert not store.evict()
    assert left(store) == [b"a"]


@pytest.mark.parametrize("name", ALL_KEYS)
def test_all_keys_go_one_by_one_from_all_databases(store, name):
    evict_by(store, name)
    for number in range(100):
        store.databases[number % 3].set(b"%d" % number, b"x")
    for gone in range(1, 101):
        assert store.evict()
        assert sum(map(len, store.databases)) == 100 - gone
    assert not store.evict()
    assert store.usage.values == 0


@pytest.mark.parametrize("name", VOLATILE)
def test_of_volatile_keys_only_those_go_that_would_expire(store, now, name):
    evict_by(store, name)
    keys = store.databases[2]
    for number in range(200):
        keys.set(b"stays %d" % number, b"x")
    for number in range(50):
        keys.set(b"goes %d" % number, b"x", now[0] + 100)
        keys.set(b"stays now %d" % number, b"x", now[0] + 100)
        keys.expire(b"stays now %d" % number, None)
    for _ in range(50):
        assert store.evict()
    assert not store.evict()
    assert not [key for key in left(store, 2) if key.startswith(b"goes")]
    assert len(left(store, 2)) == 250


def test_what_was_used_last_goes_last(store, now):
    evict_by(store, "allkeys-lru", samples=3)
    keys = store.databases[0]
    for name in (b"a", b"b", b"c"):
        keys.set(name, b"x")
        now[0] += 1
    keys.get(b"a")
    store.evict()
    assert left(store) == [b"a", b"c"]
    keys.get(b"c", touch=False)
    store.evict()
    assert left(store) == [b"a"]


def test_a_key_that_is_used_all_the_time_survives_a_thousand_others(store, now):
    evict_by(store, "allkeys-lru")
    keys = store.databases[0]
    keys.set(b"hot", b"x")
    for number in range(2000):
        now[0] += 0.01
        keys.set(b"%d" % number, b"x")
        keys.get(b"hot")
        if len(keys) > 100:
            assert store.evict()
    assert b"hot" in keys


def test_what_is_used_often_survives_what_was_used_just_now(store, now):
    evict_by(store, "allkeys-lfu")
    keys = store.databases[0]
    keys.set(b"often", b"x")
    for _ in range(1000):
        keys.get(b"often")
    for number in range(8):
        now[0] += 1
        keys.set(b"%d" % number, b"x")
    for _ in range(8):
        store.evict()
    assert left(store) == [b"often"]


def test_what_would_expire_soonest_goes_first(store, now):
    evict_by(store, "volatile-ttl")
    keys = store.databases[0]
    for name, after in ((b"late", 300), (b"soon", 100), (b"later", 900), (b"never", None)):
        keys.set(name, b"x", after and now[0] + after)
    store.evict()
    assert left(store) == [b"late", b"later", b"never"]
    store.evict()
    assert left(store) == [b"later", b"never"]


@pytest.mark.parametrize("name", [*ALL_KEYS, *VOLATILE])
def test_models_and_scripts_stay_unless_they_may_go(store, now, name):
    evict_by(store, name)
    keys = store.databases[0]
    for number in range(40):
        keys.set(b"model %d" % number, MODEL, now[0] + 10)
        keys.set(b"script %d" % number, SCRIPT, now[0] + 10)
    keys.set(b"tensor", b"x", now[0] + 20)
    assert store.evict()
    assert b"tensor" not in keys
    assert not store.evict()
    assert len(keys) == 80
    evict_by(store, name, models=True)
    assert store.evict()
    assert len(keys) == 79


def test_an_evicted_key_is_told_of_and_spoils_what_watches_it(store):
    keys = store.databases[0]
    told = []
    keys.set(b"a", b"x")
    keys.listener = lambda event, key: told.append((event, key))
    evict_by(store, "allkeys-random")
    store.evict()
    assert told == [("evicted", b"a")]


def test_uses_are_counted_only_where_they_decide(store, now):
    keys = store.databases[0]
    evict_by(store, "volatile-lfu")
    keys.set(b"a", b"x")
    assert keys.counts_uses
    evict_by(store, "allkeys-lru")
    assert not keys.counts_uses
    keys.get(b"a")
    assert keys.entry(b"a").touched == now[0]
