"""EXEC's array holds one element for each command that the client has sent."""

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep_valkey.own_connection import Expected, OwnConnection
from tensorkeep_valkey.queued import Place
from tensorkeep_valkey.relayed import State

ELEMENT = st.sampled_from(
    [b"+OK\r\n", b":1\r\n", b"$2\r\nab\r\n", b"*2\r\n:1\r\n$-1\r\n", b"-ERR\r\n"]
)
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"


def confirmation(kind, channel, count):
    return b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n:%d\r\n" % (
        *(len(kind), kind),
        *(len(channel), channel, count),
    )


class Client:
    """What a connection to the engine sends to its client."""

    def __init__(self):
        self.sent = b""

    def send(self, data):
        self.sent += data

    def lose(self, reason):
        raise AssertionError(reason)


class Connection:
    """A connection on which EXEC's reply comes, to what was queued."""

    def __init__(self):
        self.client, self.state = Client(), State(in_transaction=True)
        self.executed = []
        upstream = SimpleNamespace(connected=0, shown="", generation=0)
        self.own = OwnConnection(upstream, self.client, self.state)
        self.own.connection_made(SimpleNamespace(write=len, writelines=len))
        self.own.send([b"EXEC"], Expected(self.executed.append, executes=True))

    def receive(self, reply, data=None):
        """Receives a reply at once, or cut as hypothesis draws."""
        left = reply
        while left:
            size = len(left) if data is None else data.draw(st.integers(1, len(left)))
            self.own.data_received(left[:size])
            left = left[size:]
        return self.client.sent


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(st.tuples(st.lists(ELEMENT, max_size=3), st.booleans()), max_size=6),
    st.lists(st.booleans(), max_size=9),
    st.data(),
)
def test_elements_of_our_own_commands_become_one_each(commands, interrupted, data):
    connection = Connection()
    found, expected = [], []
    for number, (items, ours) in enumerate(commands):
        if ours:
            made = b"$3\r\n%03d\r\n" % number

            def make(got, items=items, made=made):
                assert list(got) == items
                return made

            connection.state.plan.places.append(Place(len(found), len(items), make))
            expected.append(made)
        else:
            expected += items
        found += items
    parts = [b"*%d\r\n" % len(found), *found]
    if connection.state.plan:
        connection.state.subscribed[b"unsubscribe"].add(b"a")
        for at, here in enumerate(interrupted):  # messages that nobody has asked for, anywhere
            if here and at + 1 < len(parts):
                parts[at] += MESSAGE
    sent = connection.receive(b"".join(parts), data)

    assert sent.replace(MESSAGE, b"") == b"*%d\r\n" % len(expected) + b"".join(expected)
    assert sent.count(MESSAGE) == sum(part.count(MESSAGE) for part in parts)
    assert len(connection.executed) == 1


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_confirmations_of_several_channels_belong_to_one_command(data):
    connection = Connection()
    plan = connection.state.plan
    plan.subscriptions = {0: (b"subscribe", 2), 2: (b"unsubscribe", 0), 3: (b"punsubscribe", 0)}
    done = []
    connection.own.send([b"GET", b"x"], lambda: done.append(1))
    reply = b"".join(
        [
            b"*5\r\n",
            *(confirmation(b"subscribe", each, n + 1) for n, each in enumerate((b"a", b"b"))),
            *(MESSAGE, b":1\r\n"),
            *(confirmation(b"unsubscribe", each, 1 - n) for n, each in enumerate((b"b", b"a"))),
            b"*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n",
            *(b"$2\r\nxy\r\n", b"$-1\r\n"),
        ]
    )

    assert connection.receive(reply, data) == reply
    assert (len(connection.executed), len(done)) == (1, 1)
    assert not connection.state.subscribes


def test_a_transaction_of_our_own_commands_alone_has_their_elements():
    connection = Connection()
    connection.state.plan.places = [
        Place(0, 0, lambda _: b"-one\r\n"),
        Place(0, 0, lambda _: b":2\r\n"),
    ]

    assert connection.receive(b"*0\r\n") == b"*2\r\n-one\r\n:2\r\n"


@pytest.mark.parametrize("reply", [b"*-1\r\n", b"_\r\n", b"-EXECABORT Transaction discarded\r\n"])
def test_what_is_no_array_is_left_as_it_is(reply):
    connection = Connection()
    connection.state.plan.places = [Place(0, 1, lambda items: b"+never\r\n")]

    assert connection.receive(reply) == reply
    assert len(connection.executed) == 1


@given(st.data())
def test_what_is_pushed_within_a_reply_is_no_element_of_it(data):
    connection = Connection()
    pushed = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n"
    done = []
    connection.own.send([b"MGET", b"x", b"y"], lambda: done.append(1))
    reply = b"*1\r\n" + pushed + b"+OK\r\n" + b"*2\r\n$-1\r\n" + pushed + b"$-1\r\n"

    assert connection.receive(reply, data) == reply
    assert done == [1]
