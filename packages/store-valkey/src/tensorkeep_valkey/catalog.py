"""Finds the models and scripts of a database, by looking through its hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tensorkeep.errors import StoreError
from tensorkeep_valkey.engine_errors import plain
from tensorkeep_valkey.reads import Storing
from tensorkeep_valkey.record_layout import ID, MARK, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.store import Result
    from tensorkeep_valkey.packing import Argument

    Exchange: TypeAlias = Callable[
        [Sequence[Sequence[Argument]], Callable[[Sequence[Any]], None]], None
    ]

_AT_ONCE: Final = b"1000"  # keys that the engine looks at for one reply
_FIELDS: Final = (MARK, ID, b"tag")


class Found(NamedTuple):
    """A model or script.

    Attributes:
        key: Its key.
        storing: What it is, and which storing.
        tag: What the user calls it.
    """

    key: bytes
    storing: Storing
    tag: str


class Search:
    """One look through a database.

    Args:
        exchange: Sends requests and hands over their replies.
        done: Gets what was found.
    """

    def __init__(self, exchange: Exchange, done: Callable[[Result[Sequence[Found]]], None]) -> None:
        self._exchange = exchange
        self._done = done
        self._found: dict[bytes, Found] = {}  # a key may come twice

    def begin(self, cursor: bytes = b"0") -> None:
        """Asks for keys, from where the engine said that it had stopped."""
        self._exchange([(b"SCAN", cursor, b"TYPE", b"hash", b"COUNT", _AT_ONCE)], self._scanned)

    def _scanned(self, replies: Sequence[Any]) -> None:
        (reply,) = replies
        if isinstance(reply, StoreError):
            error = plain(reply)

            def failed() -> Sequence[Found]:
                raise error

            self._done(failed)
            return
        cursor, keys = reply
        if keys:
            self._exchange(
                [(b"HMGET", key, *_FIELDS) for key in keys],
                lambda found: self._looked(cursor, keys, found),
            )
        else:
            self._go_on(cursor)

    def _looked(self, cursor: bytes, keys: Sequence[bytes], found: Sequence[Any]) -> None:
        for key, reply in zip(keys, found, strict=True):
            if isinstance(reply, StoreError):  # gone, or not for this user
                continue
            mark, identity, tag = reply
            kind = kind_of(mark)
            if kind is not None and identity is not None:
                text = (tag or b"").decode("utf-8", "surrogateescape")
                self._found[key] = Found(key, Storing(identity, kind), text)
        self._go_on(cursor)

    def _go_on(self, cursor: bytes) -> None:
        if cursor != b"0":
            self.begin(cursor)
        else:
            found = list(self._found.values())
            self._done(lambda: found)
