"""Where a client could notice that this is not RedisAI, it is as docs/differences.md says.

What batches may hold is tested with the queue, and which runs can be ended with each backend.
"""

import time
from importlib.util import find_spec
from threading import Thread

import numpy as np
import pytest
from counted import blocked
from onnx import TensorProto, helper

from tensorkeep_server.testing import WireError

FOREVER = 2**62
WRONG_TYPE = WireError("WRONGTYPE Operation against a key holding the wrong kind of value")
NO_MODEL = WireError("ERR model key is empty")
SCRIPT = """
def write(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", [keys[0], args[0]])
    return tensors[0]

def two(tensors: List[Tensor], keys: List[str], args: List[str]):
    return [tensors[0], tensors[0]]

def passes(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", [keys[0], args[0]])
    redis.execute("RPUSH", keys[1], str(redis.execute("GET", keys[0])), args[0])
    for each in redis.asList(redis.execute("LRANGE", keys[1], 0, -1)):
        redis.execute("APPEND", keys[2], str(each))
    return redisAI.model_execute(keys[3], tensors, 1)

def typed(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("AI.TENSORSET", [keys[0], "UINT64", "2", "VALUES", "1", args[0]])
    redis.execute("SET", ["seen", str(redis.execute("AI.TENSORGET", [keys[0], "VALUES"]))])
    return 2 * tensors[0]

def refused(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("NOSUCH", [keys[0]])
"""
with_torch = pytest.mark.skipif(find_spec("torch") is None, reason="scripts need torch")


def model(operator, element=TensorProto.FLOAT, **attributes):
    """Returns an ONNX model of one operator, `x` to `y`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    y = helper.make_tensor_value_info("y", element, [None])
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    return helper.make_model(
        helper.make_graph([node], operator, [x], [y]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    ).SerializeToString()


@pytest.fixture(scope="module")
def serving(start):
    """A server that ends a run after a second."""
    with start("--model-execution-timeout", "1000") as serving:
        yield serving


@pytest.fixture
def wire(serving):
    """A connection to a server with a tensor `x` and a model `same` in database 3 alone."""
    with serving.wire() as wire:
        wire.ask("FLUSHALL")
        wire.ask("SELECT", 3)
        wire.ask("AI.TENSORSET", "x", "FLOAT", 2, "VALUES", 1, 2)
        assert wire.read("AI.MODELSTORE", "same", "ONNX", "CPU", "BLOB", model("Identity")) == "OK"
        yield wire


@pytest.fixture
def script(wire):
    entries = ("ENTRY_POINTS", 5, "typed", "write", "two", "passes", "refused")
    assert wire.read("AI.SCRIPTSTORE", "s", "CPU", *entries, "SOURCE", SCRIPT) == "OK"


def run(wire, key="same", output="y"):
    return wire.read("AI.MODELEXECUTE", key, "INPUTS", 1, "x", "OUTPUTS", 1, output)


def call(wire, function, *rest):
    return wire.read("AI.SCRIPTEXECUTE", "s", function, "KEYS", 1, "k", "INPUTS", 1, "x", *rest)


# ------------------------------------------------------------------ models
def test_a_run_looks_in_the_database_of_its_client(wire):
    assert run(wire) == "OK"
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"1", b"2"]
    wire.ask("SELECT", 0)
    assert run(wire) == NO_MODEL
    assert wire.read("EXISTS", "y") == 0


def test_onto_a_key_that_holds_something_else_no_model_is_stored(wire):
    wire.ask("SET", "k", "kept")
    assert wire.read("AI.MODELSTORE", "k", "ONNX", "CPU", "BLOB", model("Identity")) == WRONG_TYPE
    assert wire.read("GET", "k") == b"kept"


def test_onto_a_key_that_holds_something_else_no_output_is_stored_and_there_is_one_reply(wire):
    wire.ask("SET", "k", "kept")
    assert run(wire, output="k") == WRONG_TYPE
    assert wire.read("PING") == "PONG"
    assert wire.read("GET", "k") == b"kept"


def test_half_floats_are_types_like_others(wire):
    narrow = model("Cast", TensorProto.FLOAT16, to=TensorProto.FLOAT16)
    assert wire.read("AI.MODELSTORE", "narrow", "ONNX", "CPU", "BLOB", narrow) == "OK"

    assert run(wire, "narrow") == "OK"
    assert wire.read("AI.TENSORGET", "y", "META", "VALUES")[1::4] == [b"FLOAT16", [b"1", b"2"]]


def test_negative_integers_and_empty_strings_are_values(wire):
    assert wire.read("AI.TENSORSET", "y", "INT8", 2, "VALUES", -1, -128) == "OK"
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [-1, -128]
    assert wire.read("AI.TENSORSET", "y", "STRING", 2, "VALUES", "", "a") == "OK"
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"", b"a"]


def test_of_a_dag_all_keys_are_stored_or_none(wire):
    wire.ask("SET", "k", "kept")
    sets = [word for name in ("a", "k") for word in ("|>", "AI.TENSORSET", name, "INT8", 1)]

    assert wire.read("AI.DAGEXECUTE", "PERSIST", 2, "a", "k", *sets) == ["OK", "OK", WRONG_TYPE]

    assert wire.read("EXISTS", "a") == 0
    assert wire.read("GET", "k") == b"kept"


def test_a_run_that_waits_is_told_when_its_time_is_over(serving, wire, counting):
    assert wire.read("AI.MODELSTORE", "endless", "ONNX", "CPU", "BLOB", counting) == "OK"
    wire.ask("AI.TENSORSET", "turns", "INT64", 1, "VALUES", FOREVER)
    wire.ask("AI.TENSORSET", "one", "FLOAT", 1, "VALUES", 1)
    ended = []

    def occupy():
        with serving.wire() as other:
            other.ask("SELECT", 3)
            ask = ("INPUTS", 2, "turns", "one", "OUTPUTS", 1, "never")
            ended.append(other.read("AI.MODELEXECUTE", "endless", *ask))

    thread = Thread(target=occupy)
    thread.start()
    while not blocked(wire):
        pass
    ask = ("INPUTS", 1, "x", "OUTPUTS", 1, "y", "TIMEOUT", 50)
    told = wire.read("AI.MODELEXECUTE", "same", *ask)
    busy_still = not ended
    thread.join()

    assert told == "TIMEDOUT"
    assert busy_still
    assert isinstance(ended[0], WireError)


# ------------------------------------------------------------------ scripts
@with_torch
def test_commands_of_a_script_are_done_in_the_database_of_its_client(wire, script):
    assert call(wire, "write", "ARGS", 1, "value") == "OK"
    assert wire.read("GET", "k") == b"value"
    wire.ask("SELECT", 0)
    assert wire.read("EXISTS", "k") == 0


DOUBLING = "def f0(x):\n    return x\n" + "".join(
    f"def f{n}(x):\n    return f{n - 1}(f{n - 1}(x))\n" for n in range(1, 20)
)
NESTED = "def f(x):\n" + "".join(f"{' ' * n}while bool(x[0]):\n" for n in range(1, 800)) + " " * 800


@with_torch
@pytest.mark.parametrize(
    "source",
    [DOUBLING, NESTED + "x = x + 1\n return x\n", "def f(x):\n" + "    x = x + 1\n" * 100_000],
    ids=["calls that double", "loops in loops", "many lines"],
)
def test_a_script_that_would_hold_up_others_while_it_compiles_is_refused(wire, source):
    start = time.monotonic()
    refused = wire.read("AI.SCRIPTSTORE", "long", "CPU", "SOURCE", source)

    assert isinstance(refused, WireError)
    assert time.monotonic() - start < 4
    assert wire.read("EXISTS", "long") == 0


@with_torch
@pytest.mark.parametrize("in_dag", [False, True])
@pytest.mark.parametrize("word", [b"k\0z", b"\0", b"\xff\xfe\0\x80", bytes(range(256)), b""])
def test_keys_arguments_and_replies_of_a_script_are_any_bytes(wire, script, word, in_dag):
    key, items, joined, same = (word + mark for mark in (b"1", b"2\0", b"3\xff", b"4\0\xff"))
    assert wire.read("AI.MODELSTORE", same, "ONNX", "CPU", "BLOB", model("Identity")) == "OK"
    wire.ask("SET", "k", "kept")
    wire.ask("SET", key.partition(b"\0")[0] or b"-", "kept")

    keys = ("KEYS", 4, key, items, joined, same)
    ask = (
        "AI.SCRIPTEXECUTE",
        "s",
        "passes",
        *keys,
        "INPUTS",
        1,
        "x",
        "ARGS",
        1,
        word,
        "OUTPUTS",
        1,
    )
    if in_dag:
        dag = ("AI.DAGEXECUTE", "LOAD", 1, "x", "PERSIST", 1, "y", "|>", *ask, "y")
        assert wire.read(*dag) == ["OK"]
    else:
        assert wire.read(*ask, "y") == "OK"

    assert wire.read("GET", key) == word
    assert wire.read("LRANGE", items, 0, -1) == [word, word]
    assert wire.read("GET", joined) == word * 2
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"1", b"2"]
    assert wire.read("GET", "k") == b"kept"


@with_torch
@pytest.mark.parametrize("dtype", ["FLOAT16", "BFLOAT16", "UINT32", "UINT64"])
def test_the_types_that_redisai_has_not_go_in_and_out_of_scripts(wire, script, dtype):
    wire.ask("AI.TENSORSET", "x", dtype, 2, "VALUES", 3, 4)

    assert call(wire, "typed", "ARGS", 1, 2**64 - 1, "OUTPUTS", 1, "y") == "OK"

    shown = wire.read("AI.TENSORGET", "y", "META", "VALUES")
    assert shown[1] == dtype.encode()
    assert [*map(int, shown[-1])] == [6, 8]
    assert wire.read("GET", "seen") == b"[1, 18446744073709551615]"


@with_torch
def test_a_list_of_more_tensors_than_outputs_is_an_error(wire, script):
    text = "Function returned unexpected number of outputs - two"
    assert call(wire, "two", "OUTPUTS", 1, "y") == WireError(text)


@pytest.mark.memory_store("Redis 6.2 has other words", on=("redis-6.2",))
@with_torch
def test_a_script_learns_why_its_command_is_refused(wire, script):
    refusal = call(wire, "refused")
    assert isinstance(refusal, WireError)
    assert "Invalid argument (ERR unknown command 'NOSUCH'" in str(refusal)


@with_torch
@pytest.mark.parametrize(
    ("scope", "name"), [("INPUTS", "inputs"), ("ARGS", "args"), ("OUTPUTS", "outputs")]
)
def test_a_negative_count_is_refused(wire, script, scope, name):
    first = () if scope == "INPUTS" else ("INPUTS", 1, "x")
    text = f"ERR number of {name} to AI.SCRIPTEXECUTE command does not match the number of given"
    told = wire.read("AI.SCRIPTEXECUTE", "s", "two", *first, scope, -1)
    assert told == WireError(f"{text} arguments")


# ------------------------------------------------------------------ the others
@pytest.mark.memory_store("the engine shares small integers")
def test_the_reference_count_is_one_for_small_integers_too(wire):
    wire.ask("SET", "k", 7)
    assert wire.read("OBJECT", "REFCOUNT", "k") == 1


def test_memory_counts_what_a_tensor_holds(wire):
    wire.ask("AI.TENSORSET", "big", "FLOAT", 250_000)
    assert wire.read("MEMORY", "USAGE", "big") > np.dtype(np.float32).itemsize * 250_000


def test_the_last_outputs_of_a_script_are_among_its_keys(wire):
    ask = ("AI.SCRIPTEXECUTE", "s", "f", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert wire.read("COMMAND", "GETKEYS", *ask) == [b"s", b"x", b"y"]
