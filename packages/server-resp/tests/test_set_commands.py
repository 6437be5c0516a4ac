"""Commands on sets, over a socket."""

import pytest

from tensorkeep_server.testing import WireError

NULL = b"$-1\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NOT_POSITIVE = b"-ERR value is out of range, must be positive\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
BETWEEN = b"-ERR value is out of range, value must between -%d and 9223372036854775807\r\n"
MEMBERS = ("1", "2", "m", "n")


def members(wire, key="s"):
    found = wire.read("SMEMBERS", key)
    assert len(set(found)) == len(found)
    return set(found)


def add(wire, key, *words):
    wire.read("SADD", key, *words)


def scan_all(wire, *options):
    found, cursor = [], b"0"
    while True:
        cursor, some = wire.read("SSCAN", "s", cursor, *options)
        found += some
        if cursor == b"0":
            return found


# --------------------------------------------------------------------------- mistakes
@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    "words",
    [
        *("SADD s", "SREM s", "SMEMBERS", "SMEMBERS s t", "SISMEMBER s", "SISMEMBER s m n"),
        *("SMISMEMBER s", "SCARD", "SPOP", "SRANDMEMBER", "SMOVE s t", "SMOVE s t m n"),
        *("SUNION", "SINTER", "SDIFF", "SUNIONSTORE d", "SINTERSTORE d", "SDIFFSTORE d"),
        *("SINTERCARD 1", "SSCAN s"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(wire, words):
    name = words.partition(" ")[0].lower()
    assert wire.read(*words.split()) == WireError(
        f"ERR wrong number of arguments for '{name}' command"
    )


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    "words",
    [
        *("SADD x m", "SREM x m", "SMEMBERS x", "SISMEMBER x m", "SMISMEMBER x m", "SCARD x"),
        *("SPOP x", "SPOP x 0", "SRANDMEMBER x", "SRANDMEMBER x 0", "SMOVE x s m", "SMOVE s x m"),
        *("SUNION s x", "SINTER x none", "SDIFF none x", "SUNIONSTORE d s x", "SINTERSTORE d x s"),
        *("SDIFFSTORE d s x", "SINTERCARD 2 none x", "SSCAN x 0", "SSCAN x 0 bogus"),
    ],
)
@pytest.mark.parametrize("other", ["AI.TENSORSET x INT8 1", "HSET x f v"])
def test_a_key_of_another_type_is_refused(wire, words, other):
    wire.ask(*other.split())
    add(wire, "s", "m")
    assert wire.ask(*words.split()) == WRONG_TYPE
    assert members(wire) == {b"m"}
    assert wire.ask("EXISTS", "d") == b":0\r\n"


# --------------------------------------------------------------------------- members
def test_members_are_added_once(wire):
    assert wire.ask("SADD", "s", "a", "b", "a") == b":2\r\n"
    assert wire.ask("SADD", "s", "b", "c") == b":1\r\n"
    assert wire.ask("SCARD", "s") == b":3\r\n"
    assert members(wire) == {b"a", b"b", b"c"}


def test_members_are_bytes_of_any_kind(wire):
    words = (b"", b"\0\xff\r\n", b"x" * 100_000, b"-0", b"01")
    assert wire.read("SADD", "s", *words) == len(words)
    assert members(wire) == set(words)
    assert wire.read("SMISMEMBER", "s", *words) == [1] * len(words)


def test_a_set_vanishes_with_its_last_member(wire):
    add(wire, "s", "a", "b")
    assert wire.ask("SREM", "s", "a", "none", "a") == b":1\r\n"
    assert wire.ask("SREM", "s", "none") == b":0\r\n"
    assert wire.ask("SREM", "s", "b", "b") == b":1\r\n"
    assert wire.ask("EXISTS", "s") == b":0\r\n"
    assert wire.ask("SREM", "s", "b") == b":0\r\n"


def test_a_member_is_asked_for(wire):
    add(wire, "s", "a")
    assert wire.ask("SISMEMBER", "s", "a") == b":1\r\n"
    assert wire.ask("SISMEMBER", "s", "b") == b":0\r\n"
    assert wire.ask("SISMEMBER", "none", "a") == b":0\r\n"
    assert wire.ask("SMISMEMBER", "s", "b", "a") == b"*2\r\n:0\r\n:1\r\n"
    assert wire.ask("SMISMEMBER", "none", "b", "a") == b"*2\r\n:0\r\n:0\r\n"


def test_a_missing_set_is_an_empty_one(wire):
    assert wire.ask("SMEMBERS", "s") == b"*0\r\n"
    assert wire.ask("SCARD", "s") == b":0\r\n"
    wire.ask("HELLO", "3")
    assert wire.ask("SMEMBERS", "s") == b"~0\r\n"


def test_members_are_a_set_in_resp3(wire):
    add(wire, "s", "a")
    assert wire.ask("SMEMBERS", "s") == b"*1\r\n$1\r\na\r\n"
    wire.ask("HELLO", "3")
    assert wire.ask("SMEMBERS", "s") == b"~1\r\n$1\r\na\r\n"


def test_a_moved_member_is_in_the_other_set(wire):
    add(wire, "s", "a", "b")
    assert wire.ask("SMOVE", "s", "t", "a") == b":1\r\n"
    assert wire.ask("SMOVE", "s", "t", "a") == b":0\r\n"
    add(wire, "t", "b")
    assert wire.ask("SMOVE", "s", "t", "b") == b":1\r\n"
    assert wire.ask("EXISTS", "s") == b":0\r\n"
    assert members(wire, "t") == {b"a", b"b"}
    assert wire.ask("SMOVE", "t", "t", "a") == b":1\r\n"
    assert wire.ask("SMOVE", "t", "t", "none") == b":0\r\n"


def test_nothing_is_moved_from_a_missing_set_whatever_the_other_key_holds(wire):
    wire.ask("AI.TENSORSET", "x", "INT8", "1")
    assert wire.ask("SMOVE", "none", "x", "a") == b":0\r\n"


# --------------------------------------------------------------------------- at random
def test_a_popped_member_is_gone(wire):
    add(wire, "s", *MEMBERS)
    popped = [wire.read("SPOP", "s") for _ in MEMBERS]
    assert sorted(popped) == [b"1", b"2", b"m", b"n"]
    assert wire.ask("SPOP", "s") == NULL
    assert wire.ask("EXISTS", "s") == b":0\r\n"


def test_several_members_are_popped_at_once(wire):
    add(wire, "s", *MEMBERS)
    first = wire.read("SPOP", "s", "3")
    assert len(set(first)) == 3
    assert members(wire).isdisjoint(first)
    assert wire.ask("SPOP", "s", "0") == b"*0\r\n"
    assert len(wire.read("SPOP", "s", "9223372036854775807")) == 1
    assert wire.ask("EXISTS", "s") == b":0\r\n"
    assert wire.ask("SPOP", "s", "3") == b"*0\r\n"


def test_popped_members_are_a_set_in_resp3(wire):
    add(wire, "s", "a")
    wire.ask("HELLO", "3")
    assert wire.ask("SPOP", "s", "0") == b"~0\r\n"
    assert wire.ask("SPOP", "s", "1") == b"~1\r\n$1\r\na\r\n"
    assert wire.ask("SPOP", "s", "1") == b"~0\r\n"
    assert wire.ask("SPOP", "s") == b"_\r\n"


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "9223372036854775808"])
def test_what_is_popped_is_counted_from_zero(wire, count):
    assert wire.ask("SPOP", "none", count) == NOT_POSITIVE
    assert wire.ask("SPOP", "none", count, "bogus") == SYNTAX


def test_random_members_stay(wire):
    add(wire, "s", *MEMBERS)
    assert {wire.read("SRANDMEMBER", "s") for _ in range(100)} == members(wire)
    assert wire.ask("SRANDMEMBER", "none") == NULL


def test_random_members_are_different_ones_or_may_repeat(wire):
    add(wire, "s", *MEMBERS)
    assert len(set(wire.read("SRANDMEMBER", "s", "3"))) == 3
    assert set(wire.read("SRANDMEMBER", "s", "100")) == members(wire)
    repeated = wire.read("SRANDMEMBER", "s", "-100")
    assert len(repeated) == 100
    assert set(repeated) == members(wire)
    assert wire.ask("SRANDMEMBER", "s", "0") == b"*0\r\n"
    wire.ask("HELLO", "3")
    assert wire.ask("SRANDMEMBER", "none", "-3") == b"*0\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("count", "error"),
    [
        ("x", NOT_AN_INTEGER),
        ("", NOT_AN_INTEGER),
        ("9223372036854775808", NOT_AN_INTEGER),
        ("-9223372036854775808", BETWEEN % (2**63 - 1)),
    ],
)
def test_a_count_of_random_members_is_an_integer(wire, count, error):
    assert wire.ask("SRANDMEMBER", "none", count) == error
    assert wire.ask("SRANDMEMBER", "none", count, "bogus") == SYNTAX


@pytest.mark.memory_store("the engine sets no such limit")
def test_more_random_members_than_memory_holds_are_refused(wire):
    """Redis tries, and is killed or ends the connection."""
    add(wire, "s", "a")
    assert wire.ask("SRANDMEMBER", "s", "-1048577") == BETWEEN % 1048576
    assert wire.ask("SRANDMEMBER", "none", "-1048577") == b"*0\r\n"


# --------------------------------------------------------------------------- several sets
@pytest.fixture
def three(wire):
    add(wire, "a", "1", "2", "3", "4")
    add(wire, "b", "3", "4", "5")
    add(wire, "c", "4", "x")
    return wire


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("SUNION a b c", "12345x"),
        ("SUNION a", "1234"),
        ("SUNION a none a", "1234"),
        ("SUNION none", ""),
        ("SINTER a b c", "4"),
        ("SINTER a b", "34"),
        ("SINTER a", "1234"),
        ("SINTER a none", ""),
        ("SDIFF a b c", "12"),
        ("SDIFF b a", "5"),
        ("SDIFF a a", ""),
        ("SDIFF none a", ""),
        ("SDIFF a none", "1234"),
    ],
)
def test_sets_are_combined(three, words, result):
    name, *keys = words.split()
    expected = {letter.encode() for letter in result}
    assert sorted(three.read(name, *keys)) == sorted(expected)
    assert three.read(f"{name}STORE", "d", *keys) == len(expected)
    assert members(three, "d") == expected
    assert three.read("EXISTS", "d") == bool(expected)
    three.ask("HELLO", "3")
    assert three.ask(name, *keys).startswith(b"~%d\r\n" % len(expected))


def test_a_stored_combination_replaces_what_is_there_with_its_expiry(three):
    for target in ("a", "t"):
        three.ask("AI.TENSORSET", "t", "INT8", "1")
        three.ask("EXPIRE", target, "1000")
        assert three.ask("SUNIONSTORE", target, "b", "c") == b":4\r\n"
        assert three.ask("TTL", target) == b":-1\r\n"
    three.ask("AI.TENSORSET", "t", "INT8", "1")
    assert three.ask("SINTERSTORE", "t", "b", "none") == b":0\r\n"
    assert three.ask("SDIFFSTORE", "a", "a", "a") == b":0\r\n"
    assert three.ask("EXISTS", "a", "t") == b":0\r\n"


def test_a_combination_can_be_stored_into_one_of_its_sets(three):
    assert three.ask("SINTERSTORE", "a", "a", "b") == b":2\r\n"
    assert members(three, "a") == {b"3", b"4"}


@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("1 a", 4),
        ("2 a b", 2),
        ("3 a b c", 1),
        ("2 a none", 0),
        ("2 a b LIMIT 1", 1),
        ("2 a b limit 0", 2),
        ("2 a b LIMIT 1 LIMIT 5", 2),
    ],
)
def test_common_members_are_counted(three, words, count):
    assert three.read("SINTERCARD", *words.split()) == count


@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("0 a", "ERR numkeys should be greater than 0"),
        ("x a", "ERR numkeys should be greater than 0"),
        ("2 a", "ERR Number of keys can't be greater than number of args"),
        ("1 a b", "ERR syntax error"),
        ("1 a LIMIT", "ERR syntax error"),
        ("1 a LIMIT -1", "ERR LIMIT can't be negative"),
        ("1 a LIMIT x", "ERR LIMIT can't be negative"),
    ],
)
def test_what_is_to_be_counted_is_checked_from_left_to_right(wire, words, line):
    assert wire.read("SINTERCARD", *words.split()) == WireError(line)


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_the_keys_of_a_count_are_found(wire):
    ask = ("COMMAND", "GETKEYS", "SINTERCARD")
    assert wire.read(*ask, "2", "a", "b", "LIMIT", "1") == [b"a", b"b"]
    for number in ("0", "3", "x"):
        error = WireError("ERR Invalid arguments specified for command")
        assert wire.read(*ask, number, "a", "b") == error


# --------------------------------------------------------------------------- SSCAN
def test_a_small_set_of_integers_is_scanned_at_once(wire):
    add(wire, "s", *range(300))
    cursor, found = wire.read("SSCAN", "s", "17", "COUNT", "1")
    assert cursor == b"0"
    assert set(found) == members(wire)


@pytest.mark.memory_store("the size of a page is the engine's")
def test_any_other_set_is_scanned_page_by_page(wire):
    add(wire, "s", "word", *range(300))
    cursor, found = wire.read("SSCAN", "s", "0")
    assert cursor != b"0"
    assert len(found) == 10
    assert sorted(scan_all(wire, "COUNT", "7")) == sorted(members(wire))
    assert sorted(scan_all(wire, "match", "1?")) == [b"%d" % n for n in range(10, 20)]


def test_a_scan_finds_what_stays_while_others_come_and_go(wire):
    add(wire, "s", *(f"stays{n}" for n in range(200)), *(f"goes{n}" for n in range(500)))
    cursor, found = wire.read("SSCAN", "s", "0", "COUNT", "20")
    turn = 0
    while cursor != b"0":
        wire.read("SREM", "s", *(f"goes{n}" for n in range(turn * 30, turn * 30 + 30)))
        add(wire, "s", *(f"new{turn}:{n}" for n in range(10)))
        cursor, some = wire.read("SSCAN", "s", cursor, "COUNT", "20")
        found += some
        turn += 1
        assert turn < 40
    assert {b"stays%d" % n for n in range(200)} <= set(found)


def test_a_missing_key_wins_over_mistakes_in_options_but_not_in_the_cursor(wire):
    assert wire.ask("SSCAN", "none", "0", "bogus") == b"*2\r\n$1\r\n0\r\n*0\r\n"
    assert wire.ask("SSCAN", "none", "x") == b"-ERR invalid cursor\r\n"


@pytest.mark.memory_store(
    "Valkey has more options",
    on=(
        "valkey-8.1",
        "valkey-9.1",
    ),
)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("bogus", SYNTAX),
        ("MATCH", SYNTAX),
        ("COUNT 0", SYNTAX),
        ("COUNT x", NOT_AN_INTEGER),
        ("TYPE set", SYNTAX),
        ("NOVALUES", SYNTAX),
    ],
)
def test_a_scan_of_a_set_knows_no_other_options(wire, options, error):
    add(wire, "s", "a")
    assert wire.ask("SSCAN", "s", "0", *options.split()) == error


# --------------------------------------------------------------------------- as any value
@pytest.mark.memory_store("the encoding is the engine's")
def test_a_set_has_type_and_encoding(wire):
    add(wire, "s", "1", "2")
    assert wire.ask("TYPE", "s") == b"+set\r\n"
    assert wire.read("OBJECT", "ENCODING", "s") == b"intset"
    add(wire, "s", "word")
    assert wire.read("OBJECT", "ENCODING", "s") == b"hashtable"
    assert wire.read("SCAN", "0", "TYPE", "set") == [b"0", [b"s"]]
    assert 100 < wire.read("MEMORY", "USAGE", "s") < 2000


@pytest.mark.memory_store("the encoding is the engine's")
def test_a_copied_set_goes_its_own_way(wire):
    add(wire, "s", "1", "word")
    wire.ask("SREM", "s", "word")
    assert wire.ask("COPY", "s", "t") == b":1\r\n"
    assert wire.read("OBJECT", "ENCODING", "t") == b"hashtable"
    add(wire, "s", "2")
    add(wire, "t", "3")
    assert members(wire) == {b"1", b"2"}
    assert members(wire, "t") == {b"1", b"3"}


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_the_expiry_of_a_changed_set_stays(wire):
    add(wire, "s", "a")
    wire.ask("EXPIREAT", "s", "4102444800")
    add(wire, "s", "b")
    wire.ask("SREM", "s", "a")
    assert wire.ask("EXPIRETIME", "s") == b":4102444800\r\n"
    wire.ask("SPOP", "s")
    add(wire, "s", "b")
    assert wire.ask("EXPIRETIME", "s") == b":-1\r\n"


CHANGES = (
    *("SADD s new", "SREM s a", "SPOP s", "SPOP s 1", "SPOP s 9", "SMOVE s t a", "SMOVE t s x"),
    *("SUNIONSTORE s t", "SINTERSTORE s none", "SDIFFSTORE s s t", "SADD none m", "SREM s a b"),
)
NO_CHANGES = (
    *("SADD s a", "SREM s none", "SPOP s 0", "SPOP none", "SMOVE s t none", "SMOVE s s a"),
    *("SMEMBERS s", "SRANDMEMBER s", "SSCAN s 0", "SUNIONSTORE t s", "SINTERSTORE none none"),
    *("SMOVE t s a", "SREM none m", "SADD s"),
)


@pytest.mark.parametrize("words", [*CHANGES, *NO_CHANGES])
def test_a_transaction_notices_a_change_of_a_watched_set(wire, connect, words):
    add(wire, "s", "a", "b")
    add(wire, "t", "x")
    wire.ask("WATCH", "s", "none")
    connect().ask(*words.split())
    wire.ask("MULTI")
    wire.ask("PING")
    assert wire.ask("EXEC") == (b"*-1\r\n" if words in CHANGES else b"*1\r\n+PONG\r\n")


def test_sets_are_changed_in_a_transaction(wire):
    wire.ask("MULTI")
    for words in ("SADD s a b", "SPOP s 1", "SADD s", "SRANDMEMBER s -2", "SPOP s"):
        wire.ask(*words.split())
    assert wire.ask("EXEC").startswith(b"-EXECABORT")
    wire.ask("MULTI")
    for words in ("SADD s a b", "SPOP s 1", "HGET s f", "SPOP s", "EXISTS s"):
        assert wire.ask(*words.split()) == b"+QUEUED\r\n"
    added, first, error, second, there = wire.read("EXEC")
    assert (added, there) == (2, 0)
    assert {*first, second} == {b"a", b"b"}
    assert isinstance(error, WireError)
