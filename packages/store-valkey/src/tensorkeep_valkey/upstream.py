"""Reaches the engine: where it is at the moment, connecting, who we are there, and pauses.

All connections of a store are opened here, so that an engine that is not there is tried once in a
while, however many clients ask for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import hiredis
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError

from tensorkeep.errors import StoreError
from tensorkeep_valkey.backoff import pause_after
from tensorkeep_valkey.losses import Refuses, Unreachable, Untrusted
from tensorkeep_valkey.packing import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep_valkey.addresses import Address
    from tensorkeep_valkey.packing import Argument

_log = logging.getLogger(__name__)

WANTS_PASSWORD: Final = "NOAUTH Authentication required."  # noqa: S105 - none
"""The engine's error for a client that has not said its password."""

_SEND_BUFFER: Final = 4 * 2**20
"""Bytes that a Unix socket may hold, if the system lets it: by default it holds 200 KB, and a large
value would wait for the engine several times."""
_CROWDED: Final = 0.01  # seconds before the next try where many connect at once
_LOOK_AGAIN: Final = 1.0  # seconds before another READONLY makes connections be opened again
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Upstream:
    """The engine as it is reached.

    Attributes:
        address: Where it is.
        shown: The address for people.
        connected: Connections that are open.
        reconnections: How often an engine that had been lost was reached again.
        last_error: What went wrong last, for people; empty for nothing.
        generation: Grows when the engine may be elsewhere by now: older connections are to be
            opened again.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.shown = address.shown
        self.connected = 0
        self.reconnections = 0
        self.last_error = ""
        self.generation = 0
        self._failures = 0
        self._not_before = 0.0
        self._looked_at = 0.0
        self._was_lost = False
        self._tls = address.tls_context()
        self._sentinel: Sentinel | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(
        self,
        protocol: asyncio.BaseProtocol,
        begin: Sequence[Sequence[Argument]],
        failed: Callable[[StoreError], None],
    ) -> None:
        """Opens a connection; `connection_made` of the protocol tells that it is ready.

        Args:
            protocol: Gets the connection once all replies to `begin` are there.
            begin: Commands that a connection begins with: who it is, and in which database.
            failed: Called instead, with `Unreachable` or `Refuses`.
        """
        task = asyncio.get_running_loop().create_task(self._connect(protocol, begin, failed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(
        self,
        protocol: asyncio.BaseProtocol,
        begin: Sequence[Sequence[Argument]],
        failed: Callable[[StoreError], None],
    ) -> None:
        try:
            transport = await self.open(begin)
        except StoreError as error:
            failed(error)
            return
        except Exception as error:  # noqa: BLE001 - logged; whoever waits must hear of it
            _log.exception("connecting to the engine at %s failed", self.shown)
            failed(Unreachable(self.shown, type(error).__name__))
            return
        transport.pause_reading()  # uvloop looks at the kind of protocol when it begins to read
        transport.set_protocol(protocol)
        transport.resume_reading()
        protocol.connection_made(transport)

    async def open(self, begin: Sequence[Sequence[Argument]]) -> asyncio.Transport:
        """Opens a connection on which some commands have been done.

        Raises:
            Unreachable: The engine is not there, or was not a moment ago.
            Refuses: It refuses one of the commands.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            raise Unreachable(self.shown, self.last_error)
        greeting = Greeting(len(begin))
        try:
            transport = await self._greet(greeting, begin)
        except TimeoutError as error:
            raise self._failed(f"not within {self.address.connect_timeout:g} s") from error
        except ssl.SSLError as error:
            raise Untrusted(self.shown, self._failed(_reason(error)).why) from error
        except (OSError, MasterNotFoundError, RedisError) as error:
            raise self._failed(_reason(error)) from error
        if greeting.refused or greeting.lost:
            transport.abort()
        if greeting.refused:
            raise Refuses(greeting.refused)
        if greeting.lost:
            raise self._failed("it closed the connection at once")
        self._failures = 0
        if self._was_lost:
            self._was_lost = False
            self.reconnections += 1
            _log.warning("the engine at %s is reached again", self.shown)
        return transport

    async def _greet(
        self, greeting: Greeting, begin: Sequence[Sequence[Argument]]
    ) -> asyncio.Transport:
        """Connects, and waits for the replies to the first commands, for a limited time."""
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(self.address.connect_timeout):
                transport = await self._dial(greeting)
                if begin:
                    transport.write(packed(begin))
                    await greeting.done
        except BaseException:
            if transport is not None:
                transport.abort()
            raise
        return transport

    async def _dial(self, greeting: Greeting) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        address = self.address
        while address.path:
            try:
                found = await loop.create_unix_connection(lambda: greeting, address.path)
            except BlockingIOError:  # more want to connect than the engine lets wait
                await asyncio.sleep(_CROWDED)
            else:
                transport = found[0]
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
                return transport
        host, port = await self._place()
        transport, _ = await loop.create_connection(
            lambda: greeting,
            *(host, port),
            ssl=self._tls,
            server_hostname=host if self._tls is not None else None,
        )
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return transport

    async def _place(self) -> tuple[str, int]:
        """Returns host and port: as they were said, or what the Sentinels name now."""
        address = self.address
        if not address.sentinels:
            return address.host, address.port
        if self._sentinel is None:
            who: dict[str, Any] = {
                "socket_timeout": address.connect_timeout,
                "socket_connect_timeout": address.connect_timeout / 2,
            }
            if address.sentinel_credentials is not None:
                user = address.sentinel_credentials.user
                who["username"] = None if user is None else user.decode()
                who["password"] = address.sentinel_credentials.password.decode()
            self._sentinel = Sentinel(list(address.sentinels), sentinel_kwargs=who)
        host, port = await self._sentinel.discover_master(address.service)
        return str(host), int(port)

    def _failed(self, why: str) -> Unreachable:
        self._failures += 1
        pause = pause_after(self._failures, random.random())  # noqa: S311 - no secret
        self._not_before = asyncio.get_running_loop().time() + pause
        if self._failures == 1:
            _log.error("the engine at %s cannot be reached: %s", self.shown, why)
        self.last_error = why
        self._was_lost = True
        return Unreachable(self.shown, why)

    def lose(self, why: str) -> None:
        """Hears that a connection was lost."""
        if not self._was_lost:
            _log.error("a connection to the engine at %s was lost: %s", self.shown, why)
        self.last_error = why
        self._was_lost = True

    def look_again(self) -> None:
        """Hears that the engine took no writes: after a failover it may be another one by now."""
        now = asyncio.get_running_loop().time()
        if now >= self._looked_at + _LOOK_AGAIN:
            self._looked_at = now
            self.generation += 1
            self.last_error = "READONLY: the engine took no writes"
            _log.warning("the engine at %s takes no writes; it is looked for again", self.shown)

    def pause(self) -> float:
        """Returns the seconds until the engine may be tried again."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Gives up connecting."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._sentinel is not None:
            await self._sentinel.aclose()


class Greeting(asyncio.Protocol):
    """Waits for the replies to the first commands of a connection.

    Attributes:
        done: Is done when all are there, or the connection is lost.
        refused: The first error, empty for none.
        lost: Whether the connection is lost.
    """

    def __init__(self, replies: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refused = ""
        self.lost = False
        self._left = replies
        self._reader = hiredis.Reader(notEnoughData=self)

    def data_received(self, data: bytes) -> None:
        """Takes replies."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not self:
                self._left -= 1
                if isinstance(reply, hiredis.ReplyError) and not self.refused:
                    self.refused = str(reply)
                    if self.refused.startswith("NOAUTH"):  # what HELLO says of it helps nobody
                        self.refused = WANTS_PASSWORD
        except hiredis.ProtocolError:
            self.refused = "ERR what listens there speaks another protocol"
        if (self._left <= 0 or self.refused) and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it says no more
        """Notes it."""
        self.lost = True
        if not self.done.done():
            self.done.set_result(None)


def _reason(error: BaseException) -> str:
    """Returns what an error of the network says, in short, without what was sent."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
