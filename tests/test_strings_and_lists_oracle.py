"""Strings and lists answer, byte for byte, what those of a real Redis answer.

Both servers get the same commands about the same few keys, so that strings meet commands on lists
and lists such on strings, in transactions and outside.
"""

from collections import Counter

import pytest

from tensorkeep_server.testing import read_value

FAR = 4102444800  # the year 2100
LONG = 10_000_000  # seconds that no test lasts, and that end before FAR
SLACK = 20  # seconds by which a command may reach one server later than the other
UNITS = {"EXPIRETIME": 1, "PEXPIRETIME": 1000}


# --------------------------------------------------------------------------- what is sent
INTEGERS = ("0", "1", "-1", "7", "12345678901", 2**63 - 1, -(2**63))
NO_INTEGERS = ("", "x", "1.5", "01", "+1", " 1", "-0", 2**63, -(2**63) - 1)
FLOATS = ("0.1", "-0.1", "3.0", "5e3", "1e-17", "0x1p3", "1e400", "1e4900", "1e17", "-7e-18", "1.")
NO_FLOATS = ("inf", "-Infinity", "nan", "1e5000", "1e-5000", "0x", "1 ", ".")
TIMES = ("EX relative", "PX relative_ms", "EXAT absolute", "PXAT absolute_ms", "EX", "PXAT")
SETTINGS = (*TIMES, "EXAT absolute", "NX", "XX", "GET", "KEEPTTL", "NX", "XX", "GET", "PERSIST")
FINDING = ("RANK rank", "RANK rank", "COUNT count", "COUNT count", "MAXLEN count", "RANK", "bogus")
WORDS = {
    "key": (b"a", b"b", b"c", b"\xff\r\n"),
    "value": (*INTEGERS, *NO_INTEGERS, *FLOATS, *NO_FLOATS, b"\0\xff\r\n", "v" * 44, "w" * 45),
    "long": (b"l" * 70_000, "m" * 20_000, "n" * 300),
    "by": (*INTEGERS * 2, *NO_INTEGERS),
    "float": (*INTEGERS, *FLOATS * 2, *NO_INTEGERS, *NO_FLOATS),
    "element": ("x", "x", "y", "z", "1", "", b"\0\r\n", "x" * 100),
    "index": (*range(-4, 5), -(2**63), 2**63 - 1, 100, "x", "1.0"),
    "count": (*range(-3, 4), 100, 2**63 - 1, "x", ""),
    "rank": (*range(-3, 4), 2**63 - 1, "x"),
    "offset": (*range(12), 40, 100, -1, 536870912, 2**63 - 1, 2**63, "x"),
    "side": ("LEFT", "RIGHT", "left", "Right", "LEFT", "RIGHT", "bogus"),
    "place": ("BEFORE", "AFTER", "before", "After", "bogus"),
    "setting": lambda author: author.expand(author.random.choice(SETTINGS)),
    "getting": lambda author: author.expand(author.random.choice((*TIMES, "PERSIST"))),
    "finding": lambda author: author.expand(author.random.choice(FINDING)),
    "relative": (LONG, 2 * LONG, LONG, 0, -1, 2**63 - 1, 2**63 // 1000, *NO_INTEGERS),
    "relative_ms": (LONG * 1000, LONG * 1000, 0, -1, 2**63 - 1, *NO_INTEGERS),
    "absolute": (FAR, FAR + 1, FAR, FAR, 1, 0, -1, 2**63 - 1, *NO_INTEGERS),
    "absolute_ms": (FAR * 1000, FAR * 1000 + 501, FAR * 1000, 1, 0, -1, *NO_INTEGERS),
    "every": ("*",),
    "type": ("string", "STRING", "list", "List", "hash", "AI_TENSOR"),
}
REQUESTS = """
    12 SET key value
    14 SET key value setting setting*
     2 SET key long
    10 GET key
     3 GETSET key value
     4 GETDEL key
     8 GETEX key getting*
     4 MGET key key*
     4 MSET key value
     2 MSET key value key value
     2 MSETNX key value
     1 MSETNX key value key value
     8 APPEND key value
     2 APPEND key long
     4 STRLEN key
     6 INCR key
     4 DECR key
     8 INCRBY key by
     4 DECRBY key by
    14 INCRBYFLOAT key float
     4 SETNX key value
     3 SETEX key relative value
     3 PSETEX key relative_ms value
     8 SETRANGE key offset value
     1 SETRANGE key offset long
     8 GETRANGE key index index
     1 SUBSTR key index index
     8 LPUSH key element element*
    12 RPUSH key element element* element*
     4 LPUSHX key element element*
     4 RPUSHX key element element*
     4 LPOP key
     3 LPOP key count
     4 RPOP key
     3 RPOP key count
     4 LLEN key
     8 LRANGE key index index
     5 LINDEX key index
     5 LSET key index element
     8 LINSERT key place element element
     7 LREM key count element
     4 LTRIM key index index
    12 LMOVE key key side side
     5 RPOPLPUSH key key
    14 LPOS key element finding* finding*
     4 DEL key
     2 EXPIREAT key absolute
     2 PERSIST key
     4 EXPIRETIME key
     4 PEXPIRETIME key
     4 RENAME key key
     2 RENAMENX key key
     4 COPY key key
     4 COPY key key REPLACE
     3 COPY key key DB 1
     2 MOVE key 1
     2 SWAPDB 0 1
     5 TYPE key
    12 OBJECT ENCODING key
     2 MEMORY USAGE key
     2 KEYS every
     4 SCAN 0 COUNT 1000 TYPE type
     2 EXISTS key key
     6 MULTI
     9 EXEC
     1 DISCARD
     4 WATCH key key*
"""


# --------------------------------------------------------------------------- comparing
def compare(ours, theirs, words, asked):
    """Sends one command to both and compares what they answer."""
    mine, other = ours.ask(words), theirs.ask(words)
    if mine == other:
        return mine
    assert settled(asked, read_value(mine), read_value(other))
    return mine


def settled(asked, mine, other):
    """Whether two replies that differ may do so, by the command that was asked for.

    Those of a transaction may where one of its commands' may.
    """
    if isinstance(asked, list):
        assert len(mine) == len(other) == len(asked)
        return all(m == o or settled(a, m, o) for a, m, o in zip(asked, mine, other, strict=True))
    if asked in UNITS:
        unit = UNITS[asked]
        return 0 < mine < FAR * unit and abs(mine - other) <= SLACK * unit
    if asked == "KEYS":
        return sorted(mine) == sorted(other)
    if asked == "SCAN":
        return mine[0] == other[0] and sorted(mine[1]) == sorted(other[1])
    if asked == "MEMORY":
        return type(mine) is type(other) is int
    return False


@pytest.mark.memory_store("some requests of it end Redis 6.2 itself", on=("redis-6.2",))
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_redis_answers_the_same(ours, theirs, author, version, seed):
    for side in (ours, theirs):
        side.begin(version)
    writes = author(seed, REQUESTS, WORDS)
    queue = None
    outcomes = Counter()
    for words in (writes.request() for _ in range(6000)):
        name = words[0].upper()
        print(*words)
        reply = compare(ours, theirs, words, queue if name == "EXEC" else name)
        if reply == b"+QUEUED\r\n":
            queue.append(name)
        elif name == "MULTI" and reply == b"+OK\r\n":
            queue = []
        elif name == "EXEC" or (name == "DISCARD" and reply == b"+OK\r\n"):
            queue = None
        outcomes[name, "fails" if reply.startswith(b"-") else "works"] += 1
        if queue is None and outcomes.total() % 100 == 0:
            assert contents(ours) == contents(theirs)
    commands = {line.split()[1] for line in REQUESTS.strip().splitlines()}
    assert commands == {name for name, outcome in outcomes if outcome == "works"} & commands
    assert len({name for name, outcome in outcomes if outcome == "fails"} & commands) > 40


def contents(side):
    """Returns all keys with their values, and with when they vanish where that is far."""
    found = []
    for key in sorted(side.wire.read("KEYS", "*")):
        kind = side.wire.read("TYPE", key)
        read = {"string": ("GET", key), "list": ("LRANGE", key, 0, -1)}[kind]
        found.append((key, kind, side.wire.read(*read), side.wire.read("EXPIRETIME", key) >= FAR))
    return found
