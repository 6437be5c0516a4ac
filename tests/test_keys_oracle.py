"""The commands on keys of any type answer, byte for byte, what a real Redis answers.

Both servers get the same commands about the same keys. There is no command yet that stores the same
value in both: here a key holds a tensor, there a string. What tells the two apart is left out.
"""

import shutil
import socket
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.backends import Backends
from tensorkeep_server.testing import Wire, WireError, port_of, read_value, running_server

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)

FAR = 4102444800  # the year 2100
LONG = 10_000_000  # seconds that no test lasts, and that end before FAR
SLACK_MS = 20_000  # a command may reach one server this much later than the other
VALUE = "x" * 100  # Redis keeps a string of this length as `raw` and shares it with nothing


# --------------------------------------------------------------------------- what is sent
def one(*words):
    return st.sampled_from(words)


def cased(word):
    return one(word, word.lower(), word.capitalize())


KEYS = one(b"a", b"b", b"ab", b"a:1", b"[x]", b"*", b"A", b"\xff\0", b"a\r\nb")
PATTERNS = st.lists(one(*"**?[]^-\\ab:1x\xff"), max_size=6).map(
    lambda marks: "".join(marks).encode("latin-1")
)
DATABASES = one("0", "1", "2", "15", "16", "-1", "x", "", "9999999999", "99999999999999999999")
NO_TIMES = ("x", "", "1.5", "01", "+1", " 1", "99999999999999999999")
RELATIVE = one(0, -1, LONG, 2 * LONG, -(2**63), 2**63 - 1, 2**63 // 1000, *NO_TIMES)
RELATIVE_MS = one(0, -1, LONG, 2 * LONG, -(2**63), 2**63 - 1, *NO_TIMES)
ABSOLUTE = one(0, -1, 1, FAR, FAR + 1, -(2**63), *NO_TIMES)
ABSOLUTE_MS = one(0, 1, *(FAR * 1000 + extra for extra in (0, 1, 499, 500, 999)), *NO_TIMES)
CONDITIONS = st.lists(
    st.one_of(cased("NX"), cased("XX"), cased("GT"), cased("LT"), one("bogus", "")), max_size=3
)
SCAN_OPTIONS = st.lists(
    st.one_of(
        st.tuples(cased("MATCH"), PATTERNS),
        st.tuples(cased("COUNT"), one("1", "2", "100", "0", "-1", "x", "")),
        st.tuples(cased("TYPE"), one("TENSOR", "tensor", "hash", "")),
        st.tuples(one("MATCH", "COUNT", "TYPE", "bogus")),
    ),
    max_size=3,
).map(lambda pairs: tuple(word for pair in pairs for word in pair))


def call(name, *parts):
    return st.tuples(cased(name), *parts)


def many(name, *parts, tail):
    """A command whose last part is a list."""
    return st.tuples(call(name, *parts), tail).map(lambda both: (*both[0], *both[1]))


COPY_OPTIONS = st.lists(
    st.one_of(st.tuples(cased("DB"), DATABASES), st.tuples(one("REPLACE", "replace", "DB", "x"))),
    max_size=2,
).map(lambda pairs: [word for pair in pairs for word in pair])

STORE = st.tuples(st.just("STORE"), KEYS)
COMMAND = st.one_of(
    many("DEL", tail=st.lists(KEYS, max_size=3)),
    many("UNLINK", tail=st.lists(KEYS, max_size=3)),
    many("EXISTS", tail=st.lists(KEYS, max_size=3)),
    many("TOUCH", tail=st.lists(KEYS, max_size=3)),
    call("RENAME", KEYS, KEYS),
    call("RENAMENX", KEYS, KEYS),
    many("COPY", KEYS, KEYS, tail=COPY_OPTIONS),
    call("MOVE", KEYS, DATABASES),
    call("SELECT", one("0", "0", "1", "2")),
    call("SWAPDB", DATABASES, DATABASES),
    call("SWAPDB", one("0", "1"), one("1", "2")),
    many("EXPIRE", KEYS, RELATIVE, tail=CONDITIONS),
    many("PEXPIRE", KEYS, RELATIVE_MS, tail=CONDITIONS),
    many("EXPIREAT", KEYS, ABSOLUTE, tail=CONDITIONS),
    many("PEXPIREAT", KEYS, ABSOLUTE_MS, tail=CONDITIONS),
    call("PERSIST", KEYS),
    call("TTL", KEYS),
    call("PTTL", KEYS),
    call("EXPIRETIME", KEYS),
    call("PEXPIRETIME", KEYS),
    call("KEYS", PATTERNS),
    many("SCAN", one("0", "0", "0", "x", "", "+0", "-", "18446744073709551616"), tail=SCAN_OPTIONS),
    call("RANDOMKEY"),
    call("DBSIZE"),
    many("FLUSHDB", tail=st.lists(one("ASYNC", "sync", "x"), max_size=2)),
    many("FLUSHALL", tail=st.lists(one("ASYNC", "sync", "x"), max_size=2)),
    many("OBJECT", one("ENCODING", "refcount", "FREQ", "bogus"), tail=st.lists(KEYS, max_size=2)),
    call("OBJECT", cased("IDLETIME"), KEYS),
    many("TYPE", tail=st.just([b"none"])),
    many("MEMORY", one("USAGE"), KEYS, tail=st.lists(one("SAMPLES", "5", "-1", "x"), max_size=3)),
)
# A word too few must be refused alike, or mean the same.
CUT = COMMAND.map(lambda words: words[:-1] or words)


def steadied(words):
    """Returns a command whose reply does not hang on the clock.

    Of two equal times from now on, the second ends later if the clock has moved between them.
    """
    if words[0].upper() not in {"EXPIRE", "PEXPIRE"}:
        return words
    return (*words[:3], *("XX" if word.upper() in {"GT", "LT"} else word for word in words[3:]))


COMMANDS = st.lists(
    st.one_of(STORE, COMMAND, COMMAND, COMMAND, CUT).map(steadied), min_size=40, max_size=80
)


# --------------------------------------------------------------------------- the two servers
class Side:
    """One of the two servers.

    Args:
        port: Where it listens.
        type_name: The type of the values that `store` stores.
        store: Words before and after the key of the command that stores one.
    """

    def __init__(self, port, type_name, store):
        self.wire = Wire(port)
        self.type_name = type_name
        self.before, self.after = store

    def store(self, key):
        return self.wire.ask(*self.before, key, *self.after)

    def begin(self, version):
        self.wire.ask("HELLO", version)
        self.wire.ask("FLUSHALL")
        self.wire.ask("SELECT", "0")

    def ask(self, words):
        if words[0] == "STORE":
            return self.store(*words[1:])
        if words[0].upper() == "SCAN":
            kinds = {"TENSOR": self.type_name.upper(), "tensor": self.type_name.lower()}
            words = [kinds.get(word, word) for word in words]
        return self.wire.ask(*words)

    def scan(self, words):
        """Goes on with a scan to its end; returns the first reply, and the keys of all."""
        reply = first = self.ask(words)
        found = []
        while True:
            value = read_value(reply)
            if isinstance(value, WireError):
                return first, found
            cursor, some = value
            found += some
            if cursor == b"0":
                return first, found
            reply = self.ask([words[0], cursor, *words[2:]])


@pytest.fixture(scope="module")
def ours():
    with running_server(backends=Backends(installed=lambda: ())) as server:
        side = Side(port_of(server), "AI_TENSOR", (["AI.TENSORSET"], ["INT8", "1"]))
        yield side
        side.wire.close()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        side = Side(connectable(port), "string", (["SET"], [VALUE]))
        about = side.wire.read("INFO", "server")
        if b"redis_version:7.0." not in about:
            pytest.skip("redis-server is not 7.0, whose replies are the pattern")
        yield side
        side.wire.close()
    finally:
        process.terminate()
        process.wait(10)


def connectable(port):
    """Returns the port once somebody listens there."""
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, "redis-server does not start"
            time.sleep(0.01)
        else:
            return port


# --------------------------------------------------------------------------- comparing
def close(mine, other, unit_ms):
    """Whether two times may be the same: those of the far future must be."""
    if min(mine, other) < 0 or max(mine, other) * unit_ms >= FAR * 1000:
        return mine == other
    return abs(mine - other) * unit_ms <= SLACK_MS


UNITS = {"TTL": 1000, "PTTL": 1, "EXPIRETIME": 1000, "PEXPIRETIME": 1}


def compare(ours, theirs, words):
    """Sends one command to both and compares what they answer."""
    name = words[0].upper()
    if name == "SCAN":
        (mine, my_keys), (other, other_keys) = ours.scan(words), theirs.scan(words)
        assert sorted(my_keys) == sorted(set(other_keys))
        if isinstance(read_value(other), WireError):
            assert mine == other
        return
    mine, other = ours.ask(words), theirs.ask(words)
    mine_value, other_value = read_value(mine), read_value(other)
    if isinstance(other_value, WireError):
        assert mine == other
    elif name == "COPY" and other == b":1\r\n":
        assert mine == b"-ERR not supported for this module key\r\n"
        settle_copy(ours, theirs, words)
    elif name == "KEYS":
        assert sorted(mine_value) == sorted(other_value)
    elif name == "RANDOMKEY":
        assert (mine_value is None) == (other_value is None)
        assert mine_value is None or mine_value in theirs.wire.read("KEYS", "*")
        assert mine_value is not None or mine == other
    elif name in UNITS:
        assert close(mine_value, other_value, UNITS[name])
    elif (name == "MEMORY" and other_value is not None) or words[1:2] == ("IDLETIME",):
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
        side.store(words[2])
        side.wire.ask("SELECT", here)


@pytest.mark.parametrize("version", [2, 3])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(commands=COMMANDS)
def test_redis_answers_the_same(ours, theirs, version, commands):
    for side in (ours, theirs):
        side.begin(version)
    for words in commands:
        compare(ours, theirs, words)
    for words in (("KEYS", "*"), ("DBSIZE",)):
        compare(ours, theirs, words)
