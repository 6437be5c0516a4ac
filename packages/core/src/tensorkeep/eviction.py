"""Which keys are given up when memory is full: Redis' policies, by their names.

Here it is only said what may be chosen; a store that keeps values in this process chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Order(Enum):
    """By what the key is chosen that goes first."""

    LEAST_RECENT = "lru"
    LEAST_FREQUENT = "lfu"
    SOONEST_EXPIRY = "ttl"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of Redis.

    Attributes:
        name: As `maxmemory-policy` spells it.
        order: Which key goes first; None where none goes.
        volatile: Whether only keys go that would expire.
    """

    name: str
    order: Order | None = None
    volatile: bool = False


MOST_SAMPLES: Final = 2**31 - 1
"""Keys that may be looked at to choose one, as in Redis; to look at many takes long."""

NO_EVICTION: Final = Policy("noeviction")

POLICIES: Final = {
    policy.name: policy
    for policy in (
        Policy("volatile-lru", Order.LEAST_RECENT, volatile=True),
        Policy("volatile-lfu", Order.LEAST_FREQUENT, volatile=True),
        Policy("volatile-random", Order.RANDOM, volatile=True),
        Policy("volatile-ttl", Order.SOONEST_EXPIRY, volatile=True),
        Policy("allkeys-lru", Order.LEAST_RECENT),
        Policy("allkeys-lfu", Order.LEAST_FREQUENT),
        Policy("allkeys-random", Order.RANDOM),
        NO_EVICTION,
    )
}
"""All policies by name, in the order in which Redis lists them."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """How a store is to choose the keys that it gives up.

    Attributes:
        policy: Which keys.
        samples: Keys that are looked at to choose one; Redis' own default.
        models: Whether models and scripts may be chosen as well.
    """

    policy: Policy = NO_EVICTION
    samples: int = 5
    models: bool = False


@dataclass(slots=True)
class Usage:
    """What the keys and values of a store take, counted as they change.

    Attributes:
        values: Bytes of all keys and values.
    """

    values: int = 0
