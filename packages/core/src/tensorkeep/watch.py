"""Keys that somebody watches: whether one of them was changed."""

from __future__ import annotations

from typing import Protocol


class Watched(Protocol):
    """The keys of one database that can be watched.

    Attributes:
        watches: Who watches which key. Each `Watch` enters and leaves by itself.
    """

    watches: dict[bytes, set[Watch]]

    def get(self, key: bytes, *, touch: bool = True) -> object | None:
        """Returns the value under a key; one that has expired is removed, which is a change."""


class Watch:
    """Notices when one of some keys is stored, changed, removed or given another time to vanish.

    The keys may be in several keyspaces, and need not be there yet. After a change nothing is
    watched any more.

    Attributes:
        changed: Whether there was a change.
    """

    __slots__ = ("_watched", "changed")

    def __init__(self) -> None:
        self.changed = False
        self._watched: set[tuple[Watched, bytes]] = set()

    def add(self, keys: Watched, key: bytes) -> None:
        """Watches one key more. One that has expired by now is not there to begin with."""
        keys.get(key, touch=False)
        if not self.changed:
            self._watched.add((keys, key))
            keys.watches.setdefault(key, set()).add(self)

    def look(self) -> bool:
        """Returns whether there was a change, and finds out first what has expired."""
        for keys, key in tuple(self._watched):
            keys.get(key, touch=False)
        return self.changed

    def notice(self) -> None:
        """Notes that there was a change."""
        self.changed = True
        self.end()

    def end(self) -> None:
        """Watches no key any more."""
        for keys, key in self._watched:
            watches = keys.watches[key]
            watches.discard(self)
            if not watches:
                del keys.watches[key]
        self._watched.clear()

    def __repr__(self) -> str:
        return f"Watch({len(self._watched)} keys, changed={self.changed})"
