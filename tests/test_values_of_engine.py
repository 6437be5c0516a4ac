"""Tensors and models are values of the engine: its own commands on keys work on them."""

import time

import pytest

from tensorkeep.backends import Backends
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, running_server
from tensorkeep_valkey.testing import PRESENT, running_engine

OK = b"+OK\r\n"
MODEL = '{"op": "multiply", "by": 2}'


@pytest.fixture(scope="module", params=PRESENT)
def server(request):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())
    with (
        running_engine(request.param) as engine,
        running_server(Settings(store=engine.unix), backends) as server,
    ):
        yield server


@pytest.fixture
def wire(server):
    with Wire(port_of(server)) as wire:
        assert wire.ask("FLUSHALL") == OK
        assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 3) == OK
        assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL) == OK
        yield wire


def run(wire, model="m", x="x"):
    """Runs a model; returns what it made of a tensor, or its error."""
    reply = wire.ask("AI.MODELEXECUTE", model, "INPUTS", 1, x, "OUTPUTS", 1, "y")
    return wire.read("AI.TENSORGET", "y", "VALUES")[-1] if reply == OK else reply


def test_what_is_renamed_is_found_under_its_new_key(wire):
    assert (wire.ask("RENAME", "m", "m2"), wire.ask("RENAME", "x", "x2")) == (OK, OK)
    assert run(wire, "m2", "x2") == b"6"
    assert run(wire) == b"-ERR model key is empty\r\n"


def test_a_copy_is_its_own(wire):
    assert (wire.ask("COPY", "m", "m2"), wire.ask("COPY", "x", "x2")) == (b":1\r\n", b":1\r\n")
    assert wire.ask("DEL", "m", "x") == b":2\r\n"
    assert run(wire, "m2", "x2") == b"6"


def test_what_is_dumped_and_restored_is_the_same(wire):
    for key in ("m", "x"):
        dumped = wire.read("DUMP", key)
        assert wire.ask("DEL", key) == b":1\r\n"
        assert wire.ask("RESTORE", key, 0, dumped) == OK
    assert run(wire) == b"6"


def test_what_expires_is_gone(wire):
    assert wire.ask("PEXPIRE", "x", 1) == b":1\r\n"
    time.sleep(0.05)
    assert run(wire)[:11] == b"-ERR tensor"


def test_a_tensor_that_is_stored_anew_has_no_expiry(wire):
    assert wire.ask("EXPIRE", "x", 100) == b":1\r\n"
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 4) == OK
    assert wire.ask("TTL", "x") == b":-1\r\n"
    assert run(wire) == b"8"


def test_after_flushall_nothing_is_there(wire):
    assert wire.ask("FLUSHALL") == OK
    assert run(wire) == b"-ERR model key is empty\r\n"


def test_each_database_has_its_own(wire):
    assert wire.ask("SELECT", 1) == OK
    assert run(wire) == b"-ERR model key is empty\r\n"
    assert wire.ask("SELECT", 0) == OK
    assert run(wire) == b"6"


def test_a_watched_tensor_that_an_ai_command_changed_ends_a_transaction(wire, server):
    assert wire.ask("WATCH", "x") == OK
    with Wire(port_of(server)) as other:
        assert other.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 5) == OK
    assert wire.ask("MULTI") == OK
    assert wire.ask("SET", "done", 1) == b"+QUEUED\r\n"
    assert wire.ask("EXEC") == b"*-1\r\n"


def test_relayed_and_ai_commands_of_one_client_keep_their_order(wire):
    wire.send("SET", "k", 1)
    wire.send("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 7)
    wire.send("INCR", "k")
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    wire.send("EXISTS", "y")
    wire.send("AI.TENSORGET", "y", "META")
    wire.send("GET", "k")
    replies = [wire.reply() for _ in range(7)]
    assert replies[:5] == [OK, OK, b":2\r\n", OK, b":1\r\n"]
    assert replies[6] == b"$1\r\n2\r\n"
