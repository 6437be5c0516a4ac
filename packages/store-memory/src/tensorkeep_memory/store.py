"""The memory store: keys and their values in this process, gone when it ends."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tensorkeep.commands.databases import DATABASES
from tensorkeep.eviction import Eviction, Order, Usage
from tensorkeep_memory.commands import COMMANDS
from tensorkeep_memory.eviction import victim
from tensorkeep_memory.keyspace import Keyspace
from tensorkeep_memory.large_values import LargeValues
from tensorkeep_memory.values.kinds import SIZES, memory_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep.commands.command import Command
    from tensorkeep.store import Host, LocalStore


class MemoryStore:
    """See `tensorkeep.store.LocalStore`."""

    def __init__(self) -> None:
        self.usage = Usage()
        large = LargeValues()
        self.databases: tuple[Keyspace, ...] = tuple(
            Keyspace(time.time, SIZES, self.usage, large) for _ in range(DATABASES)
        )
        self.commands: tuple[Command, ...] = COMMANDS
        self.memory_of = memory_of
        self.holds = large.holds
        self._eviction = Eviction()

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """See `LocalStore.one_moment`."""
        clocks = [keys.clock for keys in self.databases]
        now = clocks[0]()
        for keys in self.databases:
            keys.clock = lambda: now
        try:
            yield
        finally:
            for keys, clock in zip(self.databases, clocks, strict=True):
                keys.clock = clock

    def evict_by(self, eviction: Eviction) -> None:
        """See `LocalStore.evict_by`."""
        self._eviction = eviction
        for keys in self.databases:
            keys.counts_uses = eviction.policy.order is Order.LEAST_FREQUENT

    def evict(self) -> bool:
        """See `LocalStore.evict`."""
        chosen = victim(self.databases, self._eviction)
        if chosen is None:
            return False
        keys, key, _ = chosen
        keys.delete(key, "evicted")
        return True


def open_store(_url: str, _host: Host) -> LocalStore:
    """Opens an empty store; the entry point of this distribution."""
    return MemoryStore()
