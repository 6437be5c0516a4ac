"""Lists the models or scripts of a database, by looking through its hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tensorkeep.errors import StoreError
from tensorkeep_valkey.engine_errors import plain
from tensorkeep_valkey.record_layout import MARK, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.model import Model, Script
    from tensorkeep.store import Result
    from tensorkeep_valkey.session import RelaySession

_AT_ONCE: Final = b"1000"  # keys that the engine looks at for one reply
_FIELDS: Final = (MARK, b"tag")


class Listing:
    """One look through a database.

    Args:
        kind: `Model` or `Script`.
        session: Whose database and rights it is done with.
        done: Gets the keys with their tags.
    """

    def __init__(
        self,
        kind: type[Model | Script],
        session: RelaySession,
        done: Callable[[Result[Sequence[tuple[bytes, str]]]], None],
    ) -> None:
        self._kind = kind
        self._session = session
        self._done = done
        self._tags: dict[bytes, str] = {}  # a key may come twice

    def begin(self, cursor: bytes = b"0") -> None:
        """Asks for keys, from where the engine said that it had stopped."""
        self._session.exchange(
            [(b"SCAN", cursor, b"TYPE", b"hash", b"COUNT", _AT_ONCE)], self._scanned, again=True
        )

    def _scanned(self, replies: list[Any]) -> None:
        (reply,) = replies
        if isinstance(reply, StoreError):
            error = plain(reply)

            def failed() -> Sequence[tuple[bytes, str]]:
                raise error

            self._done(failed)
            return
        cursor, keys = reply
        if keys:
            self._session.exchange(
                [(b"HMGET", key, *_FIELDS) for key in keys],
                lambda found: self._looked(cursor, keys, found),
                again=True,
            )
        else:
            self._go_on(cursor)

    def _looked(self, cursor: bytes, keys: Sequence[bytes], found: Sequence[Any]) -> None:
        for key, reply in zip(keys, found, strict=True):
            if isinstance(reply, StoreError):  # gone, or not for this user
                continue
            mark, tag = reply
            if kind_of(mark) is self._kind:
                self._tags[key] = (tag or b"").decode("utf-8", "surrogateescape")
        self._go_on(cursor)

    def _go_on(self, cursor: bytes) -> None:
        if cursor != b"0":
            self.begin(cursor)
        else:
            found = list(self._tags.items())
            self._done(lambda: found)
