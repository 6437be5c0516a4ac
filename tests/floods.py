"""Attacks on a server by what clients hold: connections, requests that never end, unread replies.

Each is a context manager that is given the server's port and yields a `Flood`; what it holds is let
go of when the block ends.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

from tensorkeep_server.testing import Wire, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

MIB = 1024 * 1024
LARGE = "floods:large"  # the key of a tensor, and of a string with `:plain` behind it
_FILES = 200  # of this program and of the server, beside connections
_PATIENCE = 30.0  # seconds


class NotPossibleError(Exception):
    """The system does not allow as much as an attack needs."""


@dataclass
class Flood:
    """What an attack has done so far.

    Attributes:
        connections: Connections that it holds; of one that opens and closes them, all it opened.
        refused: Those that the server has not taken.
    """

    connections: int = 0
    refused: int = 0


def store_large(port: int, size: int) -> None:
    """Stores a tensor of so many bytes and a string of as many, for those who do not read them."""
    with Wire(port) as wire:
        data = bytes(size)
        assert wire.ask("AI.TENSORSET", LARGE, "UINT8", size, "BLOB", data) == b"+OK\r\n"
        assert wire.ask("SET", f"{LARGE}:plain", data) == b"+OK\r\n"


def _connect(port: int, room: int = 0) -> socket.socket:
    peer = socket.socket()
    if room:  # what the system keeps of what is not read
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    peer.settimeout(_PATIENCE)
    peer.connect(("127.0.0.1", port))
    return peer


def _reset(peer: socket.socket) -> None:
    """Closes a connection so that the system keeps nothing of it."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@contextmanager
def unread(port: int, clients: int, command: tuple[str, ...]) -> Iterator[Flood]:
    """Asks for a large value again and again from some clients, none of which reads anything."""
    with ExitStack() as held:
        for _ in range(clients):
            peer = _connect(port, 64 * 1024)
            held.callback(peer.close)
            peer.sendall(request(*command) * 100)
        yield Flood(clients)


@contextmanager
def idle(port: int, clients: int) -> Iterator[Flood]:
    """Opens connections and sends nothing.

    Raises:
        NotPossibleError: The hard limit on open files does not allow so many.
    """
    raise_file_limit(clients)
    with ExitStack() as held:
        for _ in range(clients):
            held.callback(_connect(port).close)
        yield Flood(clients)


@contextmanager
def slow(port: int, clients: int, every: float = 1.0) -> Iterator[Flood]:
    """Announces large requests, and sends one byte of each a second."""
    stop = Event()
    with ExitStack() as held:
        peers = [_connect(port) for _ in range(clients)]
        for peer in peers:
            held.callback(peer.close)
            peer.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (100 * MIB))

        def drip() -> None:
            while not stop.wait(every):
                for peer in peers:
                    peer.sendall(b"x")

        thread = Thread(target=drip)
        thread.start()
        held.callback(thread.join)
        held.callback(stop.set)
        yield Flood(clients)


@contextmanager
def _again_and_again(port: int, a_second: int, sent: bytes) -> Iterator[Flood]:
    """Opens so many connections a second, sends something on each and closes it at once."""
    flood, stop = Flood(), Event()

    def storm() -> None:
        began = time.monotonic()
        while not stop.is_set():
            due = int((time.monotonic() - began) * a_second) - flood.connections
            for _ in range(max(due, 0)):
                flood.connections += 1
                try:
                    peer = _connect(port)
                except OSError:
                    flood.refused += 1
                    continue
                with suppress(OSError):
                    peer.sendall(sent)
                _reset(peer)
            time.sleep(0.001)

    thread = Thread(target=storm)
    thread.start()
    try:
        yield flood
    finally:
        stop.set()
        thread.join()


def connections(port: int, a_second: int) -> AbstractContextManager[Flood]:
    """Opens connections and closes them, so many a second."""
    return _again_and_again(port, a_second, b"")


def halves(port: int, a_second: int) -> AbstractContextManager[Flood]:
    """Opens connections, sends half a request on each and closes it, so many a second."""
    return _again_and_again(port, a_second, request("SET", "k", bytes(20_000))[:10_000])


@contextmanager
def abandoned(port: int, clients: int, announced: int, sent: int) -> Iterator[Flood]:
    """Announces an argument, sends most of it, and closes the connections when the block ends."""
    piece = bytes(MIB)
    with ExitStack() as held:
        for _ in range(clients):
            peer = _connect(port)
            held.callback(_reset, peer)
            peer.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % announced)
            for _ in range(sent // MIB):
                peer.sendall(piece)
        yield Flood(clients)


def raise_file_limit(clients: int) -> None:
    """Lets this program, and those that it starts, open files for so many connections.

    Raises:
        NotPossibleError: The hard limit is lower.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + _FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise NotPossibleError(f"{needed} open files are needed, the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
