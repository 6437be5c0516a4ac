"""A turn of the loop: connections that have something to do are served together.

What goes wrong with one of them stays with it: the others of its turn are served and answered.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

    from tensorkeep.dispatch import Dispatcher
    from tensorkeep_server.hangups import Paused

_log = logging.getLogger(__name__)

_SHARED: Final = 0.003  # seconds of one turn that its connections share
_ENDED_AT_ONCE: Final = 8  # connections that are closed in one turn: in about 0.5 ms
_LEAST: Final = 0.001  # seconds that each of them gets, however many there are


class Member(Protocol):
    """A connection, as a turn sees it."""

    def serve(self, seconds: float) -> None:
        """Does what the client has asked for, for about so long."""

    def settle(self) -> None:
        """Sends what was answered."""

    def fail(self, error: BaseException) -> None:
        """Ends the connection, in which something went wrong; raises nothing."""

    def end(self) -> None:
        """Closes the connection, whose client has closed it; raises nothing."""


class Turn:
    """The connections that have something to do in this turn of the loop.

    They are served together, and then answered together; between the two, requests that may share a
    run of a model get theirs. Were each served and answered when its
    bytes arrive, every reply would wake a client that has just gone to sleep, and reading, running
    and writing would drive each other out of the processor's caches: a run of a small model at 50
    clients then takes 49 µs of processor time instead of 32.

    A client that asks for much at once gets its share of each turn, and others get theirs between.

    Attributes:
        paused: The connections that are not read from just now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, dispatcher: Dispatcher) -> None:
        self._loop = loop
        self._dispatcher = dispatcher
        self._connections: list[Member] = []
        self.paused: set[Paused] = set()
        self._ended = 0  # connections that were closed in this turn, or the most that may be
        self._ending: deque[Member] = deque()

    def may_end(self, connection: Member) -> bool:
        """Returns whether a connection may be closed at once; otherwise it is in a later turn.

        Of many that clients close at once, the loop would close all before anybody else is served:
        10,000 of them take 0.2 s.
        """
        if not self._ended:
            self._loop.call_soon(self._end_some)
        if self._ended < _ENDED_AT_ONCE:
            self._ended += 1
            return True
        self._ending.append(connection)
        return False

    def _end_some(self) -> None:
        ending = self._ending
        for _ in range(min(len(ending), _ENDED_AT_ONCE)):
            ending.popleft().end()
        self._ended = _ENDED_AT_ONCE if ending else 0
        if ending:
            self._loop.call_soon(self._end_some)

    def join(self, connection: Member) -> None:
        """Has a connection served at the end of this turn."""
        if not self._connections:
            self._loop.call_soon(self._serve_all)
        self._connections.append(connection)

    def _serve_all(self) -> None:
        connections, self._connections = self._connections, []
        count = len(connections)
        seconds = max(_SHARED / count, _LEAST)
        self._dispatcher.gather(count)
        for connection in connections:
            try:
                connection.serve(seconds)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - logged there; others must be served
                connection.fail(error)
        try:
            self._dispatcher.pump()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - logged; the connections must be settled
            _log.exception("not all runs of a turn could be started")
            self._loop.call_soon(self._dispatcher.pump)  # what is left
        for connection in connections:
            try:
                connection.settle()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                connection.fail(error)
