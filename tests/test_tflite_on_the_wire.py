"""What is special to TFLITE, byte for byte: counts, types, shapes, shared runs."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

OK = b"+OK\r\n"
FOLDER = Path(__file__).parents[1] / "examples/digits"
SHARED = ("BATCHSIZE", 2, "MINBATCHSIZE", 2)


def error(text):
    return f"-{text}\r\n".encode()


@pytest.fixture(scope="module")
def blob():
    return (FOLDER / "digits.tflite").read_bytes()


@pytest.fixture(scope="module")
def returning(blob):
    """Serializes the network with one more output: one that an operator takes."""

    def returning(operator, position):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(blob))
        (graph,) = model.subgraphs
        graph.outputs = [*graph.outputs, graph.operators[operator].inputs[position]]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    return returning


@pytest.fixture(scope="module")
def two(returning):
    """The network that also returns the logits, of which its last operator makes probabilities."""
    return returning(-1, 0)


@pytest.fixture
def picture(digits):
    return digits.pictures[:1]


@pytest.fixture
def store(wire, picture):
    """Begins with one picture at x and nothing else; stores a model with some options."""
    assert wire.ask("FLUSHALL") == OK
    put(wire, "x", picture)

    def store(key, blob, *options):
        return wire.ask("AI.MODELSTORE", key, "TFLITE", "CPU", *options, "BLOB", blob)

    return store


def put(wire, key, array):
    reply = wire.ask("AI.TENSORSET", key, "FLOAT", *array.shape, "BLOB", array.tobytes())
    assert reply == OK


def get(wire, key):
    _, dtype, _, shape, _, blob = wire.read("AI.TENSORGET", key, "META", "BLOB")
    assert dtype == b"FLOAT"
    return np.frombuffer(blob, np.float32).reshape(shape)


def run(key, inputs, outputs):
    inputs, outputs = inputs.split(), outputs.split()
    return (
        "AI.MODELEXECUTE",
        key,
        "INPUTS",
        len(inputs),
        *inputs,
        "OUTPUTS",
        len(outputs),
        *outputs,
    )


# ------------------------------------------------------------------ storing
def test_a_model_names_its_ends_itself_and_keeps_its_options_and_its_blob(wire, store, two):
    assert store("m", two, "TAG", "asd", "BATCHSIZE", 4) == OK

    known = wire.read("AI.MODELGET", "m")

    known = dict(zip(known[::2], known[1::2], strict=True))
    assert (known[b"backend"], known[b"device"], known[b"tag"]) == (b"TFLITE", b"CPU", b"asd")
    assert (known[b"batchsize"], known[b"minbatchsize"]) == (4, 0)
    assert known[b"blob"] == two
    assert len(known[b"inputs"]) == 1
    assert len(known[b"outputs"]) == len({*known[b"outputs"]}) == 2


def test_a_signature_is_chosen_by_its_name(wire, store, two):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(two))
    (signature,) = model.signatureDefs
    other = copy.deepcopy(signature)
    other.signatureKey = b"other"
    other.inputs[0].name = b"image"
    model.signatureDefs = [signature, other]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    blob = bytes(builder.Output())

    assert store("m", blob, "SIGNATURE", "none") == error(
        'The model has no signature "none" (signatures: other, serving_default)'
    )
    assert store("m", blob, "SIGNATURE", "other") == OK
    assert len(wire.read("AI.MODELGET", "m", "META")) == 16
    assert wire.ask(*run("m", "x", "y z")) == OK


def test_names_are_not_to_be_given(store, blob):
    assert store("m", blob, "INPUTS", 1, "images") == error(
        "ERR INPUTS argument should not be specified for this backend"
    )
    assert store("m", blob, "OUTPUTS", 1, "probabilities") == error(
        "ERR Invalid argument, expected BLOB"
    )


def test_what_is_no_model_and_where_it_cannot_run_is_told(wire, store, blob, digits):
    assert store("bad", b"no model") == error("Failed to load model from buffer")
    assert store("bad", digits.blob) == error("Failed to load model from buffer")
    assert store("bad", blob[:-2000]).startswith(b"-Failed to load model from buffer")
    assert wire.ask("AI.MODELSTORE", "bad", "TFLITE", "GPU", "BLOB", blob) == error(
        "Failed to set GPU delegate"
    )
    assert wire.ask("EXISTS", "bad") == b":0\r\n"


def test_the_deprecated_commands_take_it_but_for_batches(wire, store, blob):
    command = ("AI.MODELSET", "old", "TFLITE")

    assert wire.ask(*command, "CPU", "BATCHSIZE", 2, "BLOB", blob) == error(
        "ERR Auto-batching not supported by the TFLITE backend"
    )
    assert wire.ask(*command, "XPU", "BLOB", blob) == error("ERR Unsupported device")
    assert wire.ask(*command, "CPU", "BLOB", blob) == OK
    assert wire.ask("AI.MODELRUN", "old", "INPUTS", "x", "OUTPUTS", "y") == OK
    assert get(wire, "y").shape == (1, 10)


# ------------------------------------------------------------------ running
def test_a_model_with_two_outputs_gives_both(wire, store, two):
    store("m", two)

    assert wire.ask(*run("m", "x", "y z")) == OK

    probabilities, logits = get(wire, "y"), get(wire, "z")
    powers = np.exp(logits - logits.max())
    assert abs(probabilities - powers / powers.sum()).max() <= 1e-6


def test_counts_are_told_before_keys_that_are_missing(wire, store, two):
    store("m", two)

    for words, text in (
        (("none", "y"), "Number of keys given as OUTPUTS here does not match model definition"),
        (("none x", "y z"), "Number of keys given as INPUTS here does not match model definition"),
        (("none", "y z"), "ERR tensor key is empty or in a different shard"),
    ):
        assert wire.ask(*run("m", *words)) == error(text)
    assert wire.ask("EXISTS", "y", "z") == b":0\r\n"


@pytest.mark.parametrize(
    "dtype", ["DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "BOOL", "STRING"]
)
def test_any_other_type_is_refused_and_the_model_goes_on(wire, store, blob, dtype):
    store("m", blob)
    values = [b"a"] * 64 if dtype == "STRING" else [1] * 64
    assert wire.ask("AI.TENSORSET", "odd", dtype, 1, 1, 8, 8, "VALUES", *values) == OK

    assert wire.ask(*run("m", "odd", "y")) == error(
        "Input tensor type doesn't match the type expected by the model definition"
    )
    assert wire.ask(*run("m", "x", "y")) == OK


def test_a_shape_that_does_not_fit_is_told_on_one_line_and_the_model_goes_on(wire, store, blob):
    store("m", blob)
    put(wire, "odd", np.ones((1, 3), np.float32))

    for _ in range(2):
        reply = wire.ask(*run("m", "odd", "y"))
        assert reply.startswith(b"-Failed to allocate tensors: ")
        assert wire.ask(*run("m", "x", "y")) == OK


def test_the_shape_may_change_with_every_run_and_its_rank_too(wire, store, blob, digits):
    store("m", blob)
    for count in (1, 3, 1, 8):
        pictures = digits.pictures[:count]
        for shape in (pictures.shape, (count, 64), (count * 64,)):
            put(wire, "p", pictures.reshape(shape))
            assert wire.ask(*run("m", "p", "y")) == OK
            assert abs(get(wire, "y") - digits.expected(pictures)).max() <= 1e-5


def test_runs_and_failures_are_counted_until_that_is_reset(wire, store, blob):
    store("counted", blob)
    put(wire, "odd", np.ones((1, 3), np.float32))

    def counters():
        known = wire.read("AI.INFO", "counted")
        known = dict(zip(known[::2], known[1::2], strict=True))
        return known[b"calls"], known[b"samples"], known[b"errors"]

    wire.ask(*run("counted", "x", "y"))
    wire.ask(*run("counted", "x", "y"))
    calls, _, errors = counters()
    assert (calls, errors) == (2, 0)
    wire.ask(*run("counted", "odd", "y"))
    calls, _, errors = counters()
    assert (calls, errors) == (3, 1)
    assert wire.ask("AI.INFO", "counted", "RESETSTAT") == OK
    assert counters() == (0, 0, 0)


# ------------------------------------------------------------------ shared runs
@pytest.fixture
def at_once(serving):
    """Sends requests at the same time, each by a client of its own, and returns their replies."""

    def ask(request):
        with serving.wire() as wire:
            return wire.ask(*request)

    def at_once(*requests):
        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(ask, requests))

    return at_once


def test_requests_share_a_run_and_get_their_own_answers(wire, store, two, digits, at_once):
    store("shared", two, *SHARED)
    for number in range(2):
        put(wire, f"x{number}", digits.pictures[number : number + 1])

    assert at_once(*(run("shared", f"x{n}", f"y{n} z{n}") for n in range(2))) == [OK, OK]

    for number in range(2):
        expected = digits.expected(digits.pictures[number : number + 1])
        assert abs(get(wire, f"y{number}") - expected).max() <= 1e-5
        assert get(wire, f"z{number}").shape == (1, 10)


def test_weights_that_are_returned_are_whole_for_each_that_asked_at_once(
    wire, store, returning, at_once
):
    store("odd", returning(2, 1), *SHARED)

    assert at_once(run("odd", "x", "y z"), run("odd", "x", "p q")) == [OK, OK]

    assert get(wire, "z").shape == get(wire, "q").shape
    assert (get(wire, "z") == get(wire, "q")).all()
    (name, reason) = wire.read("AI.INFO", "odd")[18:]
    assert name == b"batching"
    assert reason.endswith(b"is the same for any batch")
