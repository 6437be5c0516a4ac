"""How often a key is used, in one number, as Redis counts it.

The number stands where otherwise the time of the last use stands: minutes since 1970, times 256,
and a counter in the last 8 bits. The counter grows more slowly the higher it is, and falls by 1
for each minute in which the key is not used.
"""

from __future__ import annotations

from random import random
from typing import Final

_INITIAL: Final = 5  # of a new key, so that it is not the first to go
_MOST: Final = 255
_LOG_FACTOR: Final = 10  # Redis' lfu-log-factor: a million uses make the counter 255
_MINUTE: Final = 60.0
_COUNTER: Final = 256


def first_use(now: float) -> int:
    """Returns the number of a new key.

    Args:
        now: Unix time in seconds.
    """
    return int(now / _MINUTE) * _COUNTER + _INITIAL


def another_use(number: float, now: float) -> int:
    """Returns the number of a key that is used once more.

    Args:
        number: Its number so far.
        now: Unix time in seconds.
    """
    counter = frequency(number, now)
    above = max(counter - _INITIAL, 0)
    if counter < _MOST and random() * (above * _LOG_FACTOR + 1) < 1.0:  # noqa: S311 - no secret
        counter += 1
    return int(now / _MINUTE) * _COUNTER + counter


def frequency(number: float, now: float) -> int:
    """Returns the counter of a key, less what it has fallen since its last use."""
    minute, counter = divmod(int(number), _COUNTER)
    return max(counter - max(int(now / _MINUTE) - minute, 0), 0)
