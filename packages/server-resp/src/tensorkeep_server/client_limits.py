"""What a client may hold, and how long it may be idle: the limits, and who is beyond them.

Decisions alone: no socket, and the clock is an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep_server.output_limit import OutputLimits
from tensorkeep_server.sizes_of_memory import read_size

if TYPE_CHECKING:
    from tensorkeep_server.client_memory import Held
    from tensorkeep_server.output_limit import Arrears

LEAST_QUERY: Final = 1024 * 1024
"""The least that the limit of a query can be set to, as in Redis."""

MOST_SECONDS: Final = 2**31 - 1
"""The most that times of connections can be set to, as in Redis."""

_PERCENT: Final = re.compile(r"([0-9]{1,9})%")
_ALL: Final = 100  # percent
_LEAST_SHARE: Final = 128 * 1024  # bytes below which nobody could be served, as in Redis


class Share(NamedTuple):
    """Bytes, or percents of the limit of all memory; 0 for no limit.

    Attributes:
        amount: How many.
        of_maxmemory: Whether they are percents.
    """

    amount: int = 0
    of_maxmemory: bool = False

    def __str__(self) -> str:
        return f"{self.amount}%" if self.of_maxmemory else str(self.amount)

    def within(self, maxmemory: int) -> int:
        """Returns how many bytes that is, 0 for no limit.

        Args:
            maxmemory: The limit of all memory in bytes, 0 for none: then percents are no limit.
        """
        amount = maxmemory * self.amount // _ALL if self.of_maxmemory else self.amount
        return max(amount, _LEAST_SHARE) if amount else 0


def read_share(word: str) -> Share:
    """Reads bytes such as `100mb`, or percents such as `5%`.

    Raises:
        ValueError: It is neither, or more than all.
    """
    match = _PERCENT.fullmatch(word)
    if match is None:
        try:
            return Share(read_size(word))
        except ValueError:
            raise ValueError("argument must be a memory or percent value") from None
    percent = int(match[1])
    if percent > _ALL:
        raise ValueError("percentage argument must be less or equal to 100")
    return Share(percent, of_maxmemory=percent > 0)


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits of clients; the defaults are Redis' own.

    Attributes:
        query: Bytes of requests that one client may have sent and that were neither made into
            arguments nor done: of its unfinished argument, of what waits for EXEC, and of what it
            has sent ahead.
        output: How much may wait for a client that does not read.
        memory: What all clients may hold together; those that hold the most lose their
            connections.
        timeout: Seconds after which a client that neither sends nor reads anything loses its
            connection, 0 for never.
        keepalive: Seconds after which a peer that is silent is asked whether it is still there; 0
            for never. It holds for connections to come.
    """

    query: int = 1024 * 1024 * 1024
    output: OutputLimits = field(default_factory=OutputLimits)
    memory: Share = field(default_factory=Share)
    timeout: int = 0
    keepalive: int = 300


class Excess(NamedTuple):
    """Why a client loses its connection.

    Attributes:
        setting: The limit that it is beyond, which counts such ends by its name.
        reason: What it did, for people.
    """

    setting: str
    reason: str


def excess(
    held: Held, limits: ClientLimits, arrears: Arrears, now: float, *, gets_messages: bool
) -> Excess | None:
    """Returns which limit a client is beyond, None for none.

    Args:
        held: What it holds.
        limits: The limits.
        arrears: Since when too much waits for it.
        now: A time in seconds that never goes back.
        gets_messages: Whether it is of the class pubsub.
    """
    query = held.unparsed + held.queued
    if query > limits.query:
        return Excess("client_query_buffer_limit", f"it sent {query} bytes that were not done")
    limit = limits.output.pubsub if gets_messages else limits.output.normal
    if arrears.exceed(limit, held.unread, now):
        return Excess("client_output_buffer_limit", f"it did not read {held.unread} bytes")
    return None
