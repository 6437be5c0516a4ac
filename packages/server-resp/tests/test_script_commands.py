"""AI.SCRIPTSTORE, AI.SCRIPTGET, AI.SCRIPTDEL and AI._SCRIPTSCAN, as they go over the wire."""

import pytest

from tensorkeep.testing.fake_backend import FakeBackend

OK = b"+OK\r\n"
ARITY = "ERR wrong number of arguments for '{}' command"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_SCRIPT = "ERR script key is empty"
NO_ENTRY_POINTS = "ERR Insufficient arguments, missing script entry points"
NOT_NUMERIC = "ERR Non numeric entry points number provided to AI.SCRIPTSTORE command"
NO_SOURCE = "ERR Insufficient arguments, missing script SOURCE"

MODEL = '{"op": "identity"}'


@pytest.fixture
def scripts():
    """The backend behind the name TORCH."""
    return FakeBackend()


@pytest.fixture
def backends(backends, scripts):
    backends.add("TORCH", scripts)
    return backends


def error(line):
    return f"-{line}\r\n".encode()


def ask(wire, request, *more):
    return wire.ask(*request.split(), *more)


def store(wire, key="s", source="sum stack", *options, entry_points=()):
    points = ["ENTRY_POINTS", len(entry_points), *entry_points]
    assert wire.ask("AI.SCRIPTSTORE", key, "CPU", *options, *points, "SOURCE", source, "") == OK


# ---------------------------------------------------------------------- storing
@pytest.mark.parametrize("version", [2, 3])
def test_a_script_is_shown_as_it_was_stored(wire, version, type_line):
    wire.ask("HELLO", version)
    assert (
        ask(wire, "AI.SCRIPTSTORE s Cpu:1 TAG v:1 ENTRY_POINTS 2 sum stack SOURCE", "sum stack\n")
        == OK
    )
    meta = [b"device", b"Cpu:1", b"tag", b"v:1", b"Entry Points", [b"sum", b"stack"]]
    whole = [*meta, b"source", b"sum stack\n"]
    assert wire.read("AI.SCRIPTGET", "s") == whole
    assert wire.read("AI.SCRIPTGET", "s", "META") == meta
    assert wire.read("AI.SCRIPTGET", "s", "source") == b"sum stack\n"
    assert wire.read("AI.SCRIPTGET", "s", "SOURCE", "META") == whole
    assert wire.read("AI.SCRIPTGET", "s", "nonsense") == whole
    assert wire.ask("TYPE", "s") == type_line("AI_SCRIPT")


@pytest.mark.parametrize("count", ["1", "1.0", "1e0"])
def test_the_number_of_entry_points_may_be_spelled_as_any_number(wire, count):
    request = ("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", count, "sum", "SOURCE", "sum")
    assert wire.ask(*request) == OK
    assert wire.read("AI.SCRIPTGET", "s", "META")[5] == [b"sum"]


def test_no_entry_point_is_needed(wire):
    assert wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 0, "SOURCE", "sum", "x") == OK
    assert wire.read("AI.SCRIPTGET", "s", "META")[5] == []


def test_source_and_names_end_at_a_nul(wire):
    request = ("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, b"sum\0x", "SOURCE", b"sum\0 x")
    assert wire.ask(*request) == OK
    assert wire.read("AI.SCRIPTGET", "s")[5:] == [[b"sum"], b"source", b"sum"]


def test_a_script_replaces_another_and_its_expiry_and_counts_anew(wire):
    store(wire, "s", "stack")
    wire.ask("EXPIRE", "s", 100)
    wire.ask("AI.SCRIPTEXECUTE", "s", "stack", "KEYS", 1, "k")
    assert wire.read("AI.INFO", "s")[-3] == 1
    store(wire, "s", "sum")
    assert wire.read("AI.SCRIPTGET", "s", "SOURCE") == b"sum"
    assert wire.ask("TTL", "s") == b":-1\r\n"
    assert wire.read("AI.INFO", "s")[-3] == 0


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("s CPU ENTRY_POINTS 1 sum SOURCE", ARITY.format("AI.SCRIPTSTORE")),
        ("s CPU SOURCE sum 1 2 3", NO_ENTRY_POINTS),
        ("s CPU TAG ENTRY_POINTS 1 sum SOURCE sum", NO_ENTRY_POINTS),
        ("s CPU ENTRY_POINTS one sum SOURCE sum", NOT_NUMERIC),
        ("s CPU ENTRY_POINTS 1.5 sum SOURCE sum", NOT_NUMERIC),
        ("s CPU TAG t ENTRY_POINTS SOURCE sum", NOT_NUMERIC),
        ("s CPU ENTRY_POINTS -1 sum SOURCE sum", NO_ENTRY_POINTS),
        ("s CPU ENTRY_POINTS 4 sum SOURCE sum", NO_ENTRY_POINTS),
        ("s CPU ENTRY_POINTS 1e300 sum SOURCE sum", NO_ENTRY_POINTS),
        ("s CPU ENTRY_POINTS 2 sum SOURCE sum", NO_SOURCE),
        ("s CPU ENTRY_POINTS 3 sum SOURCE sum", NO_SOURCE),
        ("s CPU ENTRY_POINTS 1 sum NOSOURCE sum", NO_SOURCE),
        ("s CPU TAG t ENTRY_POINTS 1 sum SOURCE", NO_SOURCE),
        ("s XPU ENTRY_POINTS 1 sum SOURCE sum", "ERR unsupported device"),
        ("s GPU:x ENTRY_POINTS 1 sum SOURCE sum", "ERR unsupported device"),
        ("s GPU ENTRY_POINTS 1 sum SOURCE sum", "GPU requested but Torch couldn't find CUDA"),
        ("s CPU ENTRY_POINTS 1 stack SOURCE sum", "the script has no function 'stack'"),
        ("t CPU ENTRY_POINTS 1 stack SOURCE sum", "the script has no function 'stack'"),
        ("t CPU ENTRY_POINTS 1 sum SOURCE sum", WRONG_TYPE),
    ],
)
def test_the_first_mistake_from_left_to_right_is_named(wire, request_, line, type_line):
    wire.ask("AI.TENSORSET", "t", "FLOAT", 1)
    assert wire.ask("AI.SCRIPTSTORE", *request_.split()) == error(line)
    assert wire.ask("EXISTS", "s") == b":0\r\n"
    assert wire.ask("TYPE", "t") == type_line("AI_TENSOR")


def test_any_device_that_begins_with_cpu_will_do(wire):
    assert ask(wire, "AI.SCRIPTSTORE s cpuXYZ ENTRY_POINTS 0 SOURCE sum x") == OK
    assert wire.read("AI.SCRIPTGET", "s", "META")[1] == b"cpuXYZ"


def test_without_the_backend_no_script_is_stored(wire, backends, scripts):
    backends._given.clear()
    line = error("ERR Could not load backend")
    for device in ("CPU", "XPU"):
        assert ask(wire, f"AI.SCRIPTSTORE s {device} ENTRY_POINTS 0 SOURCE sum x") == line


def test_a_script_is_stored_within_a_transaction(wire):
    wire.ask("MULTI")
    wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", "sum")
    wire.ask("AI.SCRIPTGET", "s", "SOURCE")
    wire.ask("AI.SCRIPTEXECUTE", "s")
    refused = error("ERR Cannot run RedisAI command within a transaction or a LUA script")
    assert wire.ask("EXEC") == b"*3\r\n" + OK + b"$3\r\nsum\r\n" + refused


# ---------------------------------------------------------------------- AI.SCRIPTSET
def test_an_older_spelling_stores_a_script_without_entry_points(wire):
    assert wire.ask("AI.SCRIPTSET", "s", "CPU", "TAG", "t", "SOURCE", "sum") == OK
    meta = [b"device", b"CPU", b"tag", b"t", b"Entry Points", []]
    assert wire.read("AI.SCRIPTGET", "s", "META") == meta
    assert wire.ask("AI.SCRIPTSET", "s", "CPU", "SOURCE", "sum", "TAG", "t") == OK
    assert wire.read("AI.SCRIPTGET", "s", "META")[3] == b""


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("s", ARITY.format("AI.SCRIPTSET")),
        ("s CPU SOURCE", ARITY.format("AI.SCRIPTSET")),
        ("s CPU TAG t SOURCE", ARITY.format("AI.SCRIPTSET")),
        ("s CPU SOURCE sum more", ARITY.format("AI.SCRIPTSET")),
        ("s CPU NOSOURCE sum", NO_SOURCE),
        ("s CPU TAG SOURCE", NO_SOURCE),
        ("s CPU TAG t NOSOURCE sum", NO_SOURCE),
        ("s XPU SOURCE sum", "ERR unsupported device"),
        ("t CPU SOURCE sum", WRONG_TYPE),
    ],
)
def test_the_older_spelling_names_its_mistakes(wire, request_, line):
    wire.ask("AI.TENSORSET", "t", "FLOAT", 1)
    assert wire.ask("AI.SCRIPTSET", *request_.split()) == error(line)


# ---------------------------------------------------------------------- reading and deleting
@pytest.mark.memory_store("it copies a script, which the engine does")
@pytest.mark.parametrize("name", ["AI.SCRIPTGET", "AI.SCRIPTDEL"])
def test_only_a_script_is_shown_or_deleted(wire, name):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL)
    assert wire.ask(name) == error(ARITY.format(name))
    assert wire.ask(name, "s", 1, 2, 3) == error(ARITY.format(name))
    assert wire.ask(name, "s") == error(NO_SCRIPT)
    assert wire.ask(name, "m") == error(WRONG_TYPE)
    store(wire)
    for command in ("AI.MODELGET", "AI.MODELDEL", "AI.TENSORGET"):
        assert wire.ask(command, "s") == error(WRONG_TYPE)
    assert wire.ask("COPY", "s", "other") == error("ERR not supported for this module key")


def test_a_deleted_script_is_gone_and_freed(wire, scripts):
    store(wire)
    assert wire.ask("AI.SCRIPTDEL", "s") == OK
    assert wire.ask("EXISTS", "s") == b":0\r\n"
    assert wire.ask("AI.INFO", "s") == error("ERR cannot find run info for key")
    assert wire.read("AI._SCRIPTSCAN") == []
    scripts.await_calls("script_free")


@pytest.mark.memory_store("the order of keys is the engine's")
def test_scans_list_scripts_and_models_each_in_the_order_of_the_one_table(wire):
    store(wire, "ket1", "sum", "TAG", "one")
    store(wire, "ket2", "sum")
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "t", "BLOB", MODEL)
    wire.ask("AI.MODELSTORE", "pt_model", "ONNX", "CPU", "BLOB", MODEL)
    assert wire.read("AI._SCRIPTSCAN") == [[b"ket1", b"one"], [b"ket2", b""]]
    assert wire.read("AI._MODELSCAN") == [[b"pt_model", b""], [b"m", b"t"]]
    assert wire.ask("AI._SCRIPTSCAN", "x") == error(ARITY.format("AI._SCRIPTSCAN"))


@pytest.mark.memory_store("AI.INFO knows a script by its key")
def test_a_renamed_script_is_known_by_its_old_name(wire):
    store(wire)
    wire.ask("RENAME", "s", "new")
    assert wire.read("AI._SCRIPTSCAN") == [[b"s", b""]]
    assert wire.read("AI.INFO", "s")[1] == b"s"
    assert wire.ask("AI.SCRIPTEXECUTE", "new", "sum", "KEYS", 1, "x") != OK  # it sums nothing


def test_ai_info_shows_scripts_without_samples(wire):
    store(wire, "s", "sum fail", "TAG", "t")
    wire.ask("AI.TENSORSET", "x", "FLOAT", 2, "VALUES", 1, 2)
    assert ask(wire, "AI.SCRIPTEXECUTE s sum INPUTS 2 x x OUTPUTS 1 y") == OK
    assert ask(wire, "AI.SCRIPTEXECUTE s fail KEYS 1 x").startswith(b"-the script")
    head = [b"key", b"s", b"type", b"SCRIPT", b"backend", b"TORCH", b"device", b"CPU"]
    info = wire.read("AI.INFO", "s")
    assert info[:10] == [*head, b"tag", b"t"]
    assert info[10] == b"duration"
    assert info[11] >= 0
    assert info[12:] == [b"samples", -1, b"calls", 2, b"errors", 1]
    assert wire.ask("AI.INFO", "s", "RESETSTAT") == OK
    counters = [b"duration", 0, b"samples", -1, b"calls", 0, b"errors", 0]
    assert wire.read("AI.INFO", "s")[10:] == counters
