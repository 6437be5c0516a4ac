"""The connections that clients share: one for each identity and database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tensorkeep_valkey.proofs import Proofs
from tensorkeep_valkey.relayed import State
from tensorkeep_valkey.shared_connection import SharedConnection

if TYPE_CHECKING:
    from tensorkeep_valkey.addresses import Credentials
    from tensorkeep_valkey.upstream import Upstream

NAME: Final = b"tensorkeep"
"""How CLIENT LIST of the engine shows our connections."""

_UNUSED: Final = 300.0  # seconds without a client after which a connection is closed


class SharedConnections:
    """Hands out connections, and closes what was long not asked for.

    Args:
        upstream: The engine.

    Attributes:
        proofs: Prove that clients without a password may use those of the same.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.proofs = Proofs(upstream, State(version=3, name=NAME).restoring())
        self._open: dict[tuple[Credentials | None, int], tuple[SharedConnection, float]] = {}

    def get(self, credentials: Credentials | None, database: int) -> SharedConnection:
        """Returns the connection of an identity and database; not opened before it is used."""
        who = credentials, database
        now = time.monotonic()
        connection, _ = self._open.get(who, (None, now))
        if connection is None or not connection.usable:
            if connection is not None:
                connection.retire()
            self._close_unused(now)
            state = State(version=3, database=database, credentials=credentials, name=NAME)
            connection = SharedConnection(self._upstream, state.restoring())
        self._open[who] = connection, now
        return connection

    def _close_unused(self, now: float) -> None:
        for who, (connection, asked_at) in tuple(self._open.items()):
            if now - asked_at > _UNUSED:
                del self._open[who]
                connection.retire()

    def close(self) -> None:
        """Closes all."""
        for connection, _ in self._open.values():
            connection.close()
        self._open.clear()
