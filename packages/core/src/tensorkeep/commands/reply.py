"""The values of replies; how they become RESP2 or RESP3 is the business of `encoding`.

This module knows no command, no socket and no client.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

RESP2: Final = 2
RESP3: Final = 3

BLOCK: Final = 512
"""Elements that are encoded at once, in at most 0.2 ms. A list of more is encoded in portions."""

_CRLF: Final = b"\r\n"

Version: TypeAlias = Literal[2, 3]
Blob: TypeAlias = bytes | bytearray | memoryview
# `list` is invariant, so the lists of one type are named on their own. `Sequence[Reply]` would
# cover them, and also `str`, which is no reply.
Reply: TypeAlias = (
    "Blob | int | float | bool | BigNumber | Simple | Error | NullArray | LongArray | Map"
    " | LongMap | Set | Push | Verbatim | InVersion | Several | list[Reply] | list[bytes]"
    " | list[bytes | memoryview] | list[int] | list[float] | tuple[Reply, ...] | None"
)


def one_line(mark: bytes, text: str) -> bytes:
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
        object.__setattr__(self, "wire", one_line(b"+", self.text))


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
class LongArray:
    """An array whose elements are made while it is sent, such as the values of a large tensor.

    Attributes:
        size: Number of elements.
        blocks: Makes the elements, in lists of up to `BLOCK`. They must not change meanwhile.
    """

    size: int
    blocks: Callable[[], Iterable["list[Reply]"]]


@dataclass(frozen=True, slots=True)
class Map:
    """Pairs of a key and a value; RESP2 gets them as one flat array.

    Attributes:
        pairs: In the order in which they are sent.
    """

    pairs: "tuple[tuple[Reply, Reply], ...]"


@dataclass(frozen=True, slots=True)
class LongMap:
    """A map whose pairs are made while it is sent, such as all fields of a large hash.

    Attributes:
        size: Number of pairs.
        blocks: Makes the pairs: lists of keys and values in turn, of up to `BLOCK` elements. They
            must not change meanwhile.
    """

    size: int
    blocks: Callable[[], Iterable["list[Reply]"]]


@dataclass(frozen=True, slots=True)
class Set:
    """Items without an order; RESP2 gets an array.

    Attributes:
        items: In the order in which they are sent; nobody may change a list of them any more.
    """

    items: "tuple[Reply, ...] | list[bytes]"


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
