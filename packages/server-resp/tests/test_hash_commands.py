"""Commands on hashes, over a socket."""

import time

import pytest

from tensorkeep import leftovers
from tensorkeep_server.testing import WireError

NULL = b"$-1\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def pairs(words):
    return dict(zip(words[::2], words[1::2], strict=True))


def fields(wire, key="h"):
    return pairs(wire.read("HGETALL", key))


def scan_all(wire, *options):
    found, cursor = [], b"0"
    while True:
        cursor, some = wire.read("HSCAN", "h", cursor, *options)
        found += some
        if cursor == b"0":
            return pairs(found)


# --------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    "words",
    [
        *("HSET h", "HSET h f", "HSET h f v g", "HMSET h f", "HMSET h f v g", "hset h f v g"),
        *("HSETNX h f", "HSETNX h f v w", "HGET h", "HGET h f g", "HMGET h", "HDEL h", "HGETALL"),
        *("HGETALL h f", "HLEN", "HLEN h f", "HEXISTS h", "HEXISTS h f g", "HKEYS", "HVALS"),
        *("HINCRBY h f", "HINCRBY h f 1 2", "HINCRBYFLOAT h f", "HSTRLEN h", "HSTRLEN h f g"),
        *("HRANDFIELD", "HSCAN h"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(wire, words):
    name = words.partition(" ")[0].lower()
    assert wire.read(*words.split()) == WireError(
        f"ERR wrong number of arguments for '{name}' command"
    )


@pytest.mark.parametrize(
    "words",
    [
        *("HSET x f v", "HMSET x f v", "HSETNX x f v", "HGET x f", "HMGET x f", "HGETALL x"),
        *("HDEL x f", "HLEN x", "HEXISTS x f", "HKEYS x", "HVALS x", "HINCRBY x f 1"),
        *("HINCRBYFLOAT x f 1", "HSTRLEN x f", "HRANDFIELD x", "HRANDFIELD x 0", "HSCAN x 0"),
        "HSCAN x 0 bogus",
    ],
)
@pytest.mark.parametrize("other", ["AI.TENSORSET x INT8 1", "SADD x m"])
def test_a_key_of_another_type_is_refused(wire, words, other):
    wire.ask(*other.split())
    assert wire.ask(*words.split()) == WRONG_TYPE


def test_a_key_with_a_hash_is_none_for_a_tensor(wire):
    wire.ask("HSET", "h", "f", "v")
    assert wire.ask("AI.TENSORGET", "h", "META") == WRONG_TYPE
    assert wire.ask("AI.TENSORSET", "h", "INT8", "1") == WRONG_TYPE
    assert fields(wire) == {b"f": b"v"}


# --------------------------------------------------------------------------- fields
def test_fields_are_new_once(wire):
    assert wire.ask("HSET", "h", "f", "1", "g", "2", "f", "3") == b":2\r\n"
    assert wire.ask("HSET", "h", "g", "4", "h", "5") == b":1\r\n"
    assert fields(wire) == {b"f": b"3", b"g": b"4", b"h": b"5"}


def test_fields_come_in_the_order_in_which_they_were_set(wire):
    wire.ask("HSET", "h", "z", "1", "a", "2", "m", "3")
    wire.ask("HSET", "h", "z", "4")
    wire.ask("HDEL", "h", "a")
    wire.ask("HSET", "h", "a", "5")
    assert wire.read("HGETALL", "h") == [b"z", b"4", b"m", b"3", b"a", b"5"]
    assert wire.read("HKEYS", "h") == [b"z", b"m", b"a"]
    assert wire.read("HVALS", "h") == [b"4", b"3", b"5"]


def test_fields_and_values_are_bytes_of_any_kind(wire):
    words = {b"": b"", b"\0\xff\r\n": b"\r\n\0", b"x" * 100_000: b"y" * 300_000}
    wire.ask("HSET", "h", *(word for pair in words.items() for word in pair))
    assert fields(wire) == words
    assert wire.read("HMGET", "h", *words) == [*words.values()]


def test_the_older_command_answers_ok(wire):
    assert wire.ask("HMSET", "h", "f", "1", "g", "2") == b"+OK\r\n"
    assert fields(wire) == {b"f": b"1", b"g": b"2"}


def test_a_field_can_be_set_only_if_it_is_new(wire):
    assert wire.ask("HSETNX", "h", "f", "1") == b":1\r\n"
    assert wire.ask("HSETNX", "h", "f", "2") == b":0\r\n"
    assert fields(wire) == {b"f": b"1"}


def test_a_hash_vanishes_with_its_last_field(wire):
    wire.ask("HSET", "h", "f", "1", "g", "2")
    assert wire.ask("HDEL", "h", "f", "none", "f") == b":1\r\n"
    assert wire.ask("HDEL", "h", "none") == b":0\r\n"
    assert wire.ask("HDEL", "h", "g") == b":1\r\n"
    assert wire.ask("EXISTS", "h") == b":0\r\n"
    assert wire.ask("HDEL", "h", "g") == b":0\r\n"


def test_a_field_is_asked_for(wire):
    wire.ask("HSET", "h", "f", "value", "e", "")
    assert wire.ask("HGET", "h", "f") == b"$5\r\nvalue\r\n"
    assert wire.ask("HGET", "h", "none") == NULL
    assert wire.ask("HMGET", "h", "f", "none", "f") == (
        b"*3\r\n$5\r\nvalue\r\n$-1\r\n$5\r\nvalue\r\n"
    )
    assert wire.ask("HEXISTS", "h", "f") == b":1\r\n"
    assert wire.ask("HEXISTS", "h", "none") == b":0\r\n"
    assert wire.ask("HSTRLEN", "h", "f") == b":5\r\n"
    assert wire.ask("HSTRLEN", "h", "e") == b":0\r\n"
    assert wire.ask("HSTRLEN", "h", "none") == b":0\r\n"
    assert wire.ask("HLEN", "h") == b":2\r\n"


MISSING = {
    ("HGET", "h", "f"): (NULL, b"_\r\n"),
    ("HMGET", "h", "f", "g"): (b"*2\r\n$-1\r\n$-1\r\n", b"*2\r\n_\r\n_\r\n"),
    ("HGETALL", "h"): (b"*0\r\n", b"%0\r\n"),
    ("HKEYS", "h"): (b"*0\r\n", b"*0\r\n"),
    ("HVALS", "h"): (b"*0\r\n", b"*0\r\n"),
    ("HLEN", "h"): (b":0\r\n", b":0\r\n"),
    ("HEXISTS", "h", "f"): (b":0\r\n", b":0\r\n"),
    ("HSTRLEN", "h", "f"): (b":0\r\n", b":0\r\n"),
    ("HRANDFIELD", "h"): (NULL, b"_\r\n"),
    ("HRANDFIELD", "h", "-3"): (b"*0\r\n", b"*0\r\n"),
    ("HRANDFIELD", "h", "3", "WITHVALUES"): (b"*0\r\n", b"*0\r\n"),
    ("HSCAN", "h", "5", "bogus"): (b"*2\r\n$1\r\n0\r\n*0\r\n",) * 2,
}


@pytest.mark.parametrize("words", MISSING, ids=" ".join)
def test_a_missing_hash_is_an_empty_one(wire, words):
    assert wire.ask(*words) == MISSING[words][0]
    wire.ask("HELLO", "3")
    assert wire.ask(*words) == MISSING[words][1]


def test_fields_with_values_are_a_map_in_resp3(wire):
    wire.ask("HSET", "h", "f", "1")
    assert wire.ask("HGETALL", "h") == b"*2\r\n$1\r\nf\r\n$1\r\n1\r\n"
    wire.ask("HELLO", "3")
    assert wire.ask("HGETALL", "h") == b"%1\r\n$1\r\nf\r\n$1\r\n1\r\n"
    assert wire.ask("HKEYS", "h") == b"*1\r\n$1\r\nf\r\n"


# --------------------------------------------------------------------------- numbers
def test_integers_are_added(wire):
    assert wire.ask("HINCRBY", "h", "f", "5") == b":5\r\n"
    assert wire.ask("HINCRBY", "h", "f", "-7") == b":-2\r\n"
    assert wire.ask("HINCRBY", "h", "g", "9223372036854775807") == b":9223372036854775807\r\n"
    assert fields(wire) == {b"f": b"-2", b"g": b"9223372036854775807"}


@pytest.mark.parametrize("number", ["x", "1.5", "", "01", "+1", " 1", "9223372036854775808"])
def test_only_integers_are_added(wire, number):
    assert wire.ask("HINCRBY", "h", "f", number) == NOT_AN_INTEGER
    wire.ask("HSET", "h", "f", number)
    assert wire.ask("HINCRBY", "h", "f", "1") == b"-ERR hash value is not an integer\r\n"
    assert fields(wire) == {b"f": number.encode()}


def test_a_sum_beyond_the_range_is_refused(wire):
    wire.ask("HSET", "h", "f", "9223372036854775807", "g", "-9223372036854775808")
    overflow = b"-ERR increment or decrement would overflow\r\n"
    assert wire.ask("HINCRBY", "h", "f", "1") == overflow
    assert wire.ask("HINCRBY", "h", "g", "-1") == overflow
    assert wire.ask("HINCRBY", "h", "f", "-9223372036854775808") == b":-1\r\n"


@pytest.mark.parametrize(
    ("old", "by", "total"),
    [
        (None, "1.5", "1.5"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("1", "-1.0", "0"),
        ("0", "1e-17", "0.00000000000000001"),
        ("0", "1e17", "100000000000000000"),
    ],
)
def test_numbers_with_a_point_are_added(wire, old, by, total):
    if old:
        wire.ask("HSET", "h", "f", old)
    assert wire.read("HINCRBYFLOAT", "h", "f", by) == total.encode()
    assert fields(wire) == {b"f": total.encode()}


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_only_numbers_are_added(wire):
    assert wire.ask("HINCRBYFLOAT", "h", "f", "x") == b"-ERR value is not a valid float\r\n"
    assert wire.ask("HINCRBYFLOAT", "h", "f", "inf") == b"-ERR value is NaN or Infinity\r\n"
    assert wire.ask("EXISTS", "h") == b":0\r\n"
    wire.ask("HSET", "h", "f", "x", "i", "inf")
    assert wire.ask("HINCRBYFLOAT", "h", "f", "1") == b"-ERR hash value is not a float\r\n"
    assert wire.ask("HINCRBYFLOAT", "h", "i", "1") == (
        b"-ERR increment would produce NaN or Infinity\r\n"
    )
    assert fields(wire) == {b"f": b"x", b"i": b"inf"}


# --------------------------------------------------------------------------- at random
def test_random_fields_are_different_ones_or_may_repeat(wire):
    wire.ask("HSET", "h", "a", "1", "b", "2", "c", "3")
    assert {wire.read("HRANDFIELD", "h") for _ in range(100)} == {b"a", b"b", b"c"}
    assert len(set(wire.read("HRANDFIELD", "h", "2"))) == 2
    assert wire.read("HRANDFIELD", "h", "9") == [b"a", b"b", b"c"]
    assert len(wire.read("HRANDFIELD", "h", "-9")) == 9
    assert wire.ask("HRANDFIELD", "h", "0") == b"*0\r\n"


def test_random_fields_come_with_their_values(wire):
    wire.ask("HSET", "h", "f", "1")
    assert wire.ask("HRANDFIELD", "h", "-2", "WITHVALUES") == (
        b"*4\r\n" + b"$1\r\nf\r\n$1\r\n1\r\n" * 2
    )
    wire.ask("HELLO", "3")
    assert wire.ask("HRANDFIELD", "h", "-2", "withvalues") == (
        b"*2\r\n" + b"*2\r\n$1\r\nf\r\n$1\r\n1\r\n" * 2
    )


BETWEEN = "ERR value is out of range, value must between -%d and 9223372036854775807"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("x", "ERR value is not an integer or out of range"),
        ("x bogus", "ERR value is not an integer or out of range"),
        ("-9223372036854775808", BETWEEN % (2**63 - 1)),
        ("1 bogus", "ERR syntax error"),
        ("1 WITHVALUES bogus", "ERR syntax error"),
        ("4611686018427387904 WITHVALUES", "ERR value is out of range"),
        ("-4611686018427387904 WITHVALUES", "ERR value is out of range"),
    ],
)
def test_what_is_asked_of_random_fields_is_checked_from_left_to_right(wire, words, line):
    assert wire.read("HRANDFIELD", "none", *words.split()) == WireError(line)


@pytest.mark.memory_store("the engine sets no such limit")
def test_more_random_fields_than_memory_holds_are_refused(wire):
    wire.ask("HSET", "h", "f", "1")
    assert wire.read("HRANDFIELD", "h", "-1048577") == WireError(BETWEEN % 1048576)
    assert wire.read("HRANDFIELD", "h", "4611686018427387903", "WITHVALUES") == [b"f", b"1"]


# --------------------------------------------------------------------------- HSCAN
def fill(wire, count, last="value"):
    words = [word for n in range(count) for word in (f"f{n}", f"v{n}")]
    wire.ask("HSET", "h", *words[:-1], last)


def test_a_small_hash_is_scanned_at_once(wire):
    fill(wire, 300)
    cursor, found = wire.read("HSCAN", "h", "17", "COUNT", "1")
    assert cursor == b"0"
    assert pairs(found) == fields(wire)


@pytest.mark.memory_store("the size of a page is the engine's")
def test_any_other_hash_is_scanned_page_by_page(wire):
    fill(wire, 300, last="x" * 65)
    cursor, found = wire.read("HSCAN", "h", "0")
    assert cursor != b"0"
    assert len(found) == 20
    assert scan_all(wire, "COUNT", "7") == fields(wire)
    assert scan_all(wire, "MATCH", "f1?") == {b"f%d" % n: b"v%d" % n for n in range(10, 20)}


@pytest.mark.memory_store("the engine's scan does not promise it")
def test_a_scan_ends_although_more_comes_than_it_finds(wire):
    fill(wire, 600)
    cursor, found = wire.read("HSCAN", "h", "0", "COUNT", "30")
    turn = 0
    while cursor != b"0":
        wire.ask("HDEL", "h", *found[:60:2])
        wire.ask("HSET", "h", *(word for n in range(40) for word in (f"new{turn}:{n}", "v")))
        cursor, found = wire.read("HSCAN", "h", cursor, "COUNT", "30")
        turn += 1
        assert turn < 30


@pytest.mark.parametrize(
    ("options", "error"),
    [("bogus", SYNTAX), ("COUNT 0", SYNTAX), ("COUNT x", NOT_AN_INTEGER), ("TYPE hash", SYNTAX)],
)
def test_a_scan_of_a_hash_knows_no_other_options(wire, options, error):
    wire.ask("HSET", "h", "f", "1")
    assert wire.ask("HSCAN", "h", "0", *options.split()) == error
    assert wire.ask("HSCAN", "h", "x", *options.split()) == b"-ERR invalid cursor\r\n"


# --------------------------------------------------------------------------- as any value
@pytest.mark.memory_store("the engine's values take less memory")
def test_a_hash_has_type_and_encoding(wire):
    fill(wire, 512)
    assert wire.ask("TYPE", "h") == b"+hash\r\n"
    assert wire.read("OBJECT", "ENCODING", "h") == b"listpack"
    small = wire.read("MEMORY", "USAGE", "h")
    wire.ask("HSET", "h", "one more", "1")
    assert wire.read("OBJECT", "ENCODING", "h") == b"hashtable"
    assert wire.read("SCAN", "0", "TYPE", "hash") == [b"0", [b"h"]]
    fill(wire, 2000)
    assert small < 100_000 < wire.read("MEMORY", "USAGE", "h")


def test_a_copied_hash_goes_its_own_way(wire):
    wire.ask("HSET", "h", "f", "1", "g", "x" * 65)
    wire.ask("HDEL", "h", "g")
    assert wire.ask("COPY", "h", "i") == b":1\r\n"
    assert wire.read("OBJECT", "ENCODING", "i") == b"hashtable"
    wire.ask("HSET", "h", "f", "2")
    wire.ask("HSET", "i", "g", "3")
    assert fields(wire) == {b"f": b"2"}
    assert fields(wire, "i") == {b"f": b"1", b"g": b"3"}


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_renamed_hash_keeps_its_fields_and_a_changed_one_its_expiry(wire):
    wire.ask("HSET", "h", "f", "1")
    wire.ask("EXPIREAT", "h", "4102444800")
    wire.ask("HINCRBY", "h", "f", "1")
    assert wire.ask("RENAME", "h", "i") == b"+OK\r\n"
    assert fields(wire, "i") == {b"f": b"2"}
    assert wire.ask("EXPIRETIME", "i") == b":4102444800\r\n"


def test_a_large_hash_is_freed_after_it_is_answered_that_it_is_deleted(wire):
    for start in range(0, 30_000, 500):
        words = [word for n in range(start, start + 500) for word in (f"f{n}", "v")]
        wire.ask("HSET", "h", *words)
    assert wire.ask("DEL", "h") == b":1\r\n"
    end = time.monotonic() + 10
    while leftovers._left:
        assert time.monotonic() < end
        time.sleep(0.001)


CHANGES = (
    *("HSET h f 1", "HMSET h f 1", "HSETNX h new 1", "HDEL h f", "HDEL h f g", "HINCRBY h n 0"),
    *("HINCRBYFLOAT h n 0", "HSET none f 1", "HSETNX none f 1", "HINCRBY none f 1"),
)
NO_CHANGES = (
    *("HSETNX h f 2", "HDEL h none", "HDEL none f", "HINCRBY h f x", "HINCRBY h g 1"),
    *("HINCRBYFLOAT h g 1", "HGETALL h", "HRANDFIELD h 9", "HSCAN h 0", "HSET t f 1", "HSET h f"),
)


@pytest.mark.parametrize("words", [*CHANGES, *NO_CHANGES])
def test_a_transaction_notices_a_change_of_a_watched_hash(wire, connect, words):
    wire.ask("HSET", "h", "f", "1", "g", "x")
    wire.ask("WATCH", "h", "none")
    connect().ask(*words.split())
    wire.ask("MULTI")
    wire.ask("PING")
    assert wire.ask("EXEC") == (b"*-1\r\n" if words in CHANGES else b"*1\r\n+PONG\r\n")


def test_each_reply_of_a_transaction_is_in_the_version_that_was_spoken(wire):
    wire.ask("HSET", "h", "f", "1")
    wire.ask("MULTI")
    for words in ("HGETALL h", "HRANDFIELD h 1 WITHVALUES", "HELLO 3", "HGETALL h"):
        wire.ask(*words.split())
    wire.ask("HRANDFIELD", "h", "1", "WITHVALUES")
    reply = wire.ask("EXEC")
    flat, pair = b"*2\r\n$1\r\nf\r\n$1\r\n1\r\n", b"$1\r\nf\r\n$1\r\n1\r\n"
    assert reply.startswith(b"*5\r\n" + flat + flat + b"%")
    assert reply.endswith(b"%1\r\n" + pair + b"*1\r\n*2\r\n" + pair)
