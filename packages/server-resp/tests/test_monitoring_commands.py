"""MONITOR, SLOWLOG, LATENCY and CLIENT TRACKING over a socket."""

import re

import pytest

from tensorkeep_server.monitor_line import monitor_line
from tensorkeep_server.testing import WireError, read_value

LINE = re.compile(rb"\+\d{10}\.\d{6} \[(\d+) (\S+)\] (.*)\r\n", re.DOTALL)


# --------------------------------------------------------------------------- MONITOR
def shown(monitor, count):
    """Returns databases and commands of the next lines."""
    found = [LINE.fullmatch(monitor.reply()) for _ in range(count)]
    return [(int(match[1]), match[3].decode()) for match in found]


@pytest.fixture
def monitor(connect):
    monitor = connect()
    assert monitor.ask("MONITOR") == b"+OK\r\n"
    return monitor


def test_a_line_shows_any_bytes():
    line = monitor_line(
        [b"SeT", b'k\0\n"\\', memoryview(b"\xff\a\b\t\r ~\x7f"), b""],
        at=1339518083.1074119, database=2, address="127.0.0.1:60866",
    )  # fmt: skip
    assert line == (
        b'+1339518083.107412 [2 127.0.0.1:60866] "SeT" "k\\x00\\n\\"\\\\"'
        b' "\\xff\\a\\b\\t\\r ~\\x7f" ""\r\n'
    )


def test_what_is_long_is_cut():
    line = monitor_line([b"SET", b"\0" * 1025, b"x" * 1024], at=1.0, database=0, address="a")
    assert line == b'+1.000000 [0 a] "SET" "%b... (1 more bytes)" "%b"\r\n' % (
        *(b"\\x00" * 1024, b"x" * 1024),
    )
    many = monitor_line([b"DEL", *[b"k" * 98] * 1000], at=1.0, database=0, address="a")
    assert len(many) < 70_000
    assert many.endswith(b' "... (344 more arguments)"\r\n')


@pytest.mark.memory_store("MONITOR shows what the engine is asked for")
def test_monitor_shows_what_others_do_as_they_typed_it(wire, monitor):
    wire.ask("GeT", "k")
    wire.ask("SELECT", 3)
    wire.ask("AI.TENSORGET", "none")
    assert shown(monitor, 3) == [
        *((0, '"GeT" "k"'), (3, '"SELECT" "3"'), (3, '"AI.TENSORGET" "none"')),
    ]


@pytest.mark.memory_store("the engine knows the address of this server alone")
def test_monitor_names_the_client(wire, monitor):
    host, port = wire.socket.getsockname()
    wire.ask("PING")
    assert LINE.fullmatch(monitor.reply())[2] == f"{host}:{port}".encode()


def test_operators_commands_and_what_is_not_done_are_not_shown(wire, monitor):
    for command in (("CONFIG", "GET", "x"), ("SLOWLOG", "LEN"), ("NOSUCH",), ("GET",)):
        wire.ask(*command)
    wire.ask("PING")
    assert shown(monitor, 1) == [(0, '"PING"')]


def test_a_transaction_is_shown_when_it_is_done(wire, monitor):
    for command in (("MULTI",), ("SET", "k", "v"), ("GET", "k"), ("EXEC",), ("EXEC",)):
        wire.ask(*command)
    assert [command for _, command in shown(monitor, 5)] == [
        *('"MULTI"', '"SET" "k" "v"', '"GET" "k"', '"EXEC"', '"EXEC"'),
    ]


@pytest.mark.memory_store("MONITOR shows what the engine is asked for")
def test_what_a_transaction_has_prepared_is_shown_in_its_place(wire, monitor):
    store = ("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", "{}")
    for command in (("MULTI",), ("SET", "a", "1"), store, ("SET", "b", "1"), ("EXEC",)):
        wire.ask(*command)
    assert [command.split()[0] for _, command in shown(monitor, 5)] == [
        *('"MULTI"', '"SET"', '"AI.MODELSTORE"', '"SET"', '"EXEC"'),
    ]


def test_passwords_are_not_shown(wire, monitor):
    wire.ask("AUTH", "default", "secret")
    wire.ask("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me")
    assert [command for _, command in shown(monitor, 2)] == [
        '"AUTH" "(redacted)" "(redacted)"',
        '"HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me"',
    ]


@pytest.mark.memory_store("the engine decides what it shows")
def test_passwords_are_not_shown_wherever_they_stand(wire, monitor):
    wire.ask("HELLO", "3", "SETNAME", "AUTH", "AUTH", "default", "secret")
    wire.ask("HELLO", "2", "AUTH", "default", "secret", "auth", "default", "secret")
    wire.ask("HELLO", "AUTH", "default", "secret")
    assert not any("secret" in command for _, command in shown(monitor, 3))


@pytest.mark.memory_store("the engine shows its own connection")
def test_a_monitor_shows_in_the_client_list_until_it_is_reset(wire, connect):
    monitor = connect()
    number = monitor.read("CLIENT", "ID")
    monitor.ask("MONITOR")
    assert b" flags=O " in wire.read("CLIENT", "LIST", "ID", number)
    assert monitor.ask("RESET") == b"+RESET\r\n"
    wire.ask("PING")
    assert monitor.ask("ECHO", "still here") == b"$10\r\nstill here\r\n"
    assert b" flags=N " in wire.read("CLIENT", "LIST", "ID", number)


def test_a_monitor_that_went_away_is_forgotten(wire, monitor, server):
    monitor.close()
    while b"connected_clients:1\r\n" not in wire.read("INFO", "clients"):
        pass
    assert not server.monitors
    assert not server.observed


def test_a_transaction_cannot_monitor(wire):
    wire.ask("MULTI")
    wire.ask("MONITOR")
    assert wire.read("EXEC") == [
        WireError("ERR MONITOR isn't allowed for DENY BLOCKING client"),
    ]


# --------------------------------------------------------------------------- SLOWLOG
@pytest.mark.memory_store("the log of slow commands is the engine's")
def test_commands_that_take_long_are_kept_and_by_default_few_do(wire):
    assert wire.read("CONFIG", "GET", "slowlog-*") == [
        *(b"slowlog-log-slower-than", b"10000", b"slowlog-max-len", b"128"),
    ]
    wire.ask("CLIENT", "SETNAME", "me")
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    wire.ask("sEt", "k", "v" * 200)
    wire.ask("LPUSH", "k", "v")
    host, port = wire.socket.getsockname()
    failed, done, _ = wire.read("SLOWLOG", "GET")
    assert failed[3] == [b"LPUSH", b"k", b"v"]
    assert done[0] == failed[0] - 1
    assert 0 <= done[2] < 10_000_000
    assert done[3] == [b"sEt", b"k", b"v" * 128 + b"... (72 more bytes)"]
    assert done[4:] == [f"{host}:{port}".encode(), b"me"]


@pytest.mark.memory_store("the log of slow commands is the engine's")
def test_the_time_of_a_run_counts(wire, connect, fake):
    other = connect()
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "50000")
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "block"}')
    run = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    wire.send(*run)
    fake.await_calls("model_run")
    wire.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        wire.socket.recv(1)  # it waits for longer than the limit
    wire.socket.settimeout(30)
    fake.release()
    while other.ask("EXISTS", "y") == b":0\r\n":
        pass
    (entry,) = other.read("SLOWLOG", "GET", "-1")
    assert entry[3] == [str(word).encode() for word in run]
    assert entry[2] >= 50_000


@pytest.mark.memory_store("the log of slow commands is the engine's")
def test_the_log_is_asked_for_some_and_forgotten(wire):
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    for number in range(15):
        wire.ask("ECHO", number)
    assert len(wire.read("SLOWLOG", "GET")) == 10
    assert len(wire.read("SLOWLOG", "GET", "2")) == 2
    assert wire.read("SLOWLOG", "LEN") == 18
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    assert wire.ask("SLOWLOG", "RESET") == b"+OK\r\n"
    wire.ask("ECHO", "x")
    assert wire.ask("SLOWLOG", "LEN") == b":0\r\n"


@pytest.mark.memory_store("the log of slow commands is the engine's")
def test_the_commands_of_a_transaction_are_kept_one_by_one(wire):
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    for command in ("MULTI", "PING", "EXEC"):
        wire.ask(command)
    kept = [entry[3][0] for entry in wire.read("SLOWLOG", "GET")]
    assert kept == [b"PING", b"MULTI", b"CONFIG"]


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("-2",), "ERR count should be greater than or equal to -1"),
        (("x",), "ERR count should be greater than or equal to -1"),
        (
            ("1", "2"),
            "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
        ),
    ],
)
def test_a_log_is_not_asked_for_nonsense(wire, arguments, line):
    assert wire.read("SLOWLOG", "GET", *arguments) == WireError(line)


# --------------------------------------------------------------------------- LATENCY
def test_there_are_no_latency_events(wire):
    assert wire.ask("LATENCY", "LATEST") == b"*0\r\n"
    assert wire.ask("LATENCY", "HISTORY", "command") == b"*0\r\n"
    assert wire.ask("LATENCY", "RESET") == b":0\r\n"
    assert wire.ask("LATENCY", "RESET", "command", "fork") == b":0\r\n"
    assert wire.read("CONFIG", "GET", "latency-monitor-threshold")[1] == b"0"


@pytest.mark.memory_store("the engine's words")
def test_the_doctor_says_where_to_look(wire):
    assert b"SLOWLOG GET" in wire.read("LATENCY", "DOCTOR")


# --------------------------------------------------------------------------- CLIENT TRACKING
@pytest.mark.memory_store("the engine can do it")
@pytest.mark.parametrize(
    "command",
    [
        ("CLIENT", "TRACKING", "ON"),
        ("CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "a"),
        ("CLIENT", "CACHING", "YES"),
    ],
)
def test_who_wants_to_cache_is_told_that_changes_are_not(wire, command):
    reply = wire.read(*command)
    assert isinstance(reply, WireError)
    assert reply.startswith(f"ERR CLIENT {command[1]} is not supported: ")


def test_what_is_not_there_can_be_switched_off(wire):
    assert wire.ask("CLIENT", "TRACKING", "OFF") == b"+OK\r\n"


def test_nothing_is_tracked_and_nobody_is_told(wire):
    flags, redirect = b"$5\r\nflags\r\n", b"$8\r\nredirect\r\n:-1\r\n"
    prefixes = b"$8\r\nprefixes\r\n*0\r\n"
    assert wire.ask("CLIENT", "GETREDIR") == b":-1\r\n"
    assert wire.ask("CLIENT", "TRACKINGINFO") == (
        b"*6\r\n" + flags + b"*1\r\n$3\r\noff\r\n" + redirect + prefixes
    )
    wire.ask("HELLO", 3)
    assert wire.ask("CLIENT", "TRACKINGINFO") == (
        b"%3\r\n" + flags + b"~1\r\n$3\r\noff\r\n" + redirect + prefixes
    )


# --------------------------------------------------------------------------- the output limit
LIMIT = "client-output-buffer-limit"
USUAL = b"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"


@pytest.mark.memory_store("settings are the engine's")
def test_the_limit_of_a_class_can_be_changed(wire, server):
    assert wire.read("CONFIG", "GET", LIMIT) == [LIMIT.encode(), USUAL]
    wire.ask("CONFIG", "SET", LIMIT, "normal 0 0 0 PubSub 1mb 512k 30")
    assert server.client_limits.output.pubsub == (1024 * 1024, 512_000, 30)
    wire.ask("CONFIG", "SET", LIMIT, "")
    assert server.client_limits.output.pubsub == (1024 * 1024, 512_000, 30)
    wire.ask("CONFIG", "SET", LIMIT, USUAL)
    assert wire.read("CONFIG", "GET", LIMIT) == [LIMIT.encode(), USUAL]


@pytest.mark.memory_store("settings are the engine's")
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("pubsub 1 2", "Wrong number of arguments in buffer limit configuration."),
        ("foo 1 2 3", "Invalid client class specified in buffer limit configuration."),
        ("pubsub x 2 3", "Error in hard, soft or soft_seconds setting in buffer limit"),
        ("pubsub -1 0 0", "Error in hard, soft or soft_seconds setting in buffer limit"),
        ("pubsub 1 2 3mb", "Error in hard, soft or soft_seconds setting in buffer limit"),
    ],
)
def test_a_limit_that_is_none_is_refused(wire, value, why):
    reply = wire.read("CONFIG", "SET", LIMIT, value)
    assert f"'{LIMIT}') - {why}" in reply
    assert read_value(wire.ask("CONFIG", "GET", LIMIT))[1] == USUAL
