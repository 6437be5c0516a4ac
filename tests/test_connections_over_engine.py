"""Commands of ours and the engine's are told apart, whether sent at once or one by one."""

import pytest

from tensorkeep.backends import Backends
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, request, running_server
from tensorkeep_valkey.testing import PRESENT, running_engine

QUEUED = b"+QUEUED\r\n"
META = b"*4\r\n$5\r\ndtype\r\n$4\r\nINT8\r\n$5\r\nshape\r\n*1\r\n:1\r\n"


@pytest.fixture(scope="module", params=PRESENT)
def engine(request):
    with running_engine(request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def server(engine):
    none = Backends(installed=lambda: ())
    with running_server(Settings(store=engine.unix), none) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(port_of(server)) as wire:
        yield wire


def at_once(wire, *commands):
    """Sends commands in one go; returns as many replies."""
    wire.socket.sendall(b"".join(request(*each.split()) for each in commands))
    return [wire.reply() for _ in commands]


def test_hello_within_a_transaction_is_queued_also_when_sent_at_once(wire):
    replies = at_once(wire, "MULTI", "HELLO 3", "GET x", "EXEC", "GET x")

    assert replies[:3] == [b"+OK\r\n", QUEUED, QUEUED]
    assert replies[3].startswith(b"*2\r\n%")
    assert replies[3].endswith(b"_\r\n")
    assert replies[4] == b"_\r\n"


def test_hello_behind_a_transaction_names_our_module_also_when_sent_at_once(wire):
    replies = at_once(wire, "MULTI", "GET x", "EXEC", "HELLO 3")

    assert b"$2\r\nai\r\n" in replies[3]


def test_what_we_refuse_within_a_transaction_spoils_it(wire):
    replies = at_once(wire, "MULTI", "SET spoilt 1", "SHUTDOWN NOSAVE", "EXEC", "EXISTS spoilt")

    assert replies[2] == b"-ERR Command not allowed inside a transaction\r\n"
    assert replies[3].startswith(b"-EXECABORT ")
    assert replies[4] == b":0\r\n"


def test_a_transaction_may_subscribe_and_set_tensors(wire):
    wire.ask("AI.TENSORSET", "t", "INT8", 1)
    commands = ["MULTI", "AI.TENSORGET t META", "SUBSCRIBE a b", "AI.TENSORSET u INT8 1", "GET x"]
    assert at_once(wire, *commands) == [b"+OK\r\n", *[QUEUED] * 4]
    wire.send("EXEC")
    parts = [wire._file.readline(), *(wire.reply() for _ in range(5))]

    assert parts[0] == b"*4\r\n"
    assert parts[1] == META
    assert [b"subscribe" in each for each in parts[2:4]] == [True, True]
    assert parts[4:] == [b"+OK\r\n", b"$-1\r\n"]
    assert wire.ask("PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


def test_a_subscriber_of_resp2_gets_no_ai_commands_done(wire):
    wire.ask("SUBSCRIBE", "a")

    assert wire.ask("AI.TENSORGET", "t", "META").startswith(b"-ERR Can't execute 'ai.tensorget'")
    wire.ask("UNSUBSCRIBE")
    assert wire.ask("AI.TENSORGET", "nothing", "META").startswith(b"-ERR tensor key is empty")


def test_a_reply_to_be_skipped_is_that_of_the_next_command_whoevers_it_is(wire):
    wire.ask("AI.TENSORSET", "t", "INT8", 1)
    commands = ["CLIENT REPLY SKIP", "AI.TENSORGET t META", "GET x", "CLIENT REPLY SKIP", "GET x"]
    wire.socket.sendall(b"".join(request(*each.split()) for each in commands))

    assert wire.reply() == b"$-1\r\n"
    assert wire.ask("AI.TENSORGET", "t", "META") == META
