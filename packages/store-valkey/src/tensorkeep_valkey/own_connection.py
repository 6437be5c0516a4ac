"""A client's own connection to the engine: requests go out in order, replies go to the client raw.

What comes is passed on as it comes. Only where a reply means something to the session, or is not
for the client, it is looked at or held back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from tensorkeep_valkey.framing import ERROR, PUSH, BrokenReply, Framer
from tensorkeep_valkey.losses import Lost
from tensorkeep_valkey.packing import pack
from tensorkeep_valkey.relayed import QUEUED, confirm, replies_to, unasked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.errors import StoreError
    from tensorkeep.store import Downstream
    from tensorkeep_valkey.packing import Argument
    from tensorkeep_valkey.relayed import State
    from tensorkeep_valkey.upstream import Upstream

_SEEN: Final = 64 * 1024  # bytes of a reply that are kept to be looked at, at least
_GLANCE: Final = 16  # of one that means nothing, but may be an error
_READONLY: Final = b"-READONLY"


class Expected:
    """A reply that is to come and needs a look.

    Args:
        seen: Is given the reply: whole if it is held back, otherwise at least its begin.
        failed: Called instead if it does not come; without it, the client is sent the error.
        held: Whether the reply is held back from the client; a function is asked when it begins.
        kind: Of a command of the SUBSCRIBE family, how its replies begin.
        channels: How many channels that names.
    """

    __slots__ = ("channels", "failed", "held", "kind", "left", "local", "seen")

    def __init__(  # noqa: PLR0913 - each has its default
        self,
        seen: Callable[[bytes], None],
        *,
        failed: Callable[[StoreError], None] | None = None,
        held: bool | Callable[[], bool] = False,
        kind: bytes = b"",
        channels: int = 0,
        local: bytes | None = None,
    ) -> None:
        self.seen = seen
        self.failed = failed
        self.held = held
        self.kind = kind
        self.channels = channels
        self.left = 0
        self.local = local


Waiting: TypeAlias = "Callable[[], None] | Expected"
"""What waits for a reply: most often just what is called when it has been sent to the client."""


class OwnConnection(asyncio.Protocol):
    """One connection, opened when it is first needed and again when it was lost.

    Args:
        upstream: The engine.
        downstream: The client.
        state: What the engine keeps for the client.
    """

    def __init__(self, upstream: Upstream, downstream: Downstream, state: State) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._state = state
        self._transport: asyncio.Transport | None = None
        self._connecting = False
        self._closed = False
        self._paused = False  # the client does not read
        self._full = False  # the engine does not read
        self._generation = 0
        self._out: list[Argument] = []
        self._waiting: deque[Waiting] = deque()
        self._looks = 0  # of those that wait, how many need a look at their reply
        self._raw = False  # what comes is no reply any more
        self._fresh()

    def _fresh(self) -> None:
        """Expects the first reply of a connection."""
        self._framer = Framer()
        self._item: bytearray | None = None  # what there is of the reply that has begun
        self._holding = False  # and it is held back

    # ------------------------------------------------------------------ requests
    @property
    def idle(self) -> bool:
        """Whether no reply is waited for."""
        return not self._waiting

    def send(self, request: Sequence[Argument], waiting: Waiting) -> None:
        """Sends a request.

        Args:
            request: The command and its arguments.
            waiting: What waits for the reply.
        """
        if self._generation != self._upstream.generation and not self._waiting:
            self._move()
        pack(request, self._out)
        self._wait(waiting)

    def say(self, reply: bytes, done: Callable[[], None]) -> None:
        """Sends a reply of our own to the client, behind those of all requests before."""
        if not self._waiting:
            self._downstream.send(reply)
            done()
            return
        self._wait(Expected(lambda _: done(), local=reply))

    def copy(self, request: Sequence[Argument]) -> None:
        """Sends a request after which all that comes is passed on, whatever it is."""
        self._raw = True
        pack(request, self._out)
        self._write()

    @property
    def copies(self) -> bool:
        """Whether all that comes is passed on."""
        return self._raw

    def _move(self) -> None:
        """Opens another connection for what comes next: the engine may be elsewhere by now."""
        if self._transport is not None and not self._state.held and not self._raw:
            self._let_go()

    def _wait(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)
        self._looks += type(waiting) is Expected
        self._write()

    def _write(self) -> None:
        """Writes what there is; all of one turn of the loop go out together."""
        out = self._out
        transport = self._transport
        if transport is not None:
            if len(out) == 1:
                transport.write(out[0])
            elif out:
                transport.writelines(out)
            self._out = []
        elif out and not self._connecting and not self._closed:
            self._connecting = True
            self._generation = self._upstream.generation
            self._upstream.connect(self, self._state.restoring(), self._not_connected)

    # ------------------------------------------------------------------ the connection
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends what has waited for the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._connecting = False
        self._upstream.connected += 1
        self._fresh()
        if self._closed:
            self._let_go()
            return
        if self._paused:
            self._transport.pause_reading()
        self._write()

    def _not_connected(self, error: StoreError) -> None:
        self._connecting = False
        if not self._closed:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the client what became of its commands, or closes it."""
        if self._transport is None:
            return
        self._transport = None
        self._upstream.connected -= 1
        if self._closed:
            return
        if self._state.quitting or self._raw:
            ended = "its connection to the engine ended"
            self._downstream.lose("QUIT" if self._state.quitting else ended)
            return
        why = "the engine closed it" if exc is None else (str(exc) or type(exc).__name__)
        if self._waiting or self._state.held:
            self._upstream.lose(why)
        self._fail(Lost(self._upstream.shown, why))

    def _fail(self, error: StoreError) -> None:
        """Gives each request its error; what cannot be made good closes the client."""
        if self._full:
            self._full = False
            self._downstream.resume()
        held = self._state.held
        if self._item is not None and not self._holding:
            held = "half of a reply"  # more must not follow it
        waiting, self._waiting = self._waiting, deque()
        self._looks = 0
        self._out.clear()
        self._fresh()
        line = b"-" + error.line.encode(errors="replace") + b"\r\n"
        for each in waiting:
            if self._closed:
                return
            if type(each) is not Expected:
                if held != "half of a reply":
                    self._downstream.send(line)
                each()  # type: ignore[operator]  # see Waiting
            elif each.failed is not None:
                each.failed(error)
            else:
                if held != "half of a reply" and each.held is not True:
                    self._downstream.send(line)
                each.seen(line)
        if held:
            self._downstream.lose(f"its connection to the engine was lost, and with it {held}")

    def close(self) -> None:
        """Ends it: the client is gone."""
        self._closed = True
        self._waiting.clear()
        self._out.clear()
        self._let_go()

    def _let_go(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            self._upstream.connected -= 1
            transport.close()

    # ------------------------------------------------------------------ congestion
    def pause(self) -> None:
        """Reads no more from the engine: the client does not read."""
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Has the client wait: the engine does not read."""
        self._full = True
        self._downstream.pause()

    def resume_writing(self) -> None:
        """Has the client go on."""
        self._full = False
        self._downstream.resume()

    # ------------------------------------------------------------------ replies
    def data_received(self, data: bytes) -> None:
        """Passes on what has come."""
        if self._transport is None:
            return
        if self._raw and not self._waiting:
            self._downstream.send(data)
            return
        framer = self._framer
        try:
            ends = framer.feed(data)
            if self._looks or self._item is not None or self._state.unusual or framer.kind:
                self._look_at(data, ends)
                return
            for _, kind in ends:
                if kind in {PUSH, ERROR} or len(ends) > len(self._waiting):
                    self._look_at(data, ends)
                    return
        except BrokenReply as error:
            self._broken(error)
            return
        self._downstream.send(data)
        waiting = self._waiting
        for _ in ends:
            waiting.popleft()()  # type: ignore[operator]  # none needs a look
            if self._closed:
                return

    def _broken(self, error: BrokenReply) -> None:
        self._let_go()
        self._state.special = True  # nobody knows what else was said
        self._fail(Lost(self._upstream.shown, f"what came is no reply: {error}"))

    def _look_at(self, data: bytes, ends: Sequence[tuple[int, int]]) -> None:
        """Passes on what has come, reply by reply."""
        begin = 0
        for end, kind in ends:
            self._part(data[begin:end], kind)
            begin = end
            item, self._item = self._item, None
            self._complete(bytes(item or b""), kind)
            if self._transport is None:
                return
        if begin < len(data):
            self._part(data[begin:], self._framer.kind)

    def _part(self, part: bytes, kind: int) -> None:
        """Takes a part of a reply."""
        item = self._item
        if item is None:
            item = self._item = bytearray()
            self._holding = kind != PUSH and self._holds()
        if self._holding:
            item += part
        else:
            most = _SEEN if self._looks or self._state.unusual else _GLANCE
            item += part[: max(0, most - len(item))]
        if not self._holding:
            self._downstream.send(part)

    def _holds(self) -> bool:
        first = self._waiting[0] if self._waiting else None
        if type(first) is not Expected:
            return False
        return first.held if isinstance(first.held, bool) else first.held()

    def _complete(self, item: bytes, kind: int) -> None:
        """Finds out what the reply that has ended belongs to."""
        state = self._state
        first = self._waiting[0] if self._waiting else None
        confirms = type(first) is Expected and bool(first.kind)
        if kind == PUSH:
            if confirms and item.partition(b"\r\n$")[2].partition(b"\r\n")[2].startswith(
                first.kind + b"\r\n"  # type: ignore[union-attr]  # it is Expected
            ):
                self._confirmed(cast("Expected", first), item)
            return
        if unasked(state, item):
            if self._holding:
                self._downstream.send(item)
            return
        if first is None:
            if not state.monitoring:
                raise BrokenReply("nobody has asked for it")
            return
        if kind == ERROR and item.startswith(_READONLY):
            self._upstream.look_again()
        if confirms and kind != ERROR and not item.startswith(QUEUED):
            self._confirmed(cast("Expected", first), item)
            return
        self._pop(item)

    def _confirmed(self, first: Expected, item: bytes) -> None:
        if not first.left:
            first.left = replies_to(self._state, first.kind, first.channels)
        confirm(self._state, item)
        first.left -= 1
        if not first.left:
            self._pop(item)

    def _pop(self, item: bytes) -> None:
        """Ends the wait of the first, and of those behind it whose reply is our own."""
        waiting = self._waiting
        first = waiting.popleft()
        state = self._state
        if state.in_transaction and item.startswith(QUEUED):
            state.queued += 1
        if type(first) is Expected:
            self._looks -= 1
            first.seen(item)
        else:
            first()  # type: ignore[operator]  # see Waiting
        while waiting and type(waiting[0]) is Expected and waiting[0].local is not None:
            local = cast("Expected", waiting.popleft())
            self._looks -= 1
            self._downstream.send(local.local or b"")
            local.seen(b"")
