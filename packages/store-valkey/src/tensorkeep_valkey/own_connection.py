"""A client's own connection to the engine: requests go out in order, replies go to the client raw.

What comes is passed on as it comes. Only where a reply means something to the session, or is not
for the client, it is looked at or held back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from tensorkeep_valkey.framing import ERROR, PUSH, BrokenReply, Framer
from tensorkeep_valkey.losses import Lost, ended_by
from tensorkeep_valkey.packing import pack
from tensorkeep_valkey.relayed import QUEUED, confirm, confirms, replies_to, unasked
from tensorkeep_valkey.transactions import Execution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tensorkeep.errors import StoreError
    from tensorkeep.store import Downstream
    from tensorkeep_valkey.packing import Argument, Word
    from tensorkeep_valkey.relayed import State
    from tensorkeep_valkey.upstream import Upstream

_SEEN: Final = 64 * 1024  # bytes of a reply that are kept to be looked at, at least
_GLANCE: Final = 16  # of one that means nothing, but may be an error
_READONLY: Final = b"-READONLY"
_EXECUTED: Final = b"*"  # stands for EXEC's reply that was looked into


class _Fate(Enum):
    """What becomes of a reply."""

    SENT = auto()  # to the client, as it comes
    HELD = auto()  # until it is whole
    DROPPED = auto()


class Expected:
    """A reply that is to come and needs a look.

    Args:
        seen: Is given the reply: whole if it is held back, otherwise at least its begin.
        done: Called when the command is done, and nothing of it is to come.
        failed: Called instead if it does not come; without it, the client is sent the error.
        held: Whether the reply is held back from the client.
        kind: Of a command of the SUBSCRIBE family, how its replies begin.
        channels: How many channels that names.
        executes: Whether it is that of EXEC.
        copies: Whether what comes, unless it is an error, is no reply, and all is passed on from
            then on.
    """

    __slots__ = ("channels", "copies", "done", "executes", "failed", "held", "kind", "left", "seen")

    def __init__(  # noqa: PLR0913 - each has its default
        self,
        seen: Callable[[bytes], None],
        done: Callable[[], None] | None = None,
        *,
        failed: Callable[[StoreError], None] | None = None,
        held: bool = False,
        kind: bytes = b"",
        channels: int = 0,
        executes: bool = False,
        copies: bool = False,
    ) -> None:
        self.seen = seen
        self.done = done
        self.failed = failed
        self.held = held
        self.kind = kind
        self.channels = channels
        self.executes = executes
        self.copies = copies
        self.left = 0


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
        self._fate = _Fate.SENT  # what becomes of it
        self._execution: Execution | None = None  # what follows is within EXEC's array

    # ------------------------------------------------------------------ requests
    @property
    def copies(self) -> bool:
        """Whether all that comes is passed on, for it is no reply any more."""
        return self._raw

    def send(self, request: Sequence[Word], waiting: Waiting) -> None:
        """Sends a request.

        Args:
            request: The command and its arguments.
            waiting: What waits for the reply.
        """
        if self._generation != self._upstream.generation and not self._waiting:
            self._move()
        pack(request, self._out)
        if self._raw:  # nothing is a reply any more
            self._write()
            self._end(waiting, b"")
        else:
            self._wait(waiting)

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
        why = ended_by(exc)
        if self._waiting or self._state.held:
            self._upstream.lose(why)
        self._fail(Lost(self._upstream.shown, why))

    def _fail(self, error: StoreError) -> None:
        """Gives each request its error; what cannot be made good closes the client."""
        if self._full:
            self._full = False
            self._downstream.resume()
        sent = self._item is not None and self._fate is _Fate.SENT
        half = sent or self._execution is not None
        held = "half of a reply" if half else self._state.held
        waiting, self._waiting = self._waiting, deque()
        self._looks = 0
        self._out.clear()
        self._fresh()
        why = f"its connection to the engine was lost, and with it {held}"
        if half:
            self._downstream.lose(why)  # at once: nothing must follow it
        line = b"-" + error.line.encode(errors="replace") + b"\r\n"
        for each in waiting:
            if self._closed:
                return
            self._fail_one(each, error, b"" if half else line)
        if held and not half:
            self._downstream.lose(why)

    def _fail_one(self, waiting: Waiting, error: StoreError, line: bytes) -> None:
        if type(waiting) is Expected and waiting.failed is not None:
            waiting.failed(error)
            return
        held = type(waiting) is Expected and waiting.held
        if not (held or self._state.mutes):
            self._send(line)
        self._end(waiting, line)

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
        if self._raw:
            self._downstream.send(data)
            return
        framer = self._framer
        try:
            if self._looks or self._item is not None or self._state.unusual:
                self._look_at(data, framer.walk(data))
                return
            ends = framer.feed(data)
            if framer.kind or len(ends) > len(self._waiting) or _odd(ends):
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

    def _look_at(self, data: bytes, ends: Iterable[tuple[int, int]]) -> None:
        """Passes on what has come, reply by reply.

        Args:
            data: It.
            ends: Where replies end; found only when asked for, for it depends on those before.
        """
        begin = 0
        if self._copies_from(data, begin):
            return
        self._framer.opens = self._opens
        for end, kind in ends:
            self._part(data[begin:end], kind)
            begin = end
            item, self._item = self._item, None
            self._complete(bytes(item or b""), kind)
            if self._transport is None or self._copies_from(data, begin):
                return
            self._framer.opens = self._opens
        if begin < len(data):
            self._part(data[begin:], self._framer.kind)

    @property
    def _opens(self) -> bool:
        """Whether the reply that comes next is that of EXEC and has to be looked into."""
        first = self._waiting[0] if self._waiting else None
        if type(first) is not Expected or not first.executes or self._execution is not None:
            return False
        return bool(self._state.plan) or self._state.interrupts

    def _copies_from(self, data: bytes, begin: int) -> bool:
        """Passes on all that comes from here on, if what begins here is no reply any more."""
        first = self._waiting[0] if self._waiting else None
        if type(first) is not Expected or not first.copies or self._item is not None:
            return False
        if begin == len(data) or data[begin] == ERROR:
            return False
        self._raw = True
        self._downstream.send(data[begin:])
        waiting, self._waiting = self._waiting, deque()
        self._looks = 0
        for each in waiting:
            self._end(each, b"")
        return True

    def _part(self, part: bytes, kind: int) -> None:
        """Takes a part of a reply."""
        item = self._item
        if item is None:
            item = self._item = bytearray()
            self._fate = self._fate_of(kind)
        if self._fate is _Fate.HELD:
            item += part
            return
        most = _SEEN if self._looks or self._state.unusual else _GLANCE
        item += part[: max(0, most - len(item))]
        if self._fate is _Fate.SENT:
            self._downstream.send(part)

    def _fate_of(self, kind: int) -> _Fate:
        """Returns what becomes of a reply that begins."""
        if kind == PUSH:
            return _Fate.SENT
        state, execution = self._state, self._execution
        first = self._waiting[0] if self._waiting else None
        looked_at = type(first) is Expected and (first.held or bool(first.kind))
        if self._framer.opens or looked_at or (execution is not None and execution.holds):
            return _Fate.HELD
        if not state.mutes:
            return _Fate.SENT
        # It is not for the client, unless nobody has asked for it.
        return _Fate.HELD if state.subscribes or state.monitoring else _Fate.DROPPED

    def _complete(self, item: bytes, kind: int) -> None:
        """Finds out what the reply that has ended belongs to."""
        state, execution = self._state, self._execution
        first = self._waiting[0] if self._waiting else None
        awaited = first.kind if type(first) is Expected else b""
        if execution is not None:
            awaited = execution.confirms
        held = self._fate is _Fate.HELD
        if not confirms(item, awaited) if kind == PUSH else unasked(state, item):
            self._send(item if held else b"")
        elif first is None:
            if not state.monitoring:
                raise BrokenReply("nobody has asked for it")
        elif execution is not None:
            self._send(execution.take(item, held=held))
            self._end_execution(execution)
        elif self._framer.opens and item.startswith(b"*") and not item.startswith(b"*-"):
            self._execution = execution = Execution(state, state.plan, int(item[1:]))
            self._send(execution.begin())
            self._end_execution(execution)
        elif awaited and kind != ERROR and not item.startswith(QUEUED):
            self._confirmed(cast("Expected", first), item, held=held)
        else:
            if kind == ERROR and item.startswith(_READONLY):
                self._upstream.look_again()
            if held and not state.mutes and not (type(first) is Expected and first.held):
                self._downstream.send(item)
            self._pop(item)

    def _send(self, data: bytes) -> None:
        if data:
            self._downstream.send(data)

    def _end_execution(self, execution: Execution) -> None:
        """Ends EXEC if all that it did has been looked at."""
        if execution.done:
            self._execution = None
            self._pop(_EXECUTED)

    def _confirmed(self, first: Expected, item: bytes, *, held: bool) -> None:
        if held:  # it comes to clients that get no replies, too
            self._downstream.send(item)
        if not first.left:
            first.left = replies_to(self._state, first.kind, first.channels)
        confirm(self._state, item)
        first.left -= 1
        if not first.left:
            self._pop(item)

    def _pop(self, item: bytes) -> None:
        """Ends the wait of the first."""
        first = self._waiting.popleft()
        state = self._state
        if state.in_transaction and item.startswith(QUEUED):
            state.queued += 1
        self._looks -= type(first) is Expected
        self._end(first, item)

    def _end(self, waiting: Waiting, item: bytes) -> None:
        """Tells who has waited for a reply that it has ended."""
        done: Callable[[], None] | None
        if type(waiting) is Expected:
            waiting.seen(item)
            done = waiting.done
        else:
            done = cast("Callable[[], None]", waiting)
        self._state.next_reply()
        if done is not None:
            done()


def _odd(ends: Sequence[tuple[int, int]]) -> bool:
    """Returns whether an error or something that was pushed is among replies."""
    for _, kind in ends:  # noqa: SIM110 - `any` takes three times as long for the one that it is
        if kind == ERROR or kind == PUSH:  # noqa: PLR1714, SIM109 - as above
            return True
    return False
