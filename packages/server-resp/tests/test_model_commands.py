"""AI.MODELSTORE, AI.MODELGET and AI.MODELDEL, as they go over the wire."""

import gc
import logging
import time

import pytest

from tensorkeep.hookspecs import hookimpl
from tensorkeep.testing.fake_backend import FakeBackend, fake_gpu

OK = b"+OK\r\n"
ARITY = "ERR wrong number of arguments for '{}' command"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_KEY = "ERR model key is empty"
NO_INFO = "ERR cannot find run info for key"
NO_BACKEND = "ERR unsupported backend"
NOT_LOADED = "ERR Could not load backend"
NO_DEVICE = "ERR Invalid DEVICE"
NO_BLOB = "ERR Insufficient arguments, missing model BLOB"
NOT_BLOB = "ERR Invalid argument, expected BLOB"
NO_SIGNATURES = (
    "signature must be left out: models of backend ONNX have no signatures to choose from"
)
NO_MINIMUM = "ERR MINBATCHTIMEOUT specified without MINBATCHSIZE"
TOO_FEW = "ERR number of model {}s does not match the number of given arguments"

DOUBLE = '{"op": "multiply", "by": 2}'
SLOW = '{"op": "slow_create", "seconds": 30}'
ZIP = "PK\3\4"  # what an archive begins with
LARGE = 64 * 1024  # from here on an argument is received as a view of memory of its own


class Broken:
    """A plugin without a single hook."""


class Unpacking(FakeBackend):
    """A backend that also takes models behind the first bytes of an archive."""

    @hookimpl
    def model_create(self, spec, blob, options):
        return super().model_create(spec, blob.removeprefix(ZIP.encode()), options)


@pytest.fixture
def fake():
    return FakeBackend(scripts=False)


@pytest.fixture
def backends(backends):
    """All that the original knows but TORCH, one more, and one that does not work."""
    backends.add("TF", Unpacking())
    backends.add("TFLITE", FakeBackend(devices=[fake_gpu(0)]))
    backends.add("OTHER", FakeBackend())
    backends.add("SIGNED", FakeBackend(signatures=True))
    backends.add("BROKEN", Broken())
    return backends


def error(line):
    return f"-{line}\r\n".encode()


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ---------------------------------------------------------------------- storing and showing
def test_a_model_is_shown_as_it_was_stored(wire):
    options = ["TAG", "v:1", "BATCHSIZE", 8, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 30]
    assert wire.ask("AI.MODELSTORE", "m", "onnx", "cpu:1", *options, "BLOB", DOUBLE) == OK
    meta = (
        b"$7\r\nbackend\r\n$4\r\nONNX\r\n$6\r\ndevice\r\n$5\r\ncpu:1\r\n$3\r\ntag\r\n$3\r\nv:1\r\n"
        b"$9\r\nbatchsize\r\n:8\r\n$12\r\nminbatchsize\r\n:2\r\n"
        b"$6\r\ninputs\r\n*1\r\n$6\r\ninput0\r\n$7\r\noutputs\r\n*1\r\n$7\r\noutput0\r\n"
        b"$15\r\nminbatchtimeout\r\n:30\r\n"
    )
    blob = b"$27\r\n" + DOUBLE.encode() + b"\r\n"
    for version in (2, 3):
        wire.ask("HELLO", version)
        assert wire.ask("AI.MODELGET", "m", "META") == b"*16\r\n" + meta
        assert wire.ask("AI.MODELGET", "m", "meta\0", "other") == b"*16\r\n" + meta
        assert wire.ask("AI.MODELGET", "m", "BLOB") == blob
        for words in ([], ["META", "BLOB"], ["BLOB", "META"], ["other"], ["other", "words"]):
            both = b"*18\r\n" + meta + b"$4\r\nblob\r\n" + blob
            assert wire.ask("AI.MODELGET", "m", *words) == both


def test_what_was_not_said_is_empty_or_zero(wire):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert wire.read("AI.MODELGET", "m", "META") == [
        *(b"backend", b"ONNX", b"device", b"CPU", b"tag", b"", b"batchsize", 0),
        *(b"minbatchsize", 0, b"inputs", [b"input0"], b"outputs", [b"output0"]),
        *(b"minbatchtimeout", 0),
    ]


@pytest.mark.parametrize(
    ("options", "batching"),
    [
        (["BATCHSIZE", "2.0", "MINBATCHSIZE", "1e0", "MINBATCHTIMEOUT", "0x10"], [2, 1, 16]),
        (["BATCHSIZE", 0, "MINBATCHSIZE", 0, "MINBATCHTIMEOUT", 0], [0, 0, 0]),
        (["MINBATCHSIZE", 0], [0, 0, 0]),
        (["MINBATCHTIMEOUT", 0], [0, 0, 0]),
        (["batchsize", 4, "MinBatchSize", 9], [4, 9, 0]),
    ],
)
def test_batch_options_are_counts_in_any_spelling_and_zero_is_off(wire, options, batching):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", *options, "BLOB", DOUBLE) == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert [meta[7], meta[9], meta[15]] == batching


@pytest.mark.parametrize("device", ["CPU", "cpu", "CPU:", "Cpu:1", "CPU:12345"])
def test_the_device_is_echoed_as_it_was_spelled(wire, device):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", device, "BLOB", DOUBLE) == OK
    assert wire.read("AI.MODELGET", "m", "META")[3] == device.encode()


def test_a_tag_of_any_bytes_comes_back(wire):
    tag = b"\xff\0 BLOB\r\n"
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", tag, "BLOB", DOUBLE) == OK
    assert wire.read("AI.MODELGET", "m", "META")[5] == tag
    assert wire.read("AI.INFO", "m")[9] == tag
    assert wire.read("AI._MODELSCAN") == [[b"m", tag]]


def test_the_blob_may_come_in_pieces(wire):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", *DOUBLE) == OK
    assert wire.read("AI.MODELGET", "m", "BLOB") == DOUBLE.encode()


def test_a_large_blob_comes_back_byte_for_byte(wire):
    blob = DOUBLE.encode() + b" " * 300_000
    pieces = [blob[:LARGE], blob[LARGE : 3 * LARGE], blob[3 * LARGE :]]
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", *pieces) == OK
    assert wire.read("AI.MODELGET", "m", "BLOB") == blob
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == OK
    assert wire.read("AI.MODELGET", "m")[-1] == blob


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(899, [899, 1]), (300, [300, 300, 300, 0]), (256, [256, 256, 256, 132]), (900, [900, 0])],
)
def test_a_blob_comes_in_pieces_and_the_last_one_is_not_full(wire, size, sizes):
    blob = DOUBLE.encode().ljust(900)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == OK
    assert wire.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", size) == OK

    pieces = wire.read("AI.MODELGET", "m", "BLOB")

    assert [*map(len, pieces)] == sizes
    assert b"".join(pieces) == blob
    assert wire.read("AI.MODELGET", "m")[-1] == pieces


def test_a_blob_below_the_size_of_a_piece_is_no_list(wire):
    blob = DOUBLE.encode().ljust(900)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == OK
    assert wire.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", 901) == OK
    assert wire.read("AI.MODELGET", "m", "BLOB") == blob


def test_a_blob_in_thousands_of_pieces_comes_whole(wire):
    blob = DOUBLE.encode().ljust(1_000_000)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == OK
    assert wire.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", 256) == OK

    pieces = wire.read("AI.MODELGET", "m", "BLOB")

    assert {*map(len, pieces[:-1])} == {256}
    assert b"".join(pieces) == blob


def test_a_signature_is_chosen_by_its_name(wire):
    options = ("TAG", "t", "MINBATCHTIMEOUT", 0, "signature", "SIGNATURE")
    assert wire.ask("AI.MODELSTORE", "m", "signed", "CPU", *options, "BLOB", DOUBLE) == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert len(meta) == 16
    assert meta[11] == [b"SIGNATURE_input0"]


@pytest.mark.parametrize("names", [["INPUTS", 1, "a", "OUTPUTS", 1, "b"], []])
def test_an_unknown_backend_decides_itself_whether_it_takes_names(wire, names):
    assert wire.ask("AI.MODELSTORE", "m", "other", "CPU", *names, "BLOB", DOUBLE) == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert meta[1] == b"OTHER"
    assert [meta[11], meta[13]] == ([[b"a"], [b"b"]] if names else [[b"input0"], [b"output0"]])


def test_tf_takes_the_names_that_are_given(wire):
    names = ["INPUTS", "2.0", "a", "OUTPUTS", "OUTPUTS", 1, "BLOB"]
    assert wire.ask("AI.MODELSTORE", "m", "TF", "CPU", *names, "BLOB", '{"op": "add"}') == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert [meta[11], meta[13]] == [[b"a", b"OUTPUTS"], [b"BLOB"]]


@pytest.mark.parametrize("padding", [0, LARGE])
def test_an_archive_for_tf_needs_no_names(wire, padding):
    blob = ZIP + DOUBLE + " " * padding
    for pieces in ([blob], [blob[:9], blob[9:]]):
        assert wire.ask("AI.MODELSTORE", "m", "TF", "CPU", "TAG", "v", "BLOB", *pieces) == OK
        meta = wire.read("AI.MODELGET", "m", "META")
        assert [meta[11], meta[13]] == [[b"input0"], [b"output0"]]


def test_an_archive_for_tf_may_come_with_names(wire):
    names = ["INPUTS", 1, "a", "OUTPUTS", 1, "b"]
    assert wire.ask("AI.MODELSTORE", "m", "TF", "CPU", *names, "BLOB", ZIP + DOUBLE) == OK
    meta = wire.read("AI.MODELGET", "m", "META")
    assert [meta[11], meta[13]] == [[b"a"], [b"b"]]


def test_a_model_replaces_another_with_its_expiry_and_its_counters(wire):
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1) == OK
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == OK
    assert wire.read("AI.INFO", "m")[15] == 1
    assert wire.ask("EXPIRE", "m", 100) == b":1\r\n"
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "2", "BLOB", DOUBLE) == OK
    assert wire.ask("TTL", "m") == b":-1\r\n"
    assert wire.read("AI.INFO", "m")[9:] == [
        *(b"2", b"duration", 0, b"samples", 0, b"calls", 0, b"errors", 0)
    ]


@pytest.mark.memory_store("AI.INFO looks in the client's database")
def test_models_belong_to_the_selected_database(wire):
    assert wire.ask("SELECT", 3) == OK
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert wire.ask("SELECT", 0) == OK
    assert wire.ask("AI.MODELGET", "m") == error(NO_KEY)
    assert wire.read("AI.INFO", "m")[1] == b"m"  # one table for all databases
    assert wire.ask("SELECT", 3) == OK
    assert wire.ask("AI.MODELDEL", "m") == OK


# ---------------------------------------------------------------------- errors, in their order
STORE_ERRORS = [
    # 1 over 2: too few arguments, and nobody knows the backend
    ("", ARITY.format("AI.MODELSTORE")),
    ("x NOPE CPU BLOB", ARITY.format("AI.MODELSTORE")),
    # 2 over 3: nor is that a device
    ("x NOPE XPU BLOB blob", NO_BACKEND),
    ("x ONNX2 CPU BLOB blob", NO_BACKEND),
    # 3 over 4
    ("x ONNX XPU BATCHSIZE none", NO_DEVICE),
    ("x ONNX CPU:123456 BLOB blob", NO_DEVICE),
    ("x ONNX CPUxyz BLOB blob", NO_DEVICE),
    ("x ONNX CPU:x BLOB blob", NO_DEVICE),
    ("x ONNX BLOB blob more", NO_DEVICE),
    # 4 over 5
    ("x ONNX CPU BATCHSIZE none MINBATCHSIZE none", "ERR Invalid argument for BATCHSIZE"),
    ("x ONNX CPU BATCHSIZE -1 BLOB blob", "ERR Invalid argument for BATCHSIZE"),
    ("x ONNX CPU BATCHSIZE 1.5 BLOB blob", "ERR Invalid argument for BATCHSIZE"),
    ("x ONNX CPU TAG tag BATCHSIZE", "ERR Invalid argument for BATCHSIZE"),
    # 5 over 6
    ("x ONNX CPU MINBATCHSIZE none BLOB blob", "ERR Invalid argument for MINBATCHSIZE"),
    ("x ONNX CPU BATCHSIZE 1 MINBATCHSIZE", "ERR Invalid argument for MINBATCHSIZE"),
    # 6 over 7
    (
        "x ONNX CPU MINBATCHSIZE 1 MINBATCHTIMEOUT none",
        "ERR MINBATCHSIZE specified without BATCHSIZE",
    ),
    ("x ONNX CPU BATCHSIZE 0 MINBATCHSIZE 1", "ERR MINBATCHSIZE specified without BATCHSIZE"),
    # 7 over 8
    ("x ONNX CPU MINBATCHTIMEOUT -1 BLOB blob", "ERR Invalid argument for MINBATCHTIMEOUT"),
    ("x ONNX CPU BATCHSIZE 1 MINBATCHTIMEOUT", "ERR Invalid argument for MINBATCHTIMEOUT"),
    # 8 over 9
    ("x ONNX CPU MINBATCHTIMEOUT 1", NO_MINIMUM),
    ("x ONNX CPU BATCHSIZE 1 MINBATCHSIZE 0 MINBATCHTIMEOUT 1", NO_MINIMUM),
    # the extension SIGNATURE stands between the batch options and the names
    ("x TF CPU BATCHSIZE 0 SIGNATURE", "ERR Invalid argument for SIGNATURE"),
    ("x TF CPU SIGNATURE s", NO_BLOB),
    ("x TF CPU SIGNATURE s BLOB blob", "ERR INPUTS not specified for TF"),
    ("x ONNX CPU SIGNATURE s TAG tag BLOB blob", NOT_BLOB),
    ("x ONNX CPU SIGNATURE s BLOB blob", NO_SIGNATURES),
    # 9 over 10
    ("x TF CPU TAG tag", NO_BLOB),
    ("x ONNX CPU BATCHSIZE 1", NO_BLOB),
    # 10
    ("x TF CPU BLOB blob", "ERR INPUTS not specified for TF"),
    ("x TF CPU TAG tag BLOB", "ERR INPUTS not specified for TF"),
    (f"x TF CPU BLOB PK {ZIP}", "ERR INPUTS not specified for TF"),
    (f"x TF CPU OUTPUTS 1 b BLOB {ZIP}", "ERR INPUTS not specified for TF"),
    ("x TF CPU OUTPUTS 1 a", "ERR INPUTS not specified for TF"),
    # 11 over 12
    ("x TF CPU INPUTS none", "ERR Invalid argument for input_count"),
    ("x TF CPU INPUTS 0 OUTPUTS 1 b", "ERR Invalid argument for input_count"),
    ("x TF CPU INPUTS -1 OUTPUTS 1 b", "ERR Invalid argument for input_count"),
    ("x TF CPU TAG tag INPUTS", "ERR Invalid argument for input_count"),
    # 12 over 14
    ("x TF CPU INPUTS 5 a OUTPUTS 1 b", TOO_FEW.format("input")),
    # 13 over 17: also the counts are not looked at
    (
        "x ONNX CPU INPUTS none",
        "ERR INPUTS argument should not be specified for this backend",
    ),
    (
        "x TFLITE CPU INPUTS 1 a OUTPUTS 1 b BLOB blob",
        "ERR INPUTS argument should not be specified for this backend",
    ),
    # 14 over 15
    ("x TF CPU INPUTS 1 a BLOB blob", "ERR OUTPUTS not specified for TF"),
    ("x TF CPU INPUTS 1 a", "ERR OUTPUTS not specified for TF"),
    ("x OTHER CPU INPUTS 1 a", "ERR OUTPUTS not specified for OTHER"),
    # 15 over 16
    ("x TF CPU INPUTS 1 a OUTPUTS 0", "ERR Invalid argument for output_count"),
    ("x TF CPU INPUTS 1 a OUTPUTS b BLOB blob", "ERR Invalid argument for output_count"),
    ("x TF CPU INPUTS 1 a OUTPUTS", "ERR Invalid argument for output_count"),
    # 16 over 17
    ("x TF CPU INPUTS 1 a OUTPUTS 4 b BLOB blob", TOO_FEW.format("output")),
    # 17
    ("x TF CPU INPUTS 1 a OUTPUTS 1 b", NOT_BLOB),
    ("x TF CPU INPUTS 1 a OUTPUTS 2 b BLOB", NOT_BLOB),
    ("x ONNX CPU OUTPUTS 1 b BLOB blob", NOT_BLOB),
    ("x ONNX CPU BATCHSIZE 1 TAG tag BLOB blob", NOT_BLOB),
    ("x ONNX CPU MINBATCHTIMEOUT 0 MINBATCHSIZE 0 BLOB blob", NOT_BLOB),
    # 18 over 19
    ("x TORCH CPU TAG tag BLOB", NO_BLOB),
    ("x ONNX CPU BATCHSIZE 1 BLOB", NO_BLOB),
    # 19 over 20: the backend cannot be loaded, and there is no such device
    ("x TORCH GPU BLOB blob", NOT_LOADED),
    ("x BROKEN CPU BLOB blob", NOT_LOADED),
    # 20 over 21: the blob or the device is refused, and the key holds a tensor
    ("tensor ONNX GPU BLOB blob", "ERR GPU requested but ONNX couldn't find CUDA"),
    (
        "tensor TF GPU INPUTS 1 a OUTPUTS 1 b BLOB blob",
        "ERR GPU requested but TF couldn't find CUDA",
    ),
    ("tensor OTHER GPU:1 BLOB blob", "ERR GPU requested but OTHER couldn't find CUDA"),
    ("tensor TFLITE CPU BLOB blob", "ERR unsupported device"),
    ("tensor TFLITE GPU:1 BLOB blob", "Failed to set GPU delegate"),
    ("tensor ONNX CPU BLOB []", "the blob of a fake model must be a JSON object"),
    # 21
    ('tensor ONNX CPU BLOB {"op":"identity"}', WRONG_TYPE),
]


@pytest.mark.parametrize(("request_", "line"), STORE_ERRORS)
def test_the_first_thing_that_is_wrong_is_the_error_and_nothing_is_stored(wire, request_, line):
    assert wire.ask("AI.TENSORSET", "tensor", "INT8", 1, "VALUES", 7) == OK
    for version in (2, 3):
        wire.ask("HELLO", version)
        assert wire.ask("AI.MODELSTORE", *request_.split()) == error(line)
    assert wire.ask("AI.MODELGET", "x") == error(NO_KEY)
    assert wire.ask("AI.INFO", "x") == error(NO_INFO)
    assert wire.ask("AI.INFO", "tensor") == error(NO_INFO)
    assert wire.read("AI.TENSORGET", "tensor", "VALUES") == [7]


def test_large_arguments_in_odd_places_are_judged_like_small_ones(wire):
    large = "x" * LARGE
    assert wire.ask("AI.MODELSTORE", "x", large, "CPU", "BLOB", "b") == error(NO_BACKEND)
    assert wire.ask("AI.MODELSTORE", "x", "ONNX", large, "BLOB", "b") == error(NO_DEVICE)
    assert wire.ask("AI.MODELSTORE", "x", "ONNX", "CPU", large, "b") == error(NOT_BLOB)
    options = ["BATCHSIZE", "9" * LARGE]
    line = "ERR Invalid argument for BATCHSIZE"
    assert wire.ask("AI.MODELSTORE", "x", "ONNX", "CPU", *options, "BLOB", "b") == error(line)


def test_a_failed_store_leaves_the_old_model(wire):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "old", "BLOB", DOUBLE) == OK
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "new", "BLOB", "?")[:1] == b"-"
    assert wire.read("AI.MODELGET", "m", "META")[5] == b"old"
    assert wire.read("AI.INFO", "m")[9] == b"old"


def test_why_a_backend_cannot_be_loaded_is_in_the_log(wire, caplog):
    assert wire.ask("AI.MODELSTORE", "x", "TORCH", "CPU", "BLOB", "b") == error(NOT_LOADED)
    assert wire.ask("AI.MODELSTORE", "x", "BROKEN", "CPU", "BLOB", "b") == error(NOT_LOADED)
    texts = [record.getMessage() for record in caplog.records]
    assert any("TORCH" in text and "no installed package brings it" in text for text in texts)
    assert any("BROKEN" in text and "required hooks" in text for text in texts)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("AI.MODELGET", ARITY.format("AI.MODELGET")),
        ("ai.modelget tensor META BLOB more", ARITY.format("ai.modelget")),
        ("AI.MODELGET none", NO_KEY),
        ("AI.MODELGET tensor", WRONG_TYPE),
        ("AI.MODELGET tensor nonsense", WRONG_TYPE),
        ("AI.MODELDEL", ARITY.format("AI.MODELDEL")),
        ("AI.MODELDEL tensor tensor", ARITY.format("AI.MODELDEL")),
        ("AI.MODELDEL none", NO_KEY),
        ("AI.MODELDEL tensor", WRONG_TYPE),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_errors_of_showing_and_deleting(wire, version, request_, line):
    wire.ask("HELLO", version)
    assert wire.ask("AI.TENSORSET", "tensor", "INT8", 1) == OK
    assert wire.ask(*request_.split()) == error(line)
    assert wire.ask("EXISTS", "tensor") == b":1\r\n"


# ---------------------------------------------------------------------- deleting
def test_a_deleted_model_is_gone_with_its_counters(wire):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert wire.ask("AI.MODELDEL", "m") == OK
    assert wire.ask("AI.MODELGET", "m") == error(NO_KEY)
    assert wire.ask("AI.INFO", "m") == error(NO_INFO)
    assert wire.ask("AI._MODELSCAN") == b"*0\r\n"
    assert wire.ask("AI.MODELDEL", "m") == error(NO_KEY)


def test_a_model_that_is_stored_run_and_deleted_in_one_burst_is_gone_at_once(wire):
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1) == OK
    wire.send("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE)
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    wire.send("AI.MODELDEL", "m")
    wire.send("AI.INFO", "m")
    assert [wire.reply() for _ in range(4)] == [OK, OK, OK, error(NO_INFO)]


@pytest.mark.parametrize("model", [DOUBLE, '{"op": "fail", "text": "no luck"}'])
@pytest.mark.parametrize("command", ["AI.MODELDEL", "DEL"])
def test_a_model_is_freed_without_the_garbage_collector(wire, fake, model, command):
    gc.collect()
    gc.disable()
    try:
        assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1) == OK
        assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", model) == OK
        wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
        wire.ask(command, "m")
        fake.await_calls("model_free")
        assert wire.ask("AI.INFO", "m") == error(NO_INFO)
    finally:
        gc.enable()


def test_a_replaced_model_is_freed(wire, fake):
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    fake.await_calls("model_free")
    assert wire.ask("AI.MODELGET", "m", "BLOB")[:1] == b"$"


def test_a_model_for_a_key_of_another_type_is_freed(wire, fake):
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1) == OK
    assert wire.ask("AI.MODELSTORE", "x", "ONNX", "CPU", "BLOB", DOUBLE) == error(WRONG_TYPE)
    fake.await_calls("model_free")


@pytest.mark.memory_store("AI.INFO knows a model by its key")
def test_a_renamed_model_keeps_its_name_in_the_catalog(wire):
    assert wire.ask("AI.MODELSTORE", "old", "ONNX", "CPU", "TAG", "t", "BLOB", DOUBLE) == OK
    assert wire.ask("RENAME", "old", "new") == OK
    assert wire.read("AI.MODELGET", "new", "META")[5] == b"t"
    assert wire.read("AI.INFO", "old")[1] == b"old"
    assert wire.ask("AI.INFO", "new") == error(NO_INFO)
    assert wire.read("AI._MODELSCAN") == [[b"old", b"t"]]


# ---------------------------------------------------------------------- while a model is built
def test_other_clients_are_served_while_a_model_is_built(wire, connect, fake):
    other = connect()
    assert other.ask("AI.MODELSTORE", "quick", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    wire.send("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", SLOW)
    wire.send("AI.MODELGET", "m", "META")
    fake.await_calls("model_create", 2)
    assert other.ask("PING") == b"+PONG\r\n"
    assert other.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 4) == OK
    assert other.ask("AI.MODELEXECUTE", "quick", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == OK
    assert other.read("AI.TENSORGET", "y", "VALUES") == [b"8"]
    assert other.ask("AI.MODELGET", "m") == error(NO_KEY)
    fake.hurry.set()
    assert wire.reply() == OK
    assert wire.reply()[:5] == b"*16\r\n"  # the same client's next command has waited
    assert other.ask("AI.MODELGET", "m", "BLOB")[:1] == b"$"


def test_a_model_is_stored_even_when_its_client_went_away(wire, connect, fake, caplog, vanish):
    other = connect()
    wire.send("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", SLOW)
    fake.await_calls("model_create")
    vanish(wire)
    fake.hurry.set()
    assert other.ask("AI.MODELSTORE", "next", "ONNX", "CPU", "BLOB", DOUBLE) == OK
    assert other.read("AI.INFO", "m")[1] == b"m"
    assert other.ask("AI.MODELGET", "m", "BLOB")[:1] == b"$"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_key_that_turns_to_another_type_while_a_model_is_built_is_left_alone(wire, connect, fake):
    other = connect()
    wire.send("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", SLOW)
    fake.await_calls("model_create")
    assert other.ask("AI.TENSORSET", "m", "INT8", 1, "VALUES", 5) == OK
    fake.hurry.set()
    assert wire.reply() == error(WRONG_TYPE)
    assert other.read("AI.TENSORGET", "m", "VALUES") == [5]
    assert other.ask("AI.INFO", "m") == error(NO_INFO)


def test_of_two_stores_at_once_the_one_that_ends_last_wins(wire, connect, fake):
    other = connect()
    wire.send("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "1", "BLOB", SLOW)
    fake.await_calls("model_create")
    other.send("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "2", "BLOB", DOUBLE)
    fake.hurry.set()
    assert wire.reply() == OK
    assert other.reply() == OK
    assert wire.read("AI.MODELGET", "m", "META")[5] == b"2"
    assert wire.read("AI.INFO", "m")[9] == b"2"


def test_devices_have_a_most(wire):
    blob = b'{"op": "identity"}'
    for n in range(63):
        assert wire.ask("AI.MODELSTORE", f"m{n}", "ONNX", f"CPU:{n}", "BLOB", blob) == b"+OK\r\n"
    refusal = (
        b"-ERR device 'cpu:300' would need a queue of its own, and 64 devices have one, which is"
        b" the limit: use one of those\r\n"
    )
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "cpu:300", "BLOB", blob) == refusal
    assert wire.ask("EXISTS", "m") == b":0\r\n"
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "Cpu:7", "BLOB", blob) == b"+OK\r\n"
    assert wire.ask("AI.MODELDEL", "m9") == b"+OK\r\n"
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "cpu:300", "BLOB", blob) == b"+OK\r\n"
    assert wire.read("AI.MODELGET", "m", "META")[3] == b"cpu:300"
