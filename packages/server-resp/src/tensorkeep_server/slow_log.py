"""The log of commands that took long: which are kept, and how much of each.

No clock here: whoever did a command says how long it took.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.commands.args import Request

_MICROSECOND: Final = 1e-6
_MOST_ARGUMENTS: Final = 32  # as in Redis, like all below
_MOST_BYTES: Final = 128


class SlowCommand(NamedTuple):
    """A command that took long.

    Attributes:
        id: Grows with each.
        ended_at: Unix time in seconds.
        microseconds: How long it took.
        arguments: What was sent, shortened.
        address: The client's.
        name: The client's, as it had named itself.
    """

    id: int
    ended_at: int
    microseconds: int
    arguments: tuple[bytes, ...]
    address: str
    name: str


class SlowLog:
    """The last commands that took long.

    Attributes:
        limit: Seconds from which on a command is kept, infinite when none is.
        most: How many are kept.
    """

    __slots__ = ("_kept", "_next_id", "_threshold", "limit", "most")

    def __init__(self) -> None:
        self._kept: deque[SlowCommand] = deque()
        self._next_id = 0
        self.threshold = 10_000
        self.most = 128

    @property
    def threshold(self) -> int:
        """Microseconds from which on a command is kept; 0 keeps all, -1 none."""
        return self._threshold

    @threshold.setter
    def threshold(self, microseconds: int) -> None:
        self._threshold = microseconds
        self.limit = inf if microseconds < 0 else microseconds * _MICROSECOND

    def __len__(self) -> int:
        return len(self._kept)

    def add(
        self,
        arguments: tuple[bytes, ...],
        seconds: float,
        *,
        ended_at: float,
        address: str,
        name: str,
    ) -> None:
        """Keeps a command; the oldest ones make room for it.

        Args:
            arguments: What `shortened` returns of the request.
            seconds: How long it took.
            ended_at: Unix time in seconds.
            address: The client's.
            name: The client's.
        """
        if not self.most:
            return
        self._kept.appendleft(
            SlowCommand(
                *(self._next_id, int(ended_at), int(seconds / _MICROSECOND)),
                *(arguments, address, name),
            )
        )
        self._next_id += 1
        while len(self._kept) > self.most:
            self._kept.pop()

    def latest(self, count: int | None) -> list[SlowCommand]:
        """Returns the last commands, the newest first; None for all."""
        return list(self._kept)[:count]

    def clear(self) -> None:
        """Forgets all commands; numbers go on."""
        self._kept.clear()


def shortened(request: Request) -> tuple[bytes, ...]:
    """Returns of a request what the log shows: not all arguments of many, nor all of a long one."""
    more = len(request) - _MOST_ARGUMENTS
    if more <= 0:
        return tuple(_beginnings(request))
    kept = request[: _MOST_ARGUMENTS - 1]
    return (*_beginnings(kept), b"... (%d more arguments)" % (more + 1))


def _beginnings(arguments: Request) -> Iterable[bytes]:
    for argument in arguments:
        more = len(argument) - _MOST_BYTES
        if more <= 0:
            yield bytes(argument)
        else:
            yield b"%b... (%d more bytes)" % (bytes(argument[:_MOST_BYTES]), more)
