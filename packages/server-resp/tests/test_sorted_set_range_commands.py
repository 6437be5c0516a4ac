"""Commands on ranges of sorted sets, and on several of them, over a socket."""

import pytest

SYNTAX = b"-ERR syntax error\r\n"
NOT_A_BOUND = b"-ERR min or max is not a float\r\n"
NOT_A_WORD = b"-ERR min or max not valid string range item\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
ONLY_WITH = (
    b"-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n"
)
NOT_BY_LEX = b"-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n"


@pytest.fixture
def four(wire):
    """A connection; `z` has four members of scores 1 to 4, and `w` the same with score 0."""
    wire.ask("ZADD", "z", 1, "a", 2, "b", 3, "c", 4, "d")
    wire.ask("ZADD", "w", 0, "a", 0, "b", 0, "c", 0, "d")
    return wire


def joined(wire, words):
    """Asks, and returns the members that are answered as one word."""
    return b"".join(wire.read(*words.split())).decode()


# --------------------------------------------------------------------------- ranges
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ZRANGE z 0 -1", "abcd"),
        ("ZRANGE z 1 2", "bc"),
        ("ZRANGE z -2 9", "cd"),
        ("ZRANGE z -9 0", "a"),
        ("ZRANGE z 2 1", ""),
        ("ZRANGE z 4 9", ""),
        ("ZRANGE z 0 1 REV", "dc"),
        ("ZRANGE z 0 -1 WITHSCORES", "a1b2c3d4"),
        ("ZREVRANGE z 1 -1", "cba"),
        ("ZREVRANGE z 0 0 WITHSCORES", "d4"),
        ("ZREVRANGE z 0 1 LIMIT 5 -1", "dc"),
        ("ZRANGE z 2 (4 BYSCORE", "bc"),
        ("ZRANGE z inf -inf BYSCORE REV LIMIT 1 2", "cb"),
        ("ZRANGE z -inf +inf byscore limit 1 -1 withscores", "b2c3d4"),
        ("ZRANGE z -inf inf BYSCORE LIMIT -1 2", ""),
        ("ZRANGE z -inf inf BYSCORE LIMIT 9 2", ""),
        ("ZRANGEBYSCORE z (1 3", "bc"),
        ("ZRANGEBYSCORE z (1 (2", ""),
        ("ZRANGEBYSCORE z 3 1", ""),
        ("ZRANGEBYSCORE z -1e400 1e400 LIMIT 0 1 WITHSCORES", "a1"),
        ("ZREVRANGEBYSCORE z 3 (1", "cb"),
        ("ZREVRANGEBYSCORE z +inf -inf LIMIT 1 1", "c"),
        ("ZRANGE w [b (d BYLEX", "bc"),
        ("ZRANGE w + - BYLEX REV LIMIT 0 3", "dcb"),
        ("ZRANGEBYLEX w - [b", "ab"),
        ("ZRANGEBYLEX w (a +", "bcd"),
        ("ZRANGEBYLEX w + -", ""),
        ("ZRANGEBYLEX w [bb (c", ""),
        ("ZREVRANGEBYLEX w (c -", "ba"),
        ("ZREVRANGEBYLEX w + [b LIMIT 1 1", "c"),
        ("ZRANGE none 0 -1", ""),
    ],
)
def test_members_in_a_range(four, words, found):
    assert joined(four, words) == found


def test_members_with_scores_are_pairs_in_resp3(four):
    four.ask("HELLO", "3")
    assert four.ask("ZRANGE", "z", 0, 0, "WITHSCORES") == b"*1\r\n*2\r\n$1\r\na\r\n,1\r\n"
    assert four.read("ZREVRANGEBYSCORE", "z", 2, 1, "WITHSCORES") == [[b"b", 2.0], [b"a", 1.0]]
    assert four.ask("ZRANGE", "none", 0, 0, "WITHSCORES") == b"*0\r\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ZRANGE z x 1", NOT_AN_INTEGER),
        ("ZRANGE z 0 1 bogus", SYNTAX),
        ("ZRANGE z 0 1 BYSCORE BYLEX", SYNTAX),
        ("ZRANGE z 0 1 REV REV", SYNTAX),
        ("ZRANGE z 0 1 LIMIT 0", SYNTAX),
        ("ZRANGE z 0 1 LIMIT 0 1", ONLY_WITH),
        ("ZRANGE z 0 1 LIMIT x 1", NOT_AN_INTEGER),
        ("ZRANGE z - + BYLEX WITHSCORES", NOT_BY_LEX),
        ("ZRANGEBYLEX z x y WITHSCORES", NOT_BY_LEX),
        ("ZRANGE z ( 1x BYSCORE", NOT_A_BOUND),
        ("ZRANGE z a b BYLEX", NOT_A_WORD),
        ("ZREVRANGE z 0 1 REV", SYNTAX),
        ("ZRANGEBYSCORE z 0 1 BYSCORE", SYNTAX),
        ("ZRANGEBYSCORE z nan 1", NOT_A_BOUND),
        ("ZRANGEBYLEX z [a +b", NOT_A_WORD),
        ("ZCOUNT z 0 x", NOT_A_BOUND),
        ("ZLEXCOUNT z a +", NOT_A_WORD),
        ("ZREMRANGEBYRANK z 0 x", NOT_AN_INTEGER),
        ("ZREMRANGEBYSCORE z (x 1", NOT_A_BOUND),
        ("ZREMRANGEBYLEX z - x", NOT_A_WORD),
        ("ZRANGESTORE t z 0 1 WITHSCORES", SYNTAX),
        ("ZRANGESTORE t z 0 1 LIMIT 0 1", ONLY_WITH),
    ],
)
def test_mistakes_in_a_range(four, words, error):
    assert four.ask(*words.split()) == error


def test_members_in_a_range_are_counted(four):
    assert four.ask("ZCOUNT", "z", "(1", "inf") == b":3\r\n"
    assert four.ask("ZCOUNT", "z", "3", "2") == b":0\r\n"
    assert four.ask("ZCOUNT", "none", "0", "1") == b":0\r\n"
    assert four.ask("ZLEXCOUNT", "w", "[b", "+") == b":3\r\n"


@pytest.mark.parametrize(
    ("words", "removed", "left"),
    [
        ("ZREMRANGEBYRANK z 0 1", 2, "cd"),
        ("ZREMRANGEBYRANK z -1 -1", 1, "abc"),
        ("ZREMRANGEBYRANK z 7 9", 0, "abcd"),
        ("ZREMRANGEBYSCORE z (1 3", 2, "ad"),
        ("ZREMRANGEBYSCORE z -inf inf", 4, ""),
        ("ZREMRANGEBYLEX w (a [c", 2, "ad"),
        ("ZREMRANGEBYLEX none - +", 0, ""),
    ],
)
def test_members_in_a_range_are_removed(four, words, removed, left):
    assert four.read(*words.split()) == removed
    key = words.split()[1]
    assert joined(four, f"ZRANGE {key} 0 -1") == left
    assert four.read("EXISTS", key) == bool(left)


def test_members_in_a_range_are_stored(four):
    four.ask("SET", "t", "old")
    assert four.ask("ZRANGESTORE", "t", "z", "(1", "3", "BYSCORE") == b":2\r\n"
    assert joined(four, "ZRANGE t 0 -1 WITHSCORES") == "b2c3"
    assert four.ask("ZRANGESTORE", "t", "z", 0, 1, "REV") == b":2\r\n"
    assert joined(four, "ZRANGE t 0 -1") == "cd"
    assert four.ask("ZRANGESTORE", "t", "z", 7, 9) == b":0\r\n"
    assert four.ask("EXISTS", "t") == b":0\r\n"


# --------------------------------------------------------------------------- several
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ZUNION 2 p q", "acb"),
        ("ZUNION 2 p q WITHSCORES", "a1c3b12"),
        ("ZUNION 2 p q WEIGHTS 10 1 WITHSCORES", "c3a10b30"),
        ("ZUNION 2 p q AGGREGATE MAX WITHSCORES", "a1c3b10"),
        ("ZUNION 2 p s WITHSCORES", "a1e1b3"),
        ("ZUNION 2 p none", "ab"),
        ("ZINTER 2 p q WITHSCORES", "b12"),
        ("ZINTER 2 p q aggregate min weights 1 0.1 withscores", "b1"),
        ("ZINTER 2 p s WITHSCORES", "b3"),
        ("ZINTER 2 p none", ""),
        ("ZDIFF 2 p q WITHSCORES", "a1"),
        ("ZDIFF 2 q s", "c"),
        ("ZDIFF 1 p", "ab"),
        ("ZDIFF 2 none p", ""),
    ],
)
def test_sorted_sets_are_combined(wire, words, found):
    wire.ask("ZADD", "p", 1, "a", 2, "b")
    wire.ask("ZADD", "q", 10, "b", 3, "c")
    wire.ask("SADD", "s", "b", "e")
    assert joined(wire, words) == found
    name, *rest = words.split()
    if "WITHSCORES" in rest[-1].upper():
        shown = joined(wire, words)
        assert wire.read(f"{name}STORE", "t", *rest[:-1]) == len(wire.read(*words.split())) // 2
        assert joined(wire, "ZRANGE t 0 -1 WITHSCORES") == shown


def test_an_empty_result_removes_what_was_there(wire):
    for name in ("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"):
        wire.ask("SET", "t", "old")
        assert wire.ask(name, "t", 1, "none") == b":0\r\n"
        assert wire.ask("EXISTS", "t") == b":0\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_common_members_are_counted_up_to_a_limit(four):
    assert four.ask("ZINTERCARD", 2, "z", "w") == b":4\r\n"
    assert four.ask("ZINTERCARD", 2, "z", "w", "LIMIT", 3) == b":3\r\n"
    assert four.ask("ZINTERCARD", 2, "z", "none") == b":0\r\n"


def test_opposite_infinite_scores_are_zero_together(wire):
    wire.ask("ZADD", "p", "inf", "m", 0, "n")
    wire.ask("ZADD", "q", "-inf", "m")
    assert joined(wire, "ZUNION 2 p q WITHSCORES") == "m0n0"
    assert joined(wire, "ZINTER 2 p q WITHSCORES") == "m0"
    assert joined(wire, "ZUNION 1 p WEIGHTS inf WITHSCORES") == "n0minf"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ZUNION 0 z", b"-ERR at least 1 input key is needed for 'zunion' command\r\n"),
        ("ZDIFFSTORE t -1 z", b"-ERR at least 1 input key is needed for 'zdiffstore' command\r\n"),
        ("ZINTER x z", NOT_AN_INTEGER),
        ("ZUNION 2 z", SYNTAX),
        ("ZUNION 1 z WEIGHTS", SYNTAX),
        ("ZUNION 1 z WEIGHTS x", b"-ERR weight value is not a float\r\n"),
        ("ZINTER 1 z AGGREGATE MEAN", SYNTAX),
        ("ZDIFF 1 z WEIGHTS 1", SYNTAX),
        ("ZUNIONSTORE t 1 z WITHSCORES", SYNTAX),
        ("ZINTERCARD 1 z WITHSCORES", SYNTAX),
        ("ZINTERCARD 1 z LIMIT -1", b"-ERR LIMIT can't be negative\r\n"),
        ("ZINTERCARD 1 z LIMIT x", b"-ERR LIMIT can't be negative\r\n"),
    ],
)
def test_mistakes_in_a_combination(four, words, error):
    assert four.ask(*words.split()) == error


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("ZUNION 2 a b WITHSCORES", [b"a", b"b"]),
        ("ZUNIONSTORE t 2 a b", [b"t", b"a", b"b"]),
        ("ZRANGESTORE t a 0 1", [b"t", b"a"]),
        ("ZINTERCARD 1 a LIMIT 2", [b"a"]),
    ],
)
def test_keys_are_found_among_the_arguments(wire, words, keys):
    assert wire.read("COMMAND", "GETKEYS", *words.split()) == keys
