"""The socket shell: one object per connection, which keeps the order of commands and replies.

It moves bytes between the transport and the codec, lets the command table find what is asked for,
and decides only when to go on: a client whose reply is still to come is not served further, one
that does not read its replies is not either, and one that sends much meanwhile is read no further.
One that has asked for much is served for a share of each turn. A long reply is made in portions:
one in a turn of the loop, and none before the client has taken those before.

Whatever goes wrong here ends this connection and no other: the loop, the turn and whoever sends
messages call methods that raise nothing, or are ready for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import replace
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

from tensorkeep.commands.errors import CommandError, Refused
from tensorkeep.commands.reply import Error, Several
from tensorkeep.headroom import HEADROOM
from tensorkeep_server.allowed import check_allowed, has_to_authenticate
from tensorkeep_server.calls import call
from tensorkeep_server.client_limits import excess
from tensorkeep_server.client_memory import CONNECTION, Held
from tensorkeep_server.client_watch import evict
from tensorkeep_server.encoding import encode
from tensorkeep_server.errors import error_reply
from tensorkeep_server.hangups import hang_up
from tensorkeep_server.inbox import Inbox
from tensorkeep_server.later import Later
from tensorkeep_server.memory_room import check_memory
from tensorkeep_server.output_limit import Arrears
from tensorkeep_server.portions import is_long, take
from tensorkeep_server.protected_mode import DENIED, is_elsewhere
from tensorkeep_server.refusals import NEVER_QUEUED, check_subscriber, is_http, queue, refuse
from tensorkeep_server.state import Client
from tensorkeep_server.tls_transport import SecuredProtocol, TlsTransport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command
    from tensorkeep.commands.reply import Blob, Reply
    from tensorkeep.store import LocalKeys
    from tensorkeep_server.portions import Piece
    from tensorkeep_server.state import Server
    from tensorkeep_server.turn import Turn

_log = logging.getLogger(__name__)

RECEIVE_SIZE: Final = 64 * 1024
"""Bytes of the buffer that all connections receive into: one thread, and nothing stays in it.

Larger arguments have memory of their own, and what one client sends at once holds up the others
no longer than it takes to read this much.
"""

_READ_FOR: Final = 0.001  # seconds of a turn in which one client's bytes are taken
_READ_MOST: Final = 2 * 1024 * 1024  # bytes of a client's large arguments before others' turn
_FLUSH_ABOVE: Final = 64 * 1024  # bytes of messages that are sent before the end of the turn
_REPORT_AFTER: Final = 1024 * 1024  # bytes received after which is looked at what a client holds
_MANY_PIECES: Final = 256  # so many replies are sent before the next command is done

TOO_MANY_CLIENTS: Final = b"-ERR max number of clients reached\r\n"


class Connection(SecuredProtocol):
    """One client's connection.

    Args:
        server: The state that all clients share.
        receive: The buffer to receive into, shared by all connections.
        turn: Where all connections meet to be served.
    """

    def __init__(self, server: Server, receive: memoryview, turn: Turn) -> None:
        self._server = server
        self._turn = turn
        self._inbox = Inbox(server.limits, receive)
        self._reading = True
        self._read_until = 0.0
        self._received = 0  # bytes since others had their turn
        self._writable = True
        self._due = False  # joined the turn, and was not settled yet
        self._closing = False
        self._ended = False  # the client sends no more, and what it has sent is done
        self._lost = False
        self._registered = False
        self._reason = ""
        self._later: Later | None = None
        self._out: list[Piece] = []
        self._making = False  # a long reply is made in portions, as the client takes them
        self._pushed = 0  # bytes of messages among what is to be sent
        self._arrears = Arrears()
        self._filled = False  # something stays in its buffers beyond a turn
        self._unreported = 0  # bytes received since what it holds was reported
        self._unsent = 0  # bytes that waited for the client at the last look
        self._dropped = False

    # ------------------------------------------------------------------ the transport's calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Registers the client, or turns it away when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        try:
            self._register()
        except Exception as error:  # noqa: BLE001 - logged; often the client is gone already
            self.fail(error)

    def _register(self) -> None:
        server = self._server
        server.counters["total_connections_received"] += 1
        transport = self._transport
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        sock = transport.get_extra_info("socket")
        self._descriptor = -1 if sock is None else sock.fileno()
        self.client = Client(
            id=next(server.client_ids),
            server=server,
            user=server.users.default,
            authenticated=server.users.first() is not None,
            keys=self._first_keys(),
            address=_address(peer, local),
            local_address=_address(local, local),
            close=self.close,
            drop=self.drop,
            push=self.push,
            held=self.held,
            look=self.look,
            limit_requests=self.limit_requests,
            descriptor=self._descriptor,
        )
        self._registered = True
        if not self.client.authenticated:
            self.limit_requests()
        if not isinstance(transport, TlsTransport):  # with TLS, nothing can be said yet
            self._let_in()
        if self._closing:
            return
        if len(server.clients) >= server.max_clients:
            self._reason = "there are too many clients"
            self._closing = True
            server.counters["rejected_connections"] += 1
            if server.may_warn("max clients"):
                _log.warning("clients are turned away: there are %d already", server.max_clients)
            transport.write(TOO_MANY_CLIENTS)
            transport.close()
        else:
            server.clients[self.client.id] = self.client
            self._report()

    def _let_in(self) -> None:
        """Turns a client away that protected mode keeps out."""
        if self._server.protected and _is_elsewhere(self._transport.get_extra_info("peername")):
            self._let_in_with_password()

    def _let_in_with_password(self) -> None:
        """Turns a client of another machine away if it needs no password."""
        if self._server.users.first() is not None:
            self._turn_away()

    def _turn_away(self) -> None:
        server = self._server
        self._reason = "it is of another machine, and there is no password"
        self._closing = True
        server.counters["rejected_connections"] += 1
        if server.may_warn("protected mode"):
            _log.warning(
                "a client at %s is turned away: everybody is let in without a password, so that"
                " clients of other machines are not (protected mode)",
                self.client.address,
            )
        if server.audit is not None:
            why = DENIED[1:].partition(b".")[0].decode()
            server.audit.refused(self.client, "", why, user=self.client.user.name)
        self._transport.write(DENIED)
        self._transport.close()

    def secured(self, name: str) -> None:
        """Lets the client in, as the user that its certificate is issued to if there is one.

        Args:
            name: The common name of the certificate; empty if there is none, or it does not count.
        """
        if not self._closing:
            self._let_in()
        if not name or self._closing:
            return
        user = self._server.users.get(name.encode())
        if user is None or not user.rights.on:
            if self._server.may_warn("certificates"):
                _log.warning(
                    "client %d at %s has a certificate of %r, and there is no such user that is on",
                    *(self.client.id, self.client.address, name),
                )
            return
        self.client.user = user
        self.client.authenticated = True
        self.limit_requests()
        if self._server.audit is not None:
            self._server.audit.let_in(self.client, "")

    def _first_keys(self) -> LocalKeys:
        """Returns what a new client finds under its keys."""
        return self._server.databases[0]

    def eof_received(self) -> bool:
        """Notes that the client has sent all that it will.

        Returns:
            Whether to stay open: what was sent before is done and answered. Who waits for a reply
            that is still to come does not get it, as in Redis.
        """
        self._reason = self._reason or "the client closed it"
        inbox = self._inbox
        left = inbox.requests or inbox.ahead or self._busy or inbox.error is not None
        self._ended = bool(left) and not self._closing and not self._blocked
        if self._ended:
            self._reading = False
        return self._ended or not self._may_end()

    def _may_end(self) -> bool:
        """Returns whether the connection may be closed now, or has to wait for `end`."""
        if self._closing or self._later is not None:
            return True
        self._closing = not self._turn.may_end(self)
        return not self._closing

    def end(self) -> None:
        """Closes the connection, whose client has closed it."""
        try:
            self._transport.close()
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of what the client was waiting for, and of all that is kept for it."""
        if self._lost:
            return
        self._lost = self._closing = True
        self._inbox.clear()
        self._let_go()
        self._turn.paused.discard(self)
        if not self._registered:
            return
        client, server = self.client, self._server
        _log.debug(
            "client %d at %s is gone: %s",
            *(client.id, client.address, self._reason or exc or "the client closed it"),
        )
        server.clients.pop(client.id, None)
        server.clients_memory.forget(client)
        server.counters["total_commands_processed"] += client.commands_done
        later, self._later = self._later, None
        steps = (client.discard, client.hear_nothing)
        for step in steps if later is None else (later.abandon, *steps):
            try:
                step()
            except Exception:  # noqa: BLE001 - logged; the other steps must be done
                _log.exception("client %d was not wholly forgotten", client.id)
        client.leave()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Names where to receive: a large argument's own memory, or the shared buffer."""
        return self._inbox.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Takes received bytes and has the requests served that they complete."""
        if self._closing:
            return
        try:
            inbox = self._inbox
            served = not self._busy
            if (nbytes == RECEIVE_SIZE and not self._due) or not self._received:
                self._read_until = perf_counter() + _READ_FOR
            self._received += nbytes
            if not inbox.receive(nbytes, served) or (
                # The transport reads on then before others have their turn: 32 times.
                served
                and (
                    (
                        (nbytes == RECEIVE_SIZE or inbox.into_parser)
                        and perf_counter() > self._read_until
                    )
                    or self._received >= _READ_MOST
                )
            ):
                self._received = 0
                self._pause_reading()
            if served and (
                inbox.requests or inbox.ahead or inbox.parser.error is not None or not self._reading
            ):
                self.client.active_at = time.time()
                self._join_turn()
            else:
                self.client.active_at = time.time()
                self._note_part(nbytes)
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    def pause_writing(self) -> None:
        """Stops serving: the client does not read what it was sent."""
        self._writable = False

    def resume_writing(self) -> None:
        """Goes on serving."""
        self._writable = True
        self._arrears.end()
        try:
            if self._registered:
                self.client.lent.clear()
            self._join_turn()
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    # ------------------------------------------------------------------ what it holds
    def held(self) -> Held:
        """Returns how many bytes the client holds."""
        out, transaction = self._out, self.client.transaction
        if (self._pushed and not self._making) or len(out) > _MANY_PIECES:  # messages, nearly all
            waiting = self._pushed
        else:
            waiting = sum(len(each) for each in out if not isinstance(each, Generator))
        sent = self._transport.get_write_buffer_size()
        return Held(
            *self._inbox.held(),
            0 if transaction is None else transaction.size,
            sent + waiting,
            len(out) + bool(sent),
            max(sum(map(len, self.client.lent)) - sent, 0),
        )

    def _note_part(self, count: int) -> None:
        """Notes that part of a request came; how much is kept of it is looked at later, if still.

        Args:
            count: Bytes that came.
        """
        if not self._unreported:
            self._server.clients_memory.filled[self.client] = None
        self._unreported += count
        if self._unreported > _REPORT_AFTER:
            self._report()

    def _report(self) -> None:
        """Lets the server know how much the client holds, and ends it if that is too much."""
        if self._lost or self._dropped:
            return
        self._unreported = 0
        held, server = self.held(), self._server
        size = held.total
        self._filled = size > CONNECTION
        server.clients_memory.note(self.client, size)
        found = excess(
            held,
            server.client_limits,
            self._arrears,
            time.monotonic(),
            gets_messages=self.client.subscribed or self.client in server.monitors,
        )
        if found is not None:
            server.counters[f"{found.setting}_disconnections"] += 1
            _log.warning(
                "client %d at %s is disconnected: %s (%s)",
                *(self.client.id, self.client.address, found.reason, found.setting),
            )
            self.drop(found.reason)
        if server.client_limits.memory.amount:
            evict(server)

    def look(self, now: float) -> None:
        """Looks whether time has made the client break a limit.

        Args:
            now: Unix time in seconds.
        """
        if self._lost or self._dropped:
            return
        try:
            if self._filled or self._unreported:
                unsent = self._transport.get_write_buffer_size()
                if unsent != self._unsent:
                    self._unsent = unsent
                    self.client.active_at = now
                self._report()
            timeout = self._server.client_limits.timeout
            if timeout and now - self.client.active_at > timeout and not self._waits():
                self.drop("it was idle")
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    def _waits(self) -> bool:
        """Returns whether the client has every reason to be silent."""
        client = self.client
        return self._later is not None or client.subscribed or client in self._server.monitors

    def limit_requests(self) -> None:
        """Has requests keep to the server's limits, as they are now, and small ones before AUTH."""
        limits = self._server.limits
        if has_to_authenticate(self.client):
            limits = replace(limits, before_auth=True)
        self._inbox.limit(limits)

    # ------------------------------------------------------------------ reading
    def _pause_reading(self) -> None:
        if self._reading:
            self._transport.pause_reading()
            self._reading = False
            self._turn.paused.add(self)

    def _resume_reading(self) -> None:
        if not self._reading and not self._ended:
            self._transport.resume_reading()
            self._reading = True
            self._turn.paused.discard(self)

    def descriptor(self) -> int:
        """Returns the number of the socket, negative when there is none."""
        return self._descriptor

    def look_after(self, *, ended: bool) -> None:
        """Hears what became of the client while it was not read from.

        Only one that waits for a reply is ended. What another has sent before it went away is done
        all the same, as if it had been read sooner.

        Args:
            ended: Whether it sends no more; what it has sent may not have been read.
        """
        if self._lost or self._reading or not self._blocked:
            return
        try:
            if ended:
                self.drop("the client went away")
            elif self._inbox.grow():
                self._resume_reading()  # its last word may stand behind what it could not send yet
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    # ------------------------------------------------------------------ serving
    @property
    def _busy(self) -> bool:
        """Whether what was asked for before must be answered first."""
        return self._making or self._later is not None or not self._writable

    @property
    def _blocked(self) -> bool:
        """Whether the client waits for what may take long, and is of no use without it."""
        return self._later is not None

    def _join_turn(self) -> None:
        if not self._due:
            self._due = True
            self._turn.join(self)

    def serve(self, seconds: float) -> None:
        """Does waiting requests in order, until one's reply is still to come or time is up.

        Args:
            seconds: How long it may take; the request that is being done then is finished.
        """
        inbox, server = self._inbox, self._server
        requests = inbox.requests
        # A lone request needs no look at the clock.
        until = perf_counter() + seconds if len(requests) > 1 or inbox.ahead else inf
        while (
            self._later is None and not self._making and self._writable and not self._closing
        ):  # `_busy`, spelled out: for each request
            if not requests and not (inbox.ahead and inbox.parse(lambda: perf_counter() <= until)):
                break
            self._do(requests.popleft())
            if server.ended_at > until:
                break
        if inbox.parser.error is not None:
            self._end_for_protocol()

    def _end_for_protocol(self) -> None:
        """Tells a client that broke the protocol so, once all before it was done, and closes."""
        error = self._inbox.error
        if error is not None and not self._closing and not self._busy:
            self._reason = str(error)
            _log.info("client %d at %s: %s", self.client.id, self.client.address, error)
            self._answer(Error(error.line))
            self._closing = True

    def settle(self) -> None:
        """Sends what was answered, and goes on reading or closes."""
        self._due = False
        if self._lost:
            return
        if self._writable or not self._making:
            self._flush()
        if self._making:
            if self._writable:
                self._join_turn()
        elif self._closing:
            self._inbox.clear()
            self._transport.close()
        else:
            self._go_on()
        if self._filled or not self._writable or self.client.transaction is not None:
            self._report()
        elif self._unreported:
            self._unreported = self._received = 0
            self._server.clients_memory.filled.pop(self.client, None)

    def _go_on(self) -> None:
        """Comes back in the next turn, waits, or reads more."""
        if self._busy:
            if self._ended and self._blocked:
                self.drop()
            elif not self._reading and self._inbox.has_place():
                self._resume_reading()  # to see it go away
        elif self._inbox.requests or self._inbox.ahead or self._inbox.error is not None:
            self._pause_reading()
            self._join_turn()
        elif self._ended:
            self._closing = True
            self._transport.close()
        elif not self._reading or self._inbox.backlog:
            self._inbox.all_done()
            self._resume_reading()

    def _do(self, request: Request) -> None:
        client, server = self.client, self._server
        client.commands_done += 1
        try:
            command, args = server.commands.find(request)
            client.last_command = name = command.full_name
            memory = server.memory
            if (
                memory.usage.values + server.clients_memory.total > memory.near
                or self._filled
                or self._unreported
                or client.subscribed
                or not client.user.unrestricted
                or not client.authenticated
            ):
                self._check(command, request)
            if client.transaction is None or name in NEVER_QUEUED:
                reply = call(client, command, args)
            else:
                reply = queue(client, client.transaction, command, args)
        except Refused as error:
            self._server.ended_at = perf_counter()
            if is_http(request):
                self._end_for_http()
                return
            reply = refuse(client, request, error.line)
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

    def _check(self, command: Command, request: Request) -> None:
        """Refuses what the client may not do, has no memory left for, or not while it subscribes.

        Raises:
            Refused: It is not done.
        """
        client, user = self.client, self.client.user
        if not client.authenticated:
            check_allowed(client, command, request)
        elif not user.unrestricted and not user.remembers(command, request):
            check_allowed(client, command, request)
            user.remember(command, request)
        if self._server.memory.limit:
            if self._filled or self._unreported:
                self._report()  # the request that is done now is no longer one that is held
            check_memory(client, command, request)
        if client.subscribed:
            check_subscriber(client, command.full_name)

    def _end_for_http(self) -> None:
        """Closes the connection of a browser that was made to send commands, as Redis does."""
        if self._server.may_warn("http"):
            _log.warning(
                "possible attack: client %d at %s sent POST or Host: as to a web server; somebody"
                " may try to have a browser send commands. Connection closed.",
                *(self.client.id, self.client.address),
            )
        self._reason = "it spoke HTTP"
        self._closing = True
        self._let_go()
        self._transport.abort()

    def _resume(self) -> None:
        """Makes the reply that was to come, and goes on."""
        later, self._later = self._later, None
        self.client.blocked = False
        try:
            self._join_turn()  # first: what is done now may close the connection, after the answer
            if later is not None:
                self._answer(later.finish())
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

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
        try:
            self._out += pieces
        except MemoryError:
            HEADROOM.relieve()
            self._out += pieces
        if is_long(pieces) or len(self._out) > _MANY_PIECES:
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
        try:
            self._out += pieces
            self._pushed += size
            if self._making or not self._writable:
                self._report()
                if self._dropped:
                    return
            if self._pushed > _FLUSH_ABOVE and not self._making:
                self._flush()
            self._join_turn()
        except Exception as error:  # noqa: BLE001 - logged; whoever sends messages goes on
            self.fail(error)

    def _flush(self) -> None:
        """Sends what there is; of a long reply, one portion."""
        out = self._out
        if not out:
            return
        try:
            buffers = _taken(out)
        except Exception as error:  # noqa: BLE001 - logged; what was sent cannot be completed
            self.fail(error)
            return
        self._making = bool(out)
        if not out:
            self._pushed = 0
        for buffer in buffers:
            self._transport.write(buffer)
            if type(buffer) is memoryview and not self._writable:
                self.client.lent.append(buffer)

    def _let_go(self) -> None:
        """Forgets what was to be sent."""
        self._out.clear()
        self._making = False

    # ------------------------------------------------------------------ the end
    def close(self, reason: str) -> None:
        """Closes the connection once what was answered has been sent.

        Args:
            reason: Why, for the log.
        """
        self._reason = self._reason or reason
        self._closing = True
        if self._due:
            return
        try:
            if not self._making:
                self._flush()
            if not self._making:
                self._transport.close()
            elif self._writable:
                self._join_turn()
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    def drop(self, reason: str = "") -> None:
        """Closes the connection at once; what was not sent yet is lost.

        Args:
            reason: Why, for the log.
        """
        self._reason = self._reason or reason
        self._closing = self._dropped = True
        self._inbox.clear()
        self._let_go()
        if self._registered:
            self._server.clients_memory.forget(self.client)
        try:
            if self._registered and not self._lost:  # else the number is none, or another socket's
                hang_up(self._descriptor)
            self._transport.abort()
        except Exception:  # noqa: BLE001 - logged; at least nothing is kept for it
            _log.exception("a connection could not be closed")
            self.connection_lost(None)

    def fail(self, error: BaseException) -> None:
        """Ends the connection because of a fault that is not the client's.

        Args:
            error: What went wrong; it is logged.
        """
        if not self._lost:
            address = self.client.address if self._registered else "an unknown address"
            _log.error("serving the client at %s failed", address, exc_info=error)
            self.drop("a fault of the server")


def _is_elsewhere(peer: object) -> bool:
    return isinstance(peer, tuple) and is_elsewhere(peer[0])


def _taken(out: list[Piece]) -> list[Blob]:
    """Takes what is to be sent next; once more, where the memory for it was missing."""
    whole = not any(isinstance(piece, Generator) for piece in out)
    try:
        return take(out)
    except MemoryError:
        HEADROOM.relieve()
        if not whole:  # what has been made of a reply in portions cannot be made again
            raise
        return take(out)


def _address(peer: object, local: object) -> str:
    """Returns `host:port`, or `path:0` on a Unix socket, as Redis shows them."""
    match peer or local:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str(path):
            return f"{path}:0"
        case _:
            return "?:0"
