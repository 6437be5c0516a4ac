"""EXEC's reply, as its parts come.

EXEC's array says how many commands were done. Behind it stands one reply for each, but for those of
the SUBSCRIBE family, which have one for each channel, and what nobody has asked for may stand
between them. So what belongs to which command is told part by part.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tensorkeep_valkey.relayed import confirm, replies_to

if TYPE_CHECKING:
    from tensorkeep_valkey.queued import Plan
    from tensorkeep_valkey.relayed import State

_ERROR: Final = b"-"


class Execution:
    """Follows EXEC's reply behind the header of its array.

    Args:
        state: Is changed by what is done.
        plan: What the reply means.
        count: How many commands the engine has done.
    """

    def __init__(self, state: State, plan: Plan, count: int) -> None:
        self._state = state
        self._plan = plan
        self._count = count
        self._index = 0  # of the command whose reply comes next
        self._left = 0  # confirmations of it that are still to come
        self._places = deque(plan.places)
        self._parts: list[bytes] = []  # of the first place

    @property
    def done(self) -> bool:
        """Whether all commands have had their reply."""
        return self._index >= self._count

    @property
    def confirms(self) -> bytes:
        """How confirmations begin that are to come next; empty for none."""
        return self._plan.subscriptions.get(self._index, (b"", 0))[0]

    @property
    def holds(self) -> bool:
        """Whether the next part is needed whole before anything is sent."""
        index = self._index
        return self._in_place or index in self._plan.modes or index in self._plan.subscriptions

    @property
    def _in_place(self) -> bool:
        return bool(self._places) and self._places[0].index <= self._index

    def begin(self) -> bytes:
        """Returns what the client gets instead of the header."""
        behind = sum(place.count - 1 for place in self._plan.places)
        return self._shown(b"*%d\r\n" % (self._count - behind)) + self._empty_places()

    def take(self, item: bytes, *, held: bool) -> bytes:
        """Takes the next part that belongs to a command.

        Args:
            item: It, at least its begin if it is not held.
            held: Whether the client was sent nothing of it yet.

        Returns:
            What the client is sent now.
        """
        state, plan = self._state, self._plan
        subscription = plan.subscriptions.get(self._index)
        if subscription is not None and not item.startswith(_ERROR):
            self._left = self._left or replies_to(state, *subscription)
            confirm(state, item)
            self._left -= 1
            if not self._left:
                self._index += 1
            # Confirmations come to clients that get no replies, too.
            return (item if held else b"") + self._empty_places()
        if self._in_place:
            return self._take_for_place(item)
        change = plan.changes.get(self._index)
        if change is not None:
            change(state, item)
        shown = held and (plan.modes.get(self._index, True) or item.startswith(_ERROR))
        self._index += 1
        return (self._shown(item) if shown else b"") + self._empty_places()

    def _take_for_place(self, item: bytes) -> bytes:
        place = self._places[0]
        self._parts.append(item)
        self._index += 1
        if len(self._parts) < place.count:
            return b""
        self._places.popleft()
        parts, self._parts = self._parts, []
        return self._shown(place.make(parts)) + self._empty_places()

    def _empty_places(self) -> bytes:
        """Returns what stands before the next part and has none of the engine's."""
        made = b""
        while self._in_place and not self._places[0].count:
            made += self._shown(self._places.popleft().make(()))
        return made

    def _shown(self, data: bytes) -> bytes:
        return b"" if self._state.mutes else data
