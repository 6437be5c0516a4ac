"""How much may wait for a client that does not read the messages that it gets.

Replies need no such limit, since a client that does not read is not served. Messages come because
of others. The clock is an argument.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tensorkeep_server.sizes_of_memory import read_size


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

_ALIASES: Final = {b"replica": b"slave"}
_FIXED: Final = {
    b"normal": OutputLimit(0, 0, 0),
    b"slave": OutputLimit(256 * 1024 * 1024, 64 * 1024 * 1024, 60),
}
"""Of kinds of clients that nobody sends messages to; they are what Redis has when it is new."""


def show_limits(limit: OutputLimit) -> str:
    """Returns the limits of all kinds of clients as Redis shows them."""
    limits = {**_FIXED, b"pubsub": limit}
    return " ".join(f"{kind.decode()} {' '.join(map(str, limits[kind]))}" for kind in limits)


def read_limits(word: bytes) -> OutputLimit | None:
    """Reads limits: a kind of clients, and hard, soft and seconds, for any number of kinds.

    Returns:
        The limit of subscribers, the last one if there are several; None if there is none.

    Raises:
        ValueError: It is no limit, or one of a kind that has a limit for ever.
    """
    words = word.split()
    if len(words) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    found = None
    for at in range(0, len(words), 4):
        kind = words[at].lower()
        kind = _ALIASES.get(kind, kind)
        if kind not in {*_FIXED, b"pubsub"}:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        limit = _read_limit(words[at + 1 : at + 4])
        if kind == b"pubsub":
            found = limit
        elif limit != _FIXED[kind]:
            raise ValueError("only the limit of the class pubsub can be changed")
    return found


def _read_limit(words: list[bytes]) -> OutputLimit:
    """Reads hard, soft and seconds, of which the last has no unit."""
    try:
        if words[2].isdigit():
            return OutputLimit(*(read_size(word.decode()) for word in words))
        reason = None
    except ValueError as error:
        reason = error
    raise ValueError(
        "Error in hard, soft or soft_seconds setting in buffer limit configuration."
    ) from reason


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
