"""Packets, descriptors with them, and memory that two processes share."""

import mmap
import os
import socket
from fcntl import F_ADD_SEALS, F_SEAL_WRITE, fcntl
from pathlib import Path

import numpy as np
import pytest

from tensorkeep.tensor import DType, Tensor
from tensorkeep_workers_process.arena import LARGEST, SMALL, Arena, ArenaReader, put, room
from tensorkeep_workers_process.channel import LONGEST, MOST_FILES, Channel, close_all
from tensorkeep_workers_process.messages import NoMessage
from tensorkeep_workers_process.shared_memory import Mapping, map_sealed, new_file, sealed_file
from tensorkeep_workers_process.tensor_cells import from_server, from_worker, in_files
from tensorkeep_workers_process.testing import open_files


@pytest.fixture(autouse=True)
def _none_is_left_open():
    before = open_files()
    yield
    assert open_files() <= before


@pytest.fixture
def ends():
    pair = [Channel(each) for each in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    yield pair
    for each in pair:
        each.close()


@pytest.mark.parametrize("size", [1, LONGEST, LONGEST + 1, 5_000_000])
def test_a_message_of_any_length_comes_whole(ends, size):
    message = b"\x93" + os.urandom(size)
    ends[0].send(message)

    received, files = ends[1].receive()

    assert bytes(received) == message
    assert files == []


def test_files_come_with_a_message_of_any_length(ends):
    for size in (1, LONGEST + 1):
        files = [sealed_file([(0, bytes([n]))]) for n in range(MOST_FILES)]
        ends[0].send(b"x" * size, files)
        close_all(files)

        message, received = ends[1].receive()

        assert bytes(message) == b"x" * size
        assert [os.pread(file, 1, 0)[0] for file in received] == [*range(MOST_FILES)]
        close_all(received)


def test_a_closed_end_is_noticed(ends):
    ends[0].close()

    with pytest.raises(EOFError):
        ends[1].receive()
    with pytest.raises(ConnectionError):
        ends[1].send(b"x")


def test_a_message_that_does_not_fit_a_full_connection_is_not_waited_for(ends):
    with pytest.raises(BlockingIOError):
        fill(ends[0])


def fill(channel):
    while True:
        channel.send(b"x" * 1000, flags=socket.MSG_DONTWAIT)


@pytest.mark.parametrize("packet", [b"\0" * 9, b"\0", b"\0" * 8 + b"\1", b"x" * 150_000], ids=len)
def test_what_no_channel_sends_is_refused(ends, packet):
    ends[0].socket.send(packet)

    with pytest.raises(NoMessage):
        ends[1].receive()


def test_more_files_than_may_come_are_refused(ends):
    files = [sealed_file([(0, b"x")])] * (MOST_FILES + 2)
    socket.send_fds(ends[0].socket, [b"x"], files)
    os.close(files[0])

    with pytest.raises(NoMessage, match="more than a packet may hold"):
        ends[1].receive()


# ---------------------------------------------------------------------- sealed files
def test_a_sealed_file_comes_as_it_was_written():
    file = sealed_file([(0, b"one"), (64, np.full(100_000, 7, np.uint8).data)])

    memory = map_sealed(file, 0)
    os.close(file)

    assert bytes(memory[:3]) == b"one"
    assert (memory[64:] == 7).all()
    with pytest.raises(ValueError, match="read-only"):
        memory[0] = 1


def unsealed():
    file = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(file, b"x" * 100)
    return file


def half_sealed():
    file = unsealed()
    fcntl(file, F_ADD_SEALS, F_SEAL_WRITE)
    return file


def sparse():
    file = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.ftruncate(file, 2**40)
    fcntl(file, F_ADD_SEALS, 15)
    return file


@pytest.mark.parametrize(
    "make",
    [
        unsealed,
        half_sealed,
        sparse,
        lambda: sealed_file([]),
        lambda: os.open("/dev/null", os.O_RDONLY),
        lambda: os.open(__file__, os.O_RDONLY),
        lambda: sealed_file([(0, bytes(2000))]),
    ],
    ids=["unsealed", "half sealed", "sparse", "empty", "device", "on disk", "too large"],
)
def test_a_file_that_could_change_or_take_memory_is_refused(make):
    file = make()

    with pytest.raises(NoMessage):
        map_sealed(file, 1000)

    os.close(file)


def test_a_file_for_a_worker_can_neither_grow_nor_shrink():
    file = new_file(100)
    for size in (0, 1000):
        with pytest.raises(PermissionError):
            os.ftruncate(file, size)
    os.close(file)


def test_a_mapping_is_gone_with_the_last_that_uses_it():
    file = sealed_file([(0, bytes(1_000_000))])
    inode = os.fstat(file).st_ino
    tensor = Tensor.from_blob(DType.UINT8, (10,), map_sealed(file, 0).data[:10])
    os.close(file)
    assert f" {inode} " in Path("/proc/self/maps").read_text()

    del tensor

    assert f" {inode} " not in Path("/proc/self/maps").read_text()


# ---------------------------------------------------------------------- tensors
def tensors():
    rng = np.random.default_rng(0)
    return [
        Tensor.from_numpy(rng.random(3)),
        Tensor.from_values(DType.STRING, (2,), ["a", "b" * 100_000]),
        Tensor.from_numpy(rng.random((300, 100))),
        Tensor.from_numpy(rng.integers(0, 2, 70_001).astype(bool)),
        Tensor.zeros(DType.BFLOAT16, (50_001,)),
        Tensor.zeros(DType.FLOAT, (0, 7)),
        Tensor.from_values(DType.INT8, (), [3]),
    ]


def test_tensors_go_in_files_and_come_back():
    given = tensors()
    cells, files = in_files([*given, None])

    assert len(files) == 4
    assert from_worker(cells, files, 0) == [*given, None]
    assert from_server(cells[:-1], files) == given
    close_all(files)


def test_more_large_tensors_than_files_may_come_share_the_last_one():
    given = [Tensor.from_numpy(np.full(70_000, n, np.uint8)) for n in range(MOST_FILES + 20)]
    cells, files = in_files(given)

    assert len(files) == MOST_FILES
    assert from_worker(cells, files, 0) == given
    close_all(files)


def test_tensors_go_through_the_arena_and_come_back():
    given = [*tensors(), None]
    arena = Arena()
    file = arena.make_room(room([each.nbytes for each in given if each]))
    os.close(file)

    assert from_worker(put(arena.memory, given), [], 0, arena.memory.data) == given


def test_an_arena_is_made_anew_only_for_more():
    arena = Arena()
    file = arena.make_room(100_000)
    os.close(file)

    assert arena.make_room(200_000) == -1
    assert len(arena.memory) == 1024 * 1024
    file = arena.make_room(1024 * 1024 + 1)
    os.close(file)
    assert len(arena.memory) == 2 * 1024 * 1024


def test_what_is_small_takes_no_room():
    assert room([SMALL, SMALL + 1, 5]) == SMALL + 64
    assert LARGEST > SMALL


def test_whether_something_still_uses_the_arena_is_known():
    file = new_file(100_000)
    reader = ArenaReader()
    reader.map(file, 100_000)
    os.close(file)

    kept = reader.lend()[10:20]
    assert not reader.returned()
    kept[0] = 1  # it stays mapped
    assert reader.lend() is not None  # runs that were sent before the server knows

    del kept
    file = new_file(100_000)
    reader.map(file, 100_000)
    os.close(file)
    reader.lend()
    assert reader.returned()
    assert reader.lend() is not None


def test_an_input_in_a_file_may_be_changed_without_anybody_else_noticing():
    cells, files = in_files([Tensor.from_numpy(np.zeros(100_000, np.uint8))])
    (mine,) = from_server(cells, files)

    np.frombuffer(mine.blob, np.uint8).setflags(write=False)
    mine.blob[0] = 9

    assert from_server(cells, files)[0].blob[0] == 0
    close_all(files)


def test_mapping_what_cannot_be_mapped_is_an_error():
    file = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(OSError, match="No such device"):
        Mapping(file, 100, mmap.MAP_SHARED, writable=False)
    os.close(file)
