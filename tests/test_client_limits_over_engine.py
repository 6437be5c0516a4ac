"""The server's own limits of clients hold where the data is an engine's, for what it relays too."""

import socket
import time
from contextlib import suppress
from importlib.util import find_spec

import pytest

if find_spec("tensorkeep_valkey") is None:
    pytest.skip("it needs the store in Valkey", allow_module_level=True)

from tensorkeep_server.client_limits import ClientLimits, Share
from tensorkeep_server.output_limit import OutputLimit, OutputLimits
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, request, running_server
from tensorkeep_valkey.testing import running_engine

MIB = 1024 * 1024
PATIENCE = 15.0  # seconds


@pytest.fixture(scope="module")
def engine():
    with running_engine() as engine:
        yield engine


@pytest.fixture
def limited(engine):
    """Runs servers over the engine, with limits of a test's own."""

    def limited(**limits):
        return running_server(Settings(store=engine.unix, client_limits=ClientLimits(**limits)))

    return limited


def soon(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_closed(wire):
    wire.socket.settimeout(0.01)
    try:
        while wire.socket.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def reader(server):
    """A client whose system keeps little of what it does not read."""
    wire = Wire(port_of(server))
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    return wire


def test_idle_clients_are_ended_and_those_that_wait_at_the_engine_are_not(limited):
    with limited(timeout=1) as server:
        port = port_of(server)
        with Wire(port) as idle, Wire(port) as hears, Wire(port) as shown, Wire(port) as waits:
            assert idle.ask("PING") == b"+PONG\r\n"
            hears.ask("SUBSCRIBE", "limits:c")
            shown.ask("MONITOR")
            waits.send("BLPOP", "limits:none", 0)
            soon(lambda: is_closed(idle))
            time.sleep(1.0)
            assert not any(map(is_closed, (hears, shown, waits)))


def test_who_does_not_read_a_relayed_value_is_ended_when_its_time_is_over(limited):
    output = OutputLimits(normal=OutputLimit(0, 16 * 1024, 1))
    with limited(output=output) as server, Wire(port_of(server)) as other:
        other.ask("SET", "limits:large", bytes(32 * MIB))
        with reader(server) as slow:
            slow.send("GET", "limits:large")
            soon(lambda: server.counters["client_output_buffer_limit_disconnections"] == 1)
        assert other.ask("STRLEN", "limits:large") == b":%d\r\n" % (32 * MIB)


def test_of_what_is_relayed_and_not_read_little_waits_here(limited):
    with limited() as server, Wire(port_of(server)) as other:
        other.ask("SET", "limits:large", bytes(32 * MIB))
        with reader(server) as slow:
            slow.socket.sendall(request("GET", "limits:large") * 10)
            soon(lambda: server.clients_memory.filled)
            time.sleep(0.5)
            assert server.clients_memory.total < 4 * MIB
            assert other.ask("PING") == b"+PONG\r\n"
            for _ in range(10):
                assert len(slow.reply()) > 32 * MIB


def test_those_that_hold_the_most_are_evicted_for_tensors_that_they_do_not_read(limited):
    with limited(memory=Share(20 * MIB)) as server, Wire(port_of(server)) as other:
        other.ask("AI.TENSORSET", "limits:t", "UINT8", 12 * MIB, "BLOB", bytes(12 * MIB))
        with reader(server) as first, reader(server) as second:
            for each in (first, second):
                each.send("AI.TENSORGET", "limits:t", "BLOB")
            soon(lambda: server.counters["evicted_clients"] == 1)
            assert server.clients_memory.total < 20 * MIB
        assert other.ask("PING") == b"+PONG\r\n"


def test_a_query_beyond_its_limit_never_reaches_the_engine(limited):
    with limited(query=MIB) as server, Wire(port_of(server)) as other:
        with Wire(port_of(server)) as sender:
            with suppress(ConnectionError):
                sender.socket.sendall(request("SET", "limits:much", bytes(3 * MIB)))
            soon(lambda: is_closed(sender))
        assert other.ask("EXISTS", "limits:much") == b":0\r\n"


def test_the_engines_own_settings_are_what_config_shows(limited):
    with limited(timeout=77) as server, Wire(port_of(server)) as wire:
        assert wire.read("CONFIG", "GET", "timeout") == [b"timeout", b"0"]
