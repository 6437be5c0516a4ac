"""A server whose memory is full answers, byte for byte, what a real Redis answers then."""

import pytest

pytestmark = pytest.mark.memory_store("maxmemory is the engine's own there")

ROOM = 300_000  # bytes that may be taken besides what is
POLICIES = [
    f"{which}-{order}" for which in ("allkeys", "volatile") for order in ("lru", "lfu", "random")
]


@pytest.fixture
def both(ours, redis_7):
    """Sends a request to both, whose replies must be the same."""
    sides = (ours, redis_7)

    def ask(*words):
        replies = [side.wire.ask(*words) for side in sides]
        assert replies[0] == replies[1], words
        return replies[0]

    for side in sides:
        side.wire.ask("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")
        side.wire.ask("DISCARD")
        side.wire.ask("FLUSHALL")
    ask.sides = sides
    yield ask
    for side in sides:
        side.wire.ask("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")


def fill(both, policy, room=ROOM):
    """Allows both as many bytes more than each of them uses."""
    for side in both.sides:
        text = side.wire.read("INFO", "memory").decode()
        used = int(text.partition("used_memory:")[2].partition("\r")[0])
        side.wire.ask("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", used + room)


@pytest.mark.parametrize(
    "words",
    [
        ("maxmemory", "100mb"),
        ("maxmemory", "1GB"),
        ("maxmemory", "1k"),
        ("maxmemory", "12b"),
        ("maxmemory", "0"),
        ("maxmemory", "1.5gb"),
        ("maxmemory", "-1"),
        ("maxmemory", "x"),
        ("maxmemory", "1tb"),
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory-policy", "VOLATILE-TTL"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory-policy", "allkeys-ttl"),
        ("maxmemory-policy", ""),
        ("maxmemory-samples", "10"),
        ("maxmemory-samples", "5"),
        ("maxmemory-samples", "0"),
        ("maxmemory-samples", "-1"),
        ("maxmemory-samples", "x"),
        ("maxmemory", "100mb", "maxmemory-policy", "bad"),
    ],
)
def test_settings_are_read_and_shown_alike(both, words):
    both("CONFIG", "SET", *words)
    for name in words[::2]:
        both("CONFIG", "GET", name)
    both("CONFIG", "SET", "maxmemory", "0")


def test_what_is_refused_when_nothing_may_go(both):
    both("SET", "k", "1")
    both("RPUSH", "l", "a", "b")
    both("CONFIG", "SET", "maxmemory", "1")
    for words in (
        *(("SET", "a", "b"), ("GET", "k"), ("INCR", "k"), ("APPEND", "k", "x")),
        *(("LPUSH", "l", "x"), ("LPOP", "l"), ("LINSERT", "l", "BEFORE", "b", "x")),
        *(("LSET", "l", 0, "x"), ("LREM", "l", 1, "x"), ("LTRIM", "l", 0, 5)),
        *(("RPOPLPUSH", "l", "l2"), ("LMOVE", "l", "l2", "LEFT", "LEFT")),
        *(("HSET", "h", "f", "v"), ("HDEL", "h", "f"), ("HINCRBY", "h", "f", 1)),
        *(("SADD", "s", "m"), ("SREM", "s", "m"), ("SPOP", "s"), ("SMOVE", "s", "t", "m")),
        *(("ZADD", "z", 1, "m"), ("ZREM", "z", "m"), ("ZPOPMIN", "z"), ("ZINCRBY", "z", 1, "m")),
        *(("SUNIONSTORE", "d", "s"), ("ZUNIONSTORE", "d", 1, "z"), ("COPY", "k", "c")),
        *(("EXPIRE", "k", 100), ("PERSIST", "k"), ("RENAME", "k", "k2"), ("DEL", "k2")),
        *(("GETSET", "k", "v"), ("GETDEL", "k"), ("GETEX", "k"), ("SETRANGE", "k", 5, "x")),
        *(("MSET", "a", "b"), ("MSETNX", "a", "b"), ("SETNX", "a", "b"), ("SETEX", "a", 1, "b")),
        *(("PUBLISH", "c", "m"), ("PING",), ("ECHO", "x"), ("FLUSHDB",), ("DBSIZE",)),
        *(("SET", "a"), ("NOSUCH", "a"), ("SELECT", 0), ("SWAPDB", 0, 1), ("MOVE", "a", 1)),
    ):
        both(*words)


def test_a_transaction_when_nothing_may_go(both):
    both("MULTI")
    both("SET", "k", "v")
    both("CONFIG", "SET", "maxmemory", "0")  # it is only kept
    both("EXEC")
    both("CONFIG", "SET", "maxmemory", "1")
    both("MULTI")
    both("GET", "k")
    both("SET", "k", "w")
    both("DISCARD")
    both("MULTI")
    both("PING")
    both("EXEC")
    both("MULTI")
    both("EXEC")
    both("WATCH", "k")
    both("UNWATCH")
    both("MULTI")
    both("RESET")
    both("GET", "k")


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_evicted_leaves_room_for_all_that_comes(both, policy):
    fill(both, policy)
    for number in range(300):
        both("SET", f"key {number}", "x" * 5000, "EX", 1000)
    for side in both.sides:
        assert 15 < side.wire.read("DBSIZE") < 100
        told = side.wire.read("INFO", "stats").decode()
        evicted = int(told.partition("evicted_keys:")[2].partition("\r")[0])
        assert evicted >= 200


def test_the_soonest_to_expire_go_first(both):
    fill(both, "volatile-ttl", 80_000)
    for number in range(100):
        both("SET", f"key {number}", "x" * 1000, "EX", 1000 + 1000 * number)
    for side in both.sides:
        left = {int(key.split()[1]) for key in side.wire.read("KEYS", "*")}
        assert 2 < len(left) < 80
        assert sum(left) / len(left) > 60  # of two, the other lives longer


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl", "volatile-random"])
def test_without_keys_that_expire_volatile_policies_refuse(both, policy):
    both("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", "1")
    both("SET", "k", "v")
    both("GET", "k")


def test_frequency_and_idle_time_are_told_as_the_policy_says(both):
    for policy in ("allkeys-lfu", "volatile-lfu", "allkeys-lru", "noeviction"):
        both("CONFIG", "SET", "maxmemory-policy", policy)
        both("SET", "k", "v")
        both("OBJECT", "FREQ", "k")
        both("OBJECT", "IDLETIME", "k")
        both("OBJECT", "FREQ", "missing")
        both("OBJECT", "IDLETIME", "missing")


def test_an_evicted_key_is_announced_alike(both):
    both("CONFIG", "SET", "notify-keyspace-events", "KEe")
    both("SET", "k", "x" * 100)
    listening = [side.another() for side in both.sides]
    for other in listening:
        other.wire.ask("SUBSCRIBE", "__keyevent@0__:evicted")
        other.wire.ask("SUBSCRIBE", "__keyspace@0__:k")
    both("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1")
    both("PING")
    told = [[other.wire.reply() for _ in range(2)] for other in listening]
    assert told[0] == told[1]
    both("CONFIG", "SET", "notify-keyspace-events", "", "maxmemory", "0")
    for other in listening:
        other.wire.close()
