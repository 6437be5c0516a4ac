"""One client's way to the engine.

It has a connection of its own for what the engine does, and shares others for the values of the
front end's own commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import hiredis

from tensorkeep.errors import StoreError
from tensorkeep_valkey.losses import Lost
from tensorkeep_valkey.own_connection import Expected, OwnConnection
from tensorkeep_valkey.proofs import Gate, Gated
from tensorkeep_valkey.queued import Place
from tensorkeep_valkey.relayed import (
    BEYOND_ONE,
    BLOCKING,
    COPYING,
    OK,
    QUEUED,
    SUBSCRIBING,
    State,
    meaning,
    reply_mode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.store import Downstream, Result
    from tensorkeep_valkey.packing import Argument, Word
    from tensorkeep_valkey.relayed import Change
    from tensorkeep_valkey.shared_connection import Reply, SharedConnection
    from tensorkeep_valkey.shared_connections import SharedConnections
    from tensorkeep_valkey.upstream import Upstream

_HARMLESS: Final = "ERR syntax error"  # of a command that was only asked for leave
_NEVER_ASKED: Final = frozenset(
    {b"MONITOR", b"QUIT", b"RESET", b"SHUTDOWN", b"MULTI", b"EXEC", b"DISCARD", b"WATCH"}
)


class RelaySession:
    """What a client has the engine do, and how it is reached with the client's rights.

    Args:
        upstream: The engine.
        shared: The connections that clients share.
        downstream: The client.
        database: Number of the database that it begins in.
    """

    def __init__(
        self,
        upstream: Upstream,
        shared: SharedConnections,
        downstream: Downstream,
        database: int,
    ) -> None:
        self._upstream = upstream
        self._shared = shared
        self._downstream = downstream
        self._state = State(database=database)
        self._own = OwnConnection(upstream, downstream, self._state)
        self._blocking = 0  # commands on their way that may wait
        self._closed = False
        self._connection: SharedConnection | None = None
        self._connected_as: object = None
        self._gate = Gate(shared.proofs)

    # ------------------------------------------------------------------ state
    @property
    def version(self) -> int:
        """Version of the protocol that the client speaks."""
        return self._state.version

    @property
    def user(self) -> bytes:
        """The name of the user that the client is."""
        credentials = self._state.credentials
        return (credentials.user if credentials is not None else None) or b"default"

    @property
    def database(self) -> int:
        """Number of the selected database."""
        return self._state.database

    @property
    def in_transaction(self) -> bool:
        """Whether commands are being queued."""
        return self._state.in_transaction

    @property
    def waits(self) -> bool:
        """Whether a command is on its way that may block."""
        return self._blocking > 0

    @property
    def listens(self) -> bool:
        """Whether the client hears of what others do."""
        return self._state.subscribes or self._state.monitoring or self._own.copies

    @property
    def subscribed(self) -> bool:
        """Whether the client is subscribed to anything."""
        return self._state.subscribes

    def mutes(self) -> bool:
        """Tells whether the reply to the next command is left out, which counts for SKIP."""
        muted = self._state.mutes
        self._state.next_reply()
        return muted

    def pause(self) -> None:
        """Hears that the client does not read."""
        self._own.pause()

    def resume(self) -> None:
        """Hears that it reads again."""
        self._own.resume()

    def close(self) -> None:
        """Ends the connection to the engine."""
        self._closed = True
        self._own.close()

    # ------------------------------------------------------------------ the engine's commands
    def relay(self, request: Sequence[Argument], done: Callable[[], None]) -> None:
        """Has the engine do a command; the reply goes to the client as it comes."""
        name = bytes(request[0]).upper()
        if name in BEYOND_ONE:
            self._relay_special(request, name, done)
        else:
            self._own.send(request, done)

    def _relay_special(
        self, request: Sequence[Argument], name: bytes, done: Callable[[], None]
    ) -> None:
        own = self._own
        if name in BLOCKING:
            done = self._ending_wait(done)
        if name in COPYING:
            own.send(request, Expected(_ignored, done, copies=True))
        elif name in SUBSCRIBING:
            kind, channels = SUBSCRIBING[name], len(request) - 1
            seen = self._subscribing(kind, channels)
            own.send(request, Expected(seen, done, kind=kind, channels=channels))
        elif (mode := reply_mode(request)) is not None:
            # The engine would leave out what tells us that commands are done.
            seen = self._silencing(mode[0], shown=mode[1])
            own.send([b"CLIENT", b"REPLY", b"ON"], Expected(seen, done, held=True))
        elif (change := meaning(request, name)) is None:
            own.send(request, done)
        elif name == b"RESET":
            own.send(request, Expected(self._resetting(change), done, held=True))
        else:
            own.send(request, Expected(self._noting(change), done, executes=name == b"EXEC"))

    def _ending_wait(self, done: Callable[[], None]) -> Callable[[], None]:
        self._blocking += 1

        def ended() -> None:
            self._blocking -= 1
            done()

        return ended

    def _noting(self, change: Change) -> Callable[[bytes], None]:
        """Returns what notes the outcome of a command, now or when EXEC has done it."""
        state = self._state

        def seen(reply: bytes) -> None:
            if state.in_transaction and reply.startswith(QUEUED):
                state.plan.changes[state.queued - 1] = change
            else:
                change(state, reply)

        return seen

    def _resetting(self, change: Change) -> Callable[[bytes], None]:
        """Returns what notes RESET, and sends its reply, for from it on there are replies."""

        def seen(reply: bytes) -> None:
            change(self._state, reply)
            if not self._state.mutes:
                self._downstream.send(reply)

        return seen

    def _silencing(self, change: Change, *, shown: bool) -> Callable[[bytes], None]:
        """Returns what notes the outcome of CLIENT REPLY, and sends it unless it is left out."""
        state, note = self._state, self._noting(change)

        def seen(reply: bytes) -> None:
            note(reply)
            if reply.startswith(QUEUED):
                state.plan.modes[state.queued - 1] = shown
            if not state.mutes and (shown or reply != OK):
                self._downstream.send(reply)

        return seen

    def _subscribing(self, kind: bytes, channels: int) -> Callable[[bytes], None]:
        """Returns what notes that a command of the SUBSCRIBE family was queued."""
        state = self._state

        def seen(reply: bytes) -> None:
            if reply.startswith(QUEUED):
                state.plan.subscriptions[state.queued - 1] = kind, channels

        return seen

    # ------------------------------------------------------------------ transactions
    def queue(
        self,
        requests: Sequence[Sequence[Word]],
        make: Callable[[list[Reply]], bytes],
        done: Callable[[Result[None]], None],
    ) -> None:
        """Puts commands into the transaction; the client gets one element of EXEC's array for them.

        Args:
            requests: The commands; may be none.
            make: Makes that element, encoded, from their replies when EXEC was done.
            done: Called when all are queued; its result raises the error of one that was refused.
        """
        index = self._state.queued
        place = Place(index, len(requests), lambda items: make([parse(each) for each in items]))
        if not requests:
            self._state.plan.places.append(place)
            done(_nothing)
            return
        errors: list[StoreError] = []
        left = len(requests)

        def end() -> None:
            nonlocal left
            left -= 1
            if left:
                return
            if errors:
                done(raising(errors[0]))
            else:
                self._state.plan.places.append(place)
                done(_nothing)

        def queued(reply: bytes) -> None:
            if not reply.startswith(QUEUED):
                errors.append(StoreError(reply[1:-2].decode(errors="replace")))
            end()

        def failed(error: StoreError) -> None:
            errors.append(error)
            end()

        for request in requests:
            self._own.send(request, Expected(queued, failed=failed, held=True))

    def spoil(self, done: Callable[[], None]) -> None:
        """Has EXEC refuse the transaction, by a command that no engine queues."""
        self._own.send([b"GET"], Expected(_ignored, done, held=True))

    # ------------------------------------------------------------------ asking
    def ask(self, request: Sequence[Argument], done: Callable[[Result[Any]], None]) -> None:
        """Has the engine do a command; the reply is handed over.

        What concerns this client alone, or may wait, goes over its own connection.
        """
        name = bytes(request[0]).upper()
        if name not in BEYOND_ONE:
            self.share().send(request, lambda reply: self._tell(reply, done))
            return
        if name in _NEVER_ASKED or name in SUBSCRIBING or name in COPYING:
            done(raising(StoreError(f"ERR {name.decode()} cannot be asked for here")))
            return
        change = meaning(request, name)

        def seen(reply: bytes) -> None:
            if change is not None:
                change(self._state, reply)
            self._tell(as_resp3(name, parse(reply)), done)

        self._own.send(
            request, Expected(seen, failed=lambda error: done(raising(error)), held=True)
        )

    def leave(self, request: Sequence[Argument], done: Callable[[Result[None]], None]) -> None:
        """Asks whether the client may do a command, see `tensorkeep.store.Session`."""

        def came(reply: Reply) -> None:
            if self._closed:
                return
            if isinstance(reply, StoreError) and not reply.line.startswith(_HARMLESS):
                done(raising(reply))
            else:
                done(_nothing)

        self.share().send(request, came)

    def fetch(self, request: Sequence[Argument], done: Callable[[Result[bytes]], None]) -> None:
        """Has the engine do a command; the reply is handed over as the client would be sent it."""
        self._own.send(
            request,
            Expected(
                lambda reply: done(lambda: reply),
                failed=lambda error: done(raising(error)),
                held=True,
            ),
        )

    def share(self) -> SharedConnection | Gated:
        """Returns the shared connection that has the client's rights and database."""
        state, connection = self._state, self._connection
        who = state.credentials, state.database
        if connection is None or self._connected_as != who or not connection.usable:
            if state.credentials is not None:
                self._gate.open = False  # what comes behind RESET is proven anew
            elif not self._gate.open:
                return Gated(self._gate, lambda: self._shared.get(*who))
            self._connection = connection = self._shared.get(*who)
            self._connected_as = who
        return connection

    def exchange(
        self,
        requests: Sequence[Sequence[Word]],
        done: Callable[[list[Reply]], None],
        *,
        again: bool = False,
    ) -> None:
        """Has the engine do commands on a shared connection, with the client's rights.

        Args:
            requests: At least one, of those that neither wait nor change the connection.
            done: Gets all replies, among them perhaps `StoreError`s; not called after `close`.
            again: Whether they may be done twice: they are sent once more if the connection is
                lost meanwhile.
        """

        def came(replies: list[Reply]) -> None:
            if self._closed:
                return
            if again and Lost in map(type, replies):
                self.exchange(requests, done)
            else:
                done(replies)

        self.share().exchange(requests, came)

    def _tell(self, reply: Reply, done: Callable[[Result[Any]], None]) -> None:
        if self._closed:
            return
        if isinstance(reply, memoryview):
            reply = bytes(reply)
        done(raising(reply) if isinstance(reply, StoreError) else lambda: reply)


def parse(reply: bytes) -> Reply:
    """Returns what a whole reply stands for; an error is a `StoreError`."""
    reader = hiredis.Reader(replyError=StoreError)
    reader.feed(reply)
    return reader.gets()


def as_resp3(name: bytes, reply: Reply) -> Reply:
    """Returns the reply of a command asked for over RESP2 as RESP3 would have it."""
    if name == b"HELLO" and isinstance(reply, list):
        found = _pairs(reply)
        modules = found.get(b"modules")
        if isinstance(modules, list):
            found[b"modules"] = [
                _pairs(each) if isinstance(each, list) else each for each in modules
            ]
        return found
    return reply


def _pairs(items: Any) -> Any:  # noqa: ANN401 - of a reply
    if not isinstance(items, list):
        return items
    return dict(zip(items[::2], items[1::2], strict=True))


def raising(error: Exception) -> Callable[[], Any]:
    """Returns what raises an error."""

    def result() -> Any:  # noqa: ANN401 - never returns
        raise error

    return result


def _ignored(_: bytes) -> None:
    """Stands for what looks at a reply that says nothing."""


def _nothing() -> None:
    """Stands for what went well and returns nothing."""
