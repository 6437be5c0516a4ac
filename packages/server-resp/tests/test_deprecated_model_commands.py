"""AI.MODELSET and AI.MODELRUN, as they go over the wire."""

import pytest

from tensorkeep.testing.fake_backend import FakeBackend, fake_gpu
from tensorkeep_server.commands.ai.deprecated_models import keys_of_model_run

OK = b"+OK\r\n"
ARITY = "ERR wrong number of arguments for '{}' command"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_MODEL = "ERR model key is empty"
NO_TENSOR = "ERR tensor key is empty or in a different shard"
NO_BACKEND = "ERR unsupported backend"
NOT_LOADED = "ERR Could not load backend"
NO_DEVICE = "ERR Invalid DEVICE"
NO_BLOB = "ERR Insufficient arguments, missing model BLOB"
NO_SIZE = "ERR {} specified without BATCHSIZE"
NO_MINIMUM = "ERR MINBATCHTIMEOUT specified without MINBATCHSIZE"
NO_NAMES = "ERR Insufficient arguments, INPUTS and OUTPUTS not specified"
NO_MATCH = "Number of keys given as {} here does not match model definition"

DOUBLE = '{"op": "multiply", "by": 2}'
IDENTITY = '{"op":"identity"}'  # without a blank


@pytest.fixture
def backends(backends):
    """All that the original knows but TORCH, and one more."""
    backends.add("TF", FakeBackend(devices=[FakeBackend().devices()[0], fake_gpu(0)]))
    backends.add("TFLITE", FakeBackend())
    backends.add("OTHER", FakeBackend())
    return backends


def error(line):
    return f"-{line}\r\n".encode()


def put(wire, key, *values):
    assert wire.ask("AI.TENSORSET", key, "FLOAT", len(values), "VALUES", *values) == OK


# ---------------------------------------------------------------------- AI.MODELSET
@pytest.mark.parametrize("version", [2, 3])
def test_a_model_is_stored_as_its_successor_stores_it(wire, version):
    wire.ask("HELLO", version)
    options = ["TAG", "v:1", "BATCHSIZE", "8.0", "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 30]
    assert wire.ask("AI.MODELSET", "old", "onnx", "Cpu:1", *options, "BLOB", *DOUBLE) == OK
    assert wire.ask("AI.MODELSTORE", "new", "ONNX", "Cpu:1", *options, "BLOB", DOUBLE) == OK
    assert wire.ask("AI.MODELGET", "old") == wire.ask("AI.MODELGET", "new")
    assert wire.read("AI.INFO", "old")[2:] == wire.read("AI.INFO", "new")[2:]
    assert wire.ask("EXPIRE", "old", 100) == b":1\r\n"
    assert wire.ask("AI.MODELSET", "old", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert wire.ask("TTL", "old") == b":-1\r\n"


@pytest.mark.parametrize(
    ("request_", "inputs", "outputs"),
    [
        ("TF CPU INPUTS a b OUTPUTS OUTPUTS BLOB", [b"a", b"b"], [b"OUTPUTS"]),
        ("OTHER CPU INPUTS a b OUTPUTS c BLOB", [b"a", b"b"], [b"c"]),
        ("OTHER CPU BLOB", [b"input0", b"input1"], [b"output0"]),
        ("OTHER CPU OUTPUTS c INPUTS a BLOB", [b"input0", b"input1"], [b"output0"]),
        # what ONNX takes no names for is skipped without a look
        ("ONNX CPU INPUTS a BLOB", [b"input0", b"input1"], [b"output0"]),
        ("ONNX CPU any OUTPUTS thing BATCHSIZE BLOB", [b"input0", b"input1"], [b"output0"]),
    ],
)
def test_names_come_without_counts(wire, request_, inputs, outputs):
    assert wire.ask("AI.MODELSET", "m", *request_.split(), '{"op": "add"}') == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert [meta[11], meta[13]] == [inputs, outputs]


def test_an_archive_for_tf_needs_no_names(wire):
    refused = b"-the blob of a fake model must be a JSON object"  # says the backend
    for blob in ("PK\3\4", "PK\3\4 and more"):
        assert wire.ask("AI.MODELSET", "m", "TF", "CPU", "BLOB", blob).startswith(refused)


def test_empty_lists_of_names_pass(wire):
    names = ["INPUTS", "OUTPUTS"]
    request = ["AI.MODELSET", "m", "TF", "CPU", *names, "BLOB", '{"op": "identity", "inputs": 0}']
    assert wire.ask(*request) == OK


@pytest.mark.parametrize("device", ["CPU", "cpuxyz", "CPU:1", "CPU 123456", "gpu", "GPU:0"])
def test_whatever_begins_with_cpu_is_a_device(wire, device):
    names = ["INPUTS", "a", "OUTPUTS", "b"]
    assert wire.ask("AI.MODELSET", "m", "TF", device, *names, "BLOB", DOUBLE) == OK
    assert wire.read("AI.MODELGET", "m", "META")[3] == device.encode()
    put(wire, "x", 4)
    assert wire.ask("AI.MODELRUN", "m", "INPUTS", "x", "OUTPUTS", "y") == OK
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"8"]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        # 1 over 2
        ("", ARITY.format("ai.modelset")),
        ("x NOPE", ARITY.format("ai.modelset")),
        # 2 over 3
        ("x NOPE BLOB", NO_BACKEND),
        # 3 over 4
        ("x TFLITE CPU:1234567 BATCHSIZE 1", NO_DEVICE),
        ("x ONNX tag BATCHSIZE none", NO_DEVICE),
        ("x ONNX INPUTS", NO_DEVICE),
        ("x ONNX OUTPUTS", NO_DEVICE),
        ("x ONNX BatchSize", NO_DEVICE),
        ("x ONNX MINBATCHSIZE", NO_DEVICE),
        ("x ONNX MINBATCHTIMEOUT", NO_DEVICE),
        ("x ONNX BLOB blob", NO_DEVICE),
        # 4 over 5
        (
            "x TFLITE CPU BATCHSIZE none BLOB blob",
            "ERR Auto-batching not supported by the TFLITE backend",
        ),
        # 5 over 6: nor is there a batch size for MINBATCHSIZE
        ("x ONNX CPU BATCHSIZE none MINBATCHSIZE 1", "ERR Invalid argument for BATCHSIZE"),
        ("x ONNX CPU BATCHSIZE", "ERR Invalid argument for BATCHSIZE"),
        ("x ONNX CPU BATCHSIZE -1 BLOB blob", "ERR Invalid argument for BATCHSIZE"),
        # 6 over 7
        ("x ONNX CPU MINBATCHSIZE none", NO_SIZE.format("MINBATCHSIZE")),
        ("x ONNX CPU BATCHSIZE 0 MINBATCHSIZE 0", NO_SIZE.format("MINBATCHSIZE")),
        # 7 over 9
        (
            "x ONNX CPU BATCHSIZE 1 MINBATCHSIZE none MINBATCHTIMEOUT none",
            "ERR Invalid argument for MINBATCHSIZE",
        ),
        ("x ONNX CPU BATCHSIZE 1 MINBATCHSIZE", "ERR Invalid argument for MINBATCHSIZE"),
        # 8 over 9
        ("x ONNX CPU MINBATCHTIMEOUT none", NO_SIZE.format("MINBATCHTIMEOUT")),
        ("x ONNX CPU BATCHSIZE 0 MINBATCHTIMEOUT 0", NO_SIZE.format("MINBATCHTIMEOUT")),
        # 9 over 10
        ("x ONNX CPU BATCHSIZE 1 MINBATCHTIMEOUT none", NO_MINIMUM),
        ("x ONNX CPU BATCHSIZE 1 MINBATCHSIZE 0 MINBATCHTIMEOUT 0", NO_MINIMUM),
        # 10 over 11
        (
            "x ONNX CPU BATCHSIZE 1 MINBATCHSIZE 1 MINBATCHTIMEOUT",
            "ERR Invalid argument for MINBATCHTIMEOUT",
        ),
        # 11 over 12
        ("x TF CPU", NO_BLOB),
        ("x TF CPU TAG", NO_BLOB),
        ("x TF CPU TAG tag BATCHSIZE 1", NO_BLOB),
        # 12 over 15
        ("x TF CPU BLOB", NO_NAMES),
        ("x TF CPU TAG tag BLOB blob", NO_NAMES),
        # 13 over 14
        ("x TF CPU a b BLOB blob", "ERR INPUTS not specified"),
        ("x TF CPU OUTPUTS b INPUTS a BLOB blob", "ERR INPUTS not specified"),
        ("x TF CPU a", "ERR INPUTS not specified"),
        # 14 over 15
        ("x TF CPU INPUTS a BLOB", "ERR OUTPUTS not specified"),
        ("x TF CPU INPUTS a BLOB OUTPUTS", "ERR OUTPUTS not specified"),
        ("x TF CPU INPUTS", "ERR OUTPUTS not specified"),
        ("x OTHER CPU INPUTS a", "ERR OUTPUTS not specified"),
        # 15 over 16
        ("x TORCH XPU BLOB", NO_BLOB),
        ("x TORCH CPU some thing", NO_BLOB),
        ("x TF CPU INPUTS a OUTPUTS b", NO_BLOB),
        # 16: the backend cannot be loaded, and there is no such device
        ("x TORCH XPU BLOB blob", NOT_LOADED),
        ("x TORCH CPU BLOB blob", NOT_LOADED),
        # ... the device or the blob is refused, and the key holds a tensor
        ("tensor ONNX XPU BLOB blob", "ERR unsupported device"),
        ("tensor ONNX GPUx BLOB blob", "ERR unsupported device"),
        ("tensor TFLITE XPU BLOB blob", "ERR Unsupported device"),
        ("tensor ONNX GPU BLOB blob", "ERR GPU requested but ONNX couldn't find CUDA"),
        ("tensor ONNX CPU BLOB []", "the blob of a fake model must be a JSON object"),
        # ... at last
        (f"tensor ONNX CPU BLOB {IDENTITY}", WRONG_TYPE),
    ],
)
def test_the_first_thing_that_is_wrong_is_the_error_and_nothing_is_set(
    wire, request_, line, type_line
):
    put(wire, "tensor", 7)
    for version in (2, 3):
        wire.ask("HELLO", version)
        assert wire.ask("ai.modelset", *request_.split()) == error(line)
    assert wire.ask("AI.MODELGET", "x") == error(NO_MODEL)
    assert wire.ask("TYPE", "tensor") == type_line("AI_TENSOR")


def test_other_clients_are_served_while_a_model_is_built(wire, connect, fake):
    other = connect()
    slow = '{"op": "slow_create", "seconds": 30}'
    wire.send("AI.MODELSET", "m", "ONNX", "CPU", "BLOB", slow)
    fake.await_calls("model_create")
    assert other.ask("PING") == b"+PONG\r\n"
    fake.hurry.set()
    assert wire.reply() == OK


# ---------------------------------------------------------------------- AI.MODELRUN
@pytest.mark.parametrize("version", [2, 3])
def test_a_model_runs_as_its_successor_runs_it(wire, version):
    wire.ask("HELLO", version)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "add"}') == OK
    put(wire, "a", 1)
    put(wire, "b", 2)
    assert wire.ask("AI.MODELRUN", "m", "INPUTS", "a", "b", "OUTPUTS", "y") == OK
    assert wire.ask("ai.modelrun", "m", "timeout", 5000, "inputs", "a", "y", "outputs", "z") == OK
    values = [float(value) for value in wire.read("AI.TENSORGET", "z", "VALUES")]
    assert values == [4]
    assert wire.read("AI.INFO", "m")[15] == 2


def test_the_second_outputs_is_a_key(wire):
    model = '{"op": "identity", "inputs": 2}'
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", model) == OK
    put(wire, "TIMEOUT", 1)
    put(wire, "INPUTS", 2)
    names = ["INPUTS", "INPUTS", "TIMEOUT", "OUTPUTS", "y", "OUTPUTS"]
    assert wire.ask("AI.MODELRUN", "m", *names) == OK
    assert wire.read("AI.TENSORGET", "OUTPUTS", "VALUES") == [b"1"]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        # 1 over 2
        ("none INPUTS x OUTPUTS", ARITY.format("AI.MODELRUN")),
        ("", ARITY.format("AI.MODELRUN")),
        # 2 and 3 over 4
        ("none TIMEOUT none INPUTS x OUTPUTS y", NO_MODEL),
        ("x TIMEOUT none INPUTS x OUTPUTS y", WRONG_TYPE),
        # 4 over 5
        ("m TIMEOUT none x OUTPUTS y", "ERR Invalid value for TIMEOUT"),
        ("m TIMEOUT 0 INPUTS x OUTPUTS y", "ERR Invalid value for TIMEOUT"),
        ("m TIMEOUT INPUTS x OUTPUTS y", "ERR Invalid value for TIMEOUT"),
        # 5 over 6
        ("m x x x OUTPUTS y", "ERR INPUTS not specified"),
        ("m OUTPUTS y INPUTS x", "ERR INPUTS not specified"),
        ("m TIMEOUT 5 x OUTPUTS y", "ERR INPUTS not specified"),
        # 6 over 7
        ("m INPUTS x x OUTPUTS", NO_MATCH.format("INPUTS")),
        ("m INPUTS OUTPUTS y z", NO_MATCH.format("INPUTS")),
        ("m INPUTS x TIMEOUT 5 OUTPUTS y", NO_MATCH.format("INPUTS")),
        ("m INPUTS x x x", NO_MATCH.format("INPUTS")),
        # 7 over 9
        ("m INPUTS none OUTPUTS y z", NO_MATCH.format("OUTPUTS")),
        ("m TIMEOUT 5 INPUTS none", NO_MATCH.format("OUTPUTS")),
        ("m INPUTS none OUTPUTS y TIMEOUT 5", NO_MATCH.format("OUTPUTS")),
        # 9
        ("m INPUTS none OUTPUTS y", NO_TENSOR),
        ("m INPUTS m OUTPUTS y", WRONG_TYPE),
    ],
)
def test_the_first_thing_that_is_wrong_is_the_error_and_nothing_runs(wire, fake, request_, line):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    put(wire, "x", 1)
    for version in (2, 3):
        wire.ask("HELLO", version)
        assert wire.ask("ai.modelrun", *request_.split()) == error(line)
    assert fake.calls_of("model_run") == []


def test_a_run_that_waits_too_long_is_given_up(wire, connect, fake):
    other = connect()
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "block"}') == OK
    assert wire.ask("AI.MODELSTORE", "late", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    put(wire, "x", 1)
    wire.send("AI.MODELRUN", "m", "INPUTS", "x", "OUTPUTS", "y")
    fake.await_calls("model_run")
    request = ["AI.MODELRUN", "late", "TIMEOUT", 5, "INPUTS", "x", "OUTPUTS", "z"]
    assert other.ask(*request) == b"+TIMEDOUT\r\n"
    fake.release()
    assert wire.reply() == OK


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ("m INPUTS a b OUTPUTS c d", "m a b c d"),
        ("m TIMEOUT 5 INPUTS a OUTPUTS b", "m a b"),
        ("m inputs a $ outputs b OUTPUTS", "m a b"),
        ("m INPUTS", "m"),
        ("m a b", "m"),
        ("m TIMEOUT", "m"),
        ("m", "m"),
        ("", ""),
    ],
)
def test_the_keys_are_the_model_and_what_follows_inputs(request_, keys):
    request = [b"AI.MODELRUN", *request_.encode().split()]
    assert keys_of_model_run(request) == keys.encode().split()
