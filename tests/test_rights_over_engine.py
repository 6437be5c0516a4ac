"""Who may not touch a key at the engine may not touch it with an AI command either."""

import pytest

from tensorkeep.backends import Backends
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.protected_mode import DENIED
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, WireError, port_of, running_server
from tensorkeep_valkey.testing import DEFAULT, PRESENT, running_engine

MODEL = '{"op": "identity"}'
RUN = ("AI.MODELEXECUTE", "mine:m", "INPUTS", 1)
USER = ("on", ">pw", "+@all", "-@dangerous")


@pytest.fixture(scope="module", params=PRESENT)
def engine(request):
    with running_engine(request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def fake():
    return FakeBackend()


@pytest.fixture(scope="module")
def server(engine, fake):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", fake)
    backends.add("TORCH", FakeBackend())
    with running_server(Settings(store=engine.unix), backends) as server:
        with Wire(port_of(server)) as wire:
            for key in ("mine", "theirs"):
                for name in ("x", "y"):
                    wire.ask("AI.TENSORSET", f"{key}:{name}", "FLOAT", 1, "VALUES", 1)
                wire.ask("AI.MODELSTORE", f"{key}:m", "ONNX", "CPU", "BLOB", MODEL)
            assert wire.ask("ACL", "SETUSER", "some", *USER, "~mine:*") == b"+OK\r\n"
        yield server


@pytest.fixture
def wire(server):
    with Wire(port_of(server)) as wire:
        assert wire.ask("AUTH", "some", "pw") == b"+OK\r\n"
        yield wire


def test_a_user_does_with_its_own_keys_what_it_likes(wire):
    assert wire.ask("AI.TENSORSET", "mine:z", "FLOAT", 1, "VALUES", 1) == b"+OK\r\n"
    assert wire.ask(*RUN, "mine:x", "OUTPUTS", 1, "mine:y") == b"+OK\r\n"
    assert wire.read("AI.TENSORGET", "mine:y", "VALUES")[-1] == b"1"
    assert wire.ask("AI.MODELSTORE", "mine:n", "ONNX", "CPU", "BLOB", MODEL) == b"+OK\r\n"
    assert wire.ask("AI.MODELDEL", "mine:n") == b"+OK\r\n"


@pytest.mark.parametrize("key", ["theirs:x", "theirs:nothing"])
@pytest.mark.parametrize(
    "words",
    [
        ("AI.TENSORGET", "{}", "VALUES"),
        ("AI.TENSORSET", "{}", "FLOAT", 1, "VALUES", 2),
        ("AI.MODELSTORE", "{}", "ONNX", "CPU", "BLOB", MODEL),
        ("AI.MODELGET", "{}", "META"),
        ("AI.MODELDEL", "{}"),
        ("AI.SCRIPTGET", "{}", "META"),
        ("AI.SCRIPTDEL", "{}"),
        ("AI.INFO", "{}"),
        ("AI.MODELEXECUTE", "{}", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "mine:y"),
        (*RUN, "{}", "OUTPUTS", 1, "mine:y"),
        (*RUN, "mine:x", "OUTPUTS", 1, "{}"),
        ("AI.SCRIPTEXECUTE", "{}", "f", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "mine:y"),
        ("AI.DAGEXECUTE", "LOAD", 1, "{}", "|>", "AI.TENSORGET", "{}", "VALUES"),
    ],
)
def test_a_key_of_others_is_refused_whether_it_is_there_or_not(wire, words, key):
    reply = wire.read(*[str(word).replace("{}", key) for word in words])

    assert isinstance(reply, WireError), reply
    assert reply.startswith("NOPERM"), reply


def test_a_dag_persists_nothing_under_a_key_of_others(wire, engine):
    ops = ["|>", "AI.TENSORSET", "theirs:new", "FLOAT", 1]
    reply = wire.ask("AI.DAGEXECUTE", "PERSIST", 1, "theirs:new", *ops)

    assert b"-NOPERM" in reply
    with Wire(engine.port) as direct:
        assert direct.ask("EXISTS", "theirs:new") == b":0\r\n"


def test_nothing_of_others_was_changed(wire, server):
    assert wire.ask("AI.TENSORSET", "theirs:x", "FLOAT", 1, "VALUES", 9)[:7] == b"-NOPERM"
    with Wire(port_of(server)) as anybody:
        assert anybody.read("AI.TENSORGET", "theirs:x", "VALUES")[-1] == b"1"


def test_a_transaction_with_a_key_of_others_does_nothing(wire):
    wire.ask("MULTI")
    assert wire.ask("AI.TENSORSET", "theirs:x", "FLOAT", 1, "VALUES", 9)[:7] == b"-NOPERM"
    assert wire.ask("EXEC")[:10] == b"-EXECABORT"


def ask_from_script(wire, words):
    """Has a script do a command; returns the reply to the call of the script."""
    source = ("SOURCE", "execute")
    wire.ask("AI.SCRIPTSTORE", "mine:s", "CPU", "ENTRY_POINTS", 1, "execute", *source)
    given = ("KEYS", 1, "mine:x", "ARGS", len(words), *words)
    return wire.ask("AI.SCRIPTEXECUTE", "mine:s", "execute", *given, "OUTPUTS", 1, "mine:reply")


@pytest.mark.parametrize(
    "words",
    [
        "XREAD BLOCK 0 STREAMS mine:k $",
        "xread count 1 block 0 streams mine:k $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS mine:k >",
        "WAITAOF 0 1 0",
        "BLPOP mine:l 0",
        "READONLY",
    ],
)
def test_a_script_has_the_engine_do_nothing_that_waits(wire, words):
    refused = b"-ERR This Redis command is not allowed from script\r\n"
    assert ask_from_script(wire, words.split()) == refused
    assert wire.ask("PING") == b"+PONG\r\n"


def test_a_script_reads_streams_without_waiting(wire):
    wire.ask("XADD", "mine:block", "1-1", "field", "value")
    assert ask_from_script(wire, ["XREAD", "STREAMS", "mine:block", "0"]) == b"+OK\r\n"


def test_who_has_not_said_its_password_may_do_nothing():
    none = Backends(installed=lambda: ())
    with running_engine(DEFAULT, "--requirepass", "secret") as engine:
        url = engine.unix.replace("unix://", "unix://:secret@")
        with (
            running_server(Settings(store=url), none) as server,
            Wire(port_of(server)) as wire,
        ):
            assert wire.ask("AI.TENSORGET", "x", "VALUES")[:7] == b"-NOAUTH"
            assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1)[:7] == b"-NOAUTH"
            assert wire.ask("GET", "x")[:7] == b"-NOAUTH"
            assert wire.ask("AUTH", "secret") == b"+OK\r\n"
            assert wire.ask("AI.TENSORSET", "x", "FLOAT", 1) == b"+OK\r\n"


@pytest.mark.parametrize("command", ["set", "evalsha"])
def test_of_several_outputs_none_is_stored_by_who_lacks_a_command(server, engine, command):
    with Wire(engine.port) as direct, Wire(port_of(server)) as wire:
        direct.ask("DEL", "mine:small", "mine:large")
        direct.ask("ACL", "SETUSER", "lacking", "reset", *USER, f"-{command}", "~mine:*")
        wire.ask("AUTH", "lacking", "pw")
        small = ("|>", "AI.TENSORSET", "mine:small", "INT8", 1)
        large = ("|>", "AI.TENSORSET", "mine:large", "INT8", 100_000)
        reply = wire.ask("AI.DAGEXECUTE", "PERSIST", 2, "mine:small", "mine:large", *small, *large)

        assert b"-NOPERM" in reply
        assert direct.ask("EXISTS", "mine:small", "mine:large") == b":0\r\n"


EXACT = ("on", ">pw", "+@all", "-@dangerous", "~exact")
LARGE_MODEL = '{"op": "identity"}' + " " * 50_000


def test_a_right_to_one_key_alone_is_enough_for_all_that_it_may_hold(server, engine):
    with Wire(engine.port) as direct, Wire(port_of(server)) as wire:
        direct.ask("ACL", "SETUSER", "exact", "reset", *EXACT)
        wire.ask("AUTH", "exact", "pw")
        for _ in range(2):
            blob = b"\7" * 100_000
            assert wire.ask("AI.TENSORSET", "exact", "INT8", 100_000, "BLOB", blob) == b"+OK\r\n"
            assert wire.read("AI.TENSORGET", "exact", "BLOB") == blob
            assert wire.ask("AI.MODELSTORE", "exact", "ONNX", "CPU", "BLOB", MODEL)[:6] == b"-WRONG"
            wire.ask("DEL", "exact")
            stored = wire.ask("AI.MODELSTORE", "exact", "ONNX", "CPU", "BLOB", LARGE_MODEL)
            assert stored == b"+OK\r\n"
            assert wire.read("AI.MODELGET", "exact", "BLOB") == LARGE_MODEL.encode()
            assert wire.ask("AI.MODELDEL", "exact") == b"+OK\r\n"
        assert b"exact:" not in direct.ask("KEYS", "*")


def test_a_right_to_one_key_alone_is_enough_within_a_transaction(server, engine):
    with Wire(engine.port) as direct, Wire(port_of(server)) as wire:
        direct.ask("ACL", "SETUSER", "exact", "reset", *EXACT)
        wire.ask("AUTH", "exact", "pw")
        wire.ask("MULTI")
        stored = wire.ask("AI.MODELSTORE", "exact", "ONNX", "CPU", "BLOB", LARGE_MODEL)
        assert stored == b"+QUEUED\r\n"
        assert wire.ask("EXEC") == b"*1\r\n+OK\r\n"
        assert wire.read("AI.MODELGET", "exact", "BLOB") == LARGE_MODEL.encode()
        wire.ask("DEL", "exact")


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_right_to_one_key_alone_is_enough_to_store_for_a_time_and_on_terms(server, engine, size):
    with Wire(engine.port) as direct, Wire(port_of(server)) as wire:
        direct.ask("ACL", "SETUSER", "exact", "reset", *EXACT)
        wire.ask("AUTH", "exact", "pw")
        for options, reply, lives in (
            (("XX",), b"$-1\r\n", -2),
            (("EX", 100), b"+OK\r\n", 100),
            (("KEEPTTL", "XX"), b"+OK\r\n", 100),
            (("NX", "EX", 9000), b"$-1\r\n", 100),
            (("PX", 900_000), b"+OK\r\n", 900),
            ((), b"+OK\r\n", -1),
        ):
            stored = wire.ask("AI.TENSORSET", "exact", "INT8", size, "BLOB", bytes(size), *options)
            assert stored == reply, options
            left = wire.read("TTL", "exact")
            assert lives - 90 <= left <= lives if lives > 0 else left == lives, options
        wire.ask("DEL", "exact")
        assert b"exact:" not in direct.ask("KEYS", "*")


# ---------------------------------------------------------------------- what no key stands for
BUILDING = (
    ("AI.MODELSTORE", "theirs:m", "ONNX", "CPU", "BLOB", MODEL),
    ("AI.MODELSET", "theirs:m", "ONNX", "CPU", "BLOB", MODEL),
    ("AI.SCRIPTSTORE", "theirs:s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", "sum"),
    ("AI.SCRIPTSET", "theirs:s", "CPU", "SOURCE", "sum"),
)
WITHOUT_KEYS = (
    ("AI.DAGRUN", "|>", "AI.TENSORSET", "a", "INT8", 1, "|>", "AI.TENSORGET", "a", "VALUES"),
    ("AI.DAGEXECUTE", "ROUTING", "x", "|>", "AI.TENSORSET", "a", "INT8", 1),
    ("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE"),
)
OF_THE_SERVER = (
    ("AI.CONFIG", "MODEL_CHUNK_SIZE", 100_000),
    ("AI.CONFIG", "BACKENDSPATH", "elsewhere"),
    ("AI.CONFIG", "LOADBACKEND", "TORCH", "x"),
    ("SHUTDOWN", "NOSAVE"),
    ("SHUTDOWN", "NOW"),
)


def test_who_may_not_write_a_key_has_nothing_built_for_it(wire, fake):
    built = len(fake.calls)
    for words in BUILDING:
        assert wire.read(*words).startswith("NOPERM")
    wire.ask("MULTI")
    for words in BUILDING:
        wire.ask(*words)
    wire.ask("EXEC")
    assert len(fake.calls) == built


def test_who_may_not_administrate_the_engine_may_not_administrate_the_server(wire):
    for words in OF_THE_SERVER:
        assert wire.read(*words).startswith("NOPERM"), words
    for words in WITHOUT_KEYS:
        assert not isinstance(wire.read(*words), WireError), words
    assert wire.ask("PING") == b"+PONG\r\n"


def test_an_administrator_may(server):
    with Wire(port_of(server)) as wire:
        size = wire.read("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
        assert wire.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", size) == b"+OK\r\n"


@pytest.mark.parametrize("name", PRESENT)
def test_without_the_password_nothing_is_built_run_told_or_ended(name, fake):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", fake)
    backends.add("TORCH", fake)
    with (
        running_engine(name, "--requirepass", "pw") as engine,
        running_server(Settings(store=engine.unix.replace("//", "//:pw@")), backends) as server,
        Wire(port_of(server)) as wire,
    ):
        calls = len(fake.calls)
        for words in (*BUILDING, *WITHOUT_KEYS, *OF_THE_SERVER, ("AI._MODELSCAN",), ("INFO",)):
            assert wire.read(*words).startswith("NOAUTH"), words
        assert len(fake.calls) == calls
        wire.ask("AUTH", "pw")
        for words in (*BUILDING, *WITHOUT_KEYS):
            assert not isinstance(wire.read(*words), WireError), words


def test_clients_elsewhere_are_turned_away_if_the_engine_lets_everybody_in(monkeypatch):
    none = Backends(installed=lambda: ())
    monkeypatch.setattr("tensorkeep_server.connection.is_elsewhere", lambda _: True)
    with (
        running_engine(DEFAULT) as engine,
        running_server(Settings(store=engine.unix), none) as server,
    ):
        port = port_of(server)
        with Wire(port) as denied:
            denied.send("SET", "k", "v")
            assert denied.reply() == DENIED
            with pytest.raises((EOFError, ConnectionError)):
                denied.reply()
        with Wire(engine.port) as direct:
            assert direct.ask("EXISTS", "k") == b":0\r\n"
            assert direct.ask("CONFIG", "SET", "requirepass", "secret") == b"+OK\r\n"
        with Wire(port) as wire:
            assert wire.ask("GET", "k")[:7] == b"-NOAUTH"
            assert wire.ask("AI.TENSORGET", "k", "VALUES")[:7] == b"-NOAUTH"
            assert wire.ask("AUTH", "secret") == b"+OK\r\n"
            assert wire.ask("GET", "k") == b"$-1\r\n"


def test_a_file_says_which_ai_commands_users_of_the_engine_may_do(engine, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user some on ~mine:* +get +@run +@tensor -ai.dagexecute\nuser other +@all\n")
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())
    settings = Settings(store=engine.unix, user_file=str(path))
    with running_server(settings, backends) as server, Wire(port_of(server)) as wire:
        wire.ask("ACL", "SETUSER", "some", *USER, "~*")
        stored = ("AI.MODELSTORE", "mine:k", "ONNX", "CPU", "BLOB", MODEL)
        assert wire.ask(*stored) == b"+OK\r\n"  # the file says nothing of this user
        assert wire.ask("AUTH", "some", "pw") == b"+OK\r\n"
        refused = b"-NOPERM this user has no permissions to run the 'ai.modelstore' command\r\n"
        assert wire.ask(*stored) == refused
        assert wire.ask("AI.TENSORSET", "mine:x", "FLOAT", 1, "VALUES", 1) == b"+OK\r\n"
        assert wire.ask("AI.TENSORSET", "other:x", "FLOAT", 1)[:7] == b"-NOPERM"
        run = ("AI.MODELEXECUTE", "mine:k", "INPUTS", 1, "mine:x", "OUTPUTS", 1)
        assert wire.ask(*run, "mine:y") == b"+OK\r\n"
        assert wire.ask(*run, "other:y")[:7] == b"-NOPERM"
        assert wire.ask("AI.DAGEXECUTE", "|>", "AI.TENSORSET", "a", "FLOAT", 1)[:7] == b"-NOPERM"
        assert wire.ask("SET", "other:x", "v") == b"+OK\r\n"  # that is the engine's to say
        wire.ask("MULTI")
        assert wire.ask(*stored) == refused
        wire.ask("DISCARD")
        wire.ask("AUTH", "default", "")
        wire.ask("ACL", "SETUSER", "some", "reset", *USER, "~mine:*")
