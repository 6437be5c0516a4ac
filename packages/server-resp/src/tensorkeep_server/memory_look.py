"""Looks at memory that cannot be counted as it changes, and goes on giving up keys.

What the process took when it was ready is the interpreter's and the frameworks' own. A framework
that is loaded later adds to it what the process has grown by meanwhile, less what was counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorkeep.memory_limit import Outcome
from tensorkeep_server.freed_memory import FreedMemory, give_back
from tensorkeep_server.memory_room import make_room, shared_bytes
from tensorkeep_server.process import this_process

if TYPE_CHECKING:
    from tensorkeep.backend import Backend
    from tensorkeep_server.state import Server

_log = logging.getLogger(__name__)

_INTERVAL: Final = 0.1  # seconds


@dataclass(slots=True)
class _Unaccounted:
    """What the process takes besides what is counted, when no framework was being loaded.

    Attributes:
        size: Bytes.
        backends: How many backends were loaded in this process by then.
    """

    size: int
    backends: int


class MemoryLook:
    """What is taken, from the moment on in which the server is ready.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._freed = FreedMemory()
        self._before = self._unaccounted()
        server.memory.startup += self._before.size
        look(server)
        warn_if_full(server)

    async def go_on(self) -> None:
        """Looks again and again, and gives up keys in portions, for as long as the server runs."""
        memory = self._server.memory
        while True:
            await asyncio.sleep(_INTERVAL)
            look(self._server)
            self._add_frameworks()
            while make_room(memory, 0) is Outcome.MORE:  # noqa: ASYNC110 - nothing is waited for
                await asyncio.sleep(0)
            if memory.limit:
                await self._give_back()

    async def _give_back(self) -> None:
        """Gives back what was freed: what is taken of the system is what is to be limited."""
        memory, began = self._server.memory, time.monotonic()
        before = this_process().memory - memory.used
        if self._freed.is_due(before, memory.used, began):
            await asyncio.to_thread(give_back)
            after = this_process().memory - memory.used
            self._freed.done(before, after, began, time.monotonic())

    def _add_frameworks(self) -> None:
        """Adds what the process has grown by while a framework was loaded."""
        if self._server.engine.backends.is_loading:
            return
        now = self._unaccounted()
        if now.backends != self._before.backends:
            self._server.memory.startup += max(now.size - self._before.size, 0)
        self._before = now

    def _unaccounted(self) -> _Unaccounted:
        memory = self._server.memory
        return _Unaccounted(
            this_process().memory - (memory.used - memory.startup),
            len(self._server.engine.backends.loaded),
        )


def warn_if_full(server: Server) -> None:
    """Says in the log if more is taken than may be."""
    memory = server.memory
    if memory.limit and memory.used > memory.limit:
        _log.warning(
            "maxmemory is %d bytes, and %d are used already (%d by the process at its start): keys"
            " are evicted, or writes refused, as maxmemory-policy says",
            *(memory.limit, memory.used, memory.startup),
        )


def look(server: Server) -> None:
    """Looks at what is taken just now."""
    server.memory.shared = shared_bytes(server)
    server.memory.look(sum(map(_bytes_of_models, server.engine.backends.loaded.values())))


def _bytes_of_models(backend: Backend) -> int:
    """Returns the bytes that a backend reports for its models."""
    try:
        return backend.backend_stats().get("memory", 0)
    except Exception:  # noqa: BLE001 - a plugin may raise anything, and the others are looked at
        _log.debug("backend %s could not tell its statistics", backend.name, exc_info=True)
        return 0
