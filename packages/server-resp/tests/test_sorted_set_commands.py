"""Commands on the members of a sorted set, over a socket."""

import pytest

from tensorkeep_server.testing import WireError

NULL = b"$-1\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NOT_A_FLOAT = b"-ERR value is not a valid float\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NOT_POSITIVE = b"-ERR value is out of range, must be positive\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
LONG = "m" * 65  # longer than a member of a small one may be


def scored(wire, key="z"):
    """Returns the members in their order, each with its score."""
    flat = wire.read("ZRANGE", key, 0, -1, "WITHSCORES")
    return dict(zip(flat[::2], flat[1::2], strict=True))


def add(wire, *words, key="z"):
    return wire.ask("ZADD", key, *words)


# --------------------------------------------------------------------------- mistakes
@pytest.mark.memory_store(
    "Valkey has more options",
    on=(
        "valkey-8.1",
        "valkey-9.1",
    ),
)
@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    "words",
    [
        *("ZADD z 1", "ZINCRBY z 1", "ZINCRBY z 1 m 2", "ZREM z", "ZCARD", "ZCARD z m", "ZSCORE z"),
        *("ZMSCORE z", "ZRANK z", "ZRANK z m n", "ZREVRANK z", "ZPOPMIN", "ZPOPMAX"),
        *("ZRANDMEMBER", "ZSCAN z", "ZCOUNT z 1", "ZLEXCOUNT z -", "ZRANGE z 0", "ZREVRANGE z 0"),
        *("ZRANGEBYSCORE z 0", "ZREVRANGEBYSCORE z 0", "ZRANGEBYLEX z -", "ZREVRANGEBYLEX z +"),
        *("ZRANGESTORE t z 0", "ZREMRANGEBYRANK z 0", "ZREMRANGEBYSCORE z 0", "ZREMRANGEBYLEX z -"),
        *("ZUNION 1", "ZINTER 1", "ZDIFF 1", "ZINTERCARD 1", "ZUNIONSTORE t 1", "ZDIFFSTORE t 1"),
        "ZINTERSTORE t 1",
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
        *("ZADD x 1 m", "ZADD x XX 1 m", "ZINCRBY x 1 m", "ZREM x m", "ZCARD x", "ZSCORE x m"),
        *("ZMSCORE x m", "ZRANK x m", "ZREVRANK x m", "ZPOPMIN x", "ZPOPMAX x 0", "ZRANDMEMBER x"),
        *("ZRANDMEMBER x 1", "ZSCAN x 0", "ZSCAN x 0 bogus", "ZCOUNT x 0 1", "ZLEXCOUNT x - +"),
        *("ZRANGE x 0 1", "ZREVRANGE x 0 1", "ZRANGEBYSCORE x 0 1", "ZREVRANGEBYSCORE x 1 0"),
        *("ZRANGEBYLEX x - +", "ZREVRANGEBYLEX x + -", "ZRANGESTORE t x 0 1"),
        *("ZREMRANGEBYRANK x 0 1", "ZREMRANGEBYSCORE x 0 1", "ZREMRANGEBYLEX x - +"),
        *("ZUNION 2 z x", "ZINTER 2 none x", "ZDIFF 2 none x", "ZINTERCARD 1 x bogus"),
        *("ZUNIONSTORE t 2 z x", "ZINTERSTORE t 1 x bogus", "ZDIFFSTORE t 2 x z"),
    ],
)
@pytest.mark.parametrize("other", ["AI.TENSORSET x INT8 1", "HSET x f v"])
def test_a_key_of_another_type_is_refused(wire, words, other):
    wire.ask(*other.split())
    add(wire, 1, "m")
    assert wire.ask(*words.split()) == WRONG_TYPE
    assert scored(wire) == {b"m": b"1"}
    assert wire.ask("EXISTS", "t") == b":0\r\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("1 m 2", SYNTAX),
        ("NX XX", SYNTAX),
        ("NX XX 1 m", b"-ERR XX and NX options at the same time are not compatible\r\n"),
        ("INCR 1 m 2 n", b"-ERR INCR option supports a single increment-element pair\r\n"),
        ("x m", NOT_A_FLOAT),
        ("1 m nan n", NOT_A_FLOAT),
        ("1_0 m", NOT_A_FLOAT),
        ("bogus 1 m", SYNTAX),
    ],
)
def test_a_mistake_in_an_addition_changes_nothing(wire, words, error):
    add(wire, 7, "m")
    assert add(wire, *words.split()) == error
    assert scored(wire) == {b"m": b"7"}


@pytest.mark.parametrize("words", ["GT LT 1 m", "NX GT 1 m", "LT NX 1 m"])
def test_options_that_contradict_each_other_are_refused(wire, words):
    assert add(wire, *words.split()) == (
        b"-ERR GT, LT, and/or NX options at the same time are not compatible\r\n"
    )


# --------------------------------------------------------------------------- adding
def test_members_stand_in_the_order_of_their_scores_and_then_of_their_bytes(wire):
    assert add(wire, 2, "b", 1, "z", 2, "a", "-inf", "last", 1, b"\xff") == b":5\r\n"
    assert [*scored(wire)] == [b"last", b"z", b"\xff", b"a", b"b"]
    assert wire.ask("ZCARD", "z") == b":5\r\n"


def test_a_member_has_its_last_score(wire):
    assert add(wire, 1, "a", 2, "b", 3, "a") == b":2\r\n"
    assert add(wire, 5, "b") == b":0\r\n"
    assert scored(wire) == {b"a": b"3", b"b": b"5"}


@pytest.mark.parametrize(
    ("options", "reply", "after"),
    [
        ("NX", b":1\r\n", {b"m": b"5", b"n": b"6"}),
        ("XX", b":0\r\n", {b"m": b"6"}),
        ("CH", b":2\r\n", {b"m": b"6", b"n": b"6"}),
        ("XX CH", b":1\r\n", {b"m": b"6"}),
        ("GT CH", b":2\r\n", {b"m": b"6", b"n": b"6"}),
        ("LT CH", b":1\r\n", {b"m": b"5", b"n": b"6"}),
        ("XX LT CH", b":0\r\n", {b"m": b"5"}),
        ("nx ch", b":1\r\n", {b"m": b"5", b"n": b"6"}),
    ],
)
def test_options_say_what_may_change(wire, options, reply, after):
    add(wire, 5, "m")
    assert add(wire, *options.split(), 6, "m", 6, "n") == reply
    assert scored(wire) == after


def test_nothing_is_made_where_only_what_is_there_may_change(wire):
    assert add(wire, "XX", 1, "m") == b":0\r\n"
    assert add(wire, "XX", "INCR", 1, "m") == NULL
    assert wire.ask("EXISTS", "z") == b":0\r\n"


@pytest.mark.memory_store(
    "Valkey shows the shortest digits that mean a number", on=("valkey-8.1", "valkey-9.1")
)
def test_scores_are_added_to(wire):
    assert wire.ask("ZINCRBY", "z", "1.5", "m") == b"$3\r\n1.5\r\n"
    assert add(wire, "INCR", "0.1", "m") == b"$18\r\n1.6000000000000001\r\n"
    assert add(wire, "INCR", "LT", "1", "m") == NULL
    assert add(wire, "INCR", "NX", "1", "m") == NULL
    wire.ask("HELLO", "3")
    assert wire.ask("ZINCRBY", "z", "0", "m") == b",1.6000000000000001\r\n"
    assert add(wire, "INCR", "XX", "1", "none") == b"_\r\n"


def test_opposite_infinite_scores_have_no_sum(wire):
    add(wire, "inf", "m")
    assert wire.ask("ZINCRBY", "z", "-inf", "m") == (
        b"-ERR resulting score is not a number (NaN)\r\n"
    )
    assert add(wire, "INCR", "NX", "-inf", "m") == NULL
    assert scored(wire) == {b"m": b"inf"}


def test_an_option_of_an_addition_is_one_of_an_increment_too(wire):
    assert wire.ask("ZINCRBY", "z", "nx", "m") == SYNTAX


@pytest.mark.memory_store(
    "Valkey shows the shortest digits that mean a number", on=("valkey-8.1", "valkey-9.1")
)
@pytest.mark.parametrize(
    ("score", "shown"),
    [
        ("3.0", b"3"),
        ("0.1", b"0.10000000000000001"),
        ("1e17", b"1e+17"),
        ("-Infinity", b"-inf"),
        ("0x10", b"16"),
        ("5e-324", b"4.9406564584124654e-324"),
        ("4503599627370497", b"4503599627370497"),
    ],
)
def test_scores_are_shown_with_all_of_their_digits(wire, score, shown):
    add(wire, score, "m")
    assert wire.ask("ZSCORE", "z", "m") == b"$%d\r\n%b\r\n" % (len(shown), shown)
    wire.ask("HELLO", "3")
    assert wire.ask("ZSCORE", "z", "m") == b",%b\r\n" % shown


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_small_one_keeps_no_sign_of_zero(wire):
    add(wire, "-0", "m")
    assert wire.read("ZSCORE", "z", "m") == b"0"
    add(wire, 1, LONG)
    add(wire, "-0", "n")
    assert wire.read("ZSCORE", "z", "n") == b"-0"
    assert wire.read("OBJECT", "ENCODING", "z") == b"skiplist"


# --------------------------------------------------------------------------- asking, removing
def test_scores_and_ranks_are_asked_for(wire):
    add(wire, 1, "a", 2, "b", 3, "c")
    assert wire.read("ZSCORE", "z", "b") == b"2"
    assert wire.ask("ZMSCORE", "z", "c", "none", "a") == b"*3\r\n$1\r\n3\r\n$-1\r\n$1\r\n1\r\n"
    assert wire.ask("ZRANK", "z", "c") == b":2\r\n"
    assert wire.ask("ZREVRANK", "z", "c") == b":0\r\n"
    for words in ("ZSCORE z none", "ZRANK z none", "ZREVRANK none c", "ZSCORE none c"):
        assert wire.ask(*words.split()) == NULL
    assert wire.ask("ZMSCORE", "none", "a") == b"*1\r\n$-1\r\n"
    assert wire.ask("ZCARD", "none") == b":0\r\n"


def test_a_sorted_set_vanishes_with_its_last_member(wire):
    add(wire, 1, "a", 2, "b")
    assert wire.ask("ZREM", "z", "a", "none", "a") == b":1\r\n"
    assert wire.ask("ZREM", "z", "none") == b":0\r\n"
    assert wire.ask("ZREM", "z", "b", "b") == b":1\r\n"
    assert wire.ask("EXISTS", "z") == b":0\r\n"
    assert wire.ask("ZREM", "z", "b") == b":0\r\n"


def test_members_are_bytes_of_any_kind(wire):
    words = (b"", b"\0\xff\r\n", b"x" * 100_000, b"-0", b"NX")
    assert add(wire, *(word for member in words for word in (1, member))) == b":5\r\n"
    assert set(wire.read("ZRANGE", "z", 0, -1)) == set(words)


# --------------------------------------------------------------------------- popping, drawing
def test_the_least_and_the_greatest_are_popped(wire):
    add(wire, 1, "a", 2, "b", 3, "c", 4, "d")
    assert wire.ask("ZPOPMIN", "z") == b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"
    assert wire.read("ZPOPMAX", "z", 2) == [b"d", b"4", b"c", b"3"]
    assert wire.ask("ZPOPMIN", "z", "0") == b"*0\r\n"
    assert wire.read("ZPOPMIN", "z", 2**63 - 1) == [b"b", b"2"]
    assert wire.ask("EXISTS", "z") == b":0\r\n"
    assert wire.ask("ZPOPMAX", "z") == b"*0\r\n"


def test_popped_members_are_pairs_in_resp3_when_they_are_counted(wire):
    add(wire, 1, "a", 2, "b")
    wire.ask("HELLO", "3")
    assert wire.ask("ZPOPMIN", "z") == b"*2\r\n$1\r\na\r\n,1\r\n"
    assert wire.ask("ZPOPMIN", "z", 1) == b"*1\r\n*2\r\n$1\r\nb\r\n,2\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ZPOPMIN z -1", NOT_POSITIVE),
        ("ZPOPMAX z x", NOT_POSITIVE),
        ("ZPOPMIN z 1 2", SYNTAX),
        ("ZRANDMEMBER z x", NOT_AN_INTEGER),
        ("ZRANDMEMBER z 1 bogus", SYNTAX),
        ("ZRANDMEMBER z 4611686018427387904 WITHSCORES", b"-ERR value is out of range\r\n"),
        ("ZSCAN z x", b"-ERR invalid cursor\r\n"),
        ("ZSCAN z 0 TYPE zset", SYNTAX),
    ],
)
def test_mistakes_in_counts_and_cursors(wire, words, error):
    add(wire, 1, "m")
    assert wire.ask(*words.split()) == error


def test_members_are_drawn_with_their_scores(wire):
    add(wire, 1, "a", 2, "b")
    assert wire.read("ZRANDMEMBER", "z") in {b"a", b"b"}
    assert set(wire.read("ZRANDMEMBER", "z", 9)) == {b"a", b"b"}
    assert len(wire.read("ZRANDMEMBER", "z", -9)) == 9
    assert len(wire.read("ZRANDMEMBER", "z", 1, "WITHSCORES")) == 2
    wire.ask("HELLO", "3")
    assert sorted(wire.read("ZRANDMEMBER", "z", 2, "withscores")) == [[b"a", 1.0], [b"b", 2.0]]
    assert wire.ask("ZRANDMEMBER", "none", 2) == b"*0\r\n"
    assert wire.ask("ZRANDMEMBER", "none") == b"_\r\n"


@pytest.mark.memory_store("the size of a page is the engine's")
def test_a_large_one_is_scanned_in_pieces(wire):
    add(wire, *(word for n in range(300) for word in (n / 2, f"m{n}")))
    found, cursor = {}, b"0"
    while True:
        cursor, flat = wire.read("ZSCAN", "z", cursor, "MATCH", "m*", "COUNT", 20)
        assert len(flat) <= 40
        found.update(zip(flat[::2], flat[1::2], strict=True))
        if cursor == b"0":
            break
    assert found == {b"m%d" % n: b"%g" % (n / 2) for n in range(300)}


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_scan_shows_whole_scores_of_a_small_one_as_integers(wire):
    add(wire, "1e17", "m")
    assert wire.read("ZSCAN", "z", 0) == [b"0", [b"m", b"100000000000000000"]]
    add(wire, 0.5, LONG)
    assert dict(zip(*[iter(wire.read("ZSCAN", "z", 0)[1])] * 2, strict=True)) == {
        b"m": b"1e+17",
        LONG.encode(): b"0.5",
    }
    assert wire.read("ZSCAN", "none", 0) == [b"0", []]


# --------------------------------------------------------------------------- as any key
@pytest.mark.memory_store("the engine's values take less memory")
def test_it_is_a_key_as_any_other(wire):
    add(wire, 1, "m")
    assert wire.ask("TYPE", "z") == b"+zset\r\n"
    assert wire.read("OBJECT", "ENCODING", "z") == b"listpack"
    assert wire.read("SCAN", 0, "TYPE", "zset") == [b"0", [b"z"]]
    assert wire.read("MEMORY", "USAGE", "z") > 300
    assert wire.ask("COPY", "z", "y") == b":1\r\n"
    add(wire, 2, "n", key="y")
    assert scored(wire) == {b"m": b"1"}
    assert wire.ask("EXPIRE", "z", 100) == b":1\r\n"
    add(wire, 3, "m")
    assert 90 < wire.read("TTL", "z") <= 100


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        *(("ZADD z 2 m", True), ("ZADD z 1 m", False), ("ZADD z NX 2 m", False)),
        *(("ZINCRBY z 1 m", True), ("ZREM z m", True), ("ZREM z none", False)),
        *(("ZPOPMIN z", True), ("ZPOPMIN z 0", False), ("ZREMRANGEBYSCORE z 2 3", False)),
        *(("ZREMRANGEBYLEX z - +", True), ("ZRANGESTORE z z 0 0", True)),
        ("ZUNIONSTORE z 1 none", True),
    ],
)
def test_who_watches_it_notices_changes(wire, connect, words, changes):
    add(wire, 1, "m")
    wire.ask("WATCH", "z")
    connect().ask(*words.split())
    wire.ask("MULTI")
    assert (wire.ask("EXEC") == b"*-1\r\n") is changes


@pytest.mark.parametrize("options", [(), ("NX",), ("XX",), ("GT",), ("LT",), ("XX", "GT", "CH")])
@pytest.mark.parametrize("again", [False, True], ids=["each once", "some twice"])
def test_many_members_are_added_as_if_one_after_the_other(wire, options, again):
    pairs = [(f"m{number}", number * 37 % 101) for number in range(300)]
    pairs += [(f"m{number}", 50) for number in range(40 * again)]
    for key in ("one", "other"):
        wire.ask("ZADD", key, *[word for number in range(200) for word in (40, f"m{number}")])

    count = wire.read("ZADD", "one", *options, *[word for m, s in pairs for word in (s, m)])

    assert count == sum(wire.read("ZADD", "other", *options, s, m) for m, s in pairs)
    assert wire.ask("ZRANGE", "one", 0, -1, "WITHSCORES") == wire.ask(
        "ZRANGE", "other", 0, -1, "WITHSCORES"
    )


def test_many_scores_that_change_nothing_are_no_change(wire):
    words = [word for number in range(300) for word in (number, f"m{number}")]
    wire.ask("ZADD", "z", *words)
    wire.ask("WATCH", "z")
    assert wire.ask("ZADD", "z", "CH", *words) == b":0\r\n"
    wire.ask("MULTI")
    assert wire.ask("EXEC") == b"*0\r\n"
