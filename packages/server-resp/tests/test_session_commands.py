"""PING, ECHO, HELLO, AUTH, SELECT, RESET and QUIT, as Redis 7.0 answers them."""

import pytest

from tensorkeep_server.testing import WireError, request

MODULES = [[b"name", b"ai", b"ver", 999999, b"path", b"", b"args", []]]


def pairs(items):
    return dict(zip(items[::2], items[1::2], strict=True))


# ------------------------------------------------------------------------- PING, ECHO
def test_ping_answers_pong_or_the_message(wire):
    assert wire.ask("PING") == b"+PONG\r\n"
    assert wire.ask("ping", "hello\r\n") == b"$7\r\nhello\r\n\r\n"


def test_ping_takes_no_second_message(wire):
    assert wire.ask("PING", "a", "b") == b"-ERR wrong number of arguments for 'ping' command\r\n"


def test_echo_answers_the_message_byte_for_byte(wire):
    message = bytes(range(256)) * 400  # large enough to be received into memory of its own
    assert wire.read("ECHO", message) == message


@pytest.mark.parametrize("arguments", [(), ("a", "b")])
def test_echo_takes_one_message(wire, arguments):
    assert wire.ask("ECHO", *arguments) == b"-ERR wrong number of arguments for 'echo' command\r\n"


# ------------------------------------------------------------------------- HELLO
@pytest.mark.memory_store("HELLO tells what the engine is")
def test_hello_tells_what_the_server_is(wire):
    told = pairs(wire.read("HELLO"))
    assert told == {
        b"server": b"redis",
        b"version": b"7.0.15",
        b"proto": 2,
        b"id": wire.read("CLIENT", "ID"),
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": MODULES,
    }


@pytest.mark.memory_store("HELLO tells what the engine is")
def test_hello_3_switches_before_it_answers(wire):
    reply = wire.ask("HELLO", "3")
    assert reply.startswith(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
    assert wire.ask("CLIENT", "GETNAME") == b"_\r\n"


def test_hello_without_a_version_leaves_it(wire):
    wire.ask("HELLO", "3")
    assert wire.read("HELLO")[b"proto"] == 3
    wire.ask("HELLO", "2")
    assert pairs(wire.read("HELLO"))[b"proto"] == 2


def test_hello_names_the_connection(wire):
    wire.ask("HELLO", "2", "SETNAME", "worker-1")
    assert wire.ask("CLIENT", "GETNAME") == b"$8\r\nworker-1\r\n"


def test_hello_lets_the_default_user_in_whatever_the_password(wire):
    assert wire.ask("HELLO", "3", "AUTH", "default", "any").startswith(b"%7\r\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("x",), "ERR Protocol version is not an integer or out of range"),
        (("4",), "NOPROTO unsupported protocol version"),
        (("2", "AUTH", "x"), "ERR Syntax error in HELLO option 'AUTH'"),
        (("2", "Nonsense"), "ERR Syntax error in HELLO option 'Nonsense'"),
        (("2", "SETNAME"), "ERR Syntax error in HELLO option 'SETNAME'"),
        (
            ("2", "SETNAME", "a b"),
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ),
        (
            ("3", "AUTH", "somebody", "secret"),
            "WRONGPASS invalid username-password pair or user is disabled.",
        ),
    ],
)
def test_a_hello_that_is_refused_changes_nothing(wire, arguments, line):
    assert wire.read("HELLO", *arguments) == WireError(line)
    assert wire.ask("CLIENT", "GETNAME") == b"$-1\r\n"  # still RESP2, still without a name


# ------------------------------------------------------------------------- AUTH
def test_auth_answers_as_redis_without_a_password(wire):
    assert wire.ask("AUTH", "default", "any") == b"+OK\r\n"
    assert wire.ask("AUTH", "any") == (
        b"-ERR AUTH <password> called without any password configured for the default user."
        b" Are you sure your configuration is correct?\r\n"
    )
    assert wire.ask("AUTH", "somebody", "any") == (
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    )
    assert wire.ask("AUTH", "a", "b", "c") == b"-ERR syntax error\r\n"


# ------------------------------------------------------------------------- SELECT
def test_each_database_has_keys_of_its_own(wire):
    wire.ask("AI.TENSORSET", "k", "FLOAT", "1", "VALUES", "1")
    assert wire.ask("SELECT", "15") == b"+OK\r\n"
    assert wire.ask("AI.TENSORGET", "k", "META").startswith(b"-ERR tensor key is empty")
    wire.ask("SELECT", "0")
    assert wire.ask("AI.TENSORGET", "k", "VALUES") == b"*1\r\n$1\r\n1\r\n"


@pytest.mark.parametrize(
    ("index", "line"),
    [
        ("x", b"-ERR value is not an integer or out of range\r\n"),
        ("16", b"-ERR DB index is out of range\r\n"),
        ("-1", b"-ERR DB index is out of range\r\n"),
        (
            "2147483648",
            b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
        ),
    ],
)
def test_a_database_that_is_not_there_cannot_be_selected(wire, index, line):
    assert wire.ask("SELECT", index) == line


# ------------------------------------------------------------------------- RESET, QUIT
@pytest.mark.memory_store("the engine shows its own connection")
def test_reset_makes_the_connection_as_new(wire):
    wire.ask("HELLO", "3", "SETNAME", "a")
    wire.ask("SELECT", "3")
    wire.ask("CLIENT", "NO-EVICT", "ON")
    wire.ask("CLIENT", "NO-TOUCH", "ON")
    wire.send("CLIENT", "REPLY", "OFF")
    assert wire.ask("RESET") == b"+RESET\r\n"
    assert wire.ask("CLIENT", "GETNAME") == b"$-1\r\n"
    info = wire.read("CLIENT", "INFO")
    assert b" flags=N db=0 " in info
    assert b" resp=2 " in info


def test_quit_answers_and_then_ends_the_connection(wire):
    wire.socket.sendall(request("QUIT", "whatever") + request("PING"))
    assert wire.reply() == b"+OK\r\n"
    with pytest.raises(EOFError):
        wire.reply()


# ------------------------------------------------------------------------- what is not there
A50 = b"a" * 50


@pytest.mark.memory_store("the engine's words")
@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (("FOO",), b"unknown command 'FOO', with args beginning with: "),
        (
            ("foo", "a\nb", "", "c"),
            b"unknown command 'foo', with args beginning with: 'a b' '' 'c' ",
        ),
        (("f" * 300,), b"unknown command '" + b"f" * 128 + b"', with args beginning with: "),
        (
            ("FOO", *["a" * 50] * 9),
            b"unknown command 'FOO', with args beginning with: '%b' '%b' '%b' "
            % (A50, A50, b"a" * 22),
        ),
        (
            ("f", "a" * 125, "b"),
            b"unknown command 'f', with args beginning with: '%b' " % (b"a" * 125),
        ),
        (("f\0g", "a\0b", "c"), b"unknown command 'f', with args beginning with: 'a' 'c' "),
        (
            ("f", "ä" * 100),
            b"unknown command 'f', with args beginning with: '" + "ä".encode() * 64 + b"' ",
        ),
        (("CLIENT", "foo"), b"unknown subcommand 'foo'. Try CLIENT HELP."),
        (("client", "x" * 300), b"unknown subcommand '" + b"x" * 128 + b"'. Try CLIENT HELP."),
        (("CLIENT", "ID\0"), b"unknown subcommand 'ID'. Try CLIENT HELP."),
        (("CLIENT",), b"wrong number of arguments for 'client' command"),
        (("CLIENT", "ID", "x"), b"wrong number of arguments for 'client|id' command"),
    ],
)
def test_what_does_not_exist_gets_the_line_of_redis(wire, sent, line):
    assert wire.ask(*sent) == b"-ERR " + line + b"\r\n"
