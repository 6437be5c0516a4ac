"""What may follow a tensor in AI.TENSORSET: nothing that RedisAI takes for a part of the tensor."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorkeep.commands.args import Args, keyword
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.set_options import is_option
from tensorkeep.errors import TensorkeepError
from tensorkeep_server.errors import error_reply
from tensorkeep_server.wire_tensor import read_tensor, read_tensor_in_steps

MOST = 2**20
SIZE = re.compile(rb"[1-9][0-9]*")
WORDS = (
    *(b"1", b"2", b"2", b"0", b"BLOB", b"VALUES", b"values", b"ab", b"abcd", b"x\0", b"META"),
    *(b"EX", b"ex", b"PX", b"NX", b"KEEPTTL", b"PXAT", b"10", b"EX\0", b"TIMEOUT", b"|>"),
)
requests = st.builds(
    lambda kind, rest: [kind, *rest],
    st.sampled_from((b"INT8", b"STRING", b"int16", b"bogus")),
    st.lists(st.sampled_from(WORDS), max_size=7),
)


def outcome(read, words):
    """Returns the tensor that is read and where it ends, or the line of the error."""
    args = Args(words, 0)
    try:
        return read(args), args.at
    except (CommandError, TensorkeepError) as error:
        return error_reply(error).line


def in_steps(args):
    steps = read_tensor_in_steps(args, MOST)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def of_redisai(words):
    """Returns how many words RedisAI takes for a tensor that ends the request; None if it refuses.

    What stands in the data is judged later.
    """
    at, count = 1, 1
    while at < len(words) and SIZE.fullmatch(words[at]):
        count *= int(words[at])
        at += 1
    if at == len(words):
        return at
    data = {b"BLOB": 1, b"VALUES": count}.get(keyword(words[at]))
    return len(words) if data is not None and len(words) == at + 1 + data else None


@given(requests)
@example([b"STRING", b"2", b"VALUES", b"EX", b"10"])
@example([b"STRING", b"1", b"BLOB", b"EX"])
@example([b"STRING", b"VALUES", b"NX"])
def test_a_request_that_redisai_takes_is_all_tensor(words):
    found = outcome(lambda args: read_tensor(args, MOST), words)
    if of_redisai(words) is not None and not isinstance(found, str):
        assert found[1] == len(words)


@given(requests)
@example([b"STRING", b"1", b"VALUES", b"EX", b"EX", b"10"])
@example([b"INT8", b"EX", b"10"])
def test_what_is_taken_beyond_that_is_a_tensor_and_an_option(words):
    found = outcome(lambda args: read_tensor(args, MOST), words)
    if isinstance(found, str):
        return
    tensor, end = found
    assert of_redisai(words[:end]) == end
    assert outcome(lambda args: read_tensor(args, MOST), words[:end]) == (tensor, end)
    assert end == len(words) or is_option(words[end])


@given(requests, st.sampled_from([word for word in WORDS if not is_option(word)]))
def test_behind_data_a_word_that_is_no_option_is_refused_as_ever(words, more):
    if of_redisai(words) is not None and {b"BLOB", b"VALUES"} & {*map(keyword, words)}:
        assert isinstance(outcome(lambda args: read_tensor(args, MOST), [*words, more]), str)


@given(requests)
def test_read_in_steps_it_is_the_same(words):
    at_once = outcome(lambda args: read_tensor(args, MOST), words)
    assert outcome(in_steps, words) == at_once


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("FLOAT 2 EXPIRE 10", "ERR invalid or negative value found in tensor shape"),
        ("FLOAT 2 BLOB abcd bogus", "ERR a single binary string should come after the BLOB"),
        ("FLOAT 2 BLOB", "ERR a single binary string should come after the BLOB"),
        ("FLOAT 2 VALUES 1 EX 10", "ERR wrong number of values was given"),
        ("FLOAT 2 VALUES 1 2 3", "ERR wrong number of values was given"),
        ("FLOAT 2 VALUES 1 NX", "ERR invalid value"),
        ("FLOAT 2 BLOB abcd EX 10", "ERR data length does not match tensor shape and type"),
        ("bogus EX 10", "ERR invalid data type"),
    ],
)
def test_what_is_wrong_with_the_tensor_is_told_as_without_options(words, line):
    found = outcome(lambda args: read_tensor(args, MOST), [w.encode() for w in words.split()])
    assert found.startswith(line)
