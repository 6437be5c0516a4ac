"""Clients that went away while they were not read from, which nothing else would notice.

Who is waiting for a reply and has sent much ahead is read no further, so that the end of what it
sends is not seen. Now and then the system is asked instead. And because that end may stand behind
bytes that the client could not send yet, such a client is then read a little further.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Paused(Protocol):
        """A connection that is not read from just now."""

        def look_after(self, *, ended: bool) -> None:
            """Ends the connection if nobody waits for it any more, or reads a little further."""

        def descriptor(self) -> int:
            """Returns the number of its socket."""


_ENDED: Final[int] = getattr(select, "POLLRDHUP", 0)  # known to Linux alone


def look_after(paused: Iterable[Paused]) -> None:
    """Lets each connection know what became of its client."""
    connections = {
        descriptor: connection
        for connection in paused
        if (descriptor := connection.descriptor()) >= 0
    }
    ended = _ended(connections)
    for descriptor, connection in connections.items():
        connection.look_after(ended=descriptor in ended)


def _ended(descriptors: Iterable[int]) -> set[int]:
    """Returns those of some sockets whose other end was closed, or whose connection broke."""
    if not hasattr(select, "poll"):  # Windows
        return set()
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, _ENDED)
    # That a connection broke is told unasked; bytes that came are not asked about.
    return {descriptor for descriptor, _ in poll.poll(0)}


def hang_up(descriptor: int) -> None:
    """Ends a connection towards its client at once; a transport does so in a turn of its own.

    Otherwise a client that another one has ended (CLIENT KILL) could send a command before it
    learns of it: the connection would break then, instead of being closed.

    Args:
        descriptor: Number of its socket, negative for none.
    """
    if descriptor >= 0:
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:  # it may be gone
            sock.shutdown(socket.SHUT_RDWR)
