"""Commands on keys of any type, over a socket."""

import json
import time
from dataclasses import replace

import pytest

from tensorkeep import leftovers
from tensorkeep.tensor import DType, Tensor
from tensorkeep_memory.commands import databases
from tensorkeep_memory.values import kinds
from tensorkeep_server import app

ARITY = "-ERR wrong number of arguments for '%s' command\r\n"
NULL = b"$-1\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NO_SUCH_KEY = b"-ERR no such key\r\n"
NO_SUCH_DATABASE = b"-ERR DB index is out of range\r\n"
NOT_AN_INT32 = b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"
SAME = b"-ERR source and destination objects are the same\r\n"
NOT_COPIED = b"-ERR not supported for this module key\r\n"

MODEL = json.dumps({"op": "identity"})


def seed(wire, *keys):
    for key in keys:
        assert wire.ask("AI.TENSORSET", key, "INT8", "1", "VALUES", "1") == b"+OK\r\n"


def seed_model(wire, key):
    assert wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", MODEL) == b"+OK\r\n"


def keys_of(wire):
    return sorted(wire.read("KEYS", "*"))


def scan_all(wire, *options):
    found, cursor = [], b"0"
    while True:
        cursor, some = wire.read("SCAN", cursor, *options)
        found += some
        if cursor == b"0":
            return found


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        ("DEL", "del"),
        ("UNLINK", "unlink"),
        ("EXISTS", "exists"),
        ("TOUCH", "touch"),
        ("TYPE", "type"),
        ("TYPE a b", "type"),
        ("RENAME a", "rename"),
        ("RENAME a b c", "rename"),
        ("RENAMENX a", "renamenx"),
        ("COPY a", "copy"),
        ("MOVE a", "move"),
        ("MOVE a 1 2", "move"),
        ("KEYS", "keys"),
        ("KEYS a b", "keys"),
        ("SCAN", "scan"),
        ("RANDOMKEY a", "randomkey"),
        ("DBSIZE a", "dbsize"),
        ("SWAPDB 0", "swapdb"),
        ("OBJECT", "object"),
        ("OBJECT ENCODING", "object|encoding"),
        ("OBJECT FREQ a b", "object|freq"),
        ("object idletime", "object|idletime"),
        ("OBJECT REFCOUNT", "object|refcount"),
        ("OBJECT HELP a", "object|help"),
        ("MEMORY", "memory"),
        ("MEMORY USAGE", "memory|usage"),
        ("MEMORY HELP a", "memory|help"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(wire, request_line, name):
    assert wire.ask(*request_line.split()) == (ARITY % name).encode()


# --------------------------------------------------------------------------- DEL, EXISTS, TOUCH
@pytest.mark.parametrize("delete", ["DEL", "UNLINK"])
def test_deleting_answers_how_many_keys_there_were(wire, delete):
    seed(wire, "a", "b", "c")
    assert wire.ask(delete, "a", "a", "none", "b") == b":2\r\n"
    assert wire.ask(delete, "a") == b":0\r\n"
    assert keys_of(wire) == [b"c"]


def test_keys_are_bytes_of_any_kind(wire):
    for key in (b"", b"\0", b"\xff\r\n", b"a" * 100_000):
        seed(wire, key)
        assert wire.ask("EXISTS", key) == b":1\r\n"
        assert wire.read("KEYS", "*") == [key]
        assert wire.ask("DEL", key) == b":1\r\n"


def test_a_key_exists_as_often_as_it_is_named(wire):
    seed(wire, "a", "b")
    assert wire.ask("EXISTS", "a", "b", "a", "none") == b":3\r\n"
    assert wire.ask("TOUCH", "a", "b", "a", "none") == b":3\r\n"
    assert wire.ask("EXISTS", "none") == b":0\r\n"
    assert wire.ask("TOUCH", "none") == b":0\r\n"


def test_a_deleted_model_is_freed(wire, fake):
    seed_model(wire, "m")
    assert wire.ask("DEL", "m") == b":1\r\n"
    until(lambda: any(call.hook == "model_free" for call in fake.calls))


def until(condition):
    """Looks again and again; what does not come in ten seconds will not come."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


# --------------------------------------------------------------------------- TYPE
def test_the_type_is_that_of_the_value(wire, type_line):
    seed(wire, "t")
    seed_model(wire, "m")
    assert wire.ask("TYPE", "t") == type_line("AI_TENSOR")
    assert wire.ask("TYPE", "m") == type_line("AI__MODEL")
    assert wire.ask("TYPE", "none") == b"+none\r\n"


# --------------------------------------------------------------------------- RENAME
def test_renaming_replaces_what_is_under_the_new_name(wire, type_line):
    seed(wire, "a")
    seed_model(wire, "m")
    assert wire.ask("RENAME", "a", "m") == b"+OK\r\n"
    assert keys_of(wire) == [b"m"]
    assert wire.ask("TYPE", "m") == type_line("AI_TENSOR")
    assert wire.ask("RENAME", "m", "m") == b"+OK\r\n"


@pytest.mark.parametrize("rename", ["RENAME", "RENAMENX"])
def test_a_missing_key_cannot_be_renamed(wire, rename):
    seed(wire, "b")
    assert wire.ask(rename, "none", "b") == NO_SUCH_KEY
    assert wire.ask(rename, "none", "new") == NO_SUCH_KEY
    assert wire.ask(rename, "none", "none") == NO_SUCH_KEY


def test_renaming_to_a_taken_name_can_be_refused(wire):
    seed(wire, "a", "b")
    assert wire.ask("RENAMENX", "a", "b") == b":0\r\n"
    assert wire.ask("RENAMENX", "a", "a") == b":0\r\n"
    assert wire.ask("RENAMENX", "a", "new") == b":1\r\n"
    assert keys_of(wire) == [b"b", b"new"]


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_renaming_takes_the_expiry_along(wire):
    seed(wire, "a", "b")
    wire.ask("EXPIREAT", "a", "4102444800")
    wire.ask("EXPIREAT", "b", "4102444801")
    assert wire.ask("RENAME", "a", "b") == b"+OK\r\n"
    assert wire.ask("EXPIRETIME", "b") == b":4102444800\r\n"
    seed(wire, "c")
    assert wire.ask("RENAME", "c", "b") == b"+OK\r\n"
    assert wire.ask("EXPIRETIME", "b") == b":-1\r\n"


@pytest.mark.memory_store("AI.INFO knows a model by its key")
def test_statistics_of_a_renamed_model_stay_under_its_old_name(wire):
    seed_model(wire, "m")
    seed(wire, "t")
    assert wire.ask("RENAME", "m", "n") == b"+OK\r\n"
    run = wire.ask("AI.MODELEXECUTE", "n", "INPUTS", "1", "t", "OUTPUTS", "1", "o")
    assert run == b"+OK\r\n"
    info = wire.read("AI.INFO", "m")
    assert dict(zip(info[::2], info[1::2], strict=True))[b"calls"] == 1
    assert wire.ask("AI.INFO", "n").startswith(b"-")


# --------------------------------------------------------------------------- COPY, MOVE, SWAPDB
@pytest.mark.memory_store("they are values of the engine, which copies them")
def test_ai_values_are_not_copied(wire):
    seed(wire, "t")
    seed_model(wire, "m")
    for key in ("t", "m"):
        assert wire.ask("COPY", key, "new") == NOT_COPIED
        assert wire.ask("COPY", key, key, "DB", "1") == NOT_COPIED
    assert wire.ask("COPY", "t", "m", "REPLACE") == NOT_COPIED
    assert keys_of(wire) == [b"m", b"t"]


@pytest.fixture
def copyable(monkeypatch):
    """Tensors can be copied, as values of a type to come."""
    known = kinds.type_of(Tensor.zeros(DType.INT8, (1,)))
    monkeypatch.setitem(kinds._TYPES, Tensor, replace(known, copy=lambda tensor: tensor))


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_copy_has_the_value_and_the_expiry(wire, copyable):
    seed(wire, "a", "b")
    wire.ask("EXPIREAT", "a", "4102444800")
    assert wire.ask("COPY", "a", "new") == b":1\r\n"
    assert wire.ask("COPY", "a", "new") == b":0\r\n"
    assert wire.ask("COPY", "b", "new", "REPLACE") == b":1\r\n"
    assert wire.ask("EXPIRETIME", "new") == b":-1\r\n"
    assert wire.ask("COPY", "a", "a", "DB", "3", "DB", "1") == b":1\r\n"
    assert keys_of(wire) == [b"a", b"b", b"new"]
    wire.ask("SELECT", "1")
    assert wire.ask("EXPIRETIME", "a") == b":4102444800\r\n"


def test_copying_answers_zero_when_source_or_target_forbid_it(wire):
    seed(wire, "a", "b")
    assert wire.ask("COPY", "none", "new") == b":0\r\n"
    assert wire.ask("COPY", "a", "b") == b":0\r\n"
    assert wire.ask("COPY", "none", "b", "replace", "db", "0") == b":0\r\n"


def test_the_options_of_copy_are_checked_from_left_to_right(wire):
    seed(wire, "a")
    assert wire.ask("COPY", "a", "a") == SAME
    assert wire.ask("COPY", "none", "none", "DB", "0") == SAME
    assert wire.ask("COPY", "a", "b", "bogus") == SYNTAX
    assert wire.ask("COPY", "a", "b", "DB") == SYNTAX
    assert wire.ask("COPY", "a", "b", "DB", "x") == NOT_AN_INTEGER
    assert wire.ask("COPY", "a", "b", "DB", "9999999999") == NOT_AN_INT32
    assert wire.ask("COPY", "a", "b", "DB", "16", "bogus") == NO_SUCH_DATABASE
    assert wire.ask("COPY", "a", "b", "DB", "-1") == NO_SUCH_DATABASE


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_moved_key_is_in_the_other_database_with_its_expiry(wire):
    seed(wire, "a")
    wire.ask("EXPIREAT", "a", "4102444800")
    assert wire.ask("MOVE", "a", "1") == b":1\r\n"
    assert keys_of(wire) == []
    assert wire.ask("MOVE", "a", "1") == b":0\r\n"
    seed(wire, "a")
    assert wire.ask("MOVE", "a", "1") == b":0\r\n"
    wire.ask("SELECT", "1")
    assert wire.ask("EXPIRETIME", "a") == b":4102444800\r\n"


def test_a_key_is_not_moved_to_where_it_is_or_to_nowhere(wire):
    seed(wire, "a")
    assert wire.ask("MOVE", "a", "0") == SAME
    assert wire.ask("MOVE", "none", "0") == SAME
    assert wire.ask("MOVE", "a", "16") == NO_SUCH_DATABASE
    assert wire.ask("MOVE", "a", "x") == NOT_AN_INTEGER
    assert wire.ask("MOVE", "a", "9999999999") == NOT_AN_INT32


def test_all_clients_see_swapped_databases(wire, connect):
    other = connect()
    other.ask("SELECT", "1")
    seed(wire, "zero")
    seed(other, "one")
    assert wire.ask("SWAPDB", "0", "1") == b"+OK\r\n"
    assert keys_of(wire) == [b"one"]
    assert keys_of(other) == [b"zero"]
    assert keys_of(connect()) == [b"one"]
    assert wire.ask("SWAPDB", "1", "1") == b"+OK\r\n"
    assert keys_of(other) == [b"zero"]


def test_there_must_be_both_databases_to_swap(wire):
    assert wire.ask("SWAPDB", "x", "y") == b"-ERR invalid first DB index\r\n"
    assert wire.ask("SWAPDB", "9999999999", "y") == b"-ERR invalid first DB index\r\n"
    assert wire.ask("SWAPDB", "16", "y") == b"-ERR invalid second DB index\r\n"
    assert wire.ask("SWAPDB", "16", "0") == NO_SUCH_DATABASE
    assert wire.ask("SWAPDB", "0", "-1") == NO_SUCH_DATABASE


# --------------------------------------------------------------------------- KEYS, SCAN
def test_keys_answers_what_a_pattern_matches(wire):
    seed(wire, "user:1", "user:22", "model")
    assert sorted(wire.read("KEYS", "user:*")) == [b"user:1", b"user:22"]
    assert wire.read("KEYS", "user:[0-9]") == [b"user:1"]
    assert wire.ask("KEYS", "none*") == b"*0\r\n"


def test_a_scan_finds_every_key_once(wire):
    names = [f"k{number}" for number in range(105)]
    seed(wire, *names)
    for options in ((), ("COUNT", "1"), ("COUNT", "1000"), ("MATCH", "*", "COUNT", "7")):
        assert sorted(scan_all(wire, *options)) == sorted(name.encode() for name in names)


@pytest.mark.memory_store("the size of a page is the engine's")
def test_a_scan_looks_at_ten_keys_at_a_time(wire):
    seed(wire, *(f"k{number}" for number in range(25)))
    cursor, some = wire.read("SCAN", "0")
    assert len(some) == 10
    assert int(cursor) > 0
    assert wire.ask("SCAN", "0", "MATCH", "none")[:4] == b"*2\r\n"


@pytest.mark.memory_store("the engine's scan does not promise it")
def test_a_scan_ends_although_its_keys_are_renamed(wire):
    seed(wire, *(f"k{number}" for number in range(30)))
    cursor = b"0"
    for _ in range(30):
        cursor, some = wire.read("SCAN", cursor, "COUNT", "3")
        for key in some:
            wire.ask("RENAME", key, b"new:" + key)
        if cursor == b"0":
            break
    assert cursor == b"0"
    assert all(key.startswith(b"new:k") for key in keys_of(wire))


@pytest.mark.memory_store("the engine does not know our types")
def test_a_scan_can_be_filtered_by_pattern_and_type(wire):
    seed(wire, "t1", "t2")
    seed_model(wire, "m1")
    assert scan_all(wire, "MATCH", "*1", "TYPE", "ai_tensor") == [b"t1"]
    assert scan_all(wire, "type", "AI__Model") == [b"m1"]
    assert scan_all(wire, "TYPE", "string") == []
    assert scan_all(wire, "TYPE", "AI__MODEL", "TYPE", "AI_TENSOR", "MATCH", "t2") == [b"t2"]


def test_an_answer_of_a_scan_is_a_cursor_and_keys(wire):
    seed(wire, "a")
    assert wire.ask("SCAN", "0") == b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"
    assert wire.ask("SCAN", "0", "MATCH", "b") == b"*2\r\n$1\r\n0\r\n*0\r\n"


@pytest.mark.memory_store("the engine's order of errors")
@pytest.mark.parametrize(
    "cursor",
    ["x", "1x", " 1", "1 ", "-", "18446744073709551616", "-18446744073709551616", "9" * 5000],
)
def test_a_cursor_that_is_no_number_is_refused(wire, cursor):
    assert wire.ask("SCAN", cursor, "bogus") == b"-ERR invalid cursor\r\n"


@pytest.mark.memory_store("what a cursor means is the engine's")
@pytest.mark.parametrize("cursor", ["", "0", "00", "+0", "-0", "0\0x", "0" * 30])
def test_a_cursor_is_read_as_c_reads_numbers(wire, cursor):
    seed(wire, "a")
    assert wire.ask("SCAN", cursor) == b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"


@pytest.mark.memory_store("what a cursor means is the engine's")
@pytest.mark.parametrize("cursor", ["18446744073709551615", "-1", "-2", "0" * 30 + "9"])
def test_a_scan_from_beyond_its_end_is_over(wire, cursor):
    seed(wire, "a")
    wire.ask("SADD", "b", "x", "y")
    assert wire.read("SCAN", cursor) == [b"0", []]
    assert wire.read("SSCAN", "b", cursor) == [b"0", []]


@pytest.mark.memory_store("the order of keys is the engine's")
def test_a_scan_removes_what_it_finds_to_have_expired(wire):
    seed(wire, "a", "b")
    wire.ask("MULTI")  # so that nothing else removes it in between
    wire.ask("SET", "c", "v", "EXAT", 1)
    for words in (("DBSIZE",), ("SCAN", 0, "MATCH", "b"), ("DBSIZE",), ("SCAN", 0), ("DBSIZE",)):
        wire.ask(*words)
    assert wire.read("EXEC") == ["OK", 3, [b"0", [b"b"]], 3, [b"0", [b"b", b"a"]], 2]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("x", SYNTAX),
        ("MATCH", SYNTAX),
        ("COUNT", SYNTAX),
        ("TYPE", SYNTAX),
        ("COUNT 0", SYNTAX),
        ("COUNT -1", SYNTAX),
        ("COUNT x", NOT_AN_INTEGER),
        ("COUNT 9223372036854775808", NOT_AN_INTEGER),
        ("MATCH a COUNT x bogus", NOT_AN_INTEGER),
        ("bogus x COUNT x", SYNTAX),
    ],
)
def test_the_options_of_a_scan_are_checked_from_left_to_right(wire, options, error):
    assert wire.ask("SCAN", "0", *options.split()) == error


# --------------------------------------------------------------------------- the whole database
def test_a_random_key_is_one_of_those_that_are_there(wire):
    assert wire.ask("RANDOMKEY") == NULL
    seed(wire, "a", "b")
    assert {wire.read("RANDOMKEY") for _ in range(100)} == {b"a", b"b"}
    wire.ask("HELLO", "3")
    wire.ask("FLUSHALL")
    assert wire.ask("RANDOMKEY") == b"_\r\n"


def test_the_size_of_a_database_is_its_number_of_keys(wire):
    assert wire.ask("DBSIZE") == b":0\r\n"
    seed(wire, "a", "b")
    assert wire.ask("DBSIZE") == b":2\r\n"


@pytest.mark.parametrize("how", [(), ("ASYNC",), ("sync",)])
def test_flushing_empties_one_database_or_all(wire, how):
    seed(wire, "a")
    wire.ask("SELECT", "1")
    seed(wire, "b")
    assert wire.ask("FLUSHDB", *how) == b"+OK\r\n"
    assert wire.ask("DBSIZE") == b":0\r\n"
    wire.ask("SELECT", "0")
    assert wire.ask("DBSIZE") == b":1\r\n"
    wire.ask("SELECT", "1")
    assert wire.ask("FLUSHALL", *how) == b"+OK\r\n"
    wire.ask("SELECT", "0")
    assert wire.ask("DBSIZE") == b":0\r\n"


@pytest.mark.memory_store("the memory is the engine's")
def test_what_many_keys_took_is_left_to_be_freed_bit_by_bit(wire, monkeypatch):
    left = []
    monkeypatch.setattr(databases, "leave", lambda *contents: left.extend(contents))
    seed(wire, *"abc")
    wire.ask("EXPIRE", "a", 100)

    assert wire.ask("FLUSHDB") == b"+OK\r\n"

    assert [len(content) for content in left] == [3, 3, 1]


@pytest.mark.parametrize("flush", ["FLUSHDB", "FLUSHALL"])
def test_flushing_knows_no_other_words(wire, flush):
    seed(wire, "a")
    assert wire.ask(flush, "bogus") == SYNTAX
    assert wire.ask(flush, "ASYNC", "SYNC") == SYNTAX
    assert wire.ask("DBSIZE") == b":1\r\n"


# --------------------------------------------------------------------------- OBJECT
@pytest.mark.memory_store("the encoding is the engine's")
def test_object_tells_about_a_key(wire):
    seed(wire, "a")
    assert wire.ask("OBJECT", "ENCODING", "a") == b"$3\r\nraw\r\n"
    assert wire.ask("object", "refcount", "a") == b":1\r\n"
    assert wire.ask("OBJECT", "FREQ", "a") == (
        b"-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note"
        b" that when switching between policies at runtime LRU and LFU data will take some time"
        b" to adjust.\r\n"
    )


@pytest.mark.parametrize("word", ["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"])
def test_object_knows_nothing_of_a_missing_key(wire, word):
    assert wire.ask("OBJECT", word, "none") == NULL
    wire.ask("HELLO", "3")
    assert wire.ask("OBJECT", word, "none") == b"_\r\n"


@pytest.mark.memory_store("the clock of keys is the engine's")
def test_the_idle_time_counts_from_the_last_use(wire, server):
    """The test turns the time back at which the key was used, instead of waiting."""
    seed(wire, "a")
    assert wire.read("OBJECT", "IDLETIME", "a") in {0, 1}
    looks = (("EXISTS", "a"), ("TYPE", "a"), ("TTL", "a"), ("OBJECT", "IDLETIME", "a"))
    uses = (("TOUCH", "a"), ("AI.TENSORGET", "a"), ("EXPIRE", "a", "100"), ("PERSIST", "a"))
    for request, used in (*((look, False) for look in looks), *((use, True) for use in uses)):
        server.databases[0].entry(b"a").touched -= 1000
        wire.ask(*request)
        assert (wire.read("OBJECT", "IDLETIME", "a") < 500) is used
        seed(wire, "a")


@pytest.mark.memory_store("the engine's words")
def test_object_has_help_and_no_other_subcommands(wire):
    lines = wire.read("OBJECT", "HELP")
    assert lines[0] == "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert "ENCODING key" in lines
    assert wire.ask("OBJECT", "bogus", "a") == (
        b"-ERR unknown subcommand 'bogus'. Try OBJECT HELP.\r\n"
    )


@pytest.mark.memory_store("the memory is the engine's")
@pytest.mark.parametrize(
    "removing", [("DEL", "a", "b", "m", "none"), ("FLUSHDB",), ("FLUSHALL",)], ids=" ".join
)
def test_memory_of_large_values_is_given_back_between_other_work(wire, removing, monkeypatch):
    for key in ("a", "b"):
        wire.ask("SET", key, bytes(9 * 2**20))
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "identity"}')
    while leftovers.sweep(100_000):
        pass

    with monkeypatch.context() as patch:
        patch.setattr(app, "sweep", lambda *_: 0)
        assert wire.ask(*removing) in {b":3\r\n", b"+OK\r\n"}
        assert wire.ask("DBSIZE") == b":0\r\n"
        assert wire.ask("AI._MODELSCAN") == b"*0\r\n"
        assert [len(value) for [*values] in leftovers._left for value in values] == [9 * 2**20] * 2

    deadline = time.monotonic() + 10
    while leftovers._left:
        assert time.monotonic() < deadline, "it is never swept"
        time.sleep(0.01)
