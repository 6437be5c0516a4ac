"""What happens when the memory that may be taken is full."""

import json
import socket
import time
from contextlib import ExitStack

import pytest

from tensorkeep.errors import CommandFailed
from tensorkeep_server.commands.ai.from_scripts import ClientAccess
from tensorkeep_server.testing import Wire, WireError, request

pytestmark = pytest.mark.memory_store("maxmemory is the engine's own there")

OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
ABORTED = (
    b"-EXECABORT Transaction discarded because of: OOM command not allowed when used memory >"
    b" 'maxmemory'.\r\n"
)
BLOB = json.dumps({"op": "identity"})


def fields(wire, *sections):
    text = wire.read("INFO", *sections).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def used(wire):
    return int(fields(wire, "memory")["used_memory"])


def eventually(condition):
    """Returns whether a condition holds within some seconds."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def limit(wire, more, policy="noeviction"):
    """Allows so many bytes more than are used."""
    wire.ask("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", used(wire) + more)


# --------------------------------------------------------------------------- refused
WRITES = [
    ("AI.TENSORSET", "t", "FLOAT", 2, "VALUES", 1, 2),
    ("AI.MODELSTORE", "m2", "ONNX", "CPU", "BLOB", BLOB),
    ("AI.MODELSET", "m2", "ONNX", "CPU", "BLOB", BLOB),
    ("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "f", "SOURCE", "def f(x): return x"),
    ("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def f(x): return x"),
    ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y"),
    ("AI.MODELRUN", "m", "INPUTS", "x", "OUTPUTS", "y"),
    ("AI.SCRIPTEXECUTE", "s", "f", "INPUTS", 1, "x", "OUTPUTS", 1, "y"),
    ("AI.SCRIPTRUN", "s", "f", "INPUTS", "x", "OUTPUTS", "y"),
    ("AI.DAGEXECUTE", "LOAD", 1, "x", "PERSIST", 1, "y", "|>", "AI.TENSORGET", "x"),
    ("AI.DAGRUN", "LOAD", 1, "x", "|>", "AI.TENSORGET", "x"),
    ("SET", "k", "v"),
    ("MSET", "k", "v"),
    ("APPEND", "k", "v"),
    ("HSET", "h", "f", "v"),
    ("RPUSH", "l", "v"),
    ("SADD", "s2", "v"),
    ("ZADD", "z", 1, "v"),
    ("INCR", "n"),
    ("COPY", "x", "y"),
]
ALLOWED = [
    ("AI.TENSORGET", "x", "VALUES"),
    ("AI.DAGEXECUTE_RO", "LOAD", 1, "x", "|>", "AI.TENSORGET", "x", "VALUES"),
    ("AI._MODELSCAN",),
    ("GET", "nothing"),
    ("DEL", "nothing"),
    ("EXPIRE", "x", 100),
    ("RENAME", "x", "x"),
    ("LPOP", "nothing"),
    ("CONFIG", "GET", "maxmemory"),
    ("PUBLISH", "c", "v"),
    ("MULTI",),
    ("EXEC",),
]


@pytest.fixture
def full(wire):
    """A connection to a server in which nothing more may be stored."""
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", BLOB)
    wire.ask("CONFIG", "SET", "maxmemory", 1)
    return wire


@pytest.mark.parametrize("request_", WRITES, ids=lambda words: words[0])
def test_what_may_take_memory_is_refused_before_anything_changes(full, request_):
    before = full.read("KEYS", "*")
    assert full.ask(*request_) == OOM
    assert sorted(full.read("KEYS", "*")) == sorted(before)


def test_exactly_what_command_shows_as_denyoom_is_refused(full):
    refused = {
        item[0]
        for item in full.read("COMMAND", "INFO", *(words[0] for words in [*WRITES, *ALLOWED]))
        if "denyoom" in item[2]
    }
    assert refused == {words[0].lower().encode() for words in WRITES}


def test_what_takes_none_is_done(full):
    for words in ALLOWED:
        reply = full.ask(*words)
        assert b"OOM" not in reply, words


def test_refusals_are_counted_by_their_word(full):
    full.ask("SET", "k", "v")
    full.ask("SET", "k", "v")
    assert fields(full, "errorstats")["errorstat_OOM"] == "count=2"


def test_a_request_that_would_not_fit_is_refused_although_there_is_room_for_others(wire):
    limit(wire, 1_000_000)
    assert wire.ask("SET", "large", "x" * 2_000_000) == OOM
    assert wire.ask("AI.TENSORSET", "t", "UINT8", 2_000_000, "BLOB", "x" * 2_000_000) == OOM
    assert wire.read("DBSIZE") == 0
    assert wire.ask("SET", "small", "x" * 1000) == b"+OK\r\n"
    assert wire.ask("AI.TENSORSET", "t", "UINT8", 500_000, "BLOB", "x" * 500_000) == b"+OK\r\n"


def test_a_tensor_that_is_larger_than_its_request_is_refused(wire):
    limit(wire, 1_000_000)
    assert wire.ask("AI.TENSORSET", "t", "DOUBLE", 1000, 1000) == OOM
    many = ["1"] * 100_000
    assert wire.ask("AI.TENSORSET", "t", "DOUBLE", 200_000, "VALUES", *many, *many) == OOM
    assert wire.read("DBSIZE") == 0
    assert wire.ask("AI.TENSORSET", "t", "DOUBLE", 100, 1000) == b"+OK\r\n"


def test_outputs_that_do_not_fit_are_not_stored(wire):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "identity"}')
    wire.ask("AI.TENSORSET", "x", "UINT8", 2_000_000)
    wire.ask("AI.TENSORSET", "old", "UINT8", 2_000_000)
    run = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1)
    limit(wire, 1_000_000)

    assert wire.ask(*run, "new") == OOM
    assert wire.ask(*run, "new", "EX", 10) == OOM
    assert wire.ask(*run, "old") == b"+OK\r\n"  # it replaces as much
    made = ("|>", "AI.TENSORSET", "new", "DOUBLE", 1000, 1000)
    assert wire.ask("AI.DAGEXECUTE", "PERSIST", 1, "new", *made) == b"*2\r\n+OK\r\n" + OOM
    two = ("|>", *run[:-1], 1, "a", "|>", *run[:-1], 1, "b")
    reply = wire.ask("AI.DAGEXECUTE", "LOAD", 1, "x", "PERSIST", 2, "a", "b", *two)
    assert reply == b"*3\r\n+OK\r\n+OK\r\n" + OOM
    assert wire.read("DBSIZE") == 3


def test_what_is_deleted_makes_room(wire):
    limit(wire, 1_000_000)
    assert wire.ask("SET", "a", "x" * 900_000) == b"+OK\r\n"
    assert wire.ask("SET", "b", "x" * 900_000) == OOM
    wire.ask("DEL", "a")
    assert wire.ask("SET", "b", "x" * 900_000) == b"+OK\r\n"


def test_a_value_that_is_replaced_counts_once(wire):
    limit(wire, 2_500_000)
    for _ in range(10):
        assert wire.ask("SET", "a", "x" * 1_000_000) == b"+OK\r\n"


def test_a_command_of_a_script_is_refused_as_clients_are(server, full):
    (client,) = server.clients.values()
    replies = []
    ClientAccess(client).execute([b"GET", b"k"], replies.append)
    ClientAccess(client).execute([b"SET", b"k", b"v"], replies.append)
    assert replies[0]() is None
    with pytest.raises(CommandFailed, match="OOM command not allowed"):
        replies[1]()
    assert full.read("EXISTS", "k") == 0


# --------------------------------------------------------------------------- transactions
def test_between_multi_and_exec_nothing_is_kept_and_exec_does_nothing(full):
    assert full.ask("MULTI") == b"+OK\r\n"
    assert full.ask("GET", "k") == OOM
    assert full.ask("SET", "k", "v") == OOM
    reply = full.ask("EXEC")
    assert reply.startswith(b"-EXECABORT Transaction discarded because of previous errors.")


def test_a_transaction_that_was_kept_before_is_refused_as_a_whole(wire, connect):
    other = connect()
    wire.ask("MULTI")
    assert wire.ask("SET", "k", "v") == b"+QUEUED\r\n"
    assert wire.ask("GET", "k") == b"+QUEUED\r\n"
    other.ask("CONFIG", "SET", "maxmemory", 1)
    assert wire.ask("EXEC") == ABORTED
    assert wire.ask("EXEC") == b"-ERR EXEC without MULTI\r\n"
    assert wire.read("EXISTS", "k") == 0


def test_a_transaction_that_takes_no_memory_is_done(wire, connect):
    other = connect()
    wire.ask("SET", "k", "v")
    wire.ask("MULTI")
    wire.ask("GET", "k")
    wire.ask("DEL", "k")
    other.ask("CONFIG", "SET", "maxmemory", 1)
    assert wire.read("EXEC") == [b"v", 1]


def test_a_transaction_can_be_given_up(full):
    full.ask("MULTI")
    full.ask("GET", "k")
    assert full.ask("DISCARD") == b"+OK\r\n"


# --------------------------------------------------------------------------- evicted
def test_the_keys_that_were_used_longest_ago_make_room(wire):
    limit(wire, 1_000_000, "allkeys-lru")
    for number in range(100):
        assert wire.ask("AI.TENSORSET", number, "UINT8", 50_000) == b"+OK\r\n"
        wire.ask("AI.TENSORGET", 0, "META")
    assert 10 < wire.read("DBSIZE") < 22
    assert wire.read("EXISTS", 0, 99) == 2
    told = fields(wire)
    assert int(told["evicted_keys"]) == 100 - wire.read("DBSIZE")
    assert int(told["used_memory"]) <= int(told["maxmemory"]) + 60_000


def test_where_nothing_may_go_writes_are_refused(wire):
    wire.ask("SET", "stays", "x" * 10_000)
    limit(wire, 1_000_000, "volatile-lru")
    for number in range(30):
        wire.ask("SET", f"goes {number}", "x" * 50_000, "EX", 100)
    assert wire.ask("SET", "large", "x" * 2_000_000) == OOM
    assert wire.read("KEYS", "*") == [b"stays"]


def test_models_and_scripts_go_only_where_that_is_asked(wire):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", BLOB)
    limit(wire, 100_000, "allkeys-random")
    wire.ask("SET", "k", "v")
    assert wire.ask("SET", "large", "x" * 200_000) == OOM
    assert wire.read("KEYS", "*") == [b"m"]
    assert wire.read("CONFIG", "GET", "evict-models") == [b"evict-models", b"no"]
    wire.ask("CONFIG", "SET", "evict-models", "yes")
    assert wire.ask("SET", "large", "x" * 200_000) == OOM
    assert wire.read("DBSIZE") == 0


def test_keys_go_although_nobody_asks_for_anything(wire, connect):
    for number in range(100):
        wire.ask("SET", number, "x" * 10_000)
    reader = connect()
    reader.ask("CONFIG", "SET", "notify-keyspace-events", "Ee")
    assert reader.read("SUBSCRIBE", "__keyevent@0__:evicted")
    limit(wire, -200_000, "allkeys-lru")
    assert {reader.reply().split(b"\r\n")[-2] for _ in range(15)} <= {
        b"%d" % number for number in range(100)
    }


def test_an_evicted_key_spoils_the_transaction_of_who_watches_it(wire, connect):
    other = connect()
    wire.ask("SET", "k", "x" * 10_000)
    wire.ask("WATCH", "k")
    wire.ask("MULTI")
    limit(other, -5_000, "allkeys-lru")
    other.ask("PING")
    other.ask("CONFIG", "SET", "maxmemory", 0)
    wire.ask("GET", "k")
    assert wire.read("EXEC") is None


def test_the_counters_begin_anew_with_resetstat(wire):
    wire.ask("SET", "k", "x" * 10_000)
    limit(wire, -5_000, "allkeys-lru")
    wire.ask("PING")
    assert fields(wire)["evicted_keys"] == "1"
    wire.ask("CONFIG", "RESETSTAT")
    assert fields(wire)["evicted_keys"] == "0"


# --------------------------------------------------------------------------- clients
@pytest.mark.parametrize("argument", ["x" * 5_000_000, "x" * 60_000])
def test_half_a_request_counts_and_is_given_back_with_its_client(wire, argument):
    before = used(wire)
    with Wire(wire.socket.getpeername()[1]) as other:
        whole = request("SET", "k", argument)
        other.socket.sendall(whole[:-1000])
        assert eventually(lambda: used(wire) > before + 0.9 * len(argument))
        assert used(wire) < before + 1.1 * len(argument) + 20_000
    assert eventually(lambda: used(wire) < before + 20_000)


LARGE = bytes(8_000_000)


@pytest.fixture
def readers(wire):
    """Lets clients ask for a tensor that they do not read, beyond what their sockets hold."""
    with ExitStack() as stack:

        def ask(key, count):
            for _ in range(count):
                other = stack.enter_context(Wire(wire.socket.getpeername()[1]))
                other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                other.send("AI.TENSORGET", key, "BLOB")
            time.sleep(0.3)

        yield ask


def test_a_value_that_clients_do_not_read_counts_once(wire, readers):
    wire.ask("AI.TENSORSET", "t", "UINT8", len(LARGE), "BLOB", LARGE)
    before = used(wire)
    readers("t", 5)
    assert used(wire) < before + 200_000
    limit(wire, 1_000_000)
    assert wire.ask("SET", "k", "v") == b"+OK\r\n"


def test_a_value_that_is_gone_counts_while_a_client_reads_it(wire, readers):
    before = used(wire)
    wire.ask("AI.TENSORSET", "t", "UINT8", len(LARGE), "BLOB", LARGE)
    readers("t", 3)
    wire.ask("DEL", "t")
    assert before + len(LARGE) < used(wire) < before + len(LARGE) + 200_000


def test_a_transaction_counts_while_it_waits(wire, connect):
    other = connect()
    before = used(wire)
    other.ask("MULTI")
    for number in range(10):
        other.ask("SET", number, "x" * 100_000)
    assert before + 1_000_000 < used(wire) < before + 1_200_000
    other.ask("EXEC")
    assert before + 1_000_000 < used(wire) < before + 1_200_000


# --------------------------------------------------------------------------- told
def test_a_policy_of_frequency_counts_uses_in_place_of_times(wire):
    wire.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    wire.ask("SET", "k", "v")
    assert wire.read("OBJECT", "FREQ", "k") == 5
    assert wire.ask("OBJECT", "IDLETIME", "k").startswith(b"-ERR An LFU maxmemory policy is sel")
    wire.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert wire.ask("OBJECT", "FREQ", "k").startswith(b"-ERR An LFU maxmemory policy is not sel")
    assert wire.read("OBJECT", "IDLETIME", "k") == 0


def test_info_and_memory_stats_tell_the_same(wire):
    for number in range(1000):
        wire.ask("SET", number, "x" * 1000)
    wire.ask("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "volatile-ttl")
    told = fields(wire, "memory")
    items = wire.read("MEMORY", "STATS")
    stats = dict(zip(items[::2], items[1::2], strict=True))
    assert told["maxmemory"] == str(2**30)
    assert told["maxmemory_human"] == "1.00G"
    assert told["maxmemory_policy"] == "volatile-ttl"
    assert stats[b"total.allocated"] == pytest.approx(int(told["used_memory"]), rel=0.01)
    assert stats[b"startup.allocated"] == int(told["used_memory_startup"])
    assert stats[b"keys.count"] == 1000
    assert 1_000_000 < stats[b"dataset.bytes"] < 1_300_000
    assert stats[b"dataset.bytes"] + stats[b"overhead.total"] == stats[b"total.allocated"]
    assert int(told["used_memory_dataset"]) == stats[b"dataset.bytes"]
    each = wire.read("MEMORY", "USAGE", "1")
    assert 1000 * each == pytest.approx(stats[b"dataset.bytes"], rel=0.1)


def test_what_is_no_setting_is_refused(wire):
    for words in (
        ("maxmemory", "lots"),
        ("maxmemory", "-1"),
        ("maxmemory-policy", "allkeys-best"),
        ("maxmemory-samples", "0"),
        ("evict-models", "maybe"),
    ):
        assert isinstance(wire.read("CONFIG", "SET", *words), WireError), words
    shown = {name: wire.read("CONFIG", "GET", name)[1] for name in ("maxmemory", "evict-models")}
    assert shown == {"maxmemory": b"0", "evict-models": b"no"}
