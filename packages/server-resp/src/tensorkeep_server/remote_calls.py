"""Doing a command of our own over a remote store: it reads, is done, and writes.

The command's handler is the same as over a local store. It finds under `client.keys` what was read,
and what it changes there is written once its reply is made, which then waits for that.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from tensorkeep.commands.args import Args, Request, keyword
from tensorkeep.commands.command import MODULE
from tensorkeep.commands.reply import Error, Simple
from tensorkeep.errors import NotStored, StoreError, WrongType
from tensorkeep.store import Step
from tensorkeep_server.audit import noting
from tensorkeep_server.encoding import encode
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later
from tensorkeep_server.portions import take
from tensorkeep_server.room import check_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.commands.command import Command
    from tensorkeep.commands.reply import Reply
    from tensorkeep.store import LocalKeys, Result, Session, Values
    from tensorkeep_server.portions import Piece
    from tensorkeep_server.state import Client

_log = logging.getLogger(__name__)

# What the engine is asked instead, where a command asks it for nothing. Whether the client may do
# that is looked at before its arguments are. PING may be forbidden to who may do other things.
_ANYTHING: Final[Request] = (b"PING",)
_ADMINISTRATION: Final[Request] = (b"CONFIG", b"GET", b"maxmemory")


def _anything(_: Request) -> Request:
    return _ANYTHING


def _of_config(request: Request) -> Request:
    """Of AI.CONFIG: all but GET administrates."""
    word = keyword(request[1]) if len(request) > 1 else b""
    return _ANYTHING if word == b"GET" else _ADMINISTRATION


_PROBES: Final[dict[str, Callable[[Request], Request]]] = {
    "ai.config": _of_config,
    "shutdown": lambda _: (b"SHUTDOWN", b"NOTHING"),  # a syntax error
}

_QUEUED: Final = Simple("QUEUED")
_CANNOT_RUN: Final = Error("ERR Cannot run RedisAI command within a transaction or a LUA script")


def call_remotely(
    client: Client, command: Command, args: Args, working: Callable[[], None] = lambda: None
) -> Later:
    """Does a command of our own.

    Args:
        client: For whom; it has a session.
        command: The command.
        args: Stands at its first argument.
        working: Called if a run or a build begins, which may take longer than the engine does.
    """
    return _RemoteCall(client, command, args, working).later


class _RemoteCall:
    """One command, from reading to its reply."""

    def __init__(
        self, client: Client, command: Command, args: Args, working: Callable[[], None]
    ) -> None:
        self._client = client
        self._working = working
        self._session = session_of(client)
        self._command = command
        self._args = args
        self._before = client.keys
        self._running: Later | None = None
        self._abandoned = False
        self._note = noting(client, command, args.items)
        self.later = Later(self._abandon)
        wanted = () if command.wanted is None else command.wanted(args.items)
        if wanted:
            self._session.read(wanted, self._do)
        elif command.name in _PROBES or command.runs:
            probe = _PROBES.get(command.name, _anything)(args.items)
            self._session.leave(probe, partial(self._admitted, probe))
        else:
            self._do(self._session.values)

    def _admitted(self, probe: Request, leave: Result[None]) -> None:
        """Does a command that asks the engine for nothing, if its client may."""
        try:
            leave()
        except StoreError as error:
            if probe is not _ANYTHING or not error.line.startswith("NOPERM"):
                self._end(error_reply(error))
                return
        self._do(self._session.values)

    def _do(self, read: Result[Values]) -> None:
        """Does the command, once what it reads is there."""
        if self._abandoned:
            return
        args = self._args
        del self._args  # what is built from them needs the memory
        reply: Reply | Later
        try:
            values = read()
            check_room(self._command, args)
            self._client.keys = cast("LocalKeys", values)
            reply = self._command.handle(self._client, self._command.parse(args))
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            self._end(error_reply(error))
            return
        if not isinstance(reply, Later):
            self._write(values, reply)
        elif reply.resolved:
            self._write(values, reply.finish())
        else:
            self._running = running = reply
            running.then(lambda: self._write(values, running.finish()))
            if MODULE in self._command.flags:  # what is merged waits for the engine
                self._working()

    def _write(self, values: Values, reply: Reply) -> None:
        """Writes what the command has changed."""
        if type(reply) is Error:  # then nothing is to be changed
            self._end(reply)
            return
        try:
            self._client.storing = True
            self._session.write(values, lambda done: self._written(done, reply))
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            self._end(error_reply(error))

    def _written(self, done: Result[None], reply: Reply) -> None:
        """Ends it when its changes are made, or cannot be."""
        try:
            done()
        except NotStored:
            self._end([*reply, None] if isinstance(reply, list) else None)
        except WrongType as error:
            failure = error_reply(error)
            # What a DAG cannot store is told behind what its commands have to say.
            self._end([*reply, failure] if isinstance(reply, list) else failure)
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            self._end(error_reply(error))
        else:
            self._end(reply)

    def _end(self, reply: Reply) -> None:
        """Gives the reply, and keeps nothing of what was read for a client that may be idle now."""
        if self._note is not None:
            self._note(reply)
        self._client.keys = self._before
        self._client.storing = False
        self.later.resolve(lambda: reply)

    def _abandon(self) -> None:
        """Ends the work of a client that went away, if it is of a kind that nobody else needs."""
        self._abandoned = True
        if self._running is not None and self._running.can_be_abandoned:
            self._running.abandon()


def _written(done: Result[None], reply: Reply) -> Reply:
    done()
    return reply


def session_of(client: Client) -> Session:
    """Returns the session of a client of a remote store."""
    assert client.session is not None  # noqa: S101 - what it is called for is there with a remote store alone
    return client.session


# --------------------------------------------------------------------------- between MULTI and EXEC
def queue_remotely(client: Client, command: Command, args: Args) -> Later:
    """Puts a command of our own into the transaction that the client has begun at the engine.

    What is wrong with its arguments is its reply at EXEC. What has to be built is built now.
    """
    later = Later()
    session = session_of(client)
    note = noting(client, command, args.items)

    def enqueue(step: Step) -> None:
        session.enqueue(step, lambda done: later.resolve(partial(_written, done, _QUEUED)))

    if command.runs:
        enqueue(_change(client, session.values(), _CANNOT_RUN, note))
        return later
    if command.wanted is not None:
        enqueue(
            Step(command.wanted(args.items), None, partial(_read_and_do, client, command, args))
        )
        return later
    values = session.values()
    client.keys = cast("LocalKeys", values)
    reply: Reply | Later
    try:
        reply = command.handle(client, command.parse(args))
    except Exception as error:  # noqa: BLE001 - the table names it, or logs it
        reply = error_reply(error)
    if not isinstance(reply, Later):
        enqueue(_change(client, values, reply, note))
    elif reply.resolved:
        enqueue(_change(client, values, reply.finish(), note))
    else:
        running = reply
        running.then(lambda: enqueue(_change(client, values, running.finish(), note)))
    return later


def _change(
    client: Client, values: Values, reply: Reply, note: Callable[[Reply], None] | None
) -> Step:
    """Returns a step that makes the changes of a command, whose reply is known unless they fail."""

    def make(done: Result[Values]) -> bytes:
        made = reply
        try:
            done()
        except NotStored:
            made = None
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            made = error_reply(error)
        if note is not None:
            note(made)
        return _encoded(client, made)

    return Step((), None if type(reply) is Error else values, make)


def _read_and_do(client: Client, command: Command, args: Args, read: Result[Values]) -> bytes:
    """Does a command that only reads, with the values of the moment of EXEC."""
    reply: Reply | Later
    try:
        client.keys = cast("LocalKeys", read())
        reply = command.handle(client, command.parse(Args(args.items, args.at)))
        if isinstance(reply, Later):
            reply = reply.finish()
    except Exception as error:  # noqa: BLE001 - the table names it, or logs it
        reply = error_reply(error)
    return _encoded(client, reply)


def _encoded(client: Client, reply: Reply) -> bytes:
    """Returns a whole reply as it is sent, in the version that the client speaks by now."""
    pieces: list[Piece] = []
    encode(reply, session_of(client).version, pieces)
    made: list[bytes] = []
    while pieces:
        made += map(bytes, take(pieces))
    return b"".join(made)
