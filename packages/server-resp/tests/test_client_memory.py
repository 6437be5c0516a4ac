"""What clients hold: of requests that are not done, and of replies that are not read."""

import socket
import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_server.client_memory import ARGUMENT, CONNECTION, ClientsMemory, Held
from tensorkeep_server.codec import LARGE, Limits, RequestParser
from tensorkeep_server.inbox import Inbox
from tensorkeep_server.testing import request

MIB = 1024 * 1024


# ------------------------------------------------------------------ of requests
@given(st.lists(st.binary(max_size=300) | st.just(bytes(LARGE)), min_size=1, max_size=5), st.data())
def test_of_half_a_request_the_bytes_count_that_were_kept(arguments, data):
    whole = request(*arguments)
    end = data.draw(st.integers(0, len(whole) - 1))
    parser = RequestParser(Limits())
    parser.feed(whole[:end])

    held = Held(*parser.held())

    heads = len(b"*1\r\n") + sum(len(b"$%d\r\n" % len(each)) + 2 for each in arguments)
    kept = held.unparsed + held.arguments - ARGUMENT * len(arguments)
    assert kept <= end <= held.unparsed + held.arguments + heads
    assert held.room <= LARGE + 2


def test_what_is_set_aside_for_a_large_argument_is_not_held_yet():
    parser = RequestParser(Limits())
    parser.feed(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (100 * MIB) + bytes(1000))
    assert parser.held() == (1000, 100 * MIB + 2 - 1000, 4 + ARGUMENT)


def test_between_requests_nothing_is_held():
    parser = RequestParser(Limits())
    parser.feed(request("SET", "k", bytes(3 * LARGE)) * 2)
    assert parser.held() == (0, 0, 0)
    parser.feed(b"*2\r\n$4\r\nECHO\r\n$%d\r\nhalf" % LARGE)
    assert parser.held() != (0, 0, 0)
    parser.close()
    assert parser.held() == (0, 0, 0)


def test_what_was_received_ahead_and_what_waits_to_be_done_is_held():
    shared = memoryview(bytearray(64 * 1024))
    inbox = Inbox(Limits(), shared)
    data = request("ECHO", "x" * 100) * 3
    inbox.room()[: len(data)] = data
    inbox.receive(len(data), served=False)
    assert inbox.held() == (len(data), 0, 0)
    assert inbox.parse(lambda: True)
    assert inbox.held() == (0, 0, 3 * (104 + 2 * ARGUMENT))


# ------------------------------------------------------------------ of all clients
@given(st.integers(0, 2**32))
def test_the_sum_is_that_of_all_and_those_that_hold_the_most_come_first(seed):
    random = Random(seed)
    memory = ClientsMemory()
    expected = {}
    for _ in range(100):
        client = random.randrange(12)
        if random.random() < 0.2:
            memory.forget(client)
            expected.pop(client, None)
        else:
            expected[client] = size = random.choice([0, 1, 5, 1000, 2**20, 10**9])
            memory.note(client, size)
        assert memory.total == sum(expected.values())
        largest = list(memory.largest())
        assert sorted(largest) == sorted(expected)
        sizes = [expected[each].bit_length() for each in largest]
        assert sizes == sorted(sizes, reverse=True)


def test_clients_may_be_forgotten_while_the_largest_are_asked_for():
    memory = ClientsMemory()
    for client in range(5):
        memory.note(client, 1000 * client)
    for client in memory.largest():
        memory.forget(client)
    assert (memory.total, list(memory.largest())) == (0, [])


# ------------------------------------------------------------------ what CLIENT LIST tells
def fields(wire, client_id):
    [line] = wire.read("CLIENT", "LIST", "ID", client_id).decode().splitlines()
    return dict(field.partition("=")[::2] for field in line.split())


def soon(look, holds):
    deadline = time.monotonic() + 10
    while not holds(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


@pytest.fixture
def other(connect):
    wire = connect()
    wire.id = wire.read("CLIENT", "ID")
    return wire


@pytest.mark.memory_store("the engine shows its own connection")
def test_a_client_that_asks_for_nothing_holds_nothing(wire, other):
    found = fields(wire, other.id)
    zero = ["qbuf", "qbuf-free", "argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll", "omem"]
    assert {found[name] for name in zero} == {"0"}
    assert found["tot-mem"] == str(CONNECTION)
    assert int(found["fd"]) > 2


@pytest.mark.memory_store("the engine shows its own connection")
def test_half_a_request_is_told(wire, other):
    other.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % MIB + bytes(MIB // 2))

    found = soon(lambda: fields(wire, other.id), lambda found: found["qbuf"] == str(MIB // 2))

    assert found["qbuf-free"] == str(MIB // 2 + 2)
    assert found["argv-mem"] == str(4 + 2 * ARGUMENT)
    assert int(found["tot-mem"]) == CONNECTION + MIB // 2 + 4 + 2 * ARGUMENT
    other.socket.sendall(bytes(MIB // 2) + b"\r\n")
    assert other.reply() == b"+OK\r\n"
    assert fields(wire, other.id)["tot-mem"] == str(CONNECTION)


@pytest.mark.memory_store("the engine shows its own connection")
def test_what_waits_for_exec_is_told(wire, other):
    other.ask("MULTI")
    other.ask("SET", "k", "v" * 1000)
    assert 1004 + 3 * ARGUMENT <= int(fields(wire, other.id)["multi-mem"]) < 1500
    other.ask("EXEC")
    assert fields(wire, other.id)["multi-mem"] == "0"


@pytest.mark.memory_store("the engine shows its own connection")
def test_what_is_not_read_is_told_and_forgotten_when_it_was(wire, other, server):
    blob = bytes(32 * MIB)
    wire.ask("SET", "k", blob)
    other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    other.send("GET", "k")
    found = soon(lambda: fields(wire, other.id), lambda found: int(found["omem"]) > 20 * MIB)
    assert found["events"] == "rw"
    assert int(found["oll"]) > 0
    assert server.clients_memory.total > 20 * MIB

    assert other.reply() == b"$%d\r\n%b\r\n" % (len(blob), blob)

    found = fields(wire, other.id)
    assert (found["omem"], found["oll"], found["events"]) == ("0", "0", "r")
    soon(lambda: server.clients_memory.total, lambda total: total == 2 * CONNECTION)


def test_who_went_away_holds_nothing(wire, other, server):
    other.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % MIB + bytes(MIB // 2))
    soon(lambda: server.clients_memory.total, lambda total: total > MIB // 2)
    other.close()
    soon(lambda: server.clients_memory.total, lambda total: total == CONNECTION)
