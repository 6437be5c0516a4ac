"""What memory clients hold: requests that are not done yet, and replies that they have not read.

`ClientsMemory` keeps the sum, and knows who holds the most, without a look at those that hold
nothing. A connection reports here whenever a buffer of its own stays filled beyond a turn.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep_server.state import Client

CONNECTION: Final = 5300
"""Bytes that a connection takes without anything in its buffers, measured with 10,000 of them."""

ARGUMENT: Final = sys.getsizeof(b"") + 8
"""Bytes that an argument takes beside its own: the object, and its place in a list."""


class Held(NamedTuple):
    """Bytes that one client holds.

    Attributes:
        unparsed: Received, and not made into arguments yet.
        room: Set aside for an argument, and not received yet; they take no memory.
        arguments: Of requests that are not whole, or wait to be done.
        queued: Of commands that wait for EXEC.
        unread: Of replies and messages that the client has not read. Of a tensor that is sent as
            it lies, no copy was made; its bytes count all the same, since it lives until then.
        pieces: How many buffers those are, at most.
        kept: Of buffers that are sent as they lie: what the client has read of them. They live
            until it has read everything.
    """

    unparsed: int = 0
    room: int = 0
    arguments: int = 0
    queued: int = 0
    unread: int = 0
    pieces: int = 0
    kept: int = 0

    @property
    def query(self) -> int:
        """Of requests, those that wait for EXEC included."""
        return self.unparsed + self.arguments + self.queued

    @property
    def total(self) -> int:
        """Of everything, what the connection itself takes included."""
        return CONNECTION + self.query + self.unread + self.kept


def size_of(arguments: Sequence[Argument]) -> int:
    """Returns how many bytes some arguments take."""
    return sum(map(len, arguments)) + ARGUMENT * len(arguments)


class ClientsMemory:
    """What all clients hold.

    Clients are kept by the power of two below what they hold, so that those that hold the most are
    found at once, however many there are.

    Attributes:
        total: Bytes that all hold together.
        filled: The clients that hold more than their connection.
    """

    def __init__(self) -> None:
        self.total = 0
        self.filled: dict[Client, None] = {}
        self._held: dict[Client, int] = {}
        self._by_size: list[dict[Client, None]] = [{} for _ in range(64)]

    def note(self, client: Client, size: int) -> None:
        """Notes how many bytes a client holds now."""
        before = self._held.get(client)
        if before is None or before.bit_length() != size.bit_length():
            self.forget(client)
            self._by_size[size.bit_length()][client] = None
            before = 0
        self._held[client] = size
        if size > CONNECTION:
            self.filled[client] = None
        else:
            self.filled.pop(client, None)
        self.total += size - before

    def forget(self, client: Client) -> None:
        """Notes that a client is gone, and holds nothing any more."""
        size = self._held.pop(client, None)
        if size is not None:
            self.total -= size
            self.filled.pop(client, None)
            self._by_size[size.bit_length()].pop(client, None)

    def largest(self) -> Iterator[Client]:
        """Yields the clients, those that hold the most first; of about as much, who came first.

        Each may be forgotten before the next is asked for.
        """
        for clients in reversed(self._by_size):
            yield from tuple(clients)
