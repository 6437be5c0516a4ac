"""How much may wait for a client that does not read what it is sent, by the class of the client.

Nobody sends messages to clients of the class normal, and one that does not read its replies is not
served; so theirs is the memory of one reply, and the default sets no limit. The clock is an
argument.
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


class OutputLimits(NamedTuple):
    """The limit of each class of clients; the defaults are Redis' own.

    Attributes:
        normal: Of those that get replies alone.
        replica: Of replicas, which there are none of here; kept.
        pubsub: Of those that get messages: who is subscribed, or has said MONITOR.
    """

    normal: OutputLimit = OutputLimit(0, 0, 0)
    replica: OutputLimit = OutputLimit(256 * 1024 * 1024, 64 * 1024 * 1024, 60)
    pubsub: OutputLimit = OutputLimit(32 * 1024 * 1024, 8 * 1024 * 1024, 60)

    def __str__(self) -> str:
        """Returns the limits as Redis shows them, who calls replicas by an old name."""
        return " ".join(
            f"{_SHOWN.get(kind, kind)} {' '.join(map(str, getattr(self, kind)))}"
            for kind in self._fields
        )


_SHOWN: Final = {"replica": "slave"}
_READ: Final = {"normal": "normal", "replica": "replica", "slave": "replica", "pubsub": "pubsub"}


def read_limits(words: str) -> dict[str, OutputLimit]:
    """Reads limits: a class of clients, and hard, soft and seconds, for any number of classes.

    Returns:
        What is to be replaced in `OutputLimits`, by the names there.

    Raises:
        ValueError: It is no limit.
    """
    parts = words.split()
    if len(parts) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    found: dict[str, OutputLimit] = {}
    for at in range(0, len(parts), 4):
        kind = _READ.get(parts[at].lower())
        if kind is None:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        found[kind] = _read_limit(parts[at + 1 : at + 4])
    return found


def _read_limit(words: list[str]) -> OutputLimit:
    """Reads hard, soft and seconds, of which the last has no unit."""
    try:
        if words[2].isascii() and words[2].isdigit():
            return OutputLimit(*map(read_size, words))
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
