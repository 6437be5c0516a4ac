"""AI.DAGEXECUTE, AI.DAGRUN and their read-only forms, as they go over the wire."""

import logging
import math
import struct
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.backends import Backends
from tensorkeep.hookspecs import hookimpl
from tensorkeep.tensor import Tensor
from tensorkeep_server.commands.ai.dag import keys_of_dag
from tensorkeep_server.testing import WireError, read_value

OK = b"+OK\r\n"
TIMED_OUT = b"+TIMEDOUT\r\n"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_TENSOR = "ERR tensor key is empty or in a different shard"
NO_INPUT = "ERR INPUT key cannot be found in DAG"
NO_PERSIST = "ERR PERSIST key cannot be found in DAG"
NO_OPTION = (
    "ERR AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of"
    " ROUTING, LOAD, PERSIST keywords"
)
NO_MATCH = "Number of keys given as {} here does not match model definition"
TOO_FEW = (
    "ERR number of {} keys to AI.MODELEXECUTE command does not match the number of given arguments"
)
UNEXPECTED = "ERR Invalid DAG command. Unexpected argument:  {}"
FEW_LOADED = "ERR number of keys to LOAD into DAG does not match the number of given arguments"
FEW_PERSISTED = (
    "ERR number of keys to PERSIST after DAG execution does not match the number of given arguments"
)
NO_COUNT = "ERR invalid or negative value found in number of keys to {}"
NO_LIST = "ERR missing arguments after {} keyword in DAG command"
UNSUPPORTED = "Unsupported command within DAG"
SET_ARITY = "wrong number of arguments for 'AI.TENSORSET' command"
GET_ARITY = "wrong number of arguments for 'AI.TENSORGET' command"
NO_BLOB = "ERR a single binary string should come after the BLOB argument in 'AI.TENSORSET' command"

DOUBLE = '{"op": "multiply", "by": 2}'
BLOCK = '{"op": "block"}'
FAIL = '{"op": "fail", "text": "no luck"}'
RUN_X = "AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 y"


@pytest.fixture
def backends(fake):
    """A model with three outputs returns two of them as halves."""

    class Halves:
        @hookimpl(wrapper=True)
        def model_run(self, model, inputs, run):
            outputs = yield
            if len(model.outputs) != 3:
                return outputs
            first, *others = outputs
            return [first, *(Tensor.from_numpy(o.numpy().astype(np.float16)) for o in others)]

    backends = Backends(wrappers=[Halves()], installed=lambda: ())
    backends.add("ONNX", fake)
    backends.add("TORCH", fake)
    return backends


def error(line):
    return f"-{line}\r\n".encode()


def store(wire, key, model, *options, device="CPU"):
    assert wire.ask("AI.MODELSTORE", key, "ONNX", device, *options, "BLOB", model) == OK


def put(wire, key, *values):
    assert wire.ask("AI.TENSORSET", key, "FLOAT", len(values), "VALUES", *values) == OK


def values(wire, key):
    return [float(value) for value in wire.read("AI.TENSORGET", key, "VALUES")]


def ask(wire, request):
    """Asks what is written with blanks between the arguments."""
    return wire.ask(*request.split())


def send(wire, request):
    wire.send(*request.split())


def read(wire, request):
    return read_value(ask(wire, request))


def counts(wire, key):
    """Calls and errors of a model."""
    info = wire.read("AI.INFO", key)
    return info[15], info[17]


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ---------------------------------------------------------------------- what is answered
def test_each_operation_has_its_element_and_only_what_is_persisted_is_stored(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1, 2, 3)
    dag = (
        f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {RUN_X} |> AI.MODELEXECUTE m INPUTS 1 y OUTPUTS 1 z"
    )
    assert ask(wire, f"{dag} |> AI.TENSORSET w INT8 1 |> AI.TENSORGET z VALUES") == (
        b"*4\r\n+OK\r\n+OK\r\n+OK\r\n*3\r\n$1\r\n4\r\n$1\r\n8\r\n$2\r\n12\r\n"
    )
    assert values(wire, "y") == [2, 4, 6]
    assert sorted(wire.read("KEYS", "*")) == [b"m", b"x", b"y"]


def test_in_resp3_values_are_doubles_and_the_rest_is_the_same(wire):
    wire.ask("HELLO", 3)
    store(wire, "m", DOUBLE)
    put(wire, "x", 1.25)
    dag = f"AI.DAGEXECUTE_RO LOAD 1 x |> AI.TENSORGET x META VALUES |> {RUN_X}"
    assert ask(wire, f"{dag} |> AI.TENSORGET y VALUES") == (
        b"*3\r\n*6\r\n$5\r\ndtype\r\n$5\r\nFLOAT\r\n$5\r\nshape\r\n*1\r\n:1\r\n$6\r\nvalues\r\n"
        b"*1\r\n,1.25\r\n+OK\r\n*1\r\n,2.5\r\n"
    )


@pytest.mark.parametrize(
    ("form", "element"),
    [
        ("", [b"dtype", b"INT8", b"shape", [2], b"blob", b"\1\2"]),
        ("META", [b"dtype", b"INT8", b"shape", [2]]),
        ("blob meta", [b"dtype", b"INT8", b"shape", [2], b"blob", b"\1\2"]),
        ("Values META", [b"dtype", b"INT8", b"shape", [2], b"values", [1, 2]]),
        ("BLOB", b"\1\2"),
        ("VALUES", [1, 2]),
    ],
)
@pytest.mark.parametrize(
    "name", ["AI.DAGEXECUTE ROUTING r", "AI.DAGEXECUTE_RO ROUTING r", "AI.DAGRUN", "AI.DAGRUN_RO"]
)
def test_a_tensor_is_answered_in_each_of_its_forms(wire, name, form, element):
    dag = f"{name} |> AI.TENSORSET x INT8 2 VALUES 1 2 |> AI.TENSORGET x {form}"
    assert read(wire, dag) == ["OK", element]
    assert wire.read("KEYS", "*") == []


@pytest.mark.parametrize("name", ["AI.DAGRUN", "AI.DAGRUN_RO"])
def test_the_deprecated_spelling_runs_models_too_and_needs_no_option(wire, name):
    store(wire, "m", '{"op": "add"}')
    dag = f"{name} |> AI.TENSORSET a FLOAT 1 VALUES 1 |> AI.MODELRUN m INPUTS a a OUTPUTS b"
    assert read(wire, f"{dag} |> AI.TENSORGET b VALUES") == ["OK", "OK", [b"2"]]
    put(wire, "x", 4)
    dag = f"{name} LOAD 1 x ROUTING r TIMEOUT 1000 |> ai.modelrun m inputs x x outputs x"
    assert read(wire, f"{dag} |> AI.TENSORGET x VALUES") == ["OK", [b"8"]]
    assert values(wire, "x") == [4]


def test_words_are_known_in_any_case_and_up_to_a_nul(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 3)
    request = [
        "ai.dagexecute", "load", 1, "x", b"persist\0!", 1, "y", "Routing", "r", "TimeOut", 5000,
        b"|>\0", "Ai.ModelExecute", "m", "inputs", 1, "x", "outputs", 1, "y",
        b"|>\0x", b"ai.tensorget\0", "y", b"values\0",
    ]  # fmt: skip
    assert wire.read(*request) == ["OK", [b"6"]]
    assert values(wire, "y") == [6]


def test_options_come_in_any_order(wire):
    put(wire, "x", 3)
    options = ["LOAD 1 x", "PERSIST 1 x", "ROUTING r", "TIMEOUT 5000"]
    for at in range(4):
        order = " ".join(options[at:] + options[:at])
        assert (
            ask(wire, f"AI.DAGEXECUTE {order} |> AI.TENSORGET x VALUES")
            == b"*1\r\n*1\r\n$1\r\n3\r\n"
        )


def test_data_goes_in_and_out_byte_for_byte_whatever_it_looks_like(wire):
    large = bytes(range(256)) * 1024
    for blob in (b"|>\0\0", b"BLOB", b"\r\n|>", large):
        size = len(blob)
        request = ["ROUTING", "r", "|>", "AI.TENSORSET", "x", "UINT8", size, "BLOB", blob]
        reply = wire.read("AI.DAGEXECUTE", *request, "|>", "AI.TENSORGET", "x", "BLOB")
        assert reply == ["OK", blob]


def test_names_may_be_any_bytes_and_words(wire):
    store(wire, "m", DOUBLE)
    name = b"x\0\xff|> y"
    request = [
        "LOAD", 2, "LOAD", name, "PERSIST", 1, "PERSIST",
        "|>", "AI.MODELEXECUTE", "m", "INPUTS", 1, name, "OUTPUTS", 1, "PERSIST",
        "|>", "AI.TENSORGET", "LOAD", "VALUES",
    ]  # fmt: skip
    put(wire, name, 1)
    put(wire, "LOAD", 5)
    assert wire.read("AI.DAGEXECUTE", *request) == ["OK", [b"5"]]
    assert values(wire, "PERSIST") == [2]


def test_models_and_tensors_are_those_of_the_selected_database(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    assert wire.ask("SELECT", 1) == OK
    dag = f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {RUN_X}"
    assert ask(wire, dag) == error(NO_TENSOR)
    put(wire, "x", 2)
    assert ask(wire, dag) == error("ERR model key is empty")
    store(wire, "m", '{"op": "multiply", "by": 5}')
    assert ask(wire, dag) == b"*1\r\n+OK\r\n"
    assert values(wire, "y") == [10]
    assert wire.ask("SELECT", 0) == OK
    assert wire.ask("EXISTS", "y") == b":0\r\n"


# ---------------------------------------------------------------------- names and their values
def test_a_name_has_the_value_that_was_current_where_it_is_used(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    dag = """
        AI.DAGEXECUTE LOAD 1 x PERSIST 1 x
        |> AI.TENSORGET x VALUES |> AI.TENSORSET x FLOAT 1 VALUES 10 |> AI.TENSORGET x VALUES
        |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 x |> AI.TENSORGET x VALUES
        |> AI.TENSORSET x FLOAT 1 VALUES 7 |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 x
        |> AI.TENSORGET x VALUES |> AI.TENSORSET x FLOAT 1 VALUES 0
    """
    reply = read(wire, dag)
    assert [item[0] for item in reply if item != "OK"] == [b"1", b"10", b"20", b"14"]
    assert reply.count("OK") == 5
    assert values(wire, "x") == [0]


def test_of_outputs_with_one_name_the_last_one_wins(wire):
    store(wire, "m", '{"op": "identity", "inputs": 2}')
    put(wire, "a", 1)
    put(wire, "b", 2)
    run = "AI.MODELEXECUTE m INPUTS 2 a b OUTPUTS 2 y y"
    dag = f"AI.DAGEXECUTE LOAD 2 a b PERSIST 1 y |> {run} |> AI.TENSORGET y VALUES"
    assert read(wire, dag) == ["OK", [b"2"]]
    assert values(wire, "y") == [2]


def test_a_key_may_be_loaded_twice_and_rewritten(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    assert wire.ask("EXPIRE", "x", 100) == b":1\r\n"
    dag = "AI.DAGEXECUTE LOAD 3 x x x PERSIST 1 x |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 x"
    for doubled in (2, 4, 8):
        assert ask(wire, dag) == b"*1\r\n+OK\r\n"
        assert values(wire, "x") == [doubled]
    assert wire.ask("TTL", "x") == b":-1\r\n"


def test_a_loaded_key_that_is_persisted_unchanged_loses_its_expiry(wire):
    put(wire, "x", 1)
    assert wire.ask("EXPIRE", "x", 100) == b":1\r\n"
    assert read(wire, "AI.DAGEXECUTE LOAD 1 x PERSIST 1 x |> AI.TENSORGET x VALUES") == [[b"1"]]
    assert wire.ask("TTL", "x") == b":-1\r\n"


def test_a_string_tensor_comes_through_a_model(wire):
    store(wire, "m", '{"op": "identity"}')
    dag = f"AI.DAGEXECUTE ROUTING r |> AI.TENSORSET x STRING 2 VALUES a bc |> {RUN_X}"
    assert read(wire, f"{dag} |> AI.TENSORGET y VALUES") == ["OK", "OK", [b"a", b"bc"]]


# ---------------------------------------------------------------------- errors of the request
EVERYWHERE = [
    # 2 over 3
    ("ROUTING r TIMEOUT 5 LOAD", NO_LIST.format("LOAD")),
    ("ROUTING r TIMEOUT 5 LOAD bad", NO_LIST.format("LOAD")),
    # 3 over 4
    ("LOAD bad none |> AI.TENSORGET none", NO_COUNT.format("LOAD")),
    ("LOAD 0 none |> AI.TENSORGET none", NO_COUNT.format("LOAD")),
    ("LOAD -1 none |> AI.TENSORGET none", NO_COUNT.format("LOAD")),
    ("LOAD 1.0 none |> AI.TENSORGET none", NO_COUNT.format("LOAD")),
    ("LOAD 01 none |> AI.TENSORGET none", NO_COUNT.format("LOAD")),
    # 4 over 5, from left to right
    ("LOAD 9 none x |> |>", NO_TENSOR),
    ("LOAD 9 x m none |>", WRONG_TYPE),
    ("LOAD 2 none m |> AI.TENSORGET x", NO_TENSOR),
    ("LOAD 2 m none |> AI.TENSORGET x", WRONG_TYPE),
    ("LOAD 2 x |> AI.TENSORGET x", NO_TENSOR),
    # 5
    ("LOAD 9 x x x x", FEW_LOADED),
    ("LOAD 9223372036854775807 x x x", FEW_LOADED),
    # options from left to right
    ("LOAD 1 none TIMEOUT bad |> AI.TENSORGET x", NO_TENSOR),
    ("TIMEOUT bad LOAD 1 none |> AI.TENSORGET x", "ERR Invalid value for TIMEOUT"),
    ("KEYS 1 x LOAD 1 none |> AI.TENSORGET x", UNEXPECTED.format("KEYS")),
    # 11 over 14
    ("LOAD 1 x TIMEOUT 5 ROUTING", "ERR Missing ROUTING value"),
    # 12, and 13 over 14
    ("LOAD 1 x ROUTING r TIMEOUT", "ERR No value provided for TIMEOUT"),
    ("LOAD 1 x TIMEOUT bad nonsense |>", "ERR Invalid value for TIMEOUT"),
    ("LOAD 1 x TIMEOUT 1.0 |> AI.TENSORGET x", "ERR Invalid value for TIMEOUT"),
    ("LOAD 1 x TIMEOUT |> |> AI.TENSORGET x", "ERR Invalid value for TIMEOUT"),
    # 14: another word, a repeated option, a separator at the end
    ("LOAD 1 x keys 1 y |> AI.TENSORGET none", UNEXPECTED.format("keys")),
    ("LOAD 1 x load 1 none |> AI.TENSORGET x", UNEXPECTED.format("load")),
    ("LOAD 1 x ROUTING r ROUTING", UNEXPECTED.format("ROUTING")),
    ("LOAD 1 x TIMEOUT 1 TIMEOUT", UNEXPECTED.format("TIMEOUT")),
    ("LOAD 1 x ROUTING r |>", UNEXPECTED.format("|>")),
    ("LOAD 1 x |> AI.TENSORGET none |>", UNEXPECTED.format("|>")),
    ("ROUTING |> AI.TENSORGET x VALUES", UNEXPECTED.format("AI.TENSORGET")),
    ("AI.TENSORGET x |> LOAD 1 x", UNEXPECTED.format("AI.TENSORGET")),
    # 16 over 27
    ("LOAD 1 x TIMEOUT 5", "ERR DAG is empty"),
    ("LOAD 3 x x x", "ERR DAG is empty"),
    # the first operation that is wrong decides
    ("LOAD 1 x |> AI.TENSORGET |> AI.TENSORSET", GET_ARITY),
    ("LOAD 1 x |> AI.TENSORSET |> AI.TENSORGET", SET_ARITY),
    # 17 over 18
    ("LOAD 1 x |> AI.TENSORGET x META VALUES bad", GET_ARITY),
    # 18 over 26
    ("LOAD 1 x |> AI.TENSORGET none bad", "ERR unsupported data format"),
    ("LOAD 1 x |> AI.TENSORGET none BLOB VALUES", "ERR both BLOB and VALUES specified"),
    ("LOAD 1 x |> AI.TENSORGET none BLOB bad", "ERR unsupported data format"),
    # 19 over 20
    ("LOAD 1 x |> AI.TENSORSET y bad", SET_ARITY),
    # 20, in the order of AI.TENSORSET; the name may be the key of anything
    ("LOAD 1 x |> AI.TENSORSET m bad bad", "ERR invalid data type"),
    (
        "LOAD 1 x |> AI.TENSORSET y FLOAT bad BLOB",
        "ERR invalid or negative value found in tensor shape",
    ),
    (
        "LOAD 1 x |> AI.TENSORSET y FLOAT 0",
        "ERR invalid or negative value found in tensor shape",
    ),
    ("LOAD 1 x |> AI.TENSORSET y FLOAT 1 BLOB |> AI.TENSORGET none", NO_BLOB),
    ("LOAD 1 x |> AI.TENSORSET y FLOAT 1 BLOB a b", NO_BLOB),
    (
        "LOAD 1 x |> AI.TENSORSET y FLOAT 2 VALUES bad",
        "ERR wrong number of values was given in 'AI.TENSORSET' command",
    ),
    (
        "LOAD 1 x |> AI.TENSORSET y FLOAT 2 BLOB abc",
        "ERR data length does not match tensor shape and type",
    ),
    ("LOAD 1 x |> AI.TENSORSET y BOOL 1 BLOB a", "ERR BOOL tensor elements must be 0 or 1"),
    (
        "LOAD 1 x |> AI.TENSORSET y STRING 2 BLOB abc",
        "ERR Number of string elements in data blob does not match tensor length",
    ),
    ("LOAD 1 x |> AI.TENSORSET y FLOAT 1 VALUES bad", "ERR invalid value"),
    # 25
    ("LOAD 1 x |> AI.NOSUCH |> AI.TENSORGET", UNSUPPORTED),
    ("LOAD 1 x |> |> AI.TENSORGET", UNSUPPORTED),
    ("LOAD 1 x |> LOAD 1 x", UNSUPPORTED),
    ("LOAD 1 x |> AI.DAGEXECUTE LOAD 1 x", UNSUPPORTED),
    ("LOAD 1 x |> AI.MODELDEL m", UNSUPPORTED),
    ("LOAD 1 x |> AI.TENSORGET none |> AI.NOSUCH", UNSUPPORTED),
    # 26
    ("LOAD 1 x |> AI.TENSORGET none", NO_INPUT),
    ("LOAD 1 x |> AI.TENSORGET y |> AI.TENSORSET y FLOAT 1", NO_INPUT),
]
WRITING = [
    # 7 over 8
    ("ROUTING r TIMEOUT 5 PERSIST", NO_LIST.format("PERSIST")),
    ("ROUTING r TIMEOUT 5 PERSIST bad", NO_LIST.format("PERSIST")),
    # 8 over 9
    ("PERSIST bad y y |> AI.TENSORGET y", NO_COUNT.format("PERSIST")),
    ("PERSIST 0 y y |> AI.TENSORGET y", NO_COUNT.format("PERSIST")),
    ("PERSIST -1 y y |> AI.TENSORGET y", NO_COUNT.format("PERSIST")),
    ("PERSIST 1.0 y y |> AI.TENSORGET y", NO_COUNT.format("PERSIST")),
    # 9 over 10
    ("PERSIST 9 y z y a", "ERR PERSIST keys must be unique"),
    # 10
    ("PERSIST 9 y z a b", FEW_PERSISTED),
    # options from left to right
    ("PERSIST bad y LOAD 1 none |> AI.TENSORGET x", NO_COUNT.format("PERSIST")),
    ("LOAD 1 none PERSIST bad y |> AI.TENSORGET x", NO_TENSOR),
    # 14
    ("PERSIST 2 y |> AI.TENSORGET y", UNEXPECTED.format("AI.TENSORGET")),
    ("ROUTING r PERSIST 1 y PERSIST", UNEXPECTED.format("PERSIST")),
    # 16 over 27
    ("PERSIST 1 y ROUTING r", "ERR DAG is empty"),
    # 26 over 27
    ("PERSIST 1 none |> AI.TENSORGET y", NO_INPUT),
    # 27: what is stored under the key does not matter
    ("PERSIST 1 x |> AI.TENSORSET y FLOAT 1", NO_PERSIST),
    ("PERSIST 2 y none |> AI.TENSORSET y FLOAT 1", NO_PERSIST),
]
READ_ONLY = [
    # 6 over everything of PERSIST
    ("LOAD 1 x ROUTING r PERSIST", "ERR PERSIST cannot be specified in a read-only DAG"),
    ("PERSIST bad y y |> AI.TENSORGET y", "ERR PERSIST cannot be specified in a read-only DAG"),
    ("PERSIST 1 y LOAD 1 none |> a", "ERR PERSIST cannot be specified in a read-only DAG"),
    ("LOAD 1 none PERSIST 1 y |> a", NO_TENSOR),
]
EXECUTE = [
    # 14 over 15
    ("TIMEOUT 5 |> AI.NOSUCH x |>", UNEXPECTED.format("|>")),
    # 15 over 17 and later
    ("TIMEOUT 5 |> AI.TENSORGET |> AI.NOSUCH", NO_OPTION),
    ("|> AI.TENSORGET a b c d", NO_OPTION),
    ("|> AI.NOSUCH a b c", NO_OPTION),
    # 21: the rows of AI.MODELEXECUTE, in their order
    (
        "LOAD 1 x |> AI.MODELEXECUTE none INPUTS 1 x OUTPUTS 1",
        "ERR wrong number of arguments for 'AI.MODELEXECUTE' command",
    ),
    ("LOAD 1 x |> AI.MODELEXECUTE none NOINPUTS 1 x OUTPUTS 1 y", "ERR model key is empty"),
    ("LOAD 1 x |> AI.MODELEXECUTE x NOINPUTS 1 x OUTPUTS 1 y", WRONG_TYPE),
    ("LOAD 1 x |> AI.MODELEXECUTE m NOINPUTS bad x OUTPUTS 1 y", "ERR INPUTS not specified"),
    (
        "LOAD 1 x |> AI.MODELEXECUTE m INPUTS bad x OUTPUTS 1 y",
        "ERR Invalid argument for input_count",
    ),
    (
        "LOAD 1 x |> AI.MODELEXECUTE m INPUTS 0 x OUTPUTS 1 y",
        "ERR Input count must be a positive integer",
    ),
    ("LOAD 1 x |> AI.MODELEXECUTE m INPUTS 9 x OUTPUTS 1 y", NO_MATCH.format("INPUTS")),
    ("LOAD 1 x |> AI.MODELEXECUTE wide INPUTS 9 x x x x x x", TOO_FEW.format("input")),
    (
        "LOAD 1 x |> AI.MODELEXECUTE wide INPUTS 9 x x x x x x |> AI.TENSORGET x",
        TOO_FEW.format("input"),
    ),
    ("LOAD 1 x |> AI.MODELEXECUTE m INPUTS 1 x NOOUTPUTS bad y", "ERR OUTPUTS not specified"),
    (
        "LOAD 1 x |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS bad y",
        "ERR Invalid argument for output_count",
    ),
    (
        "LOAD 1 x |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 0 y",
        "ERR Output count must be a positive integer",
    ),
    ("LOAD 1 x |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 9 y", NO_MATCH.format("OUTPUTS")),
    (
        "LOAD 1 x |> AI.MODELEXECUTE wide INPUTS 9 x x x x x x x x x OUTPUTS 9 y",
        TOO_FEW.format("output"),
    ),
    (f"LOAD 1 x |> {RUN_X} more", "Invalid argument: more"),
    (f"LOAD 1 x |> {RUN_X} TIMEOUT", "ERR No value provided for TIMEOUT"),
    (f"LOAD 1 x |> {RUN_X} TIMEOUT bad more", "ERR Invalid value for TIMEOUT"),
    (f"LOAD 1 x |> {RUN_X} TIMEOUT 0", "ERR Invalid value for TIMEOUT"),
    (f"LOAD 1 x |> {RUN_X} TIMEOUT 5 more", "Invalid argument: more"),
    (f"LOAD 1 x |> {RUN_X} TIMEOUT 5", "ERR TIMEOUT not allowed within a DAG command"),
    # 24, whatever follows
    (
        "LOAD 1 x |> AI.MODELRUN |> AI.NOSUCH",
        "Deprecated AI.MODELRUN cannot be used in AI.DAGEXECUTE command",
    ),
    (
        "LOAD 1 x |> ai.scriptrun |> AI.NOSUCH",
        "Deprecated AI.SCRIPTRUN cannot be used in AI.DAGEXECUTE command",
    ),
    # 26
    ("LOAD 1 x |> AI.MODELEXECUTE m INPUTS 1 y OUTPUTS 1 y", NO_INPUT),
    (f"LOAD 2 x w |> AI.MODELEXECUTE m INPUTS 1 y OUTPUTS 1 z |> {RUN_X}", NO_INPUT),
    (f"LOAD 1 w |> {RUN_X}", NO_INPUT),
    ("LOAD 1 x |> AI.MODELEXECUTE add INPUTS 2 x none OUTPUTS 1 y", NO_INPUT),
]
SCRIPTS = [
    # 23
    (
        "LOAD 1 x |> AI.SCRIPTEXECUTE none |> AI.NOSUCH",
        "ERR wrong number of arguments for 'AI.SCRIPTEXECUTE' command",
    ),
    ("LOAD 1 x |> AI.SCRIPTEXECUTE none bar NOKEYS", "ERR script key is empty"),
    ("LOAD 1 x |> AI.SCRIPTEXECUTE m bar NOKEYS", WRONG_TYPE),
    ("LOAD 1 x |> AI.SCRIPTEXECUTE x bar INPUTS 1 none", WRONG_TYPE),
    (
        "LOAD 1 x |> AI.SCRIPTEXECUTE s INPUTS 1 none OUTPUTS 1 y",
        "ERR Invalid AI.SCRIPTEXECUTE command. Unexpected argument: 1",
    ),
    (
        "LOAD 1 x |> AI.SCRIPTEXECUTE s sum TIMEOUT 5",
        "ERR TIMEOUT not allowed within a DAG command",
    ),
    ("LOAD 1 x |> AI.SCRIPTEXECUTE s sum INPUTS 1 none OUTPUTS 1 y", NO_INPUT),
    ("LOAD 1 x |> AI.SCRIPTEXECUTE s sum KEYS 1 none INPUTS 1 y OUTPUTS 1 y", NO_INPUT),
    ("LOAD 1 x |> AI.SCRIPTEXECUTE s sum |> AI.TENSORGET y", NO_INPUT),
]
NO_SCRIPTS = [
    # 22 over 23
    (
        "LOAD 1 x |> AI.SCRIPTEXECUTE none |> AI.NOSUCH",
        "ERR AI.SCRIPTEXECUTE command cannot be specified in a read-only DAG",
    ),
]
DEPRECATED = [
    # 16, without 15
    ("TIMEOUT 5 ROUTING r", "ERR DAG is empty"),
    # there is no 15
    ("|> AI.TENSORGET none", NO_INPUT),
    ("TIMEOUT 5 |> AI.TENSORGET none", NO_INPUT),
    # the rows of AI.MODELRUN, in their order
    (
        "LOAD 1 x |> AI.MODELRUN none INPUTS x OUTPUTS",
        "ERR wrong number of arguments for 'AI.MODELRUN' command",
    ),
    ("LOAD 1 x |> AI.MODELRUN none TIMEOUT bad x OUTPUTS y", "ERR model key is empty"),
    ("LOAD 1 x |> AI.MODELRUN x TIMEOUT bad x OUTPUTS y", WRONG_TYPE),
    ("LOAD 1 x |> AI.MODELRUN m TIMEOUT bad NOINPUTS x OUTPUTS", "ERR Invalid value for TIMEOUT"),
    ("LOAD 1 x |> AI.MODELRUN m TIMEOUT 5 NOINPUTS x x OUTPUTS", "ERR INPUTS not specified"),
    ("LOAD 1 x |> AI.MODELRUN m TIMEOUT 5 INPUTS x x OUTPUTS", NO_MATCH.format("INPUTS")),
    ("LOAD 1 x |> AI.MODELRUN m TIMEOUT 5 INPUTS x OUTPUTS", NO_MATCH.format("OUTPUTS")),
    ("LOAD 1 x |> AI.MODELRUN m INPUTS x OUTPUTS y z", NO_MATCH.format("OUTPUTS")),
    (
        "LOAD 1 x |> AI.MODELRUN m TIMEOUT 5 INPUTS none OUTPUTS y",
        "ERR TIMEOUT not allowed within a DAG command",
    ),
    ("LOAD 1 x |> AI.MODELRUN m INPUTS none OUTPUTS y", NO_INPUT),
    # scripts
    (
        "LOAD 1 x |> AI.SCRIPTRUN none |> AI.NOSUCH",
        "ERR wrong number of arguments for 'AI.SCRIPTRUN' command",
    ),
    ("LOAD 1 x |> AI.SCRIPTRUN none bar NOINPUTS", "ERR script key is empty"),
    ("LOAD 1 x |> AI.SCRIPTRUN m bar NOINPUTS", WRONG_TYPE),
    ("LOAD 1 x |> AI.SCRIPTRUN s bar NOINPUTS", "ERR Unrecongnized parameter to SCRIPTRUN"),
    ("LOAD 1 x |> AI.SCRIPTRUN s bar TIMEOUT 5", "ERR TIMEOUT not allowed within a DAG command"),
    ("LOAD 1 x |> AI.SCRIPTRUN s bar INPUTS y OUTPUTS y", NO_INPUT),
    # the new names, whatever follows
    (
        "LOAD 1 x |> AI.MODELEXECUTE |> AI.NOSUCH",
        "AI.MODELEXECUTE cannot be used in a deprecated AI.DAGRUN command",
    ),
    (
        "LOAD 1 x |> ai.scriptexecute |> AI.NOSUCH",
        "AI.SCRIPTEXECUTE cannot be used in a deprecated AI.DAGRUN command",
    ),
]
SHORT = {
    "AI.DAGEXECUTE": ("ERR missing arguments for 'AI.DAGEXECUTE' command", 5),
    "AI.DAGEXECUTE_RO": ("ERR missing arguments for 'AI.DAGEXECUTE_RO' command", 5),
    "AI.DAGRUN": ("ERR wrong number of arguments for 'AI.DAGRUN' command", 3),
    "AI.DAGRUN_RO": ("ERR wrong number of arguments for 'AI.DAGRUN_RO' command", 3),
}
ROWS = {
    "AI.DAGEXECUTE": [*EVERYWHERE, *WRITING, *EXECUTE, *SCRIPTS],
    "AI.DAGEXECUTE_RO": [*EVERYWHERE, *READ_ONLY, *EXECUTE, *NO_SCRIPTS],
    "AI.DAGRUN": [*EVERYWHERE, *WRITING, *DEPRECATED],
    "AI.DAGRUN_RO": [*EVERYWHERE, *READ_ONLY, *DEPRECATED],
}


@pytest.mark.parametrize("name", ROWS)
def test_the_first_thing_that_is_wrong_is_the_error_and_nothing_runs(wire, fake, name):
    store(wire, "m", DOUBLE)
    store(wire, "add", '{"op": "add"}')
    store(wire, "wide", '{"op": "identity", "inputs": 9}')
    assert ask(wire, "AI.SCRIPTSET s CPU SOURCE sum") == OK
    put(wire, "x", 1)
    put(wire, "w", 1)
    keys = wire.read("DBSIZE")
    for version in (2, 3):
        wire.ask("HELLO", version)
        answers = {row: ask(wire, f"{name.lower()} {row}") for row, _ in ROWS[name]}
        assert answers == {row: error(line) for row, line in ROWS[name]}
    assert fake.calls_of("model_run") == fake.calls_of("script_run") == []
    assert wire.read("DBSIZE") == keys
    assert counts(wire, "m") == (0, 0)


@pytest.mark.parametrize("name", SHORT)
def test_too_few_arguments_win_over_what_is_wrong_with_them(wire, name):
    line, at_least = SHORT[name]
    for size in range(at_least):
        assert wire.ask(name, *["LOAD", "bad", "none", "|>"][:size]) == error(line)
    assert wire.ask(name, *["bad"] * at_least) == error(UNEXPECTED.format("bad"))


def test_a_word_of_any_bytes_is_repeated_in_the_error(wire):
    reply = wire.ask("AI.DAGEXECUTE", "ROUTING", "r", b"\xff\r\nx", "|>", "AI.TENSORGET", "x")
    assert reply == b"-ERR Invalid DAG command. Unexpected argument:  \xff  x\r\n"


# ---------------------------------------------------------------------- failures
@pytest.mark.parametrize("steady", ["true", "false"])
def test_after_a_failure_nothing_more_runs_on_its_device_and_nothing_is_persisted(wire, steady):
    store(wire, "m", f'{{"op": "multiply", "by": 2, "steady": {steady}}}')
    store(wire, "bad", f'{{"op": "fail", "text": "no\\r\\nluck", "steady": {steady}}}')
    put(wire, "x", 1)
    dag = f"""
        AI.DAGEXECUTE LOAD 1 x PERSIST 2 y s
        |> {RUN_X} |> AI.MODELEXECUTE bad INPUTS 1 x OUTPUTS 1 z |> AI.TENSORSET s INT8 1
        |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 v |> AI.MODELEXECUTE m INPUTS 1 z OUTPUTS 1 w
        |> AI.TENSORGET x VALUES |> AI.TENSORGET y VALUES |> AI.TENSORGET s VALUES
        |> AI.TENSORGET z |> AI.TENSORGET v |> AI.TENSORGET w META
    """
    for _ in range(20):  # once they are known to be short, steady models run on the loop
        assert ask(wire, dag) == (
            b"*11\r\n+OK\r\n-no  luck\r\n+OK\r\n+NA\r\n+NA\r\n"
            b"*1\r\n$1\r\n1\r\n*1\r\n$1\r\n2\r\n*1\r\n:0\r\n+NA\r\n+NA\r\n+NA\r\n"
        )
    assert wire.ask("EXISTS", "y", "s") == b":0\r\n"
    assert counts(wire, "m") == (20, 0)
    assert counts(wire, "bad") == (20, 20)


def test_a_version_that_was_produced_before_a_failure_is_still_there(wire):
    store(wire, "m", DOUBLE)
    store(wire, "bad", FAIL)
    put(wire, "x", 1)
    dag = """
        AI.DAGRUN_RO LOAD 1 x |> AI.MODELRUN m INPUTS x OUTPUTS y |> AI.TENSORGET y VALUES
        |> AI.MODELRUN bad INPUTS y OUTPUTS y |> AI.TENSORGET y VALUES
        |> AI.TENSORSET y INT8 1 VALUES 5 |> AI.TENSORGET y VALUES
    """
    assert read(wire, dag) == ["OK", [b"2"], WireError("no luck"), "NA", "OK", [5]]


def test_a_failure_does_not_wait_for_what_has_not_begun_on_another_device(wire, connect, fake):
    other = connect()
    store(wire, "bad", FAIL)
    store(wire, "m", BLOCK, device="CPU:1")
    put(wire, "x", 1)
    other.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    dag = "AI.DAGEXECUTE LOAD 1 x PERSIST 1 v |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 v"
    dag += " |> AI.MODELEXECUTE bad INPUTS 1 x OUTPUTS 1 z |> AI.TENSORGET v"
    assert ask(wire, dag) == b"*3\r\n+NA\r\n-no luck\r\n+NA\r\n"
    fake.release()
    assert other.reply() == OK
    assert wire.ask("EXISTS", "v") == b":0\r\n"
    assert counts(wire, "m") == (1, 0)


def test_what_runs_on_another_device_during_a_failure_ends_and_is_not_persisted(
    wire, connect, fake
):
    other = connect()
    store(wire, "m", BLOCK, device="CPU:1")
    store(wire, "bad", FAIL)
    put(wire, "x", 1)
    dag = f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {RUN_X}"
    dag += " |> AI.MODELEXECUTE bad INPUTS 1 x OUTPUTS 1 z"
    send(wire, f"{dag} |> AI.MODELEXECUTE m INPUTS 1 y OUTPUTS 1 w |> AI.TENSORGET y VALUES")
    wait_until(lambda: counts(other, "bad") == (1, 1))
    fake.await_calls("model_run", 2)
    fake.release()
    assert read_value(wire.reply()) == ["OK", WireError("no luck"), "NA", [b"1"]]
    assert wire.ask("EXISTS", "y") == b":0\r\n"
    assert counts(wire, "m") == (1, 0)


# ---------------------------------------------------------------------- results that cannot be kept
def test_what_cannot_be_stored_adds_one_element_and_nothing_is_stored(wire, type_line):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    for persist in ("3 y m x", "3 m y x", "2 y m"):
        dag = f"AI.DAGEXECUTE LOAD 1 x PERSIST {persist} |> {RUN_X} |> AI.TENSORSET m INT8 1"
        assert ask(wire, dag) == b"*3\r\n+OK\r\n+OK\r\n" + error(WRONG_TYPE)
        assert wire.ask("PING") == b"+PONG\r\n"
    assert wire.ask("EXISTS", "y") == b":0\r\n"
    assert wire.ask("TYPE", "m") == type_line("AI__MODEL")
    assert counts(wire, "m") == (3, 0)


def test_a_persist_key_is_judged_when_all_has_run(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    store(wire, "y", DOUBLE)
    put(wire, "x", 1)
    dag = f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {RUN_X}"
    send(wire, dag)
    fake.await_calls("model_run")
    assert other.ask("DEL", "y") == b":1\r\n"
    fake.release()
    assert wire.reply() == b"*1\r\n+OK\r\n"
    assert values(wire, "y") == [1]
    send(wire, dag)
    fake.await_calls("model_run", 2)
    assert other.ask("DEL", "y") == b":1\r\n"
    store(other, "y", DOUBLE)
    fake.release()
    assert wire.reply() == b"*2\r\n+OK\r\n" + error(WRONG_TYPE)


def test_half_floats_are_shown_handed_on_and_stored(wire):
    store(wire, "m", '{"op": "identity", "inputs": 3}')
    store(wire, "one", DOUBLE)
    put(wire, "x", 1.5)
    dag = """
        AI.DAGEXECUTE LOAD 1 x PERSIST 3 q s given |> AI.TENSORSET given BFLOAT16 1 VALUES 0.1
        |> AI.MODELEXECUTE m INPUTS 3 x x x OUTPUTS 3 p q r |> AI.TENSORGET q META VALUES
        |> AI.MODELEXECUTE one INPUTS 1 q OUTPUTS 1 s |> AI.TENSORGET s BLOB
    """
    half = [b"dtype", b"FLOAT16", b"shape", [1], b"values", [b"1.5"]]
    assert read(wire, dag) == ["OK", "OK", half, "OK", np.float16(3).tobytes()]
    assert wire.read("AI.TENSORGET", "s", "META")[1] == b"FLOAT16"
    assert wire.read("AI.TENSORGET", "given", "VALUES") == [b"0.10009765625"]


@pytest.mark.parametrize("options", [(), ("BATCHSIZE", 4)])
@pytest.mark.parametrize("persist", ["PERSIST 1 q", "PERSIST 2 q p", "PERSIST 1 p", ""])
def test_an_operation_with_an_output_that_is_no_tensor_fails_and_nothing_is_stored(
    wire, options, persist
):
    store(wire, "m", '{"op": "none_output", "inputs": 2}', *options)
    put(wire, "x", 1)
    put(wire, "p", 7)
    put(wire, "q", 8)
    run = "AI.MODELEXECUTE m INPUTS 2 x x OUTPUTS 2 p q |> AI.TENSORGET p |> AI.TENSORGET q VALUES"
    found, *elements = read(wire, f"AI.DAGEXECUTE LOAD 1 x {persist} |> {run}")
    assert isinstance(found, WireError)
    assert found == "ERR output 'output0' is no tensor: nothing of the run is stored"
    assert elements == ["NA", "NA"]
    old = "AI.MODELRUN m INPUTS x x OUTPUTS p q |> AI.TENSORGET p |> AI.TENSORGET q VALUES"
    found, *elements = read(wire, f"AI.DAGRUN LOAD 1 x {persist} |> {old}")
    assert isinstance(found, WireError)
    assert elements == ["NA", "NA"]
    assert values(wire, "p") == [7]
    assert values(wire, "q") == [8]


# ---------------------------------------------------------------------- while it runs
def test_operations_that_do_not_need_each_other_run_at_the_same_time_on_two_devices(wire, fake):
    store(wire, "here", BLOCK)
    store(wire, "there", BLOCK, device="CPU:1")
    store(wire, "add", '{"op": "add"}', device="cpu:1")
    put(wire, "x", 1)
    send(
        wire,
        """
        AI.DAGEXECUTE LOAD 1 x PERSIST 1 s |> AI.MODELEXECUTE here INPUTS 1 x OUTPUTS 1 p
        |> AI.MODELEXECUTE there INPUTS 1 x OUTPUTS 1 q
        |> AI.MODELEXECUTE add INPUTS 2 p q OUTPUTS 1 s |> AI.TENSORGET s VALUES
        """,
    )
    fake.await_calls("model_run", 2)  # both have begun, and neither can end before the release
    fake.release(2)
    assert read_value(wire.reply()) == ["OK", "OK", "OK", [b"2"]]
    devices = [call.device for call in fake.calls_of("model_run")]
    assert sorted(devices[:2]) == ["CPU", "CPU:1"]
    assert devices[2:] == ["CPU:1"]
    assert values(wire, "s") == [2]


def test_one_device_does_the_operations_of_a_dag_in_their_order(wire, fake):
    store(wire, "a", '{"op": "block"}')
    store(wire, "b", '{"op": "identity"}')
    put(wire, "x", 1)
    ops = " |> ".join(f"AI.MODELEXECUTE {m} INPUTS 1 x OUTPUTS 1 y" for m in "abab")
    fake.release(math.inf)
    assert read(wire, f"AI.DAGEXECUTE LOAD 1 x |> {ops}") == ["OK"] * 4
    assert [c.what for c in fake.calls_of("model_run")] == ["block", "identity"] * 2


def test_other_clients_are_served_meanwhile_and_see_nothing_of_it(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    send(wire, f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {RUN_X}")
    wire.send("AI.TENSORGET", "y", "VALUES")
    fake.await_calls("model_run")
    assert other.ask("AI.TENSORGET", "y") == error(NO_TENSOR)
    put(other, "x", 5)
    assert other.ask("AI.MODELDEL", "m") == OK
    fake.release()
    assert wire.reply() == b"*1\r\n+OK\r\n"
    assert wire.reply() == b"*1\r\n$1\r\n1\r\n"  # the same client's next command has waited


def test_the_model_is_the_one_that_was_there_when_the_request_came(wire, connect, fake):
    other = connect()
    store(wire, "a", BLOCK)
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    run = "AI.MODELEXECUTE a INPUTS 1 x OUTPUTS 1 x |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 y"
    send(wire, f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {run}")
    fake.await_calls("model_run")
    store(other, "m", '{"op": "add"}')
    fake.release()
    assert wire.reply() == b"*2\r\n+OK\r\n+OK\r\n"
    assert values(wire, "y") == [2]
    assert counts(wire, "m") == (0, 0)  # the run was the old model's


def test_requests_in_dags_and_single_ones_share_a_run(wire, connect, fake):
    clients = [connect() for _ in range(3)]
    store(wire, "m", DOUBLE, "BATCHSIZE", 8, "MINBATCHSIZE", 6)
    put(wire, "x", 1, 2)
    dag = f"AI.DAGEXECUTE_RO LOAD 1 x |> {RUN_X} |> AI.TENSORGET y VALUES"
    send(clients[0], dag)
    clients[1].send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "z")
    old = "AI.DAGRUN |> AI.TENSORSET y FLOAT 2 VALUES 5 6 |> AI.MODELRUN m INPUTS y OUTPUTS z"
    send(clients[2], f"{old} |> AI.TENSORGET z VALUES")
    assert read_value(clients[0].reply()) == ["OK", [b"2", b"4"]]
    assert clients[1].reply() == OK
    assert read_value(clients[2].reply()) == ["OK", "OK", [b"10", b"12"]]
    assert [call.shapes for call in fake.calls_of("model_run")] == [((6,),)]
    assert values(wire, "z") == [2, 4]
    assert counts(wire, "m") == (3, 0)


# ---------------------------------------------------------------------- clients that vanish
def test_for_a_client_that_vanished_nothing_is_persisted_and_no_more_is_begun(
    wire, connect, fake, caplog, vanish
):
    other = connect()
    store(wire, "m", BLOCK)
    store(wire, "next", DOUBLE)
    put(wire, "x", 1)
    run = f"{RUN_X} |> AI.MODELEXECUTE next INPUTS 1 y OUTPUTS 1 y"
    send(wire, f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y |> {run}")
    fake.await_calls("model_run")
    vanish(wire)
    fake.release()
    assert other.ask("AI.MODELEXECUTE", "next", "INPUTS", 1, "x", "OUTPUTS", 1, "z") == OK
    assert other.ask("EXISTS", "y") == b":0\r\n"
    assert counts(other, "m") == (1, 0)
    assert counts(other, "next") == (1, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# ---------------------------------------------------------------------- TIMEOUT
@pytest.mark.parametrize("version", [2, 3])
def test_a_dag_that_waits_too_long_is_one_status_and_leaves_nothing(wire, connect, fake, version):
    other = connect()
    other.ask("HELLO", version)
    store(wire, "busy", BLOCK, device="CPU:1")
    store(wire, "late", DOUBLE, device="CPU:1")
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    wire.send("AI.MODELEXECUTE", "busy", "INPUTS", 1, "x", "OUTPUTS", 1, "z")
    fake.await_calls("model_run")
    dag = f"""
        AI.DAGEXECUTE LOAD 1 x PERSIST 1 y TIMEOUT 30 |> {RUN_X}
        |> AI.MODELEXECUTE late INPUTS 1 y OUTPUTS 1 y |> AI.TENSORGET y
    """
    assert ask(other, dag) == TIMED_OUT
    assert other.ask("EXISTS", "y") == b":0\r\n"
    assert counts(other, "m") == (1, 0)  # what did run counts
    assert counts(other, "late") == (0, 0)
    fake.release()
    assert wire.reply() == OK


def test_a_dag_that_waits_in_vain_for_a_batch_ends_with_its_timeout(wire):
    store(wire, "m", DOUBLE, "BATCHSIZE", 4, "MINBATCHSIZE", 2)
    put(wire, "x", 1)
    assert ask(wire, f"AI.DAGEXECUTE LOAD 1 x TIMEOUT 1 |> {RUN_X}") == TIMED_OUT
    assert ask(wire, f"AI.DAGEXECUTE_RO LOAD 1 x TIMEOUT 1 |> {RUN_X}") == TIMED_OUT


@pytest.mark.parametrize("timeout", [0, -1, -(2**63), 2**63 - 1])
def test_a_timeout_that_is_not_positive_is_none(wire, fake, timeout):
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    send(wire, f"AI.DAGEXECUTE LOAD 1 x TIMEOUT {timeout} |> {RUN_X}")
    fake.await_calls("model_run")
    fake.release()
    assert wire.reply() == b"*1\r\n+OK\r\n"


def test_a_dag_without_models_is_never_too_late(wire):
    put(wire, "x", 1)
    dag = "AI.DAGEXECUTE LOAD 1 x TIMEOUT 1 |> AI.TENSORGET x VALUES"
    assert read(wire, dag) == [[b"1"]]


def test_a_dag_whose_last_operation_began_in_time_ends_however_long_it_takes(wire, fake):
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    send(wire, f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 y TIMEOUT 500 |> {RUN_X}")
    fake.await_calls("model_run")
    time.sleep(0.6)
    fake.release()
    assert wire.reply() == b"*1\r\n+OK\r\n"
    assert values(wire, "y") == [1]


# ---------------------------------------------------------------------- size
@pytest.mark.parametrize("steady", ["true", "false"])
def test_a_dag_may_have_ten_thousand_operations(wire, connect, steady):
    store(wire, "m", f'{{"op": "identity", "steady": {steady}}}')
    put(wire, "x", 3)
    size = 10_000
    operations = "|> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 x " * (size - 1)
    dag = f"AI.DAGEXECUTE LOAD 1 x PERSIST 1 x {operations} |> AI.TENSORGET x VALUES"
    assert read(wire, dag) == ["OK"] * (size - 1) + [[b"3"]]
    assert counts(wire, "m") == (size - 1, 0)


def test_tensors_as_large_as_they_come_go_through_without_being_stored(wire):
    store(wire, "m", '{"op": "identity"}')
    blob = struct.pack("<2f", 1.5, -2) * 500_000
    request = ["|>", "AI.TENSORSET", "x", "FLOAT", 1_000_000, "BLOB", blob, "|>", *RUN_X.split()]
    reply = wire.read("AI.DAGRUN", *request[:7], "|>", "AI.TENSORGET", "x", "BLOB")
    assert reply == ["OK", blob]
    reply = wire.read("AI.DAGEXECUTE", "ROUTING", "r", *request, "|>", "AI.TENSORGET", "y", "BLOB")
    assert reply == ["OK", "OK", blob]
    assert wire.read("KEYS", "*") == [b"m"]


# ---------------------------------------------------------------------- beside single commands
MODELS = {
    "double": (DOUBLE, "CPU", 1, 1),
    "add": ('{"op": "add"}', "CPU:1", 2, 1),
    "both": ('{"op": "identity", "inputs": 2, "steady": true}', "CPU", 2, 2),
    "batched": (DOUBLE, "CPU:1", 1, 1),
}
names = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def dags(draw):
    """The operations of a DAG that begins with a and b loaded, each as a list of arguments."""
    known = ["a", "b"]
    operations = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["set", "get", *MODELS]))
        if kind == "set":
            name = draw(names)
            number = draw(st.integers(0, 99))
            operations.append(["AI.TENSORSET", name, "FLOAT", 1, 1, "VALUES", number])
            known.append(name)
        elif kind == "get":
            form = draw(st.sampled_from([[], ["META"], ["VALUES"], ["BLOB"], ["META", "VALUES"]]))
            operations.append(["AI.TENSORGET", draw(st.sampled_from(known)), *form])
        else:
            _, _, inputs, outputs = MODELS[kind]
            reads = [draw(st.sampled_from(known)) for _ in range(inputs)]
            writes = [draw(names) for _ in range(outputs)]
            operations.append(
                ["AI.MODELEXECUTE", kind, "INPUTS", inputs, *reads, "OUTPUTS", outputs, *writes]
            )
            known += writes
    return operations, sorted(draw(st.sets(st.sampled_from(known), min_size=1)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(dag=dags())
def test_a_dag_answers_and_stores_what_its_operations_do_one_after_another(wire, dag):
    operations, persisted = dag
    if not wire.read("EXISTS", *MODELS):
        for key, (model, device, _, _) in MODELS.items():
            store(wire, key, model, *(["BATCHSIZE", 4] if key == "batched" else []), device=device)
    for name, number in (("a", 3), ("b", 4)):
        assert wire.ask("AI.TENSORSET", name, "FLOAT", 1, 1, "VALUES", number) == OK
    assert wire.ask("DEL", "c", "d")
    request = ["LOAD", 2, "a", "b", "PERSIST", len(persisted), *persisted]
    for operation in operations:
        request += ["|>", *operation]
    together = wire.read("AI.DAGEXECUTE", *request)
    stored = {name: wire.read("AI.TENSORGET", name) for name in "abcd"}
    for name, number in (("a", 3), ("b", 4)):
        assert wire.ask("AI.TENSORSET", name, "FLOAT", 1, 1, "VALUES", number) == OK
    assert wire.ask("DEL", "c", "d")
    before = {name: wire.read("AI.TENSORGET", name) for name in "abcd"}
    assert together == [wire.read(*operation) for operation in operations]
    after = {name: wire.read("AI.TENSORGET", name) for name in "abcd"}
    assert stored == {name: (after if name in persisted else before)[name] for name in "abcd"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(dag=dags(), at=st.integers(0, 12))
def test_of_a_dag_with_a_failure_the_rest_is_not_available(wire, dag, at):
    operations, _ = dag
    if not wire.read("EXISTS", *MODELS):
        for key, (model, _, _, _) in MODELS.items():
            store(wire, key, model)
        store(wire, "bad", FAIL)
        for name in "ab":
            put(wire, name, 1)
    request = ["LOAD", 2, "a", "b"]
    bad = ["AI.MODELEXECUTE", "bad", "INPUTS", 1, "a", "OUTPUTS", 1, "c"]
    operations = [*operations[:at], bad, *operations[at:]]
    expected, available, failed = [], dict.fromkeys("ab", True), False
    for operation in operations:
        request += ["|>", *operation]
        match operation[0]:
            case "AI.TENSORSET":
                available[operation[1]] = True
                expected.append("OK")
            case "AI.TENSORGET":
                expected.append("tensor" if available[operation[1]] else "NA")
            case _:
                kind = "error" if operation is bad else "NA" if failed else "OK"
                failed |= operation is bad
                outputs = operation[operation.index("OUTPUTS") + 2 :]
                available |= dict.fromkeys(outputs, not failed)
                expected.append(kind)
    reply = wire.read("AI.DAGEXECUTE", *request)

    def kind_of(element):
        if isinstance(element, WireError):
            return "error"
        return element if element in ("OK", "NA") else "tensor"

    assert [*map(kind_of, reply)] == expected


# ---------------------------------------------------------------------- which arguments are keys
@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ("LOAD 2 a b PERSIST 1 c ROUTING d |> AI.TENSORGET a", "a b c d"),
        ("load 1 a |> ai.modelexecute m INPUTS 1 a OUTPUTS 1 b |> AI.SCRIPTEXECUTE s f", "a m s"),
        ("|> AI.MODELRUN m INPUTS a OUTPUTS b |> AI.SCRIPTRUN s f", ""),
        ("TIMEOUT 5 ROUTING r |> AI.TENSORSET a FLOAT 1", "r"),
        ("ROUTING", ""),
        ("ROUTING r |> AI.MODELEXECUTE", "r"),
        ("LOAD 1 a", ""),
        ("ROUTING r LOAD 1 a", ""),
        ("LOAD 2 a |>", ""),
        ("LOAD 0 a |> b", ""),
        ("LOAD -1 a |> b", ""),
        ("PERSIST bad a |> b", ""),
        ("ROUTING r PERSIST", ""),
        ("", ""),
    ],
)
def test_the_keys_are_what_is_loaded_and_persisted_the_routing_and_the_models(request_, keys):
    request = [b"AI.DAGEXECUTE", *request_.encode().split()]
    assert keys_of_dag(request) == keys.encode().split()


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("ai.dagexecute", ["write", "denyoom", "module", "movablekeys"]),
        ("ai.dagrun", ["write", "denyoom", "module", "movablekeys"]),
        ("ai.dagexecute_ro", ["readonly", "module", "movablekeys"]),
        ("ai.dagrun_ro", ["readonly", "module", "movablekeys"]),
    ],
)
def test_a_dag_command_is_described_as_the_module_did(wire, name, flags):
    ((shown, arity, shown_flags, *positions, _, _, _, _),) = wire.read("COMMAND", "INFO", name)
    assert (shown, arity, shown_flags) == (name.encode(), -1, flags)
    assert positions == [3, 3, 1]
    request = f"COMMAND GETKEYS {name} LOAD 1 a |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 1 b"
    assert read(wire, request) == [b"a", b"m"]
