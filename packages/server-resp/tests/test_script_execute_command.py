"""AI.SCRIPTEXECUTE and AI.SCRIPTRUN, alone and in DAGs, and what scripts ask of the server."""

import logging
import math
import time

import numpy as np
import pytest

from tensorkeep.config import EngineConfig
from tensorkeep.tensor import Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.commands.ai.deprecated_scripts import keys_of_script_run
from tensorkeep_server.commands.ai.script_execute import keys_of_script_execute
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of

OK = b"+OK\r\n"
TIMED_OUT = b"+TIMEDOUT\r\n"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_TENSOR = "ERR tensor key is empty or in a different shard"
NO_SCRIPT = "ERR script key is empty"
ARITY = "ERR wrong number of arguments for '{}' command"
NO_SCOPE = "ERR KEYS or INPUTS scope must be provided first for AI.SCRIPTEXECUTE command"
NO_KEYS = "ERR Missing arguments after KEYS keyword"
BAD_KEYS = "ERR Invalid or negative value found in number of KEYS"
FEW_KEYS = (
    "ERR Number of pre declared KEYS to be used in the command does not match the number of given"
    " arguments"
)
AT_END = "ERR Invalid arguments provided to AI.SCRIPTEXECUTE"
BAD_COUNT = "ERR Invalid argument for {} count in AI.SCRIPTEXECUTE"
FEW = "ERR number of {} to AI.SCRIPTEXECUTE command does not match the number of given arguments"
AGAIN = "ERR Already Encountered {} scope in AI.SCRIPTEXECUTE command"
NO_TIMEOUT = "ERR No value provided for TIMEOUT in AI.SCRIPTEXECUTE"
BAD_TIMEOUT = "ERR Invalid value for TIMEOUT"
PROBLEM = "ERR Encountered problem parsing AI.SCRIPTEXECUTE"
UNEXPECTED = "ERR Invalid AI.SCRIPTEXECUTE command. Unexpected argument: {}"
NOT_FROM_SCRIPT = "ERR This Redis command is not allowed from script"

FUNCTIONS = "sum stack identity keys arguments execute run_model fail block"


@pytest.fixture
def backends(backends, fake):
    backends.add("TORCH", fake)
    return backends


@pytest.fixture
def wire(wire):
    """A connection, and a script with every function of the fake backend."""
    request = ("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", FUNCTIONS)
    assert wire.ask(*request) == OK
    return wire


def error(line):
    return f"-{line}\r\n".encode()


def put(wire, key, *values):
    assert wire.ask("AI.TENSORSET", key, "FLOAT", len(values), "VALUES", *values) == OK


def ask(wire, request):
    return wire.ask(*request.split())


def send(wire, request, *more):
    wire.send(*request.split(), *more)


def values(wire, key):
    return wire.read("AI.TENSORGET", key, "VALUES")


def run_command(wire, *command):
    """Has a script run a command and returns its reply as text, or the error line."""
    arguments = ("KEYS", 1, "k", "ARGS", len(command), *command, "OUTPUTS", 1, "reply")
    reply = wire.ask("AI.SCRIPTEXECUTE", "s", "execute", *arguments)
    if reply != OK:
        return reply[1:-2].decode()
    return values(wire, "reply")[0].decode()


# ---------------------------------------------------------------------- AI.SCRIPTEXECUTE
def test_a_function_gets_its_tensors_and_what_it_returns_is_stored(wire, fake):
    put(wire, "a", 1, 2)
    put(wire, "b", 10, 20)
    assert ask(wire, "AI.SCRIPTEXECUTE s sum INPUTS 3 a b a OUTPUTS 1 c") == OK
    assert values(wire, "c") == [b"12", b"24"]
    assert ask(wire, "AI.SCRIPTEXECUTE s identity INPUTS 2 a b OUTPUTS 2 b c TIMEOUT 900") == OK
    assert values(wire, "b") == [b"1", b"2"]
    assert values(wire, "c") == [b"10", b"20"]
    (call,) = fake.calls_of("script_run")[:1]
    assert call.thread == "CPU-1"


@pytest.mark.parametrize("version", [2, 3])
def test_scopes_may_come_in_any_order_after_the_first(wire, version):
    wire.ask("HELLO", version)
    rest = "ARGS 2 one two OUTPUTS 1 out KEYS 1 k"
    assert ask(wire, f"AI.SCRIPTEXECUTE s arguments INPUTS 0 {rest}") == OK
    assert values(wire, "out") == [b"one", b"two"]
    assert ask(wire, "ai.scriptexecute s keys keys 2 k {l} outputs 1 out args 0") == OK
    assert values(wire, "out") == [b"k", b"{l}"]


def test_without_outputs_what_is_returned_is_ignored(wire):
    put(wire, "a", 1)
    size = wire.read("DBSIZE")
    for outputs in ("", " OUTPUTS 0"):
        assert ask(wire, f"AI.SCRIPTEXECUTE s identity INPUTS 2 a a{outputs}") == OK
    assert wire.read("DBSIZE") == size


def test_the_functions_name_ends_at_a_nul(wire):
    assert wire.ask("AI.SCRIPTEXECUTE", "s", b"arguments\0!", "KEYS", 1, "k") == OK


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("", ARITY.format("AI.SCRIPTEXECUTE")),
        ("none", ARITY.format("AI.SCRIPTEXECUTE")),
        ("none sum", NO_SCRIPT),
        ("x sum NO", WRONG_TYPE),
        ("s sum", NO_SCOPE),
        ("s INPUTS 1 x", NO_SCOPE),
        ("s sum ARGS 1 x", NO_SCOPE),
        ("s sum TIMEOUT 1", NO_SCOPE),
        ("s sum KEYS", NO_KEYS),
        ("s sum KEYS bad", NO_KEYS),
        ("s sum KEYS bad k", BAD_KEYS),
        ("s sum KEYS 0 k", BAD_KEYS),
        ("s sum KEYS -1 k", BAD_KEYS),
        ("s sum KEYS 2 k", FEW_KEYS),
        ("s sum INPUTS", AT_END),
        ("s sum KEYS 1 k ARGS", AT_END),
        ("s sum KEYS 1 k OUTPUTS", AT_END),
        ("s sum INPUTS x 1", BAD_COUNT.format("inputs")),
        ("s sum KEYS 1 k ARGS x 1", BAD_COUNT.format("keys")),
        ("s sum KEYS 1 k OUTPUTS x", BAD_COUNT.format("outputs")),
        ("s sum INPUTS 2 x", FEW.format("inputs")),
        ("s sum INPUTS -1 x", FEW.format("inputs")),
        ("s sum INPUTS 1 x ARGS 1", FEW.format("args")),
        ("s sum INPUTS 1 x OUTPUTS 9 y", FEW.format("outputs")),
        ("s sum KEYS 1 k KEYS 1 k", AGAIN.format("KEYS")),
        ("s sum KEYS 1 k INPUTS 1 x KEYS 9 k", FEW_KEYS),
        ("s sum INPUTS 1 x INPUTS 1 x", AGAIN.format("INPUTS")),
        ("s sum INPUTS 1 x ARGS 1 x ARGS 0", AGAIN.format("ARGS")),
        ("s sum INPUTS 1 x OUTPUTS 1 x OUTPUTS 1 x", AGAIN.format("OUTPUTS")),
        ("s sum INPUTS 1 x TIMEOUT", NO_TIMEOUT),
        ("s sum INPUTS 1 x TIMEOUT 0", BAD_TIMEOUT),
        ("s sum INPUTS 1 x TIMEOUT x y", BAD_TIMEOUT),
        ("s sum INPUTS 1 x TIMEOUT 1 y", PROBLEM),
        ("s sum INPUTS 1 x NO 1 y", UNEXPECTED.format("NO")),
        ("s sum INPUTS 1 none OUTPUTS", AT_END),
        ("s sum INPUTS 2 x none OUTPUTS 1 y", NO_TENSOR),
        ("s sum INPUTS 2 s none OUTPUTS 1 y", WRONG_TYPE),
    ],
)
def test_the_first_mistake_from_left_to_right_is_named_and_nothing_runs(wire, fake, request_, line):
    put(wire, "x", 1)
    assert ask(wire, f"AI.SCRIPTEXECUTE {request_}") == error(line)
    assert fake.calls_of("script_run") == []
    assert wire.read("AI.INFO", "s")[-3] == 0


def test_what_goes_wrong_in_a_script_is_its_reply_and_nothing_is_stored(wire):
    put(wire, "x", 1)
    fail = ("AI.SCRIPTEXECUTE", "s", "fail", "INPUTS", 1, "x", "ARGS", 1, "line\r\nbreak")
    assert wire.ask(*fail, "OUTPUTS", 1, "y") == error("line  break")
    request = "AI.SCRIPTEXECUTE s nothing INPUTS 1 x OUTPUTS 1 y"
    assert ask(wire, request) == error("the script has no function 'nothing'")
    request = "AI.SCRIPTEXECUTE s identity INPUTS 1 x OUTPUTS 2 y z"
    assert ask(wire, request) == error("identity returned 1 tensors, not 2")
    assert wire.ask("EXISTS", "y", "z") == b":0\r\n"
    assert wire.read("AI.INFO", "s")[-3:] == [3, b"errors", 3]


def test_an_output_over_a_key_of_another_type_is_the_only_reply(wire):
    put(wire, "x", 1)
    assert ask(wire, "AI.SCRIPTEXECUTE s identity INPUTS 2 x x OUTPUTS 2 y s") == error(WRONG_TYPE)
    assert wire.ask("EXISTS", "y") == b":0\r\n"
    assert wire.ask("PING") == b"+PONG\r\n"


def test_a_script_that_waits_too_long_is_not_called(wire, connect, fake):
    put(wire, "x", 1)
    first = connect()
    send(first, "AI.SCRIPTEXECUTE s block INPUTS 1 x OUTPUTS 1 y")
    fake.await_calls("script_run")
    assert ask(wire, "AI.SCRIPTEXECUTE s sum INPUTS 1 x OUTPUTS 1 z TIMEOUT 1") == TIMED_OUT
    fake.release()
    assert first.reply() == OK
    assert len(fake.calls_of("script_run")) == 1


def test_calls_of_a_script_are_never_batched(wire, connect, fake):
    put(wire, "x", 1)
    clients = [connect() for _ in range(8)]
    for client in clients:
        send(client, "AI.SCRIPTEXECUTE s block INPUTS 1 x OUTPUTS 1 y")
    fake.release(math.inf)
    assert [client.reply() for client in clients] == [OK] * 8
    assert len(fake.calls_of("script_run")) == 8


@pytest.mark.memory_store("AI.INFO knows only what has a key")
def test_a_script_deleted_while_it_runs_ends_well_and_is_known_until_then(wire, connect, fake):
    put(wire, "x", 1)
    other = connect()
    send(other, "AI.SCRIPTEXECUTE s block INPUTS 1 x OUTPUTS 1 y")
    fake.await_calls("script_run")
    assert ask(wire, "AI.SCRIPTDEL s") == OK
    assert wire.read("AI._SCRIPTSCAN") == [[b"s", b""]]
    fake.release()
    assert other.reply() == OK
    assert wire.read("AI._SCRIPTSCAN") == []


# ---------------------------------------------------------------------- AI.SCRIPTRUN
def test_the_older_spelling_joins_inputs_around_the_mark_of_a_list(wire):
    put(wire, "a", 1)
    put(wire, "b", 2)
    assert ask(wire, "AI.SCRIPTRUN s sum INPUTS a $ b b OUTPUTS c") == OK
    assert values(wire, "c") == [b"5"]
    assert ask(wire, "AI.SCRIPTRUN s arguments TIMEOUT 900 INPUTS OUTPUTS") == OK
    assert ask(wire, "AI.SCRIPTRUN s arguments") == OK
    assert ask(wire, "AI.SCRIPTRUN s sum INPUTS a TIMEOUT 900 b OUTPUTS c") == OK
    assert values(wire, "c") == [b"3"]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("none", ARITY.format("AI.SCRIPTRUN")),
        ("none sum", NO_SCRIPT),
        ("x sum NO", WRONG_TYPE),
        (
            "s sum TIMEOUT 1 TIMEOUT 2",
            "ERR Already encountered an TIMEOUT section in SCRIPTRUN",
        ),
        ("s sum TIMEOUT", BAD_TIMEOUT),
        ("s sum TIMEOUT -1", BAD_TIMEOUT),
        ("s sum OUTPUTS y INPUTS x", "ERR Already encountered an INPUTS section in SCRIPTRUN"),
        ("s sum INPUTS x INPUTS x", "ERR Already encountered an INPUTS keyword in SCRIPTRUN"),
        (
            "s sum INPUTS x OUTPUTS y OUTPUTS",
            "ERR Already encountered an OUTPUTS keyword in SCRIPTRUN",
        ),
        (
            "s sum INPUTS x OUTPUTS $",
            "ERR Encountered a variable size list of tensors outside of input section",
        ),
        (
            "s sum $ INPUTS x",
            "ERR Encountered a variable size list of tensors outside of input section",
        ),
        ("s sum INPUTS $ x $", "ERR Already encountered a variable size list of tensors"),
        ("s sum x", "ERR Unrecongnized parameter to SCRIPTRUN"),
        ("s sum INPUTS x none OUTPUTS y", NO_TENSOR),
        ("s sum INPUTS s none OUTPUTS y", WRONG_TYPE),
    ],
)
def test_the_older_spelling_names_its_first_mistake(wire, request_, line):
    put(wire, "x", 1)
    assert ask(wire, f"AI.SCRIPTRUN {request_}") == error(line)


# ---------------------------------------------------------------------- in DAGs
def test_scripts_and_models_work_together_in_one_request(wire):
    double = '{"op": "multiply", "by": 2}'
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BATCHSIZE", 8, "BLOB", double)
    size = wire.read("DBSIZE")
    reply = ask(
        wire,
        "AI.DAGEXECUTE PERSIST 1 d |> AI.TENSORSET a FLOAT 2 VALUES 1 2"
        " |> AI.SCRIPTEXECUTE s sum INPUTS 2 a a OUTPUTS 1 b"
        " |> AI.MODELEXECUTE m INPUTS 1 b OUTPUTS 1 c"
        " |> AI.SCRIPTEXECUTE s stack OUTPUTS 1 d INPUTS 2 a c"
        " |> AI.SCRIPTEXECUTE s identity |> AI.TENSORGET d VALUES",
    )
    assert reply == b"*6\r\n" + 5 * OK + b"*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n4\r\n$1\r\n8\r\n"
    assert values(wire, "d") == [b"1", b"2", b"4", b"8"]
    assert wire.read("DBSIZE") == size + 1
    assert wire.read("AI.INFO", "s")[-3] == 3


def test_the_older_request_takes_the_older_spelling_also_when_it_only_reads(wire):
    for name in ("AI.DAGRUN", "AI.DAGRUN_RO"):
        request = f"{name} |> AI.TENSORSET a FLOAT 1 VALUES 3 |> AI.SCRIPTRUN s sum INPUTS a a"
        reply = ask(wire, f"{request} OUTPUTS b |> AI.TENSORGET b VALUES")
        assert reply == b"*3\r\n" + 2 * OK + b"*1\r\n$1\r\n6\r\n"


def test_after_a_script_failed_the_rest_of_a_dag_does_not_run(wire):
    reply = ask(
        wire,
        "AI.DAGEXECUTE PERSIST 1 b |> AI.TENSORSET a FLOAT 1 VALUES 3"
        " |> AI.SCRIPTEXECUTE s fail ARGS 1 alas OUTPUTS 1 b"
        " |> AI.SCRIPTEXECUTE s sum INPUTS 1 b OUTPUTS 1 c |> AI.TENSORGET c",
    )
    assert reply == b"*4\r\n" + OK + error("alas") + b"+NA\r\n+NA\r\n"
    assert wire.ask("EXISTS", "b") == b":0\r\n"


# ---------------------------------------------------------------------- what scripts ask for
@pytest.mark.memory_store("SELECT would be said of the client's own connection")
def test_a_script_runs_commands_in_its_clients_database(wire):
    assert wire.ask("SELECT", 2) == OK
    wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 0, "SOURCE", FUNCTIONS, "")
    assert run_command(wire, "AI.TENSORSET", "t", "FLOAT", "1", "VALUES", "7") == "OK"
    assert values(wire, "t") == [b"7"]
    assert run_command(wire, "EXISTS", "t", "t", "none") == "2"
    assert run_command(wire, "AI.TENSORGET", "t", "META") == "[b'dtype', b'FLOAT', b'shape', [1]]"
    assert run_command(wire, "RANDOMKEY") in {"t", "s", "reply"}
    assert run_command(wire, "OBJECT", "FREQ", "none") == "None"
    assert run_command(wire, "SELECT", "5") == "OK"
    assert wire.read("AI.TENSORGET", "t", "VALUES") == [b"7"]  # the client's own stays selected


def test_a_connection_that_speaks_resp3_changes_nothing_for_its_scripts(wire):
    wire.ask("HELLO", 3)
    put(wire, "t", 0.5)
    assert run_command(wire, "AI.TENSORGET", "t", "VALUES") == "[b'0.5']"


def test_a_script_sends_messages_also_for_a_client_that_is_a_subscriber(wire, connect):
    wire.ask("HELLO", 3)
    wire.ask("SUBSCRIBE", "own")
    other = connect()
    other.ask("SUBSCRIBE", "news")
    assert run_command(wire, "PUBLISH", "news", "hi") == "1"
    assert other.read("PING") == [b"message", b"news", b"hi"]
    assert run_command(wire, "PING") == "PONG"


def test_what_a_command_answers_with_is_what_the_script_fails_with(wire):
    put(wire, "x", 1)
    assert run_command(wire, "AI.MODELGET", "x") == WRONG_TYPE
    assert run_command(wire, "AI.TENSORGET", "none") == NO_TENSOR
    arity = "ERR wrong number of arguments for 'exists' command"
    assert run_command(wire, "EXISTS") == f"Invalid argument ({arity})"
    assert run_command(wire, "NOSUCH", "x").startswith("Invalid argument (ERR unknown command")
    assert wire.ask("PING") == b"+PONG\r\n"


@pytest.mark.parametrize(
    "command",
    [
        "AI.SCRIPTEXECUTE s sum KEYS 1 k",  # itself
        "AI.SCRIPTRUN s sum",
        "AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 y",
        "AI.DAGEXECUTE ROUTING x |> AI.TENSORGET x",
        "MULTI",
        "WATCH x",
        "CLIENT REPLY OFF",
        "SUBSCRIBE x",
        "PUNSUBSCRIBE",
        "SHUTDOWN",
    ],
)
def test_what_would_wait_or_belongs_to_a_connection_is_refused(wire, command):
    put(wire, "x", 1)
    assert run_command(wire, *command.split()) == NOT_FROM_SCRIPT
    assert wire.ask("PING") == b"+PONG\r\n"


def test_a_script_can_store_a_model_and_others_are_served_meanwhile(wire, connect, fake):
    slow = '{"op": "slow_create", "seconds": 30}'
    send(wire, "AI.SCRIPTEXECUTE s execute KEYS 1 k ARGS 6 AI.MODELSTORE m ONNX CPU BLOB", slow)
    fake.await_calls("model_create")
    other = connect()
    assert other.ask("PING") == b"+PONG\r\n"
    assert other.ask("EXISTS", "m") == b":0\r\n"
    fake.hurry.set()
    assert wire.reply() == OK
    assert other.ask("EXISTS", "m") == b":1\r\n"


def test_a_script_runs_a_model_on_its_own_thread_and_uncounted(wire, fake):
    double = '{"op": "multiply", "by": 2}'
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU:1", "BLOB", double)
    put(wire, "x", 4)
    request = "AI.SCRIPTEXECUTE s run_model KEYS 1 m INPUTS 1 x OUTPUTS 1 y"
    assert ask(wire, request) == OK
    assert values(wire, "y") == [b"8"]
    assert fake.calls_of("model_run")[-1].thread == "CPU-1"
    assert wire.read("AI.INFO", "m")[-3] == 0


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("KEYS 1 none INPUTS 1 x OUTPUTS 1 y", "ERR model key is empty"),
        ("KEYS 1 x INPUTS 1 x OUTPUTS 1 y", WRONG_TYPE),
        ("KEYS 1 s INPUTS 1 x OUTPUTS 1 y", WRONG_TYPE),  # itself
        (
            "KEYS 1 m INPUTS 2 x x OUTPUTS 1 y",
            "Number of keys given as INPUTS here does not match model definition",
        ),
        (
            "KEYS 1 m INPUTS 1 x OUTPUTS 2 y z",
            "Number of keys given as OUTPUTS here does not match model definition",
        ),
        ("KEYS 1 bad INPUTS 1 x OUTPUTS 1 y", "no luck"),
        ("KEYS 1 none_output INPUTS 1 x OUTPUTS 1 y", "ERR output 'output0' is no tensor"),
    ],
)
def test_a_model_that_cannot_be_run_fails_the_script(wire, request_, line):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "identity"}')
    wire.ask("AI.MODELSTORE", "bad", "ONNX", "CPU", "BLOB", '{"op": "fail", "text": "no luck"}')
    wire.ask("AI.MODELSTORE", "none_output", "ONNX", "CPU", "BLOB", '{"op": "none_output"}')
    put(wire, "x", 4)
    reply = ask(wire, f"AI.SCRIPTEXECUTE s run_model {request_}")
    assert reply.startswith(f"-{line}".encode())


# ---------------------------------------------------------------------- time
def test_a_model_that_runs_for_ever_within_a_script_is_ended(backends, fake, run_server):
    settings = Settings(engine=EngineConfig(model_execution_timeout=0.2))
    with run_server(settings, backends) as server, Wire(port_of(server)) as wire:
        wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 0, "SOURCE", FUNCTIONS, "")
        wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "block"}')
        put(wire, "x", 4)
        reply = ask(wire, "AI.SCRIPTEXECUTE s run_model KEYS 1 m INPUTS 1 x OUTPUTS 1 y")
        assert reply == error("the run was cancelled")


def test_a_script_that_does_not_let_itself_be_ended_is_reported_once(backends, caplog, run_server):
    class Deaf(FakeBackend):
        def script_run(self, script, call, run):
            time.sleep(0.5)
            return [Tensor.from_numpy(np.zeros(1))]

        script_run.tensorkeep_impl = FakeBackend.script_run.tensorkeep_impl

    backends.add("TORCH", Deaf())
    settings = Settings(engine=EngineConfig(model_execution_timeout=0.1))
    with run_server(settings, backends) as server, Wire(port_of(server)) as wire:
        wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 0, "SOURCE", FUNCTIONS, "")
        with caplog.at_level(logging.WARNING, "tensorkeep.worker"):
            assert ask(wire, "AI.SCRIPTEXECUTE s sum KEYS 1 k OUTPUTS 1 y") == OK
    (record,) = (r for r in caplog.records if r.name == "tensorkeep.worker")
    assert "goes on beyond its time" in record.getMessage()
    assert record.getMessage().startswith("a run of ")


def test_a_script_that_waits_for_the_server_when_it_ends_does_not_hold_it_up(
    backends, fake, run_server
):
    slow = '{"op": "slow_create", "seconds": 30}'
    settings = Settings(shutdown_grace=0.1)
    with run_server(settings, backends) as server:
        wire = Wire(port_of(server))
        wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 0, "SOURCE", FUNCTIONS, "")
        request = "AI.SCRIPTEXECUTE s execute KEYS 1 k ARGS 6 AI.MODELSTORE m ONNX CPU BLOB"
        send(wire, request, slow)
        fake.await_calls("model_create")
    fake.hurry.set()
    wire.close()


# ---------------------------------------------------------------------- COMMAND GETKEYS
@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ("AI.SCRIPTEXECUTE s f KEYS 1", ""),
        ("AI.SCRIPTEXECUTE s f KEYS 1 k", "s k"),
        ("AI.SCRIPTEXECUTE s f KEYS 1 k INPUTS 2 a b OUTPUTS 1 c", "s k a b c"),
        ("AI.SCRIPTEXECUTE s f INPUTS 1 a ARGS 1 x OUTPUTS 1 c", "s a"),
        ("AI.SCRIPTEXECUTE s f INPUTS 1 a OUTPUTS 9 c", "s a"),
        ("AI.SCRIPTEXECUTE s f INPUTS bad a OUTPUTS 9 c", "s"),
    ],
)
def test_the_keys_of_a_call_are_found_up_to_what_is_no_key(request_, keys):
    found = keys_of_script_execute(request_.encode().split())
    assert found == keys.encode().split()


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ("AI.SCRIPTRUN s f INPUTS a $ b OUTPUTS c", "s a b c"),
        ("AI.SCRIPTRUN s f TIMEOUT 5 INPUTS a OUTPUTS c", "s a c"),
        ("AI.SCRIPTRUN s f", "s"),
    ],
)
def test_the_keys_of_an_older_call_are_all_behind_inputs_but_the_words(request_, keys):
    assert keys_of_script_run(request_.encode().split()) == keys.encode().split()
