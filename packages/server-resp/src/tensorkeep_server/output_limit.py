"""How much may wait for a client that does not read the messages that it gets.

Replies need no such limit, since a client that does not read is not served. Messages come because
of others. The clock is an argument.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class OutputLimit(NamedTuple):
    """A limit in bytes; a client that is beyond it loses its connection.

    Attributes:
        hard: Bytes that may never wait, 0 for no such limit.
        soft: Bytes that may not wait for long, 0 for no such limit.
        seconds: How long they may.
    """

    hard: int
    soft: int
    seconds: int


DEFAULT_LIMIT: Final = OutputLimit(32 * 1024 * 1024, 8 * 1024 * 1024, 60)  # Redis' own


class Arrears:
    """Since when too much waits for one client."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: float | None = None

    def exceed(self, limit: OutputLimit, waiting: int, now: float) -> bool:
        """Returns whether a client is beyond a limit.

        Args:
            limit: The limit.
            waiting: Bytes that wait to be sent.
            now: A time in seconds that never goes back.
        """
        if limit.hard and waiting > limit.hard:
            return True
        if not limit.soft or waiting <= limit.soft:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since > limit.seconds

    def end(self) -> None:
        """Notes that the client has read nearly everything."""
        self._since = None
