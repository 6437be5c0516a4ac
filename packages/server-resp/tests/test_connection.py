"""The socket shell: order, waiting, back-pressure, limits, and clients that misbehave."""

import json
import logging
import socket
import time
from dataclasses import replace

import pytest

from tensorkeep.backends import Backends
from tensorkeep_server.codec import Limits
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, request, running_server

MIB = 1024 * 1024


def store(wire, key, op, **fields):
    blob = json.dumps({"op": op, **fields})
    assert wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", blob) == b"+OK\r\n"


def execute(key, source="x", target="y"):
    return ("AI.MODELEXECUTE", key, "INPUTS", 1, source, "OUTPUTS", 1, target)


def eventually(condition):
    """Waits for what another thread does; up to a limit, in small steps."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def refused(port):
    """Whether nobody listens there any more."""
    try:
        Wire(port).close()
    except ConnectionError:
        return True
    return False


def closed(wire):
    """Whether the server has closed a connection."""
    try:
        wire.ask("PING")
    except (EOFError, ConnectionError):
        return True
    return False


@pytest.fixture
def ready(wire):
    """The connection, with a tensor `x` and models `block` and `double` stored."""
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    store(wire, "block", "block")
    store(wire, "double", "multiply", by=2)
    return wire


# ------------------------------------------------------------------------- order
def test_replies_to_a_pipeline_keep_its_order(wire):
    wire.socket.sendall(b"".join(request("ECHO", n) for n in range(1000)))
    assert [wire.reply() for _ in range(1000)] == [
        b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(1000)
    ]


def test_commands_behind_a_run_wait_for_it_and_see_its_outputs(ready, fake):
    ready.socket.sendall(
        request(*execute("block")) + request("AI.TENSORGET", "y", "VALUES") + request("PING")
    )
    fake.await_calls("model_run")
    fake.release()
    assert [ready.reply() for _ in range(2)] == [b"+OK\r\n", b"*1\r\n$1\r\n2\r\n"]
    assert ready.reply() == b"+PONG\r\n"


def test_while_one_client_waits_the_others_are_served(ready, connect, fake):
    ready.send(*execute("block"))
    fake.await_calls("model_run")
    assert connect().ask("PING") == b"+PONG\r\n"
    fake.release()
    assert ready.reply() == b"+OK\r\n"


def test_a_request_in_pieces_is_understood(wire):
    for byte in request("ECHO", "in pieces"):
        wire.socket.sendall(bytes([byte]))
    assert wire.reply() == b"$9\r\nin pieces\r\n"


def test_inline_commands_are_understood(wire):
    wire.socket.sendall(b'ECHO "two words"\r\n')
    assert wire.reply() == b"$9\r\ntwo words\r\n"


# ------------------------------------------------------------------------- large values
def test_a_large_tensor_comes_back_as_it_was_sent(wire):
    blob = bytes(range(256)) * 4096 * 20
    assert wire.ask("AI.TENSORSET", "k", "UINT8", len(blob), "BLOB", blob) == b"+OK\r\n"
    assert wire.read("AI.TENSORGET", "k", "BLOB") == blob


def test_a_client_that_does_not_read_is_served_no_further(server, connect):
    slow, other = connect(), connect()
    blob = bytes(4 * MIB)
    slow.ask("AI.TENSORSET", "k", "UINT8", len(blob), "BLOB", blob)
    state = next(c for c in server.clients.values() if c.last_command == "ai.tensorset")
    before = state.commands_done
    slow.socket.sendall(request("AI.TENSORGET", "k", "BLOB") * 50)
    assert other.ask("PING") == b"+PONG\r\n"
    eventually(lambda: state.commands_done > before)
    assert state.commands_done - before < 50
    for _ in range(50):
        assert len(slow.reply()) > len(blob)
    assert state.commands_done - before == 50


def test_what_a_waiting_client_sends_ahead_is_bounded_and_not_lost(server, ready, fake):
    ready.send(*execute("block"))
    fake.await_calls("model_run")
    ping, count = request("PING", "x" * 1000), 20_000
    ready.socket.setblocking(False)
    data, sent = ping * count, 0
    deadline = time.monotonic() + 10
    stalled = 0
    while sent < len(data) and stalled < 50 and time.monotonic() < deadline:
        try:
            sent += ready.socket.send(data[sent : sent + MIB])
            stalled = 0
        except BlockingIOError:
            stalled += 1
            time.sleep(0.005)
    assert sent < len(data), "the server took everything"
    fake.release()
    ready.socket.setblocking(True)
    ready.socket.settimeout(30)
    assert ready.reply() == b"+OK\r\n"
    whole = sent // len(ping)
    assert all(ready.reply().endswith(b"x\r\n") for _ in range(whole))


# ------------------------------------------------------------------------- hostile input
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"*1\r\n$10000000000\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*10000000000\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n:1\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
        (b'ECHO "open\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n*1\r\n", b"-ERR Protocol error: expected '$', got '*'\r\n"),
    ],
)
def test_a_broken_protocol_is_answered_and_the_connection_closed(wire, connect, data, line):
    wire.socket.sendall(request("PING") + data)
    assert wire.reply() == b"+PONG\r\n"
    assert wire.reply() == line
    with pytest.raises(EOFError):
        wire.reply()
    assert connect().ask("PING") == b"+PONG\r\n"


def test_a_length_that_is_announced_and_never_sent_harms_nobody(connect):
    connect().ask("AI.TENSORSET", "kept", "UINT8", 1, "VALUES", 7)
    for _ in range(20):
        connect().socket.sendall(b"*2\r\n$4\r\nECHO\r\n$500000000\r\nabc")
    assert connect().read("AI.TENSORGET", "kept", "VALUES") == [7]


def test_truncated_requests_and_vanished_clients_harm_nobody(connect):
    whole = request("AI.TENSORSET", "k", "UINT8", 4, "BLOB", b"abcd")
    for length in range(len(whole)):
        wire = connect()
        wire.socket.sendall(whole[:length])
        wire.close()
    wire = connect()
    assert wire.ask("AI.TENSORGET", "k").startswith(b"-ERR tensor key is empty")


def test_limits_are_the_settings_own(fake):
    limits = Limits(max_bulk=1000, max_arguments=10, max_request=1500)
    with running_server(Settings(limits=limits)) as server:
        for data in (
            request("ECHO", "x" * 1001),
            request("DEL", *range(10)),
            request("DEL", "x" * 900, "y" * 900),
        ):
            with Wire(port_of(server)) as wire:
                wire.socket.sendall(data)
                assert wire.reply().startswith(b"-ERR Protocol error")
        with Wire(port_of(server)) as wire:
            assert wire.read("ECHO", "x" * 1000) == b"x" * 1000


# ------------------------------------------------------------------------- coming and going
def test_a_client_that_vanishes_takes_its_waiting_run_along(server, ready, connect, fake):
    ready.send(*execute("block"))
    fake.await_calls("model_run")
    leaving = connect()
    leaving.send(*execute("double", target="never"))
    eventually(lambda: any(c.blocked and c.last_command for c in server.clients.values()))
    eventually(lambda: len(server.engine.lanes["CPU"].queue) == 1)
    leaving.close()
    eventually(lambda: len(server.engine.lanes["CPU"].queue) == 0)
    fake.release()
    assert ready.reply() == b"+OK\r\n"
    assert ready.ask("EXISTS", "never") == b":0\r\n"


def test_outputs_of_a_client_that_vanished_while_its_run_went_on_are_not_stored(
    server, ready, connect, fake
):
    leaving = connect()
    leaving.send(*execute("block", target="never"))
    fake.await_calls("model_run")
    leaving.close()
    eventually(lambda: len(server.clients) == 1)
    fake.release()
    assert ready.ask(*execute("double")) == b"+OK\r\n"
    assert ready.ask("EXISTS", "never") == b":0\r\n"


def test_a_thousand_clients_are_served(server):
    wires = []
    try:
        wires.extend(Wire(port_of(server)) for _ in range(1000))
        for wire in wires:
            wire.send("PING")
        assert {wire.reply() for wire in wires} == {b"+PONG\r\n"}
        assert len(server.clients) == 1000
    finally:
        for wire in wires:
            wire.close()
    eventually(lambda: not server.clients)


def test_one_client_too_many_is_turned_away(fake):
    with running_server(Settings(max_clients=2)) as server:
        first, second = Wire(port_of(server)), Wire(port_of(server))
        assert first.ask("PING") == second.ask("PING") == b"+PONG\r\n"
        with Wire(port_of(server)) as third:
            assert third.reply() == b"-ERR max number of clients reached\r\n"
        second.close()
        eventually(lambda: len(server.clients) == 1)
        first.close()
        eventually(lambda: not server.clients)


def test_a_client_that_half_closes_still_gets_what_it_asked_for(wire):
    wire.socket.sendall(request("ECHO", "last words"))
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.reply() == b"$10\r\nlast words\r\n"


# ------------------------------------------------------------------------- our own faults
def test_an_unexpected_failure_is_logged_and_answered_neutrally(server, wire, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("secret")

    ping = server.commands.get(b"ping")
    monkeypatch.setitem(server.commands._by_name, b"PING", replace(ping, handle=broken))
    with caplog.at_level(logging.ERROR):
        assert wire.ask("PING") == b"-ERR internal error, see the server's log\r\n"
    assert "secret" in caplog.text
    half = replace(ping, handle=lambda *_: [1, "no reply"])
    monkeypatch.setitem(server.commands._by_name, b"PING", half)
    assert wire.ask("PING") == b"-ERR internal error, see the server's log\r\n"
    assert wire.ask("ECHO", "goes on") == b"$7\r\ngoes on\r\n"


def test_running_work_may_finish_when_the_server_ends(fake):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", fake)
    with running_server(backends=backends) as server, Wire(port_of(server)) as wire:
        wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
        store(wire, "block", "block")
        wire.send(*execute("block"))
        fake.await_calls("model_run")
        with Wire(port_of(server)) as other:
            other.send("SHUTDOWN")
            eventually(lambda: refused(port_of(server)))  # it is ending, and waits for the run
            fake.release()
            assert wire.reply() == b"+OK\r\n"
        eventually(lambda: closed(wire))  # until then it may still be answered
