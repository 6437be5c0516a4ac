"""What one client has sent and what was not done of it yet: requests, and bytes to be parsed.

Here it is decided how much is parsed at once, and how much is taken from a client for which
nothing is done just now. No socket, and no clock: when to stop is asked of whoever calls.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from tensorkeep.headroom import HEADROOM, READING
from tensorkeep.leftovers import leave, leave_large
from tensorkeep_server.client_memory import size_of
from tensorkeep_server.codec import RequestParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.commands.args import Request
    from tensorkeep_server.codec import Limits, ProtocolError

PORTION: Final = 16 * 1024
"""Bytes that are parsed at once: where requests are as small as they can be, in about 3 ms.

What does not look like that is parsed as it came; to take it apart would only mean more copies.
"""

AT_ONCE: Final = 256 * 1024
"""Bytes of a large argument that are received at once: to touch new memory takes up to 1 ms."""

_MANY_ARGUMENTS: Final = 10_000  # that are freed in about 1 ms

_SAMPLE: Final = slice(1024, 1280)  # bytes that are looked at, behind the head of a request
_DENSE: Final = 12  # line breaks among them

_FEW: Final = 16
_MANY_SMALL: Final = 8 * PORTION  # bytes that the requests of a portion take at most, as objects

BACKLOG: Final = 1024 * 1024
"""Bytes that a client may send ahead while nothing is done for it."""

MOST_BACKLOG: Final = 8 * 1024 * 1024
"""Bytes that are taken in the end, to find out whether the client is still there."""


class Inbox:
    """What one client has sent.

    Args:
        limits: How much one request may be.
        shared: The buffer to receive into, which all connections share.

    Attributes:
        requests: Those that are whole and were not done yet, in order.
        ahead: What was received and not parsed yet.
        backlog: Bytes that were received while nothing was done for the client.
        parser: What makes requests of bytes.
    """

    __slots__ = (
        "_into_parser",
        "_limit",
        "_one_by_one",
        "_shared",
        "ahead",
        "backlog",
        "parser",
        "requests",
    )

    def __init__(self, limits: Limits, shared: memoryview) -> None:
        self.requests: deque[Request] = deque()
        self.ahead = bytearray()
        self.parser = RequestParser(limits)
        self._shared = shared
        self._into_parser = False
        self._one_by_one = limits.before_auth
        self.backlog = 0
        self._limit = BACKLOG

    def limit(self, limits: Limits) -> None:
        """Has requests keep to other limits, from the next one on that was not parsed yet.

        Before the client has said who it is, no request is parsed until the one before it was
        done: that one may say it.

        Args:
            limits: How much one request may be.
        """
        self.parser.limits = limits
        self._one_by_one = limits.before_auth

    @property
    def into_parser(self) -> bool:
        """Whether `room` has named a large argument's own memory."""
        return self._into_parser

    @property
    def error(self) -> ProtocolError | None:
        """How the client broke the protocol, once all that it sent before was taken out."""
        return None if self.requests else self.parser.error

    def held(self) -> tuple[int, int, int]:
        """Returns what is kept of what the client has sent, see `RequestParser.held`."""
        unparsed, room, arguments = self.parser.held()
        if self.requests:
            # More requests than these come from one portion, and are small.
            arguments += sum(map(size_of, islice(self.requests, _FEW)))
            if len(self.requests) > _FEW:
                arguments += _MANY_SMALL
        return unparsed + len(self.ahead), room, arguments

    def room(self) -> memoryview:
        """Returns where to receive: a large argument's own memory, or the shared buffer."""
        own = None if self.ahead else self.parser.wants()
        self._into_parser = own is not None
        return self._shared if own is None else own[:AT_ONCE]

    def receive(self, count: int, served: bool) -> bool:  # noqa: FBT001 - for each read from a socket
        """Takes bytes that were received where `room` said.

        Args:
            count: How many.
            served: Whether requests are done for the client just now; what is in no hurry is not
                parsed yet.

        Returns:
            Whether more may be received before others had their turn.
        """
        if self._into_parser:
            self.requests.extend(self.parser.filled(count))
        elif (
            served
            and not self.ahead
            and not self._one_by_one
            and (count <= PORTION or _is_sparse(self._shared[:count]))
        ):
            self.requests.extend(self.parser.feed(self._shared[:count]))
        else:
            self._keep(self._shared[:count])
            if self._one_by_one and served:
                self.parse(lambda: True)
        if served:
            return not self.ahead
        self.backlog += count
        return self.backlog <= self._limit and HEADROOM.has(count, READING)

    def _keep(self, data: memoryview) -> None:
        """Keeps bytes that are not parsed yet: to lose some would be to lose the connection."""
        try:
            self.ahead += data
        except MemoryError:
            HEADROOM.relieve()
            self.ahead += data

    def parse(self, may_go_on: Callable[[], bool]) -> bool:
        """Parses what was received until there is a request; returns whether there is.

        Args:
            may_go_on: Asked before each portion.
        """
        requests, ahead = self.requests, self.ahead
        while ahead and not requests and may_go_on():
            if self._one_by_one:
                found, size = self.parser.feed_first(ahead[:PORTION])
                del ahead[:size]
                requests.extend(found)
            else:
                size = len(self._shared)
                portion = self._portion(size if _is_sparse(ahead) else PORTION)
                del ahead[: len(portion)]
                requests.extend(self.parser.feed(portion))
            if self.parser.error is not None:
                ahead.clear()
        return bool(requests)

    def _portion(self, size: int) -> bytearray:
        """Returns the first bytes of what was received and not parsed."""
        try:
            return self.ahead[:size]
        except MemoryError:
            HEADROOM.relieve()
            return self.ahead[:size]

    def has_place(self) -> bool:
        """Returns whether more may be received, although nothing is done just now."""
        self.backlog = len(self.ahead)
        return self.backlog <= self._limit

    def grow(self) -> bool:
        """Makes place for as much again, to see whether the client is still there.

        Returns:
            Whether it may be: not without end.
        """
        if self._limit >= MOST_BACKLOG:
            return False
        self._limit *= 2
        return True

    def all_done(self) -> None:
        """Notes that all was done that was received."""
        self.backlog = 0
        self._limit = BACKLOG

    def clear(self) -> None:
        """Drops everything, half a request included; what is large is freed bit by bit."""
        kept = [*chain(*self.requests), *self.parser.close()]
        self.requests.clear()
        self.ahead = bytearray()
        if len(kept) > _MANY_ARGUMENTS:
            leave(kept)
        else:
            leave_large(kept)


def _is_sparse(data: memoryview | bytearray) -> bool:
    """Returns whether bytes have hardly any requests, by a look at some near their beginning."""
    return bytes(data[_SAMPLE]).count(b"\n") < _DENSE
