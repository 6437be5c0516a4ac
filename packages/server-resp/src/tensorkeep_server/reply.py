"""Reply values, and how they become RESP2 or RESP3.

This module decides what a reply looks like on the wire, by the type of the value alone: it never
looks into bytes to guess what they are. It knows no command, no socket and no client.

`encode` appends pieces to a list, for one reply or for the replies of a whole pipeline. Everything
small is `bytes`; a bulk of at least `LARGE_BULK` bytes is a `memoryview` of the memory that the
reply named, never copied. `joined` then joins what is small, so that a burst of replies is one
buffer and a tensor's memory goes out as it lies.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from math import copysign
from typing import Any, Final, Literal, TypeAlias

from tensorkeep.errors import CommandFailed
from tensorkeep.hookspecs import CommandReply

RESP2: Final = 2
RESP3: Final = 3

# The size from which a bulk is handed on as its own buffer. Below, joining it with its neighbours
# costs less than more entries in the list of a gathering write (about 1 us for 16 KiB).
LARGE_BULK: Final = 16 * 1024

# Long lists are formatted by blocks of this many numbers or small bulks, so that the format string
# and the tuple stay small beside the text that they make.
_BLOCK: Final = 4096
_FEW: Final = 32  # bulks that are formatted one by one as fast as together

_CRLF: Final = b"\r\n"
_NAN: Final = b"nan"
# Heads of bulks for every length of C's `%.17g`, which needs at most 24 bytes: a sign, 17 digits,
# a point and `e-308`.
_DOUBLE_HEADS: Final = tuple(b"$%d\r\n" % size for size in range(25))
# Heads of bulks that follow others, with the line break that ends the one before: to join them
# takes half the time that to format lengths takes.
_INNER_HEADS: Final = tuple(b"\r\n$%d\r\n" % size for size in range(1024))

Version: TypeAlias = Literal[2, 3]
Blob: TypeAlias = bytes | bytearray | memoryview
# `list` is invariant, so the lists of one type are named on their own. `Sequence[Reply]` would
# cover them, and also `str`, which is no reply.
Reply: TypeAlias = (
    "Blob | int | float | bool | BigNumber | Simple | Error | NullArray | Map | Set | Push"
    " | Verbatim | InVersion | Several | list[Reply] | list[bytes] | list[bytes | memoryview]"
    " | list[int] | list[float] | tuple[Reply, ...] | None"
)


def _one_line(mark: bytes, text: str) -> bytes:
    """One line of the protocol: each byte of a line break becomes one space, as in Redis."""
    line = text.encode("utf-8", "surrogateescape")
    return mark + line.replace(b"\r", b" ").replace(b"\n", b" ") + _CRLF


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple string, such as a status: made once, sent often.

    Attributes:
        text: What the client reads.
        wire: The whole reply as it is sent.
    """

    text: str
    wire: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire", _one_line(b"+", self.text))


@dataclass(frozen=True, slots=True)
class Error:
    """An error, sent as one line.

    Attributes:
        line: The whole text, with its code word such as `ERR` if it has one. Bytes that are not
            UTF-8 stand in it as `surrogateescape` makes them.
    """

    line: str


@dataclass(frozen=True, slots=True)
class BigNumber:
    """An integer that may be beyond int64; RESP2 gets a bulk.

    Clients read an integer of RESP2 as int64, and hiredis closes the connection beyond it.

    Attributes:
        number: Any integer.
    """

    number: int


@dataclass(frozen=True, slots=True)
class NullArray:
    """The array that is not there, which RESP2 tells from the bulk that is not there."""


@dataclass(frozen=True, slots=True)
class Map:
    """Pairs of a key and a value; RESP2 gets them as one flat array.

    Attributes:
        pairs: In the order in which they are sent.
    """

    pairs: "tuple[tuple[Reply, Reply], ...]"


@dataclass(frozen=True, slots=True)
class Set:
    """Items without an order; RESP2 gets an array.

    Attributes:
        items: In the order in which they are sent.
    """

    items: "tuple[Reply, ...]"


@dataclass(frozen=True, slots=True)
class Push:
    """A message that answers no request; RESP2 gets an array.

    Attributes:
        items: The kind of the message first.
    """

    items: "tuple[Reply, ...]"


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text to be shown to a person as it is; RESP2 gets a bulk.

    Attributes:
        text: Of any length, with line breaks.
    """

    text: str


@dataclass(frozen=True, slots=True)
class InVersion:
    """A reply from before HELLO changed the version of the protocol, among others from after it.

    Attributes:
        version: Of the protocol, when the reply was made.
        reply: The reply.
    """

    version: Version
    reply: "Reply"


@dataclass(frozen=True, slots=True)
class Several:
    """Confirmations of subscriptions: messages that come one after another, to one request.

    Attributes:
        items: One or more. Among the replies of a transaction they count as one, as in Redis.
    """

    items: "tuple[Push, ...]"


OK: Final = Simple("OK")
NULL_ARRAY: Final = NullArray()


def encode(reply: Reply, version: Version, out: list[Blob]) -> None:
    """Appends a reply, encoded, to the pieces that wait to be sent.

    The memory of a bulk of `LARGE_BULK` bytes or more must not change until it has been sent.

    Args:
        reply: The value.
        version: Of the protocol that this client speaks.
        out: Grows by `bytes`, and by one `memoryview` for each large bulk.

    Raises:
        TypeError: The value, or one inside it, is of a type that is no reply, such as `str`. In
            the latter case `out` holds half a reply.
    """
    encoder = _ENCODERS.get(type(reply))
    if encoder is None:
        kinds = ", ".join(kind.__name__ for kind in _ENCODERS)
        raise TypeError(f"a reply must be one of {kinds}, not {type(reply).__name__}")
    encoder(reply, version, out)


def plain(reply: "Reply") -> CommandReply:  # noqa: C901, PLR0911 - one for each kind
    """Returns a reply as a value, as a client that speaks RESP2 would see it.

    Raises:
        CommandFailed: The reply is an error, or has one inside; the text is its line.
    """
    match reply:
        case Error(line):
            raise CommandFailed(line)
        case Simple(text) | Verbatim(text):
            return text.encode("utf-8", "surrogateescape")
        case bytes() | bytearray() | memoryview():
            return bytes(reply)
        case float():
            return _digits(reply)
        case BigNumber(number):
            return b"%d" % number
        case int():  # a boolean as well
            return int(reply)
        case Map(pairs):
            return [plain(item) for pair in pairs for item in pair]
        case Set(items) | Push(items) | Several(items):
            return [*map(plain, items)]
        case list() | tuple():
            return [*map(plain, reply)]
        case InVersion(_, inner):
            return plain(inner)
        case _:  # the two kinds of null
            return None


def joined(pieces: list[Blob]) -> list[Blob]:
    """Joins what is small among pieces that `encode` made.

    Args:
        pieces: What was appended, in order.

    Returns:
        Buffers to be written in order. Only the large bulks among `pieces` stand alone.
    """
    buffers: list[Blob] = []
    small: list[Blob] = pieces
    if memoryview in map(type, pieces):
        small = []
        for piece in pieces:
            if type(piece) is memoryview:
                buffers += (b"".join(small), piece)
                small = []
            else:
                small.append(piece)
    buffers.append(b"".join(small))
    return buffers


def _simple(reply: Simple, _version: Version, out: list[Blob]) -> None:
    out.append(reply.wire)


def _error(reply: Error, _version: Version, out: list[Blob]) -> None:
    out.append(_one_line(b"-", reply.line))


def _bulk(reply: bytes, _version: Version, out: list[Blob]) -> None:
    size = len(reply)
    if size < LARGE_BULK:
        out.append(b"$%d\r\n%b\r\n" % (size, reply))
    else:
        out += (b"$%d\r\n" % size, memoryview(reply), _CRLF)


def _bytearray(reply: bytearray, version: Version, out: list[Blob]) -> None:
    _view(memoryview(reply), version, out)


def _view(reply: memoryview, version: Version, out: list[Blob]) -> None:
    if reply.nbytes < LARGE_BULK:
        _bulk(reply.tobytes(), version, out)
    else:
        out += (b"$%d\r\n" % reply.nbytes, reply.cast("B"), _CRLF)


def _verbatim(reply: Verbatim, version: Version, out: list[Blob]) -> None:
    text = reply.text.encode("utf-8", "surrogateescape")
    if version == RESP2:
        _bulk(text, version, out)
    else:
        out.append(b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text))


def _integer(reply: int, _version: Version, out: list[Blob]) -> None:
    out.append(b":%d\r\n" % reply)


def _big_number(reply: BigNumber, version: Version, out: list[Blob]) -> None:
    text = b"%d" % reply.number
    out.append(b"$%d\r\n%b\r\n" % (len(text), text) if version == RESP2 else b"(%b\r\n" % text)


def _boolean(reply: bool, version: Version, out: list[Blob]) -> None:  # noqa: FBT001, it is the value
    if version == RESP2:
        out.append(b":1\r\n" if reply else b":0\r\n")
    else:
        out.append(b"#t\r\n" if reply else b"#f\r\n")


def _double(reply: float, version: Version, out: list[Blob]) -> None:
    text = _digits(reply)
    out.append(b"$%d\r\n%b\r\n" % (len(text), text) if version == RESP2 else b",%b\r\n" % text)


def _null(_reply: None, version: Version, out: list[Blob]) -> None:
    out.append(b"$-1\r\n" if version == RESP2 else b"_\r\n")


def _null_array(_reply: NullArray, version: Version, out: list[Blob]) -> None:
    out.append(b"*-1\r\n" if version == RESP2 else b"_\r\n")


def _array(reply: list[Any] | tuple[Any, ...], version: Version, out: list[Blob]) -> None:
    out.append(b"*%d\r\n" % len(reply))
    kind = type(reply[0]) if reply else None
    # The VALUES of a tensor: thousands of numbers of one type, formatted by the block.
    if (kind is not float and kind is not int) or {*map(type, reply)} != {kind}:
        _elements(reply, version, out)
    elif kind is float:
        for start in range(0, len(reply), _BLOCK):
            _doubles(reply[start : start + _BLOCK], version, out)
    else:
        for start in range(0, len(reply), _BLOCK):
            block = tuple(reply[start : start + _BLOCK])
            out.append(b":%d\r\n" * len(block) % block)


def _doubles(numbers: list[float] | tuple[float, ...], version: Version, out: list[Blob]) -> None:
    """Appends doubles as Redis 7.0 prints them: C's `%.17g`, in RESP2 as bulks."""
    whole = b",%.17g\r\n" * len(numbers) % tuple(numbers)
    if _NAN in whole:
        whole = b"".join([b",%b\r\n" % _digits(number) for number in numbers])
    if version == RESP2:
        texts = whole.split(b",")[1:]  # Nothing stands before the first.
        whole = b"".join([_DOUBLE_HEADS[len(text) - 2] + text for text in texts])
    out.append(whole)


def _digits(number: float) -> bytes:
    """Returns C's `%.17g`: Python's shows no sign of what is not a number."""
    text = b"%.17g" % number
    return b"-nan" if text == _NAN and copysign(1.0, number) < 0 else text


def _map(reply: Map, version: Version, out: list[Blob]) -> None:
    size = len(reply.pairs)
    out.append(b"*%d\r\n" % (2 * size) if version == RESP2 else b"%%%d\r\n" % size)
    _elements([*chain.from_iterable(reply.pairs)], version, out)


def _set(reply: Set, version: Version, out: list[Blob]) -> None:
    _items(b"~", reply.items, version, out)


def _push(reply: Push, version: Version, out: list[Blob]) -> None:
    _items(b">", reply.items, version, out)


def _in_version(reply: InVersion, _version: Version, out: list[Blob]) -> None:
    encode(reply.reply, reply.version, out)


def _several(reply: Several, version: Version, out: list[Blob]) -> None:
    for item in reply.items:
        _push(item, version, out)


def _items(mark: bytes, items: tuple[Reply, ...], version: Version, out: list[Blob]) -> None:
    """Appends what only RESP3 tells from an array."""
    out.append(b"%b%d\r\n" % (b"*" if version == RESP2 else mark, len(items)))
    _elements(items, version, out)


def _elements(items: list[Any] | tuple[Any, ...], version: Version, out: list[Blob]) -> None:
    """Appends replies of any kind; many small bulks, such as members of a set, by the block."""
    if len(items) > _FEW:
        for start in range(0, len(items), _BLOCK):
            block = items[start : start + _BLOCK]
            if {*map(type, block)} == {bytes} and max(map(len, block)) < len(_INNER_HEADS):
                pieces = [_CRLF] * (2 * len(block) + 1)
                pieces[:-1:2] = [_INNER_HEADS[size] for size in map(len, block)]
                pieces[1::2] = block
                pieces[0] = pieces[0].removeprefix(_CRLF)
                out.append(b"".join(pieces))
            else:
                _one_by_one(block, version, out)
    else:
        _one_by_one(items, version, out)


def _one_by_one(items: list[Any] | tuple[Any, ...], version: Version, out: list[Blob]) -> None:
    for item in items:
        if type(item) is bytes and len(item) < LARGE_BULK:
            out.append(b"$%d\r\n%b\r\n" % (len(item), item))
        else:
            encode(item, version, out)


# By the exact type, so that `bool` is not `int`. Any: each function takes its own key.
_ENCODERS: Final[dict[type, Callable[[Any, Version, list[Blob]], None]]] = {
    Simple: _simple,
    Error: _error,
    bytes: _bulk,
    bytearray: _bytearray,
    memoryview: _view,
    Verbatim: _verbatim,
    int: _integer,
    bool: _boolean,
    BigNumber: _big_number,
    float: _double,
    type(None): _null,
    NullArray: _null_array,
    list: _array,
    tuple: _array,
    Map: _map,
    Set: _set,
    Push: _push,
    InVersion: _in_version,
    Several: _several,
}
