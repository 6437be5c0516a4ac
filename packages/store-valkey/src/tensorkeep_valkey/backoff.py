"""How long to wait before the engine is tried again."""

from __future__ import annotations

from typing import Final

FIRST_PAUSE: Final = 0.05
"""Seconds after the first failure."""

LONGEST_PAUSE: Final = 2.0
"""Seconds beyond which no pause grows: an engine that is back should be found soon."""


def pause_after(failures: int, draw: float) -> float:
    """Returns the seconds to wait after so many failures running.

    Each pause is up to twice as long as the one before. Half of it is left to chance, so that many
    servers do not come back to an engine at the same moment.

    Args:
        failures: How often it has failed since it last worked, at least 1.
        draw: A number from 0 to 1, drawn at random.
    """
    longest = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE)
    return longest * (0.5 + draw / 2)
