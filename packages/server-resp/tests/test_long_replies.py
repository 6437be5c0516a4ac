"""Replies of many elements: made in portions as the client takes them, whole and in their order."""

import time
from itertools import count

import hiredis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorkeep.commands.reply import BLOCK, OK, InVersion, LongArray, LongMap, Map, Set
from tensorkeep_server.encoding import encode, plain
from tensorkeep_server.portions import PORTION, Piece, take
from tensorkeep_server.testing import Wire, port_of, request

MANY = 100_000
MIB = 1024 * 1024


# ------------------------------------------------------------------------- encoding
def counting(size, made, element=lambda number: number):
    """A long array that notes how many of its elements were made."""

    def blocks():
        for start in range(0, size, BLOCK):
            block = [element(number) for number in range(start, min(start + BLOCK, size))]
            made.append(len(block))
            yield block

    return LongArray(size, blocks)


def portions(reply, version=2):
    out: list[Piece] = []
    encode(reply, version, out)
    while out:
        yield b"".join(take(out))


def read(reply, version=2):
    reader = hiredis.Reader()
    for portion in portions(reply, version):
        reader.feed(portion)
    value = reader.gets()
    assert reader.gets() is False, "more than one reply"
    return value


def test_nothing_of_a_long_array_is_made_before_it_is_taken():
    made: list[int] = []
    out: list[Piece] = []

    encode(counting(MANY, made), 2, out)
    assert not made

    take(out)
    assert 0 < sum(made) <= PORTION


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param([1.5] * MANY, id="floats"),
        pytest.param([*range(MANY)], id="integers"),
        pytest.param([b"member"] * MANY, id="bulks"),
        pytest.param((b"a", 1) * (MANY // 2), id="mixed"),
        pytest.param([(b"key", b"tag")] * MANY, id="pairs"),
        pytest.param(Set((b"member",) * MANY), id="set"),
        pytest.param(Map(tuple((b"%d" % n, b"v") for n in range(MANY))), id="map"),
        pytest.param(LongMap(MANY, lambda: [[b"key", 7] * 100] * (MANY // 100)), id="long map"),
        pytest.param([[7] * BLOCK] * 400, id="many lists of some length"),
        pytest.param([[[7] * 30] * 30] * 300, id="lists in lists"),
        pytest.param([[b"values", [1.5] * BLOCK]] * 300, id="values of many tensors"),
        pytest.param([InVersion(3, [0] * BLOCK)] * 400, id="before HELLO"),
        pytest.param([OK, [[[[9] * MANY]]], OK], id="deep inside"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_what_has_many_elements_is_made_in_portions_of_bounded_size(reply, version):
    out: list[Piece] = []
    encode(reply, version, out)
    at_once = sum(len(piece) for piece in out if isinstance(piece, bytes))
    sizes = [len(portion) for portion in portions(reply, version)]

    assert at_once < 8 * PORTION
    assert max(sizes) < 2 * PORTION
    assert len(sizes) > 4


elements = st.one_of(st.integers(-9, 9), st.binary(max_size=3), st.none(), st.floats(-1, 1))


@st.composite
def lists(draw):
    """Lists in lists of many lengths, of some thousand elements in all at most."""
    reply = draw(elements)
    size = 1
    for _ in range(draw(st.integers(1, 4))):
        times = draw(st.sampled_from([1, 2, 33, BLOCK, BLOCK + 1]))
        if size * times > 20_000:
            times = 1
        size *= times
        reply = [*draw(st.lists(elements, max_size=2)), *[reply] * times]
    return reply


@settings(max_examples=40)
@given(lists())
def test_a_client_reads_the_same_whether_a_reply_is_long_or_not(reply):
    def as_read(value):
        if isinstance(value, float):
            return b"%.17g" % value
        return [*map(as_read, value)] if isinstance(value, list) else value

    assert read(reply) == as_read(reply)


def test_what_follows_a_long_array_waits_behind_it():
    out: list[Piece] = []
    encode(counting(3 * BLOCK, []), 2, out)
    encode(OK, 2, out)

    whole = b"".join(b"".join(take(out)) for _ in iter(lambda: bool(out), False))

    assert whole.startswith(b"*%d\r\n:0\r\n:1\r\n" % (3 * BLOCK))
    assert whole.endswith(b":%d\r\n+OK\r\n" % (3 * BLOCK - 1))


def test_a_script_gets_a_long_array_as_a_plain_list():
    assert plain([counting(MANY, []), OK]) == [[*range(MANY)], b"OK"]


# ------------------------------------------------------------------------- over a socket
@pytest.fixture
def other(server):
    with Wire(port_of(server)) as other:
        yield other


def value_of(reply):
    """Returns a reply as a value, also a long one."""
    reader = hiredis.Reader()
    reader.feed(reply)
    return reader.gets()


def received(wire, size):
    """Reads the VALUES of a tensor of UINT8 zeros, which are too many for the test's own client."""
    expected = b"*%d\r\n" % size + b":0\r\n" * size
    found = bytearray()
    while len(found) < len(expected):
        piece = wire.socket.recv(len(expected) - len(found))
        assert piece, "the connection ended too early"
        found += piece
    return found == expected


def stored(wire, key, array, kind):
    words = ("AI.TENSORSET", key, kind, *array.shape, "BLOB", array.tobytes())
    assert wire.ask(*words) == b"+OK\r\n"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("FLOAT", np.linspace(-1, 1, MANY, dtype=np.float32)),
        ("DOUBLE", np.array([np.nan, -0.0, np.inf, 1e300] * (MANY // 4))),
        ("INT64", np.arange(MANY, dtype=np.int64) - 7),
        ("UINT8", np.arange(MANY).astype(np.uint8)),
        ("BOOL", np.arange(MANY) % 3 == 0),
    ],
)
def test_the_values_of_a_large_tensor_arrive_whole(wire, kind, array, version):
    wire.read("HELLO", version)
    stored(wire, "t", array, kind)

    values = value_of(wire.ask("AI.TENSORGET", "t", "VALUES"))

    expected = array.astype(int) if kind == "BOOL" else array
    assert np.array_equal([float(value) for value in values], expected, equal_nan=True)
    meta = value_of(wire.ask("AI.TENSORGET", "t", "META", "VALUES"))
    assert meta[:4] == [b"dtype", kind.encode(), b"shape", [MANY]]
    assert len(meta[5]) == MANY


@pytest.mark.parametrize("longest", [0, 3, 200_000])
def test_the_strings_of_a_large_tensor_arrive_whole(wire, longest):
    strings = [b"%d" % number for number in range(MANY)]
    strings[MANY // 2] = b"x" * longest
    blob = b"".join(string + b"\0" for string in strings)
    assert wire.ask("AI.TENSORSET", "s", "STRING", MANY, "BLOB", blob) == b"+OK\r\n"

    assert value_of(wire.ask("AI.TENSORGET", "s", "VALUES")) == strings


def test_long_replies_of_a_dag_and_of_a_transaction_arrive_whole_and_in_order(wire):
    stored(wire, "t", np.arange(MANY, dtype=np.int32), "INT32")
    gets = ["|>", "AI.TENSORGET", "t", "VALUES"] * 3
    wire.ask("MULTI")
    wire.ask("AI.TENSORGET", "t", "VALUES")
    wire.ask("HELLO", 3)
    wire.ask("AI.TENSORGET", "t", "META", "VALUES")
    wire.send("EXEC")
    wire.send("AI.DAGEXECUTE_RO", "LOAD", 1, "t", *gets)
    wire.send("ECHO", "after")

    first, _, second = value_of(wire.reply())
    assert first == second[5] == [*range(MANY)]
    assert value_of(wire.reply()) == [[*range(MANY)]] * 3
    assert value_of(wire.reply()) == b"after"


@pytest.mark.memory_store("the order of fields is the engine's")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("size", [1, BLOCK // 2, BLOCK // 2 + 1, 10_000])
def test_all_fields_of_a_hash_arrive_in_their_order(wire, version, size):
    wire.read("HELLO", version)
    words = [b"%d" % number for number in range(2 * size)]
    wire.ask("HSET", "h", *words)

    reply = wire.ask("HGETALL", "h")

    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    assert reply == (b"*%d\r\n" % (2 * size) if version == 2 else b"%%%d\r\n" % size) + bulks


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("size", [1, BLOCK // 2, BLOCK // 2 + 1, 10_000])
def test_members_of_a_sorted_set_arrive_in_their_order(wire, version, scores, size):
    wire.read("HELLO", version)
    wire.ask("ZADD", "z", *(word for n in range(size) for word in (n, f"m{n}")))

    reply = wire.ask("ZRANGE", "z", 0, -1, *(["WITHSCORES"] if scores else []))

    expected = []
    for number in range(size):
        member = b"$%d\r\nm%d\r\n" % (len(str(number)) + 1, number)
        score = b"$%d\r\n%d\r\n" % (len(str(number)), number)
        if version == 3:
            member, score = (b"*2\r\n" + member if scores else member), b",%d\r\n" % number
        expected.append(member + score if scores else member)
    elements = 2 * size if scores and version == 2 else size
    assert reply == b"*%d\r\n" % elements + b"".join(expected)


def test_others_are_served_while_a_client_does_not_read_its_long_reply(wire, other):
    stored(wire, "t", np.zeros(16 * MIB, np.uint8), "UINT8")
    wire.send("AI.TENSORGET", "t", "VALUES")
    wire.send("ECHO", "after")

    for _ in range(100):
        assert other.ask("PING") == b"+PONG\r\n"
    clients = other.read("CLIENT", "LIST").decode().splitlines()
    assert len(clients) == 2

    assert received(wire, 16 * MIB)
    assert value_of(wire.reply()) == b"after"


def test_the_server_keeps_little_of_a_long_reply_that_nobody_reads(wire, server):
    stored(wire, "t", np.zeros(16 * MIB, np.uint8), "UINT8")
    wire.send("AI.TENSORGET", "t", "VALUES")
    time.sleep(0.3)

    (client,) = server.clients.values()
    transport = client.close.__self__._transport
    assert transport.get_write_buffer_size() < 4 * PORTION


def test_a_message_comes_behind_the_long_reply_that_is_being_sent(wire, other):
    wire.read("HELLO", 3)
    wire.ask("SUBSCRIBE", "news")
    stored(wire, "t", np.zeros(4 * MIB, np.uint8), "UINT8")
    wire.send("AI.TENSORGET", "t", "VALUES")
    time.sleep(0.05)
    assert other.ask("PUBLISH", "news", "hello") == b":1\r\n"

    assert received(wire, 4 * MIB)
    assert wire.reply().startswith(b">3\r\n$7\r\nmessage\r\n")


@pytest.mark.memory_store("this engine hardly counts what its clients share", on=("valkey-9.1",))
def test_a_subscriber_in_the_middle_of_a_long_reply_that_reads_nothing_is_let_go(wire, other):
    wire.read("HELLO", 3)
    wire.ask("SUBSCRIBE", "news")
    stored(wire, "t", np.zeros(16 * MIB, np.uint8), "UINT8")
    wire.send("AI.TENSORGET", "t", "VALUES")
    time.sleep(0.05)

    for sent in count():
        if other.ask("PUBLISH", "news", b"x" * MIB) == b":0\r\n":
            break
        assert sent < 100, "messages pile up without a limit"


def test_a_client_that_goes_in_the_middle_of_a_long_reply_leaves_nothing(wire, other, server):
    stored(wire, "t", np.zeros(16 * MIB, np.uint8), "UINT8")
    wire.send("AI.TENSORGET", "t", "VALUES")
    time.sleep(0.05)
    wire.close()

    deadline = time.monotonic() + 10
    while len(server.clients) > 1:
        assert time.monotonic() < deadline
        other.ask("PING")
    assert other.ask("DEL", "t") == b":1\r\n"


def test_a_connection_is_closed_behind_its_long_reply(wire):
    stored(wire, "t", np.zeros(MIB, np.uint8), "UINT8")
    wire.socket.sendall(request("AI.TENSORGET", "t", "VALUES") + request("QUIT") + request("PING"))

    assert received(wire, MIB)
    assert wire.reply() == b"+OK\r\n"
    with pytest.raises(EOFError):
        wire.reply()


def test_a_broken_protocol_is_told_once_behind_the_long_reply(wire):
    stored(wire, "t", np.zeros(MIB, np.uint8), "UINT8")
    wire.socket.sendall(request("AI.TENSORGET", "t", "VALUES") + b"*x\r\n")

    assert received(wire, MIB)
    assert wire.reply().startswith(b"-ERR Protocol error")
    with pytest.raises(EOFError):
        wire.reply()


def test_the_connection_ends_when_a_long_reply_turns_out_to_be_no_reply(wire, server, monkeypatch):
    def broken(tensor, form):
        return [*range(MANY), "text"]

    monkeypatch.setattr("tensorkeep_server.commands.ai.tensors.show_tensor", broken)
    stored(wire, "t", np.zeros(1, np.uint8), "UINT8")

    with pytest.raises((EOFError, ConnectionError)):
        wire.ask("AI.TENSORGET", "t")
    with Wire(port_of(server)) as again:
        assert again.ask("PING") == b"+PONG\r\n"


@pytest.mark.memory_store("only the client's connection to the engine is closed")
def test_a_client_may_be_ended_by_another_in_the_middle_of_its_long_reply(wire, other):
    stored(wire, "t", np.zeros(16 * MIB, np.uint8), "UINT8")
    number = wire.read("CLIENT", "ID")
    wire.send("AI.TENSORGET", "t", "VALUES")
    time.sleep(0.05)

    assert other.read("CLIENT", "KILL", "ID", number) == 1
    with pytest.raises((EOFError, ConnectionError)):
        raise EOFError(wire.reply()[-9:])
    assert other.read("CLIENT", "LIST").count(b"id=") == 1
