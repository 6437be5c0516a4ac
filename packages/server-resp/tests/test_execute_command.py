"""AI.MODELEXECUTE, as it goes over the wire."""

import logging
import time

import numpy as np
import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.hookspecs import hookimpl
from tensorkeep.tensor import Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.commands.ai.execute import keys_of_model_execute
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of

OK = b"+OK\r\n"
TIMED_OUT = b"+TIMEDOUT\r\n"
ARITY = "ERR wrong number of arguments for 'AI.MODELEXECUTE' command"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_MODEL = "ERR model key is empty"
NO_TENSOR = "ERR tensor key is empty or in a different shard"
NO_INFO = "ERR cannot find run info for key"
NO_MATCH = "Number of keys given as {} here does not match model definition"
TOO_FEW = (
    "ERR number of {} keys to AI.MODELEXECUTE command does not match the number of given arguments"
)

DOUBLE = '{"op": "multiply", "by": 2}'
BLOCK = '{"op": "block"}'


@pytest.fixture
def backends(fake):
    """ONNX, and TF, whose words differ. Models with three outputs return two of them as halves."""

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
    backends.add("TF", FakeBackend())
    return backends


def error(line):
    return f"-{line}\r\n".encode()


def store(wire, key, model, *options):
    assert wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", *options, "BLOB", model) == OK


def put(wire, key, *values):
    assert wire.ask("AI.TENSORSET", key, "FLOAT", len(values), "VALUES", *values) == OK


def values(wire, key):
    return [float(value) for value in wire.read("AI.TENSORGET", key, "VALUES")]


def run(model, source="x", target="y", *options):
    return "AI.MODELEXECUTE", model, "INPUTS", 1, source, "OUTPUTS", 1, target, *options


def counts(wire, key):
    """Calls and errors of a model."""
    info = wire.read("AI.INFO", key)
    return info[15], info[17]


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ---------------------------------------------------------------------- what is stored
@pytest.mark.parametrize("version", [2, 3])
def test_outputs_are_stored_before_the_client_is_answered(wire, version):
    wire.ask("HELLO", version)
    store(wire, "m", DOUBLE)
    put(wire, "x", 1, 2.5)
    assert wire.ask(*run("m")) == OK
    assert values(wire, "y") == [2, 5]


def test_words_are_known_in_any_case(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 3)
    request = ["ai.modelexecute", "m", "inputs", 1, "x", "Outputs", 1, "y", "timeout", 5000]
    assert wire.ask(*request) == OK
    assert values(wire, "y") == [6]


def test_words_may_be_names_where_names_are_counted(wire):
    store(wire, "m", '{"op": "add"}')
    put(wire, "OUTPUTS", 1)
    put(wire, "TIMEOUT", 2)
    request = ["INPUTS", 2, "OUTPUTS", "TIMEOUT", "OUTPUTS", 1, "INPUTS"]
    assert wire.ask("AI.MODELEXECUTE", "m", *request) == OK
    assert values(wire, "INPUTS") == [3]


def test_several_outputs_go_to_their_names_and_the_last_of_a_name_wins(wire):
    store(wire, "m", '{"op": "identity", "inputs": 4}')
    put(wire, "a", 1)
    put(wire, "b", 2)
    names = ["INPUTS", 4, "a", "b", "a", "b", "OUTPUTS", 4, "p", "q", "r", "r"]
    assert wire.ask("AI.MODELEXECUTE", "m", *names) == OK
    assert [values(wire, key) for key in "pqr"] == [[1], [2], [2]]


def test_an_input_may_be_an_output_as_well(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    for _ in range(3):
        assert wire.ask(*run("m", "x", "x")) == OK
    assert values(wire, "x") == [8]


def test_an_output_drops_the_expiry_of_its_key(wire):
    store(wire, "m", DOUBLE)
    put(wire, "x", 1)
    put(wire, "y", 1)
    assert wire.ask("EXPIRE", "y", 100) == b":1\r\n"
    assert wire.ask(*run("m")) == OK
    assert wire.ask("TTL", "y") == b":-1\r\n"


def test_a_model_that_has_shown_to_be_short_gives_the_same_on_the_loop(backends, fake, run_server):
    settings = Settings(engine=EngineConfig(inline_limit=30.0))  # short on any machine
    with run_server(settings, backends) as server, Wire(port_of(server)) as wire:
        store(wire, "m", '{"op": "multiply", "by": 2, "steady": true}')
        for number in range(5):
            put(wire, "x", number)
            assert wire.ask(*run("m")) == OK
            assert values(wire, "y") == [2 * number]
        assert counts(wire, "m") == (5, 0)
    assert len({call.thread for call in fake.calls_of("model_run")}) == 2


def test_a_model_and_its_tensors_are_those_of_the_selected_database(wire):
    store(wire, "m", DOUBLE)
    assert wire.ask("SELECT", 1) == OK
    put(wire, "x", 1)
    assert wire.ask(*run("m")) == error(NO_MODEL)
    store(wire, "m", '{"op": "multiply", "by": 3}')
    assert wire.ask(*run("m")) == OK
    assert values(wire, "y") == [3]
    assert wire.ask("SELECT", 0) == OK
    assert wire.ask("EXISTS", "y") == b":0\r\n"


# ---------------------------------------------------------------------- outputs that cannot be kept
def test_an_output_for_a_key_of_another_type_is_one_error_and_nothing_is_stored(wire, type_line):
    store(wire, "m", '{"op": "identity", "inputs": 2}')
    put(wire, "x", 1)
    names = ["INPUTS", 2, "x", "x", "OUTPUTS", 2, "y", "m"]
    assert wire.ask("AI.MODELEXECUTE", "m", *names) == error(WRONG_TYPE)
    assert wire.ask("PING") == b"+PONG\r\n"  # there was no second reply
    assert wire.ask("AI.TENSORGET", "y") == error(NO_TENSOR)
    assert wire.ask("TYPE", "m") == type_line("AI__MODEL")
    assert counts(wire, "m") == (1, 0)


def test_outputs_of_half_floats_are_stored_and_shown(wire):
    store(wire, "m", '{"op": "identity", "inputs": 3}')
    put(wire, "x", 1.5)
    names = ["INPUTS", 3, "x", "x", "x", "OUTPUTS", 3, "p", "q", "r"]
    assert wire.ask("AI.MODELEXECUTE", "m", *names) == OK
    assert wire.read("AI.TENSORGET", "q", "META", "VALUES")[1::2] == [b"FLOAT16", [1], [b"1.5"]]


@pytest.mark.parametrize("options", [(), ("BATCHSIZE", 4)])
@pytest.mark.parametrize("command", ["AI.MODELEXECUTE", "AI.MODELRUN"])
def test_an_output_that_is_no_tensor_is_an_error_that_names_it_and_no_key_is_touched(
    wire, caplog, command, options
):
    blob = '{"op": "none_output", "inputs": 2}'
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", *options, "BLOB", blob) == OK
    told = "a run of the model m fails when one of these outputs is no tensor: output 'output0'"
    assert told in caplog.messages
    put(wire, "x", 1)
    put(wire, "p", 7)
    names = ["INPUTS", 2, "x", "x", "OUTPUTS", 2, "p", "q"]
    if command == "AI.MODELRUN":
        names = [name for name in names if name != 2]
    line = "ERR output 'output0' is no tensor: nothing of the run is stored"
    assert wire.ask(command, "m", *names) == error(line)
    assert values(wire, "p") == [7]
    assert wire.ask("EXISTS", "q") == b":0\r\n"
    assert counts(wire, "m") == (1, 1)


def test_a_failed_run_answers_the_frameworks_words_on_one_line(wire):
    store(wire, "m", '{"op": "fail", "text": "no\\r\\nluck\\t[[{{node}}]]\\n"}')
    put(wire, "x", 1)
    assert wire.ask(*run("m")) == b"-no  luck\t[[{{node}}]] \r\n"
    assert wire.ask("EXISTS", "y") == b":0\r\n"
    assert counts(wire, "m") == (1, 1)


@pytest.mark.parametrize("backend", ["ONNX", "TF"])
def test_a_model_that_returns_another_batch_runs_each_request_alone_and_says_so(
    wire, connect, caplog, backend
):
    names = ["INPUTS", 1, "in", "OUTPUTS", 1, "out"] if backend == "TF" else []
    request = ["AI.MODELSTORE", "m", backend, "CPU", "BATCHSIZE", 4, "MINBATCHSIZE", 2, *names]
    assert wire.ask(*request, "BLOB", '{"op": "fixed_rows", "rows": 5}') == OK
    assert len(wire.read("AI.INFO", "m")) == 18
    put(wire, "x", 1)
    put(wire, "w", 2)
    other = connect()
    wire.send(*run("m"))
    other.send(*run("m", "w", "z"))
    assert (wire.reply(), other.reply()) == (OK, OK)
    assert values(wire, "y") == [1] * 5
    assert values(wire, "z") == [2] * 5
    assert counts(wire, "m") == (2, 0)
    name = "out" if backend == "TF" else "output0"
    reason = f"output '{name}' of a run of 2 rows is [5], not as many rows"
    assert wire.read("AI.INFO", "m")[18:] == [b"batching", f"none: {reason}".encode()]
    assert [m for m in caplog.messages if "share" in m] == [
        f"requests to the model m no longer share its runs, BATCHSIZE or not: {reason}"
    ]
    assert wire.ask(*run("m")) == OK  # MINBATCHSIZE holds nothing back any more


def test_a_model_without_a_batch_axis_is_stored_with_batchsize_and_log_and_info_say_why_it_is_none(
    wire, caplog
):
    blob = '{"op": "identity", "axis": "its labels are two"}'
    options = ["BATCHSIZE", 4, "MINBATCHSIZE", 2]
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", *options, "BLOB", blob) == OK
    told = "requests to the model m never share its runs, BATCHSIZE or not: its labels are two"
    assert told in caplog.messages
    assert wire.read("AI.INFO", "m")[18:] == [b"batching", b"none: its labels are two"]
    put(wire, "x", 1)
    assert wire.ask(*run("m")) == OK
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == OK
    assert len(wire.read("AI.INFO", "m")) == 18  # nobody asked for batches


def test_by_option_a_model_without_a_batch_axis_is_refused_with_batchsize(backends, run_server):
    settings = Settings(port=0, engine=EngineConfig(strict_batching=True))
    blob = '{"op": "identity", "axis": "its labels are two"}'
    with run_server(settings, backends=backends) as server, Wire(port_of(server)) as wire:
        request = ["AI.MODELSTORE", "m", "ONNX", "CPU"]
        line = "Requests cannot share runs of this model: its labels are two"
        assert wire.ask(*request, "BATCHSIZE", 4, "BLOB", blob) == error(line)
        assert wire.ask("EXISTS", "m") == b":0\r\n"
        assert wire.ask(*request, "BLOB", blob) == OK
        assert wire.ask(*request, "BATCHSIZE", 4, "BLOB", DOUBLE) == OK


# ---------------------------------------------------------------------- errors, in their order
@pytest.mark.parametrize(
    ("request_", "line"),
    [
        # 1 over 2: too few arguments, and there is no model
        ("", ARITY),
        ("none INPUTS 1 x OUTPUTS 1", ARITY),
        # 2 over 4
        ("none NOINPUTS 1 x OUTPUTS 1 y", NO_MODEL),
        # 3 over 4
        ("x NOINPUTS 1 x OUTPUTS 1 y", WRONG_TYPE),
        # 4 over 5
        ("m NOINPUTS none x OUTPUTS 1 y", "ERR INPUTS not specified"),
        # 5 over 8
        ("m INPUTS none x OUTPUTS 1 y", "ERR Invalid argument for input_count"),
        ("m INPUTS 1.0 x OUTPUTS 1 y", "ERR Invalid argument for input_count"),
        ("m INPUTS 01 x OUTPUTS 1 y", "ERR Invalid argument for input_count"),
        # 6 over 7
        ("m INPUTS 0 x OUTPUTS 1 y", "ERR Input count must be a positive integer"),
        ("m INPUTS -1 x OUTPUTS 1 y", "ERR Input count must be a positive integer"),
        # 7 over 8
        ("m INPUTS 9 x OUTPUTS 1 y", NO_MATCH.format("INPUTS")),
        ("m INPUTS 9223372036854775807 x OUTPUTS 1 y", NO_MATCH.format("INPUTS")),
        ("m INPUTS 2 x x OUTPUTS 1 y", NO_MATCH.format("INPUTS")),
        # 8 over 9
        ("wide INPUTS 9 x x x x x x", TOO_FEW.format("input")),
        # 9 over 10
        ("m INPUTS 1 x NOOUTPUTS none y", "ERR OUTPUTS not specified"),
        ("wide INPUTS 9 x x x x x x x x x", "ERR OUTPUTS not specified"),
        # 10 over 13
        ("m INPUTS 1 x OUTPUTS none y", "ERR Invalid argument for output_count"),
        ("wide INPUTS 9 x x x x x x x x x OUTPUTS", "ERR Invalid argument for output_count"),
        # 11 over 12
        ("m INPUTS 1 x OUTPUTS 0 y", "ERR Output count must be a positive integer"),
        ("m INPUTS 1 x OUTPUTS -3 y", "ERR Output count must be a positive integer"),
        # 12 over 13
        ("m INPUTS 1 x OUTPUTS 9 y", NO_MATCH.format("OUTPUTS")),
        # 13 over 19: and an input is missing
        ("wide INPUTS 9 none x x x x x x x x OUTPUTS 9 y", TOO_FEW.format("output")),
        # 14 over 19
        ("m INPUTS 1 none OUTPUTS 1 y nonsense", "Invalid argument: nonsense"),
        ("m INPUTS 1 x OUTPUTS 1 y OUTPUTS 1 z", "Invalid argument: OUTPUTS"),
        # 15 over 19
        ("m INPUTS 1 none OUTPUTS 1 y TIMEOUT", "ERR No value provided for TIMEOUT"),
        # 16 over 17
        ("m INPUTS 1 x OUTPUTS 1 y TIMEOUT none more", "ERR Invalid value for TIMEOUT"),
        ("m INPUTS 1 x OUTPUTS 1 y TIMEOUT 0", "ERR Invalid value for TIMEOUT"),
        ("m INPUTS 1 x OUTPUTS 1 y TIMEOUT -1", "ERR Invalid value for TIMEOUT"),
        ("m INPUTS 1 x OUTPUTS 1 y TIMEOUT 1.0", "ERR Invalid value for TIMEOUT"),
        # 17 over 19
        ("m INPUTS 1 none OUTPUTS 1 y TIMEOUT 1 more", "Invalid argument: more"),
        # 19 and 20: from left to right
        ("m INPUTS 1 none OUTPUTS 1 y", NO_TENSOR),
        ("m INPUTS 1 m OUTPUTS 1 y", WRONG_TYPE),
        ("two INPUTS 2 none m OUTPUTS 1 y", NO_TENSOR),
        ("two INPUTS 2 m none OUTPUTS 1 y", WRONG_TYPE),
    ],
)
def test_the_first_thing_that_is_wrong_is_the_error_and_nothing_runs(wire, fake, request_, line):
    store(wire, "m", DOUBLE)
    store(wire, "two", '{"op": "add"}')
    store(wire, "wide", '{"op": "identity", "inputs": 9}')
    put(wire, "x", 1)
    for version in (2, 3):
        wire.ask("HELLO", version)
        assert wire.ask("ai.modelexecute", *request_.split()) == error(line)
    assert fake.calls_of("model_run") == []
    assert counts(wire, "m") == (0, 0)


def test_an_argument_of_any_bytes_is_repeated_in_the_error(wire):
    store(wire, "m", DOUBLE)
    assert wire.ask(*run("m"), b"\xff\r\nx") == b"-Invalid argument: \xff  x\r\n"


# ---------------------------------------------------------------------- while a model runs
def test_other_clients_are_served_while_a_model_runs(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    wire.send(*run("m"))
    wire.send("AI.TENSORGET", "y", "VALUES")
    fake.await_calls("model_run")
    assert other.ask("PING") == b"+PONG\r\n"
    assert other.ask("AI.TENSORGET", "x", "VALUES") == b"*1\r\n$1\r\n1\r\n"
    assert other.ask("AI.TENSORGET", "y") == error(NO_TENSOR)
    fake.release()
    assert wire.reply() == OK
    assert wire.reply() == b"*1\r\n$1\r\n1\r\n"  # the same client's next command has waited


def test_another_device_runs_while_one_is_busy(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    assert wire.ask("AI.MODELSTORE", "quick", "ONNX", "CPU:1", "BLOB", DOUBLE) == OK
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    assert other.ask(*run("quick", "x", "z")) == OK
    fake.release()
    assert wire.reply() == OK


def test_what_becomes_of_the_inputs_does_not_matter_to_a_run(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    put(other, "x", 2)
    assert other.ask("DEL", "x") == b":1\r\n"
    fake.release()
    assert wire.reply() == OK
    assert values(other, "y") == [1]


def test_a_model_replaced_while_it_runs_ends_as_what_it_was(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    store(other, "m", DOUBLE)
    fake.release()
    assert wire.reply() == OK
    assert values(wire, "y") == [1]
    assert counts(wire, "m") == (0, 0)  # the run was the old model's
    fake.await_calls("model_free")
    assert wire.ask(*run("m")) == OK
    assert values(wire, "y") == [2]


@pytest.mark.memory_store("AI.INFO knows only what has a key")
def test_a_model_deleted_while_it_runs_is_known_until_the_run_ends(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    assert other.ask("AI.MODELDEL", "m") == OK
    assert other.ask(*run("m")) == error(NO_MODEL)
    assert counts(other, "m") == (0, 0)
    fake.release()
    assert wire.reply() == OK
    assert values(wire, "y") == [1]
    fake.await_calls("model_free")
    assert other.ask("AI.INFO", "m") == error(NO_INFO)


def test_a_flush_while_a_model_runs_is_before_its_outputs(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    assert other.ask("FLUSHALL") == OK
    fake.release()
    assert wire.reply() == OK
    assert other.read("KEYS", "*") == [b"y"]


def test_an_output_key_is_judged_when_the_run_ends(wire, connect, fake):
    other = connect()
    store(wire, "m", BLOCK)
    store(wire, "y", DOUBLE)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    assert other.ask("DEL", "y") == b":1\r\n"
    fake.release()
    assert wire.reply() == OK
    wire.send(*run("m"))
    fake.await_calls("model_run", 2)
    assert other.ask("DEL", "y") == b":1\r\n"
    store(other, "y", DOUBLE)
    fake.release()
    assert wire.reply() == error(WRONG_TYPE)


# ---------------------------------------------------------------------- clients that vanish
def test_the_outputs_of_a_client_that_vanished_are_not_stored_but_its_run_counts(
    wire, connect, fake, caplog, vanish
):
    other = connect()
    store(wire, "m", BLOCK)
    store(wire, "next", DOUBLE)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    vanish(wire)
    fake.release()
    assert other.ask(*run("next", "x", "z")) == OK  # behind it, on the same device
    assert other.ask("AI.TENSORGET", "y") == error(NO_TENSOR)
    assert counts(other, "m") == (1, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_waits_for_a_client_that_vanished_never_runs(server, connect, fake, caplog, vanish):
    wire, other, gone = connect(), connect(), connect()
    store(wire, "m", BLOCK)
    store(wire, "waits", DOUBLE)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    gone.send(*run("waits"))
    host, port = gone.socket.getsockname()
    (state,) = [c for c in server.clients.values() if c.address == f"{host}:{port}"]
    wait_until(lambda: state.blocked)
    vanish(gone)
    fake.release()
    assert wire.reply() == OK
    store(other, "next", DOUBLE)
    assert other.ask(*run("next", "x", "z")) == OK
    assert [call.what for call in fake.calls_of("model_run")] == ["block", "multiply"]
    assert counts(other, "waits") == (0, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# ---------------------------------------------------------------------- TIMEOUT
@pytest.mark.parametrize("version", [2, 3])
def test_a_run_that_waits_too_long_is_given_up_and_not_counted(wire, connect, fake, version):
    other = connect()
    other.ask("HELLO", version)
    store(wire, "m", BLOCK)
    store(wire, "late", DOUBLE)
    put(wire, "x", 1)
    wire.send(*run("m"))
    fake.await_calls("model_run")
    assert other.ask(*run("late", "x", "z", "TIMEOUT", 5)) == TIMED_OUT
    assert other.ask("AI.TENSORGET", "z") == error(NO_TENSOR)
    assert counts(other, "late") == (0, 0)
    fake.release()
    assert wire.reply() == OK
    assert other.ask(*run("late", "x", "z", "TIMEOUT", 5000)) == OK


def test_a_run_that_starts_in_time_ends_however_long_it_takes(wire, fake):
    store(wire, "m", BLOCK)
    put(wire, "x", 1)
    wire.send(*run("m", "x", "y", "TIMEOUT", 1000))
    fake.await_calls("model_run")
    time.sleep(1.1)
    fake.release()
    assert wire.reply() == OK
    assert values(wire, "y") == [1]


def test_a_run_that_waits_in_vain_for_a_batch_ends_with_its_timeout(wire):
    store(wire, "m", DOUBLE, "BATCHSIZE", 4, "MINBATCHSIZE", 2)
    put(wire, "x", 1)
    assert wire.ask(*run("m", "x", "y", "TIMEOUT", 5)) == TIMED_OUT


# ---------------------------------------------------------------------- which arguments are keys
@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ("m INPUTS 1 x OUTPUTS 2 y z", "m x y z"),
        ("m inputs 2 a b outputs 1 y TIMEOUT 3", "m a b y"),
        ("m INPUTS 1 INPUTS OUTPUTS 1 OUTPUTS", "m INPUTS OUTPUTS"),
        ("m INPUTS 5 x OUTPUTS 1 y", "m"),
        ("m INPUTS 1 x OUTPUTS 2 y", "m"),
        ("m INPUTS none x OUTPUTS 1 y", "m"),
        ("m INPUTS 1 x NOOUTPUTS 1 y", "m"),
        ("m INPUTS 1 x", "m"),
        ("m INPUTS 1 x OUTPUTS", "m"),
        ("m a b", "m"),
        ("m a", ""),
        ("m", ""),
        ("", ""),
    ],
)
def test_the_keys_are_the_model_and_the_lists_that_can_be_followed(request_, keys):
    request = [b"AI.MODELEXECUTE", *request_.encode().split()]
    assert keys_of_model_execute(request) == keys.encode().split()
