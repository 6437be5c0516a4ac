"""What a client has sent: how much is parsed at once, and how much is taken ahead."""

import pytest

from tensorkeep_server.codec import LARGE, Limits
from tensorkeep_server.inbox import BACKLOG, MOST_BACKLOG, PORTION, Inbox
from tensorkeep_server.testing import request

SHARED = 64 * 1024


@pytest.fixture
def inbox():
    return Inbox(Limits(), memoryview(bytearray(SHARED)))


def receive(inbox, data, *, served=True):
    """Receives as much as there is room for; returns how much that was, and what was said."""
    room = inbox.room()
    count = min(len(room), len(data))
    room[:count] = data[:count]
    return count, inbox.receive(count, served)


def take_all(inbox):
    taken = []
    while inbox.parse(lambda: True):
        taken += map(list, inbox.requests)
        inbox.requests.clear()
    return taken


def test_what_is_little_is_parsed_at_once(inbox):
    data = request("PING") * 3
    assert receive(inbox, data) == (len(data), True)
    assert list(inbox.requests) == [[b"PING"]] * 3


def test_of_many_small_requests_one_portion_is_parsed_at_a_time(inbox):
    data = (request("PING") * 5000)[:SHARED]
    assert receive(inbox, data) == (SHARED, False)  # others first
    assert not inbox.requests
    assert inbox.parse(lambda: True)
    assert len(inbox.requests) == PORTION // len(request("PING"))
    assert len(inbox.ahead) == SHARED - PORTION
    first = list(inbox.requests)
    inbox.requests.clear()
    assert len(first) + len(take_all(inbox)) == SHARED // len(request("PING"))


@pytest.mark.parametrize(
    "large",
    [
        request("SET", "k", "v" * 30_000),
        request("AI.TENSORSET", "k" * 30, "FLOAT", *[1] * 10, 7500, "BLOB", bytes(30_000)),
        request("HSET", "h", "field", bytes(range(256)) * 120),
    ],
)
def test_large_arguments_are_parsed_as_they_came(inbox, large):
    """To take them apart would only mean more copies."""
    count, more = receive(inbox, (large * 3)[:SHARED])
    assert (count, more) == (SHARED, True)
    assert len(inbox.requests) == 2
    assert not inbox.ahead


def test_parsing_stops_when_it_is_told_to(inbox):
    receive(inbox, (request("PING") * 5000)[:SHARED])
    assert not inbox.parse(lambda: False)
    assert not inbox.requests


def test_what_nobody_asks_for_is_not_parsed_and_taken_up_to_a_limit(inbox):
    data = request("SET", "k", "v" * 100) * 400
    taken = 0
    while True:
        count, more = receive(inbox, data[:SHARED], served=False)
        taken += count
        if not more:
            break
    assert BACKLOG < taken <= BACKLOG + SHARED
    assert not inbox.requests
    assert not inbox.has_place()


def test_the_limit_grows_to_find_out_who_is_still_there_but_not_without_end(inbox):
    while inbox.has_place():
        receive(inbox, bytes(SHARED), served=False)
    grown = 0
    while inbox.grow():
        grown += 1
        assert inbox.has_place()
        while inbox.has_place():
            receive(inbox, bytes(SHARED), served=False)
    assert grown == 3
    assert MOST_BACKLOG < len(inbox.ahead) <= MOST_BACKLOG + SHARED
    inbox.clear()
    inbox.all_done()
    assert inbox.has_place()
    assert receive(inbox, bytes(SHARED), served=False) == (SHARED, True)


def test_a_large_argument_that_began_among_bytes_ahead_is_put_together(inbox):
    blob = bytes(range(256)) * 1024
    data = request("SET", "k", blob) + request("PING")
    receive(inbox, data, served=False)
    rest = data[SHARED:]
    assert take_all(inbox) == []
    requests = []
    while rest:
        count, _ = receive(inbox, rest)
        rest = rest[count:]
        requests += take_all(inbox) or map(list, inbox.requests)
        inbox.requests.clear()
    assert [[bytes(argument) for argument in one] for one in requests] == [
        [b"SET", b"k", blob],
        [b"PING"],
    ]


def test_nothing_is_left_of_what_was_cleared(inbox):
    receive(inbox, request("SET", "k", bytes(LARGE)) + b"PING")
    inbox.clear()
    assert not inbox.requests
    assert not inbox.ahead
    assert inbox.parser.wants() is None
    assert inbox.error is None


def test_a_broken_protocol_is_told_when_all_before_it_was_taken(inbox):
    receive(inbox, request("PING") + b"*x\r\n" + request("PING"))
    assert inbox.error is None
    inbox.requests.clear()
    assert inbox.error is not None
    assert not inbox.parse(lambda: True)
