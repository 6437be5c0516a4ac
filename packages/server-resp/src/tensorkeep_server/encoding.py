"""How the values of replies become RESP2 or RESP3.

This module decides what a reply looks like on the wire, by the type of the value alone: it never
looks into bytes to guess what they are. It knows no command, no socket and no client.

`encode` appends pieces to a list, for one reply or for the replies of a whole pipeline. Everything
small is `bytes`; a bulk of at least `LARGE_BULK` bytes is a `memoryview` of the memory that the
reply named, never copied. What has many elements is a generator, which encodes some of them at a
time: nobody else is served meanwhile, and the text of a tensor takes ten times its memory.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import copysign
from typing import Any, Final

from tensorkeep.commands.reply import (
    BLOCK,
    RESP2,
    BigNumber,
    Error,
    InVersion,
    LongArray,
    LongMap,
    Map,
    NullArray,
    Push,
    Reply,
    Set,
    Several,
    Simple,
    Verbatim,
    Version,
    one_line,
)
from tensorkeep.errors import CommandFailed
from tensorkeep.hookspecs import CommandReply
from tensorkeep_server.portions import Piece, Portions

# The size from which a bulk is handed on as its own buffer. Below, joining it with its neighbours
# costs less than more entries in the list of a gathering write (about 1 us for 16 KiB).
LARGE_BULK: Final = 16 * 1024

_FEW: Final = 32  # bulks that are formatted one by one as fast as together
# Pieces of one reply from which on lists of more than a few elements, and then all lists, are
# encoded in portions: a list of many short lists is long, too.
_MANY_PIECES: Final = 32
_TOO_MANY_PIECES: Final = 1024

_CRLF: Final = b"\r\n"
_NAN: Final = b"nan"
# Heads of bulks for every length of C's `%.17g`, which needs at most 24 bytes: a sign, 17 digits,
# a point and `e-308`.
_DOUBLE_HEADS: Final = tuple(b"$%d\r\n" % size for size in range(25))
# Heads of bulks that follow others, with the line break that ends the one before: to join them
# takes half the time that to format lengths takes.
_INNER_HEADS: Final = tuple(b"\r\n$%d\r\n" % size for size in range(1024))


def encode(reply: Reply, version: Version, out: list[Piece]) -> None:
    """Appends a reply, encoded, to a list of pieces that are to be sent.

    The memory of a bulk of `LARGE_BULK` bytes or more, and lists, must not change until they have
    been sent.

    Args:
        reply: The value.
        version: Of the protocol that this client speaks.
        out: Grows by `bytes`, by one `memoryview` for each large bulk, and by one generator for
            whatever has many elements. How much it holds decides what counts as many, so a new
            list is best for each reply.

    Raises:
        TypeError: The value, or one inside it, is of a type that is no reply, such as `str`. In
            the latter case `out` holds half a reply. What is encoded in portions raises it then.
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
        case LongArray(_, blocks) | LongMap(_, blocks):
            return [*map(plain, chain.from_iterable(blocks()))]
        case InVersion(_, inner):
            return plain(inner)
        case _:  # the two kinds of null
            return None


def _simple(reply: Simple, _version: Version, out: list[Piece]) -> None:
    out.append(reply.wire)


def _error(reply: Error, _version: Version, out: list[Piece]) -> None:
    out.append(one_line(b"-", reply.line))


def _bulk(reply: bytes, _version: Version, out: list[Piece]) -> None:
    size = len(reply)
    if size < LARGE_BULK:
        out.append(b"$%d\r\n%b\r\n" % (size, reply))
    else:
        out += (b"$%d\r\n" % size, memoryview(reply), _CRLF)


def _bytearray(reply: bytearray, version: Version, out: list[Piece]) -> None:
    _view(memoryview(reply), version, out)


def _view(reply: memoryview, version: Version, out: list[Piece]) -> None:
    if reply.nbytes < LARGE_BULK:
        _bulk(reply.tobytes(), version, out)
    else:
        out += (b"$%d\r\n" % reply.nbytes, reply.cast("B"), _CRLF)


def _verbatim(reply: Verbatim, version: Version, out: list[Piece]) -> None:
    text = reply.text.encode("utf-8", "surrogateescape")
    if version == RESP2:
        _bulk(text, version, out)
    else:
        out.append(b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text))


def _integer(reply: int, _version: Version, out: list[Piece]) -> None:
    out.append(b":%d\r\n" % reply)


def _big_number(reply: BigNumber, version: Version, out: list[Piece]) -> None:
    text = b"%d" % reply.number
    out.append(b"$%d\r\n%b\r\n" % (len(text), text) if version == RESP2 else b"(%b\r\n" % text)


def _boolean(reply: bool, version: Version, out: list[Piece]) -> None:  # noqa: FBT001, it is the value
    if version == RESP2:
        out.append(b":1\r\n" if reply else b":0\r\n")
    else:
        out.append(b"#t\r\n" if reply else b"#f\r\n")


def _double(reply: float, version: Version, out: list[Piece]) -> None:
    text = _digits(reply)
    out.append(b"$%d\r\n%b\r\n" % (len(text), text) if version == RESP2 else b",%b\r\n" % text)


def _null(_reply: None, version: Version, out: list[Piece]) -> None:
    out.append(b"$-1\r\n" if version == RESP2 else b"_\r\n")


def _null_array(_reply: NullArray, version: Version, out: list[Piece]) -> None:
    out.append(b"*-1\r\n" if version == RESP2 else b"_\r\n")


def _array(reply: list[Any] | tuple[Any, ...], version: Version, out: list[Piece]) -> None:
    size = len(reply)
    if size > BLOCK or (len(out) > _MANY_PIECES and (size > _FEW or len(out) > _TOO_MANY_PIECES)):
        out.append(_portions(b"*%d\r\n" % size, _blocks(reply), version))
    else:
        out.append(b"*%d\r\n" % size)
        _elements(reply, version, out)


def _long_array(reply: LongArray, version: Version, out: list[Piece]) -> None:
    out.append(_portions(b"*%d\r\n" % reply.size, reply.blocks(), version))


def _blocks(items: list[Any] | tuple[Any, ...]) -> Iterator[list[Any] | tuple[Any, ...]]:
    """Cuts a list into blocks."""
    return (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))


def _portions(
    head: bytes, blocks: Iterable[list[Any] | tuple[Any, ...]], version: Version
) -> Portions:
    """Encodes an array block by block, each when it is asked for."""
    yield [head]
    for block in blocks:
        made: list[Piece] = []
        _elements(block, version, made)
        yield made


def _doubles(numbers: list[float] | tuple[float, ...], version: Version, out: list[Piece]) -> None:
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


def _map(reply: Map, version: Version, out: list[Piece]) -> None:
    size = len(reply.pairs)
    head = _head_of_map(size, version)
    if 2 * size > BLOCK:
        blocks = ([*chain.from_iterable(block)] for block in _blocks(reply.pairs))
        out.append(_portions(head, blocks, version))
    else:
        out.append(head)
        _elements([*chain.from_iterable(reply.pairs)], version, out)


def _long_map(reply: LongMap, version: Version, out: list[Piece]) -> None:
    out.append(_portions(_head_of_map(reply.size, version), reply.blocks(), version))


def _head_of_map(size: int, version: Version) -> bytes:
    return b"*%d\r\n" % (2 * size) if version == RESP2 else b"%%%d\r\n" % size


def _set(reply: Set, version: Version, out: list[Piece]) -> None:
    _items(b"~", reply.items, version, out)


def _push(reply: Push, version: Version, out: list[Piece]) -> None:
    _items(b">", reply.items, version, out)


def _in_version(reply: InVersion, _version: Version, out: list[Piece]) -> None:
    encode(reply.reply, reply.version, out)


def _several(reply: Several, version: Version, out: list[Piece]) -> None:
    for item in reply.items:
        _push(item, version, out)


def _items(
    mark: bytes, items: list[Any] | tuple[Any, ...], version: Version, out: list[Piece]
) -> None:
    """Appends what only RESP3 tells from an array."""
    head = b"%b%d\r\n" % (b"*" if version == RESP2 else mark, len(items))
    if len(items) > BLOCK:
        out.append(_portions(head, _blocks(items), version))
    else:
        out.append(head)
        _elements(items, version, out)


def _elements(items: list[Any] | tuple[Any, ...], version: Version, out: list[Piece]) -> None:
    """Appends replies of any kind; numbers of one type, and many small bulks, all together."""
    kind = type(items[0]) if items else None
    if kind is bytes and len(items) > _FEW:
        if {*map(type, items)} == {bytes} and max(map(len, items)) < len(_INNER_HEADS):
            pieces = [_CRLF] * (2 * len(items) + 1)
            pieces[:-1:2] = [_INNER_HEADS[size] for size in map(len, items)]
            pieces[1::2] = items
            pieces[0] = pieces[0].removeprefix(_CRLF)
            out.append(b"".join(pieces))
            return
    # The VALUES of a tensor.
    elif (kind is float or kind is int) and {*map(type, items)} == {kind}:
        if kind is float:
            _doubles(items, version, out)
        else:
            out.append(b":%d\r\n" * len(items) % tuple(items))
        return
    for item in items:
        if type(item) is bytes and len(item) < LARGE_BULK:
            out.append(b"$%d\r\n%b\r\n" % (len(item), item))
        else:
            encode(item, version, out)


# By the exact type, so that `bool` is not `int`. Any: each function takes its own key.
_ENCODERS: Final[dict[type, Callable[[Any, Version, list[Piece]], None]]] = {
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
    LongArray: _long_array,
    LongMap: _long_map,
    Map: _map,
    Set: _set,
    Push: _push,
    InVersion: _in_version,
    Several: _several,
}
