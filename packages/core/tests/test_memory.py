"""Joining large blocks of bytes: the same bytes, and other threads run meanwhile."""

import sys
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.memory import LARGE, join

pieces = st.lists(
    st.binary(max_size=20) | st.integers(0, LARGE).map(lambda size: b"\x5a" * size), max_size=6
)
kinds = st.sampled_from(
    [bytes, bytearray, memoryview, lambda piece: np.array(bytearray(piece)).data]
)


@given(pieces, st.lists(kinds, min_size=6, max_size=6))
def test_what_is_joined_is_what_the_pieces_hold_in_their_order(pieces, kinds):
    joined = join([kind(piece) for kind, piece in zip(kinds, pieces, strict=False)])

    assert type(joined) is bytes
    assert joined == b"".join(pieces)
    assert hash(joined) == hash(b"".join(pieces))


@pytest.mark.parametrize("size", [0, 3, 2 * LARGE])
def test_a_single_piece_of_bytes_is_not_copied(size):
    piece = bytes(size)

    assert join([piece]) is piece


def test_what_was_joined_belongs_to_nobody_else():
    piece = bytearray(b"a" * 2 * LARGE)

    joined = join([piece])
    piece[:] = b"b" * 2 * LARGE

    assert joined == b"a" * 2 * LARGE
    assert sys.getrefcount(joined) == 2


def test_other_threads_run_while_much_is_joined():
    piece = np.zeros(64 * LARGE, np.uint8).data
    turns = []
    joined = []
    busy = Thread(target=lambda: joined.append(join([piece])))
    before = sys.getswitchinterval()
    # The interpreter is not given up by itself: only who lets go of it lets others run.
    sys.setswitchinterval(1000)
    try:
        busy.start()
        while not joined:
            turns.append(None)
            busy.join(0.0001)
    finally:
        sys.setswitchinterval(before)

    assert len(turns) > 2
