"""Commands on when keys vanish, over a socket."""

import time

import pytest

FAR = 4102444800  # the year 2100
ARITY = "-ERR wrong number of arguments for '%s' command\r\n"
NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
NX_ALONE = b"-ERR NX and XX, GT or LT options at the same time are not compatible\r\n"
GT_OR_LT = b"-ERR GT and LT options at the same time are not compatible\r\n"
SETTING = ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
ASKING = ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")


@pytest.fixture
def wire(wire):
    """With a key `a` that lives for ever."""
    seed(wire, "a")
    return wire


def seed(wire, key):
    assert wire.ask("AI.TENSORSET", key, "INT8", "1", "VALUES", "1") == b"+OK\r\n"


@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize("name", [*SETTING, *ASKING, "PERSIST"])
def test_a_wrong_number_of_arguments_is_refused(wire, name):
    error = (ARITY % name.lower()).encode()
    assert wire.ask(name) == error
    if name in SETTING:
        assert wire.ask(name, "a") == error
    else:
        assert wire.ask(name, "a", "b") == error


# --------------------------------------------------------------------------- setting
@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
def test_seconds_and_milliseconds_from_now_on(wire):
    assert wire.ask("EXPIRE", "a", "1000") == b":1\r\n"
    assert wire.read("TTL", "a") in {999, 1000}
    assert 990_000 < wire.read("PTTL", "a") <= 1_000_000
    assert wire.ask("PEXPIRE", "a", "2000000") == b":1\r\n"
    assert wire.read("TTL", "a") in {1999, 2000}
    assert abs(wire.read("PEXPIRETIME", "a") - (time.time() + 2000) * 1000) < 10_000
    assert abs(wire.read("EXPIRETIME", "a") - (time.time() + 2000)) < 10


@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
def test_a_unix_time_is_kept_to_the_millisecond(wire):
    assert wire.ask("EXPIREAT", "a", FAR) == b":1\r\n"
    assert wire.ask("EXPIRETIME", "a") == b":%d\r\n" % FAR
    assert wire.ask("PEXPIRETIME", "a") == b":%d\r\n" % (FAR * 1000)
    for extra in (1, 499, 500, 999):
        assert wire.ask("PEXPIREAT", "a", FAR * 1000 + extra) == b":1\r\n"
        assert wire.ask("PEXPIRETIME", "a") == b":%d\r\n" % (FAR * 1000 + extra)
        assert wire.ask("EXPIRETIME", "a") == b":%d\r\n" % (FAR + (extra >= 500))


@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
def test_the_latest_time_of_all_is_not_answered_as_a_later_one(wire):
    assert wire.ask("PEXPIREAT", "a", 2**63 - 1) == b":1\r\n"
    assert wire.ask("PEXPIRETIME", "a") == b":%d\r\n" % (2**63 - 1)
    assert wire.ask("EXISTS", "a") == b":1\r\n"


@pytest.mark.parametrize("name", SETTING)
def test_a_missing_key_gets_no_expiry(wire, name):
    assert wire.ask(name, "none", FAR) == b":0\r\n"


@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    "request_line",
    [
        "EXPIRE a 0",
        "EXPIRE a -1",
        "PEXPIRE a -1",
        "EXPIREAT a 1",
        "PEXPIREAT a 1",
        "EXPIRE a -5 LT",
        "PEXPIRE a -9223372036854775808",
    ],
)
def test_a_time_that_has_passed_deletes_the_key(wire, request_line):
    assert wire.ask(*request_line.split()) == b":1\r\n"
    assert wire.ask("EXISTS", "a") == b":0\r\n"
    assert wire.ask("DBSIZE") == b":0\r\n"


def test_a_key_vanishes_when_its_time_has_come(wire):
    seed(wire, "b")
    assert wire.ask("PEXPIRE", "a", "20") == b":1\r\n"
    assert wire.ask("PEXPIRE", "b", "20") == b":1\r\n"
    until(lambda: wire.ask("EXISTS", "a") == b":0\r\n")
    assert wire.ask("TYPE", "a") == b"+none\r\n"
    # Nobody asks for the other one, and it goes as well.
    until(lambda: wire.ask("DBSIZE") == b":0\r\n")


def until(condition):
    """Looks again and again; what does not come in ten seconds will not come."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_storing_a_value_takes_the_expiry_away(wire):
    wire.ask("EXPIREAT", "a", FAR)
    seed(wire, "a")
    assert wire.ask("TTL", "a") == b":-1\r\n"


# --------------------------------------------------------------------------- conditions
@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("before", "condition", "is_set"),
    [
        (None, "NX", True),
        (FAR, "NX", False),
        (None, "XX", False),
        (FAR, "XX", True),
        (None, "GT", False),
        (FAR - 1, "GT", True),
        (FAR, "GT", False),
        (FAR + 1, "GT", False),
        (None, "LT", True),
        (FAR - 1, "LT", False),
        (FAR, "LT", False),
        (FAR + 1, "LT", True),
        (None, "XX LT", False),
        (FAR + 1, "XX LT", True),
        (FAR - 1, "gt xx", True),
        (FAR, "XX XX", True),
        (None, "nx NX", True),
    ],
)
def test_an_expiry_is_set_when_its_condition_holds(wire, before, condition, is_set):
    if before is not None:
        wire.ask("EXPIREAT", "a", before)
    assert wire.read("EXPIREAT", "a", FAR, *condition.split()) == is_set
    assert wire.read("EXPIRETIME", "a") == (FAR if is_set else before or -1)


@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
def test_a_time_that_has_passed_does_not_delete_against_its_condition(wire):
    assert wire.ask("EXPIREAT", "a", "1", "GT") == b":0\r\n"
    assert wire.ask("EXPIREAT", "a", "1", "XX") == b":0\r\n"
    assert wire.ask("EXISTS", "a") == b":1\r\n"


@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize("name", SETTING)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("NX XX", NX_ALONE),
        ("GT NX", NX_ALONE),
        ("NX LT", NX_ALONE),
        ("NX GT LT", NX_ALONE),
        ("GT LT", GT_OR_LT),
        ("XX LT GT", GT_OR_LT),
        ("bogus", b"-ERR Unsupported option bogus\r\n"),
        ("NX XX bo\0gus", b"-ERR Unsupported option bo\r\n"),
    ],
)
def test_conditions_that_contradict_each_other_are_refused_first(wire, name, options, error):
    assert wire.ask(name, "a", "1", *options.split(" ")) == error
    assert wire.ask(name, "none", "x", *options.split(" ")) == error
    assert wire.ask("EXISTS", "a") == b":1\r\n"


# --------------------------------------------------------------------------- times that are none
@pytest.mark.parametrize("name", SETTING)
@pytest.mark.parametrize("number", ["x", "", "1.5", "01", "+1", " 1", "9223372036854775808"])
def test_a_time_must_be_an_integer(wire, name, number):
    assert wire.ask(name, "a", number) == NOT_AN_INTEGER
    assert wire.ask(name, "none", number) == NOT_AN_INTEGER


@pytest.mark.memory_store("conditions and EXPIRETIME came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    "request_line",
    [
        "EXPIRE a 9223372036854775807",
        "EXPIRE a 9223372036854775",
        "EXPIRE a -9223372036854776",
        "PEXPIRE a 9223372036854775807",
        "EXPIREAT a 9223372036854776",
        "EXPIREAT a -9223372036854775808",
        "EXPIRE none 9223372036854775807",
        "EXPIRE a 9223372036854775807 NX",
    ],
)
def test_a_time_beyond_all_numbers_is_refused(wire, request_line):
    name = request_line.split()[0].lower()
    error = f"-ERR invalid expire time in '{name}' command\r\n".encode()
    assert wire.ask(*request_line.split()) == error
    assert wire.ask("TTL", "a") == b":-1\r\n"


# --------------------------------------------------------------------------- asking, taking back
@pytest.mark.memory_store("the command came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize("name", ASKING)
def test_a_key_without_expiry_and_a_missing_key_have_numbers_of_their_own(wire, name):
    assert wire.ask(name, "a") == b":-1\r\n"
    assert wire.ask(name, "none") == b":-2\r\n"


def test_an_expiry_is_taken_back(wire):
    wire.ask("EXPIREAT", "a", FAR)
    assert wire.ask("PERSIST", "a") == b":1\r\n"
    assert wire.ask("TTL", "a") == b":-1\r\n"
    assert wire.ask("PERSIST", "a") == b":0\r\n"
    assert wire.ask("PERSIST", "none") == b":0\r\n"


def test_what_is_left_is_rounded_to_the_nearest_second(wire):
    for milliseconds in (100_400, 100_700):
        wire.ask("PEXPIRE", "a", milliseconds)
        before = wire.read("PTTL", "a")
        seconds = wire.read("TTL", "a")
        after = wire.read("PTTL", "a")
        assert (after + 500) // 1000 <= seconds <= (before + 500) // 1000
