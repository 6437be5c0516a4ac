"""Tensors and outputs that are stored for a time, or on terms: on both stores, and beside SET.

Each test has keys of its own; the engine's are those of the server over it.
"""

import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.backends import Backends
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, WireError, port_of, read_value, running_server
from tensorkeep_valkey.testing import running_engine

PAGE = Path(__file__).parents[1] / "docs/scratch.md"
OK = b"+OK\r\n"
NULL = b"$-1\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
SYNTAX = b"-ERR syntax error\r\n"
NO_INTEGER = b"-ERR value is not an integer or out of range\r\n"
LARGE = 100_000  # bytes, more than is written to an engine in one piece
SLACK_MS = 30_000  # by which a reply may come late on a busy machine
FAR = 4102444800  # the year 2100
IDENTITY = b'{"op": "identity"}'
TWO = b'{"op": "identity", "inputs": 2}'


def invalid(name):
    return f"-ERR invalid expire time in '{name}' command\r\n".encode()


# --------------------------------------------------------------------------- both stores
@pytest.fixture(scope="module", params=["memory", "engine"])
def server(request):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())
    backends.add("TORCH", FakeBackend())
    if request.param == "memory":
        with running_server(Settings(), backends) as server:
            yield server
        return
    with (
        running_engine() as engine,
        running_server(Settings(store=engine.unix), backends) as server,
    ):
        yield server


@pytest.fixture
def wire(server):
    with Wire(port_of(server)) as wire:
        wire.ask("FLUSHALL")
        wire.ask("AI.MODELSTORE", "model", "ONNX", "CPU", "BLOB", IDENTITY)
        wire.ask("AI.MODELSTORE", "two", "ONNX", "CPU", "BLOB", TWO)
        functions = ("ENTRY_POINTS", 2, "identity", "execute", "SOURCE", "identity execute")
        assert wire.ask("AI.SCRIPTSTORE", "script", "CPU", *functions) == OK
        wire.ask("AI.TENSORSET", "x", "INT8", 1, "VALUES", 7)
        yield wire


def over_engine(server):
    return server.settings.store.startswith("unix:")


def left(wire, key="k"):
    """Returns the seconds that a key has to live, rounded up to tens; None for ever."""
    found = wire.read("PTTL", key)
    assert found != -2, "there is no such key"
    return None if found == -1 else -(-found // 10_000) * 10


def value(wire, key="k"):
    return wire.read("AI.TENSORGET", key, "BLOB")


DATA = {
    "zeros": (("INT8", 1), b"\0"),
    "blob": (("INT8", 1, "BLOB", b"\5"), b"\5"),
    "values": (("INT8", 2, "VALUES", 5, 6), b"\5\6"),
    "large": (("INT8", LARGE, "BLOB", bytes(LARGE)), bytes(LARGE)),
    "many": (("INT8", 5000, "VALUES", *[1] * 5000), b"\1" * 5000),
    "a word": (("STRING", 1, "VALUES", "EX"), b"EX\0"),
}


@pytest.mark.parametrize("data", DATA)
def test_a_tensor_is_stored_for_a_time_whatever_its_data(wire, data):
    words, expected = DATA[data]
    for options, seconds in (
        (("EX", 100), 100),
        (("PX", 100_000), 100),
        (("EXAT", round(time.time()) + 95), 100),
        (("PXAT", round(time.time() * 1000) + 95_000), 100),
        (("KEEPTTL",), 100),
        (("XX", "ex", 1000), 1000),
        (("keepttl", "xx"), 1000),
    ):
        assert wire.ask("AI.TENSORSET", "k", *words, *options) == OK
        assert left(wire) in {seconds, seconds - 10}, options
        assert value(wire) == expected
    assert wire.ask("AI.TENSORSET", "k", *words) == OK
    assert left(wire) is None


@pytest.mark.parametrize("data", ["blob", "large", "many"])
def test_a_key_that_is_not_as_it_must_be_keeps_what_it_has(wire, data):
    words, expected = DATA[data]
    assert wire.ask("AI.TENSORSET", "k", *words, "XX") == NULL
    assert wire.ask("EXISTS", "k") == b":0\r\n"
    assert wire.ask("AI.TENSORSET", "k", *words, "NX", "EX", 100) == OK
    assert wire.ask("AI.TENSORSET", "k", "INT8", 1, "NX", "EX", 1000) == NULL
    assert wire.ask("AI.TENSORSET", "k", *words, "NX") == NULL
    assert (left(wire), value(wire)) == (100, expected)
    assert wire.ask("AI.TENSORSET", "k", "INT8", 1, "XX") == OK
    assert (left(wire), value(wire)) == (None, b"\0")


def test_nothing_is_null_in_each_version_of_the_protocol(wire):
    wire.ask("HELLO", 3)
    assert wire.ask("AI.TENSORSET", "k", "INT8", 1, "XX") == b"_\r\n"


def test_a_tensor_whose_time_has_come_is_gone(wire):
    for words in (DATA["blob"][0], DATA["large"][0]):
        assert wire.ask("AI.TENSORSET", "k", *words, "PX", 1) == OK
        time.sleep(0.01)
        assert wire.ask("EXISTS", "k") == b":0\r\n"
        assert wire.ask("AI.TENSORSET", "k", *words, "PXAT", 1) == OK
        assert wire.ask("EXISTS", "k") == b":0\r\n"
        assert wire.ask("AI.TENSORSET", "k", *words, "NX", "KEEPTTL") == OK
        assert left(wire) is None


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("EX",), SYNTAX),
        (("NX", "XX"), SYNTAX),
        (("EX", 1, "PX", 1), SYNTAX),
        (("EX", 1, "KEEPTTL"), SYNTAX),
        (("EX", 1, "GET"), SYNTAX),
        (("NX", "TIMEOUT", 1), SYNTAX),
        (("EX", "x"), NO_INTEGER),
        (("EX", "1.5"), NO_INTEGER),
        (("EX", 0), invalid("ai.tensorset")),
        (("PXAT", -1), invalid("ai.tensorset")),
        (("EX", 2**63 // 1000), invalid("ai.tensorset")),
    ],
)
def test_wrong_options_are_refused_as_by_set_and_nothing_is_stored(wire, options, line):
    for words, _ in DATA.values():
        assert wire.ask("AI.TENSORSET", "k", *words, *options) == line
    assert wire.ask("EXISTS", "k") == b":0\r\n"


def test_a_key_of_another_type_is_an_error_whether_it_must_be_free_or_taken(wire):
    wire.ask("RPUSH", "k", 1)
    for words, _ in DATA.values():
        for options in (("NX",), ("XX",), ("EX", 10), ("KEEPTTL",)):
            assert wire.ask("AI.TENSORSET", "k", *words, *options) == WRONG_TYPE
    assert wire.read("LLEN", "k") == 1


def test_a_transaction_stores_for_a_time_and_on_terms(wire):
    wire.ask("MULTI")
    for words, _ in (DATA["values"], DATA["large"]):
        wire.ask("AI.TENSORSET", "k", *words, "EX", 100)
        wire.ask("AI.TENSORSET", "k", *words, "NX")
        wire.ask("AI.TENSORSET", "k", *words, "KEEPTTL")
        wire.ask("AI.TENSORSET", "k", *words, "EX", 0)
        wire.ask("DEL", "k")
    wire.ask("AI.TENSORSET", "k", "INT8", 1, "XX")
    part = OK + NULL + OK + invalid("ai.tensorset") + b":1\r\n"
    assert wire.ask("EXEC") == b"*11\r\n" + part * 2 + NULL


def test_who_watches_a_key_sees_that_it_was_stored(wire, server):
    wire.ask("WATCH", "k")
    with Wire(port_of(server)) as other:
        assert other.ask("AI.TENSORSET", "k", "INT8", 1, "XX") == NULL
        wire.ask("MULTI")
        assert wire.ask("EXEC") == b"*0\r\n"
        wire.ask("WATCH", "k")
        assert other.ask("AI.TENSORSET", "k", "INT8", 1, "EX", 100) == OK
    wire.ask("MULTI")
    assert wire.ask("EXEC") == b"*-1\r\n"


# --------------------------------------------------------------------------- runs
MODEL = ("AI.MODELEXECUTE", "two", "INPUTS", 2, "x", "x", "OUTPUTS", 2, "k", "EX")
SCRIPT = ("AI.SCRIPTEXECUTE", "script", "identity", "INPUTS", 2, "x", "x", "OUTPUTS", 2, "k", "EX")
RUNS = {"model": MODEL, "script": SCRIPT}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_outputs_are_stored_for_a_time_with_a_timeout_before_or_behind(wire, run):
    for options, seconds in (
        (("EX", 100), 100),
        (("KEEPTTL", "TIMEOUT", 10_000), 100),
        (("TIMEOUT", 10_000, "XX", "PX", 1_000_000), 1000),
        (("XX", "KEEPTTL"), 1000),
        (("TIMEOUT", 10_000), None),
    ):
        assert wire.ask(*run, *options) == OK
        assert (left(wire), left(wire, "EX")) == (seconds, seconds)
        assert (value(wire), value(wire, "EX")) == (b"\7", b"\7")


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_of_outputs_all_are_stored_or_none(wire, run):
    wire.ask("AI.TENSORSET", "EX", "INT8", 1, "VALUES", 1)
    for options in (("NX",), ("XX", "EX", 100)):
        assert wire.ask(*run, *options) == NULL
        assert wire.ask("EXISTS", "k", "EX") == b":1\r\n"
        assert (left(wire, "EX"), value(wire, "EX")) == (None, b"\1")
    wire.ask("RPUSH", "k", 1)
    for options in (("NX",), ("XX",), ("EX", 100)):
        assert wire.ask(*run, *options) == WRONG_TYPE
    assert (left(wire, "EX"), value(wire, "EX")) == (None, b"\1")


def test_one_key_may_stand_for_several_outputs(wire):
    for options in (("NX", "EX", 100), ("XX", "KEEPTTL")):
        run = ("INPUTS", 2, "x", "x", "OUTPUTS", 2, "k", "k")
        assert wire.ask("AI.MODELEXECUTE", "two", *run, *options) == OK
        assert left(wire) == 100


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("EX", 0), "ERR invalid expire time in '{}' command"),
        (("EX", "x"), "ERR value is not an integer or out of range"),
        (("EX",), "ERR syntax error"),
        (("NX", "XX"), "ERR syntax error"),
    ],
)
def test_wrong_options_of_a_run_are_refused_before_it_begins(wire, options, line):
    for run in RUNS.values():
        expected = WireError(line.format(run[0].lower()))
        assert wire.read(*run, *options) == expected
        assert wire.read(*run, "TIMEOUT", 100, *options) == expected
    assert wire.ask("EXISTS", "k", "EX") == b":0\r\n"


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("bogus", "bogus"),
        ("NX bogus", "bogus"),
        ("EX bogus 9", "9"),
        ("TIMEOUT 9 bogus", "bogus"),
        ("TIMEOUT 9 TIMEOUT 9", "TIMEOUT"),
        ("NX TIMEOUT 9 KEEPTTL", "KEEPTTL"),
        ("GET", "GET"),
    ],
)
def test_what_is_no_option_of_a_run_is_refused_as_ever(wire, words, wrong):
    words = words.split()
    found = wire.read(*MODEL, *words)
    assert found == WireError(f"Invalid argument: {wrong}")
    problem = "ERR Encountered problem parsing AI.SCRIPTEXECUTE"
    unexpected = f"ERR Invalid AI.SCRIPTEXECUTE command. Unexpected argument: {wrong}"
    assert wire.read(*SCRIPT, *words) == WireError(problem if "TIMEOUT" in words else unexpected)


def test_a_script_without_outputs_has_nothing_to_store_for_a_time(wire):
    call = ("AI.SCRIPTEXECUTE", "script", "identity", "INPUTS", 1, "x")
    unexpected = "ERR Invalid AI.SCRIPTEXECUTE command. Unexpected argument: EX"
    assert wire.read(*call, "EX", 10) == WireError(unexpected)
    assert wire.read(*call, "EX", 10, "OUTPUTS", 1, "k") == WireError(unexpected)
    assert wire.ask(*call, "OUTPUTS", 0, "EX", 10, "NX") == OK


def test_the_older_commands_take_every_word_for_a_key_as_ever(wire):
    wrong = "Number of keys given as OUTPUTS here does not match model definition"
    assert wire.read("AI.MODELRUN", "model", "INPUTS", "x", "OUTPUTS", "k", "NX") == WireError(
        wrong
    )
    assert wire.ask("AI.MODELRUN", "two", "INPUTS", "x", "x", "OUTPUTS", "k", "NX") == OK
    assert value(wire, "NX") == b"\7"
    outputs = ("OUTPUTS", "EX", "10")
    assert wire.ask("AI.SCRIPTRUN", "script", "identity", "INPUTS", "x", "x", *outputs) == OK
    assert (value(wire, "EX"), value(wire, "10")) == (b"\7", b"\7")


def test_a_script_stores_a_tensor_for_a_time(wire):
    def execute(*words):
        call = ("script", "execute", "INPUTS", 0, "ARGS", len(words), *words)
        assert wire.ask("AI.SCRIPTEXECUTE", *call, "OUTPUTS", 1, "said") == OK
        return value(wire, "said")

    execute("AI.TENSORSET", "k", "INT8", "1", "EX", "100")
    assert left(wire) == 100
    execute("AI.TENSORSET", "k", "INT8", "1", "NX", "EX", "1000")
    assert left(wire) == 100


# --------------------------------------------------------------------------- DAGs
def dag(*options, name="AI.DAGEXECUTE", run="AI.MODELEXECUTE model INPUTS 1 x OUTPUTS 1 k"):
    return (name, "LOAD", 1, "x", *options, "|>", *run.split(), "|>", "AI.TENSORGET", "k", "VALUES")


DAGS = {
    "AI.DAGEXECUTE": "AI.MODELEXECUTE model INPUTS 1 x OUTPUTS 1 k",
    "AI.DAGRUN": "AI.MODELRUN model INPUTS x OUTPUTS k",
}
ALL_WELL = b"*2\r\n+OK\r\n*1\r\n:7\r\n"


@pytest.mark.parametrize("name", DAGS)
def test_persist_stores_for_a_time_and_on_terms(wire, name):
    for _ in range(2):  # the second time its plan is remembered
        wire.ask("DEL", "k")
        for options, seconds in (
            (("EX", 100), 100),
            (("KEEPTTL", "XX", "TIMEOUT", 10_000), 100),
            (("PX", 1_000_000, "ROUTING", "tag"), 1000),
            ((), None),
        ):
            asked = dag("PERSIST", 1, "k", *options, name=name, run=DAGS[name])
            assert wire.ask(*asked) == ALL_WELL
            assert (left(wire), value(wire)) == (seconds, b"\7")


def test_of_keys_of_persist_all_are_stored_or_none_and_one_more_element_tells_it(wire):
    one_more = b"*3" + ALL_WELL[2:]
    wire.ask("AI.TENSORSET", "k", "INT8", 1, "VALUES", 1)
    for options in (("NX",), ("XX",)):
        for _ in range(2):
            assert wire.ask(*dag("PERSIST", 2, "k", "x", *options)) == (
                one_more + NULL if options == ("NX",) else ALL_WELL
            )
        wire.ask("DEL", "x" if options == ("NX",) else "k")
        wire.ask("AI.TENSORSET", "x", "INT8", 1, "VALUES", 7)
    wire.ask("RPUSH", "k", 1)
    for options in (("NX",), ("XX",), ("EX", 100)):
        assert wire.ask(*dag("PERSIST", 2, "k", "x", *options)) == one_more + WRONG_TYPE
        assert left(wire, "x") is None


def test_keys_of_persist_may_be_called_like_options(wire):
    sets = ("|>", "AI.TENSORSET", "EX", "INT8", 1, "|>", "AI.TENSORSET", "10", "INT8", 1)
    assert wire.ask("AI.DAGEXECUTE", "PERSIST", 2, "EX", "10", *sets) == b"*2\r\n+OK\r\n+OK\r\n"
    assert (left(wire, "EX"), left(wire, "10")) == (None, None)
    assert (
        wire.ask("AI.DAGEXECUTE", "PERSIST", 1, "EX", "EX", "10", *sets) == b"*2\r\n+OK\r\n+OK\r\n"
    )
    assert left(wire, "EX") == 10


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("PERSIST", 1, "k", "EX", 0), "ERR invalid expire time in 'ai.dagexecute' command"),
        (("PERSIST", 1, "k", "EX", "|>"), "ERR value is not an integer or out of range"),
        (("PERSIST", 1, "k", "NX", "XX"), "ERR syntax error"),
        (
            ("PERSIST", 1, "k", "NX", "bogus"),
            "ERR Invalid DAG command. Unexpected argument:  bogus",
        ),
        (("EX", 10, "PERSIST", 1, "k"), "ERR Invalid DAG command. Unexpected argument:  EX"),
        (("TIMEOUT", 9, "EX", 10), "ERR Invalid DAG command. Unexpected argument:  EX"),
        (("PERSIST", 2, "k", "EX", 10), "ERR Invalid DAG command. Unexpected argument:  10"),
    ],
)
def test_wrong_options_of_a_dag_are_refused_before_it_begins(wire, options, line):
    assert wire.read(*dag(*options)) == WireError(line)
    assert wire.ask("EXISTS", "k") == b":0\r\n"


def test_operations_within_a_dag_store_nothing_and_so_for_no_time(wire):
    refused = (
        "ERR NX, XX, EX, PX, EXAT, PXAT and KEEPTTL not allowed within a DAG command,"
        " but behind the keys of its PERSIST"
    )
    many = " 1" * 5000
    for run in (
        "AI.MODELEXECUTE model INPUTS 1 x OUTPUTS 1 k EX 10",
        "AI.SCRIPTEXECUTE script identity INPUTS 1 x OUTPUTS 1 k NX",
        "AI.TENSORSET k INT8 1 EX 10",
        "AI.TENSORSET k INT8 1 BLOB a KEEPTTL",
        "AI.TENSORSET k INT8 2 VALUES 1 2 PX",
        f"AI.TENSORSET k INT8 5000 VALUES{many} PX 10",
    ):
        assert wire.read(*dag("PERSIST", 1, "k", run=run)) == WireError(refused)
    read_only = dag("PERSIST", 1, "k", "EX", 10, name="AI.DAGEXECUTE_RO")
    assert wire.read(*read_only) == WireError("ERR PERSIST cannot be specified in a read-only DAG")


# --------------------------------------------------------------------------- what others are told
def test_keys_are_those_without_options(wire):
    for words, keys in (
        (("AI.TENSORSET", "k", "INT8", 1, "EX", 10), ["k"]),
        ((*MODEL, "EX", 10), ["two", "x", "x", "k", "EX"]),
        ((*SCRIPT, "EX", 10), ["script", "x", "x", "k", "EX"]),
        (dag("PERSIST", 1, "k", "EX", 10), ["x", "k", "model"]),
    ):
        assert wire.read("COMMAND", "GETKEYS", *words) == [key.encode() for key in keys]


def test_events_are_those_of_set_with_what_an_engine_calls_them(wire, server):
    wire.ask("CONFIG", "SET", "notify-keyspace-events", "KEAn")
    with Wire(port_of(server)) as other:
        other.ask("PSUBSCRIBE", "__keyspace@0__:k")
        wire.ask("AI.TENSORSET", "k", "INT8", 1, "EX", 100)
        wire.ask("AI.TENSORSET", "k", "INT8", 1, "KEEPTTL")
        wire.ask("AI.TENSORSET", "k", "INT8", 1, "NX")
        wire.ask("DEL", "k")
        found = []
        while found[-1:] != [b"del"]:
            found.append(read_value(other.reply())[-1])
    if over_engine(server):
        assert found == [b"new", b"set", b"expire", b"set", b"del"]
    else:
        assert found == [b"new", b"expire", b"new", b"del"]


def test_who_looks_on_sees_the_options_and_of_data_its_beginning(wire, server):
    if over_engine(server):
        pytest.skip("MONITOR and SLOWLOG are the engine's")
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", 0)
    with Wire(port_of(server)) as other:
        other.ask("MONITOR")
        wire.ask("AI.TENSORSET", "k", *DATA["large"][0], "EX", 100, "NX")
        shown = other.reply()
    slow = wire.read("SLOWLOG", "GET", 1)[0][3]
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", 10_000)
    assert shown.endswith(b'... (%d more bytes)" "EX" "100" "NX"\r\n' % (LARGE - 1024))
    more = bytes(128) + b"... (%d more bytes)" % (LARGE - 128)
    assert slow[4:] == [b"BLOB", more, b"EX", b"100", b"NX"]


# --------------------------------------------------------------------------- beside SET
TIME = st.sampled_from((*("0", "-1", "x", "", "01", "100", "1000", "100000"), 2**63 - 1, 2**63))
OPTIONS = st.lists(
    st.one_of(
        st.sampled_from(("NX", "XX", "KEEPTTL", "xx", "EX")).map(lambda word: [word]),
        st.tuples(st.sampled_from(("EX", "PX", "ex", "Px")), TIME).map(list),
        st.tuples(st.just("EXAT"), st.sampled_from((FAR, 1, 0, "x"))).map(list),
        st.tuples(st.just("PXAT"), st.sampled_from((FAR * 1000, 1, -1, 2**63 - 1))).map(list),
    ),
    max_size=3,
).map(lambda parts: [word for part in parts for word in part])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), OPTIONS),
        st.tuples(st.sampled_from(("PERSIST", "DEL")), st.just([])),
        st.tuples(st.just("EXPIRE"), st.just(["500"])),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("data", ["blob", "large"])
@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # it begins without the key
@given(acts=ACTS)
def test_a_tensor_is_kept_as_long_as_set_keeps_a_string(wire, redis_7, data, acts):
    wire.ask("DEL", "k")
    redis_7.wire.ask("DEL", "k")
    for act, options in acts:
        mine = ("AI.TENSORSET", "k", *DATA[data][0]) if act == "store" else (act, "k")
        other = ("SET", "k", "text") if act == "store" else (act, "k")
        found, expected = wire.ask(*mine, *options), redis_7.wire.ask(*other, *options)
        assert found == expected.replace(b"'set'", b"'ai.tensorset'"), (act, options)
        lives, other_lives = (side.read("PTTL", "k") for side in (wire, redis_7.wire))
        assert abs(lives - other_lives) <= SLACK_MS, (act, options)
        assert min(lives, 0) == min(other_lives, 0), (act, options)


# --------------------------------------------------------------------------- the page
BLOCK = re.compile(r"^```\n(> .*?)^```", re.DOTALL | re.MULTILINE)
SECONDS = re.compile(r"^\(integer\) (\d+)$", re.MULTILINE)


def test_what_the_page_shows_is_what_redis_cli_prints(wire, server, tool):
    program = [tool("redis-cli"), "-p", str(port_of(server)), "--no-raw"]
    shown = "".join(BLOCK.findall(PAGE.read_text("utf-8")))
    wire.ask("AI.MODELSTORE", "double", "ONNX", "CPU", "BLOB", '{"op": "multiply", "by": 2}')
    asked = "".join(line[2:] for line in shown.splitlines(keepends=True) if line[0] == ">")
    replies = "".join(line for line in shown.splitlines(keepends=True) if line[0] != ">")
    done = subprocess.run(program, input=asked, capture_output=True, text=True, check=True)
    found = "".join(f"{line}\n" for line in done.stdout.splitlines() if line.strip())
    assert SECONDS.sub("(integer)", found) == SECONDS.sub("(integer)", replies)
    for mine, promised in zip(SECONDS.findall(found), SECONDS.findall(replies), strict=True):
        assert 0 < int(mine) <= int(promised)
