"""A client's connection to a server whose data is an engine's.

What is no command of our own goes to the engine as it came, and its reply to the client as it
comes. Several may be on their way; a command of our own waits until all before it are done, and
those behind it wait for its reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from tensorkeep.commands.command import MODULE, NO_MULTI
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import Error
from tensorkeep.errors import StoreError
from tensorkeep.store import is_remote
from tensorkeep_server.allowed import check_over_engine
from tensorkeep_server.codec import Unread
from tensorkeep_server.commands.merged import is_merged
from tensorkeep_server.connection import Connection
from tensorkeep_server.errors import NO_MEMORY, error_reply
from tensorkeep_server.later import Later
from tensorkeep_server.refusals import check_subscriber, is_http
from tensorkeep_server.remote_calls import call_remotely, queue_remotely

if TYPE_CHECKING:
    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command
    from tensorkeep.commands.reply import Reply
    from tensorkeep.store import LocalKeys, Result, Session

_REFUSED_IN_MULTI: Final = "ERR Command not allowed inside a transaction"


class RelayingConnection(Connection):
    """One client's connection; see `Connection`, and `store.Downstream` for its calls."""

    _session: Session

    def _first_keys(self) -> LocalKeys:
        store = self._server.store
        assert is_remote(store)  # noqa: S101 - with another one, this kind of connection is not used
        self._session = store.session(self)
        self._relayed = 0  # commands on their way to the engine and back
        # A command of our own, until those are done.
        self._waiting: tuple[Request, Command | None] | None = None
        return cast("LocalKeys", self._session.values())

    def _register(self) -> None:
        super()._register()
        self.client.session = self._session

    def _let_in_with_password(self) -> None:
        """Turns a client of another machine away if the engine needs no password.

        It is asked; what the client sends meanwhile waits.
        """
        self._later = Later()

        def came(reply: Result[bytes]) -> None:
            if self._lost:
                return
            self._later = None
            try:
                open_to_all = not reply().startswith(b"-NOAUTH")
            except StoreError:  # there is nothing to protect just now
                open_to_all = False
            if open_to_all:
                self._server.clients.pop(self.client.id, None)
                self._turn_away()
            else:
                self._join_turn()

        self._session.fetch([b"PING"], came)

    # ------------------------------------------------------------------ the engine's side
    def send(self, data: bytes) -> None:
        """Sends what the engine has sent, see `Downstream.send`."""
        if self._closing:
            return
        try:
            if self._out or self._making:
                self._out.append(data)
                self._join_turn()
            else:
                self._transport.write(data)
            if not self._writable:
                self._report()
        except Exception as error:  # noqa: BLE001 - logged
            self.fail(error)

    def lose(self, reason: str) -> None:
        """Closes the connection, see `Downstream.lose`."""
        self.close(reason)

    def pause(self) -> None:
        """Reads no more from the client, see `Downstream.pause`."""
        self._pause_reading()

    def resume(self) -> None:
        """Goes on, see `Downstream.resume`."""
        self._join_turn()

    # ------------------------------------------------------------------ the client's side
    def pause_writing(self) -> None:
        """Lets the engine know that the client does not read."""
        super().pause_writing()
        self._session.pause()

    def resume_writing(self) -> None:
        """Lets the engine know that the client reads again."""
        self._session.resume()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the session with the client."""
        try:
            super().connection_lost(exc)
        finally:
            if self._registered:
                self._session.close()

    def _waits(self) -> bool:
        replies = self._relayed > 0 and self._writable  # or it does not read those that come
        return replies or self._session.listens or super()._waits()

    # ------------------------------------------------------------------ serving
    @property
    def _busy(self) -> bool:
        # Spelled out: it is asked several times for each request.
        return self._relayed > 0 or self._making or self._later is not None or not self._writable

    @property
    def _blocked(self) -> bool:
        return self.client.blocked or self._session.waits

    def _do(self, request: Request) -> None:
        client = self.client
        client.commands_done += 1
        command = self._server.commands.get(request[0])
        if command is not None or type(request) is Unread or is_http(request):
            if self._relayed:
                self._wait(request, command)
                return
            if self._is_ours(request, command):
                self._do_ours(request, command)
                return
        self._relay(request)

    def _relay(self, request: Request) -> None:
        client = self.client
        self._relayed += 1
        client.last_command = bytes(request[0]).decode("latin-1").lower()
        self._session.relay(request, self._done)

    def _is_ours(self, request: Request, command: Command | None) -> bool:
        """Returns whether a command is done here, and not by the engine.

        It is asked when all before it are done: within a transaction, the engine does more.

        Args:
            request: The whole request.
            command: What the table has of that name.
        """
        if command is None or type(request) is Unread:
            # To HTTP, the engine would close the client's connection to it, and be sent the rest.
            return True
        if self._session.in_transaction:
            return MODULE in command.flags or NO_MULTI in command.flags
        return MODULE in command.flags or is_merged(self._server.commands, request)

    def _done(self) -> None:
        """Takes note that a command is done by the engine, and its reply sent."""
        self._relayed -= 1
        if self._relayed:
            return
        inbox = self._inbox
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._later = None
            self._join_turn()  # first: what is done now may close the connection, after the answer
            if self._is_ours(*waiting):
                self._do_ours(*waiting)
            else:
                self._relay(waiting[0])
        elif (
            (inbox.requests or inbox.ahead or inbox.backlog or inbox.error is not None)
            or not self._reading
            or self._ended
        ):
            self._join_turn()

    def _wait(self, request: Request, command: Command | None) -> None:
        """Has a command that may be our own done when all before it are."""
        self._waiting = request, command
        self._later = Later()

    def _do_ours(self, request: Request, command: Command | None) -> None:
        """Does a command of our own now."""
        self.client.muted = self._session.mutes()
        if command is None and type(request) is not Unread:
            self._end_for_http()
            return
        reply = self._reply_of_ours(request, command)
        if not isinstance(reply, Later):
            self._answer(reply)
        elif reply.resolved:
            self._answer(reply.finish())
        else:
            self._later = reply
            reply.then(self._resume)

    def _reply_of_ours(self, request: Request, command: Command | None) -> Reply | Later:
        client, session = self.client, self._session
        if command is None or type(request) is Unread:
            return self._refused(Error(NO_MEMORY))
        client.last_command = command.full_name
        try:
            found, args = self._server.commands.find(request)
            client.last_command = found.full_name
            if session.subscribed:
                check_subscriber(client, found.full_name)
            check_over_engine(client, found, request)
            if not session.in_transaction:
                return call_remotely(client, found, args, self._begin_work)
            if NO_MULTI in found.flags:
                return self._refused(Error(_REFUSED_IN_MULTI))
            return queue_remotely(client, found, args)
        except CommandError as error:
            return self._refused(Error(error.line))
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            return self._refused(error_reply(error))

    def _refused(self, error: Error) -> Reply | Later:
        """Returns an error; a transaction of which a command was refused is not done."""
        if not self._session.in_transaction:
            return error
        later = Later()
        self._session.spoil(lambda: later.resolve(lambda: error))
        return later

    def _begin_work(self) -> None:
        """Hears that the client waits for more than the engine from now on."""
        self.client.blocked = True
        if self._ended:
            self._join_turn()  # nobody waits any more

    def _answer(self, reply: Reply) -> None:
        self.client.version = self._session.version
        super()._answer(reply)
