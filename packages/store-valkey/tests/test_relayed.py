"""What commands mean for a session is taken from their replies."""

import pytest

from tensorkeep_valkey.addresses import Credentials
from tensorkeep_valkey.relayed import State, confirm, meaning, replies_to, unasked

OK = b"+OK\r\n"


def after(*exchanges, state=None):
    state = state or State()
    for text, reply in exchanges:
        request = text.split()
        change = meaning(request, request[0].upper())
        if change is not None:
            change(state, reply)
    return state


def test_commands_on_data_mean_nothing():
    assert meaning([b"GET", b"key"], b"GET") is None
    assert meaning([b"CLIENT", b"LIST"], b"CLIENT") is None


@pytest.mark.parametrize(
    ("text", "reply", "attribute", "value"),
    [
        (b"select 3", OK, "database", 3),
        (b"select 99", b"-ERR DB index is out of range\r\n", "database", 0),
        (b"auth secret", OK, "credentials", Credentials(None, b"secret")),
        (b"auth ann secret", OK, "credentials", Credentials(b"ann", b"secret")),
        (b"auth ann wrong", b"-WRONGPASS no\r\n", "credentials", None),
        (b"hello 3", b"%7\r\n", "version", 3),
        (b"hello 2", b"*14\r\n", "version", 2),
        (b"hello 4", b"-NOPROTO unsupported\r\n", "version", 2),
        (b"hello", b"*14\r\n", "version", 2),
        (b"hello 3 auth ann secret", b"%7\r\n", "credentials", Credentials(b"ann", b"secret")),
        (b"hello 3 setname me auth ann x", b"%7\r\n", "name", b"me"),
        (b"hello 3 auth ann x", b"-WRONGPASS no\r\n", "version", 2),
        (b"client setname me", OK, "name", b"me"),
        (b"multi", OK, "in_transaction", True),
        (b"watch key", OK, "watching", True),
        (b"monitor", OK, "monitoring", True),
        (b"quit", OK, "quitting", True),
        (b"client tracking on", OK, "special", True),
        (b"client tracking on", b"-ERR no\r\n", "special", False),
        (b"client no-evict on", OK, "special", True),
    ],
)
def test_what_a_reply_changes(text, reply, attribute, value):
    assert getattr(after((text, reply)), attribute) == value


@pytest.mark.parametrize(
    ("text", "reply", "ends"),
    [
        (b"exec", b"*2\r\n", True),
        (b"exec", b"*-1\r\n", True),
        (b"exec", b"_\r\n", True),
        (b"exec", b"-EXECABORT Transaction discarded\r\n", True),
        (b"exec now", b"-ERR wrong number of arguments\r\n", False),
        (b"discard", OK, True),
        (b"reset", b"+RESET\r\n", True),
        (b"multi", b"-ERR MULTI calls can not be nested\r\n", False),
    ],
)
def test_what_ends_a_transaction(text, reply, ends):
    state = after((b"watch key", OK), (b"multi", OK), (text, reply))

    assert state.in_transaction is state.watching is not ends


def test_reset_makes_it_a_new_connection():
    state = after((b"hello 3 auth ann x setname me", b"%7\r\n"), (b"select 4", OK))
    confirm(state, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
    after((b"reset", b"+RESET\r\n"), state=state)

    assert state == State()


def test_what_makes_a_new_connection_the_same_again():
    state = after((b"hello 3 auth ann x setname me", b"%7\r\n"), (b"select 4", OK))

    assert state.restoring() == [
        [b"HELLO", b"3", b"AUTH", b"ann", b"x", b"SETNAME", b"me"],
        [b"SELECT", b"4"],
    ]
    assert State().restoring() == []
    assert after((b"auth x", OK)).restoring() == [[b"HELLO", b"2", b"AUTH", b"default", b"x"]]


def test_subscriptions_are_counted_by_name():
    state = State()
    for kind, channel in [("subscribe", "a"), ("subscribe", "a"), ("subscribe", "b")]:
        confirm(state, f"*3\r\n${len(kind)}\r\n{kind}\r\n$1\r\n{channel}\r\n:1\r\n".encode())
    confirm(state, b">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:3\r\n")
    confirm(state, b">3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n")

    assert replies_to(state, b"unsubscribe", 0) == 2
    assert replies_to(state, b"punsubscribe", 0) == 1
    assert replies_to(state, b"unsubscribe", 3) == 3
    confirm(state, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n")
    confirm(state, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n")
    confirm(state, b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:1\r\n")
    assert replies_to(state, b"unsubscribe", 0) == 1
    assert state.subscribes
    confirm(state, b"*3\r\n$12\r\npunsubscribe\r\n$1\r\n*\r\n:1\r\n")
    assert not state.subscribes


def test_what_is_sent_unasked_in_resp2():
    state = State()
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n"
    assert not unasked(state, message)  # the reply of an EVAL may look so

    confirm(state, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")

    assert unasked(state, message)
    assert unasked(state, message[:30])  # the begin of a long one
    assert not unasked(state, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
    assert not unasked(state, b"+OK\r\n")


def test_lines_of_monitor_are_told_from_replies():
    state = after((b"monitor", OK))

    assert unasked(state, b'+1700000000.123456 [0 127.0.0.1:1] "get" "a"\r\n')
    assert not unasked(state, b"+PONG\r\n")


def test_what_would_be_lost_with_the_connection_is_named():
    assert State().held == ""
    assert after((b"select 3", OK), (b"client setname me", OK)).held == ""
    assert after((b"multi", OK)).held == "a transaction"
    assert after((b"client tracking on", OK), (b"client tracking off", OK)).held == ""
