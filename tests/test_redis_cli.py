"""redis-cli, and a terminal without any client."""

import json
import socket
import subprocess

import numpy as np
import pytest

from tensorkeep_server.testing import request


@pytest.fixture
def cli(serving, tool):
    """Runs redis-cli: `cli("PING")` gives what it prints; `stdin` is what it reads."""
    program = tool("redis-cli")

    def cli(*arguments, stdin=b"", code=0, stderr=""):
        done = subprocess.run(
            [program, "-p", str(serving.port), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == code, done
        assert done.stderr.decode() == stderr
        return done.stdout.decode()

    return cli


@pytest.fixture
def version_7(cli):
    """Skips the test where redis-cli is too old to have `-e` and `--json`."""
    shown = cli("--version").split()[1]
    if int(shown.partition(".")[0]) < 7:
        pytest.skip(f"redis-cli is {shown}; -e and --json came with 7.0")


@pytest.fixture
def digits_by_cli(cli, digits):
    """Stores the network and the first picture as a shell would."""
    assert cli("-x", "AI.MODELSTORE", "cli:m", "ONNX", "CPU", "BLOB", stdin=digits.blob) == "OK\n"
    picture = digits.pictures[:1]
    set_picture = ("-x", "AI.TENSORSET", "cli:x", "FLOAT", *picture.shape, "BLOB")
    assert cli(*set_picture, stdin=picture.tobytes()) == "OK\n"


def test_a_model_is_stored_from_a_file_and_run(cli, digits_by_cli, digits):
    run = cli("AI.MODELEXECUTE", "cli:m", "INPUTS", 1, "cli:x", "OUTPUTS", 1, "cli:y")
    values = cli("AI.TENSORGET", "cli:y", "VALUES").split()

    assert run == "OK\n"
    assert np.array(values, np.float32).argmax() == digits.labels[0]
    assert abs(np.array(values, np.float32) - digits.one_by_one[0]).max() <= 1e-6


def test_an_error_is_shown_and_ends_with_a_code_when_that_is_asked_for(cli, version_7):
    assert cli("AI.TENSORGET", "nowhere") == ("ERR tensor key is empty or in a different shard\n\n")
    shown = "ERR tensor key is empty or in a different shard\n"
    assert cli("-e", "AI.TENSORGET", "nowhere", code=1, stderr=shown) == ""


@pytest.mark.parametrize("version", ["-2", "-3"])
def test_replies_are_shown_for_people_as_csv_and_as_json(cli, version_7, version):
    cli("AI.TENSORSET", "shown", "INT8", 2, 1, "VALUES", 7, 8)
    ask = (version, "AI.TENSORGET", "shown", "META", "VALUES")

    assert cli("--no-raw", *ask).splitlines() == [
        '1) "dtype"',
        '2) "INT8"',
        '3) "shape"',
        "4) 1) (integer) 2",
        "   2) (integer) 1",
        '5) "values"',
        "6) 1) (integer) 7",
        "   2) (integer) 8",
    ]
    assert cli("--csv", *ask) == '"dtype","INT8","shape",2,1,"values",7,8\n'
    shown = json.loads(cli("--json", *ask))
    assert shown == ["dtype", "INT8", "shape", [2, 1], "values", [7, 8]]


def test_floats_are_doubles_in_resp3_and_text_in_resp2(cli):
    cli("AI.TENSORSET", "floats", "FLOAT", 2, "VALUES", 1, 0.5)

    assert cli("-2", "--no-raw", "AI.TENSORGET", "floats", "VALUES") == '1) "1"\n2) "0.5"\n'
    assert cli("-3", "--no-raw", "AI.TENSORGET", "floats", "VALUES") == (
        "1) (double) 1\n2) (double) 0.5\n"
    )


def test_keys_are_scanned(cli):
    names = {f"scanned:{number}" for number in range(50)}
    for name in names:
        cli("AI.TENSORSET", name, "INT8", 1)

    assert set(cli("--scan", "--pattern", "scanned:*").split()) == names


def test_a_pipe_carries_thousands_of_commands(cli):
    count = 5000
    commands = b"".join(
        request("AI.TENSORSET", f"piped:{number}", "INT64", 1, "VALUES", number)
        for number in range(count)
    )

    last = cli("--pipe", stdin=commands).splitlines()[-1]

    assert last == f"errors: 0, replies: {count}"
    assert cli("AI.TENSORGET", f"piped:{count - 1}", "VALUES") == f"{count - 1}\n"


def test_a_pipe_counts_errors(cli):
    commands = request("PING") + request("AI.TENSORGET", "nowhere") + request("PING")

    error = "ERR tensor key is empty or in a different shard\n"
    shown = cli("--pipe", stdin=commands, code=1, stderr=error)

    assert shown.splitlines()[-1] == "errors: 1, replies: 3"


def test_commands_are_read_line_by_line_with_quotes(cli):
    lines = rb"""
AI.TENSORSET "two words" STRING 2 VALUES "a b" "c\x01"
AI.TENSORGET "two words" BLOB
"""

    assert cli(stdin=lines) == "OK\na b\0c\x01\0\n"


def test_a_command_is_repeated(cli):
    assert cli("-r", 5, "PING") == "PONG\n" * 5


def test_a_database_is_chosen(cli):
    cli("-n", 9, "AI.TENSORSET", "in nine", "INT8", 1)

    assert cli("-n", 9, "DBSIZE") == "1\n"
    assert cli("EXISTS", "in nine") == "0\n"


def test_info_is_shown(cli):
    info = cli("INFO")

    assert "# Server" in info
    assert "tensorkeep_version:" in info
    assert "# Keyspace" in info


def test_keys_are_sampled_by_size(cli, digits_by_cli):
    by_items, by_memory = cli("--bigkeys"), cli("--memkeys")

    assert "AI__MODELs" in by_items
    assert "AI_TENSORs" in by_items
    assert "Biggest AI__MODEL found" in by_memory


def test_latency_is_measured(cli):
    smallest, largest, average, samples = cli("--raw", "--latency", "-i", 0.2).split()

    assert float(smallest) <= float(average) <= float(largest)
    assert int(samples) > 1


def test_each_command_has_its_help(cli):
    shown = cli("help", "AI.TENSORSET")

    assert "Stores a tensor" in shown


def test_a_terminal_without_a_client_is_served_line_by_line(serving):
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as terminal:
        answers = terminal.makefile("rb")
        terminal.sendall(b"PING\r\n")
        assert answers.readline() == b"+PONG\r\n"
        terminal.sendall(b"  ai.tensorset typed STRING 1 VALUES 'two words'\n\r\nEXISTS typed\n")
        assert [answers.readline(), answers.readline()] == [b"+OK\r\n", b":1\r\n"]
        terminal.sendall(b"AI.TENSORGET typed VALUES\r\nQUIT\r\n")
        assert answers.read() == b"*1\r\n$9\r\ntwo words\r\n+OK\r\n"
        answers.close()
