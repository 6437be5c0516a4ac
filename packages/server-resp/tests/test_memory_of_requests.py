"""The memory of what clients send: taken as bytes arrive, given back when they go, or refused."""

import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

from tensorkeep import builder
from tensorkeep_server import codec
from tensorkeep_server.testing import Wire, request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, limits memory")

MIB = 1024 * 1024


@pytest.fixture
def served():
    """Starts `tensorkeep serve`, with a limit on its memory if need be."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows
    with ExitStack() as stack:

        def serve(limit=None):
            def restrict():
                if limit is not None:
                    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    preexec_fn=restrict,  # noqa: PLW1509 - no other thread holds a lock here
                )
            )
            stack.callback(process.kill)
            ready = process.stdout.readline()
            port = int(ready.partition(" is ready on ")[2].split()[0].rpartition(":")[2])
            return process.pid, port

        yield serve


def resident(pid):
    """Returns the bytes of memory that a process really has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def virtual(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * 4096


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def head(size):
    return b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % size


def test_half_a_request_takes_the_memory_of_its_bytes_and_gives_it_back(served):
    pid, port = served()
    before = resident(pid)
    wires = [Wire(port) for _ in range(6)]
    for wire in wires:
        wire.socket.sendall(head(480 * MIB) + bytes(20 * MIB))
    eventually(lambda: resident(pid) - before > 100 * MIB)
    assert resident(pid) - before < 200 * MIB  # of 2880 that were announced
    for wire in wires:
        wire.close()
    eventually(lambda: resident(pid) - before < 20 * MIB)
    with Wire(port) as other:
        assert other.ask("PING") == b"+PONG\r\n"


@pytest.mark.parametrize("how", ["closed", "reset", "shut down"])
def test_a_query_of_500_mb_that_is_abandoned_is_freed_at_once(served, how):
    pid, port = served()
    before = resident(pid)
    with Wire(port) as wire:
        wire.socket.sendall(head(500 * MIB))
        piece = bytes(8 * MIB)
        for _ in range(60):
            wire.socket.sendall(piece)
        eventually(lambda: resident(pid) - before > 470 * MIB)
        if how == "shut down":
            wire.socket.shutdown(socket.SHUT_WR)
        elif how == "reset":
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        began = time.monotonic()
        if how != "shut down":
            wire.close()
        eventually(lambda: resident(pid) - before < 20 * MIB)
    assert time.monotonic() - began < 5


def test_many_small_arguments_of_half_a_request_are_given_back_too(served):
    """To the process, if not to the system: what is used again is not taken again."""
    pid, port = served()
    data = b"*1000000\r\n$3\r\nDEL\r\n" + b"$1000\r\n%b\r\n" % bytes(1000) * 10_000
    peaks = []
    for _ in range(6):
        before = resident(pid)
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(port)) for _ in range(4)]
            for wire in wires:
                wire.socket.sendall(data)
            time.sleep(0.1)
        with Wire(port) as other:
            assert other.ask("PING") == b"+PONG\r\n"
        peaks.append(max(before, resident(pid)))
    assert peaks[-1] - peaks[1] < 40 * MIB  # each round sends that much


def test_an_argument_that_there_is_no_memory_for_is_answered_oom_and_the_connection_goes_on(served):
    pid, port = served()
    limit = virtual(pid) + 250 * MIB
    _, port = served(limit)
    with Wire(port) as wire, Wire(port) as other:
        assert wire.ask("SET", "k", bytes(MIB)) == b"+OK\r\n"
        for _ in range(2):
            wire.socket.sendall(head(400 * MIB))
            for _ in range(400):
                wire.socket.sendall(bytes(MIB))
            wire.socket.sendall(b"\r\n" + request("STRLEN", "k"))
            assert wire.reply() == b"-OOM not enough memory for this command\r\n"
            assert wire.reply() == b":%d\r\n" % MIB
        assert other.ask("PING") == b"+PONG\r\n"


def test_a_transaction_with_a_request_that_was_not_read_is_discarded(wire, monkeypatch):
    def allocate(_):
        raise MemoryError

    monkeypatch.setattr(codec, "_allocate", allocate)
    assert wire.ask("MULTI") == b"+OK\r\n"
    assert wire.ask("SET", "a", 1) == b"+QUEUED\r\n"
    assert wire.ask("SET", "b", bytes(MIB)).startswith(b"-OOM ")
    assert wire.ask("EXEC").startswith(b"-EXECABORT ")
    assert wire.ask("EXISTS", "a", "b") == b":0\r\n"


def test_the_pieces_of_a_model_are_gone_before_it_is_built(wire, monkeypatch):
    alive = []
    left = []
    join = builder.join

    def allocated(size):
        array = np.empty(size, np.uint8)
        alive.append(ref(array))
        return array.data

    def joined(pieces):
        blob = join(pieces)
        end = time.monotonic() + 5  # who has asked for it is still on its way back to the loop
        while any(array() is not None for array in alive) and time.monotonic() < end:
            time.sleep(0.001)
        left.append(sum(array() is not None for array in alive))
        return blob

    monkeypatch.setattr(codec, "_allocate", allocated)
    monkeypatch.setattr(builder, "join", joined)
    blob = b'{"op": "multiply", "by": 2}' + b" " * 8 * MIB
    pieces = [blob[at : at + MIB] for at in range(0, len(blob), MIB)]

    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", *pieces) == b"+OK\r\n"

    assert len(alive) == 8
    assert left == [0]
    assert wire.read("AI.MODELGET", "m", "BLOB") == blob


@pytest.mark.memory_store("the log of slow commands is the engine's")
def test_of_the_pieces_of_a_model_the_slow_log_keeps_the_beginning(wire):
    pieces = [b'{"op": "multiply", "by": 2}' + bytes(MIB).replace(b"\0", b" ")] * 2
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", 0)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", *pieces).startswith(b"-")
    [entry] = [e for e in wire.read("SLOWLOG", "GET") if e[3][0] == b"AI.MODELSTORE"]
    assert entry[3][4:6] == [
        b"BLOB",
        pieces[0][:128] + b"... (%d more bytes)" % (len(pieces[0]) - 128),
    ]
    assert len(entry[3]) == 5 + len(pieces)
