"""What an engine has sent is read so that it is sent on byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.commands.reply import (
    NULL_ARRAY,
    BigNumber,
    Error,
    Map,
    Push,
    Set,
    Simple,
    Verbatim,
)
from tensorkeep_server.decoding import decode
from tensorkeep_server.encoding import encode
from tensorkeep_server.portions import take

LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=10)
REPLIES = st.recursive(
    st.one_of(
        LINES.map(Simple),
        LINES.map(Error),
        st.text(max_size=10).map(Verbatim),
        st.integers(min_value=2**63).map(BigNumber),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.sampled_from([None, True, False, NULL_ARRAY]),
        st.binary(max_size=10),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple).map(Set),
        st.lists(inner, min_size=1, max_size=4).map(tuple).map(Push),
        st.lists(st.tuples(inner, inner), max_size=3).map(tuple).map(Map),
    ),
    max_leaves=12,
)


def encoded(reply, version):
    pieces, made = [], []
    encode(reply, version, pieces)
    while pieces:
        made += map(bytes, take(pieces))
    return b"".join(made)


@given(REPLIES, st.sampled_from([2, 3]))
def test_a_reply_that_was_read_is_encoded_to_the_same_bytes(reply, version):
    sent = encoded(reply, version)
    assert encoded(decode(sent), version) == sent


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (b"$-1\r\n", None),
        (b"*-1\r\n", NULL_ARRAY),
        (b"*2\r\n+GET\r\n$3\r\nGET\r\n", [Simple("GET"), b"GET"]),
        (b"~1\r\n+fast\r\n", Set((Simple("fast"),))),
        (b"!9\r\nERR wrong\r\n", Error("ERR wrong")),
        (b"=6\r\ntxt:\xff\n\r\n", Verbatim("\udcff\n")),
    ],
)
def test_what_clients_tell_apart_is_kept_apart(sent, reply):
    assert decode(sent) == reply


@pytest.mark.parametrize(
    "sent",
    [b"", b"$5\r\nab\r\n", b"$1\r\na\r\n+", b"+OK", b"+OK\r\n+OK\r\n", b"*2\r\n:1\r\n", b"?1\r\n"],
)
def test_what_is_not_one_whole_reply_is_refused(sent):
    with pytest.raises(ValueError, match=r"."):
        decode(sent)
