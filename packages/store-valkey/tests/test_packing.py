"""Requests are written as the protocol wants them, large arguments without a copy."""

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_valkey.packing import LARGE, Parts, gather, pack, packed

KINDS = st.sampled_from([bytes, bytearray, memoryview])
ARGUMENT = st.tuples(st.binary(max_size=50) | st.just(bytes(LARGE + 1)), KINDS).map(
    lambda drawn: drawn[1](drawn[0])
)
REQUEST = st.lists(ARGUMENT, min_size=1, max_size=5)


@given(st.lists(REQUEST, min_size=1, max_size=4))
def test_what_is_written_is_read_as_the_same_requests(requests):
    out = []
    for request in requests:
        pack(request, out)
    reader = hiredis.Reader()
    reader.feed(b"".join(gather(out)))

    assert [reader.gets() for _ in requests] == [list(map(bytes, each)) for each in requests]


def test_a_large_argument_is_written_from_where_it_lies():
    large = bytearray(LARGE + 1)
    out = []
    pack([b"SET", b"key", memoryview(large)], out)
    pieces = gather([*out, b"more"])

    assert [each.obj is large for each in pieces if isinstance(each, memoryview)] == [True]


def test_small_pieces_of_many_requests_become_one():
    out = []
    for number in range(50):
        pack([b"GET", b"%d" % number], out)

    assert gather(out) == [packed([b"GET", b"%d" % number] for number in range(50))]


def test_an_argument_in_two_pieces_is_read_as_one_and_its_rest_is_not_copied():
    rest = bytearray(LARGE + 1)
    for parts in (Parts(b"head", memoryview(rest)), Parts(b"", b"small")):
        out = []
        pack([b"SET", b"key", parts, b"PX", b"1"], out)
        reader = hiredis.Reader()
        reader.feed(b"".join(gather(out)))

        assert reader.gets() == [b"SET", b"key", parts.head + bytes(parts.rest), b"PX", b"1"]
        assert any(each is parts.rest for each in out)
