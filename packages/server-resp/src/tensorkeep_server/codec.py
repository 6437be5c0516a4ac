"""Bytes become requests, whatever the pieces in which they arrive.

This module decides what a request is: where it ends, what breaks the protocol, and how much one may
ask for. It touches no socket, no loop and no clock, and knows no command. Replies are the business
of `reply` and `encoding`.

Two readers share one interface. Whole requests without a line break inside an argument, nearly
all there are, are split at the line breaks, and their lengths are checked afterwards: about 1 us
for nine arguments. All else (pieces of a request, inline commands, large bulks, whatever breaks
the rules) is read step by step. The splitter takes only what the other reader would have read the
same way, so that which of them saw a request shows in nothing but the time it took.

A bulk of at least `LARGE` bytes is received straight into memory of its own: `wants` names it.
Where there is no such memory, or none for many small arguments, the request is read to its end all
the same, and none of it is kept.
"""

import re
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Final

import numpy as np

from tensorkeep.commands.args import Argument, Request
from tensorkeep.headroom import HEADROOM, READING
from tensorkeep_server.client_memory import ARGUMENT

# From this size on, a bulk gets memory of its own. Below, copying costs less than one more read
# from the socket.
LARGE: Final = 64 * 1024

# Input is taken in windows of this size. A large bulk never fits into one, so the splitter never
# meets one; and what the splitter tries in vain stays small.
_WINDOW: Final = LARGE

_TAKEN: Final = 8  # bytes that the smallest arguments take for each that is read

_CRLF: Final = b"\r\n"
_NOTHING: Final = memoryview(b"")

_ARGUMENTS_BEFORE_AUTH: Final = 10
_BULK_BEFORE_AUTH: Final = 16 * 1024

# What the splitter knows: the head of a bulk by its length, and by the first line of a request
# how many lines the request has. What is not in these tables is left to the other reader.
_HEADS: Final = tuple(b"$%d" % size for size in range(4096))
_LINES: Final = {b"*%d" % count: 2 * count + 1 for count in range(1, 1024)}
# A bulk of 1,000 bytes or more near the start of a long input: to look for line breaks inside it
# takes longer than to read its request step by step.
_SKIP_FROM: Final = 4096
_SKIP_HEAD: Final = re.compile(rb"\$[0-9]{4}")
_SKIP_WITHIN: Final = 512

# The first line of a request and of a bulk. Redis takes no other spelling: no blank, no sign but a
# minus, no leading zero.
_COUNT: Final = re.compile(rb"\*(0|-?[1-9][0-9]{0,18})\r")
_SIZE: Final = re.compile(rb"\$(0|[1-9][0-9]{0,18})\r")

# Room for the longest line that can be right in a request: no limit on lines may be below.
_LINE_ROOM: Final = 64

# One word of an inline command, by the rules of Redis' sdssplitargs: what stands before a quote,
# and one quoted part, which ends the word.
_WORD: Final = re.compile(
    rb"""
    ([^ \t\n\r"']*+)
    (?: "((?:\\.|[^"])*+)" | '((?:\\'|[^'])*+)' )?
    (?: [ \t\v\f\r]++ | \Z )
    """,
    re.DOTALL | re.VERBOSE,
)
# A line without a quote, and without a blank that only separates words at their beginning.
_PLAIN_LINE: Final = re.compile(rb"[^\"'\v\f]*")
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


class Unread(list[Argument]):
    """A request that there was no memory for: read to its end, and nothing of it kept.

    It has one argument, an empty name, which no command has.
    """

    def __init__(self) -> None:
        super().__init__([b""])


class ProtocolError(Exception):
    """A client broke the protocol, or asked for more than the limits allow.

    Attributes:
        line: What to answer, as an error line, before the connection is closed.
    """

    def __init__(self, what: str) -> None:
        self.line = f"ERR Protocol error: {what}"
        super().__init__(self.line)


class OutOfMemory(ProtocolError):
    """There was not even the memory to find out where a request ends."""

    def __init__(self) -> None:
        super().__init__("not enough memory")
        self.line = "OOM not enough memory to read this request"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may be; to ask for more breaks the protocol.

    Attributes:
        max_bulk: Bytes of one argument. The default is Redis' proto-max-bulk-len; clients send
            larger models in chunks of that size.
        max_arguments: Arguments of one request. The default was Redis' own limit before 7.0, which
            allows 2 ** 31.
        max_inline: Bytes of one line, be it an inline command or a length; at least 64, room for
            any length. The default is Redis' own limit.
        max_request: Bytes of all arguments of one request together. The default leaves room for
            a model of several billion weights in its chunks.
        before_auth: Whether the client has not said yet who it is, and has to: then an argument may
            have 16 KB and a request 10 arguments, as in Redis, whatever else is allowed.
    """

    max_bulk: int = 512 * 1024 * 1024
    max_arguments: int = 1024 * 1024
    max_inline: int = 64 * 1024
    max_request: int = 16 * 1024 * 1024 * 1024
    before_auth: bool = False

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            least = _LINE_ROOM if limit.name == "max_inline" else 1
            if limit.name != "before_auth" and value < least:
                raise ValueError(f"{limit.name} must be at least {least}, not {value}")

    def check_count(self, count: int) -> None:
        """Makes sure that a request may have so many arguments.

        Raises:
            ProtocolError: It may not.
        """
        if count > self.max_arguments:
            raise ProtocolError("invalid multibulk length")
        if self.before_auth and count > _ARGUMENTS_BEFORE_AUTH:
            raise ProtocolError("unauthenticated multibulk length")

    def check_size(self, size: int) -> None:
        """Makes sure that an argument may have so many bytes.

        Raises:
            ProtocolError: It may not.
        """
        if not 0 <= size <= self.max_bulk:
            raise ProtocolError("invalid bulk length")
        if self.before_auth and size > _BULK_BEFORE_AUTH:
            raise ProtocolError("unauthenticated bulk length")


class RequestParser:
    """Reads the requests of one connection.

    Made for `asyncio.BufferedProtocol` with one receive buffer that all connections share: ask
    `wants` for a buffer, receive, and report with `filled`; or, when it wants none, receive into
    the shared buffer and hand that to `feed`, which keeps nothing of it.

    Attributes:
        error: Why the connection must be closed, once the client broke the protocol. Nothing is
            read after that; the requests before it were delivered.
    """

    __slots__ = (
        "_announced",
        "_arguments",
        "_large",
        "_limits",
        "_line",
        "_missing",
        "_most",
        "_part",
        "_part_missing",
        "_rest",
        "_skipping",
        "_splits",
        "_unread",
        "error",
    )

    def __init__(self, limits: Limits) -> None:
        self.error: ProtocolError | None = None
        self.limits = limits
        self._rest: memoryview = _NOTHING  # The end of a large bulk that is still to be filled.
        self._forget()

    def __repr__(self) -> str:
        state = self.error or f"{len(self._arguments)} arguments read, {self._missing} missing"
        return f"<RequestParser: {state}>"

    @property
    def limits(self) -> Limits:
        """How much one request may be; a change holds for what is read from then on."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._most = min(limits.max_bulk, _BULK_BEFORE_AUTH if limits.before_auth else inf)
        # The splitter checks no limit, so it may work only where none can be reached.
        bytes_limit = min(limits.max_bulk, limits.max_inline, limits.max_request)
        self._splits = (
            bytes_limit >= _WINDOW
            and limits.max_arguments >= len(_LINES)
            and not limits.before_auth
        )

    def _forget(self) -> None:
        """Stands before the first byte of a request."""
        self._arguments: list[Argument] = []
        self._missing = 0  # Arguments to come; none between requests.
        self._announced = 0  # Bytes of all arguments so far.
        self._line = bytearray()  # The start of a line whose end has not arrived.
        self._part = bytearray()  # The start of a bulk below LARGE, and how much is to come.
        self._part_missing = 0
        self._large: memoryview = _NOTHING  # The memory of a large bulk.
        self._expect(_NOTHING)
        self._unread = False  # There is no memory for this request.
        self._skipping = 0  # Bytes of a bulk that are still to be read and not kept.

    def _expect(self, rest: memoryview) -> None:
        """Says what is still to be filled of a large bulk."""
        HEADROOM.promised += len(rest) - len(self._rest)
        self._rest = rest

    def close(self) -> list[Argument]:
        """Lets go of what was read of a request: nothing more comes.

        Returns:
            What that was, and who drops it frees it.
        """
        kept = [*self._arguments, self._large]
        self._forget()
        return kept

    def held(self) -> tuple[int, int, int]:
        """Returns what is kept of a request that is not whole yet.

        Returns:
            Bytes that were received of its unfinished line or argument, bytes that were set aside
            for the rest of that, and bytes of its arguments before.
        """
        if self._unread or not (self._missing or self._line):
            return len(self._line), 0, 0
        large, part, room = len(self._large), len(self._part), len(self._rest)
        # Of the argument that is being received, all was announced.
        begun = large or part + self._part_missing
        whole = self._announced - max(begun - 2, 0)
        return (
            len(self._line) + (large - room or part),
            room,
            whole + ARGUMENT * len(self._arguments),
        )

    def wants(self) -> memoryview | None:
        """Says where the next bytes belong.

        Returns:
            Memory to receive into, which `filled` must then hear of; None when they are to be
            received elsewhere and given to `feed`.
        """
        return self._rest or None

    def filled(self, count: int) -> list[Request]:
        """Takes note of bytes that were received into what `wants` returned.

        Args:
            count: How many.

        Returns:
            The requests that are now whole: one or none.

        Raises:
            ValueError: There is no room for so many.
        """
        if not 0 < count <= len(self._rest):
            raise ValueError(f"count must be from 1 to {len(self._rest)}, the room, not {count}")
        ready: list[Request] = []
        self._expect(self._rest[count:])
        if not self._rest:
            argument = self._large[:-2].toreadonly()
            # An empty view keeps all its memory alive as well.
            self._large = self._rest = _NOTHING
            missing = self._missing
            try:
                # A name is looked up, and only bytes can be.
                self._take(argument if self._arguments else bytes(argument), ready)
            except MemoryError:
                HEADROOM.relieve()
                ready.clear()
                self._missing = missing
                self._give_up()
                self._take(b"", ready)
        return ready

    def feed(self, data: bytes | bytearray | memoryview) -> list[Request]:
        """Reads bytes that were received elsewhere.

        Args:
            data: The bytes. Nothing refers to them afterwards.

        Returns:
            The requests that are now whole, in order. When the client broke the protocol after
            them, `error` says how.
        """
        ready: list[Request] = []
        if self.error:
            return ready
        size = len(data)
        try:
            if size <= _WINDOW and not self._rest:
                self._read_window(data, ready)
                return ready
            view = memoryview(data)
            start = 0
            while start < size:
                if self._rest:
                    start += self._fill(view[start:], ready)
                else:
                    piece = view[start : start + _WINDOW]
                    self._read_window(piece, ready)
                    start += len(piece)
        except (ProtocolError, MemoryError) as error:
            self._break(error)
        return ready

    def feed_first(self, data: bytes | bytearray) -> tuple[list[Request], int]:
        """Reads bytes up to the end of one request, which may change what the next one may be.

        Args:
            data: The bytes, at most 64 KB of them. Nothing refers to them afterwards.

        Returns:
            The request, if one is whole, and how many bytes were read.
        """
        ready: list[Request] = []
        window = bytes(data)
        start = 0
        try:
            while start < len(window) and not ready and not self.error:
                if self._rest:
                    start += self._fill(memoryview(window)[start:], ready)
                else:
                    start = self._step(window, start, ready)
        except (ProtocolError, MemoryError) as error:
            self._break(error)
        return ready, start

    def _fill(self, data: memoryview, ready: list[Request]) -> int:
        """Reads on in a large bulk; returns how many bytes that took."""
        piece = data[: len(self._rest)]
        self._rest[: len(piece)] = piece
        ready += self.filled(len(piece))
        return len(piece)

    def _break(self, error: ProtocolError | MemoryError) -> None:
        """Notes how the client broke the protocol, and keeps nothing of what it sent then."""
        self._forget()  # first: it may be what there is no memory for
        self.error = error if isinstance(error, ProtocolError) else OutOfMemory()

    def _read_window(self, data: bytes | bytearray | memoryview, ready: list[Request]) -> None:
        """Reads a window; once more, where the memory for it was missing, from where it began.

        Raises:
            MemoryError: There is none for that either.
        """
        count = len(ready)
        began = self._state() if self._missing or self._line else None
        if self._missing and not HEADROOM.has(_TAKEN * len(data), READING):
            self._give_up()
            began = self._state()
        try:
            self._read(bytes(data), ready)
        except MemoryError:
            HEADROOM.relieve()
            del ready[count:]
            if began is None:
                self._forget()
            else:
                self._restore(began)
                if self._missing:
                    self._give_up()
            self._read(bytes(data), ready)

    def _state(self) -> tuple[object, ...]:
        """Returns all that reading changes; see `_restore`."""
        line, part = bytes(self._line), bytes(self._part)
        arguments = (self._arguments, len(self._arguments), self._missing, self._announced)
        bulk = (self._part_missing, self._large, self._rest, self._unread, self._skipping)
        return (*arguments, line, part, *bulk)

    def _restore(self, state: tuple[Any, ...]) -> None:
        """Stands where it stood before."""
        self._arguments, count, self._missing, self._announced, line, part, *bulk = state
        del self._arguments[count:]
        self._line, self._part = bytearray(line), bytearray(part)
        self._part_missing, self._large, rest, self._unread, self._skipping = bulk
        self._expect(rest)

    def _read(self, window: bytes, ready: list[Request]) -> None:
        """Reads a window with the reader that suits it."""
        start = 0
        if self._missing or self._line:
            start = self._step(window, 0, ready)
        while len(window) - start > _SKIP_FROM and _SKIP_HEAD.search(
            window, start, start + _SKIP_WITHIN
        ):
            start = self._step(window, start, ready)
        if start:
            window = window[start:]
        if self._splits:
            # Once for each window: to try again behind what it could not read would let a client
            # make this quadratic.
            window = _split(window, ready)
        start = 0
        while start < len(window):
            start = self._step(window, start, ready)

    def _step(self, window: bytes, start: int, ready: list[Request]) -> int:
        """Reads on until one request is whole or the window ends; returns where that was."""
        before = len(ready)
        while start < len(window) and len(ready) == before:
            if self._part_missing:
                start = self._read_part(window, start, ready)
                continue
            if self._skipping:
                start = self._skip(window, start, ready)
                continue
            end = window.find(b"\n", start)
            if end < 0:
                self._line += window[start:]
                self._check_line(self._line)
                return len(window)
            line = window[start:end]
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            if self._missing:
                start = self._read_bulk(line, window, end + 1, ready)
            else:
                self._begin(line, ready)
                start = end + 1
        return start

    def _begin(self, line: bytes, ready: list[Request]) -> None:
        """Reads the first line of a request, which for an inline command is all of it."""
        if found := _COUNT.fullmatch(line):
            count = int(found[1])
            self._limits.check_count(count)
            self._missing = max(0, count)
            return
        self._check_line(line)
        if line.startswith(b"*"):
            raise ProtocolError("invalid multibulk length")
        if words := _split_inline(line):
            ready.append(words)

    def _check_line(self, line: bytes | bytearray) -> None:
        """Refuses a line for how it begins or for its length, before its end if need be."""
        if self._missing and not line.startswith(b"$"):
            got = bytes(line[:1] or b"\n").decode("utf-8", "surrogateescape")
            raise ProtocolError(f"expected '$', got '{got}'")
        if len(line) > self._limits.max_inline:
            if self._missing:
                raise ProtocolError("too big bulk count string")
            if line.startswith(b"*"):
                raise ProtocolError("too big mbulk count string")
            raise ProtocolError("too big inline request")

    def _read_part(self, window: bytes, start: int, ready: list[Request]) -> int:
        """Reads more of a bulk below `LARGE` that did not come in one piece."""
        piece = window[start : start + self._part_missing]
        self._part += piece
        self._part_missing -= len(piece)
        if not self._part_missing:
            argument = bytes(self._part[:-2])
            self._part.clear()
            self._take(argument, ready)
        return start + len(piece)

    def _give_up(self) -> None:
        """Keeps nothing of this request, of which more may come."""
        self._unread = True
        self._arguments = []
        self._skipping += self._part_missing + len(self._rest)
        self._part_missing = 0
        self._part = bytearray()
        self._large = _NOTHING
        self._expect(_NOTHING)

    def _skip(self, window: bytes, start: int, ready: list[Request]) -> int:
        """Reads on in a bulk that is not kept."""
        count = min(self._skipping, len(window) - start)
        self._skipping -= count
        if not self._skipping:
            self._take(b"", ready)
        return start + count

    def _read_bulk(self, head: bytes, window: bytes, start: int, ready: list[Request]) -> int:
        """Reads a bulk, or what there is of it. What it ends with is not looked at, as in Redis."""
        found = _SIZE.fullmatch(head)
        size = int(found[1]) if found else -1
        if not 0 <= size <= self._most:
            self._check_line(head)
            self._limits.check_size(size)
        self._announced += size
        if self._announced > self._limits.max_request:
            raise ProtocolError("too big request")
        if self._unread:
            self._skipping = size + 2
            return start
        if size >= LARGE:
            # Not a bytearray: that one is filled with zeros first, which for the largest bulk
            # stops the server for 0.2 s and takes the memory of bytes that may never come. With
            # room for the line break, one read takes both.
            try:
                self._large = _allocate(size + 2)
            except MemoryError:
                HEADROOM.relieve()
                self._give_up()
                self._skipping = size + 2
                return start
            piece = window[start:]
            self._large[: len(piece)] = piece
            self._expect(self._large[len(piece) :])
            return len(window)
        end = start + size + 2
        if end <= len(window):
            self._take(window[start : start + size], ready)
            return end
        self._part += window[start:]
        self._part_missing = end - len(window)
        return len(window)

    def _take(self, argument: Argument, ready: list[Request]) -> None:
        """Adds an argument to the request, and delivers the request if it was the last."""
        if not self._unread:
            self._arguments.append(argument)
        self._missing -= 1
        if not self._missing:
            ready.append(Unread() if self._unread else self._arguments)
            self._arguments = []
            self._announced = 0
            self._unread = False


def _allocate(size: int) -> memoryview:
    """Returns memory that was not written to, and so takes none until it is.

    Raises:
        MemoryError: So much cannot be had, or too little would be left.
    """
    if not HEADROOM.has(size, READING):
        raise MemoryError
    return np.empty(size, np.uint8).data


def _split(window: bytes, ready: list[Request]) -> bytes:
    """Reads whole requests without a line break inside an argument.

    Args:
        window: Begins where a request begins.
        ready: Grows by the requests.

    Returns:
        The rest of the window, from the first request that is none of these on.
    """
    heads = _HEADS
    lines = window.split(_CRLF)
    last = len(lines) - 1  # What follows the last line break.
    start = 0
    while start < last:
        end = start + _LINES.get(lines[start], len(lines))
        if end > last:
            break
        arguments = lines[start + 2 : end : 2]
        at = start + 1
        try:
            for argument in arguments:
                if heads[len(argument)] != lines[at]:
                    break
                at += 2
        except IndexError:  # An argument longer than the table.
            break
        if at < end:
            break
        ready.append(arguments)
        start = end
    return _CRLF.join(lines[start:]) if start < last else lines[last]


def _split_inline(line: bytes) -> list[bytes]:
    """Splits an inline command into words, by the rules of Redis' sdssplitargs.

    Args:
        line: The command without its line feed.

    Returns:
        The words, none for an empty line.

    Raises:
        ProtocolError: A quote is not closed, or a closing one does not end its word.
    """
    if _PLAIN_LINE.fullmatch(line):
        return line.split()
    words: list[bytes] = []
    start = len(line) - len(line.lstrip())
    while start < len(line):
        word = _WORD.match(line, start)
        if word is None:
            raise ProtocolError("unbalanced quotes in request")
        plain, double, single = word.groups(b"")
        words.append(plain + _ESCAPE.sub(_unescape, double) + single.replace(b"\\'", b"'"))
        start = word.end()
    return words


def _unescape(escape: re.Match[bytes]) -> bytes:
    """Returns what an escape sequence between double quotes stands for."""
    code, character = escape.groups()
    if code is not None:
        return bytes.fromhex(code.decode())
    return _ESCAPED.get(character, character)
