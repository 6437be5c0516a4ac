"""A connection that many clients share: requests of one loop turn go out in one write.

Each request has a callback, which is given the reply or the error that came instead. Replies are
made by hiredis, but large values at the top: those are received where they will lie.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import hiredis
import numpy as np

from tensorkeep.errors import StoreError
from tensorkeep_valkey.engine_errors import plain
from tensorkeep_valkey.framing import BULK, BrokenReply, Framer
from tensorkeep_valkey.losses import Lost, ended_by
from tensorkeep_valkey.packing import gather, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep_valkey.packing import Argument, Word
    from tensorkeep_valkey.upstream import Upstream

Reply: TypeAlias = Any
"""What hiredis makes of a reply; a large value is a memoryview. An error that the engine replied
is a `StoreError`, as is one of the connection; it is handed over, not raised."""

_RECEIVE: Final = 128 * 1024  # bytes; a chunk that fills it is looked at for large values
_LARGE: Final = 32 * 1024  # bytes of a value that is received where it will lie
_CHECK: Final = 0.5  # part of the time limit after which waiting requests are looked at
_UNFINISHED: Final = object()


class _Waiting(NamedTuple):
    """Requests whose replies are to come.

    Attributes:
        done: Gets the reply or, of an exchange, all replies.
        replies: Those of an exchange that are there; None for a request alone.
        expected: How many replies there will be.
        since: When they were sent, in the loop's seconds.
    """

    done: Callable[[Any], None]
    replies: list[Reply] | None
    expected: int
    since: float


class SharedConnection(asyncio.BufferedProtocol):
    """One connection, opened when it is first needed and again when it was lost.

    Args:
        upstream: The engine.
        begin: Commands that the connection begins with.

    Attributes:
        generation: That of `Upstream` when it was made; it is to be replaced when that has grown.
    """

    def __init__(self, upstream: Upstream, begin: Sequence[Sequence[Argument]]) -> None:
        self._upstream = upstream
        self.generation = upstream.generation
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connecting = False
        self._closed = self._retired = False
        self._out: list[Argument] = []
        self._flushes = False
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._receive = memoryview(bytearray(_RECEIVE))
        self._fresh()

    def _fresh(self) -> None:
        """Expects the first reply of a connection."""
        self._reader = hiredis.Reader(
            notEnoughData=_UNFINISHED, replyError=StoreError, protocolError=BrokenReply
        )
        self._reader.setmaxbuf(0)
        self._between = True  # no reply is unfinished
        self._large: memoryview | None = None  # a value that is being received
        self._filled = 0

    # ------------------------------------------------------------------ requests
    @property
    def usable(self) -> bool:
        """Whether requests may be sent, or another connection is to be taken."""
        return not self._retired and self.generation == self._upstream.generation

    def exchange(
        self, requests: Sequence[Sequence[Word]], done: Callable[[list[Reply]], None]
    ) -> None:
        """Sends several requests, with nothing of others between them.

        Args:
            requests: At least one.
            done: Gets all replies, in order; raises nothing.
        """
        for request in requests:
            pack(request, self._out)
        self._wait(_Waiting(done, [], len(requests), self._loop.time()))

    def retire(self) -> None:
        """Closes it as soon as nothing is on its way; it gets no more requests."""
        self._retired = True
        if not self._waiting:
            self.close()

    def send(self, request: Sequence[Word], done: Callable[[Reply], None]) -> None:
        """Sends a request; those of one turn of the loop go out together.

        Args:
            request: The command and its arguments; large ones must not change before `done`.
            done: Gets the reply, or a `StoreError`; raises nothing.
        """
        pack(request, self._out)
        self._wait(_Waiting(done, None, 1, self._loop.time()))

    def _wait(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        if self._connecting or not self._out:
            return
        if self._closed:
            self._fail(StoreError("ERR the server is shutting down"))
            return
        transport = self._transport
        if transport is None:
            self._connecting = True
            self._upstream.connect(self, self._begin, self._not_connected)
            return
        pieces = gather(self._out)
        self._out.clear()
        if len(pieces) == 1:
            transport.write(pieces[0])
        else:
            transport.writelines(pieces)
        if self._timer is None:
            limit = self._upstream.address.timeout
            self._timer = self._loop.call_later(limit * _CHECK, self._look)

    def _look(self) -> None:
        """Gives up when a request has waited for too long: nothing behind it would come either."""
        self._timer = None
        if not self._waiting:
            return
        limit = self._upstream.address.timeout
        if self._loop.time() - self._waiting[0].since > limit and not self._connecting:
            self._drop(f"no reply within {limit:g} s")
        else:
            self._timer = self._loop.call_later(limit * _CHECK, self._look)

    # ------------------------------------------------------------------ the connection
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends what has waited for the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._connecting = False
        self._upstream.connected += 1
        self._fresh()
        if self._closed:
            self.close()
            return
        self._flush()

    def _not_connected(self, error: StoreError) -> None:
        self._connecting = False
        self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells all that wait that their reply will not come."""
        if self._transport is None:
            return
        self._transport = None
        self._upstream.connected -= 1
        if not self._closed:
            why = ended_by(exc)
            self._lost(why)

    def _lost(self, why: str) -> None:
        self._upstream.lose(why)
        self._fail(Lost(self._upstream.shown, why))

    def _drop(self, why: str) -> None:
        """Gives the connection up."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._upstream.connected -= 1
            transport.abort()
        self._lost(why)

    def _fail(self, error: StoreError) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._out.clear()
        for done, replies, count, _ in waiting:
            if replies is None:
                done(error)
            else:
                done([*replies, *[error] * (count - len(replies))])

    def close(self) -> None:
        """Ends it; what waits gets an error."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport, self._transport = self._transport, None
        if transport is not None:
            self._upstream.connected -= 1
            transport.close()
        self._fail(StoreError("ERR the server is shutting down"))

    # ------------------------------------------------------------------ replies
    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Names where to receive: a large value's own memory, or the buffer for all else."""
        return self._receive if self._large is None else self._large[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Takes received bytes."""
        if self._transport is None:
            return
        try:
            if self._large is not None:
                self._filled += nbytes
                if self._filled == len(self._large):
                    value, self._large = self._large, None
                    self._between = True
                    self._deliver(value[:-2])
            else:
                self._take(nbytes)
        except BrokenReply as error:
            self._drop(f"what came is no reply: {error}")
        if self._retired and not self._waiting:
            self.close()

    def _take(self, nbytes: int) -> None:
        received = self._receive[:nbytes]
        if self._between and (nbytes == _RECEIVE or received[0] == BULK):
            begin = self._begin_of_large(received)
            if begin >= 0:
                self._parse(received[:begin])
                self._begin_large(received[begin:])
                return
        self._parse(received)

    def _parse(self, received: memoryview) -> None:
        if not received:
            return
        reader = self._reader
        reader.feed(received)  # type: ignore[arg-type]  # any buffer
        while (reply := reader.gets()) is not _UNFINISHED:
            # Asked first: after an unfinished reply it would mean less.
            more = reader.has_data()
            self._deliver(reply)
            if not more:
                self._between = True
                return
        self._between = False

    @staticmethod
    def _begin_of_large(received: memoryview) -> int:
        """Returns where a large value begins that is not whole yet, negative for none."""
        framer = Framer()
        data = bytes(received)
        ends = framer.feed(data)
        begin = ends[-1][0] if ends else 0
        if framer.kind != BULK:
            return -1
        header = data.find(b"\n", begin)
        return begin if header >= 0 and int(data[begin + 1 : header]) > _LARGE else -1

    def _begin_large(self, received: memoryview) -> None:
        header = bytes(received[:32]).index(b"\n") + 1
        size = int(bytes(received[1:header])) + 2
        # Unlike a bytearray's, its memory is not filled with zeros first.
        self._large = np.empty(size, np.uint8).data
        self._filled = len(received) - header
        self._large[: self._filled] = received[header:]

    def _deliver(self, reply: Reply) -> None:
        if not (type(reply) is bytes or type(reply) is list):  # most are
            if isinstance(reply, hiredis.PushNotification):
                return
            if isinstance(reply, StoreError) and plain(reply).line.startswith("READONLY"):
                self._upstream.look_again()
        if not self._waiting:
            raise BrokenReply("nobody has asked for it")
        done, replies, count, _ = self._waiting[0]
        if replies is None:
            self._waiting.popleft()
            done(reply)
            return
        replies.append(reply)
        if len(replies) == count:
            self._waiting.popleft()
            done(replies)
