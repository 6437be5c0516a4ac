"""A connection to another process that carries packets, and descriptors with them.

A packet is sent and received whole or not at all. What is too long for one goes in a sealed file;
nobody above sees that. The socket is a plain one: it may be used without blocking as well.
"""

from __future__ import annotations

import os
import socket
from array import array
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Final

from tensorkeep_workers_process.messages import NoMessage
from tensorkeep_workers_process.shared_memory import map_sealed, sealed_file

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST: Final = 96 * 1024
"""Bytes of the longest packet; the system's usual limit is about 200 KB."""

MOST_FILES: Final = 64
"""Descriptors that may come with a packet, but for the one of a long message."""

_BUFFER: Final = 128 * 1024
_ANCILLARY: Final = socket.CMSG_LEN((MOST_FILES + 1) * array("i").itemsize)
_LONG: Final = Struct("<BQ")  # no message begins with a zero
# Plain numbers: the enumerations of the standard library take microseconds to combine.
_CUT: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_CLOSE_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)

WITHOUT_WAITING: Final = int(socket.MSG_DONTWAIT)
"""A flag: what would have to be waited for raises `BlockingIOError`."""


class Channel:
    """One end of a connection. Packets may be sent by several threads, and received by one.

    Args:
        connected: A connected socket of packets.
        limit: Bytes that a long message may have; 0 for any number.
    """

    def __init__(self, connected: socket.socket, limit: int = 0) -> None:
        self.socket = connected
        self._limit = limit
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)

    def send(self, message: bytes, files: Sequence[int] = (), flags: int = 0) -> None:
        """Sends a message.

        Args:
            message: The message.
            files: Descriptors that go with it; they stay open here.
            flags: Flags for the system, such as `WITHOUT_WAITING`.

        Raises:
            OSError: The other end is closed, or the system refuses.
        """
        if len(message) <= LONGEST:
            if files:
                socket.send_fds(self.socket, [message], [*files], flags)
            else:
                self.socket.send(message, flags)
            return
        file = sealed_file([(0, message)])
        try:
            packet = _LONG.pack(0, len(message))
            socket.send_fds(self.socket, [packet], [*files, file], flags)
        finally:
            os.close(file)

    def receive(self, flags: int = 0) -> tuple[memoryview, list[int]]:
        """Waits for a message.

        Args:
            flags: Flags for the system, such as `WITHOUT_WAITING`.

        Returns:
            The message, which stays as it is until the next is received, and the descriptors that
            came with it: the caller closes them.

        Raises:
            BlockingIOError: There is none, and it was not to be waited for.
            EOFError: The other end is closed.
            NoMessage: What came can be none.
            OSError: The system refuses.
        """
        length, ancillary, found, _ = self.socket.recvmsg_into(
            (self._buffer,), _ANCILLARY, flags | _CLOSE_ON_EXEC
        )
        if not (ancillary or found & _CUT or length == 0 or self._buffer[0] == 0):
            return self._view[:length], []
        files = _descriptors(ancillary)
        try:
            return self._whole(length, found, files), files
        except BaseException:
            close_all(files)
            raise

    def _whole(self, length: int, flags: int, files: list[int]) -> memoryview:
        if flags & _CUT:
            raise NoMessage("more than a packet may hold")
        if not length:
            raise EOFError
        if self._buffer[0]:
            return self._view[:length]
        if length != _LONG.size or not files:
            raise NoMessage("a long message without its file")
        (_, size) = _LONG.unpack(self._view[:length])
        file = files.pop()
        try:
            message = map_sealed(file, self._limit)
        finally:
            os.close(file)
        if len(message) != size:
            raise NoMessage(f"a long message of {len(message)} bytes, not {size}")
        return message.data

    def speaks(self) -> bool:
        """Returns whether a packet has come; takes nothing.

        Raises:
            EOFError: The other end is closed.
        """
        try:
            if self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return True
        except BlockingIOError:
            return False
        except OSError as error:
            raise EOFError from error
        raise EOFError

    def end(self) -> None:
        """Ends the connection for both ends; who waits for a message gets `EOFError`."""
        with suppress(OSError):  # it has ended
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes this end."""
        self.socket.close()


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return [*found]


def close_all(files: Sequence[int]) -> None:
    """Closes descriptors."""
    for file in files:
        os.close(file)
