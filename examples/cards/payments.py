"""Payments of made-up cards, some of them by thieves; there is no public data that may be shipped.

This file decides what payments look like. It knows neither features nor the server. Every card has
an owner with habits of their own: how much they usually spend, and how often. A thief spends more,
several times in a few minutes, until the card is blocked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600
SHOWN_CARDS, SHOWN_SEED = 60, 7


class Payment(NamedTuple):
    """One payment.

    Attributes:
        card: Number of the card.
        cents: The amount.
        time: Seconds since some beginning.
        stolen: Whether it was the thief's.
    """

    card: int
    cents: int
    time: int
    stolen: bool


def payments(cards: int, seed: int) -> list[Payment]:
    """Return the payments of so many cards, in the order of their times."""
    rng = np.random.default_rng(seed)
    made = [payment for card in range(cards) for payment in _of_card(card, rng)]
    return sorted(made, key=lambda payment: (payment.time, payment.card))


def shown() -> list[Payment]:
    """Return the payments that the programs of this example send; no network has seen them."""
    return payments(SHOWN_CARDS, SHOWN_SEED)


def _of_card(card: int, rng: np.random.Generator) -> Iterator[Payment]:
    usual = rng.lognormal(8.0, 0.7)  # cents: about 30 in the currency's own unit
    pause = rng.lognormal(11.0, 0.6)  # seconds: about 16 hours
    time = float(rng.uniform(0, pause))
    honest = int(rng.integers(5, 40))
    for _ in range(honest):
        yield Payment(card, _cents(usual * rng.lognormal(0, 0.5)), int(time), stolen=False)
        time += rng.exponential(pause) + 30
    if rng.random() < 0.4:
        time = max(time - pause, 0) + rng.uniform(0, HOUR)
        for _ in range(int(rng.integers(2, 7))):
            yield Payment(card, _cents(usual * rng.lognormal(1.3, 0.6)), int(time), stolen=True)
            time += rng.uniform(20, 400)


def _cents(amount: float) -> int:
    return max(100, int(amount))
