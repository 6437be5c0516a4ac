"""Replies are found wherever the bytes were cut, and nothing of large ones is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_valkey.framing import BrokenReply, Framer, elements

BLOB = st.binary(max_size=20)
WORD = st.text("abc 1.", max_size=8).map(str.encode)


def line(first, words=WORD):
    return words.map(lambda text: first + text + b"\r\n")


def bulk(first):
    return BLOB.map(lambda data: first + b"%d\r\n" % len(data) + data + b"\r\n")


LEAVES = st.one_of(
    *(line(first) for first in (b"+", b"-")),
    *(line(first, st.integers().map(b"%d".__mod__)) for first in (b":", b"(")),
    line(b",", st.sampled_from([b"1.5", b"inf", b"-inf", b"nan"])),
    st.sampled_from([b"_\r\n", b"#t\r\n", b"#f\r\n", b"$-1\r\n", b"*-1\r\n"]),
    *(bulk(first) for first in (b"$", b"!")),
    BLOB.map(lambda data: b"=%d\r\ntxt:" % (len(data) + 4) + data + b"\r\n"),
)


def nested(items):
    def several(first, per):
        return st.lists(items, max_size=3 * per).map(
            lambda found: first + b"%d\r\n" % (len(found) // per)
            + b"".join(found[: len(found) // per * per])
        )  # fmt: skip

    attribute = st.tuples(several(b"|", 2), items).map(b"".join)
    return st.one_of(several(b"*", 1), several(b"~", 1), several(b"%", 2), attribute)


REPLY = st.recursive(LEAVES, nested, max_leaves=8)
PUSH = st.lists(REPLY, min_size=1, max_size=3).map(lambda x: b">%d\r\n" % len(x) + b"".join(x))


def ends_of(chunks):
    framer = Framer()
    found, offset = [], 0
    for chunk in chunks:
        found += [(offset + end, kind) for end, kind in framer.feed(chunk)]
        offset += len(chunk)
    return found, framer


@given(st.lists(REPLY | PUSH, min_size=1, max_size=5), st.data())
def test_ends_are_found_wherever_the_bytes_are_cut(replies, data):
    stream = b"".join(replies)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]

    found, framer = ends_of(chunks)

    expected = [(sum(map(len, replies[: n + 1])), each[0]) for n, each in enumerate(replies)]
    assert found == expected
    assert framer.kind == 0


@given(REPLY | PUSH)
def test_ends_are_found_when_every_byte_comes_alone_and_at_every_single_cut(reply):
    stream = reply + b"+next\r\n"
    expected = [(len(reply), reply[0]), (len(stream), ord("+"))]

    assert ends_of([stream[n : n + 1] for n in range(len(stream))])[0] == expected
    for cut in range(1, len(stream)):
        assert ends_of([stream[:cut], stream[cut:]])[0] == expected


@pytest.mark.parametrize("size", [0, 1, 16, 1000])
def test_one_small_value_is_one_reply(size):
    reply = b"$%d\r\n" % size + b"\n" * size + b"\r\n"

    assert Framer().feed(reply) == [(len(reply), ord("$"))]


def test_the_kind_of_a_reply_is_known_from_its_first_byte_on():
    framer = Framer()

    assert framer.feed(b">") == []
    assert framer.kind == ord(">")


def test_a_value_of_many_megabytes_is_not_kept():
    framer = Framer()
    framer.feed(b"*2\r\n$400000000\r\n")
    for _ in range(400):
        assert framer.feed(bytes(1_000_000)) == []

    assert framer.feed(b"\r\n:1\r\n") == [(6, ord("*"))]


@pytest.mark.parametrize(
    "stream",
    [b"nonsense\r\n", b"$x\r\n", b"*?\r\n", b"$?\r\n", b"$" + b"1" * 40, b"\r\n", b"$\r\n"],
)
def test_what_is_no_reply_is_refused(stream):
    with pytest.raises(BrokenReply):
        Framer().feed(stream)


@given(st.lists(LEAVES, max_size=5))
def test_an_array_is_split_into_its_elements(items):
    reply = b"*%d\r\n" % len(items) + b"".join(items)

    start, found = elements(reply)

    assert (reply[:start], found) == (b"*%d\r\n" % len(items), items)
