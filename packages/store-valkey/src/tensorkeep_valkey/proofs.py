"""Whether who has said no password may do anything: a connection of its own would tell.

What clients without a password do goes over connections that are older than they are, and an engine
asks a connection for a password only when it begins. So for each client one is begun, once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.errors import StoreError
    from tensorkeep_valkey.packing import Argument, Word
    from tensorkeep_valkey.shared_connection import SharedConnection
    from tensorkeep_valkey.upstream import Upstream

Proven: TypeAlias = "Callable[[StoreError | None], None]"
"""Gets the engine's error, or None if it lets anybody in."""


class Proofs:
    """Begins connections that are ended at once; clients that ask meanwhile share the next one.

    Args:
        upstream: The engine.
        begin: Commands that connections of such clients begin with.
    """

    def __init__(self, upstream: Upstream, begin: Sequence[Sequence[Argument]]) -> None:
        self._upstream = upstream
        self._begin = begin
        self._running: list[Proven] = []
        self._next: list[Proven] = []

    def ask(self, done: Proven) -> None:
        """Begins a connection from now on."""
        self._next.append(done)
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running, self._next = self._next, []
        if self._running:
            self._upstream.connect(_Ended(self._came), self._begin, self._came)

    def _came(self, error: StoreError | None) -> None:
        running, self._running = self._running, []
        self._run()
        for done in running:
            done(error)


class _Ended(asyncio.Protocol):
    """Ends the connection that was made."""

    def __init__(self, done: Proven) -> None:
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).close()
        self._done(None)


class Gate:
    """One client's way to shared connections, until it is proven that it may use them.

    Args:
        proofs: Prove it.
    """

    def __init__(self, proofs: Proofs) -> None:
        self._proofs = proofs
        self._waiting: list[Proven] = []
        self.open = False

    def ask(self, done: Proven) -> None:
        """Has it proven, or waits for the proof that is on its way."""
        self._waiting.append(done)
        if len(self._waiting) == 1:
            self._proofs.ask(self._came)

    def _came(self, error: StoreError | None) -> None:
        self.open = error is None
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(error)


class Gated:
    """What takes the place of a shared connection until then.

    Args:
        gate: The client's.
        connect: Returns the connection.
    """

    def __init__(self, gate: Gate, connect: Callable[[], SharedConnection]) -> None:
        self._gate = gate
        self._connect = connect

    def exchange(
        self, requests: Sequence[Sequence[Word]], done: Callable[[list[Any]], None]
    ) -> None:
        """Sends several requests, see `SharedConnection`; all get the error if they may not."""

        def came(error: StoreError | None) -> None:
            if error is None:
                self._connect().exchange(requests, done)
            else:
                done([error] * len(requests))

        self._gate.ask(came)

    def send(self, request: Sequence[Word], done: Callable[[Any], None]) -> None:
        """Sends a request, see `SharedConnection`."""
        self.exchange([request], lambda replies: done(replies[0]))
