"""The socket shell: one object per connection, which keeps the order of commands and replies.

It moves bytes between the transport and the codec, lets the command table find what is asked for,
and decides only when to go on: a client whose reply is still to come is not served further, one
that does not read its replies is not either, and one that sends much meanwhile is read no further.
A long reply is made in portions: one in a turn of the loop, and none before the client has taken
those before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from tensorkeep_server.calls import call
from tensorkeep_server.codec import RequestParser
from tensorkeep_server.command import NO_MULTI
from tensorkeep_server.errors import CommandError, Refused, error_reply
from tensorkeep_server.later import Later
from tensorkeep_server.output_limit import Arrears
from tensorkeep_server.reply import RESP2, Error, Several, Simple, encode, is_long, take
from tensorkeep_server.state import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.engine import Engine
    from tensorkeep_server.args import Args
    from tensorkeep_server.codec import Request
    from tensorkeep_server.command import Command
    from tensorkeep_server.reply import Piece, Reply
    from tensorkeep_server.state import Server, Transaction

_log = logging.getLogger(__name__)

RECEIVE_SIZE: Final = 64 * 1024
"""Bytes of the buffer that all connections receive into: one thread, and nothing stays in it.

Larger arguments have memory of their own, and what one client sends at once holds up the others
no longer than it takes to read this much.
"""

_BACKLOG: Final = 1024 * 1024  # bytes that a client may send ahead while it waits for a reply
_FLUSH_ABOVE: Final = 64 * 1024  # bytes of messages that are sent before the end of the turn

_QUEUED: Final = Simple("QUEUED")
# What is done at once even between MULTI and EXEC.
_NEVER_QUEUED: Final = frozenset({"multi", "exec", "discard", "watch", "quit", "reset"})
# What a subscriber may do that speaks RESP2, where nothing tells a message from a reply.
_WHILE_SUBSCRIBED: Final = frozenset(
    {
        *("subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"),
        *("ping", "quit", "reset"),
    }
)


class Turn:
    """The connections that have something to do in this turn of the loop.

    They are served together, and then answered together; between the two, requests that may share a
    run of a model get theirs. Were each served and answered when its
    bytes arrive, every reply would wake a client that has just gone to sleep, and reading, running
    and writing would drive each other out of the processor's caches: a run of a small model at 50
    clients then takes 49 µs of processor time instead of 32.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop = loop
        self._engine = engine
        self._connections: list[Connection] = []

    def join(self, connection: Connection) -> None:
        """Has a connection served at the end of this turn."""
        if not self._connections:
            self._loop.call_soon(self._serve_all)
        self._connections.append(connection)

    def _serve_all(self) -> None:
        connections, self._connections = self._connections, []
        self._engine.gather(len(connections))
        for connection in connections:
            connection.serve()
        self._engine.pump()
        for connection in connections:
            connection.settle()


class Connection(asyncio.BufferedProtocol):
    """One client's connection.

    Args:
        server: The state that all clients share.
        receive: The buffer to receive into, shared by all connections.
        turn: Where all connections meet to be served.
    """

    def __init__(self, server: Server, receive: memoryview, turn: Turn) -> None:
        self._server = server
        self._receive = receive
        self._turn = turn
        self._parser = RequestParser(server.settings.limits)
        self._into_parser = False
        self._waiting: deque[Request] = deque()
        self._backlog = 0
        self._reading = True
        self._writable = True
        self._due = False  # joined the turn, and was not settled yet
        self._closing = False
        self._later: Later | None = None
        self._out: list[Piece] = []
        self._making = False  # a long reply is made in portions, as the client takes them
        self._pushed = 0  # bytes of messages among what is to be sent
        self._arrears = Arrears()

    # ------------------------------------------------------------------ the transport's calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Registers the client, or turns it away when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        server = self._server
        server.counters["total_connections_received"] += 1
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        self.client = Client(
            id=next(server.client_ids),
            server=server,
            keys=server.databases[0],
            address=_address(peer, local),
            local_address=_address(local, local),
            close=self.close,
            drop=self._transport.abort,
            push=self.push,
        )
        if len(server.clients) >= server.max_clients:
            server.counters["rejected_connections"] += 1
            self._transport.write(b"-ERR max number of clients reached\r\n")
            self._transport.close()
            self._closing = True
        else:
            server.clients[self.client.id] = self.client

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the cause changes nothing
        """Lets go of what the client was waiting for."""
        self._closing = True
        self._waiting.clear()
        self._let_go()
        self._server.clients.pop(self.client.id, None)
        self._server.counters["total_commands_processed"] += self.client.commands_done
        if self._later is not None:
            self._later.abandon()
            self._later = None
        self.client.discard()
        self.client.hear_nothing()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Names where to receive: a large argument's own memory, or the shared buffer."""
        own = self._parser.wants()
        self._into_parser = own is not None
        return self._receive if own is None else own

    def buffer_updated(self, nbytes: int) -> None:
        """Takes received bytes and serves the requests that they complete."""
        if self._closing:
            return
        if self._into_parser:
            requests = self._parser.filled(nbytes)
        else:
            requests = self._parser.feed(self._receive[:nbytes])
        self._waiting.extend(requests)
        if self._busy:
            self._backlog += nbytes
            if self._backlog > _BACKLOG and self._reading:
                self._reading = False
                self._transport.pause_reading()
        elif requests or self._parser.error is not None:
            self.client.active_at = time.time()
            self._join_turn()

    def pause_writing(self) -> None:
        """Stops serving: the client does not read what it was sent."""
        self._writable = False

    def resume_writing(self) -> None:
        """Goes on serving."""
        self._writable = True
        self._arrears.end()
        self._join_turn()

    # ------------------------------------------------------------------ serving
    @property
    def _busy(self) -> bool:
        """Whether what was asked for before must be answered first."""
        return self._making or self._later is not None or not self._writable

    def _join_turn(self) -> None:
        if not self._due:
            self._due = True
            self._turn.join(self)

    @property
    def _broken(self) -> str:
        """What the client is still to be told of how it broke the protocol; empty for nothing."""
        error = self._parser.error
        return "" if error is None or self._closing else error.line

    def serve(self) -> None:
        """Does waiting requests in order, until one's reply is still to come."""
        waiting = self._waiting
        while waiting and not self._busy and not self._closing:
            self._do(waiting.popleft())
        if self._broken and not waiting and self._later is None and not self._making:
            self._answer(Error(self._broken))
            self._closing = True

    def settle(self) -> None:
        """Sends what was answered, and goes on reading or closes."""
        self._due = False
        if self._writable or not self._making:
            self._flush()
        if self._making:
            if self._writable:
                self._join_turn()
        elif self._closing:
            self._transport.close()
        elif self._waiting or self._broken:
            if not self._busy:
                self._join_turn()
        elif not self._busy:
            self._backlog = 0
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()

    def _do(self, request: Request) -> None:
        client = self.client
        client.commands_done += 1
        try:
            command, args = self._server.commands.find(request)
            client.last_command = name = command.full_name
            if client.subscribed:
                self._check_subscriber(name)
            if client.transaction is None or name in _NEVER_QUEUED:
                reply = call(client, command, args)
            else:
                reply = self._queue(client.transaction, command, args)
        except Refused as error:
            reply = self._refuse(request, error.line)
        except CommandError as error:
            reply = Error(error.line)
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            reply = error_reply(error)
        if not isinstance(reply, Later):
            self._answer(reply)
        elif reply.resolved:
            self._answer(reply.finish())
        else:
            self._later = reply
            client.blocked = True
            reply.then(self._resume)

    def _check_subscriber(self, name: str) -> None:
        """Makes sure that a subscriber will be able to tell the reply from a message."""
        if self.client.version == RESP2 and name not in _WHILE_SUBSCRIBED:
            raise Refused(
                f"ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT"
                " / RESET are allowed in this context"
            )

    def _queue(self, transaction: Transaction, command: Command, args: Args) -> Reply:
        """Keeps a command for EXEC, unless it is known that nothing will be done then."""
        if NO_MULTI in command.flags:
            raise Refused("ERR Command not allowed inside a transaction")
        if not transaction.failed and not self.client.watch.changed:
            transaction.queue.append((command, args))
        return _QUEUED

    def _refuse(self, request: Request, line: str) -> Error:
        """Returns the error for a command that is not even tried, which spoils a transaction."""
        client = self.client
        command = self._server.commands.get(request[0])
        if command is not None and command.name == "exec":
            client.discard()
            reason = line.removeprefix("ERR ")
            return Error(f"EXECABORT Transaction discarded because of: {reason}")
        if client.transaction is not None:
            client.transaction.failed = True
        return Error(line)

    def _resume(self) -> None:
        """Makes the reply that was to come, and goes on."""
        later, self._later = self._later, None
        self.client.blocked = False
        self._join_turn()  # first: what is done now may close the connection, after the answer
        if later is not None:
            self._answer(later.finish())

    # ------------------------------------------------------------------ answering
    def _answer(self, reply: Reply) -> None:
        client = self.client
        if type(reply) is Error:
            self._server.count_error(reply)
        if client.muted or client.skips:
            client.skips -= client.skips > 0
            if type(reply) is not Several:  # those are messages more than replies
                return
        pieces: list[Piece] = []
        try:
            encode(reply, client.version, pieces)
        except Exception as error:  # noqa: BLE001 - a bug of ours: no half reply may go out
            pieces.clear()
            encode(error_reply(error), client.version, pieces)
        self._out += pieces
        if is_long(pieces):
            self._flush()

    def push(self, pieces: Sequence[Piece], size: int) -> None:
        """Sends a message, behind all that was answered so far.

        A client that does not read its messages loses its connection: they come however little it
        asks for, and must not fill the memory.

        Args:
            pieces: The message, encoded.
            size: Bytes that it has.
        """
        if self._closing:
            return
        self._out += pieces
        self._pushed += size
        if self._making or not self._writable:
            waiting = self._transport.get_write_buffer_size() + self._pushed
            if self._arrears.exceed(self._server.output_limit, waiting, time.monotonic()):
                self._give_up(waiting)
                return
        if self._pushed > _FLUSH_ABOVE and not self._making:
            self._flush()
        self._join_turn()

    def _give_up(self, waiting: int) -> None:
        self._closing = True
        self._let_go()
        self._server.counters["client_output_buffer_limit_disconnections"] += 1
        _log.warning(
            "client %d at %s does not read its messages, %d bytes of which wait: disconnected",
            *(self.client.id, self.client.address, waiting),
        )
        self._transport.abort()

    def _flush(self) -> None:
        """Sends what there is; of a long reply, one portion."""
        out = self._out
        if not out:
            return
        try:
            buffers = take(out)
        except Exception:  # noqa: BLE001 - a bug of ours: what was sent already cannot be completed
            _log.exception("a reply to client %d could not be made", self.client.id)
            self._closing = True
            self._let_go()
            self._transport.abort()
            return
        self._making = bool(out)
        if not out:
            self._pushed = 0
        for buffer in buffers:
            self._transport.write(buffer)

    def _let_go(self) -> None:
        """Forgets what was to be sent."""
        self._out.clear()
        self._making = False

    def close(self) -> None:
        """Closes the connection once what was answered has been sent."""
        self._closing = True
        if self._due:
            return
        if not self._making:
            self._flush()
        if not self._making:
            self._transport.close()
        elif self._writable:
            self._join_turn()


def _address(peer: object, local: object) -> str:
    """Returns `host:port`, or `path:0` on a Unix socket, as Redis shows them."""
    match peer or local:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str(path):
            return f"{path}:0"
        case _:
            return "?:0"
