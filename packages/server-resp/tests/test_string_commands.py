"""Commands on strings, over a socket. What a real Redis answers is asked in the oracle's tests."""

import json
import time
from dataclasses import replace

import pytest

from tensorkeep_server.codec import LARGE
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, WireError, port_of

NULL = b"$-1\r\n"
OK = b"+OK\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NOT_A_FLOAT = b"-ERR value is not a valid float\r\n"
OVERFLOW = b"-ERR increment or decrement would overflow\r\n"
TOO_LONG = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

FAR = 4102444800  # the year 2100
MODEL = json.dumps({"op": "identity"})
LARGE_TEXT = b"0123456789" * (LARGE // 5)


def seed_tensor(wire, key):
    assert wire.ask("AI.TENSORSET", key, "INT8", "1", "VALUES", "1") == OK


# --------------------------------------------------------------------------- SET, GET
@pytest.mark.parametrize("value", [b"", b"a\0\r\nb", b"x" * 20_000, LARGE_TEXT])
def test_a_string_is_given_back_as_it_was(wire, value):
    assert wire.ask("SET", "k", value) == OK
    assert wire.ask("GET", "k") == b"$%d\r\n%b\r\n" % (len(value), value)
    assert wire.read("STRLEN", "k") == len(value)
    assert wire.read("MGET", "k", "none") == [value, None]


def test_a_missing_string_is_nothing(wire):
    assert wire.ask("GET", "none") == NULL
    assert wire.ask("STRLEN", "none") == b":0\r\n"
    assert wire.ask("GETRANGE", "none", "0", "-1") == b"$0\r\n\r\n"
    wire.ask("HELLO", "3")
    assert wire.ask("GET", "none") == b"_\r\n"


def test_a_string_is_set_only_if_its_key_is_there_or_not(wire):
    assert wire.ask("SET", "k", "1", "XX") == NULL
    assert wire.ask("SET", "k", "1", "nx") == OK
    assert wire.ask("SET", "k", "2", "NX") == NULL
    assert wire.ask("SET", "k", "3", "XX") == OK
    assert wire.ask("SETNX", "k", "4") == b":0\r\n"
    assert wire.ask("SETNX", "l", "5") == b":1\r\n"
    assert wire.read("MGET", "k", "l") == [b"3", b"5"]


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_setting_answers_the_old_string_if_told_to(wire):
    assert wire.ask("SET", "k", "1", "GET") == NULL
    assert wire.read("SET", "k", "2", "NX", "GET") == b"1"
    assert wire.read("SET", "k", "3", "GET", "XX") == b"1"
    assert wire.read("GETSET", "k", "4") == b"3"
    assert wire.read("GETDEL", "k") == b"4"
    assert wire.ask("GETDEL", "k") == NULL


@pytest.mark.parametrize(
    "options",
    [
        ("NX", "XX"),
        ("EX",),
        ("EX", "10", "PX", "10"),
        ("EX", "10", "KEEPTTL"),
        ("KEEPTTL", "EXAT", "10"),
        ("PERSIST",),
        ("",),
        ("bogus",),
    ],
)
def test_options_of_set_that_make_no_sense_are_refused(wire, options):
    assert wire.ask("SET", "k", "1", *options) == SYNTAX
    assert wire.ask("EXISTS", "k") == b":0\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        ("SET k 1 EX 0", "set"),
        ("SET k 1 PX -1", "set"),
        ("SET k 1 EX 9223372036854775807", "set"),
        ("SET k 1 PX 9223372036854775807", "set"),
        ("SET k 1 EXAT 0", "set"),
        ("SETEX k 0 1", "setex"),
        ("PSETEX k -5 1", "psetex"),
    ],
)
def test_a_time_that_cannot_be_kept_is_refused(wire, request_line, name):
    error = f"-ERR invalid expire time in '{name}' command\r\n".encode()
    assert wire.ask(*request_line.split()) == error
    assert wire.ask("EXISTS", "k") == b":0\r\n"


@pytest.mark.parametrize(
    ("request_line", "least", "most"),
    [
        ("SET k 1 EX 100", 99, 100),
        ("SET k 1 PX 100000", 99, 100),
        ("SETEX k 100 1", 99, 100),
        ("PSETEX k 100000 1", 99, 100),
        (f"SET k 1 EXAT {FAR}", 10**9, FAR),
        (f"SET k 1 PXAT {FAR}000", 10**9, FAR),
    ],
)
def test_a_string_vanishes_when_told_to(wire, request_line, least, most):
    assert wire.ask(*request_line.split()) == OK
    assert least <= wire.read("TTL", "k") <= most
    assert wire.ask("SET", "k", "2", "KEEPTTL") == OK
    assert wire.read("TTL", "k") >= least
    assert wire.ask("SET", "k", "3") == OK
    assert wire.read("TTL", "k") == -1


def test_a_string_of_the_past_is_gone_at_once(wire):
    wire.ask("SET", "k", "1")
    assert wire.ask("SET", "k", "2", "EXAT", "1") == OK
    assert wire.ask("SET", "k", "3", "XX", "KEEPTTL") == NULL
    assert wire.ask("SET", "k", "4", "KEEPTTL") == OK
    assert wire.read("TTL", "k") == -1


@pytest.mark.memory_store("Valkey 9.1 looks at the time first", on=("valkey-9.1",))
@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
def test_reading_can_set_and_take_away_when_a_string_vanishes(wire):
    wire.ask("SET", "k", "1")
    assert wire.read("GETEX", "k", "EXAT", FAR) == b"1"
    assert wire.read("EXPIRETIME", "k") == FAR
    assert wire.read("GETEX", "k") == b"1"
    assert wire.read("EXPIRETIME", "k") == FAR
    assert wire.read("GETEX", "k", "PERSIST") == b"1"
    assert wire.read("EXPIRETIME", "k") == -1
    assert wire.read("GETEX", "k", "PX", "20") == b"1"
    time.sleep(0.03)
    assert wire.ask("GETEX", "k") == NULL
    wire.ask("SET", "k", "1")
    assert wire.read("GETEX", "k", "PXAT", "1") == b"1"
    assert wire.ask("EXISTS", "k") == b":0\r\n"
    assert wire.ask("GETEX", "k", "EX", "x") == NULL  # a missing key wins
    assert wire.ask("GETEX", "k", "NX") == SYNTAX


@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
def test_changes_leave_when_a_string_vanishes(wire):
    for change in (["APPEND", "1"], ["SETRANGE", "0", "1"], ["INCR"], ["INCRBYFLOAT", "1.5"]):
        wire.ask("SET", "k", "1", "EXAT", FAR)
        wire.ask(change[0], "k", *change[1:])
        assert wire.read("EXPIRETIME", "k") == FAR


# --------------------------------------------------------------------------- several
def test_several_strings_are_set_in_one_go(wire):
    assert wire.ask("MSET", "a", "1", "b", "2", "a", "3") == OK
    assert wire.ask("MSETNX", "c", "4", "b", "5") == b":0\r\n"
    assert wire.ask("MSETNX", "c", "4", "d", "5") == b":1\r\n"
    assert wire.read("MGET", "a", "b", "c", "d") == [b"3", b"2", b"4", b"5"]


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize("name", ["mset", "MSETNX"])
def test_a_key_without_its_value_is_refused(wire, name):
    error = f"-ERR wrong number of arguments for '{name.lower()}' command\r\n".encode()
    assert wire.ask(name, "a", "1", "b") == error
    assert wire.ask("EXISTS", "a") == b":0\r\n"


# --------------------------------------------------------------------------- parts
def test_a_string_grows_at_its_end(wire):
    assert wire.ask("APPEND", "k", "ab") == b":2\r\n"
    assert wire.ask("APPEND", "k", "c") == b":3\r\n"
    assert wire.ask("COPY", "k", "l") == b":1\r\n"
    assert wire.ask("APPEND", "k", "d") == b":4\r\n"
    assert wire.ask("APPEND", "l", LARGE_TEXT) == b":%d\r\n" % (3 + len(LARGE_TEXT))
    assert wire.read("MGET", "k", "l") == [b"abcd", b"abc" + LARGE_TEXT]


def test_a_reply_that_waits_to_be_sent_does_not_change_with_its_key(connect):
    reader, writer = connect(), connect()
    text = LARGE_TEXT * 160  # more than the sockets take
    writer.ask("APPEND", "k", text)
    writer.ask("APPEND", "k", "!")
    reader.send("GET", "k")
    time.sleep(0.05)
    for change in (["APPEND", "more"], ["SETRANGE", "0", "other"], ["SET", "new"]):
        writer.ask(change[0], "k", *change[1:])
    assert reader.reply() == b"$%d\r\n%b!\r\n" % (len(text) + 1, text)


def test_a_part_of_a_string_is_overwritten(wire):
    assert wire.ask("SETRANGE", "k", "3", "ab") == b":5\r\n"
    assert wire.read("GET", "k") == b"\0\0\0ab"
    assert wire.ask("SETRANGE", "k", "1", "c") == b":5\r\n"
    assert wire.ask("SETRANGE", "k", "100", "") == b":5\r\n"
    assert wire.read("GET", "k") == b"\0c\0ab"
    assert wire.ask("SETRANGE", "none", "1", "") == b":0\r\n"
    assert wire.ask("EXISTS", "none") == b":0\r\n"
    assert wire.ask("SETRANGE", "k", "-1", "x") == b"-ERR offset is out of range\r\n"


@pytest.mark.parametrize(
    ("first", "last", "part"),
    [
        (0, -1, b"hello"),
        (1, 2, b"el"),
        (-3, -2, b"ll"),
        (3, 1, b""),
        (-1, -3, b""),
        (9, 12, b""),
        (-99, -50, b"h"),  # sic
        (-(2**63), 2**63 - 1, b"hello"),
    ],
)
def test_a_part_of_a_string_is_read(wire, first, last, part):
    wire.ask("SET", "k", "hello")
    assert wire.read("GETRANGE", "k", first, last) == part
    assert wire.read("SUBSTR", "k", first, last) == part


def test_a_part_of_a_large_string_is_read(wire):
    wire.ask("SET", "k", LARGE_TEXT)
    assert wire.read("GETRANGE", "k", "15", "17") == b"567"
    assert wire.read("GETRANGE", "k", "1", "-1") == LARGE_TEXT[1:]


@pytest.mark.memory_store("the limit is the engine's own")
def test_a_string_is_no_longer_than_an_argument_may_be(run_server):
    limits = replace(Settings().limits, max_bulk=100)
    with run_server(Settings(limits=limits)) as server, Wire(port_of(server)) as wire:
        assert wire.ask("SETRANGE", "k", "99", "x") == b":100\r\n"
        assert wire.ask("SETRANGE", "k", "100", "x") == TOO_LONG
        assert wire.ask("SETRANGE", "none", 2**63 - 1, "x") == TOO_LONG
        assert wire.ask("SETRANGE", "none", 2**63 - 1, "") == b":0\r\n"
        assert wire.ask("APPEND", "k", "x") == TOO_LONG
        assert wire.ask("APPEND", "k", "") == b":100\r\n"


# --------------------------------------------------------------------------- counting
def test_integers_are_counted(wire):
    assert wire.ask("INCR", "n") == b":1\r\n"
    assert wire.ask("INCRBY", "n", "41") == b":42\r\n"
    assert wire.ask("DECR", "n") == b":41\r\n"
    assert wire.ask("DECRBY", "n", "-9") == b":50\r\n"
    assert wire.read("GET", "n") == b"50"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_integers_do_not_overflow(wire):
    wire.ask("SET", "n", 2**63 - 1)
    assert wire.ask("INCR", "n") == OVERFLOW
    assert wire.ask("DECRBY", "n", -1) == OVERFLOW
    assert wire.ask("DECRBY", "n", -(2**63)) == b"-ERR decrement would overflow\r\n"
    assert wire.read("GET", "n") == b"9223372036854775807"
    assert wire.read("INCRBY", "n", -(2**63)) == -1


@pytest.mark.parametrize("word", ["", "x", "1.0", "01", " 1", 2**63])
def test_what_is_no_integer_is_not_counted(wire, word):
    wire.ask("SET", "k", word)
    for name in ("INCR", "DECR"):
        assert wire.ask(name, "k") == NOT_AN_INTEGER
    for name in ("INCRBY", "DECRBY"):
        assert wire.ask(name, "none", word) == NOT_AN_INTEGER
    assert wire.read("MGET", "k", "none") == [str(word).encode(), None]


def test_numbers_are_counted_with_17_places(wire):
    assert wire.read("INCRBYFLOAT", "f", "10.5") == b"10.5"
    assert wire.read("INCRBYFLOAT", "f", "0.1") == b"10.6"
    assert wire.read("INCRBYFLOAT", "f", "-10.6") == b"0"
    assert wire.read("INCRBYFLOAT", "f", "5e3") == b"5000"
    assert wire.read("GET", "f") == b"5000"
    assert wire.read("INCR", "f") == 5001


def test_what_is_no_number_is_not_counted(wire):
    wire.ask("SET", "k", "x")
    assert wire.ask("INCRBYFLOAT", "k", "1") == NOT_A_FLOAT
    assert wire.ask("INCRBYFLOAT", "none", "1 ") == NOT_A_FLOAT
    assert wire.ask("INCRBYFLOAT", "none", "inf") == (
        b"-ERR increment would produce NaN or Infinity\r\n"
    )
    assert wire.ask("EXISTS", "none") == b":0\r\n"


# --------------------------------------------------------------------------- among other types
READING = (
    "GET k",
    "GETSET k v",
    "GETDEL k",
    pytest.param(  # the type wins over the time
        "GETEX k EX 0",
        marks=pytest.mark.memory_store("Valkey 9.1 looks at the time first", on=("valkey-9.1",)),
    ),
    "SET k v GET",
    "APPEND k v",
    "STRLEN k",
    "SETRANGE k 1 v",
    "SETRANGE k 1 ",
    "GETRANGE k 0 1",
    "SUBSTR k 0 1",
    "INCR k",
    "INCRBY k 1",
    "INCRBYFLOAT k x",  # and over the number
    "DECR k",
    "DECRBY k 1",
)


@pytest.mark.parametrize("request_line", READING)
@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(
            "tensor", marks=pytest.mark.memory_store("a tensor is a string of the engine")
        ),
        "list",
    ],
)
def test_another_type_is_refused_and_stays(wire, request_line, stored):
    if stored == "tensor":
        seed_tensor(wire, "k")
    else:
        wire.ask("RPUSH", "k", "a")
    before = wire.ask("TYPE", "k")
    assert wire.ask(*request_line.split(" ")) == WRONG_TYPE
    assert wire.ask("TYPE", "k") == before


@pytest.mark.memory_store("a tensor is a string of the engine")
def test_another_type_is_passed_over_where_several_are_asked_for(wire):
    seed_tensor(wire, "t")
    wire.ask("RPUSH", "l", "a")
    wire.ask("SET", "s", "v")
    assert wire.read("MGET", "t", "s", "l") == [None, b"v", None]
    assert wire.ask("SETNX", "t", "v") == b":0\r\n"
    assert wire.ask("MSETNX", "new", "v", "l", "v") == b":0\r\n"


def test_setting_replaces_any_type(wire, fake):
    seed_tensor(wire, "t")
    wire.ask("RPUSH", "l", "a")
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL)
    for key in ("t", "l"):
        assert wire.ask("SET", key, "v") == OK
    assert wire.ask("MSET", "m", "v") == OK
    assert wire.read("MGET", "t", "l", "m") == [b"v"] * 3
    assert wire.read("AI._MODELSCAN") == []
    assert wire.ask("AI.TENSORGET", "t") == WRONG_TYPE
    assert wire.ask("AI.TENSORSET", "t", "INT8", "1") == WRONG_TYPE
    assert wire.ask("AI.MODELGET", "m") == WRONG_TYPE
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL) == WRONG_TYPE


def test_a_string_can_be_looked_at_renamed_and_copied(wire):
    wire.ask("SET", "s", "12")
    assert wire.ask("TYPE", "s") == b"+string\r\n"
    assert wire.read("OBJECT", "ENCODING", "s") == b"int"
    assert wire.read("SCAN", "0", "TYPE", "string") == [b"0", [b"s"]]
    assert wire.read("MEMORY", "USAGE", "s") > 2
    assert wire.ask("COPY", "s", "c") == b":1\r\n"
    assert wire.ask("RENAME", "s", "r") == OK
    wire.ask("APPEND", "r", "3")
    assert wire.read("MGET", "s", "c", "r") == [None, b"12", b"123"]
    assert wire.read("OBJECT", "ENCODING", "r") == b"raw"


# --------------------------------------------------------------------------- transactions
CHANGES = (
    "SET k v",
    "SET k v KEEPTTL",
    "SETEX k 100 v",
    "PSETEX k 100000 v",
    "MSET k v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k EX 100",
    "APPEND k v",
    "SETRANGE k 0 v",
    "INCR k",
    "INCRBYFLOAT k 1",
)
NO_CHANGES = (
    "GET k",
    "GETEX k",
    "GETEX k PERSIST",
    "SET k v NX",
    "SETNX k v",
    "MSETNX k v",
    "SETRANGE k 9 ",
    "INCRBY k x",
    "GETRANGE k 0 1",
)


@pytest.mark.parametrize("request_line", [*CHANGES, *NO_CHANGES])
def test_who_watches_a_string_notices_exactly_what_changes_it(connect, request_line):
    wire, other = connect(), connect()
    wire.ask("SET", "k", "1")
    wire.ask("WATCH", "k")
    other.ask(*request_line.split(" "))
    wire.ask("MULTI")
    wire.ask("PING")
    assert wire.read("EXEC") == (None if request_line in CHANGES else ["PONG"])


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_strings_in_a_transaction(wire):
    wire.ask("MULTI")
    for line in ("SET k 1", "INCR k", "MSET k v l", "LPUSH k x", "GET k"):
        wire.ask(*line.split())
    wrong_arity = WireError("ERR wrong number of arguments for 'mset' command")
    assert wire.read("EXEC")[1:] == [2, wrong_arity, WireError(WRONG_TYPE[1:-2].decode()), b"2"]
