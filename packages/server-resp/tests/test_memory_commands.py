"""MEMORY, as operators and redis-cli ask it; what USAGE takes is compared in test_keys_oracle."""

import json

import pytest

from tensorkeep_server.testing import WireError

SYNTAX = b"-ERR syntax error\r\n"


def pairs(items):
    return dict(zip(items[::2], items[1::2], strict=True))


# --------------------------------------------------------------------------- USAGE
@pytest.fixture
def usage(wire):
    """Asks what a key takes."""
    return lambda key: wire.read("MEMORY", "USAGE", key)


@pytest.mark.parametrize(
    ("command", "size"),
    [
        (("AI.TENSORSET", "k", "DOUBLE", 100_000), 800_000),
        (("SET", "k", "x" * 50_000), 50_000),
        (("RPUSH", "k", *["x" * 100] * 500), 50_000),
        (("HSET", "k", *(str(number) * 20 for number in range(1000))), 30_000),
        (("SADD", "k", *(f"member {number}" for number in range(1000))), 12_000),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_value_counts_with_its_data(wire, usage, command, size):
    wire.ask(*command)

    assert size <= usage("k") <= 10 * size


def test_a_model_counts_as_its_blob(wire, usage):
    blob = json.dumps({"op": "identity"})
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob)

    assert len(blob) < usage("m") < len(blob) + 1000


def test_a_script_counts_as_its_source(wire, usage, backends, fake):
    backends.add("TORCH", fake)
    source = "sum\n"
    wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", source)

    assert len(source) < usage("s") < len(source) + 1000


def test_a_number_of_samples_changes_nothing(wire, usage):
    wire.ask("RPUSH", "k", 1, 2, 3)

    assert wire.read("MEMORY", "USAGE", "k", "SAMPLES", 0) == usage("k")
    assert wire.read("memory", "usage", "k", "samples", 5, "samples", 6) == usage("k")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("bogus", SYNTAX),
        ("bogus 1", SYNTAX),
        ("SAMPLES", SYNTAX),
        ("SAMPLES -1", SYNTAX),
        ("SAMPLES 1 bogus", SYNTAX),
        ("SAMPLES x", b"-ERR value is not an integer or out of range\r\n"),
    ],
)
def test_other_options_are_refused_before_the_key_is_looked_for(wire, options, error):
    assert wire.ask("MEMORY", "USAGE", "nowhere", *options.split()) == error


def test_a_key_that_is_not_there_takes_nothing(wire):
    assert wire.ask("MEMORY", "USAGE", "nowhere") == b"$-1\r\n"


# --------------------------------------------------------------------------- the whole server
@pytest.mark.memory_store("the memory is the engine's")
def test_statistics_count_the_process_and_the_keys_of_all_databases(wire):
    wire.ask("MSET", "a", 1, "b", 2)
    wire.ask("SELECT", 5)
    wire.ask("SET", "c", 3)

    stats = pairs(wire.read("MEMORY", "STATS"))

    assert stats[b"keys.count"] == 3
    assert 10_000_000 < stats[b"total.allocated"] <= stats[b"peak.allocated"]
    data = stats[b"total.allocated"] - stats[b"startup.allocated"]
    assert stats[b"keys.bytes-per-key"] == data // 3
    assert 0 < float(stats[b"peak.percentage"]) <= 100


@pytest.mark.memory_store("the memory is the engine's")
def test_statistics_of_no_keys_divide_by_nothing(wire):
    stats = pairs(wire.read("MEMORY", "STATS"))

    assert stats[b"keys.count"] == 0
    assert stats[b"dataset.bytes"] == 0


def test_statistics_are_a_map_with_a_double_in_resp3(wire):
    wire.ask("HELLO", 3)

    stats = wire.read("MEMORY", "STATS")

    assert isinstance(stats, dict)
    assert isinstance(stats[b"peak.percentage"], float)


@pytest.mark.memory_store("the engine's words")
def test_the_doctor_says_where_to_look(wire):
    advice = wire.read("MEMORY", "DOCTOR").decode()
    assert "INFO memory" in advice
    assert "MEMORY USAGE" in advice
    wire.ask("HELLO", 3)
    assert wire.ask("MEMORY", "DOCTOR").partition(b"\r\n")[2].startswith(b"txt:Nothing")


@pytest.mark.memory_store("the memory is the engine's")
def test_the_allocator_is_not_asked(wire):
    text = b"Stats not supported for the current allocator"
    assert wire.read("MEMORY", "MALLOC-STATS") == text
    assert wire.ask("MEMORY", "PURGE") == b"+OK\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "ERR wrong number of arguments for 'memory' command"),
        (("STATS", "x"), "ERR wrong number of arguments for 'memory|stats' command"),
        (("USAGE",), "ERR wrong number of arguments for 'memory|usage' command"),
        (("leaks",), "ERR unknown subcommand 'leaks'. Try MEMORY HELP."),
    ],
)
def test_a_question_about_memory_must_be_one(wire, words, line):
    assert wire.read("MEMORY", *words) == WireError(line)


@pytest.mark.memory_store("the engine's words")
def test_help_names_every_question(wire):
    lines = wire.read("MEMORY", "HELP")

    questions = {"DOCTOR", "MALLOC-STATS", "PURGE", "STATS", "USAGE key [SAMPLES count]", "HELP"}
    assert questions <= set(lines)
