"""What clients and people see of isolation: errors, INFO and `tensorkeep info`."""

import json
from types import SimpleNamespace

import pytest
import redis
from typer.testing import CliRunner

from tensorkeep.config import EngineConfig
from tensorkeep.testing.fake_isolation import FakeIsolation
from tensorkeep_server.cli import app
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of

REASON = "Div, of integers = by what clients send"


def dies_of_13(_hook, tensors):
    return "signal 11 (SIGSEGV)" if any(13 in each.numpy() for each in tensors) else ""


def judge(_spec, blob):
    return "" if b"multiply" in blob else REASON


@pytest.fixture
def isolation():
    return FakeIsolation(dies_of_13, sandbox="landlock, no network")


@pytest.fixture
def server(isolation, run_server):
    """A server whose backend is isolated unless a model only multiplies."""
    harmless = SimpleNamespace(LIGHT=True, why_isolated=judge)
    settings = Settings(engine=EngineConfig(isolate="auto"))
    with run_server(settings, isolation.backends(judge=harmless, names=["TORCH"])) as state:
        yield state


@pytest.fixture
def wire(server):
    with Wire(port_of(server)) as wire:
        yield wire


@pytest.fixture
def client(server):
    with redis.Redis(port=port_of(server)) as client:
        yield client


def store(wire, key, op="identity", **fields):
    blob = json.dumps({"op": op, **fields})
    return wire.ask("AI.MODELSTORE", key, "TORCH", "CPU", "BLOB", blob)


def run(wire, key, value):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", value)
    return wire.ask("AI.MODELEXECUTE", key, "INPUTS", 1, "x", "OUTPUTS", 1, "y")


CRASHED = b"-ERR the model m ended its worker process: signal 11 (SIGSEGV)\r\n"


def test_a_client_is_told_which_model_ended_its_worker_and_of_what(wire):
    store(wire, "m")
    assert run(wire, "m", 13) == CRASHED
    assert run(wire, "m", 1) == b"+OK\r\n"


def test_a_model_that_is_run_no_more_says_so_and_runs_once_it_is_stored_again(wire):
    store(wire, "m")
    assert [run(wire, "m", 13) for _ in range(3)] == [CRASHED] * 3
    assert run(wire, "m", 1) == (
        b"-ERR the model m is not run until it is stored again: it ended its worker process 3 times"
        b" running, at last by signal 11 (SIGSEGV)\r\n"
    )
    assert wire.ask("AI.TENSORGET", "x", "VALUES") == b"*1\r\n$1\r\n1\r\n"
    store(wire, "m")
    assert run(wire, "m", 1) == b"+OK\r\n"


@pytest.mark.parametrize("what", ["model", "script"])
def test_a_worker_that_dies_of_what_is_stored_leaves_what_stood_there(wire, isolation, what):
    source = ("ENTRY_POINTS", 1, "sum", "SOURCE", "sum")
    store(wire, "k") if what == "model" else wire.ask("AI.SCRIPTSTORE", "k", "CPU", *source)
    isolation.dies = lambda hook, _: "signal 6 (SIGABRT)" if hook.endswith("_create") else ""
    again = store(wire, "k") if what == "model" else wire.ask("AI.SCRIPTSTORE", "k", "CPU", *source)
    assert again == b"-ERR building it ended its worker process: signal 6 (SIGABRT)\r\n"
    assert wire.ask("EXISTS", "k") == b":1\r\n"
    isolation.dies = lambda *_: ""
    if what == "model":
        assert run(wire, "k", 1) == b"+OK\r\n"


def test_workers_are_counted_and_each_is_shown(wire, client):
    told = client.info("isolation")
    assert told == {"isolation_setting": "auto", "isolation_unavailable": ""}
    store(wire, "m")
    run(wire, "m", 13)
    told = client.info("isolation")
    assert told["isolation_sandbox"] == "landlock; no network"
    assert (told["isolation_started"], told["isolation_crashed"]) == (2, 1)
    assert told["worker_0"] == {"backend": "FAKE", "memory": 0, "runs": 0, "models": 1}


def test_each_model_shows_where_it_runs_and_why_and_its_crashes(wire, client):
    store(wire, "here", "multiply", by=2)
    store(wire, "a:b#c d")
    wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", "sum")
    for _ in range(3):
        run(wire, "a:b#c d", 13)
    told = client.info("models")
    assert told["model_here"] == {
        "backend": "TORCH",
        "device": "CPU",
        "where": "here",
        "crashes": 0,
        "refused": "no",
        "why": "all its operators are known to be harmless",
    }
    there = told["model_a%3Ab%23c%20d"]
    assert (there["where"], there["crashes"], there["refused"]) == ("isolated", 3, "yes")
    assert there["why"] == "Div; of integers   by what clients send"
    assert told["script_s"]["why"] == "scripts are always isolated"


def test_a_backend_shows_in_which_places_it_was_loaded(wire, client):
    assert client.info("backends")["backend_TORCH"] == {"loaded": "no"}
    store(wire, "m")
    assert client.info("backends")["backend_TORCH"]["where"] == "isolated"
    store(wire, "n", "multiply", by=2)
    assert client.info("backends")["backend_TORCH"]["where"] == "both"


def test_clients_of_the_original_see_no_other_ai_info(wire, client):
    store(wire, "m")
    run(wire, "m", 13)
    reply = client.execute_command("AI.INFO", "m")
    assert reply[::2] == [
        *(b"key", b"type", b"backend", b"device", b"tag"),
        *(b"duration", b"samples", b"calls", b"errors"),
    ]


def test_a_backend_is_loaded_once_wherever_that_is(wire):
    load = ("AI.CONFIG", "LOADBACKEND", "TORCH", "x.so")
    assert wire.ask(*load) == b"+OK\r\n"
    assert wire.ask(*load) == b"-ERR error loading backend\r\n"


def test_the_blob_of_an_isolated_model_is_what_was_stored(wire):
    store(wire, "m")
    blob = b'{"op": "identity"}'
    assert wire.ask("AI.MODELGET", "m", "BLOB") == b"$%d\r\n%s\r\n" % (len(blob), blob)


# ------------------------------------------------------------------------- the command line
def cli(server, *arguments):
    result = CliRunner().invoke(
        app, ["info", *arguments, "--port", str(port_of(server))], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_info_of_the_command_line_shows_places_reasons_and_workers(server, wire):
    store(wire, "m:1")
    for _ in range(3):
        run(wire, "m:1", 13)
    told = json.loads(cli(server, "--json"))
    assert told["isolation"]["setting"] == "auto"
    assert told["isolation"]["crashed"] == 3
    assert told["workers"]["0"]["models"] == 1
    (model,) = told["models"]
    assert (model["where"], model["crashes"], model["refused"]) == ("isolated", 3, "yes")
    shown = " ".join(cli(server).split())
    assert "isolated: auto; workers: 4 started, 3 crashed" in shown
    assert "sandbox: landlock; no network" in shown
    assert "3, refused" in shown
    assert "isolated (Div; of integers by what clients send): m:1" in shown
    assert json.loads(cli(server, "m:1", "--json"))["models"][0]["where"] == "isolated"
