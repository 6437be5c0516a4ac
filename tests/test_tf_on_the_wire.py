"""What is special to TF, byte for byte: names, TensorFlow's own texts, strings, shared runs.

The graphs are made in this process with TensorFlow, which is imported when the first one is.
"""

import io
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

OK = b"+OK\r\n"
AB_MUL = ["INPUTS", "2", "a", "b", "OUTPUTS", "1", "mul"]
X_Y = ["INPUTS", "1", "x", "OUTPUTS", "1", "y"]
SHARED = ["BATCHSIZE", "2", "MINBATCHSIZE", "2"]


def error(text):
    return f"-{text}\r\n".encode()


@pytest.fixture(scope="module")
def tf():
    from tensorkeep_tf.framework import tf  # noqa: PLC0415 - it takes seconds

    return tf


@pytest.fixture(scope="module")
def graph(tf):
    """Serializes the graph that a function makes, which is given a maker of placeholders."""

    def graph(make):
        with tf.Graph().as_default() as made:
            make(lambda name, dtype=tf.float32: tf.compat.v1.placeholder(dtype, name=name))
        return made.as_graph_def().SerializeToString()

    return graph


@pytest.fixture(scope="module")
def product(tf, graph):
    """The graph of two nodes that RedisAI's own tests use."""
    return graph(lambda given: tf.multiply(given("a"), given("b"), name="mul"))


@pytest.fixture
def store(wire):
    """Begins with no keys; stores a model, the words being options and names."""
    assert wire.ask("FLUSHALL") == OK

    def store(key, blob, *words):
        return wire.ask("AI.MODELSTORE", key, "TF", "CPU", *words, "BLOB", blob)

    return store


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


def put(wire, key, dtype, shape, *values):
    assert wire.ask("AI.TENSORSET", key, dtype, *shape, "VALUES", *values) == OK


# ------------------------------------------------------------------ storing
def test_a_model_keeps_its_names_and_options_and_its_blob(wire, store, product):
    options = ["TAG", "asd", "BATCHSIZE", "4", "MINBATCHSIZE", "2", "MINBATCHTIMEOUT", "5"]
    assert store("m", product, *options, *AB_MUL) == OK

    known = wire.read("AI.MODELGET", "m")

    assert dict(zip(known[::2], known[1::2], strict=True)) == {
        b"backend": b"TF",
        b"device": b"CPU",
        b"tag": b"asd",
        b"batchsize": 4,
        b"minbatchsize": 2,
        b"inputs": [b"a", b"b"],
        b"outputs": [b"mul"],
        b"minbatchtimeout": 5,
        b"blob": product,
    }


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", "ERR INPUTS not specified for TF"),
        ("INPUTS 2 a b", "ERR OUTPUTS not specified for TF"),
        ("INPUTS 2 a c OUTPUTS 1 mul", 'ERR Input node named "c" not found in TF graph.'),
        ("INPUTS 2 a mul OUTPUTS 1 mul", 'ERR Input node named "mul" not found in TF graph.'),
        ("INPUTS 2 a b OUTPUTS 1 c", 'ERR Output node named "c" not found in TF graph'),
        ("INPUTS 2 a c OUTPUTS 1 c", 'ERR Input node named "c" not found in TF graph.'),
    ],
)
def test_names_that_are_missing_or_wrong_are_told(wire, store, product, words, text):
    assert store("named", product, *words.split()) == error(text)
    assert wire.ask("EXISTS", "named") == b":0\r\n"


def test_what_is_no_graph_and_where_it_cannot_run_is_told(wire, store, product, digits):
    words = (*AB_MUL, "BLOB")

    assert store("bad", b"no graph", *AB_MUL) == error("Invalid GraphDef")
    assert store("bad", digits.blob, *AB_MUL) == error("Invalid GraphDef")
    assert wire.ask("AI.MODELSTORE", "bad", "TF", "GPU:9", *words, product) == error(
        "ERR GPU requested but TF couldn't find CUDA"
    )
    assert wire.ask("EXISTS", "bad") == b":0\r\n"


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("names", [AB_MUL, []])
def test_an_archive_that_is_no_saved_model_is_told_in_the_words_that_clients_look_for(store, names):
    for archive in (
        zipped(weights="1"),
        zipped(weights="1")[:-9],
        zipped(**{"a/saved_model.pb": "x"}),
    ):
        assert b"Invalid GraphDef" in store("bad", archive, *names)


def test_of_a_saved_model_a_signature_is_chosen_and_tensors_named_as_its_tool_prints_them(
    tf, wire, store, tmp_path
):
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def double(self, x):
            return {"doubled": 2 * x}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def split(self, x):
            return {"minus": -x, "plus": x}

    module = Two()
    signatures = {"serving_default": module.double, "split": module.split}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    blob = Path(shutil.make_archive(str(tmp_path / "zip"), "zip", tmp_path / "model")).read_bytes()
    put(wire, "x", "FLOAT", [2], 1, 2)

    assert store("m", blob) == OK
    assert wire.read("AI.MODELGET", "m", "META")[13] == [b"doubled"]
    assert store("m", blob, "SIGNATURE", "none") == error(
        'Invalid SavedModel: it has no signature "none" (signatures: serving_default, split)'
    )
    assert store("m", blob, "TAG", "t", "signature", "split") == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert (len(meta), meta[11], meta[13]) == (16, [b"x"], [b"minus", b"plus"])
    run = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    names = ("INPUTS", 1, "split_x:0", "OUTPUTS", 1, "PartitionedCall_1:1")
    assert store("m", blob, *names) == OK
    assert wire.ask(*run) == OK
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"1", b"2"]


def test_variables_that_were_not_frozen_are_told_on_one_line(tf, graph, store):
    def make(given):
        weight = tf.compat.v1.Variable(2.0, name="weight")
        tf.multiply(given("x"), weight, name="y")

    assert store("unfrozen", graph(make), *X_Y) == error(
        'Variable "weight" was not frozen: a GraphDef holds no values of variables. '
        "Turn them into constants, or store a SavedModel"
    )


def test_the_deprecated_commands_take_a_graph_too(wire, product):
    names = ["INPUTS", "a", "b", "OUTPUTS", "mul"]
    assert wire.ask("AI.MODELSET", "old", "TF", "CPU", *names, "BLOB", product) == OK
    put(wire, "a", "FLOAT", [2], 2, 3)

    assert wire.ask("AI.MODELRUN", "old", "INPUTS", "a", "a", "OUTPUTS", "c") == OK
    assert wire.read("AI.TENSORGET", "c", "VALUES") == [b"4", b"9"]


# ------------------------------------------------------------------ running
def test_a_run_that_fails_tells_tensorflows_reason_and_harms_nothing(wire, store, product):
    store("m", product, *AB_MUL)
    put(wire, "a", "FLOAT", [2], 2, 3)
    wire.ask("AI.TENSORSET", "wide", "FLOAT", 2, 2, 3)
    put(wire, "whole", "INT8", [2], 2, 3)

    def run(*keys):
        return wire.ask("AI.MODELEXECUTE", "m", "INPUTS", len(keys), *keys, "OUTPUTS", 1, "c")

    # The blank was a newline; clients look for it, and for the tabulator.
    assert run("a", "wide") == error("Incompatible shapes: [2] vs. [2,2,3] \t [[{{node mul}}]]")
    assert b"expect float" in run("a", "whole")
    assert run("a") == error("Number of keys given as INPUTS here does not match model definition")
    assert wire.ask("EXISTS", "c") == b":0\r\n"
    assert run("a", "a") == OK
    assert wire.read("AI.TENSORGET", "c", "VALUES") == [b"4", b"9"]


def test_runs_and_failures_are_counted_until_that_is_reset(wire, store, product):
    store("counted", product, *AB_MUL)
    put(wire, "a", "FLOAT", [2, 1], 2, 3)
    wire.ask("AI.TENSORSET", "wide", "FLOAT", 3, 5)
    run = ["AI.MODELEXECUTE", "counted", "INPUTS", 2]

    def counters():
        known = wire.read("AI.INFO", "counted")
        known = dict(zip(known[::2], known[1::2], strict=True))
        return known[b"calls"], known[b"samples"], known[b"errors"]

    wire.ask(*run, "a", "a", "OUTPUTS", 1, "c")
    wire.ask(*run, "a", "a", "OUTPUTS", 1, "c")
    assert counters() == (2, 4, 0)
    wire.ask(*run, "wide", "a", "OUTPUTS", 1, "c")
    assert counters() == (3, 4, 1)
    assert wire.ask("AI.INFO", "counted", "RESETSTAT") == OK
    assert counters() == (0, 0, 0)


# ------------------------------------------------------------------ strings
def test_strings_go_in_and_come_out_short_and_long(tf, graph, wire, store):
    words = [b"a", b"", b"x" * 1000, "Ünïcödé".encode()]
    blob = b"".join(word + b"\0" for word in words)
    store("strings", graph(lambda given: tf.identity(given("x", tf.string), name="y")), *X_Y)
    assert wire.ask("AI.TENSORSET", "x", "STRING", 2, 2, "BLOB", blob) == OK

    assert wire.ask("AI.MODELEXECUTE", "strings", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == OK
    assert wire.read("AI.TENSORGET", "y", "VALUES") == words
    assert wire.read("AI.TENSORGET", "y", "META")[1::2] == [b"STRING", [2, 2]]


def test_strings_of_requests_that_share_a_run_go_back_to_their_own(tf, graph, wire, store, at_once):
    blob = graph(lambda given: tf.identity(given("x", tf.string), name="y"))
    store("strings", blob, *SHARED, *X_Y)
    put(wire, "x1", "STRING", [1, 2], b"one", b"1")
    put(wire, "x2", "STRING", [1, 2], b"a longer one", b"two")
    run = ("AI.MODELEXECUTE", "strings", "INPUTS", 1)

    assert at_once(*((*run, f"x{n}", "OUTPUTS", 1, f"y{n}") for n in (1, 2))) == [OK, OK]
    assert wire.read("AI.TENSORGET", "y1", "VALUES") == [b"one", b"1"]
    assert wire.read("AI.TENSORGET", "y2", "VALUES") == [b"a longer one", b"two"]


# ------------------------------------------------------------------ shared runs
def test_an_output_that_is_no_batch_is_right_for_each_that_asked_at_once(
    tf, graph, wire, store, at_once
):
    def make(given):
        tf.reshape(given("x"), [2, 1], name="y")

    store("odd", graph(make), *SHARED, *X_Y)
    put(wire, "x1", "FLOAT", [1, 2], 2, 3)
    put(wire, "x2", "FLOAT", [1, 2], 4, 5)
    run = ("AI.MODELEXECUTE", "odd", "INPUTS", 1)

    assert at_once(*((*run, f"x{n}", "OUTPUTS", 1, f"y{n}") for n in (1, 2))) == [OK, OK]
    assert wire.read("AI.TENSORGET", "y1", "VALUES") == [b"2", b"3"]
    assert wire.read("AI.TENSORGET", "y2", "VALUES") == [b"4", b"5"]
    reason = b"none: output 'y' is [2, 1], of a fixed first size"
    assert wire.read("AI.INFO", "odd")[18:] == [b"batching", reason]


def test_an_output_without_axes_is_never_left_out(tf, graph, wire, store, at_once):
    def make(given):
        x = given("x")
        tf.reduce_sum(x, name="sum")
        tf.negative(x, name="y")

    store("sum", graph(make), *SHARED, *["INPUTS", "1", "x", "OUTPUTS", "2", "sum", "y"])
    put(wire, "x1", "FLOAT", [1, 2], 2, 3)
    put(wire, "x2", "FLOAT", [1, 2], 4, 5)
    run = ("AI.MODELEXECUTE", "sum", "INPUTS", 1)

    requests = ((*run, f"x{n}", "OUTPUTS", 2, f"s{n}", f"y{n}") for n in (1, 2))
    assert at_once(*requests) == [OK, OK]
    assert wire.read("AI.TENSORGET", "s1", "VALUES") == [b"5"]
    assert wire.read("AI.TENSORGET", "s2", "VALUES") == [b"9"]
    assert wire.read("AI.TENSORGET", "y1", "VALUES") == [b"-2", b"-3"]


# ------------------------------------------------------------------ figures
def test_the_version_is_told_once_the_backend_is_loaded(tf, start, product):
    line = f"ai_TensorFlow_version:{tf.__version__}".encode()
    with start() as serving, serving.wire() as wire:
        assert b"ai_TensorFlow_version" not in wire.read("INFO", "everything")
        assert wire.ask("AI.MODELSTORE", "m", "TF", "CPU", *AB_MUL, "BLOB", product) == OK
        assert line in wire.read("INFO", "everything").split(b"\r\n")
