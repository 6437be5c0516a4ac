"""Which models and scripts are built in this process, and under which keys they are stored.

One is known by the id of its storing. It is kept as long as a key is known that holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tensorkeep.errors import StoreError
from tensorkeep_valkey.engine_errors import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.model import Runnable


class Place(NamedTuple):
    """Where something is stored.

    Attributes:
        database: Number of the database.
        key: The key.
    """

    database: int
    key: bytes


class Known(NamedTuple):
    """What is believed of a place.

    Attributes:
        place: The place.
        id: Which storing it holds.
    """

    place: Place
    id: bytes


class BuiltModels:
    """The models and scripts that are built, and where they are stored."""

    def __init__(self) -> None:
        self._built: dict[bytes, Runnable] = {}
        self._ids: dict[Place, bytes] = {}
        self._places: dict[bytes, set[Place]] = {}
        self._looked_at = 0

    def __len__(self) -> int:
        """Returns how many are built."""
        return len(self._built)

    def get(self, identity: bytes) -> Runnable | None:
        """Returns what was built of a storing."""
        return self._built.get(identity)

    def at(self, place: Place) -> Runnable | None:
        """Returns what was built of the storing that a place is known to hold."""
        identity = self._ids.get(place)
        return None if identity is None else self._built[identity]

    def is_at(self, place: Place, identity: bytes) -> bool:
        """Returns whether a place is known to hold a storing."""
        return self._ids.get(place) == identity

    def put(self, place: Place, identity: bytes, runnable: Runnable) -> Runnable | None:
        """Notes that a place holds a storing, of which this was built.

        Returns:
            What the place held before, if no other place is known to hold it.
        """
        if self.is_at(place, identity):
            return None
        freed = self.forget(place)
        self._built[identity] = runnable
        self._ids[place] = identity
        self._places.setdefault(identity, set()).add(place)
        return freed

    def forget(self, place: Place) -> Runnable | None:
        """Notes that a place holds nothing any more that is known.

        Returns:
            What it held, if no other place is known to hold it.
        """
        identity = self._ids.pop(place, None)
        if identity is None:
            return None
        places = self._places[identity]
        places.discard(place)
        if places:
            return None
        del self._places[identity]
        return self._built.pop(identity)

    def next_to_look_at(self, most: int) -> list[Known]:
        """Returns some places, others each time until it was each one's turn."""
        known = [Known(*item) for item in self._ids.items()]
        begin = self._looked_at if self._looked_at < len(known) else 0
        self._looked_at = begin + most
        return known[begin : begin + most]

    def drop_gone(self, looked: Sequence[Known], replies: Sequence[Any]) -> list[Known]:
        """Forgets the places that hold something else by now.

        Args:
            looked: Which were looked at.
            replies: The `id` found at each of them; an error that does not say that it holds
                something else says nothing.

        Returns:
            Those that were forgotten.
        """
        gone = [
            known
            for known, reply in zip(looked, replies, strict=True)
            if self.is_at(*known)  # not stored anew meanwhile
            and (is_wrong_type(reply) if isinstance(reply, StoreError) else reply != known.id)
        ]
        for known in gone:
            self.forget(known.place)
        return gone
