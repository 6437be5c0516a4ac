"""CONFIG, MODULE, TIME, CLUSTER, SAVE and SHUTDOWN, as Redis 7.0 answers them."""

import json
import logging
import shutil
import socket
import subprocess
import time

import pytest

from tensorkeep_server.testing import Wire, WireError, port_of


def config(wire, *patterns):
    items = wire.read("CONFIG", "GET", *patterns)
    return {k.decode(): v.decode() for k, v in zip(items[::2], items[1::2], strict=True)}


# ------------------------------------------------------------------------- CONFIG GET
@pytest.mark.memory_store("settings are the engine's")
def test_config_get_answers_what_clients_ask_for(wire, server):
    asked = ("save", "appendonly", "maxmemory", "databases", "port", "maxclients", "timeout")
    assert config(wire, *asked) == {
        "appendonly": "no",
        "databases": "16",
        "maxclients": "10000",
        "maxmemory": "0",
        "port": str(port_of(server)),
        "save": "",
        "timeout": "0",
    }
    assert config(wire, "proto-max-bulk-len", "bind", "lua-time-limit") == {
        "bind": "127.0.0.1",
        "lua-time-limit": "5000",
        "proto-max-bulk-len": "536870912",
    }


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_config_get_takes_patterns_in_any_case_and_names_a_setting_once(wire):
    assert config(wire, "MAXC*", "max?lients", "maxclients") == {"maxclients": "10000"}
    assert wire.ask("CONFIG", "GET", "nosuch") == b"*0\r\n"
    assert len(config(wire, "*")) > 10


def test_config_get_answers_a_map_in_resp3(wire):
    wire.ask("HELLO", "3")
    assert wire.ask("CONFIG", "GET", "save") == b"%1\r\n$4\r\nsave\r\n$0\r\n\r\n"
    assert wire.ask("CONFIG", "GET", "nosuch") == b"%0\r\n"


@pytest.mark.memory_store("settings are the engine's")
@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (("CONFIG",), "ERR wrong number of arguments for 'config' command"),
        (("CONFIG", "GET"), "ERR wrong number of arguments for 'config|get' command"),
        (("CONFIG", "SET", "a"), "ERR wrong number of arguments for 'config|set' command"),
        (("CONFIG", "SET", "maxclients", "1", "a"), "ERR syntax error"),
        (
            ("CONFIG", "SET", "NoSuch", "1"),
            "ERR Unknown option or number of arguments for CONFIG SET - 'NoSuch'",
        ),
        (
            ("CONFIG", "SET", "maxclients", "0"),
            (
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                "argument must be between 1 and 4294967295 inclusive"
            ),
        ),
        (
            ("CONFIG", "SET", "lua-time-limit", "x"),
            (
                "ERR CONFIG SET failed (possibly related to argument 'lua-time-limit') - "
                "argument couldn't be parsed into an integer"
            ),
        ),
        (
            ("CONFIG", "SET", "databases", "3"),
            (
                "ERR CONFIG SET failed (possibly related to argument 'databases') - "
                "can't set immutable config"
            ),
        ),
        (
            ("CONFIG", "SET", "maxclients", "5", "MAXCLIENTS", "6"),
            (
                "ERR CONFIG SET failed (possibly related to argument 'MAXCLIENTS') - "
                "duplicate parameter"
            ),
        ),
        (("CONFIG", "REWRITE"), "ERR The server is running without a config file"),
        (("CONFIG", "FOO"), "ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
    ],
)
def test_a_config_that_is_refused_says_why(wire, sent, line):
    assert wire.read(*sent) == WireError(line)


# ------------------------------------------------------------------------- CONFIG SET
@pytest.mark.memory_store("settings are the engine's")
def test_config_set_changes_what_can_be_changed(wire, connect):
    assert wire.ask("CONFIG", "SET", "MaxClients", "2", "lua-time-limit", "100") == b"+OK\r\n"
    assert config(wire, "maxclients", "*time-limit", "busy-*") == {
        "busy-reply-threshold": "100",
        "lua-time-limit": "100",
        "maxclients": "2",
    }
    connect().ask("PING")
    assert connect().reply() == b"-ERR max number of clients reached\r\n"
    wire.ask("CONFIG", "SET", "maxclients", "10000")


@pytest.mark.memory_store("settings are the engine's")
def test_config_set_changes_all_or_nothing(wire):
    refused = wire.ask("CONFIG", "SET", "maxclients", "5", "lua-time-limit", "x")
    assert refused.startswith(b"-ERR CONFIG SET failed")
    assert wire.ask("CONFIG", "SET", "maxclients", "5", "nosuch", "1").startswith(b"-ERR Unknown")
    assert config(wire, "maxclients") == {"maxclients": "10000"}


@pytest.mark.memory_store("settings are the engine's")
def test_what_cannot_be_changed_may_be_set_to_what_it_is(wire):
    assert wire.ask("CONFIG", "SET", "save", "", "appendonly", "No") == b"+OK\r\n"


@pytest.mark.memory_store("this section is the engine's")
def test_config_resetstat_begins_to_count_anew(wire, connect):
    other = connect()
    other.ask("NONSENSE")
    assert wire.ask("CONFIG", "RESETSTAT") == b"+OK\r\n"
    other.close()
    before = wire.read("CLIENT", "ID")
    assert connect().read("CLIENT", "ID") > before  # numbers are not given twice
    stats = wire.read("INFO", "stats").decode()
    assert "total_connections_received:1\r\n" in stats
    assert "total_commands_processed:3\r\n" in stats
    assert "total_error_replies:0\r\n" in stats


# ------------------------------------------------------------------------- MODULE, TIME
@pytest.mark.memory_store("the engine's modules are listed as well")
def test_the_ai_commands_are_a_module(wire):
    assert wire.ask("MODULE", "LIST") == (
        b"*1\r\n*8\r\n$4\r\nname\r\n$2\r\nai\r\n$3\r\nver\r\n:999999\r\n"
        b"$4\r\npath\r\n$0\r\n\r\n$4\r\nargs\r\n*0\r\n"
    )
    wire.ask("HELLO", "3")
    assert wire.read("MODULE", "LIST") == [
        {b"name": b"ai", b"ver": 999999, b"path": b"", b"args": []}
    ]


def test_time_answers_seconds_and_microseconds(wire):
    before = time.time()
    seconds, microseconds = map(int, wire.read("TIME"))
    assert 0 <= microseconds < 1_000_000
    assert int(before * 1e6) <= seconds * 1_000_000 + microseconds <= time.time() * 1e6


# ------------------------------------------------------------------------- CLUSTER
@pytest.mark.memory_store("the engine may know the slot of a key")
@pytest.mark.parametrize(
    "sent",
    [
        "CLUSTER INFO",
        "CLUSTER SLOTS",
        "CLUSTER NODES",
        "CLUSTER SHARDS",
        "CLUSTER MYID",
        "CLUSTER KEYSLOT a",
    ],
)
def test_there_is_no_cluster_to_ask_about(wire, sent):
    assert wire.ask(*sent.split()) == b"-ERR This instance has cluster support disabled\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), b"-ERR wrong number of arguments for 'cluster' command\r\n"),
        (("INFO", "x"), b"-ERR wrong number of arguments for 'cluster|info' command\r\n"),
        (("KEYSLOT",), b"-ERR wrong number of arguments for 'cluster|keyslot' command\r\n"),
        (("foo",), b"-ERR unknown subcommand 'foo'. Try CLUSTER HELP.\r\n"),
    ],
)
def test_a_question_about_the_cluster_must_be_one(wire, words, line):
    assert wire.ask("CLUSTER", *words) == line


# ------------------------------------------------------------------------- SAVE
@pytest.mark.memory_store("the engine has one")
def test_save_says_that_there_is_no_storage(wire):
    line = b"-ERR nothing was saved: this server keeps its data in memory only\r\n"
    assert wire.ask("SAVE") == line


@pytest.mark.parametrize("words", [("SAVE", "now"), ("SAVE", "")])
def test_save_takes_no_arguments(wire, words):
    assert wire.ask(*words) == b"-ERR wrong number of arguments for 'save' command\r\n"


@pytest.mark.memory_store("the engine's words")
def test_save_is_refused_in_a_transaction(wire):
    wire.ask("MULTI")
    assert wire.ask("SAVE") == b"-ERR Command not allowed inside a transaction\r\n"


# ------------------------------------------------------------------------- SHUTDOWN
@pytest.mark.parametrize("words", [("foo",), ("NOSAVE", "SAVE"), ("ABORT", "NOW")])
def test_a_shutdown_that_contradicts_itself_is_refused(wire, words):
    assert wire.ask("SHUTDOWN", *words) == b"-ERR syntax error\r\n"
    assert wire.ask("PING") == b"+PONG\r\n"


def test_a_shutdown_that_is_to_save_first_is_refused_unless_forced(wire):
    line = b"-ERR nothing was saved: this server keeps its data in memory only\r\n"

    assert wire.ask("SHUTDOWN", "SAVE") == line
    assert wire.ask("PING") == b"+PONG\r\n"

    wire.send("SHUTDOWN", "SAVE", "FORCE")
    with pytest.raises(EOFError):
        wire.reply()


def test_there_is_no_shutdown_to_abort(wire):
    assert wire.ask("SHUTDOWN", "ABORT") == b"-ERR No shutdown in progress.\r\n"


def test_shutdown_closes_every_connection_without_a_reply(wire, connect, server):
    other = connect()
    other.ask("PING")
    wire.send("SHUTDOWN", "nosave", "force")
    for each in (wire, other):
        with pytest.raises(EOFError):
            each.reply()
    with pytest.raises(ConnectionRefusedError):
        Wire(port_of(server))


@pytest.fixture
def run(wire, fake):
    """A connection that waits for a run, which ends when the fake backend is released."""
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", json.dumps({"op": "block"}))
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    yield wire
    fake.release()


def test_shutdown_lets_running_work_finish(run, connect, fake):
    connect().send("SHUTDOWN")
    run.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        run.socket.recv(1, socket.MSG_PEEK)
    fake.release()
    run.socket.settimeout(30)
    assert run.socket.recv(100) == b"+OK\r\n"
    assert run.socket.recv(100) == b""


def test_what_is_not_done_at_the_end_is_answered_and_logged(server, run, connect, fake, caplog):
    waiting, storing = connect(), connect()
    waiting.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    slow = json.dumps({"op": "slow_create", "seconds": 30})
    storing.send("AI.MODELSTORE", "slow", "ONNX", "CPU", "BLOB", slow)
    fake.await_calls("model_create", 2)
    while sum(client.blocked for client in server.clients.values()) < 3:
        time.sleep(0.001)
    with caplog.at_level(logging.WARNING):
        connect().send("SHUTDOWN", "NOW")
        for each in (run, waiting, storing):
            assert each.reply() == b"-ERR the server is shutting down\r\n"
            with pytest.raises(EOFError):
                each.reply()
    fake.hurry.set()
    assert "2 requests whose runs went on or waited, and 1 models" in caplog.text
    assert "CPU: 1 running, 1 waiting" in caplog.text


def test_shutdown_now_does_not_wait(run, connect):
    connect().send("SHUTDOWN", "NOW")
    run.socket.settimeout(4)  # less than the grace that running work has otherwise
    assert run.socket.recv(100) in {b"", b"-ERR the server is shutting down\r\n"}


# ------------------------------------------------------------------------- Redis' own programs
@pytest.mark.memory_store("settings are the engine's")
@pytest.mark.skipif(not shutil.which("redis-benchmark"), reason="needs redis-benchmark")
def test_redis_benchmark_starts_without_a_warning(server):
    arguments = ["-p", str(port_of(server)), "-n", "100", "-c", "2", "-q", "PING"]
    done = subprocess.run(
        ["redis-benchmark", *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    assert "WARNING" not in done.stdout + done.stderr
    assert "requests per second" in done.stdout


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="needs redis-cli")
def test_redis_cli_shuts_the_server_down(server):
    done = subprocess.run(
        ["redis-cli", "-p", str(port_of(server)), "SHUTDOWN", "NOSAVE"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == ""


@pytest.mark.memory_store("settings are the engine's")
def test_max_clients_cannot_be_less_than_the_clients_that_are_connected(wire, connect):
    assert connect().ask("PING") == b"+PONG\r\n"
    refused = wire.ask("CONFIG", "SET", "maxclients", "1")
    assert refused == (
        b"-ERR CONFIG SET failed (possibly related to argument 'maxclients') - 2 clients are"
        b" connected: with less than that, none could connect any more\r\n"
    )
    assert config(wire, "maxclients") == {"maxclients": "10000"}
    assert connect().ask("PING") == b"+PONG\r\n"


@pytest.mark.memory_store("settings are the engine's")
def test_a_lone_client_may_allow_itself_alone_and_set_it_back(wire, connect):
    assert wire.ask("CONFIG", "SET", "maxclients", "1") == b"+OK\r\n"
    assert wire.ask("PING") == b"+PONG\r\n"
    assert connect().reply() == b"-ERR max number of clients reached\r\n"
    assert wire.ask("CONFIG", "SET", "maxclients", "2") == b"+OK\r\n"
    assert connect().ask("PING") == b"+PONG\r\n"
