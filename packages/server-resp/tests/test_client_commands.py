"""CLIENT: describing, naming, muting and ending connections, as Redis 7.0 does it."""

import json

import pytest

from tensorkeep_server.testing import WireError, request


def described(line):
    """The fields of a line of CLIENT LIST."""
    return dict(field.split(b"=", 1) for field in line.split())


def own(wire):
    return described(wire.read("CLIENT", "INFO"))


def listed(wire, *arguments):
    """The numbers of the connections that CLIENT LIST shows."""
    lines = wire.read("CLIENT", "LIST", *arguments).splitlines()
    return {int(described(line)[b"id"]) for line in lines}


def number(wire):
    return wire.read("CLIENT", "ID")


# ------------------------------------------------------------------------- what is shown
def test_numbers_of_connections_grow(connect):
    first, second = number(connect()), number(connect())
    assert second > first


@pytest.mark.memory_store("the engine shows its own connection")
def test_info_describes_the_connection_in_one_line(wire, server):
    wire.ask("CLIENT", "SETNAME", "worker")
    wire.ask("SELECT", "3")
    line = wire.read("CLIENT", "INFO")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    fields = described(line)
    assert list(fields)[:9] == [
        *(b"id", b"addr", b"laddr", b"fd", b"name", b"age", b"idle", b"flags", b"db"),
    ]
    host, port = wire.socket.getsockname()
    assert fields[b"addr"] == f"{host}:{port}".encode()
    assert fields[b"laddr"] == server.address.encode()
    assert fields[b"name"] == b"worker"
    assert fields[b"db"] == b"3"
    assert fields[b"flags"] == b"N"
    assert fields[b"cmd"] == b"client|info"
    assert fields[b"user"] == b"default"
    assert fields[b"resp"] == b"2"


def test_info_is_text_for_people_in_resp3(wire):
    wire.ask("HELLO", "3")
    assert wire.ask("CLIENT", "INFO").partition(b"\r\n")[2].startswith(b"txt:id=")


@pytest.mark.memory_store("the engine lists the connections that it has")
def test_list_shows_every_connection(wire, connect):
    numbers = {number(connect()) for _ in range(3)}
    assert listed(wire) == {number(wire), *numbers}


@pytest.mark.memory_store("the engine lists the connections that it has")
def test_list_shows_the_connections_that_are_asked_for(wire, connect):
    other = number(connect())
    assert listed(wire, "ID", other, 99999) == {other}
    assert listed(wire, "TYPE", "normal") == {number(wire), other}
    assert listed(wire, "TYPE", "PUBSUB") == set()


@pytest.mark.memory_store("the engine's words")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("TYPE",), "ERR syntax error"),
        (("TYPE", "foo"), "ERR Unknown client type 'foo'"),
        (("TYPE", "normal", "x"), "ERR syntax error"),
        (("ID",), "ERR syntax error"),
        (("ID", "1", "x"), "ERR Invalid client ID"),
        (("foo",), "ERR syntax error"),
    ],
)
def test_a_list_of_something_else_is_refused(wire, arguments, line):
    assert wire.read("CLIENT", "LIST", *arguments) == WireError(line)


@pytest.mark.memory_store("the engine does not know of runs")
def test_a_connection_that_waits_for_a_run_is_shown_as_blocked(wire, connect, fake):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", json.dumps({"op": "block"}))
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    (waiting,) = (
        described(line)
        for line in connect().read("CLIENT", "LIST").splitlines()
        if b"flags=b" in line
    )
    assert waiting[b"cmd"] == b"ai.modelexecute"
    fake.release()
    assert wire.reply() == b"+OK\r\n"


# ------------------------------------------------------------------------- what is set
def test_a_name_can_be_given_and_taken_away(wire):
    assert wire.ask("CLIENT", "GETNAME") == b"$-1\r\n"
    assert wire.ask("CLIENT", "SETNAME", "worker:1") == b"+OK\r\n"
    assert wire.ask("CLIENT", "GETNAME") == b"$8\r\nworker:1\r\n"
    assert wire.ask("CLIENT", "SETNAME", "") == b"+OK\r\n"
    assert wire.ask("CLIENT", "GETNAME") == b"$-1\r\n"


@pytest.mark.parametrize("name", ["a b", "a\n", "ä", "\x7f"])
def test_a_name_must_fit_into_a_line(wire, name):
    assert wire.ask("CLIENT", "SETNAME", name) == (
        b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
    )


@pytest.mark.memory_store(
    "CLIENT SETINFO came with 7.2",
    on=(
        "redis-6.2",
        "redis",
    ),
)
def test_a_library_can_introduce_itself(wire):
    assert wire.ask("CLIENT", "SETINFO", "lib-name", "redis-py") == b"+OK\r\n"
    assert wire.ask("CLIENT", "SETINFO", "LIB-VER", "7.1.0") == b"+OK\r\n"
    assert own(wire)[b"lib-name"] == b"redis-py"
    assert own(wire)[b"lib-ver"] == b"7.1.0"
    assert (
        wire.ask("CLIENT", "SETINFO", "lib-foo", "x") == b"-ERR Unrecognized option 'lib-foo'\r\n"
    )
    assert wire.ask("CLIENT", "SETINFO", "LIB-VER", "7 1") == (
        b"-ERR LIB-VER cannot contain spaces, newlines or special characters.\r\n"
    )


@pytest.mark.memory_store("the engine shows its own connection")
@pytest.mark.parametrize(("word", "letter"), [("NO-EVICT", b"e"), ("NO-TOUCH", b"T")])
def test_switches_show_in_the_flags(wire, word, letter):
    assert wire.ask("CLIENT", word, "on") == b"+OK\r\n"
    assert own(wire)[b"flags"] == letter
    assert wire.ask("CLIENT", word, "OFF") == b"+OK\r\n"
    assert own(wire)[b"flags"] == b"N"
    assert wire.ask("CLIENT", word, "maybe") == b"-ERR syntax error\r\n"


# ------------------------------------------------------------------------- CLIENT REPLY
def replies(wire, *requests):
    """What comes back for requests that are sent together, up to the answer to a last ECHO."""
    wire.socket.sendall(b"".join(request(*each) for each in requests) + request("ECHO", "end"))
    got = [wire.reply()]
    while got[-1] != b"$3\r\nend\r\n":
        got.append(wire.reply())
    return got[:-1]


def test_reply_skip_leaves_out_its_own_and_the_next_reply(wire):
    assert replies(wire, ("CLIENT", "REPLY", "SKIP"), ("PING", "1"), ("PING", "2")) == [
        b"$1\r\n2\r\n"
    ]


def test_reply_off_leaves_out_all_replies_until_on(wire):
    off, on = ("CLIENT", "REPLY", "OFF"), ("CLIENT", "REPLY", "ON")
    assert replies(wire, off, ("PING",), ("NONSENSE",), on, ("PING",)) == [b"+OK\r\n", b"+PONG\r\n"]


def test_reply_skip_means_nothing_while_replies_are_off(wire):
    off, on = ("CLIENT", "REPLY", "OFF"), ("CLIENT", "REPLY", "ON")
    assert replies(wire, off, ("CLIENT", "REPLY", "SKIP"), on, ("PING",)) == [
        b"+OK\r\n",
        b"+PONG\r\n",
    ]


def test_reply_on_is_answered_even_behind_skip(wire):
    assert replies(wire, ("CLIENT", "REPLY", "SKIP"), ("CLIENT", "REPLY", "ON"), ("PING",)) == [
        b"+OK\r\n",
        b"+PONG\r\n",
    ]


def test_reply_takes_no_other_mode(wire):
    assert wire.ask("CLIENT", "REPLY", "MAYBE") == b"-ERR syntax error\r\n"


# ------------------------------------------------------------------------- CLIENT KILL
def is_closed(wire):
    try:
        return wire.socket.recv(1) == b""
    except ConnectionError:
        return True


def address_of(wire):
    host, port = wire.socket.getsockname()
    return f"{host}:{port}"


@pytest.mark.memory_store("the engine knows the address of this server alone")
def test_kill_by_address_ends_one_connection(wire, connect):
    other = connect()
    other.ask("PING")  # now the server knows it
    assert wire.ask("CLIENT", "KILL", address_of(other)) == b"+OK\r\n"
    assert is_closed(other)
    assert wire.ask("PING") == b"+PONG\r\n"


def test_kill_by_address_of_nobody_is_an_error(wire):
    assert wire.ask("CLIENT", "KILL", "127.0.0.1:1") == b"-ERR No such client\r\n"


@pytest.mark.memory_store("the engine knows the address of this server alone")
def test_a_connection_that_ends_itself_is_answered_first(wire):
    assert wire.ask("CLIENT", "KILL", address_of(wire)) == b"+OK\r\n"
    assert is_closed(wire)


@pytest.mark.memory_store("only the client's connection to the engine is closed")
def test_kill_by_number_answers_how_many(wire, connect):
    other = connect()
    assert wire.ask("CLIENT", "KILL", "ID", number(other)) == b":1\r\n"
    assert is_closed(other)
    assert wire.ask("CLIENT", "KILL", "ID", 99999) == b":0\r\n"


@pytest.mark.memory_store("only the client's connection to the engine is closed")
def test_kill_by_kind_spares_the_one_that_asks(wire, connect):
    others = [connect() for _ in range(3)]
    for other in others:
        other.ask("PING")
    assert wire.ask("CLIENT", "KILL", "TYPE", "normal") == b":3\r\n"
    assert all(map(is_closed, others))
    assert wire.ask("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "no") == b":0\r\n"
    assert wire.ask("CLIENT", "KILL", "USER", "default", "SKIPME", "no") == b":1\r\n"
    assert is_closed(wire)


@pytest.mark.memory_store("the engine knows the address of this server alone")
def test_kill_needs_all_that_is_given_to_fit(wire, connect, server):
    other = connect()
    no_match = ("ID", number(other), "LADDR", "127.0.0.1:1")
    assert wire.ask("CLIENT", "KILL", *no_match) == b":0\r\n"
    match = ("ADDR", address_of(other), "LADDR", server.address, "TYPE", "NORMAL")
    assert wire.ask("CLIENT", "KILL", *match) == b":1\r\n"


@pytest.mark.memory_store("the engine does not know of runs")
def test_killing_a_connection_that_waits_lets_go_of_its_run(wire, connect, fake, server):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", json.dumps({"op": "block"}))
    victim = connect()
    victim.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    assert wire.ask("CLIENT", "KILL", "TYPE", "normal") == b":1\r\n"
    assert is_closed(victim)
    fake.release()
    assert wire.ask("PING") == b"+PONG\r\n"
    assert wire.ask("AI.TENSORGET", "y", "META").startswith(b"-ERR tensor key is empty")


@pytest.mark.memory_store("the engine knows the address of this server alone")
def test_killing_does_not_wait_for_one_that_does_not_read(wire, connect):
    wire.ask("AI.TENSORSET", "big", "UINT8", 8_000_000)
    victim = connect()
    victim.socket.sendall(request("AI.TENSORGET", "big", "BLOB") * 3)
    assert victim.socket.recv(1) == b"$"  # and no more
    assert wire.ask("CLIENT", "KILL", "TYPE", "normal") == b":1\r\n"
    assert listed(wire) == {number(wire)}


@pytest.mark.memory_store("the engine's words")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("ID", "x"), "ERR client-id should be greater than 0"),
        (("ID", "0"), "ERR client-id should be greater than 0"),
        (("TYPE", "foo"), "ERR Unknown client type 'foo'"),
        (("USER", "foo"), "ERR No such user 'foo'"),
        (("SKIPME", "maybe"), "ERR syntax error"),
        (("FOO", "bar"), "ERR syntax error"),
        (("ID", "1", "2"), "ERR syntax error"),
    ],
)
def test_a_kill_that_cannot_be_understood_is_refused(wire, arguments, line):

    assert wire.read("CLIENT", "KILL", *arguments) == WireError(line)


# ------------------------------------------------------------------------- CLIENT UNBLOCK
@pytest.mark.memory_store("the engine does not know of runs")
def test_a_connection_that_waits_for_a_run_goes_on_waiting(wire, connect, fake):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", json.dumps({"op": "block"}))
    waiting = number(wire)
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    assert connect().ask("CLIENT", "UNBLOCK", waiting) == b":0\r\n"
    assert connect().ask("CLIENT", "UNBLOCK", waiting, "error") == b":0\r\n"
    fake.release()
    assert wire.reply() == b"+OK\r\n"


@pytest.mark.memory_store("the engine's words")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("x",), "ERR value is not an integer or out of range"),
        (("x", "maybe"), "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        (
            ("1", "ERROR", "2"),
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        ),
    ],
)
def test_an_unblock_that_cannot_be_understood_is_refused(wire, arguments, line):
    assert wire.read("CLIENT", "UNBLOCK", *arguments) == WireError(line)


# ------------------------------------------------------------------------- CLIENT HELP
@pytest.mark.memory_store("the engine's words")
def test_help_names_every_subcommand(wire):
    lines = wire.read("CLIENT", "HELP")
    assert lines[0] == "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert lines[1:3] == ["GETNAME", "    Returns the connection's name."]
    assert lines[-2:] == ["HELP", "    Prints this help."]
    assert {line for line in lines if line.startswith("NO-")} == {
        "NO-EVICT ON | OFF",
        "NO-TOUCH ON | OFF",
    }
    assert wire.ask("CLIENT", "HELP", "x") == (
        b"-ERR wrong number of arguments for 'client|help' command\r\n"
    )
