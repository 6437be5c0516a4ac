"""Commands on lists, over a socket. What a real Redis answers is asked in the oracle's tests."""

import pytest

from tensorkeep_server.codec import LARGE
from tensorkeep_server.testing import WireError

NULL = b"$-1\r\n"
NULL_ARRAY = b"*-1\r\n"
EMPTY = b"*0\r\n"
OK = b"+OK\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NOT_POSITIVE = b"-ERR value is out of range, must be positive\r\n"
NO_SUCH_KEY = b"-ERR no such key\r\n"
NO_RANK = (
    b"-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ..."
    b" or use negative to start from the end of the list\r\n"
)
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

FAR = 4102444800  # the year 2100


def items(wire, key="l"):
    """Reads a whole list."""
    return b"".join(wire.read("LRANGE", key, "0", "-1")).decode()


def seed(wire, letters="abc", key="l"):
    """Stores a list of single letters."""
    wire.ask("RPUSH", key, *letters)


# --------------------------------------------------------------------------- at the ends
def test_elements_are_added_one_after_another_at_either_end(wire):
    assert wire.ask("RPUSH", "l", "c", "d") == b":2\r\n"
    assert wire.ask("LPUSH", "l", "b", "a") == b":4\r\n"
    assert items(wire) == "abcd"
    assert wire.ask("LLEN", "l") == b":4\r\n"


def test_elements_are_added_only_if_there_is_a_list(wire):
    for push in ("LPUSHX", "RPUSHX"):
        assert wire.ask(push, "none", "a") == b":0\r\n"
    assert wire.ask("EXISTS", "none") == b":0\r\n"
    seed(wire)
    assert wire.ask("LPUSHX", "l", "x", "y") == b":5\r\n"
    assert wire.ask("RPUSHX", "l", "z") == b":6\r\n"
    assert items(wire) == "yxabcz"


@pytest.mark.memory_store("Redis 6.2 pops none otherwise", on=("redis-6.2",))
def test_elements_are_taken_from_either_end(wire):
    seed(wire, "abcdef")
    assert wire.read("LPOP", "l") == b"a"
    assert wire.read("RPOP", "l") == b"f"
    assert wire.read("RPOP", "l", "2") == [b"e", b"d"]
    assert wire.ask("LPOP", "l", "0") == EMPTY
    assert items(wire) == "bc"
    assert wire.read("LPOP", "l", "9") == [b"b", b"c"]
    assert wire.ask("EXISTS", "l") == b":0\r\n"


@pytest.mark.memory_store("Redis 6.2 pops none otherwise", on=("redis-6.2",))
def test_nothing_is_taken_where_no_list_is(wire):
    assert wire.ask("LPOP", "none") == NULL
    assert wire.ask("RPOP", "none", "2") == NULL_ARRAY
    wire.ask("HELLO", "3")
    assert wire.ask("LPOP", "none") == b"_\r\n"
    assert wire.ask("RPOP", "none", "0") == b"_\r\n"


@pytest.mark.parametrize("count", ["-1", "x", "1.0", ""])
def test_a_number_of_elements_is_not_negative(wire, count):
    seed(wire)
    assert wire.ask("LPOP", "l", count) == NOT_POSITIVE
    error = b"-ERR wrong number of arguments for 'rpop' command\r\n"
    assert wire.ask("RPOP", "l", "1", count) == error


@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
def test_the_last_element_takes_the_key_with_it(wire):
    takes = ("LPOP l", "RPOP l 1", "LTRIM l 1 0", "LREM l 0 a", "LMOVE l m LEFT LEFT")
    for take in takes:
        seed(wire, "a")
        wire.ask("EXPIREAT", "l", FAR)
        wire.ask(*take.split())
        assert wire.ask("EXISTS", "l") == b":0\r\n"
        seed(wire, "a")
        assert wire.read("EXPIRETIME", "l") == -1
        wire.ask("DEL", "l")


def test_a_large_element_is_an_element(wire):
    large = b"x" * (2 * LARGE)
    wire.ask("RPUSH", "l", "a", large)
    assert wire.read("LPOS", "l", large) == 1
    assert wire.read("LINDEX", "l", "-1") == large
    assert wire.read("LRANGE", "l", "0", "-1") == [b"a", large]
    assert wire.read("RPOP", "l") == large


# --------------------------------------------------------------------------- from list to list
@pytest.mark.parametrize(
    ("request_line", "element", "source", "target"),
    [
        ("LMOVE l m LEFT RIGHT", b"a", "bc", "xya"),
        ("LMOVE l m left left", b"a", "bc", "axy"),
        ("LMOVE l m RIGHT LEFT", b"c", "ab", "cxy"),
        ("RPOPLPUSH l m", b"c", "ab", "cxy"),
        ("LMOVE l l LEFT RIGHT", b"a", "bca", "xy"),
        ("RPOPLPUSH l l", b"c", "cab", "xy"),
        ("LMOVE l l LEFT LEFT", b"a", "abc", "xy"),
    ],
)
def test_an_element_is_moved(wire, request_line, element, source, target):
    seed(wire)
    seed(wire, "xy", "m")
    assert wire.read(*request_line.split()) == element
    assert (items(wire, "l"), items(wire, "m")) == (source, target)


@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
def test_a_list_of_one_element_that_turns_keeps_its_expiry(wire):
    seed(wire, "a")
    wire.ask("EXPIREAT", "l", FAR)
    assert wire.read("RPOPLPUSH", "l", "l") == b"a"
    assert items(wire) == "a"
    assert wire.read("EXPIRETIME", "l") == FAR


def test_nothing_is_moved_where_it_cannot_be(wire):
    seed(wire)
    wire.ask("SET", "s", "v")
    assert wire.ask("LMOVE", "none", "l", "LEFT", "LEFT") == NULL
    assert wire.ask("LMOVE", "none", "s", "LEFT", "LEFT") == NULL
    assert wire.ask("LMOVE", "l", "s", "LEFT", "LEFT") == WRONG_TYPE
    assert wire.ask("LMOVE", "s", "l", "LEFT", "LEFT") == WRONG_TYPE
    assert wire.ask("LMOVE", "s", "l", "LEFT", "UP") == SYNTAX
    assert items(wire) == "abc"


# --------------------------------------------------------------------------- within
def test_a_part_of_a_list_is_read(wire):
    seed(wire, "abcde")
    assert wire.read("LRANGE", "l", "1", "2") == [b"b", b"c"]
    assert wire.read("LRANGE", "l", "-2", "99") == [b"d", b"e"]
    assert wire.ask("LRANGE", "l", "3", "1") == EMPTY
    assert wire.ask("LRANGE", "none", "0", "-1") == EMPTY
    assert wire.ask("LRANGE", "l", "x", "1") == NOT_AN_INTEGER


def test_an_element_is_read_by_its_index(wire):
    seed(wire)
    assert wire.read("LINDEX", "l", "0") == b"a"
    assert wire.read("LINDEX", "l", "-1") == b"c"
    assert wire.ask("LINDEX", "l", "3") == NULL
    assert wire.ask("LINDEX", "l", -(2**63)) == NULL
    assert wire.ask("LINDEX", "l", "x") == NOT_AN_INTEGER
    assert wire.ask("LINDEX", "none", "x") == NULL  # a missing key wins


def test_an_element_is_replaced(wire):
    assert wire.ask("LSET", "l", "x", "y") == NO_SUCH_KEY
    seed(wire)
    assert wire.ask("LSET", "l", "-1", "z") == OK
    assert wire.ask("LSET", "l", "3", "z") == b"-ERR index out of range\r\n"
    assert wire.ask("LSET", "l", "x", "z") == NOT_AN_INTEGER
    assert items(wire) == "abz"


def test_an_element_is_inserted_beside_the_first_that_is_equal(wire):
    seed(wire, "abcb")
    assert wire.ask("LINSERT", "l", "before", "b", "x") == b":5\r\n"
    assert wire.ask("LINSERT", "l", "AFTER", "b", "y") == b":6\r\n"
    assert items(wire) == "axbycb"
    assert wire.ask("LINSERT", "l", "AFTER", "z", "y") == b":-1\r\n"
    assert wire.ask("LINSERT", "none", "AFTER", "z", "y") == b":0\r\n"
    assert wire.ask("LINSERT", "none", "beside", "z", "y") == SYNTAX


@pytest.mark.parametrize(
    ("count", "removed", "left"), [(0, 3, "bc"), (2, 2, "bca"), (-1, 1, "abac"), (9, 3, "bc")]
)
def test_equal_elements_are_removed(wire, count, removed, left):
    seed(wire, "abaca")
    assert wire.read("LREM", "l", count, "a") == removed
    assert items(wire) == left
    assert wire.ask("LREM", "l", count, "z") == b":0\r\n"
    assert wire.ask("LREM", "none", count, "z") == b":0\r\n"


def test_a_list_is_trimmed(wire):
    seed(wire, "abcde")
    assert wire.ask("LTRIM", "l", "1", "-2") == OK
    assert items(wire) == "bcd"
    assert wire.ask("LTRIM", "l", "0", "0") == OK
    assert items(wire) == "b"
    assert wire.ask("LTRIM", "none", "0", "0") == OK
    assert wire.ask("LTRIM", "none", "0", "x") == NOT_AN_INTEGER


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), 1),
        (("RANK", "2"), 3),
        (("RANK", "-1"), 5),
        (("RANK", "4"), None),
        (("COUNT", "0"), [1, 3, 5]),
        (("COUNT", "2"), [1, 3]),
        (("RANK", "-2", "COUNT", "9"), [3, 1]),
        (("MAXLEN", "1"), None),
        (("maxlen", "4", "count", "0"), [1, 3]),
        (("RANK", "-1", "MAXLEN", "3", "COUNT", "0"), [5, 3]),
        (("RANK", "1", "RANK", "2", "MAXLEN", "0"), 3),
    ],
)
def test_an_element_is_found(wire, options, found):
    seed(wire, "abcbdb")
    assert wire.read("LPOS", "l", "b", *options) == found
    assert wire.read("LPOS", "none", "b", *options) == ([] if isinstance(found, list) else None)


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("RANK", "x"), NOT_AN_INTEGER),
        (("COUNT", "-1"), b"-ERR COUNT can't be negative\r\n"),
        (("COUNT", "x"), b"-ERR COUNT can't be negative\r\n"),
        (("MAXLEN", "-1"), b"-ERR MAXLEN can't be negative\r\n"),
        (("RANK",), SYNTAX),
        (("bogus", "1"), SYNTAX),
        (("RANK", "0"), NO_RANK),
    ],
)
def test_how_to_find_an_element_must_make_sense(wire, options, error):
    assert wire.ask("LPOS", "none", "b", *options) == error


# --------------------------------------------------------------------------- among other types
@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize("stored", ["AI.TENSORSET k INT8 1", "SET k v"])
@pytest.mark.parametrize(
    "request_line",
    [
        "LPUSH k a",
        "RPUSH k a",
        "LPUSHX k a",
        "RPUSHX k a",
        "LPOP k",
        "RPOP k 0",
        "LLEN k",
        "LRANGE k 0 1",
        "LINDEX k x",  # the type wins over the index
        "LSET k x y",
        "LINSERT k BEFORE a b",
        "LREM k 0 a",
        "LTRIM k 0 1",
        "LMOVE k l LEFT LEFT",
        "RPOPLPUSH k l",
        "LPOS k a",
    ],
)
def test_another_type_is_refused_and_stays(wire, request_line, stored):
    assert wire.ask(*stored.split()) == OK
    before = wire.ask("TYPE", "k")
    assert wire.ask(*request_line.split()) == WRONG_TYPE
    assert wire.ask("TYPE", "k") == before


def test_ai_commands_refuse_a_list(wire):
    seed(wire)
    assert wire.ask("AI.TENSORGET", "l") == WRONG_TYPE
    assert wire.ask("AI.TENSORSET", "l", "INT8", "1") == WRONG_TYPE
    assert wire.ask("AI.MODELGET", "l") == WRONG_TYPE


@pytest.mark.memory_store("the encoding is the engine's")
def test_a_list_can_be_looked_at_renamed_and_copied(wire):
    seed(wire)
    assert wire.ask("TYPE", "l") == b"+list\r\n"
    assert wire.read("OBJECT", "ENCODING", "l") == b"quicklist"
    assert wire.read("SCAN", "0", "TYPE", "LIST") == [b"0", [b"l"]]
    assert wire.read("MEMORY", "USAGE", "l") > 3
    assert wire.ask("COPY", "l", "c") == b":1\r\n"
    assert wire.ask("RENAME", "l", "r") == OK
    wire.ask("RPUSH", "r", "d")
    assert (items(wire, "c"), items(wire, "r")) == ("abc", "abcd")


# --------------------------------------------------------------------------- transactions
CHANGES = (
    "LPUSH l x",
    "RPUSHX l x",
    "LPOP l",
    "RPOP l 9",
    "LSET l 0 a",
    "LINSERT l AFTER a x",
    "LREM l 0 a",
    "LTRIM l 0 -1",  # sic
    "LMOVE l m LEFT LEFT",
    "RPOPLPUSH m l",
    "RPOPLPUSH l l",
)
NO_CHANGES = (
    "LPOP l 0",
    "LSET l 9 a",
    "LINSERT l AFTER z x",
    "LREM l 0 z",
    "LRANGE l 0 -1",
    "LPOS l a",
    "LPUSHX none x",
    "LMOVE none l LEFT LEFT",
)


@pytest.mark.memory_store(
    "Valkey counts what changes nothing otherwise",
    on=(
        "valkey-8.1",
        "valkey-9.1",
    ),
)
@pytest.mark.parametrize("request_line", [*CHANGES, *NO_CHANGES])
def test_who_watches_a_list_notices_exactly_what_changes_it(connect, request_line):
    wire, other = connect(), connect()
    wire.ask("RPUSH", "l", "a", "b")
    wire.ask("RPUSH", "m", "a", "b")
    wire.ask("WATCH", "l")
    other.ask(*request_line.split())
    wire.ask("MULTI")
    wire.ask("PING")
    assert wire.read("EXEC") == (None if request_line in CHANGES else ["PONG"])


def test_who_watches_a_missing_list_notices_the_first_element(connect):
    wire, other = connect(), connect()
    wire.ask("WATCH", "l")
    other.ask("LPUSH", "l", "a")
    wire.ask("MULTI")
    wire.ask("PING")
    assert wire.read("EXEC") is None


def test_lists_in_a_transaction(wire):
    wire.ask("MULTI")
    for line in ("RPUSH l a b", "LRANGE l 0 -1", "INCR l", "LPOP l 1 2", "LPOP l 2", "LLEN l"):
        wire.ask(*line.split())
    wrong_arity = WireError("ERR wrong number of arguments for 'lpop' command")
    assert wire.read("EXEC") == [
        *(2, [b"a", b"b"], WireError(WRONG_TYPE[1:-2].decode()), wrong_arity, [b"a", b"b"], 0)
    ]
