"""What goes wrong with one connection stays with it, whatever it is and wherever it happens.

Every call of the transport and every step of serving raises now and then, by a seed, for some
connections; the others must get every reply, in order, as if nothing had happened.
"""

import asyncio
import gc
import itertools
import json
import logging
import random
import time
import weakref
from dataclasses import replace
from threading import Event, Thread

import pytest

from tensorkeep.commands.command import CommandTable
from tensorkeep.config import EngineConfig
from tensorkeep.engine import Engine
from tensorkeep.rights.users import Users
from tensorkeep.testing.manual_loop import ManualLoop
from tensorkeep_memory.store import MemoryStore
from tensorkeep_server.commands import with_commands_of
from tensorkeep_server.connection import RECEIVE_SIZE, Connection
from tensorkeep_server.later import Later
from tensorkeep_server.settings import Settings
from tensorkeep_server.state import Server
from tensorkeep_server.testing import Wire, port_of, request
from tensorkeep_server.turn import Turn

COMMANDS = with_commands_of(MemoryStore())

FAULTS = (RuntimeError, MemoryError, OSError, KeyError)


class Dice:
    """Raises one time in `sides`, by a seed."""

    def __init__(self, seed, sides):
        self._random = random.Random(seed)
        self._sides = sides
        self.raised = 0

    def roll(self):
        if self._random.randrange(self._sides) == 0:
            self.raised += 1
            raise self._random.choice(FAULTS)("by the dice")


class Transport:
    """A transport without a socket; every call of it may raise.

    Attributes:
        written: The bytes that were sent.
        lost: Whether it was closed.
    """

    def __init__(self, loop, protocol, dice=None):
        self._loop = loop
        self._protocol = protocol
        self._dice = dice
        self.written = bytearray()
        self.lost = False

    def _roll(self):
        if self._dice is not None:
            self._dice.roll()

    def get_extra_info(self, name):
        self._roll()
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 6)}.get(name)

    def write(self, data):
        self._roll()
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.written += data

    def close(self):
        self._roll()
        self._lose()

    def abort(self):
        self._roll()
        self._lose()

    def pause_reading(self):
        self._roll()

    def resume_reading(self):
        self._roll()

    def get_write_buffer_size(self):
        self._roll()
        return 0

    def _lose(self):
        if not self.lost:
            self.lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)


def a_server(loop):
    commands = CommandTable(COMMANDS)
    return Server(
        settings=Settings(),
        engine=Engine(loop, EngineConfig()),
        commands=commands,
        shut_down=lambda _: None,
        run_id="0" * 40,
        address="",
        store=MemoryStore(),
        users=Users(commands),
        clients={},
        model_chunk_size=1000,
        max_clients=1000,
    )


@pytest.fixture
def loop():
    return ManualLoop()


@pytest.fixture
def state(loop):
    server = a_server(loop)
    yield server
    server.engine.close(0.0, lambda: None)
    loop.advance(1.0)


class Clients:
    """Connections to a server, served by a turn of a loop that is moved by hand."""

    def __init__(self, loop, server):
        self._loop = loop
        self._server = server
        self._receive = memoryview(bytearray(RECEIVE_SIZE))
        self.turn = Turn(loop, server.engine.dispatcher)

    def connect(self, dice=None):
        connection = Connection(self._server, self._receive, self.turn)
        transport = Transport(self._loop, connection, dice)
        connection.connection_made(transport)
        return connection, transport

    def send(self, connection, data):
        view = memoryview(data)
        while view:
            room = connection.get_buffer(-1)
            count = min(len(room), len(view))
            room[:count] = view[:count]
            connection.buffer_updated(count)
            view = view[count:]


@pytest.fixture
def clients(loop, state):
    return Clients(loop, state)


def talk(number):
    """A pipeline, and the replies to it."""
    data = [request("PING"), request("ECHO", f"at {number}"), request("MULTI")]
    data += [request("SET", f"k{number}", number), request("EXEC"), request("GET", f"k{number}")]
    text = b"at %d" % number
    digits = b"%d" % number
    replies = [b"+PONG\r\n", b"$%d\r\n%b\r\n" % (len(text), text), b"+OK\r\n+QUEUED\r\n"]
    replies += [b"*1\r\n+OK\r\n", b"$%d\r\n%b\r\n" % (len(digits), digits)]
    return b"".join(data), b"".join(replies)


NUISANCE = (
    request("PING"),
    request("SUBSCRIBE", "news"),
    request("MONITOR"),
    request("PUBLISH", "news", "x" * 70_000),
    request("GET", "large"),
    request("SET", "large", "y" * 70_000),
    request("MULTI") + request("GET", "large") * 3 + request("EXEC"),
    request("SET", "half", "z" * 70_000)[:-9],
    request("NOSUCH"),
    request("QUIT"),
    request("CLIENT", "KILL", "TYPE", "PUBSUB"),
    b"PING\r\n" * 3000,
    b"POST / HTTP/1.1\r\n",
    b"*x\r\n",
)
STEPS = ("_do", "_answer", "_flush", "_join_turn", "_pause_reading", "_resume_reading")


def troubled(connection, dice):
    """Lets every step of serving a connection raise now and then."""

    def flaky(step):
        def run(*arguments):
            dice.roll()
            return step(*arguments)

        return run

    for name in STEPS:
        setattr(connection, name, flaky(getattr(connection, name)))


@pytest.mark.parametrize("seed", range(12))
def test_others_are_answered_whatever_raises_in_a_turn(loop, state, clients, seed, caplog):
    caplog.set_level(logging.CRITICAL)
    dice = Dice(seed, sides=9)
    draw = random.Random(seed)
    good = [clients.connect() for _ in range(5)]
    expected = [bytearray() for _ in good]
    bad = []
    for number in range(60):
        for (connection, _), replies in zip(good, expected, strict=True):
            data, answer = talk(number)
            clients.send(connection, data)
            replies.extend(answer)
        while len(bad) < 8:
            connection, transport = clients.connect(dice)
            troubled(connection, dice)
            bad.append((connection, transport))
        order = list(bad)
        draw.shuffle(order)
        for connection, transport in order:
            if not transport.lost:
                clients.send(connection, draw.choice(NUISANCE))
            if draw.randrange(5) == 0:
                draw.choice([connection.pause_writing, transport._lose])()
            elif draw.randrange(3) == 0:
                connection.resume_writing()
        loop.turn()
        bad = [(one, transport) for one, transport in bad if not one._lost]
    for _ in range(20):
        loop.turn()
    assert dice.raised > 100
    for (_, transport), replies in zip(good, expected, strict=True):
        assert bytes(transport.written) == bytes(replies)
        assert not transport.lost


def test_the_pump_of_the_engine_may_raise_and_all_are_answered(
    loop, state, clients, monkeypatch, caplog
):
    calls = []

    def pump():
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError

    monkeypatch.setattr(state.engine.dispatcher, "pump", pump)
    good = [clients.connect() for _ in range(3)]
    for connection, _ in good:
        clients.send(connection, request("PING"))
    loop.turn()
    loop.turn()
    assert [bytes(transport.written) for _, transport in good] == [b"+PONG\r\n"] * 3
    assert len(calls) == 2  # once more, for what was left
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("step", ["serve", "settle"])
def test_even_what_ends_a_program_ends_one_connection(loop, clients, monkeypatch, step, caplog):
    """Such as what a framework written in another language raises, or a plugin that calls exit."""

    class Panic(BaseException):
        pass

    def panic(*_):
        raise Panic

    (bad, lost), (good, transport) = clients.connect(), clients.connect()
    monkeypatch.setattr(bad, step, panic)
    for connection in (bad, good):
        clients.send(connection, request("PING"))
    loop.turn()
    assert lost.lost
    assert bytes(transport.written) == b"+PONG\r\n"
    assert "Panic" in caplog.text


def test_a_reply_to_come_that_fails_ends_its_connection_alone(
    loop, state, clients, monkeypatch, caplog
):
    laters = []

    def wait(*_):
        laters.append(Later())
        return laters[-1]

    ping = state.commands.get(b"ping")
    monkeypatch.setitem(state.commands._by_name, b"PING", replace(ping, handle=wait))
    (one, first), (two, second) = clients.connect(), clients.connect()
    for connection in (one, two):
        clients.send(connection, request("PING"))
    loop.turn()
    monkeypatch.setattr(one, "_answer", lambda _: 1 / 0)
    for later in laters:
        later.resolve(lambda: 7)  # whoever does the work hears nothing of the fault
    loop.turn()
    loop.turn()
    assert first.lost
    assert bytes(second.written) == b":7\r\n"
    assert "ZeroDivisionError" in caplog.text


def test_a_connection_that_fails_as_it_comes_is_closed(loop, state, clients, caplog):
    class Gone(Transport):
        def get_extra_info(self, name):
            raise OSError("no such peer")

    connection = Connection(state, memoryview(bytearray(100)), clients.turn)
    transport = Gone(loop, connection)
    connection.connection_made(transport)
    loop.turn()
    assert transport.lost
    assert not state.clients


def test_what_a_lost_client_had_is_let_go_though_one_step_of_it_fails(loop, state, clients, caplog):
    def broken():
        raise ZeroDivisionError

    connection, _ = clients.connect()
    clients.send(connection, request("MONITOR"))
    loop.turn()
    assert state.monitors
    connection._later = Later(broken)
    connection.connection_lost(None)
    assert not state.monitors
    assert not state.clients
    assert "ZeroDivisionError" in caplog.text


def test_a_message_to_a_broken_connection_is_no_matter_of_the_sender(loop, state, clients):
    (subscriber, _), (sender, transport) = clients.connect(), clients.connect()
    clients.send(subscriber, request("SUBSCRIBE", "news"))
    loop.turn()
    subscriber.pause_writing()
    subscriber._transport = None
    clients.send(sender, request("PUBLISH", "news", "hello"))
    loop.turn()
    assert bytes(transport.written) == b":1\r\n"


def test_a_lost_connection_is_gone_without_the_garbage_collector(loop, state, clients):
    gc.collect()
    gc.disable()
    try:
        connection, transport = clients.connect()
        clients.send(
            connection, request("SUBSCRIBE", "news") + request("SET", "k", "v" * 70_000)[:-3]
        )
        loop.turn()
        connection.connection_lost(None)
        gone = weakref.ref(connection)
        transport._protocol = None
        del connection
        assert gone() is None
    finally:
        gc.enable()


# ------------------------------------------------------------------------- over sockets
def annoy(port, seed, stop):
    """Connects, says something, hangs up, again and again."""
    draw = random.Random(seed)
    blob = json.dumps({"op": "slow_create", "seconds": 0.001})
    said = (*NUISANCE, request("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob))
    while not stop.is_set():
        try:
            with Wire(port) as wire:
                wire.socket.settimeout(0.02)
                wire.socket.sendall(request("SELECT", 15))
                for _ in range(draw.randrange(1, 6)):
                    wire.socket.sendall(draw.choice(said))
                    if draw.randrange(2):
                        wire.socket.recv(1000)
        except OSError:
            continue


@pytest.fixture(params=[1, 2], ids="seed {}".format)
def dice(request, monkeypatch):
    """Lets every step raise now and then, for connections that selected database 15."""
    dice = Dice(request.param, sides=40)

    def flaky(name):
        step = getattr(Connection, name)

        def run(self, *arguments):
            if self._registered and (self.client.session or self.client).database == 15:
                dice.roll()
            return step(self, *arguments)

        monkeypatch.setattr(Connection, name, run)

    for name in (*STEPS, "serve", "settle", "buffer_updated", "connection_lost", "resume_writing"):
        flaky(name)
    return dice


def test_over_sockets_others_are_answered_under_load(dice, server, connect, caplog):
    caplog.set_level(logging.CRITICAL)
    stop = Event()
    threads = [
        Thread(target=annoy, args=(port_of(server), seed, stop), daemon=True) for seed in range(3)
    ]
    wires = [connect() for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        began = time.monotonic()
        for number in itertools.count():
            took = time.monotonic() - began
            if (took > 1.5 and dice.raised > 20) or took > 20:
                break
            data, replies = talk(number)
            for wire in wires:
                wire.socket.sendall(data)
            assert [wire._file.read(len(replies)) for wire in wires] == [replies] * 10
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert dice.raised > 20


async def test_the_loop_hears_of_nothing(server, connect):
    """A client that stores a model, breaks the protocol and hangs up stops nobody."""
    wires = [connect() for _ in range(5)]
    blob = json.dumps({"op": "identity"})
    for _ in range(100):
        with Wire(port_of(server)) as hostile:
            hostile.socket.sendall(
                request("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) + b"*x\r\n"
            )
    for wire in wires:
        assert await asyncio.to_thread(wire.ask, "PING") == b"+PONG\r\n"


# ------------------------------------------------------------------------- shares of a turn
@pytest.mark.parametrize(
    "asked",
    [request("PING"), b"PING\r\n", request("NOSUCH"), request("INCR"), request("INCRBY", "k", "x")],
    ids=["done", "inline", "unknown", "refused", "failed"],
)
def test_a_turn_ends_when_time_is_up_whatever_is_asked_for(loop, clients, monkeypatch, asked):
    """Each look at the clock finds a tenth of a millisecond gone."""
    ticks = itertools.count()

    def clock():
        return next(ticks) * 1e-4

    for module in ("calls", "connection"):
        monkeypatch.setattr(f"tensorkeep_server.{module}.perf_counter", clock)
    (greedy, transport), (other, beside) = clients.connect(), clients.connect()
    done, serve = [], greedy.serve

    def counted(seconds):
        before = greedy.client.commands_done
        serve(seconds)
        done.append((greedy.client.commands_done - before, bytes(beside.written)))

    monkeypatch.setattr(greedy, "serve", counted)
    clients.send(greedy, asked * 400)
    clients.send(other, request("PING"))
    loop.turn()
    assert transport.written.count(b"\n") == 400
    assert sum(count for count, _ in done) == 400
    assert max(count for count, _ in done) < 40
    assert [replies for _, replies in done] == [b"", *[b"+PONG\r\n"] * (len(done) - 1)]
