"""Connections that many clients close at once are closed over several turns of the loop."""

import time

from tensorkeep_server.turn import Turn


class Loop:
    """A loop that runs what was asked for when it is told to."""

    def __init__(self):
        self.soon = []

    def call_soon(self, callback):
        self.soon.append(callback)

    def run_once(self):
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Member:
    """A connection that counts how often it is ended."""

    def __init__(self):
        self.ended = 0

    def end(self):
        self.ended += 1


def test_of_many_connections_that_are_closed_at_once_few_are_in_each_turn():
    loop = Loop()
    turn = Turn(loop, None)
    members = [Member() for _ in range(100)]
    at_once = [member for member in members if turn.may_end(member)]
    assert 0 < len(at_once) < 20
    left = len(members) - len(at_once)
    while left:
        loop.run_once()
        ended = sum(member.ended for member in members)
        assert len(members) - len(at_once) - left < ended
        assert ended - (len(members) - len(at_once) - left) <= len(at_once)
        left = len(members) - len(at_once) - ended
    assert [member.ended for member in members] == [0] * len(at_once) + [1] * 92


def test_one_connection_after_another_is_closed_at_once():
    loop = Loop()
    turn = Turn(loop, None)
    for _ in range(100):
        assert turn.may_end(Member())
        loop.run_once()
    assert not loop.soon


def test_many_clients_that_leave_at_once_are_all_let_go_of(server, connect):
    wires = [connect() for _ in range(60)]
    assert all(wire.ask("PING") == b"+PONG\r\n" for wire in wires)
    for wire in wires:
        wire.close()
    deadline = time.monotonic() + 10
    while server.clients or server.clients_memory.total:
        assert time.monotonic() < deadline
        time.sleep(0.01)
