"""Ends connections that take too much memory together, and looks at all now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tensorkeep_server.state import Server

_log = logging.getLogger(__name__)

_INTERVAL: Final = 0.1  # seconds between two looks at those that hold something
_IDLE_INTERVAL: Final = 1.0  # seconds between two looks at all for those that are idle
_AT_ONCE: Final = 200  # clients that are looked at before others are served


def evict(server: Server) -> None:
    """Ends those that hold the most, while all clients hold more than they may together.

    Who has said CLIENT NO-EVICT stays.
    """
    memory = server.clients_memory
    most = server.client_limits.memory.within(server.memory.limit)
    if not most or memory.total < most:
        return
    evicted = 0
    for client in memory.largest():
        if memory.total < most:
            break
        if client.evictable:
            client.drop("clients held too much memory, and it the most")
            evicted += 1
    server.counters["evicted_clients"] += evicted
    if server.may_warn("evicted clients"):
        _log.warning(
            "clients held more memory than maxmemory-clients allows (%d bytes): %d that held the"
            " most were disconnected",
            *(most, evicted),
        )


async def watch_clients(server: Server) -> None:
    """Looks for clients that have broken a limit by doing nothing, for as long as it runs."""
    all_at = 0.0
    while True:
        await asyncio.sleep(_INTERVAL)
        now = time.time()
        clients = [*server.clients_memory.filled]
        if server.client_limits.timeout and not 0 <= now - all_at < _IDLE_INTERVAL:
            all_at = now
            clients = [*server.clients.values()]
        for at in range(0, len(clients), _AT_ONCE):
            if at:
                await asyncio.sleep(0)
            for client in clients[at : at + _AT_ONCE]:
                client.look(now)
