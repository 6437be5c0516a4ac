"""redis-benchmark measures the server, and complains about nothing.

It ends with code 1 at the first reply that is an error, and writes a warning to standard error
when CONFIG does not answer what it asks.
"""

import csv
import subprocess

import pytest

REQUESTS = 2000


@pytest.fixture(scope="module", autouse=True)
def stored(serving, digits):
    """A tensor, the network and a picture for it."""
    picture = digits.pictures[:1]
    with serving.wire() as wire:
        for command in (
            ("AI.TENSORSET", "t", "FLOAT", 2, "VALUES", 1, 2),
            ("AI.TENSORSET", "x", "FLOAT", *picture.shape, "BLOB", picture.tobytes()),
            ("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", digits.blob),
        ):
            assert wire.ask(*command) == b"+OK\r\n"


@pytest.fixture
def benchmark(serving, tool):
    """Runs redis-benchmark; gives one row per test, as it prints them."""
    program = tool("redis-benchmark")

    def benchmark(*arguments, stdin=b""):
        done = subprocess.run(
            [program, "-p", str(serving.port), "-n", str(REQUESTS), "--csv", *arguments],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stderr.decode() == ""
        assert done.returncode == 0
        return list(csv.DictReader(done.stdout.decode().splitlines()))

    return benchmark


@pytest.mark.parametrize("options", [(), ("-P", "16"), ("-c", "1"), ("-3",)], ids=" ".join)
def test_its_own_pings_are_answered(benchmark, options):
    rows = benchmark(*options, "-t", "ping")

    assert [row["test"] for row in rows] == ["PING_INLINE", "PING_MBULK"]
    assert all(float(row["rps"]) > 0 for row in rows)


PLAIN = {
    *("set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "mset", "lrange"),
    *("hset", "sadd", "spop"),
}


@pytest.mark.parametrize("options", [(), ("-P", "16"), ("-c", "1", "-r", "50")], ids=" ".join)
def test_its_own_tests_of_plain_data_are_answered(benchmark, options):
    rows = benchmark(*options, "-t", ",".join(PLAIN))

    names = {row["test"].lower().partition(" ")[0].partition("_")[0] for row in rows}
    assert names == PLAIN
    assert all(float(row["rps"]) > 0 for row in rows)


RUN = "AI.MODELEXECUTE digits INPUTS 1 x OUTPUTS 1 y"
COMMANDS = [
    "AI.TENSORSET t FLOAT 2 VALUES 1 2",
    "AI.TENSORGET t META VALUES",
    RUN,
    "EXISTS t",
]


@pytest.mark.parametrize("options", [("-c", "50"), ("-c", "10", "-P", "16")], ids=" ".join)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_reply_to_a_command_is_good(serving, benchmark, options, command):
    (row,) = benchmark(*options, *command.split())

    assert float(row["rps"]) > 0


def test_all_requests_were_run(serving, benchmark):
    with serving.wire() as wire:
        wire.ask("AI.INFO", "digits", "RESETSTAT")
        benchmark("-c", "20", *RUN.split())
        known = wire.read("AI.INFO", "digits")

    assert known[known.index(b"calls") + 1] >= REQUESTS
    assert known[known.index(b"errors") + 1] == 0


def test_a_blob_is_read_from_a_file(benchmark):
    (row,) = benchmark("-x", "AI.TENSORSET", "blob", "UINT8", "10000", "BLOB", stdin=b"x" * 10000)

    assert float(row["rps"]) > 0


def test_it_notices_errors(benchmark):
    with pytest.raises(AssertionError, match="Error from server: ERR tensor key is empty"):
        benchmark("AI.TENSORGET", "nowhere")
