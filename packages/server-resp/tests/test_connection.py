"""The socket shell: order, waiting, back-pressure, limits, and clients that misbehave."""

import json
import logging
import socket
import time
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import pytest

from tensorkeep.backends import Backends
from tensorkeep.commands.reply import Simple
from tensorkeep_server.codec import Limits
from tensorkeep_server.inbox import Inbox
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, request
from tensorkeep_server.turn import Turn

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


def rest_of(wire):
    """Reads until the server closes the connection."""
    with suppress(ConnectionError):
        while wire.socket.recv(65536):
            pass


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


def test_others_have_their_turn_while_large_arguments_arrive(wire, monkeypatch):
    taken = [0]
    receive, serve_all = Inbox.receive, Turn._serve_all

    def received(inbox, count, served):
        taken[-1] += count
        return receive(inbox, count, served)

    def served(turn):
        taken.append(0)
        serve_all(turn)

    monkeypatch.setattr(Inbox, "receive", received)
    monkeypatch.setattr(Turn, "_serve_all", served)

    wire.ask("DEL", *[b"x" * MIB] * 60)

    assert sum(taken) > 60 * MIB
    assert max(taken) <= 4 * MIB  # one more argument and a half than is asked for


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


def test_limits_are_the_settings_own(fake, run_server):
    limits = Limits(max_bulk=1000, max_arguments=10, max_request=1500)
    with run_server(Settings(limits=limits)) as server:
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


def test_one_client_too_many_is_turned_away(fake, run_server):
    with run_server(Settings(max_clients=2)) as server:
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


def test_a_client_that_half_closes_gets_what_its_tensors_are_read_for(wire):
    asked = [
        request("SET", "k", "v"),
        request("AI.TENSORSET", "t", "UINT8", 1, "VALUES", 7),
        request("GET", "k"),
        request("AI.TENSORGET", "t", "VALUES"),
    ]
    wire.socket.sendall(b"".join(asked))
    wire.socket.shutdown(socket.SHUT_WR)
    assert [wire.reply() for _ in asked] == [b"+OK\r\n"] * 2 + [b"$1\r\nv\r\n", b"*1\r\n:7\r\n"]
    with pytest.raises(EOFError):
        wire.reply()


def test_a_client_that_half_closes_is_not_waited_for_by_a_run(server, ready, connect, fake):
    leaving = connect()
    leaving.socket.sendall(request("ECHO", "x") + request(*execute("block", target="never")))
    leaving.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: len(server.clients) == 1)
    fake.release()
    assert ready.ask("EXISTS", "never") == b":0\r\n"


def test_a_run_behind_other_commands_goes_with_its_client(server, ready, connect, fake):
    ready.send(*execute("block"))
    fake.await_calls("model_run")
    leaving = connect()
    leaving.socket.sendall(request("ECHO", "x") + request(*execute("double", target="never")))
    eventually(lambda: len(server.engine.lanes["CPU"].queue) == 1)
    leaving.close()
    eventually(lambda: len(server.engine.lanes["CPU"].queue) == 0)
    fake.release()
    assert ready.reply() == b"+OK\r\n"


def send_until_it_blocks(wire, data, most):
    """Sends copies of some data until nobody takes them any more; returns how many bytes went."""
    wire.socket.setblocking(False)
    sent, stalled = 0, 0
    while sent < most and stalled < 20:
        try:
            sent += wire.socket.send(data)
            stalled = 0
        except BlockingIOError:
            stalled += 1
            time.sleep(0.005)
    return sent


@pytest.mark.parametrize("megabytes", [0, 2, 100], ids="{} MB ahead".format)
def test_a_client_that_sent_much_ahead_and_vanished_takes_its_run_along(
    server, ready, connect, fake, megabytes
):
    """Even where its last word stands behind what it could not send yet."""
    ready.send(*execute("block"))
    fake.await_calls("model_run")
    leaving = connect()
    leaving.send(*execute("double", target="never"))
    eventually(lambda: len(server.engine.lanes["CPU"].queue) == 1)
    send_until_it_blocks(leaving, request("SET", "a", "x" * 1000) * 100, megabytes * MIB)
    leaving.close()
    eventually(lambda: len(server.engine.lanes["CPU"].queue) == 0)
    eventually(lambda: len(server.clients) == 1)
    fake.release()
    assert ready.reply() == b"+OK\r\n"
    assert ready.ask("EXISTS", "never", "a") == b":0\r\n"


def test_a_client_that_half_closes_behind_much_gets_every_reply(wire):
    """What it sent is done in several turns, and its end is not seen before."""
    wire.ask("SET", "k", "x" * 15_000)
    count = 2000
    wire.socket.sendall(request("GET", "k") * count)
    wire.socket.shutdown(socket.SHUT_WR)
    assert sum(len(wire.reply()) == 15_010 for _ in range(count)) == count
    with pytest.raises(EOFError):
        wire.reply()


# ------------------------------------------------------------------------- fairness
def slow(monkeypatch, server, seconds):
    """Lets PING take its time."""

    def handle(*_):
        time.sleep(seconds)
        return Simple("PONG")

    ping = server.commands.get(b"ping")
    monkeypatch.setitem(server.commands._by_name, b"PING", replace(ping, handle=handle))


@pytest.mark.memory_store("the time of PING is the engine's, which serves others between")
def test_others_are_served_between_the_requests_of_one_pipeline(server, connect, monkeypatch):
    slow(monkeypatch, server, 0.01)
    greedy, other = connect(), connect()
    greedy.socket.sendall(request("PING") * 200)  # two seconds
    greedy.reply()
    state = min(server.clients.values(), key=lambda client: client.id)
    for _ in range(3):
        assert other.ask("ECHO", "x") == b"$1\r\nx\r\n"
    assert state.commands_done < 150
    assert [greedy.reply() for _ in range(199)] == [b"+PONG\r\n"] * 199


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"PING\r\n", 100_000),
        (request("PING"), 100_000),
        (request("DEL", *[""] * 50_000), 6),
        (b"NOSUCH\r\n", 50_000),
        (b"INCRBY k x\r\n", 50_000),
    ],
    ids=["inline", "arrays", "many arguments", "unknown", "refused"],
)
def test_parsing_is_bounded_too(server, connect, data, count):
    """Another is served long before all of it was read."""
    greedy, other = connect(), connect()
    whole = data * count
    sender = Thread(target=greedy.socket.sendall, args=(whole,), daemon=True)
    sender.start()
    eventually(lambda: any(client.commands_done for client in server.clients.values()))
    asked = 0
    while sender.is_alive() and asked < 3:
        assert other.ask("ECHO", "x") == b"$1\r\nx\r\n"
        asked += 1
    for _ in range(count):
        assert greedy.reply()[:1] in b"+:-"
    sender.join(10)


def test_a_pipeline_of_short_replies_does_not_gather_them_all(server, connect):
    """Each is too short to be sent at once; together they are much."""
    wire = connect()
    wire.ask("SET", "k", "x" * 15_000)
    count = 60_000
    data = request("GET", "k") * count
    state = next(iter(server.clients.values()))
    sender = Thread(target=wire.socket.sendall, args=(data,), daemon=True)
    sender.start()
    eventually(lambda: state.commands_done > 100)
    time.sleep(0.3)
    assert state.commands_done < 5000  # of 900 MB, less than 75 were made
    assert all(len(wire.reply()) == 15_010 for _ in range(1000))


# ------------------------------------------------------------------------- browsers
@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: here\r\n\r\nSET a 1\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\nSET a 1\r\n",
        b"post x\r\nSET a 1\r\n",
        b"hOsT: x\r\nSET a 1\r\n",
        b"POST\r\nSET a 1\r\n",
        b'"POST" x\r\nSET a 1\r\n',
        request("post", "x") + request("SET", "a", 1),
        request(b"Post\0more", "x") + request("SET", "a", 1),
        request("MULTI") + request("POST") + request("SET", "a", 1) + request("EXEC"),
        request("SUBSCRIBE", "c") + request("POST") + request("SET", "a", 1),
    ],
)
def test_what_speaks_http_is_closed_and_nothing_behind_it_is_done(
    server, wire, connect, data, caplog
):
    with caplog.at_level(logging.WARNING):
        wire.socket.sendall(request("SET", "before", 1) + data)
        rest_of(wire)
    other = connect()
    assert other.ask("EXISTS", "before", "a") == b":1\r\n"
    assert caplog.text.count("possible attack") == 1
    for _ in range(3):
        with Wire(port_of(server)) as again:
            again.socket.sendall(data)
            rest_of(again)
    assert caplog.text.count("possible attack") == 1  # once a minute


@pytest.mark.parametrize("word", ["POSTS", "HOST", "GET", "PUT", "XPOST", " POST"])
def test_what_only_looks_like_http_is_answered(wire, word):
    assert wire.ask(word, "x", "y", "z").startswith(b"-ERR")
    assert wire.ask("PING") == b"+PONG\r\n"


# ------------------------------------------------------------------------- the log
@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (lambda wire: wire.close(), "the client closed it"),
        (lambda wire: wire.send("QUIT"), "QUIT"),
        (lambda wire: wire.socket.sendall(b"*x\r\n"), "invalid multibulk length"),
        (lambda wire: wire.socket.sendall(b"POST\r\n"), "it spoke HTTP"),
        pytest.param(
            lambda wire: wire.send("CLIENT", "KILL", "SKIPME", "no"),
            "CLIENT KILL",
            marks=pytest.mark.memory_store("only the client's connection to the engine is closed"),
        ),
    ],
    ids=["closed", "quit", "protocol", "http", "kill"],
)
def test_who_leaves_is_logged_once_with_the_reason(server, wire, caplog, leave, reason):
    caplog.set_level(logging.DEBUG, "tensorkeep_server.connection")
    wire.ask("PING")
    leave(wire)
    eventually(lambda: not server.clients)
    eventually(lambda: "is gone" in caplog.text)
    gone = [record.getMessage() for record in caplog.records if "is gone" in record.getMessage()]
    assert len(gone) == 1
    assert reason in gone[0]
    assert "127.0.0.1:" in gone[0]


def test_a_broken_protocol_is_logged_where_only_information_is(wire, caplog):
    caplog.set_level(logging.INFO, "tensorkeep_server.connection")
    wire.socket.sendall(b"*x\r\n")
    wire.reply()
    assert "Protocol error: invalid multibulk length" in caplog.text


# ------------------------------------------------------------------------- our own faults
def test_an_unexpected_failure_is_logged_and_answered_neutrally(server, wire, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("secret")

    asked = ("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    config = server.commands.get(b"ai.config")
    monkeypatch.setitem(server.commands._by_name, b"AI.CONFIG", replace(config, handle=broken))
    with caplog.at_level(logging.ERROR):
        assert wire.ask(*asked) == b"-ERR internal error, see the server's log\r\n"
    assert "secret" in caplog.text
    half = replace(config, handle=lambda *_: [1, "no reply"])
    monkeypatch.setitem(server.commands._by_name, b"AI.CONFIG", half)
    assert wire.ask(*asked) == b"-ERR internal error, see the server's log\r\n"
    assert wire.ask("ECHO", "goes on") == b"$7\r\ngoes on\r\n"


def test_running_work_may_finish_when_the_server_ends(fake, run_server):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", fake)
    with run_server(backends=backends) as server, Wire(port_of(server)) as wire:
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
