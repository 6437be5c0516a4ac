"""Users, passwords and ACL, over a socket."""

import re

import pytest

from tensorkeep_server.protected_mode import DENIED, is_elsewhere
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, WireError, port_of, running_server

NOAUTH = b"-NOAUTH Authentication required.\r\n"
WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
NO_KEY = b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"
NO_CHANNEL = (
    b"-NOPERM this user has no permissions to access one of the channels used as arguments\r\n"
)

pytestmark = pytest.mark.memory_store("users and their rights are the engine's there")


def no_command(name):
    return f"-NOPERM this user has no permissions to run the '{name}' command\r\n".encode()


MODEL_K = ("AI.MODELSTORE", "k", "ONNX", "CPU", "BLOB", '{"op": "identity"}')


@pytest.fixture
def user(wire, connect):
    """Makes a user and a connection that is one."""

    def make(*words, name="alice"):
        assert wire.ask("ACL", "SETUSER", name, "on", ">secret", *words) == b"+OK\r\n"
        connection = connect()
        assert connection.ask("AUTH", name, "secret") == b"+OK\r\n"
        return connection

    return make


# ---------------------------------------------------------------------- letting in
def test_with_a_password_a_client_says_it_first(wire, connect):
    assert wire.ask("CONFIG", "SET", "requirepass", "secret") == b"+OK\r\n"
    stranger = connect()

    for request in (["PING"], ["GET", "k"], ["MULTI"], ["CLIENT", "LIST"], ["AI.INFO", "m"]):
        assert stranger.ask(*request) == NOAUTH
    assert stranger.ask("NOSUCH").startswith(b"-ERR unknown command")
    assert stranger.ask("HELLO", "3").startswith(b"-NOAUTH HELLO must be called with the client")
    assert stranger.ask("AUTH", "wrong") == WRONGPASS
    assert stranger.ask("AUTH", "nobody", "secret") == WRONGPASS
    assert stranger.ask("HELLO", "3", "AUTH", "default", "wrong") == WRONGPASS
    assert stranger.ask("PING") == NOAUTH
    assert stranger.ask("AUTH", "secret") == b"+OK\r\n"
    assert stranger.ask("PING") == b"+PONG\r\n"
    assert stranger.ask("RESET") == b"+RESET\r\n"
    assert stranger.ask("PING") == NOAUTH
    assert stranger.ask("HELLO", "3", "AUTH", "default", "secret").startswith(b"%7\r\n")
    assert stranger.ask("PING") == b"+PONG\r\n"
    assert wire.ask("PING") == b"+PONG\r\n"  # it was let in before
    assert wire.read("CONFIG", "GET", "requirepass") == [b"requirepass", b"secret"]
    wire.ask("CONFIG", "SET", "requirepass", "")
    assert connect().ask("PING") == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"*11\r\n", b"unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"unauthenticated bulk length"),
    ],
)
def test_before_it_says_the_password_a_client_may_send_small_requests_alone(
    wire, connect, sent, told
):
    wire.ask("CONFIG", "SET", "requirepass", "secret")
    stranger, known = connect(), connect()
    known.ask("AUTH", "secret")

    stranger.socket.sendall(sent)

    assert stranger.reply() == b"-ERR Protocol error: " + told + b"\r\n"
    assert known.ask("SET", "k", b"x" * 20_000) == b"+OK\r\n"
    assert known.ask("DEL", *"abcdefghijkl") == b":1\r\n"
    known.ask("RESET")
    known.socket.sendall(sent)
    assert known.reply() == b"-ERR Protocol error: " + told + b"\r\n"
    wire.ask("CONFIG", "SET", "requirepass", "")


def test_quit_needs_no_password(wire, connect):
    wire.ask("CONFIG", "SET", "requirepass", "secret")

    assert connect().ask("QUIT") == b"+OK\r\n"

    wire.ask("CONFIG", "SET", "requirepass", "")


def test_a_password_with_which_nothing_can_be_done_is_refused(wire):
    assert wire.ask("AUTH", "secret").startswith(
        b"-ERR AUTH <password> called without any password"
    )
    assert wire.ask("AUTH", "default", "anything") == b"+OK\r\n"
    assert wire.ask("AUTH", "a", "b", "c") == b"-ERR syntax error\r\n"


def test_a_server_may_begin_with_a_password_and_a_file_of_users(backends, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user default on >secret ~* &* +@all\nuser reader on >read ~r:* -@all +@read\n")

    with (
        running_server(Settings(user_file=str(path)), backends) as server,
        Wire(port_of(server)) as wire,
    ):
        assert wire.ask("PING") == NOAUTH
        assert wire.ask("AUTH", "reader", "read") == b"+OK\r\n"
        assert wire.ask("GET", "r:1") == b"$-1\r\n"
        assert wire.ask("AUTH", "secret") == b"+OK\r\n"
        assert wire.ask("ACL", "SETUSER", "writer", "on", "nopass", "~w:*", "+set") == b"+OK\r\n"
        assert wire.ask("ACL", "SAVE") == b"+OK\r\n"
        assert wire.ask("ACL", "SETUSER", "forgotten", "on") == b"+OK\r\n"
        assert wire.ask("ACL", "LOAD") == b"+OK\r\n"
        assert wire.read("ACL", "USERS") == [b"default", b"reader", b"writer"]
        saved = path.read_text()
        assert "secret" not in saved
        path.write_text("user default on nopass\nuser x +nothing\n")
        assert "users.acl:2: +nothing: Unknown command" in wire.read("ACL", "LOAD")
        assert wire.read("ACL", "USERS") == [b"default", b"reader", b"writer"]
        path.write_text(saved)
        wire.ask("CONFIG", "SET", "requirepass", "")


def test_without_a_file_of_users_there_is_none_to_load_or_save(wire):
    for word in ("LOAD", "SAVE"):
        assert wire.ask("ACL", word).startswith(
            b"-ERR This Redis instance is not configured to use"
        )


# ---------------------------------------------------------------------- what users may do
def test_a_user_may_do_what_its_rules_say_and_no_more(user):
    alice = user("~a:*", "%R~r:*", "+@read", "+set", "+acl|whoami")

    assert alice.ask("SET", "a:1", "v") == b"+OK\r\n"
    assert alice.ask("GET", "a:1") == b"$1\r\nv\r\n"
    assert alice.ask("GET", "r:1") == b"$-1\r\n"
    assert alice.ask("SET", "r:1", "v") == NO_KEY
    assert alice.ask("MGET", "a:1", "b") == NO_KEY
    assert alice.ask("DEL", "a:1") == no_command("del")
    assert alice.ask("ACL", "LIST") == no_command("acl|list")
    assert alice.ask("CONFIG", "GET", "*") == no_command("config|get")
    assert alice.ask("ACL", "WHOAMI") == b"$5\r\nalice\r\n"


def test_setting_with_get_reads_too(user):
    alice = user("%W~k", "+set")

    assert alice.ask("SET", "k", "v") == b"+OK\r\n"
    assert alice.ask("SET", "k", "v", "GET") == NO_KEY
    assert alice.ask("SET", "k", "v", "EX", "100", "get") == NO_KEY
    assert alice.ask("SET", "k", "GET", "EX", "100") == b"+OK\r\n"


def test_changes_of_rights_reach_who_is_connected_at_once(user, wire):
    alice = user("~*", "+@all")
    assert alice.ask("SET", "k", "v") == b"+OK\r\n"

    wire.ask("ACL", "SETUSER", "alice", "-set", "resetkeys", "~a:*")

    assert alice.ask("SET", "a:1", "v") == no_command("set")
    assert alice.ask("GET", "k") == NO_KEY


def test_a_user_that_is_removed_loses_its_connections(user, wire):
    alice = user("+@all", "~*")

    assert wire.ask("ACL", "DELUSER", "alice", "nobody") == b":1\r\n"

    with pytest.raises((EOFError, ConnectionError)):
        alice.ask("PING")
    assert wire.ask("ACL", "DELUSER", "default").startswith(b"-ERR The 'default' user cannot be")


def test_a_user_may_remove_itself_and_is_answered(user):
    alice = user("+@all", "~*")

    assert alice.ask("ACL", "DELUSER", "alice") == b":1\r\n"
    with pytest.raises((EOFError, ConnectionError)):
        alice.ask("PING")


def test_channels_may_be_heard_by_pattern_and_who_loses_one_loses_the_connection(user, wire):
    alice = user("+@pubsub", "+ping", "&news:*")

    assert alice.ask("PUBLISH", "other", "x") == NO_CHANNEL
    assert alice.ask("SUBSCRIBE", "news:1", "other") == NO_CHANNEL
    assert alice.ask("PSUBSCRIBE", "news:1*") == NO_CHANNEL
    assert alice.ask("PSUBSCRIBE", "news:*").startswith(b"*3\r\n$10\r\npsubscribe")
    assert alice.ask("PUNSUBSCRIBE", "other").startswith(b"*3\r\n")

    wire.ask("ACL", "SETUSER", "alice", "on")
    assert alice.ask("PING").startswith(b"*2\r\n")
    wire.ask("ACL", "SETUSER", "alice", "resetchannels", "&others")

    with pytest.raises((EOFError, ConnectionError)):
        alice.ask("PING")


def test_a_queued_command_is_looked_at_again_when_it_is_done(user, wire):
    alice = user("~*", "+@all", "-incr")

    alice.ask("MULTI")
    assert alice.ask("INCR", "k") == no_command("incr")
    assert alice.ask("EXEC").startswith(b"-EXECABORT")

    alice.ask("MULTI")
    assert alice.ask("SET", "k", "v") == b"+QUEUED\r\n"
    assert alice.ask("GET", "k") == b"+QUEUED\r\n"
    wire.ask("ACL", "SETUSER", "alice", "-set")
    first, second = alice.read("EXEC")
    assert first == (
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC"
        " call. This command is no longer allowed for the following reason: no permission to"
        " execute the command or subcommand"
    )
    assert second is None


@pytest.mark.parametrize("words", [("AI.TENSORSET", "k", "INT8", "1"), MODEL_K])
def test_what_was_begun_as_one_user_is_not_ended_as_another_that_may_not(user, wire, words):
    alice = user("~*", "+@all")
    wire.ask("ACL", "SETUSER", "bob", "on", "nopass", "~*", "+@all", "-@model", "-@tensor")

    alice.ask("MULTI")
    assert alice.ask("AUTH", "bob", "any") == b"+QUEUED\r\n"
    assert alice.ask(*words) == b"+QUEUED\r\n"
    let_in, refused = alice.read("EXEC")

    assert let_in == "OK"
    assert refused.startswith("NOPERM ACLs rules changed")
    assert wire.read("EXISTS", "k") == 0


# ---------------------------------------------------------------------- the AI commands
def test_who_may_run_models_need_not_be_allowed_to_store_them(user, wire):
    wire.ask("AI.MODELSTORE", "m:1", "ONNX", "CPU", "BLOB", '{"op": "multiply", "by": 2}')
    alice = user("%R~m:*", "~t:*", "+@run", "+@tensor")

    assert alice.ask("AI.TENSORSET", "t:1", "FLOAT", "1", "VALUES", "3") == b"+OK\r\n"
    run = ["AI.MODELEXECUTE", "m:1", "INPUTS", "1", "t:1", "OUTPUTS", "1", "t:2"]
    assert alice.ask(*run) == b"+OK\r\n"
    assert alice.read("AI.TENSORGET", "t:2", "VALUES") == [b"6"]
    assert alice.ask(*run[:-1], "x") == NO_KEY
    assert alice.ask(*run[:-1], "m:2") == NO_KEY
    assert alice.ask("AI.MODELEXECUTE", "x", *run[2:]) == NO_KEY
    assert alice.ask("AI.MODELSTORE", "m:1", "ONNX", "CPU", "BLOB", "x") == (
        no_command("ai.modelstore")
    )
    assert alice.ask("AI.MODELDEL", "m:1") == no_command("ai.modeldel")
    assert alice.ask("AI.CONFIG", "LOADBACKEND", "ONNX", "x") == no_command("ai.config")
    assert alice.ask("AI.TENSORSET", "m:1", "FLOAT", "1") == NO_KEY


@pytest.mark.parametrize(
    "request_of_dag",
    [
        "AI.DAGEXECUTE LOAD 1 x |> AI.TENSORGET x VALUES",
        "AI.DAGEXECUTE LOAD 2 t:1 x PERSIST 1 t:2 |> AI.TENSORGET x VALUES",
        "AI.DAGEXECUTE PERSIST 1 x |> AI.TENSORSET x FLOAT 1 VALUES 1",
        "AI.DAGEXECUTE LOAD 1 t:1 |> AI.MODELEXECUTE x INPUTS 1 t:1 OUTPUTS 1 b",
        "AI.DAGEXECUTE_RO LOAD 1 x |> AI.TENSORGET x VALUES",
        "AI.DAGRUN LOAD 1 t:1 |> AI.MODELRUN x INPUTS t:1 OUTPUTS b",
        "AI.DAGRUN LOAD 1 t:1 PERSIST 1 x |> AI.TENSORSET x FLOAT 1 VALUES 1",
        "AI.MODELRUN m:1 INPUTS t:1 OUTPUTS x",
        "AI.MODELRUN m:1 TIMEOUT 9 INPUTS x OUTPUTS t:1",
        "AI.SCRIPTEXECUTE m:1 f INPUTS 1 t:1 ARGS 1 q OUTPUTS 1 x",
        "AI.SCRIPTEXECUTE m:1 f KEYS 1 x",
        "AI.SCRIPTEXECUTE m:1 f ARGS 1 q KEYS 1 x",
        "AI.SCRIPTEXECUTE x f KEYS 1 t:1",
        "AI.SCRIPTRUN m:1 f OUTPUTS x INPUTS t:1",
        "AI.SCRIPTRUN m:1 f INPUTS t:1 $ x OUTPUTS t:1",
        "AI.INFO x",
    ],
)
def test_each_key_of_an_ai_command_is_looked_at_before_anything_is_done(user, wire, request_of_dag):
    wire.ask("AI.TENSORSET", "t:1", "FLOAT", "1", "VALUES", "3")
    wire.ask("AI.TENSORSET", "x", "FLOAT", "1", "VALUES", "3")
    alice = user("~t:*", "~m:*", "+@all")

    assert alice.ask(*request_of_dag.split()) == NO_KEY


def test_within_a_dag_each_command_must_be_allowed(user):
    alice = user("~*", "+ai.dagexecute", "+ai.tensorget")

    dag = "AI.DAGEXECUTE PERSIST 1 a |> AI.TENSORSET a FLOAT 1 VALUES 1 |> AI.TENSORGET a"
    refused = alice.ask(*dag.split(" "))

    assert refused == no_command("ai.tensorset")


def test_the_scans_name_only_what_may_be_read(user, wire):
    for key in ("m:1", "x:1"):
        wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", '{"op": "multiply", "by": 2}')

    assert user("%R~m:*", "+@read").read("AI._MODELSCAN") == [[b"m:1", b""]]
    assert len(wire.read("AI._MODELSCAN")) == 2


# ---------------------------------------------------------------------- what is told
def test_denials_are_logged_together_when_they_are_equal(user, wire):
    wire.ask("ACL", "LOG", "RESET")
    alice = user("~a", "+get")
    for _ in range(3):
        alice.ask("GET", "x")
    alice.ask("SET", "a", "v")
    alice.ask("AUTH", "alice", "wrong")

    entries = [dict(zip(each[::2], each[1::2], strict=True)) for each in wire.read("ACL", "LOG")]

    assert [
        (each[b"count"], each[b"reason"], each[b"object"], each[b"username"]) for each in entries
    ] == [
        (1, b"auth", b"AUTH", b"alice"),
        (1, b"command", b"set", b"alice"),
        (3, b"key", b"x", b"alice"),
    ]
    assert all(each[b"context"] == b"toplevel" for each in entries)
    assert b"user=alice" in entries[1][b"client-info"]
    assert len(wire.read("ACL", "LOG", "1")) == 1
    assert wire.ask("ACL", "LOG", "RESET") == b"+OK\r\n"
    assert wire.read("ACL", "LOG") == []
    assert isinstance(wire.read("ACL", "LOG", "x"), WireError)
    info = wire.read("INFO", "stats").decode()
    assert "acl_access_denied_key:3" in info
    assert "acl_access_denied_auth:1" in info


def test_the_log_keeps_no_more_than_it_may(user, wire):
    alice = user("+get")
    wire.ask("CONFIG", "SET", "acllog-max-len", "2")

    for key in "abc":
        alice.ask("GET", key)

    assert len(wire.read("ACL", "LOG")) == 2


def test_a_request_may_be_tried_for_a_user_without_doing_it(user, wire):
    user("~a", "+set", "+publish", "&c")

    def tried(*request):
        return wire.read("ACL", "DRYRUN", "alice", *request)

    assert tried("SET", "a", "v") == "OK"
    assert tried("SET", "b", "v") == b"This user has no permissions to access the 'b' key"
    assert tried("GET", "a") == b"This user has no permissions to run the 'get' command"
    assert tried("PUBLISH", "d", "x") == b"This user has no permissions to access the 'd' channel"
    assert tried("SET", "a") == "ERR wrong number of arguments for 'set' command"
    assert tried("NOSUCH") == "ERR Command 'NOSUCH' not found"
    assert wire.read("ACL", "DRYRUN", "nobody", "GET", "a") == "ERR User 'nobody' not found"
    assert wire.ask("EXISTS", "a") == b":0\r\n"


def test_users_are_described(user, wire):
    user("~a:*", "%R~b", "&c", "+@read", "-keys", "(+set ~x)")

    assert wire.read("ACL", "USERS") == [b"alice", b"default"]
    flags, passwords, commands, keys, channels, selectors = wire.read("ACL", "GETUSER", "alice")[
        1::2
    ]
    assert flags == [b"on"]
    assert re.fullmatch(b"[0-9a-f]{64}", *passwords)
    assert (commands, keys, channels) == (b"-@all +@read -keys", b"~a:* %R~b", b"&c")
    assert selectors == [[b"commands", b"-@all +set", b"keys", b"~x", b"channels", b""]]
    (line,) = [each for each in wire.read("ACL", "LIST") if each.startswith(b"user alice ")]
    assert line.endswith(
        b" ~a:* %R~b resetchannels &c -@all +@read -keys (~x resetchannels -@all +set)"
    )
    assert wire.read("ACL", "GETUSER", "nobody") is None


def test_passwords_are_made(wire):
    assert len(wire.read("ACL", "GENPASS")) == 64
    assert len(wire.read("ACL", "GENPASS", "5")) == 2
    for bits in ("0", "-1", "4097"):
        assert wire.ask("ACL", "GENPASS", bits).startswith(b"-ERR ACL GENPASS argument must be")


def test_categories_have_the_ai_commands(wire):
    assert {b"tensor", b"model", b"script", b"run", b"read"} <= set(wire.read("ACL", "CAT"))
    assert wire.read("ACL", "CAT", "tensor") == [b"ai.tensorset", b"ai.tensorget"]
    assert b"ai.modelexecute" in wire.read("ACL", "CAT", "RUN")
    assert b"ai.modelget" in wire.read("ACL", "CAT", "read")
    assert b"ai.modelstore" in wire.read("ACL", "CAT", "write")
    assert wire.ask("ACL", "CAT", "nothing") == b"-ERR Unknown category 'nothing'\r\n"


def test_a_wrong_rule_is_refused_by_name_and_nothing_is_changed(wire):
    assert wire.ask("ACL", "SETUSER", "bob", "on", "+nothing") == (
        b"-ERR Error in ACL SETUSER modifier '+nothing': Unknown command or category name in ACL"
        b"\r\n"
    )
    assert wire.ask("ACL", "SETUSER", "b b", "on") == (
        b"-ERR Usernames can't contain spaces or null characters\r\n"
    )
    assert wire.read("ACL", "USERS") == [b"default"]


def test_clients_are_named_and_ended_by_user(user, wire):
    alice = user("+@all", "~*")

    assert b" user=alice " in alice.read("CLIENT", "LIST")
    assert wire.ask("CLIENT", "KILL", "USER", "nobody") == b"-ERR No such user 'nobody'\r\n"
    assert wire.ask("CLIENT", "KILL", "USER", "alice") == b":1\r\n"
    with pytest.raises((EOFError, ConnectionError)):
        alice.ask("PING")


def test_no_password_is_seen_by_monitors_or_in_the_log_of_slow_commands(wire, connect):
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    monitor = connect()
    assert monitor.ask("MONITOR") == b"+OK\r\n"

    wire.ask("ACL", "SETUSER", "bob", "on", ">hidden1")
    wire.ask("AUTH", "bob", "hidden1")
    wire.ask("AUTH", "default", "hidden2")
    wire.ask("CONFIG", "SET", "requirepass", "hidden3")
    wire.ask("HELLO", "2", "AUTH", "default", "hidden3")
    wire.ask("CONFIG", "SET", "requirepass", "")
    wire.ask("PING", "the end")

    seen = b""
    while b"the end" not in seen:
        seen += monitor.reply()
    assert b"hidden" not in seen
    assert b"hidden" not in wire.ask("SLOWLOG", "GET", "100")
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "10000")


# ---------------------------------------------------------------------- protected mode
@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("localhost", False),
        ("/run/tensorkeep.sock", False),
        ("", False),
        (None, False),
        (b"", False),
        ("10.0.0.1", True),
        ("0.0.0.0", True),  # noqa: S104 - nothing is bound
        ("::", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("some.host", True),
    ],
)
def test_an_address_is_of_this_machine_or_elsewhere(host, elsewhere):
    assert is_elsewhere(host) is elsewhere


def test_clients_elsewhere_are_turned_away_as_long_as_everybody_is_let_in(
    server, wire, connect, monkeypatch
):
    assert wire.ask("PING") == b"+PONG\r\n"  # it was let in before
    monkeypatch.setattr("tensorkeep_server.connection.is_elsewhere", lambda _: True)

    denied = connect()
    assert denied.reply() == DENIED
    with pytest.raises((EOFError, ConnectionError)):
        denied.reply()

    wire.ask("CONFIG", "SET", "requirepass", "secret")
    assert connect().ask("AUTH", "secret") == b"+OK\r\n"
    wire.ask("CONFIG", "SET", "requirepass", "")
    assert wire.ask("CONFIG", "SET", "protected-mode", "maybe").startswith(
        b"-ERR CONFIG SET failed"
    )
    wire.ask("CONFIG", "SET", "protected-mode", "no")
    assert connect().ask("PING") == b"+PONG\r\n"
    assert wire.read("CONFIG", "GET", "protected-mode") == [b"protected-mode", b"no"]
