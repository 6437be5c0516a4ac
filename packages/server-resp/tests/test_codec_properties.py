"""Whatever the requests, the pieces in which they arrive, or the garbage between them."""

from itertools import cycle
from typing import TYPE_CHECKING
from unittest.mock import patch

import hiredis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tensorkeep.commands.reply import (
    NULL_ARRAY,
    BigNumber,
    Error,
    Map,
    NullArray,
    Push,
    Set,
    Simple,
    Verbatim,
)
from tensorkeep_server import codec
from tensorkeep_server.codec import LARGE, Limits, RequestParser, Unread
from tensorkeep_server.encoding import LARGE_BULK, encode
from tensorkeep_server.portions import Piece, take

if TYPE_CHECKING:
    from tensorkeep.commands.args import Request


class Connection:
    """Receives as an `asyncio.BufferedProtocol` with a shared buffer does."""

    def __init__(self, limits=None):
        self.parser = RequestParser(limits or Limits())
        self.shared = memoryview(bytearray(4 * LARGE))
        self.requests: list[Request] = []

    def receive(self, data, sizes=(4 * LARGE,)):
        """Receives at most so many bytes at a time, taking the sizes in turn, again and again."""
        data = memoryview(data)
        sizes = cycle(sizes)
        while data and self.parser.error is None:
            wanted = self.parser.wants()
            room = self.shared if wanted is None else wanted
            count = min(next(sizes), len(room), len(data))
            room[:count] = data[:count]
            data = data[count:]
            if wanted is None:
                self.requests += self.parser.feed(room[:count])
                room[:count] = bytes(count)  # Another connection receives: nothing may be lost.
            else:
                self.requests += self.parser.filled(count)
        return self

    @property
    def outcome(self):
        requests = [[bytes(argument) for argument in request] for request in self.requests]
        return requests, self.parser.error and self.parser.error.line


def wire(arguments):
    bulks = (b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments)
    return b"*%d\r\n%b" % (len(arguments), b"".join(bulks))


TOKENS = [
    *(b"\r\n", b"\r", b"\n", b"*", b"$", b">", b"1", b"4", b"\0", b"\xff", b" ", b"'", b'"', b"\\"),
    *(b"*1\r\n", b"*2\r\n", b"$1\r\n", b"$4\r\n", b"$0\r\n", b"PING", b"*0\r\n", b"-1", b"\\x41"),
]
arguments = st.one_of(
    st.binary(max_size=20),
    st.lists(st.sampled_from(TOKENS), max_size=8).map(b"".join),
    st.sampled_from([b"GET", b"key", b"0", b"1.5"]),
)
# Where the readers change: the head that is skipped to, the table of heads, the large bulk.
edges = st.sampled_from([999, 1000, 4095, 4096, LARGE - 2, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE])
long_arguments = st.builds(
    lambda size, unit: (unit * size)[:size], edges, st.sampled_from([b"x", b"\r\n", b"*1\r\n"])
)
inline_words = st.lists(
    st.text("abc$:+.1", min_size=1, max_size=8).map(str.encode), min_size=1, max_size=4
)
nothing = st.sampled_from([b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n", b"  \r\n"])


def steps(argument):
    """What a client may send, each with the request that it is, or None."""
    requests = st.lists(argument, min_size=1, max_size=12)
    return st.one_of(
        requests.map(lambda request: (wire(request), request)),
        inline_words.map(lambda words: (b" ".join(words) + b"\r\n", words)),
        nothing.map(lambda data: (data, None)),
    )


pipelines = st.lists(steps(arguments), max_size=30)
long_pipelines = st.lists(steps(st.one_of(long_arguments, arguments)), min_size=1, max_size=6)
splits = st.lists(st.integers(1, 200), min_size=1, max_size=8)
long_splits = st.lists(st.integers(500, 2 * LARGE), min_size=1, max_size=8)


def sent(pipeline):
    data = b"".join(data for data, _ in pipeline)
    return data, [request for _, request in pipeline if request is not None]


@given(pipelines, splits)
@example([(wire([b"SET", b"\r\n"]), [b"SET", b"\r\n"])], [1])
def test_any_split_of_any_pipeline_parses_alike(pipeline, split):
    data, requests = sent(pipeline)

    assert Connection().receive(data).outcome == (requests, None)
    assert Connection().receive(data, split).outcome == (requests, None)
    assert Connection().receive(data, [1]).outcome == (requests, None)


@settings(max_examples=150, suppress_health_check=[HealthCheck.data_too_large])
@given(long_pipelines, long_splits)
def test_any_split_of_a_pipeline_with_large_bulks_parses_alike(pipeline, split):
    data, requests = sent(pipeline)

    assert Connection().receive(data).outcome == (requests, None)
    assert Connection().receive(data, split).outcome == (requests, None)
    assert [
        [bytes(argument) for argument in request] for request in RequestParser(Limits()).feed(data)
    ] == requests


@settings(max_examples=150, suppress_health_check=[HealthCheck.data_too_large])
@given(long_pipelines, long_splits)
def test_the_type_of_an_argument_depends_on_its_size_alone(pipeline, split):
    data, _ = sent(pipeline)

    for name, *rest in Connection().receive(data, split).requests:
        assert type(name) is bytes
        assert [type(argument) for argument in rest] == [
            memoryview if len(argument) >= LARGE else bytes for argument in rest
        ]


@settings(max_examples=100, suppress_health_check=[HealthCheck.data_too_large])
@given(long_pipelines, long_splits, st.lists(st.booleans(), min_size=1, max_size=8))
def test_requests_without_memory_leave_those_behind_them_in_step(pipeline, split, luck):
    data, requests = sent(pipeline)
    lucky = cycle(luck)
    refused = []

    def allocate(size):
        if next(lucky):
            return memoryview(bytearray(size))
        refused.append(size)
        raise MemoryError

    with patch.object(codec, "_allocate", allocate):
        read = Connection().receive(data, split)

    assert read.parser.error is None
    assert len(read.requests) == len(requests)
    for found, request in zip(read.requests, requests, strict=True):
        if type(found) is Unread:
            assert any(len(argument) >= LARGE for argument in request)
        else:
            assert [bytes(argument) for argument in found] == request
    assert any(type(found) is Unread for found in read.requests) == bool(refused)


def mangled(pipeline, changes):
    """A right pipeline with some bytes replaced, so that what is wrong is deep inside."""
    data = bytearray(sent(pipeline)[0])
    for place, token in changes:
        at = place % (len(data) + 1)
        data[at : at + 1] = token
    return bytes(data)


wrong = st.sampled_from([*TOKENS, b"", b":1\r\n", b"+x\r\n", b"$-1\r\n", b"%1\r\n", b"$01\r\n"])
garbage = st.one_of(
    st.binary(max_size=200),
    st.lists(wrong, max_size=20).map(b"".join),
    st.builds(mangled, pipelines, st.lists(st.tuples(st.integers(0, 500), wrong), max_size=3)),
)


@settings(max_examples=400)
@given(garbage, splits)
def test_garbage_in_any_split_has_the_same_outcome_and_raises_nothing(data, split):
    bytewise = Connection().receive(data, [1]).outcome

    assert Connection().receive(data).outcome == bytewise
    assert Connection().receive(data, split).outcome == bytewise


@settings(max_examples=400)
@given(st.lists(st.one_of(wrong, st.lists(arguments, min_size=1).map(wire)), max_size=12))
@example([b"*1\r\n$14\r\n", wire([b"PING"]), b"\r\n"])
@example([b"ECHO ", wire([b"PING"])])
def test_pieces_that_begin_like_requests_have_the_outcome_of_their_bytes(pieces):
    connection = Connection()
    for piece in pieces:
        connection.receive(piece)

    assert connection.outcome == Connection().receive(b"".join(pieces), [1]).outcome


@given(pipelines, garbage, splits)
def test_requests_before_garbage_are_delivered(pipeline, data, split):
    before, requests = sent(pipeline)

    delivered, error = Connection().receive(before + b"*1\r\n:" + data, split).outcome

    assert delivered == requests
    assert error == "ERR Protocol error: expected '$', got ':'"


@given(pipelines, splits)
def test_low_limits_change_nothing_about_requests_within_them(pipeline, split):
    data, requests = sent(pipeline)
    low = Limits(max_bulk=1000, max_arguments=100, max_inline=1000, max_request=10_000)

    assert Connection(low).receive(data).outcome == (requests, None)
    assert Connection(low).receive(data, split).outcome == (requests, None)


def view(blob: bytes) -> memoryview:
    return memoryview(blob)


text = st.text(st.characters(codec="utf-8"), max_size=20)
line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
scalars = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(bytearray),
    st.binary(max_size=40).map(view),
    st.integers(LARGE_BULK - 1, LARGE_BULK + 1).map(bytes),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.integers().map(BigNumber),
    st.booleans(),
    st.none(),
    st.just(NULL_ARRAY),
    line.map(Simple),
    line.map(Error),
    text.map(Verbatim),
)
unique = st.lists(st.binary(max_size=8), max_size=4, unique=True)


def aggregates(inner):
    items = st.lists(inner, max_size=5)
    return st.one_of(
        items,
        items.map(tuple),
        st.lists(st.floats(allow_nan=False), max_size=5),
        st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
        items.map(tuple).map(Set),
        items.map(tuple).map(Push),
        st.tuples(unique, items).map(lambda both: Map(tuple(zip(*both, strict=False)))),
    )


replies = st.recursive(scalars, aggregates, max_leaves=20)


def as_read(reply, version):  # noqa: C901, PLR0911, one case for each type
    """What hiredis, a client's parser, must make of a reply."""
    match reply:
        case bool() if version == 2:
            return int(reply)
        case float() if version == 2:
            return b"%.17g" % reply
        case BigNumber(number):
            return b"%d" % number
        case bytearray() | memoryview():
            return bytes(reply)
        case NullArray():
            return None
        case Simple(text) | Verbatim(text):
            return text.encode()
        case Error(line):
            return ("error", line)
        case Map(pairs) if version == 3:
            return {as_read(key, 3): as_read(value, 3) for key, value in pairs}
        case Map(pairs):
            return [as_read(item, 2) for pair in pairs for item in pair]
        case Set(items) | Push(items):
            return [as_read(item, version) for item in items]
        case list() | tuple():
            return [as_read(item, version) for item in reply]
        case _:
            return reply


def comparable(value):
    """Errors as what they say, and each value beside its type: 1 is not 1.0, nor True."""
    match value:
        case hiredis.ReplyError():
            return "error", str(value)
        case list():
            return [comparable(item) for item in value]
        case dict():
            return {key: comparable(item) for key, item in value.items()}
        case tuple():
            return value
        case _:
            return type(value), value


@given(st.lists(replies, min_size=1, max_size=4), st.sampled_from([2, 3]))
def test_a_client_reads_back_the_replies_that_were_encoded(sent_replies, version):
    out: list[Piece] = []
    for reply in sent_replies:
        encode(reply, version, out)
    reader = hiredis.Reader()
    while out:
        for buffer in take(out):
            reader.feed(bytes(buffer))

    for reply in sent_replies:
        assert comparable(reader.gets()) == comparable(as_read(reply, version))
    assert reader.gets() is False
