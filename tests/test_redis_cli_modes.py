"""The modes in which redis-cli asks by itself: samples, scans, pipes and measures."""

import json
import re
import subprocess

import numpy as np
import pytest

from tensorkeep_server.testing import request


# --------------------------------------------------------------------------- samples
@pytest.fixture
def one_of_each(redis_cli, digits, client):
    """One value of each type, alone in a database."""
    client.flushall()
    client.set("s", "1234567")
    client.rpush("l", *range(30))
    client.hset("h", mapping={f"field {number}": number for number in range(20)})
    client.sadd("e", *range(10))
    client.zadd("z", {f"member {number}": number for number in range(15)})
    client.execute_command("AI.TENSORSET", "t", "DOUBLE", 100_000)
    digits.store(client, "m")
    return client


SUMMARY = [
    "1 lists with 30 items (14.29% of keys, avg size 30.00)",
    "1 hashs with 20 fields (14.29% of keys, avg size 20.00)",
    "1 strings with 7 bytes (14.29% of keys, avg size 7.00)",
    "1 sets with 10 members (14.29% of keys, avg size 10.00)",
    "1 zsets with 15 members (14.29% of keys, avg size 15.00)",
    # What redis-cli says of any type that it does not know.
    "1 AI__MODELs with 0 ? (14.29% of keys, avg size 0.00)",
    "1 AI_TENSORs with 0 ? (14.29% of keys, avg size 0.00)",
]


@pytest.mark.memory_store("TYPE is the engine's")
@pytest.mark.parametrize("options", [(), ("-i", "0.001"), ("-3",)], ids=" ".join)
def test_keys_are_sampled_by_their_elements(redis_cli, one_of_each, options):
    lines = redis_cli(*options, "--bigkeys").splitlines()

    assert "Sampled 7 keys in the keyspace!" in lines
    assert {*SUMMARY} <= {*lines}
    assert "Biggest   list found '\"l\"' has 30 items" in lines


@pytest.mark.memory_store("TYPE is the engine's")
@pytest.mark.parametrize("options", [("--memkeys",), ("--memkeys-samples", 3)])
def test_keys_are_sampled_by_their_memory(redis_cli, one_of_each, digits, options):
    shown = redis_cli(*options)

    biggest = dict(
        re.findall(r"^Biggest +(\w+) found '\"\w\"' has (\d+) bytes$", shown, re.MULTILINE)
    )
    assert biggest.keys() == {"list", "hash", "string", "set", "zset", "AI__MODEL", "AI_TENSOR"}
    assert 800_000 < int(biggest["AI_TENSOR"]) < 801_000
    assert len(digits.blob) < int(biggest["AI__MODEL"]) < len(digits.blob) + 1000
    assert "Sampled 7 keys in the keyspace!" in shown


@pytest.mark.memory_store("TYPE is the engine's")
def test_a_script_is_sampled_too(redis_cli):
    pytest.importorskip("tensorkeep_torch", reason="scripts are TORCH's")
    head = "def same(tensors: List[Tensor], keys: List[str], args: List[str]):"
    source = f"{head}\n    return tensors[0]\n"
    store = ("AI.SCRIPTSTORE", "f", "CPU", "ENTRY_POINTS", 1, "same", "SOURCE")
    assert redis_cli("-n", 14, "-x", *store, stdin=source.encode()) == "OK\n"

    counted = "1 AI_SCRIPTs with 0 ? (100.00% of keys, avg size 0.00)"
    assert counted in redis_cli("-n", 14, "--bigkeys").splitlines()
    (size,) = re.findall(
        r"^Biggest AI_SCRIPT found '\"f\"' has (\d+) bytes$",
        redis_cli("-n", 14, "--memkeys"),
        re.MULTILINE,
    )
    assert len(source) < int(size) < len(source) + 1000


def test_an_empty_database_has_a_summary(redis_cli):
    assert "Sampled 0 keys in the keyspace!" in redis_cli("-n", 15, "--bigkeys")
    assert "Sampled 0 keys in the keyspace!" in redis_cli("-n", 15, "--memkeys")


def test_hot_keys_are_refused_as_by_a_redis_that_does_not_count(redis_cli, one_of_each):
    told = (
        "Error: ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please"
        " note that when switching between policies at runtime LRU and LFU data will take some time"
        " to adjust.\n"
    )

    shown = redis_cli("--hotkeys", code=1, stderr=told)

    assert "Scanning the entire keyspace to find hot keys" in shown


# --------------------------------------------------------------------------- scans
def test_keys_are_scanned(redis_cli, client):
    names = {f"scanned:{number}" for number in range(50)}
    for name in names:
        client.set(name, 1)

    assert set(redis_cli("--scan", "--pattern", "scanned:*").split()) == names
    assert redis_cli("--scan", "--pattern", "scanned:7") == "scanned:7\n"
    assert set(redis_cli("--scan", "--pattern", "scanned:?", "-i", 0.001).split()) == {
        f"scanned:{number}" for number in range(10)
    }


def test_a_scan_takes_and_shows_names_that_are_not_utf8(redis_cli, redis_cli_7, client):
    client.set(b"odd\xff", 1)

    pattern = ("--quoted-pattern", r'"odd\xff"')
    assert redis_cli("--no-raw", "--scan", *pattern) == r'"odd\xff"' + "\n"


# --------------------------------------------------------------------------- pipes
def test_a_pipe_carries_thousands_of_commands(redis_cli):
    count = 5000
    commands = b"".join(
        request("AI.TENSORSET", f"piped:{number}", "INT64", 1, "VALUES", number)
        for number in range(count)
    )

    last = redis_cli("--pipe", stdin=commands).splitlines()[-1]

    assert last == f"errors: 0, replies: {count}"
    assert redis_cli("AI.TENSORGET", f"piped:{count - 1}", "VALUES") == f"{count - 1}\n"


def test_a_pipe_counts_errors(redis_cli):
    commands = request("PING") + request("AI.TENSORGET", "nowhere") + request("PING")

    error = "ERR tensor key is empty or in a different shard\n"
    shown = redis_cli("--pipe", stdin=commands, code=1, stderr=error)

    assert shown.splitlines()[-1] == "errors: 1, replies: 3"


def test_a_pipe_carries_large_tensors_and_runs(redis_cli, digits, client):
    digits.store(client)
    picture = digits.pictures[:1]
    large = np.random.default_rng(0).random(2_000_000)
    commands = (
        request("AI.TENSORSET", "large", "DOUBLE", large.size, "BLOB", large.tobytes())
        + request("AI.TENSORSET", "x", "FLOAT", *picture.shape, "BLOB", picture.tobytes())
        + request("AI.MODELEXECUTE", "digits", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
        + request("AI.TENSORGET", "large", "BLOB")
        + request("MULTI")
        + request("SET", "in a pipe", "yes")
        + request("EXEC")
    )

    last = redis_cli("--pipe", stdin=commands * 3).splitlines()[-1]

    assert last == "errors: 0, replies: 21"
    assert client.execute_command("AI.TENSORGET", "large", "BLOB") == large.tobytes()
    answer = np.frombuffer(client.execute_command("AI.TENSORGET", "y", "BLOB"), np.float32)
    assert answer.argmax() == digits.labels[0]
    assert client.get("in a pipe") == b"yes"


def test_a_pipe_that_nobody_answers_ends(redis_cli):
    commands = request("CLIENT", "REPLY", "OFF") + request("PING")

    told = "No replies for 1 seconds: exiting.\n"
    shown = redis_cli("--pipe", "--pipe-timeout", 1, stdin=commands, code=1, stderr=told)

    assert shown.splitlines()[-1] == "errors: 1, replies: 0"


def test_a_pipe_takes_commands_as_people_type_them(redis_cli, client):
    assert redis_cli("--pipe", stdin=b"SET typed 1\r\nINCR typed\r\n").endswith(
        "errors: 0, replies: 2\n"
    )
    assert client.get("typed") == b"2"


# --------------------------------------------------------------------------- measures
def test_latency_is_measured(redis_cli):
    smallest, largest, average, samples = redis_cli("--raw", "--latency", "-i", 0.2).split()

    assert float(smallest) <= float(average) <= float(largest)
    assert int(samples) >= 1
    as_json = json.loads(redis_cli("--json", "--latency", "-i", 0.1))
    assert as_json["min"] <= as_json["avg"] <= as_json["max"]
    fields = redis_cli("--csv", "--latency", "-i", 0.1).split(",")
    assert int(fields[3]) >= 1


@pytest.fixture
def beginning(serving, tool):
    """Runs redis-cli in a mode that never ends, and gives its first lines."""
    program = tool("redis-cli")

    def beginning(*arguments, lines):
        with subprocess.Popen(
            [program, "-p", str(serving.port), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            shown = [process.stdout.readline() for _ in range(lines)]
            process.terminate()
            assert process.stderr.read() == ""
        return shown

    return beginning


def test_latency_is_shown_over_time(beginning):
    shown = beginning("--latency-history", "-i", 0.05, lines=20)

    assert re.fullmatch(r"\d+ \d+ \d+\.\d\d 1\n", shown[0])
    assert any(re.fullmatch(r" -- \d+\.\d\d seconds range\n", line) for line in shown)


def test_latency_is_shown_as_a_spectrum(beginning):
    shown = beginning("--latency-dist", "-i", 0.1, lines=10)

    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown]
    assert any(line.startswith("From 0 to 100%") for line in plain)
    assert plain[-1] == ".-*#123456789ABCDEFGHIJKLMNOPQ?\n"


@pytest.mark.memory_store("the memory is the engine's")
def test_what_the_server_does_is_shown_line_by_line(beginning, client):
    client.flushall()
    client.mset({"a": 1, "b": 2})
    client.select(3)
    client.set("c", 3)

    title, names, first, second = beginning("--stat", "-i", 0.05, lines=4)

    assert title.split() == ["-------", "data", "------", *title.split()[3:]]
    assert names.split() == ["keys", "mem", "clients", "blocked", "requests", "connections"]
    for line in (first, second):
        keys, memory, clients, blocked, requests, change, connections = line.split()
        assert (keys, blocked) == ("3", "0")
        assert memory.endswith("M")
        assert int(clients) >= 2
        assert int(requests) > 0
        assert re.fullmatch(r"\(\+\d+\)", change)
        assert int(connections) >= 2


# --------------------------------------------------------------------------- replication
NO_SYNC = "SYNC with master failed: -ERR unknown command 'SYNC', with args beginning with: \n"


@pytest.mark.memory_store("the engine copies its data")
@pytest.mark.parametrize("mode", ["--rdb", "--replica", "--functions-rdb"])
def test_a_copy_of_the_data_is_refused(serving, tool, tmp_path, mode):
    copy = tmp_path / "dump.rdb"
    done = subprocess.run(
        [tool("redis-cli"), "-p", str(serving.port), mode, *([copy] if "rdb" in mode else [])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert "ERR unknown command 'REPLCONF'" in done.stderr + done.stdout
    if mode == "--functions-rdb":
        assert "Failed requesting functions only RDB from server, aborting" in done.stderr
    else:
        assert NO_SYNC in done.stderr
    assert not copy.exists()
