"""AI.INFO, AI._MODELSCAN and AI.CONFIG, as they go over the wire."""

import pytest

from tensorkeep.hookspecs import BackendInfo, hookimpl
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import DEFAULT_CHUNK_SIZE

OK = b"+OK\r\n"
ARITY = "ERR wrong number of arguments for '{}' command"
NO_INFO = "ERR cannot find run info for key"
CANNOT_LOAD = "ERR error loading backend"

DOUBLE = '{"op": "multiply", "by": 2}'


class Misfit(FakeBackend):
    """A backend of another time."""

    @hookimpl
    def backend_info(self):
        return BackendInfo(99, "misfit", "0")


@pytest.fixture
def backends(backends):
    backends.add("TF", FakeBackend())
    backends.add("OTHER", FakeBackend())
    backends.add("MISFIT", Misfit())
    return backends


def error(line):
    return f"-{line}\r\n".encode()


def store(wire, key, model=DOUBLE, *options):
    assert wire.ask("AI.MODELSTORE", key, "ONNX", "cpu", *options, "BLOB", model) == OK


def execute(wire, key, *shape):
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", *shape, "BLOB", bytes(24)) == OK
    return wire.ask("AI.MODELEXECUTE", key, "INPUTS", 1, "x", "OUTPUTS", 1, "y")


# ---------------------------------------------------------------------- AI.INFO
@pytest.mark.parametrize("version", [2, 3])
def test_what_is_known_of_a_fresh_model(wire, version):
    wire.ask("HELLO", version)
    store(wire, "m", DOUBLE, "TAG", "v:1")
    assert wire.ask("AI.INFO", "m") == (
        b"*18\r\n$3\r\nkey\r\n$1\r\nm\r\n$4\r\ntype\r\n$5\r\nMODEL\r\n$7\r\nbackend\r\n$4\r\nONNX\r\n"
        b"$6\r\ndevice\r\n$3\r\ncpu\r\n$3\r\ntag\r\n$3\r\nv:1\r\n$8\r\nduration\r\n:0\r\n"
        b"$7\r\nsamples\r\n:0\r\n$5\r\ncalls\r\n:0\r\n$6\r\nerrors\r\n:0\r\n"
    )


def test_runs_are_counted_with_their_rows_and_failures_without(wire):
    store(wire, "m", '{"op": "sleep", "seconds": 0.002}')
    assert execute(wire, "m", 2, 3) == OK
    assert execute(wire, "m", 3, 2) == OK
    _, _, *rest = wire.read("AI.INFO", "m")[8:]
    assert rest[0::2] == [b"duration", b"samples", b"calls", b"errors"]
    duration, samples, calls, errors = rest[1::2]
    assert 4000 <= duration < 10_000_000
    assert (samples, calls, errors) == (5, 2, 0)
    store(wire, "bad", '{"op": "fail", "text": "no"}')
    assert execute(wire, "bad", 2, 3) == error("no")
    assert wire.read("AI.INFO", "bad")[11::2] == [0, 0, 1, 1]


def test_a_scalar_output_adds_no_samples(wire):
    store(wire, "m")
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", "VALUES", 1) == OK
    assert wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == OK
    assert wire.read("AI.INFO", "m")[13::2] == [0, 1, 0]


@pytest.mark.parametrize("word", ["RESETSTAT", "resetstat", "ResetStat\0x"])
def test_counters_are_set_back(wire, word):
    store(wire, "m")
    fresh = wire.ask("AI.INFO", "m")
    assert execute(wire, "m", 2, 3) == OK
    assert wire.ask("AI.INFO", "m") != fresh
    assert wire.ask("AI.INFO", "m", word) == OK
    assert wire.ask("AI.INFO", "m") == fresh


def test_another_word_than_resetstat_means_nothing(wire):
    store(wire, "m")
    assert execute(wire, "m", 2, 3) == OK
    assert wire.ask("AI.INFO", "m", "nonsense") == wire.ask("AI.INFO", "m")
    assert wire.read("AI.INFO", "m")[15] == 1


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("AI.INFO", ARITY.format("AI.INFO")),
        ("ai.info none RESETSTAT more", ARITY.format("ai.info")),
        ("AI.INFO none", NO_INFO),
        ("AI.INFO none RESETSTAT", NO_INFO),
        ("AI.INFO tensor", NO_INFO),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_errors_of_info(wire, version, request_, line):
    wire.ask("HELLO", version)
    assert wire.ask("AI.TENSORSET", "tensor", "INT8", 1) == OK
    assert wire.ask(*request_.split()) == error(line)


def test_an_overwritten_or_expired_model_leaves_the_catalog(wire, fake):
    store(wire, "m")
    assert wire.ask("PEXPIRE", "m", 1) == b":1\r\n"
    fake.await_calls("model_free")
    assert wire.ask("AI.INFO", "m") == error(NO_INFO)
    store(wire, "m")
    assert wire.ask("FLUSHALL") == OK
    fake.await_calls("model_free", 2)
    assert wire.ask("AI.INFO", "m") == error(NO_INFO)


# ---------------------------------------------------------------------- AI._MODELSCAN
@pytest.mark.memory_store("the order of keys is the engine's")
@pytest.mark.parametrize("version", [2, 3])
def test_models_are_listed_with_their_tags_in_the_order_of_the_originals_table(wire, version):
    wire.ask("HELLO", version)
    assert wire.ask("AI._MODELSCAN") == b"*0\r\n"
    store(wire, "m", DOUBLE, "TAG", "v:1")
    store(wire, "pt_model")
    listed = b"*2\r\n$8\r\npt_model\r\n$0\r\n\r\n", b"*2\r\n$1\r\nm\r\n$3\r\nv:1\r\n"
    assert wire.ask("ai._modelscan") == b"*2\r\n" + b"".join(listed)
    assert wire.ask("AI.MODELDEL", "pt_model") == OK
    assert wire.ask("AI._MODELSCAN") == b"*1\r\n" + listed[1]


@pytest.mark.memory_store("the engine's keys of one database are listed")
def test_models_of_all_databases_are_listed_by_their_names(wire):
    store(wire, "m", DOUBLE, "TAG", "0")
    assert wire.ask("SELECT", 1) == OK
    store(wire, "m", DOUBLE, "TAG", "1")
    store(wire, "ket1")
    assert wire.read("AI._MODELSCAN") == [[b"ket1", b""], [b"m", b"1"]]


def test_a_scan_logs_nothing(wire, caplog):
    with caplog.at_level("INFO"):
        wire.ask("AI._MODELSCAN")
        wire.ask("AI._SCRIPTSCAN")
    assert caplog.records == []


def test_a_scan_takes_no_arguments(wire):
    assert wire.ask("AI._MODELSCAN", "x") == error(ARITY.format("AI._MODELSCAN"))


# ---------------------------------------------------------------------- AI.CONFIG
def test_the_chunk_size_is_kept(wire):
    assert wire.ask("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE") == b":%d\r\n" % DEFAULT_CHUNK_SIZE
    assert wire.ask("ai.config", "model_chunk_size", 450, "and more") == OK
    assert wire.ask("AI.CONFIG", "get", "model_chunk_size", "and more") == b":450\r\n"


def test_the_path_of_backends_is_kept(wire):
    first = wire.read("AI.CONFIG", "GET", "BACKENDSPATH")
    assert first.startswith(b"/")
    assert first.endswith(b"/backends")
    assert wire.ask("AI.CONFIG", "BACKENDSPATH", first) == OK
    assert wire.read("AI.CONFIG", "GET", "BACKENDSPATH") == first
    assert wire.ask("AI.CONFIG", "BACKENDSPATH", b"/some where\xff", "and more") == OK
    assert wire.read("AI.CONFIG", "GET", "BackendsPath") == b"/some where\xff"
    assert wire.ask("AI.CONFIG", "BACKENDSPATH", "") == OK
    assert wire.read("AI.CONFIG", "GET", "BACKENDSPATH") == first


def test_unknown_settings_are_null(wire):
    assert wire.ask("AI.CONFIG", "GET", "nonsense") == b"$-1\r\n"
    wire.ask("HELLO", 3)
    assert wire.ask("AI.CONFIG", "GET", "nonsense") == b"_\r\n"


def test_a_backend_is_loaded_once(wire, backends):
    assert wire.ask("AI.CONFIG", "LOADBACKEND", "tf", "any/path.so", "and more") == OK
    assert "TF" in backends.loaded
    assert wire.ask("AI.CONFIG", "LOADBACKEND", "TF", "any/path.so") == error(CANNOT_LOAD)
    assert wire.ask("AI.CONFIG", "LOADBACKEND", "other", "") == OK


def test_a_backend_that_a_model_has_loaded_is_loaded(wire):
    store(wire, "m")
    assert wire.ask("AI.CONFIG", "LOADBACKEND", "ONNX", "path") == error(CANNOT_LOAD)


def test_why_a_backend_cannot_be_loaded_is_in_the_log(wire, caplog):
    assert wire.ask("AI.CONFIG", "LOADBACKEND", "TORCH", "path") == error(CANNOT_LOAD)
    assert wire.ask("AI.CONFIG", "LOADBACKEND", "MISFIT", "path") == error(CANNOT_LOAD)
    texts = [record.getMessage() for record in caplog.records]
    assert any("TORCH" in text and "no installed package brings it" in text for text in texts)
    assert any("MISFIT" in text and "version 99" in text for text in texts)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("", ARITY.format("AI.CONFIG")),
        ("nonsense", "ERR unsupported subcommand"),
        ("LOADBACKEND", ARITY.format("AI.CONFIG")),
        ("LOADBACKEND NOPE", ARITY.format("AI.CONFIG")),
        ("LOADBACKEND NOPE path", "ERR unsupported backend"),
        ("BACKENDSPATH", "ERR BACKENDSPATH: missing path argument"),
        ("MODEL_CHUNK_SIZE", "ERR MODEL_CHUNK_SIZE: missing chunk size"),
        (
            "MODEL_CHUNK_SIZE 1",
            "ERR MODEL_CHUNK_SIZE: invalid chunk size, it must be at least 256",
        ),
        ("MODEL_CHUNK_SIZE 0", "ERR MODEL_CHUNK_SIZE: invalid chunk size"),
        ("MODEL_CHUNK_SIZE -1", "ERR MODEL_CHUNK_SIZE: invalid chunk size"),
        (
            "MODEL_CHUNK_SIZE 255",
            "ERR MODEL_CHUNK_SIZE: invalid chunk size, it must be at least 256",
        ),
        ("MODEL_CHUNK_SIZE 1.0", "ERR MODEL_CHUNK_SIZE: invalid chunk size"),
        ("MODEL_CHUNK_SIZE none", "ERR MODEL_CHUNK_SIZE: invalid chunk size"),
        ("GET", ARITY.format("AI.CONFIG")),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_errors_of_config(wire, version, request_, line):
    wire.ask("HELLO", version)
    assert wire.ask("AI.CONFIG", *request_.split()) == error(line)
    assert wire.ask("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE") == b":%d\r\n" % DEFAULT_CHUNK_SIZE


# ---------------------------------------------------------------------- what COMMAND says
@pytest.mark.parametrize(
    ("name", "flags", "keys"),
    [
        ("ai.tensorset", "write denyoom module", (1, 1, 1)),
        ("ai.tensorget", "readonly module", (1, 1, 1)),
        ("ai.modelstore", "write denyoom module", (1, 1, 1)),
        ("ai.modelset", "write denyoom module", (1, 1, 1)),
        ("ai.modelget", "readonly module", (1, 1, 1)),
        ("ai.modeldel", "write module", (1, 1, 1)),
        ("ai.modelexecute", "write denyoom module movablekeys", (4, 4, 1)),
        ("ai.modelrun", "write denyoom module movablekeys", (3, 3, 1)),
        ("ai._modelscan", "readonly module", (0, 0, 0)),
        ("ai.info", "readonly module", (1, 1, 1)),
        ("ai.config", "write module", (0, 0, 0)),
    ],
)
def test_what_command_says_of_the_ai_commands(wire, name, flags, keys):
    (info,) = wire.read("COMMAND", "INFO", name)
    assert info[:2] == [name.encode(), -1]
    assert [*map(str, info[2])] == flags.split()
    assert tuple(info[3:6]) == keys


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ("AI.TENSORSET x FLOAT 1", [b"x"]),
        ("AI.MODELSTORE m ONNX CPU BLOB b", [b"m"]),
        ("AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 y", [b"m", b"x", b"y"]),
        ("AI.MODELRUN m INPUTS x OUTPUTS y", [b"m", b"x", b"y"]),
        ("AI.INFO m", [b"m"]),
        ("AI.MODELEXECUTE m INPUTS", "ERR Invalid arguments specified for command"),
        ("AI.CONFIG GET BACKENDSPATH", "ERR The command has no key arguments"),
        ("AI._MODELSCAN x", "ERR The command has no key arguments"),
    ],
)
def test_which_keys_command_finds_in_a_request(wire, request_, keys):
    assert wire.read("COMMAND", "GETKEYS", *request_.split()) == keys
