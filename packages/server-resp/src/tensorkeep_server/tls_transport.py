"""TLS between a socket's transport and a client's connection, by Python's `ssl` in memory.

`asyncio` has such a layer. It drops replies that are made after the client has said that it sends
no more, encrypts a large reply in one piece, during which nobody else is served, and makes the
connection only once the handshake is done: until then, clients could not be counted.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep_server.tls import Tls

_log = logging.getLogger(__name__)

RECEIVE_SIZE: Final = 68 * 1024
"""Bytes of the buffer that encrypted bytes are received into: somewhat more than they become."""

HANDSHAKE_LIMIT: Final = 10.0
"""Seconds after which a client must have ended its handshake."""

_PORTION: Final = 64 * 1024  # bytes that are encrypted at a time


class SecuredProtocol(asyncio.BufferedProtocol):
    """What a connection is that TLS can be put under."""

    def secured(self, name: str) -> None:
        """Hears that the handshake is done; nothing was received before.

        Args:
            name: The common name of the client's certificate, empty if there is none.
        """


class TlsEntrance:
    """Puts TLS under connections.

    Args:
        tls: TLS as it is set.
        may_warn: Whether a warning is to be logged that may come very often.
    """

    def __init__(self, tls: Tls, may_warn: Callable[[str], bool] = lambda _: True) -> None:
        self.tls = tls
        self.receive = memoryview(bytearray(RECEIVE_SIZE))
        self._may_warn = may_warn
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[TlsTransport] = deque()

    def let_in(self, inner: SecuredProtocol) -> TlsTransport:
        """Returns the protocol of a socket over which a connection is to speak TLS."""
        return TlsTransport(inner, self)

    def join(self, transport: TlsTransport) -> None:
        """Has a handshake go on, soon: one in a turn of the loop, as each computes for long."""
        self._waiting.append(transport)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        transport = self._waiting.popleft()
        if self._waiting:
            self._loop.call_soon(self._next)
        transport.shake_hands()

    def failed(self, address: str, reason: str) -> None:
        """Logs that a handshake failed: anybody can have many fail."""
        level = logging.WARNING if self._may_warn("handshakes") else logging.DEBUG
        _log.log(level, "the TLS handshake with %s failed: %s", address, reason)


class _State(Enum):
    HANDSHAKE = auto()
    OPEN = auto()
    HEARD = auto()  # the client sends no more
    CLOSING = auto()  # what waits is sent still
    CLOSED = auto()


class TlsTransport(asyncio.BufferedProtocol, asyncio.Transport):
    """The protocol of a socket's transport, and the transport of a client's connection.

    Args:
        inner: The client's connection.
        entrance: What all connections with TLS share.
    """

    def __init__(self, inner: SecuredProtocol, entrance: TlsEntrance) -> None:
        super().__init__()
        self._inner = inner
        self._entrance = entrance
        self._receive = entrance.receive
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._state = _State.HANDSHAKE
        self._reading = True  # the connection takes what is received
        self._eof = False  # the socket gives no more
        self._full = False  # the socket takes no more for now
        self._paused = False  # the connection was told to write no more for now
        self._backlog: deque[memoryview] = deque()  # not encrypted yet
        self._backlog_size = 0

    # ------------------------------------------------------------------ the socket's calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the handshake, for a limited time."""
        self._transport = cast("asyncio.Transport", transport)
        context = self._entrance.tls.context
        assert context is not None  # noqa: S101 - there is a port for TLS only with one
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._limit = asyncio.get_running_loop().call_later(
            HANDSHAKE_LIMIT, self._fail, f"it took longer than {HANDSHAKE_LIMIT:g} s"
        )
        self._inner.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Names where to receive: the buffer that all connections share."""
        return self._receive

    def buffer_updated(self, nbytes: int) -> None:
        """Takes encrypted bytes."""
        if self._state is _State.OPEN:
            self._incoming.write(self._receive[:nbytes])
            self._read()
            if nbytes == RECEIVE_SIZE:  # there may be much more: others have their turn first
                self._receive_more(more=False)
                asyncio.get_running_loop().call_soon(self._go_on)
        elif self._state is _State.HANDSHAKE:
            self._incoming.write(self._receive[:nbytes])
            self._receive_more(more=False)
            self._entrance.join(self)

    def eof_received(self) -> bool:
        """Notes that nothing more comes.

        Returns:
            Whether the socket stays open.
        """
        if self._state is _State.HANDSHAKE:
            self._state = _State.CLOSED  # whoever only looks whether there is somebody does so
            return False
        self._eof = True
        if self._state is _State.OPEN:
            self._read()
        return True

    def pause_writing(self) -> None:
        """Encrypts no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Goes on encrypting."""
        self._full = False
        self._send_backlog()

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets the connection know."""
        self._state = _State.CLOSED
        self._limit.cancel()
        self._backlog.clear()
        self._backlog_size = 0
        inner, self._inner = self._inner, SecuredProtocol()  # they refer to each other
        inner.connection_lost(exc)

    # ------------------------------------------------------------------ the handshake
    def shake_hands(self) -> None:
        """Goes on with the handshake, by what the client has sent."""
        if self._state is not _State.HANDSHAKE:
            return
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            self._receive_more(more=True)
            return
        except (OSError, ValueError) as error:  # what `ssl` raises
            self._send()  # it tells the client why
            self._fail(_reason(error))
            return
        self._limit.cancel()
        self._state = _State.OPEN
        self._send()
        self._inner.secured(self._client_name())
        self._send_backlog()
        if self._reading and self._state is _State.OPEN:
            self._receive_more(more=True)
            self._read()

    def _client_name(self) -> str:
        """Returns the common name of the client's certificate, if anybody wants to know it."""
        if self._entrance.tls.settings.auth_clients_user == "off":
            return ""
        certificate = self._ssl.getpeercert() or {}
        subject = cast("tuple[tuple[tuple[str, str], ...], ...]", certificate.get("subject", ()))
        names = [value for part in subject for name, value in part if name == "commonName"]
        return names[0] if names else ""

    def _fail(self, reason: str) -> None:
        """Gives a handshake up; what was sent goes out still."""
        if self._state is _State.HANDSHAKE:
            self._state = _State.CLOSED
            self._limit.cancel()
            host, port, *_ = self._transport.get_extra_info("peername") or ("?", 0)
            self._entrance.failed(f"{host}:{port}", reason)
            self._transport.close()

    # ------------------------------------------------------------------ receiving
    def _read(self) -> None:
        """Gives the connection what was received, as long as it takes it."""
        inner, incoming, tls = self._inner, self._incoming, self._ssl
        while self._state is _State.OPEN and self._reading:
            buffer = cast("memoryview", inner.get_buffer(-1))
            size = len(buffer)
            count = 0
            ended = False
            try:
                # That there is nothing is often seen sooner than `ssl` raises.
                while count < size and (incoming.pending or tls.pending()):
                    got = tls.read(size - count, buffer[count:] if count else buffer)
                    count += got  # type: ignore[operator]  # with a buffer it is a number
                    ended = not got
                    if ended:
                        break
            except ssl.SSLWantReadError:
                pass
            except (OSError, ValueError) as error:
                self._break(error)
                return
            if count:
                inner.buffer_updated(count)
            if ended or (self._eof and not count):
                self._end()
            elif count < size and not self._eof:
                break
        if self._state is not _State.CLOSED:  # keys may have been changed
            self._send()

    def _go_on(self) -> None:
        """Goes on receiving, unless something else was decided meanwhile."""
        if self._state is _State.OPEN and self._reading and not self._eof:
            self._receive_more(more=True)

    def _end(self) -> None:
        """Lets the connection know that the client sends no more."""
        if self._state is not _State.OPEN:
            return
        self._state = _State.HEARD
        self._receive_more(more=False)
        if not self._inner.eof_received():
            self.close()

    def _break(self, error: Exception) -> None:
        _log.debug("TLS with a client broke: %s", _reason(error))
        self.abort()

    # ------------------------------------------------------------------ the connection's calls
    def pause_reading(self) -> None:
        """Receives no more for now."""
        self._reading = False
        self._receive_more(more=False)

    def resume_reading(self) -> None:
        """Goes on receiving, with what was received before in a later turn of the loop."""
        if self._reading:
            return
        self._reading = True
        if self._state is not _State.OPEN:
            return
        if not self._eof:
            self._receive_more(more=True)
        if self._eof or self._incoming.pending or self._ssl.pending():
            asyncio.get_running_loop().call_soon(self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends bytes, encrypted a portion at a time."""
        state = self._state
        if state is _State.CLOSING or state is _State.CLOSED or not data:
            return
        if len(data) > _PORTION or self._paused or state is _State.HANDSHAKE:
            view = memoryview(data).cast("B")
            self._backlog.append(view)
            self._backlog_size += len(view)
            self._send_backlog()
            return
        try:
            self._ssl.write(data)
        except (OSError, ValueError) as error:
            self._break(error)
            return
        self._transport.write(self._outgoing.read())
        if self._full:
            self._tell()

    def get_write_buffer_size(self) -> int:
        """Returns how many bytes wait to be sent."""
        return self._backlog_size + self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        """Returns what is known of the socket."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Returns whether the connection ends."""
        return self._state in {_State.CLOSING, _State.CLOSED} or self._transport.is_closing()

    def close(self) -> None:
        """Closes once what waits was sent; before the handshake is done, nothing can be."""
        if self._state is _State.HANDSHAKE:
            self.abort()
        elif not self.is_closing():
            self._state = _State.CLOSING
            self._receive_more(more=False)
            self._send_backlog()

    def abort(self) -> None:
        """Closes at once."""
        self._state = _State.CLOSED
        self._transport.abort()

    # ------------------------------------------------------------------ sending
    def _send_backlog(self) -> None:
        """Encrypts what waits and sends it, until the socket takes no more."""
        if self._state is _State.HANDSHAKE or self._state is _State.CLOSED:
            return
        backlog, tls = self._backlog, self._ssl
        try:
            while backlog and not self._full:
                waiting = backlog[0]
                sent = tls.write(waiting[:_PORTION])
                self._backlog_size -= sent
                if sent == len(waiting):
                    backlog.popleft()
                else:
                    backlog[0] = waiting[sent:]
                self._send()
        except (OSError, ValueError) as error:
            self._break(error)
            return
        if self._state is _State.CLOSING and not backlog:
            self._finish()
        self._tell()

    def _tell(self) -> None:
        """Lets the connection know whether to write more."""
        paused = self._full or bool(self._backlog)
        if paused != self._paused:
            self._paused = paused
            if paused:
                self._inner.pause_writing()
            else:
                self._inner.resume_writing()

    def _send(self) -> None:
        """Sends what was encrypted."""
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _finish(self) -> None:
        """Says goodbye; the client's is not waited for."""
        self._state = _State.CLOSED
        with suppress(OSError, ValueError):  # it waits for the client's, or the client is gone
            self._ssl.unwrap()
        self._send()
        self._transport.close()

    def _receive_more(self, *, more: bool) -> None:
        """Has the socket give more, or no more for now."""
        if self._transport.is_closing():
            return
        if more:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


def _reason(error: Exception) -> str:
    """Returns what OpenSSL says, without the line of the source that said so."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    reason = getattr(error, "reason", None)
    return str(reason or error).lower().replace("_", " ")
