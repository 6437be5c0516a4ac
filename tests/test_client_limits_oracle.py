"""Limits of clients are read, shown and kept as a real Redis does."""

import socket
import time
from contextlib import suppress

import pytest

from tensorkeep_server.testing import Wire, request

MIB = 1024 * 1024
NAMES = (
    *("client-output-buffer-limit", "client-query-buffer-limit", "maxmemory-clients"),
    *("proto-max-bulk-len", "tcp-keepalive", "timeout"),
)
VALUES = {
    "client-output-buffer-limit": (
        *(
            "normal 1mb 2k 3",
            "NORMAL 0 0 0",
            "slave 1mb 1 1",
            "replica 5 6 7 replica 256mb 64mb 60",
        ),
        *("pubsub 1gb 0 0 normal 0 0 0 pubsub 32mb 8mb 60", "", "normal 1 2", "master 1 1 1"),
        *("foo 1 1 1", "normal a 1 1", "normal 1 1 -1", "normal 1 1 1k", "normal -1 1 1"),
    ),
    "client-query-buffer-limit": ("1mb", "1048575", "1048576", "1gb", "0", "-1", "x"),
    "maxmemory-clients": ("5%", "0%", "100%", "101%", "-1", "1kb", "1k", "12", "x%", "0"),
    "proto-max-bulk-len": ("1mb", "1000", "512mb", "x"),
    "tcp-keepalive": ("0", "60", "-1", "2147483647", "2147483648", "1.5", "300"),
    "timeout": ("100", "-1", "2147483648", "x", "0"),
}


@pytest.fixture
def both(wire, redis_7):
    """Connections to our server and to Redis, whose limits are what they were at first."""
    before = {name: wire.read("CONFIG", "GET", name)[1] for name in NAMES}
    with Wire(redis_7.port) as real:
        yield wire, real
        for each in (wire, real):
            for name, value in before.items():
                assert each.ask("CONFIG", "SET", name, value) == b"+OK\r\n"


@pytest.mark.memory_store("these settings came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in VALUES.items() for value in values]
)
def test_limits_are_read_and_shown_alike(both, name, value):
    ours, real = ([each.ask("CONFIG", "SET", name, value), each.read("CONFIG", "GET", name)]
                  for each in both)  # fmt: skip
    assert ours == real


def new(wire):
    """Opens another connection to where one leads, which the system keeps little for."""
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    other.settimeout(10)
    other.connect(wire.socket.getpeername())
    return other


def outcome(wire, settings, sent, patience):
    """Returns what a client is told before its connection ends; None if it does not."""
    for name, value in settings.items():
        assert wire.ask("CONFIG", "SET", name, value) == b"+OK\r\n"
    said = b""
    with new(wire) as peer, suppress(ConnectionError):
        with suppress(ConnectionError):
            peer.sendall(sent)
        peer.settimeout(0.1)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            assert wire.ask("PING") == b"+PONG\r\n"  # and so is not idle
            with suppress(TimeoutError):
                if not (data := peer.recv(65536)):
                    return said
                said += data
        return None
    return said


@pytest.mark.memory_store("settings are the engine's")
@pytest.mark.parametrize(
    ("settings", "sent", "patience"),
    [
        ({"client-query-buffer-limit": "1mb"}, b"*1\r\n$4194304\r\n" + bytes(3 * MIB), 5),
        ({"client-query-buffer-limit": "2mb"}, b"*1\r\n$4194304\r\n" + bytes(MIB), 0.3),
        ({"proto-max-bulk-len": "1mb"}, b"*1\r\n$1048577\r\n", 5),
        ({"proto-max-bulk-len": "1mb"}, b"*1\r\n$1048576\r\n", 0.3),
        ({"timeout": "1"}, b"", 5),
        ({"timeout": "1"}, b"*1\r\n$4\r\nPI", 5),
        ({"timeout": "1"}, request("SUBSCRIBE", "c")[:-2], 5),
        ({"maxmemory-clients": "1mb"}, b"*1\r\n$4194304\r\n" + bytes(3 * MIB), 5),
    ],
)
def test_connections_end_alike(both, settings, sent, patience):
    found = []
    for each in both:
        found.append(outcome(each, settings, sent, patience))
        each.ask("CONFIG", "SET", "timeout", "0")  # or we are idle ourselves
    ours, real = found
    assert ours == real


@pytest.mark.memory_store("settings are the engine's")
@pytest.mark.parametrize(
    ("limit", "seconds", "ends"),
    [("normal 1mb 0 0", 0.3, True), ("normal 0 1mb 1", 2.5, True), ("pubsub 1 0 0", 0.3, False)],
)
def test_who_does_not_read_its_reply_is_ended_alike(both, limit, seconds, ends):
    found = []
    for each in both:
        each.ask("SET", "limits:large", bytes(16 * MIB))
        each.ask("CONFIG", "SET", "client-output-buffer-limit", limit)
        with new(each) as peer:
            peer.sendall(request("GET", "limits:large"))
            time.sleep(seconds)
            listed = each.read("CLIENT", "LIST").decode()
            found.append("{}:{} ".format(*peer.getsockname()) not in listed)
        each.ask("DEL", "limits:large")
    assert found == [ends, ends]


@pytest.mark.memory_store("these settings came with Redis 7.0", on=("redis-6.2",))
def test_who_asked_not_to_be_evicted_stays_alike(both):
    for each in both:
        assert each.ask("CLIENT", "NO-EVICT", "ON") == b"+OK\r\n"
        with new(each) as spared:
            spared.sendall(request("CLIENT", "NO-EVICT", "ON"))
            assert spared.recv(10) == b"+OK\r\n"
            each.ask("CONFIG", "SET", "maxmemory-clients", "1mb")
            spared.sendall(b"*2\r\n$4\r\nECHO\r\n$2097152\r\n" + bytes(2 * MIB) + b"\r\n")
            assert spared.recv(10).startswith(b"$2097152")
        each.ask("CONFIG", "SET", "maxmemory-clients", "0")
        each.ask("CLIENT", "NO-EVICT", "OFF")
