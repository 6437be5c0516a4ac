"""Which key goes when memory is full: the best of a few that are looked at, as in Redis.

This module chooses; it removes nothing and asks for no time.
"""

from __future__ import annotations

from random import choice
from typing import TYPE_CHECKING, Final, TypeAlias

from tensorkeep.eviction import Order
from tensorkeep.model import Model, Script
from tensorkeep_memory.frequency import frequency

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorkeep.eviction import Eviction
    from tensorkeep_memory.keyspace import Entry, Keyspace

_ATTEMPTS: Final = 8  # looks at a few keys, before all are looked at

Candidate: TypeAlias = "tuple[Keyspace, bytes, Entry]"


def victim(databases: Sequence[Keyspace], eviction: Eviction) -> Candidate | None:
    """Returns the key that goes next, None when none may.

    Args:
        databases: The keys that may go.
        eviction: Which of them, and how many are looked at.
    """
    policy = eviction.policy
    if policy.order is None:
        return None
    filled = [keys for keys in databases if (keys.volatile if policy.volatile else len(keys))]
    found: list[Candidate] = []
    # Of most stores the first few keys that are looked at will do. Where nearly all are models, or
    # nearly all times of expiry are stale, there may be none among them.
    for _ in range(_ATTEMPTS):
        for keys in filled:
            few = keys.sample(eviction.samples, volatile=policy.volatile)
            found += _evictable(keys, few, models=eviction.models)
        if found:
            break
    else:
        for keys in filled:
            entries = (
                (key, entry)
                for key, entry in keys.entries()
                if not policy.volatile or entry.expires_at is not None
            )
            found += _evictable(keys, entries, models=eviction.models)
    if not found:
        return None
    if policy.order is Order.RANDOM:
        return choice(found)  # noqa: S311 - no secret hangs on it
    return min(found, key=_RANKS[policy.order])


def _evictable(
    keys: Keyspace, entries: Iterable[tuple[bytes, Entry]], *, models: bool
) -> list[Candidate]:
    return [
        (keys, key, entry)
        for key, entry in entries
        if models or type(entry.value) not in {Model, Script}
    ]


def _last_use(candidate: Candidate) -> float:
    return candidate[2].touched


def _frequency(candidate: Candidate) -> float:
    keys, _, entry = candidate
    return frequency(entry.touched, keys.time())


def _expiry(candidate: Candidate) -> float:
    expires_at = candidate[2].expires_at
    assert expires_at is not None  # noqa: S101 - only such keys were looked at
    return expires_at


_RANKS: Final = {
    Order.LEAST_RECENT: _last_use,
    Order.LEAST_FREQUENT: _frequency,
    Order.SOONEST_EXPIRY: _expiry,
}
