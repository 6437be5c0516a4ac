"""The commands on keys of any type answer, byte for byte, what a real Redis answers.

Both servers get the same commands about the same keys. What tells a tensor here from a string there
is left out.
"""

import pytest

from tensorkeep_server.testing import WireError, read_value

FAR = 4102444800  # the year 2100
LONG = 10_000_000  # seconds that no test lasts, and that end before FAR
SLACK_MS = 20_000  # a command may reach one server this much later than the other


MARKS = "***?[]^-\\aabbx\xff"
COPYING = ("DB 1", "db 2", "DB database", "REPLACE", "replace", "DB", "bogus")
# --------------------------------------------------------------------------- what is sent
NO_INTEGERS = ("x", "", "1.5", "01", "+1", " 1", "99999999999999999999")
WORDS = {
    "key": (b"a", b"b", b"ab", b"[x]", b"\xff\0", b"a\r\nb"),
    "database": ("0", "1", "2", "2", "15", "16", "-1", "x", "9999999999", "99999999999999999999"),
    "relative": (0, -1, *[LONG, 2 * LONG] * 5, -(2**63), 2**63 - 1, 2**63 // 1000, *NO_INTEGERS),
    "relative_ms": (0, -1, *[LONG, 2 * LONG] * 5, -(2**63), 2**63 - 1, *NO_INTEGERS),
    "absolute": (0, -1, 1, *[FAR, FAR + 1] * 6, -(2**63), *NO_INTEGERS),
    "absolute_ms": (0, 1, *(FAR * 1000 + extra for extra in (0, 1, 499, 500, 999)), *NO_INTEGERS),
    # Of two equal times from now on, the second ends later if the clock has moved between them:
    # what GT and LT make of it is a matter of luck.
    "steady": ("NX", "XX", "xx", "bogus"),
    "condition": ("NX", "XX", "GT", "gt", "LT", "Lt", "bogus", ""),
    "cursor": ("0", "0", "0", "0", "x", "", "+0", "-", "18446744073709551616"),
    "scanning": ("MATCH", "match", "COUNT", "TYPE", "bogus"),
    "pattern": lambda author: [
        "".join(author.random.choices(MARKS, k=author.random.randrange(5))).encode("latin-1")
    ],
    "number": ("1", "2", "100", "0", "-1", "x", ""),
    "type": ("TENSOR", "tensor", "hash"),
    "flushing": ("ASYNC", "sync", "bogus"),
    "about": ("ENCODING", "refcount", "FREQ", "IDLETIME", "bogus"),
    "copying": lambda author: author.expand(author.random.choice(COPYING)),
    "sampling": ("SAMPLES", "samples", "5", "-1", "x"),
}

REQUESTS = """
    20 STORE key
     2 DEL key key*
     1 UNLINK key key*
     1 EXISTS key key*
     1 TOUCH key key*
     4 RENAME key key
     4 RENAMENX key key
     6 COPY key key copying*
     4 MOVE key database
     2 SELECT 0
     1 SELECT 1
     2 SWAPDB 0 1
     2 SWAPDB database database
     6 EXPIRE key relative steady*
     6 PEXPIRE key relative_ms steady*
     1 EXPIRE key relative GT LT condition*
     9 EXPIREAT key absolute condition*
     9 PEXPIREAT key absolute_ms condition*
     4 PERSIST key
     2 TTL key
     2 PTTL key
     4 EXPIRETIME key
     4 PEXPIRETIME key
     9 KEYS pattern
     4 SCAN cursor
     4 SCAN cursor MATCH pattern
     4 SCAN cursor TYPE type COUNT number
     4 SCAN cursor scanning pattern scanning number
     1 SCAN cursor scanning*
     2 RANDOMKEY
     2 DBSIZE
     1 FLUSHDB flushing*
     1 FLUSHALL flushing*
     4 OBJECT about key
     1 OBJECT about*
     1 TYPE none
     4 MEMORY USAGE key sampling*
"""


# --------------------------------------------------------------------------- comparing
def scan(side, words):
    """Goes on with a scan to its end; returns the first reply, and the keys of all."""
    kinds = {"TENSOR": side.type_name.upper(), "tensor": side.type_name.lower()}
    words = [kinds.get(word, word) for word in words]
    reply = first = side.ask(words)
    found = []
    while True:
        value = read_value(reply)
        if isinstance(value, WireError):
            return first, found
        cursor, some = value
        found += some
        if cursor == b"0":
            return first, found
        reply = side.ask([words[0], cursor, *words[2:]])


def close(mine, other, unit_ms):
    """Whether two times may be the same: those of the far future must be."""
    if min(mine, other) < 0 or max(mine, other) * unit_ms >= FAR * 1000:
        return mine == other
    return abs(mine - other) * unit_ms <= SLACK_MS


NOT_COPIED = b"-ERR not supported for this module key\r\n"
UNITS = {"TTL": 1000, "PTTL": 1, "EXPIRETIME": 1000, "PEXPIRETIME": 1}


def compare(ours, theirs, words):
    """Sends one command to both and compares what they answer."""
    name = words[0].upper()
    if name == "SCAN":
        (mine, my_keys), (other, other_keys) = scan(ours, words), scan(theirs, words)
        assert sorted(my_keys) == sorted(set(other_keys))
        if isinstance(read_value(other), WireError):
            assert mine == other
        return
    mine, other = ours.ask(words), theirs.ask(words)
    mine_value, other_value = read_value(mine), read_value(other)
    if isinstance(other_value, WireError):
        assert mine == other
    elif name == "COPY" and other == b":1\r\n":
        if ours.type_name == theirs.type_name:  # over an engine
            assert mine == other
        else:
            assert mine == NOT_COPIED
            settle_copy(ours, theirs, words)
    elif name == "KEYS":
        assert sorted(mine_value) == sorted(other_value)
    elif name == "RANDOMKEY":
        assert (mine_value is None) == (other_value is None)
        assert mine_value is None or mine_value in theirs.wire.read("KEYS", "*")
        assert mine_value is not None or mine == other
    elif name in UNITS:
        assert close(mine_value, other_value, UNITS[name])
    elif (name == "MEMORY" and other_value is not None) or words[1:2] == ["IDLETIME"]:
        assert type(mine_value) is type(other_value)
    else:
        assert mine == other


def settle_copy(ours, theirs, words):
    """Stores the target of a copy anew on both sides, as only one of them made it."""
    options = [word.upper() for word in words[3:]]
    databases = [options[n + 1] for n, word in enumerate(options) if word == "DB"]
    here = theirs.wire.read("CLIENT", "INFO").partition(b" db=")[2].partition(b" ")[0]
    for side in (ours, theirs):
        side.wire.ask("SELECT", databases[-1] if databases else here)
        side.ask(["STORE", words[2]])
        side.wire.ask("SELECT", here)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_redis_answers_the_same(ours, theirs, author, version, seed):
    for side in (ours, theirs):
        side.begin(version)
    writes = author(seed, REQUESTS, WORDS)
    for words in (writes.request() for _ in range(4000)):
        print(*words)
        compare(ours, theirs, words)
