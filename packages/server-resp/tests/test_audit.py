"""The audit log: who stored, deleted or ran what, and what was refused."""

import json

import pytest

from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, running_server

MODEL = '{"op": "multiply", "by": 2}'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def server(backends, new_store, path):
    with (
        new_store() as url,
        running_server(Settings(store=url, audit_log=str(path)), backends) as state,
    ):
        yield state


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(path):
    """What is said of each request, without who and when."""
    common = ("time", "user", "client", "client_id", "database")
    return [{k: v for k, v in entry.items() if k not in common} for entry in entries(path)]


def test_what_ai_commands_store_delete_and_run_is_told(wire, path):
    wire.ask("AI.TENSORSET", "x", "FLOAT", "1", "VALUES", "3")
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL)
    wire.ask("AI.MODELEXECUTE", "m", "INPUTS", "1", "x", "OUTPUTS", "1", "y")
    wire.ask("AI.MODELEXECUTE", "m", "INPUTS", "1", "none", "OUTPUTS", "1", "y")
    wire.ask("AI.DAGEXECUTE", "LOAD", "1", "x", "|>", "AI.TENSORGET", "x", "VALUES")
    wire.ask("AI.TENSORGET", "x", "VALUES")
    wire.ask("AI.MODELDEL", "m")
    wire.ask("AI.MODELDEL", "m")
    wire.ask("PING")

    stored, model, run, failed, dag, deleted, missing = told(path)
    assert stored == {"command": "ai.tensorset", "changes": ["x"], "outcome": "ok"}
    assert model == {"command": "ai.modelstore", "changes": ["m"], "outcome": "ok"}
    used = {"reads": ["m", "x"], "changes": ["y"]}
    assert run == {"command": "ai.modelexecute", **used, "outcome": "ok"}
    assert failed["outcome"] == "error"
    assert failed["reason"] == "ERR tensor key is empty or in a different shard"
    assert dag == {"command": "ai.dagexecute", "reads": ["x"], "outcome": "ok"}
    assert deleted == {"command": "ai.modeldel", "changes": ["m"], "outcome": "ok"}
    assert missing["outcome"] == "error"
    for entry in entries(path):
        assert entry["user"] == "default"
        assert entry["client"].startswith("127.0.0.1:")
        assert entry["time"].startswith("20")
        assert entry["time"].endswith("+00:00")


def test_what_a_transaction_stores_is_told(wire, path):
    for words in (["MULTI"], ["AI.TENSORSET", "x", "FLOAT", "1"], ["EXEC"], ["PING"]):
        wire.ask(*words)

    assert {"command": "ai.tensorset", "changes": ["x"], "outcome": "ok"} in told(path)


def test_what_a_transaction_builds_and_what_it_cannot_run_is_told(wire, path):
    run = ("AI.MODELEXECUTE", "m", "INPUTS", "1", "x", "OUTPUTS", "1", "y")
    for words in (
        ("MULTI",),
        ("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL),
        ("AI.MODELSTORE", "wrong", "ONNX", "CPU", "BLOB", "nonsense"),
        run,
        ("EXEC",),
        ("PING",),
    ):
        wire.ask(*words)

    stored, wrong, ran = sorted(told(path), key=lambda each: each.get("reason", ""))
    assert stored == {"command": "ai.modelstore", "changes": ["m"], "outcome": "ok"}
    reasons = [wrong.pop("reason"), ran.pop("reason")]
    assert reasons[0].startswith("ERR Cannot run") or reasons[1].startswith("ERR Cannot run")
    assert {wrong["outcome"], ran["outcome"]} == {"error"}
    assert {wrong["command"], ran["command"]} == {"ai.modelstore", "ai.modelexecute"}


@pytest.mark.memory_store("users are the engine's there")
def test_what_a_transaction_may_not_do_any_more_is_told_by_its_own_name(wire, connect, path):
    wire.ask("ACL", "SETUSER", "alice", "on", ">hidden", "~*", "+@all")
    alice = connect()
    for words in (
        ("MULTI",),
        ("AUTH", "alice", "hidden"),
        ("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL),
        ("AI.TENSORSET", "x", "FLOAT", "1"),
    ):
        alice.ask(*words)
    wire.ask("ACL", "SETUSER", "alice", "-@model", "-@tensor")
    wire.ask("ACL", "SETUSER", "default", "-@model", "-@tensor")
    alice.ask("EXEC")
    wire.ask("PING")

    assert [(each["command"], each["outcome"]) for each in told(path)[1:]] == [
        ("acl|setuser", "ok"),
        ("acl|setuser", "ok"),
        ("ai.modelstore", "refused"),
        ("ai.tensorset", "refused"),
        ("auth", "ok"),
    ]


@pytest.mark.memory_store("users and the server's settings are the engine's there")
@pytest.mark.parametrize(
    "words",
    [
        ("ACL", "SETUSER", "default", "<hidden"),
        ("ACL", "SETUSER", "default", "hidden"),
        ("ACL", "SETUSER", "default", "(>hidden)"),
        ("ACL", "SETUSER", "default", "(hidden"),
        ("ACL", "SETUSER", "default", ">it's", "hi'dden"),
        ("ACL", "DRYRUN", "hidden", "GET", "x"),
        ("CONFIG", "SET", "requirepass", "a", "hidden", "b"),
        ("CONFIG", "SET", "requirepass", "a", "hidden"),
    ],
)
def test_an_error_that_repeats_a_password_is_told_without_it(wire, path, words):
    assert wire.ask(*words).startswith(b"-")
    wire.ask("PING")

    (entry,) = told(path)
    assert entry["outcome"] == "error"
    assert "hid" not in entry["reason"]
    assert "dden" not in path.read_text()


def test_an_error_that_repeats_a_long_argument_is_told_in_part(wire, path):
    reply = wire.ask("AI.DAGEXECUTE", "a" * 10_000, "b", "c", "|>", "AI.TENSORGET", "x")
    wire.ask("PING")

    (entry,) = told(path)
    assert len(reply) > 10_000
    assert len(entry["reason"]) == 256
    assert reply[1:].startswith(entry["reason"].encode())


def test_keys_are_text_whatever_bytes_they_have_and_no_longer_than_they_need_be(wire, path):
    wire.ask("AI.TENSORSET", b'\xff\n"', "FLOAT", "1")
    wire.ask("AI.TENSORSET", "k" * 10_000, "FLOAT", "1")
    wire.ask("PING")

    odd, long = told(path)
    assert odd["changes"] == ['\\udcff\n"']
    assert len(long["changes"][0]) == 256


@pytest.mark.memory_store("users and the server's settings are the engine's there")
def test_who_is_let_in_and_what_is_refused_is_told_without_passwords(wire, connect, path):
    wire.ask("ACL", "SETUSER", "alice", "on", ">hidden", "~a:*", "+@run", "+@tensor")
    alice = connect()
    alice.ask("AUTH", "alice", "hidden1")
    alice.ask("AUTH", "alice", "hidden")
    alice.ask("AI.MODELSTORE", "a:m", "ONNX", "CPU", "BLOB", MODEL)
    alice.ask("AI.TENSORSET", "b", "FLOAT", "1")
    wire.ask("CONFIG", "SET", "requirepass", "hidden2")
    wire.ask("CONFIG", "SET", "requirepass", "")
    wire.ask("FLUSHALL")
    wire.ask("PING")

    said = [(each["user"], each["command"], each["outcome"]) for each in entries(path)]
    assert said == [
        ("default", "acl|setuser", "ok"),
        ("alice", "auth", "refused"),
        ("alice", "auth", "ok"),
        ("alice", "ai.modelstore", "refused"),
        ("alice", "ai.tensorset", "refused"),
        ("default", "config|set", "ok"),
        ("default", "config|set", "ok"),
        ("default", "flushall", "ok"),
    ]
    assert entries(path)[3]["reason"].startswith("NOPERM this user has no permissions to run")
    assert "hidden" not in path.read_text()
    assert MODEL not in path.read_text()


def test_a_log_that_was_moved_away_is_made_anew(wire, path, tmp_path):
    wire.ask("AI.TENSORSET", "x", "FLOAT", "1")
    wire.ask("PING")
    path.rename(tmp_path / "audit.1")
    wire.ask("AI.TENSORSET", "y", "FLOAT", "1")
    wire.ask("PING")

    assert [each["changes"] for each in told(tmp_path / "audit.1")] == [["x"]]
    assert [each["changes"] for each in told(path)] == [["y"]]


def test_a_log_that_cannot_be_written_stops_no_client(wire, path, tmp_path, caplog):
    path.unlink()
    path.mkdir()

    assert wire.ask("AI.TENSORSET", "x", "FLOAT", "1") == b"+OK\r\n"
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", "1") == b"+OK\r\n"
    assert wire.ask("PING") == b"+PONG\r\n"
    assert caplog.text.count("cannot be written") == 1


def test_a_server_whose_log_cannot_be_opened_does_not_start(backends, tmp_path):
    settings = Settings(audit_log=str(tmp_path))
    with pytest.raises(OSError, match="directory"), running_server(settings, backends) as server:
        Wire(port_of(server))
