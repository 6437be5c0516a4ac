"""Before a client has said who it is, only small requests are read, one after another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_server.codec import LARGE, Limits, RequestParser
from tensorkeep_server.inbox import Inbox
from tensorkeep_server.testing import request

BEFORE = Limits(before_auth=True)
AFTER = Limits()
SHARED = 64 * 1024


def fed(data, limits=BEFORE):
    parser = RequestParser(limits)
    requests = parser.feed(data)
    return [*map(list, requests)], parser.error and parser.error.line


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*1000000\r\n", "unauthenticated multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
        (b"*1\r\n$%d\r\n" % 2**29, "unauthenticated bulk length"),
        (b"*1\r\n$%d\r\n" % (2**29 + 1), "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
    ],
)
def test_larger_requests_break_the_protocol(data, error):
    assert fed(data) == ([], f"ERR Protocol error: {error}")


def test_the_largest_that_are_allowed_are_read():
    arguments = [b"x" * 16384] * 10
    assert fed(request(*arguments)) == ([arguments], None)


def test_a_lower_limit_of_the_server_holds_as_well():
    limits = Limits(max_bulk=100, max_arguments=3, before_auth=True)
    assert fed(b"*4\r\n", limits)[1] == "ERR Protocol error: invalid multibulk length"
    assert fed(b"*1\r\n$101\r\n", limits)[1] == "ERR Protocol error: invalid bulk length"


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=10), max_size=4), st.data())
def test_requests_are_read_one_by_one_whatever_the_pieces(requests, data):
    whole = b"".join(request(*each) for each in requests)
    parser = RequestParser(BEFORE)
    found, at = [], 0
    while at < len(whole):
        end = data.draw(st.integers(at + 1, len(whole)))
        ready, read = parser.feed_first(whole[at:end])
        assert len(ready) <= 1
        assert ready or at + read == end
        found += ready
        at += read
    assert found == requests


# ------------------------------------------------------------------ an inbox
def received(inbox, data):
    """Receives bytes, as much as there is room for at a time."""
    while data:
        room = inbox.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        inbox.receive(count, served=True)


def taken(inbox):
    """Takes out the requests that are there without a change of the limits."""
    found = [*map(list, inbox.requests)]
    inbox.requests.clear()
    return found


@pytest.fixture
def inbox():
    return Inbox(BEFORE, memoryview(bytearray(SHARED)))


def test_no_request_is_read_before_the_one_before_it_was_done(inbox):
    large = request("SET", "k", "x" * 20_000)
    received(inbox, request("AUTH", "p") + large + request("PING"))
    assert taken(inbox) == [[b"AUTH", b"p"]]
    inbox.limit(AFTER)
    assert inbox.parse(lambda: True)
    assert [each[0] for each in taken(inbox)] == [b"SET", b"PING"]


def test_a_large_request_behind_one_that_did_not_let_the_client_in_is_refused(inbox):
    received(inbox, request("AUTH", "p") + request("SET", "k", "x" * 20_000) + request("PING"))
    assert taken(inbox) == [[b"AUTH", b"p"]]
    assert inbox.error is None
    assert not inbox.parse(lambda: True)
    assert inbox.error.line == "ERR Protocol error: unauthenticated bulk length"
    assert not inbox.ahead


def test_what_was_begun_before_the_client_was_let_out_is_read_to_its_end(inbox):
    inbox.limit(AFTER)
    blob = bytes(range(256)) * (2 * LARGE // 256)
    data = request("SET", "k", blob) + request("SET", "k", blob)
    received(inbox, data[: LARGE + 1000])
    inbox.limit(BEFORE)
    received(inbox, data[LARGE + 1000 :])
    assert [[bytes(each) for each in one] for one in taken(inbox)] == [[b"SET", b"k", blob]]
    inbox.parse(lambda: True)
    assert inbox.error.line == "ERR Protocol error: unauthenticated bulk length"


def test_requests_in_pieces_are_read(inbox):
    for byte in request("HELLO", "3") + request("PING"):
        received(inbox, bytes([byte]))
    inbox.parse(lambda: True)
    assert taken(inbox) == [[b"HELLO", b"3"]]
    assert inbox.parse(lambda: True)
    assert taken(inbox) == [[b"PING"]]
