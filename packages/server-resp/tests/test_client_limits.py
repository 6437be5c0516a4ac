"""What a client may hold, and how long it may be idle: what is decided, and what clients see."""

import socket
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from tensorkeep_server.client_limits import ClientLimits, Share, excess, read_share
from tensorkeep_server.client_memory import Held
from tensorkeep_server.output_limit import Arrears, OutputLimit, OutputLimits, read_limits
from tensorkeep_server.testing import Wire, port_of, request, running_server

MIB = 1024 * 1024
DEFAULTS = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"


# ------------------------------------------------------------------ what is decided
@pytest.mark.parametrize(
    ("word", "shown", "within"),
    [
        ("0", "0", 0),
        ("0%", "0", 0),
        ("1", "1", 128 * 1024),
        ("1gb", str(2**30), 2**30),
        ("5%", "5%", 50 * MIB),
        ("100%", "100%", 1000 * MIB),
    ],
)
def test_what_all_clients_may_hold_is_bytes_or_percents(word, shown, within):
    share = read_share(word)
    assert str(share) == shown
    assert share.within(1000 * MIB) == within


def test_percents_of_no_limit_are_no_limit():
    assert read_share("5%").within(0) == 0


@pytest.mark.parametrize("word", ["", "-1", "5 %", "x", "1.5%", "-5%", "%", "9" * 20])
def test_what_is_neither_bytes_nor_percents_is_refused(word):
    with pytest.raises(ValueError, match="memory or percent"):
        read_share(word)


def test_more_than_all_is_refused():
    with pytest.raises(ValueError, match="less or equal to 100"):
        read_share("101%")


def test_limits_of_output_are_shown_as_they_can_be_read():
    assert str(OutputLimits()) == DEFAULTS
    assert OutputLimits(**read_limits(DEFAULTS)) == OutputLimits()
    changed = OutputLimits()._replace(**read_limits("NORMAL 1kb 2 3 Replica 4 5 6 replica 7 8 9"))
    assert changed == OutputLimits(OutputLimit(1024, 2, 3), OutputLimit(7, 8, 9))


LIMITS = ClientLimits(
    query=1000,
    output=OutputLimits(normal=OutputLimit(0, 100, 60), pubsub=OutputLimit(50, 0, 0)),
)


@pytest.mark.parametrize(
    ("held", "setting"),
    [
        (Held(unparsed=600, queued=400), None),
        (Held(unparsed=600, queued=401), "client_query_buffer_limit"),
        (Held(arguments=10**9, room=10**9), None),
        (Held(unread=10**9), None),  # not for long yet
    ],
)
def test_a_client_is_beyond_a_limit_or_is_not(held, setting):
    found = excess(held, LIMITS, Arrears(), 0.0, gets_messages=False)
    assert (found and found.setting) == setting


def test_the_class_of_a_client_decides_how_much_may_wait_for_it():
    held = Held(unread=70)
    assert excess(held, LIMITS, Arrears(), 0.0, gets_messages=False) is None
    found = excess(held, LIMITS, Arrears(), 0.0, gets_messages=True)
    assert found.setting == "client_output_buffer_limit"


def test_what_waits_too_long_is_too_much():
    arrears = Arrears()
    held = Held(unread=101)
    assert excess(held, LIMITS, arrears, 0.0, gets_messages=False) is None
    assert excess(held, LIMITS, arrears, 61.0, gets_messages=False) is not None


# ------------------------------------------------------------------ what clients see
def config(wire, name, value):
    assert wire.ask("CONFIG", "SET", name, value) == b"+OK\r\n"


def stats(wire):
    lines = wire.read("INFO", "stats").decode().splitlines()
    return dict(line.partition(":")[::2] for line in lines)


def soon(holds, patience=10):
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_closed(wire):
    """Returns whether the server has ended a connection, of which nothing more is read."""
    wire.socket.settimeout(0.01)
    try:
        while wire.socket.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def lives(wire):
    return wire.ask("PING") == b"+PONG\r\n"


def narrow(wire):
    """Has the system keep little for a client that does not read."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    return wire


@pytest.mark.memory_store("settings are the engine's")
def test_more_of_a_request_than_allowed_ends_the_connection(wire, connect):
    config(wire, "client-query-buffer-limit", "1mb")
    sender, within = connect(), connect()
    with suppress(ConnectionError):
        sender.socket.sendall(request("SET", "k", bytes(3 * MIB)))
    soon(lambda: is_closed(sender))
    assert within.ask("SET", "k", bytes(MIB - 1000)) == b"+OK\r\n"
    assert stats(wire)["client_query_buffer_limit_disconnections"] == "1"


@pytest.mark.memory_store(
    "this engine does not count what waits for EXEC", on=("redis-6.2", "redis")
)
def test_more_in_a_transaction_than_allowed_ends_the_connection(wire, connect):
    config(wire, "client-query-buffer-limit", "1mb")
    sender = connect()
    sender.ask("MULTI")
    assert sender.ask("SET", "k", bytes(MIB // 2)) == b"+QUEUED\r\n"
    with suppress(EOFError, ConnectionError):
        sender.ask("SET", "k", bytes(MIB // 2))
    soon(lambda: is_closed(sender))
    assert lives(wire)


def test_many_arguments_within_the_limit_are_one_request(wire):
    """A model in several chunks may be larger than the limit of a query, as in Redis."""
    config(wire, "client-query-buffer-limit", "1mb")
    assert wire.ask("DEL", *[b"k" * 700 * 1024] * 4) == b":0\r\n"


@pytest.mark.memory_store("settings are the engine's")
def test_a_client_that_does_not_read_its_replies_loses_its_connection(wire, connect):
    wire.ask("SET", "k", bytes(32 * MIB))
    config(wire, "client-output-buffer-limit", "normal 1mb 0 0")
    reader = narrow(connect())
    reader.send("GET", "k")
    soon(lambda: stats(wire)["client_output_buffer_limit_disconnections"] == "1")
    assert wire.ask("STRLEN", "k") == b":%d\r\n" % (32 * MIB)


@pytest.mark.memory_store("settings are the engine's")
def test_who_reads_slowly_loses_its_connection_when_its_time_is_over(wire, connect):
    wire.ask("SET", "k", bytes(32 * MIB))
    config(wire, "client-output-buffer-limit", "normal 0 1mb 1")
    reader = narrow(connect())
    reader.send("GET", "k")
    began = time.monotonic()
    soon(lambda: stats(wire)["client_output_buffer_limit_disconnections"] == "1")
    assert time.monotonic() - began >= 0.9


@pytest.mark.memory_store("settings are the engine's")
def test_by_default_a_reply_may_wait_as_long_as_it_likes(wire, connect):
    blob = bytes(32 * MIB)
    wire.ask("SET", "k", blob)
    reader = narrow(connect())
    reader.send("GET", "k")
    time.sleep(0.3)
    assert reader.reply() == b"$%d\r\n%b\r\n" % (len(blob), blob)


@pytest.mark.memory_store("settings are the engine's")
def test_of_clients_that_hold_too_much_together_those_that_hold_the_most_are_ended(
    wire, connect, server
):
    senders = [connect() for _ in range(4)]
    for number, sender in enumerate(senders):
        sender.socket.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (90 * MIB) + bytes(2**number * MIB))
    soon(lambda: server.clients_memory.total > 15 * MIB)
    config(wire, "maxmemory-clients", "8mb")
    soon(lambda: stats(wire)["evicted_clients"] == "1")
    soon(lambda: is_closed(senders[3]))
    assert not any(map(is_closed, senders[:2]))
    config(wire, "maxmemory-clients", "4mb")
    soon(lambda: is_closed(senders[2]))
    assert not is_closed(senders[0])
    assert lives(wire)


@pytest.mark.memory_store("settings are the engine's")
def test_who_may_not_be_evicted_stays(wire, connect, server):
    spared, other = connect(), connect()
    assert spared.ask("CLIENT", "NO-EVICT", "ON") == b"+OK\r\n"
    for sender in (spared, other):
        sender.socket.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (4 * MIB) + bytes(3 * MIB))
    wire.ask("CLIENT", "NO-EVICT", "ON")
    soon(lambda: server.clients_memory.total > 6 * MIB)
    config(wire, "maxmemory-clients", "4mb")
    soon(lambda: is_closed(other))
    spared.socket.sendall(bytes(MIB) + b"\r\n")
    assert spared.reply() == b"$%d\r\n%b\r\n" % (4 * MIB, bytes(4 * MIB))


@pytest.mark.memory_store("settings are the engine's")
def test_percents_count_by_the_limit_of_all_memory(wire, connect, server):
    server.memory.limit = 100 * MIB
    sender = connect()
    config(wire, "maxmemory-clients", "5%")
    sender.socket.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (9 * MIB))
    with suppress(ConnectionError):
        sender.socket.sendall(bytes(8 * MIB))
    soon(lambda: is_closed(sender))


@pytest.mark.memory_store("settings are the engine's")
def test_idle_clients_are_ended_and_those_that_have_reason_to_be_silent_are_not(
    wire, connect, fake
):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", b'{"op": "block"}')
    idle, half, subscriber, monitor, waiting = (connect() for _ in range(5))
    half.socket.sendall(b"*2\r\n$4\r\nECHO\r\n$9\r\nhalf")
    subscriber.ask("SUBSCRIBE", "c")
    monitor.ask("MONITOR")
    waiting.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    config(wire, "timeout", "1")
    deadline = time.monotonic() + 10
    while not (is_closed(idle) and is_closed(half)):
        assert lives(wire)  # who asks for something now and then stays
        assert time.monotonic() < deadline
    assert not any(map(is_closed, (subscriber, monitor, waiting)))
    fake.release()
    waiting.socket.settimeout(10)
    assert waiting.socket.recv(5) == b"+OK\r\n"


def test_who_sends_slowly_is_not_idle(wire, connect):
    slow = connect()
    config(wire, "timeout", "1")
    for byte in request("PING"):
        slow.socket.sendall(bytes([byte]))
        time.sleep(0.2)
    assert slow.reply() == b"+PONG\r\n"


@pytest.mark.memory_store("settings are the engine's")
def test_longer_arguments_may_be_allowed_while_clients_are_connected(wire, connect):
    other = connect()
    assert lives(other)
    config(wire, "proto-max-bulk-len", "2mb")
    assert other.ask("SET", "k", bytes(2 * MIB)) == b"+OK\r\n"
    assert b"string exceeds maximum allowed size" in other.ask("APPEND", "k", "x")
    other.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (2 * MIB + 1))
    assert other.reply() == b"-ERR Protocol error: invalid bulk length\r\n"


def test_connections_to_come_are_kept_alive_as_was_set(wire, server):
    config(wire, "tcp-keepalive", "0")
    with Wire(port_of(server)) as later:
        assert lives(later)
    assert wire.read("CONFIG", "GET", "tcp-keepalive") == [b"tcp-keepalive", b"0"]


@pytest.mark.memory_store("settings are the engine's")
def test_the_limits_that_a_server_was_started_with_hold(server, backends):
    settings = replace(
        server.settings, client_limits=ClientLimits(timeout=7, memory=Share(5, True))
    )
    with running_server(settings, backends) as other, Wire(port_of(other)) as wire:
        assert wire.read("CONFIG", "GET", "timeout", "maxmemory-clients") == [
            *(b"maxmemory-clients", b"5%", b"timeout", b"7"),
        ]
