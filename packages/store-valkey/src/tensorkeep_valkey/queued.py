"""What the commands that were queued since MULTI will mean when EXEC does them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep_valkey.relayed import Change


@dataclass(frozen=True, slots=True)
class Place:
    """What stands behind some elements of EXEC's array.

    Attributes:
        index: Number of the first, counted from 0.
        count: How many elements the engine has for it.
        make: Makes the one element that the client gets instead, encoded.
    """

    index: int
    count: int
    make: Callable[[Sequence[bytes]], bytes]


@dataclass(slots=True)
class Plan:
    """What EXEC's reply will mean, by the number of the queued command.

    Attributes:
        places: Of the front end's own commands, in order. Where two have the same index, the first
            has no elements.
        changes: What notes the outcomes of commands.
        modes: Of CLIENT REPLY, whether the client gets its `OK`.
        subscriptions: Commands of the SUBSCRIBE family: how their replies begin, and how many
            channels they name.
    """

    places: list[Place] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)
    modes: dict[int, bool] = field(default_factory=dict)
    subscriptions: dict[int, tuple[bytes, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Returns whether it means anything."""
        return bool(self.places or self.changes or self.subscriptions)
