"""Joining large blocks of bytes: the same bytes, and other threads run meanwhile."""

import mmap
import sys
from threading import Thread
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep import memory
from tensorkeep.memory import LARGE, in_large_pages, join, without

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


def test_each_of_many_pieces_is_freed_before_the_next_is_copied(monkeypatch):
    arrays = [np.full(LARGE, number, np.uint8) for number in range(4)]
    alive = [ref(array) for array in arrays]
    pieces = [array.data for array in arrays]
    del arrays
    left = []
    copy = memory.ctypes.memmove

    def counted(*block):
        left.append(sum(array() is not None for array in alive))
        return copy(*block)

    monkeypatch.setattr(memory.ctypes, "memmove", counted)

    joined = join(pieces)

    assert joined == b"".join(bytes([number]) * LARGE for number in range(4))
    assert pieces == []
    assert left == [4, 3, 2, 1]


def test_what_was_joined_belongs_to_nobody_else():
    piece = bytearray(b"a" * 2 * LARGE)

    joined = join([piece])
    piece[:] = b"b" * 2 * LARGE

    assert joined == b"a" * 2 * LARGE
    assert sys.getrefcount(joined) == 2


def test_other_threads_run_while_much_is_joined():
    piece = np.zeros(64 * LARGE, np.uint8).data

    def turns():
        joined, count = [], 0
        busy = Thread(target=lambda: joined.append(join([piece])))
        busy.start()
        while not joined:
            count += 1
            busy.join(0.0001)
        return count

    before = sys.getswitchinterval()
    # The interpreter is not given up by itself: only who lets go of it lets others run.
    sys.setswitchinterval(1000)
    try:
        # A busy machine may let this thread sleep all the while, but not each time.
        assert any(turns() > 2 for _ in range(50))
    finally:
        sys.setswitchinterval(before)


@pytest.fixture
def advised(monkeypatch):
    """The blocks of memory for which large pages are asked, instead of asking."""
    asked = []
    monkeypatch.setattr(memory, "_madvise", lambda *block: asked.append(block))
    return asked


def allocate(size):
    """Returns memory as a framework gets it, and its address."""
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return made, np.frombuffer(made, np.uint8).ctypes.data


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do it their own way")


@on_linux
def test_large_blocks_that_are_allocated_meanwhile_are_put_into_large_pages(advised):
    with in_large_pages(100 * LARGE):
        kept, address = allocate(100 * LARGE)

    mine = [(at, size) for at, size, _ in advised if address <= at < address + 100 * LARGE]
    assert sum(size for _, size in mine) >= 80 * LARGE
    assert all(address <= at and at + size <= address + 100 * LARGE for at, size in mine)
    del kept


@on_linux
def test_what_was_there_before_and_small_blocks_stay_as_they_are(advised):
    before, old = allocate(100 * LARGE)
    with in_large_pages(100 * LARGE):
        small, new = allocate(LARGE)

    assert not [at for at, _, _ in advised if old <= at < old + 100 * LARGE]
    assert not [at for at, _, _ in advised if new <= at < new + LARGE]
    del before, small


blocks = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=5).map(
    lambda found: [(start, start + size) for start, size in found]
)


@given(blocks, blocks)
def test_what_is_left_of_blocks_is_what_belongs_to_no_other(found, others):
    taken = {at for start, end in others for at in range(start, end)}
    for block in found:
        left = [at for start, end in without([block], others) for at in range(start, end)]
        assert left == [at for at in range(*block) if at not in taken]


def test_for_a_small_model_nothing_is_looked_at(advised, monkeypatch):
    monkeypatch.setattr(memory, "_mappings", lambda: pytest.fail("it was looked at"))

    with in_large_pages(LARGE):
        pass


def test_what_lies_in_large_pages_is_what_it_was():
    with in_large_pages(100 * LARGE):
        kept, _ = allocate(64 * LARGE)
        content = np.frombuffer(kept, np.uint8)
        memoryview(kept)[:] = bytes(range(256)) * (64 * LARGE // 256)

    assert np.array_equal(content, np.resize(np.arange(256, dtype=np.uint8), 64 * LARGE))


def test_what_fails_meanwhile_fails_as_it_would():
    with pytest.raises(ZeroDivisionError), in_large_pages(100 * LARGE):
        raise ZeroDivisionError
