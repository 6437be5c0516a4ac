"""Our own commands over an engine: what cannot be stored, and what is kept for an idle client."""

import socket

import pytest

from tensorkeep.backends import Backends
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, running_server
from tensorkeep_valkey.testing import running_engine

WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


@pytest.fixture(scope="module")
def server():
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())
    with (
        running_engine() as engine,
        running_server(Settings(store=engine.unix), backends) as server,
    ):
        yield server


@pytest.fixture
def wire(server):
    with Wire(port_of(server)) as wire:
        yield wire


def test_what_a_dag_cannot_store_is_one_more_element_and_nothing_is_stored(wire):
    wire.ask("RPUSH", "list", "x")
    ops = ["|>", "AI.TENSORSET", "list", "FLOAT", 1, "|>", "AI.TENSORSET", "free", "FLOAT", 1]
    dag = wire.ask("AI.DAGEXECUTE", "PERSIST", 2, "list", "free", *ops)

    assert dag == b"*3\r\n+OK\r\n+OK\r\n" + WRONG_TYPE
    assert wire.ask("EXISTS", "free") == b":0\r\n"
    assert wire.ask("LLEN", "list") == b":1\r\n"


def test_what_was_read_for_a_client_is_not_kept_when_it_has_its_reply(server, wire):
    wire.ask("AI.TENSORSET", "tensor", "FLOAT", 1, "VALUES", 1)
    before = [client.keys for client in server.clients.values()]
    wire.ask("AI.TENSORGET", "tensor", "VALUES")
    wire.ask("AI.TENSORGET", "nothing", "VALUES")

    assert all(a is b.keys for a, b in zip(before, server.clients.values(), strict=True))


def test_a_client_that_ends_while_a_command_of_the_engines_blocks_takes_nothing(server, wire):
    with Wire(port_of(server)) as leaving:
        leaving.send("BLPOP", "later", 0)
        while b"cmd=blpop" not in wire.ask("CLIENT", "LIST"):
            pass
        leaving.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            leaving.reply()
    while b"cmd=blpop" in wire.ask("CLIENT", "LIST"):
        pass
    wire.ask("RPUSH", "later", "kept")
    assert wire.ask("LPOP", "later") == b"$4\r\nkept\r\n"


def test_what_is_refused_between_multi_and_exec_spoils_the_transaction(wire):
    for refused in (["SHUTDOWN"], ["AI.NOSUCH"]):
        assert wire.ask("MULTI") == b"+OK\r\n"
        assert wire.ask("AI.TENSORSET", "spoilt", "FLOAT", 1) == b"+QUEUED\r\n"
        assert wire.ask(*refused).startswith(b"-ERR ")
        assert wire.ask("EXEC").startswith(b"-EXECABORT ")
        assert wire.ask("EXISTS", "spoilt") == b":0\r\n"


def test_who_asks_for_the_clients_that_wait_does_not_count(wire):
    assert "tensorkeep_blocked_clients:0\r\n" in wire.read("INFO").decode()


def test_runs_are_counted_by_database(wire):
    model = ("AI.MODELSTORE", "same", "ONNX", "CPU", "BLOB", '{"op": "identity"}')
    run = ("AI.MODELEXECUTE", "same", "INPUTS", 1, "in", "OUTPUTS", 1, "out")
    for database, runs in ((1, 2), (2, 1)):
        wire.ask("SELECT", database)
        assert wire.ask(*model) == b"+OK\r\n"
        wire.ask("AI.TENSORSET", "in", "FLOAT", 1, "VALUES", 1)
        assert [wire.ask(*run) for _ in range(runs)] == [b"+OK\r\n"] * runs

    def calls(database):
        wire.ask("SELECT", database)
        told = wire.read("AI.INFO", "same")
        return told[told.index(b"calls") + 1]

    assert (calls(1), calls(2), calls(1)) == (2, 1, 2)
    assert wire.ask("AI.INFO", "same", "RESETSTAT") == b"+OK\r\n"
    assert (calls(1), calls(2)) == (0, 1)
    wire.ask("AI.MODELDEL", "same")
    assert calls(1) == 0
    wire.ask("SELECT", 2)
    assert wire.ask("AI.INFO", "same") == b"-ERR cannot find run info for key\r\n"
