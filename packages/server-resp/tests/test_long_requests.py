"""Requests that bring many values: read in steps, between which others are served."""

import struct
import time

import numpy as np
import pytest

from tensorkeep.commands.args import Args
from tensorkeep_server.testing import Wire, port_of, request
from tensorkeep_server.wire_tensor import LONG_REQUEST, read_tensor, read_tensor_in_steps

OK = b"+OK\r\n"
MANY = 3 * LONG_REQUEST + 5
INVALID = b"-ERR invalid value\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

NUMBERS = [str(number % 100) for number in range(MANY)]
SPOILED = [*NUMBERS[:-1], "x"]


def set_tensor(key, numbers, kind="FLOAT"):
    return ("AI.TENSORSET", key, kind, len(numbers), "VALUES", *numbers)


def blob_of(wire, key):
    return wire.read("AI.TENSORGET", key, "BLOB")


FLOATS = np.array(NUMBERS, np.float32).tobytes()


@pytest.fixture
def other(server):
    with Wire(port_of(server)) as other:
        yield other


# ------------------------------------------------------------------------- reading
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("FLOAT", [b"1.5", b"-inf", b"0x1p-3", b"1e3"]),
        ("DOUBLE", [b"0.1"]),
        ("FLOAT16", [b"0.1", b"-2"]),
        ("BFLOAT16", [b"0.1", b"7"]),
        ("INT8", [b"-128", b"127"]),
        ("UINT64", [b"18446744073709551615", b"0"]),
        ("BOOL", [b"1", b"0"]),
        ("STRING", [b"one", b"two\0", b""]),
    ],
)
@pytest.mark.parametrize("count", [1, LONG_REQUEST, MANY])
def test_what_is_read_in_steps_is_what_is_read_at_once(kind, words, count):
    values = [words[number % len(words)] for number in range(count)]
    items = [b"AI.TENSORSET", b"t", kind.encode(), b"%d" % count, b"VALUES", *values]

    steps = read_tensor_in_steps(Args(items, 2), 2**20)
    turns = 0
    try:
        while True:
            next(steps)
            turns += 1
    except StopIteration as end:
        tensor = end.value

    assert turns == -(-count // LONG_REQUEST)
    assert tensor == read_tensor(Args(items, 2), 2**20)


# ------------------------------------------------------------------------- AI.TENSORSET
def test_a_tensor_of_many_values_is_set_and_the_next_command_sees_it(wire):
    wire.socket.sendall(request(*set_tensor("t", NUMBERS)) + request("AI.TENSORGET", "t", "BLOB"))

    assert wire.reply() == OK
    assert wire.reply() == b"$%d\r\n%b\r\n" % (len(FLOATS), FLOATS)


@pytest.mark.parametrize("at", [0, MANY // 2, MANY - 1])
def test_one_wrong_value_of_many_leaves_the_old_tensor(wire, at):
    numbers = [*NUMBERS[:at], "nan", *NUMBERS[at + 1 :]]
    assert wire.ask(*set_tensor("t", ["7"])) == OK

    assert wire.ask(*set_tensor("t", numbers)) == INVALID

    assert blob_of(wire, "t") == struct.pack("f", 7)


@pytest.mark.memory_store("the key is looked at when it is written")
def test_a_key_of_another_type_wins_over_a_wrong_value(wire):
    wire.ask("SET", "k", "v")
    assert wire.ask(*set_tensor("k", SPOILED)) == WRONG_TYPE
    assert wire.read("GET", "k") == b"v"


def test_the_number_of_values_is_judged_before_them(wire):
    reply = wire.ask("AI.TENSORSET", "t", "FLOAT", 7, "VALUES", *SPOILED)
    assert reply == b"-ERR wrong number of values was given in 'AI.TENSORSET' command\r\n"


def test_in_a_transaction_the_key_is_judged_at_the_commands_place(wire):
    wire.ask("SET", "k", "v")
    for words in (("MULTI",), ("DEL", "k"), set_tensor("k", NUMBERS), ("SET", "j", 1)):
        wire.ask(*words)
    wire.ask(*set_tensor("j", NUMBERS))
    wire.ask(*set_tensor("t", SPOILED))

    assert wire.ask("EXEC") == b"*5\r\n:1\r\n" + OK + OK + WRONG_TYPE + INVALID
    assert blob_of(wire, "k") == FLOATS


def test_a_tensor_is_set_although_its_client_went_away(wire, other):
    wire.socket.sendall(request("SET", "begun", 1) + request(*set_tensor("t", NUMBERS)))
    while other.ask("EXISTS", "begun") == b":0\r\n":
        time.sleep(0.001)
    wire.close()

    deadline = time.monotonic() + 10
    while other.ask("EXISTS", "t") == b":0\r\n":
        assert time.monotonic() < deadline
    assert blob_of(other, "t") == FLOATS


@pytest.mark.memory_store("MONITOR shows what the engine is asked for")
def test_who_watches_the_commands_sees_all_of_a_long_one(wire, other):
    other.ask("MONITOR")
    assert wire.ask(*set_tensor("t", NUMBERS)) == OK

    assert other.reply().count(b'"') == 2 * (5 + MANY)


# ------------------------------------------------------------------------- DAGs
def dag(*operations, options=("ROUTING", "r")):
    return ("AI.DAGEXECUTE", *options, *(word for op in operations for word in ("|>", *op)))


def test_a_dag_of_many_values_is_done_like_a_short_one(wire):
    sets = [set_tensor(name, NUMBERS) for name in "ab"]
    get = ("AI.TENSORGET", "a", "BLOB")

    wire.send(*dag(*sets, get, options=("PERSIST", 1, "b")))

    bulk = b"$%d\r\n%b\r\n" % (len(FLOATS), FLOATS)
    assert wire.reply() == b"*3\r\n" + OK + OK + bulk
    assert blob_of(wire, "b") == FLOATS


def test_of_many_short_tensors_in_a_dag_each_is_right(wire):
    numbers = range(LONG_REQUEST // 4)
    sets = [set_tensor(f"t{number}", [number, 1]) for number in numbers]

    reply = wire.ask(*dag(*sets, ("AI.TENSORGET", f"t{numbers[-1]}", "VALUES")))

    last = b"*2\r\n$%d\r\n%d\r\n$1\r\n1\r\n" % (len(str(numbers[-1])), numbers[-1])
    assert reply == b"*%d\r\n" % (len(numbers) + 1) + OK * len(numbers) + last


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (dag(set_tensor("a", NUMBERS), set_tensor("b", SPOILED)), INVALID),
        (
            dag(set_tensor("a", SPOILED), options=("LOAD", 1, "absent")),
            b"-ERR tensor key is empty or in a different shard\r\n",
        ),
        (
            dag(("AI.NOSUCH",), set_tensor("b", SPOILED)),
            b"-Unsupported command within DAG\r\n",
        ),
        (dag(set_tensor("b", SPOILED), ("AI.NOSUCH",)), INVALID),
        (("AI.DAGEXECUTE", "ROUTING", "r", *NUMBERS), None),
    ],
)
def test_the_first_thing_that_is_wrong_in_a_long_dag_is_the_error(wire, request_, line):
    reply = wire.ask(*request_)

    assert reply.startswith(b"-")
    assert line is None or reply == line
    assert wire.ask("EXISTS", "a", "b") == b":0\r\n"


def test_data_that_looks_like_a_separator_stays_data_in_a_long_dag(wire):
    blob = ("AI.TENSORSET", "s", "STRING", 1, "BLOB", b"|>\0")

    reply = wire.ask(*dag(set_tensor("a", NUMBERS), blob, ("AI.TENSORGET", "s", "BLOB")))

    assert reply == b"*3\r\n" + OK + OK + b"$3\r\n|>\0\r\n"


def test_a_long_dag_of_a_client_that_went_away_leaves_nothing_behind(wire, other, server):
    wire.socket.sendall(request("SET", "begun", 1) + request(*dag(set_tensor("a", NUMBERS))))
    while other.ask("EXISTS", "begun") == b":0\r\n":
        time.sleep(0.001)
    wire.close()

    deadline = time.monotonic() + 10
    while len(server.clients) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert other.ask("PING") == b"+PONG\r\n"
