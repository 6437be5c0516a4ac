"""redis-benchmark measures the server, and complains about nothing.

It ends with code 1 at the first reply that is an error, and writes a warning to standard error
when CONFIG does not answer what it asks.
"""

import csv
import re
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
def run(serving, tool):
    """Runs redis-benchmark with the given options."""
    program = tool("redis-benchmark")

    def run(*arguments, stdin=b"", requests=REQUESTS):
        return subprocess.run(
            [program, "-p", str(serving.port), "-n", str(requests), *arguments],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def benchmark(run):
    """Runs redis-benchmark; gives one row per test, as it prints them."""

    def benchmark(*arguments, **options):
        done = run("--csv", *arguments, **options)
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
    *("hset", "sadd", "spop", "zadd", "zpopmin"),
}


@pytest.mark.parametrize("options", [(), ("-P", "16"), ("-c", "1", "-r", "50")], ids=" ".join)
def test_its_own_tests_of_plain_data_are_answered(benchmark, options):
    rows = benchmark(*options, "-t", ",".join(PLAIN), requests=500)

    names = {row["test"].lower().partition(" ")[0].partition("_")[0] for row in rows}
    assert names == PLAIN
    assert all(float(row["rps"]) > 0 for row in rows)


@pytest.mark.parametrize(
    "options",
    [
        ("--threads", "2"),
        ("-3", "-P", "8"),
        ("-d", "10000"),
        ("--dbnum", "3", "-r", "1000"),
        ("-c", "200"),
        ("--precision", "3", "-k", "1"),
    ],
    ids=" ".join,
)
def test_its_options_change_nothing_of_that(benchmark, options):
    rows = benchmark(*options, "-t", "set,get,lpush,hset", requests=500)

    assert [row["test"] for row in rows] == ["SET", "GET", "LPUSH", "HSET"]


ALONE = {
    "ping_inline": ["PING_INLINE"],
    "ping_mbulk": ["PING_MBULK"],
    **{name: [name.upper()] for name in PLAIN - {"mset", "lrange"}},
    "mset": ["MSET (10 keys)"],
    **{
        f"lrange_{number}": [
            "LPUSH (needed to benchmark LRANGE)",
            f"LRANGE_{number} (first {number} elements)",
        ]
        for number in (100, 300, 500, 600)
    },
}


@pytest.mark.parametrize("name", sorted(ALONE))
def test_each_of_its_tests_runs_alone(benchmark, name):
    assert [row["test"] for row in benchmark("-t", name, requests=200)] == ALONE[name]


def test_all_of_its_tests_run_to_the_end(run):
    done = run("-q", requests=200)

    measured = re.findall(
        r"^(\w+)\b.*: .* requests per second",
        done.stdout.decode().replace("\r", "\n"),
        re.MULTILINE,
    )
    assert measured == [
        *("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP"),
        *("SADD", "HSET", "SPOP", "ZADD", "ZPOPMIN", "LPUSH"),
        *("LRANGE_100", "LRANGE_300", "LRANGE_500", "LRANGE_600", "MSET"),
    ]
    assert done.stderr == b""
    assert done.returncode == 0


def test_its_report_shows_what_was_asked_and_no_warning(run):
    done = run("-t", "set", requests=500)

    report = done.stdout.decode()
    assert done.stderr == b""
    assert "500 requests completed" in report
    assert 'host configuration "save": ' in report
    assert 'host configuration "appendonly": no' in report
    assert "throughput summary:" in report


def test_a_quiet_run_prints_a_line_for_each_test(run):
    done = run("-q", "-t", "set,get", requests=500)

    lines = [line.strip() for line in done.stdout.decode().replace("\r", "\n").split("\n")]
    assert [line.partition(":")[0] for line in lines if "requests per second" in line] == [
        "SET",
        "GET",
    ]
    assert done.stderr == b""


def test_keys_and_values_at_random_spread_over_the_range(benchmark, client):
    benchmark("-r", "20", "SET", "spread:__rand_int__", "v")

    assert {*client.keys("spread:*")} == {b"spread:%012d" % number for number in range(20)}
    store = ("AI.TENSORSET", "rand:__rand_int__", "INT64", "1", "VALUES", "7")
    benchmark("-r", "5", "-P", "4", *store)
    assert {*client.keys("rand:*")} == {b"rand:%012d" % number for number in range(5)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-a", "secret"), "ERR AUTH <password> called without any password configured"),
        (("--user", "u", "-a", "secret"), "WRONGPASS invalid username-password pair"),
        (("--cluster",), "ERR This instance has cluster support disabled"),
        pytest.param(
            ("--enable-tracking",),
            "ERR CLIENT TRACKING is not supported",
            marks=pytest.mark.memory_store("the engine can do it"),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_refused_ends_it_with_a_reason(run, options, told):
    done = run("-q", "-t", "set", *options, requests=100)

    assert told in done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 1


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
