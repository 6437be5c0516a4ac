"""redis-redis_cli, and a terminal without any client."""

import json
import socket

import numpy as np
import pytest


@pytest.fixture
def digits_by_cli(redis_cli, digits):
    """Stores the network and the first picture as a shell would."""
    assert (
        redis_cli("-x", "AI.MODELSTORE", "cli:m", "ONNX", "CPU", "BLOB", stdin=digits.blob)
        == "OK\n"
    )
    picture = digits.pictures[:1]
    set_picture = ("-x", "AI.TENSORSET", "cli:x", "FLOAT", *picture.shape, "BLOB")
    assert redis_cli(*set_picture, stdin=picture.tobytes()) == "OK\n"


def test_a_model_is_stored_from_a_file_and_run(redis_cli, digits_by_cli, digits):
    run = redis_cli("AI.MODELEXECUTE", "cli:m", "INPUTS", 1, "cli:x", "OUTPUTS", 1, "cli:y")
    values = redis_cli("AI.TENSORGET", "cli:y", "VALUES").split()

    assert run == "OK\n"
    assert np.array(values, np.float32).argmax() == digits.labels[0]
    assert abs(np.array(values, np.float32) - digits.one_by_one[0]).max() <= 1e-6


def test_an_error_is_shown_and_ends_with_a_code_when_that_is_asked_for(redis_cli, redis_cli_7):
    assert redis_cli("AI.TENSORGET", "nowhere") == (
        "ERR tensor key is empty or in a different shard\n\n"
    )
    shown = "ERR tensor key is empty or in a different shard\n"
    assert redis_cli("-e", "AI.TENSORGET", "nowhere", code=1, stderr=shown) == ""


@pytest.mark.parametrize("version", ["-2", "-3"])
def test_replies_are_shown_for_people_as_csv_and_as_json(redis_cli, redis_cli_7, version):
    redis_cli("AI.TENSORSET", "shown", "INT8", 2, 1, "VALUES", 7, 8)
    ask = (version, "AI.TENSORGET", "shown", "META", "VALUES")

    assert redis_cli("--no-raw", *ask).splitlines() == [
        '1) "dtype"',
        '2) "INT8"',
        '3) "shape"',
        "4) 1) (integer) 2",
        "   2) (integer) 1",
        '5) "values"',
        "6) 1) (integer) 7",
        "   2) (integer) 8",
    ]
    assert redis_cli("--csv", *ask) == '"dtype","INT8","shape",2,1,"values",7,8\n'
    shown = json.loads(redis_cli("--json", *ask))
    assert shown == ["dtype", "INT8", "shape", [2, 1], "values", [7, 8]]


def test_floats_are_doubles_in_resp3_and_text_in_resp2(redis_cli):
    redis_cli("AI.TENSORSET", "floats", "FLOAT", 2, "VALUES", 1, 0.5)

    assert redis_cli("-2", "--no-raw", "AI.TENSORGET", "floats", "VALUES") == '1) "1"\n2) "0.5"\n'
    assert redis_cli("-3", "--no-raw", "AI.TENSORGET", "floats", "VALUES") == (
        "1) (double) 1\n2) (double) 0.5\n"
    )


def test_commands_are_read_line_by_line_with_quotes(redis_cli):
    lines = rb"""
AI.TENSORSET "two words" STRING 2 VALUES "a b" "c\x01"
AI.TENSORGET "two words" BLOB
"""

    assert redis_cli(stdin=lines) == "OK\na b\0c\x01\0\n"


def test_a_command_is_repeated(redis_cli):
    assert redis_cli("-r", 5, "PING") == "PONG\n" * 5
    assert redis_cli("-r", 3, "-i", 0.01, "INCR", "repeated") == "1\n2\n3\n"


def test_words_between_bulks_and_between_replies_are_chosen(redis_cli):
    redis_cli("RPUSH", "delimited", 1, 2)

    assert redis_cli("-d", ",", "LRANGE", "delimited", 0, -1) == "1,2\n"
    assert redis_cli("-D", "|", "-r", 2, "LRANGE", "delimited", 0, -1) == "1\n2|1\n2|"


def test_any_argument_is_read_from_standard_input(redis_cli, redis_cli_7):
    blob = bytes(range(256))
    set_tensor = ("-X", "data", "AI.TENSORSET", "tagged", "UINT8", 256, "BLOB", "data")

    assert redis_cli(*set_tensor, stdin=blob) == "OK\n"
    assert redis_cli("AI.TENSORGET", "tagged", "VALUES").split() == [*map(str, range(256))]


def test_a_key_that_is_not_utf8_is_typed_and_shown_in_quotes(redis_cli, redis_cli_7):
    assert redis_cli("--quoted-input", "SET", r'"raw\x00\xff"', "v") == "OK\n"

    assert redis_cli("--no-raw", "KEYS", "raw*") == r'1) "raw\x00\xff"' + "\n"
    assert redis_cli("--quoted-json", "KEYS", "raw*") == r'["raw\\x00\\xff"]' + "\n"


def test_a_hash_is_an_object_in_json(redis_cli, redis_cli_7):
    redis_cli("HSET", "object", "field", "value", "other", "thing")

    assert json.loads(redis_cli("--json", "HGETALL", "object")) == {
        "field": "value",
        "other": "thing",
    }


def test_a_database_is_chosen(redis_cli):
    redis_cli("-n", 9, "AI.TENSORSET", "in nine", "INT8", 1)

    assert redis_cli("-n", 9, "DBSIZE") == "1\n"
    assert redis_cli("EXISTS", "in nine") == "0\n"


def test_a_database_that_is_not_there_is_told(redis_cli):
    told = "SELECT 77 failed: ERR DB index is out of range\n"

    assert redis_cli("-n", 77, "PING", stderr=told) == "PONG\n"


def test_an_address_says_host_port_and_database(serving, redis_cli):
    redis_cli("-n", 8, "SET", "in eight", "there")
    address = f"redis://127.0.0.1:{serving.port}/8"

    assert redis_cli("-u", address, "GET", "in eight") == "there\n"
    assert redis_cli("-h", "localhost", "-n", 8, "GET", "in eight") == "there\n"


CAREFUL = (
    "Warning: Using a password with '-a' or '-u' option on the command line interface may not be"
    " safe.\n"
)
NOT_ASKED_FOR = (
    "AUTH failed: ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?\n"
)
NO_USER = "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-a", "secret"), CAREFUL + NOT_ASKED_FOR),
        (("--pass", "secret", "--no-auth-warning"), NOT_ASKED_FOR),
        (("--user", "somebody", "--pass", "secret"), CAREFUL + NO_USER),
        (("--user", "default", "--pass", "secret"), CAREFUL),
        (("-u", "redis://somebody:secret@127.0.0.1:{port}"), CAREFUL + NO_USER),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_password_is_refused_as_by_a_redis_without_one(serving, redis_cli, options, told):
    options = [option.format(port=serving.port) for option in options]

    assert redis_cli(*options, "PING", stderr=told) == "PONG\n"


@pytest.mark.parametrize("command", ["info", "check", "fix", "call"])
def test_a_cluster_command_says_that_there_is_no_cluster(serving, redis_cli, command):
    address = f"127.0.0.1:{serving.port}"
    words = ("PING",) if command == "call" else ()

    told = redis_cli("--cluster", command, address, *words, code=1)

    assert f"[ERR] Node {address} is not configured as a cluster node." in told


def test_a_cluster_is_followed_where_there_is_none(redis_cli):
    assert redis_cli("-c", "SET", "followed", "v") == "OK\n"


@pytest.mark.memory_store("the engine has Lua")
def test_a_lua_script_is_refused(redis_cli, tmp_path):
    script = tmp_path / "script.lua"
    script.write_text("return 1", encoding="ascii")

    told = redis_cli("--eval", script, "key", ",", "argument")

    assert told.startswith("ERR unknown command 'EVAL', with args beginning with: 'return 1' '1'")


@pytest.mark.memory_store("the engine has it")
@pytest.mark.parametrize("words", ["DEBUG SLEEP 0", "XADD x * a 1", "MEMORY LEAKS", "ROLES"])
def test_what_there_is_not_is_an_error(redis_cli, words):
    assert redis_cli(*words.split()).startswith("ERR unknown")


def test_pushes_come_with_replies(redis_cli):
    assert redis_cli("-3", "--show-pushes", "yes", "PING") == "PONG\n"
    assert redis_cli("-3", "--show-pushes", "no", "PING") == "PONG\n"


@pytest.mark.memory_store("the engine's words")
def test_a_report_is_shown_as_text_whatever_the_form_of_replies(redis_cli):
    for form in ("--no-raw", "--raw"):
        assert redis_cli(form, "INFO", "keyspace").startswith("# Keyspace")
        assert redis_cli(form, "MEMORY", "DOCTOR").startswith("Nothing is diagnosed")
        assert redis_cli(form, "LATENCY", "DOCTOR").startswith("Latency events are not recorded")
        assert redis_cli(form, "CLIENT", "LIST").startswith("id=")


def test_the_memory_of_the_server_is_shown(redis_cli, redis_cli_7):
    stats = json.loads(redis_cli("--json", "MEMORY", "STATS"))

    assert 0 < stats["total.allocated"] <= stats["peak.allocated"]
    assert stats["keys.count"] >= 0


def test_info_is_shown(redis_cli):
    info = redis_cli("INFO")

    assert "# Server" in info
    assert "tensorkeep_version:" in info
    assert "# Keyspace" in info


@pytest.mark.memory_store("COMMAND DOCS came with Redis 7.0", on=("redis-6.2",))
def test_each_command_has_its_help(redis_cli):
    shown = redis_cli("help", "AI.TENSORSET")

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
