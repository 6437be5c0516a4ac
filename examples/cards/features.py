"""What a model is told of a payment, in Python: what card.torchscript computes beside the data.

Training needs the features of many payments at once and no server, so they stand here a second
time; tests/test_cards.py holds the two to the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from payments import Payment

NAMES = ("amount", "unusual", "pause", "count", "recent")
LONG_AGO = 30 * 24 * 3600


@dataclass(slots=True)
class Card:
    """What is kept of a card between payments, in whole cents and seconds.

    Attributes:
        count: Number of payments.
        total: Sum of their cents.
        squares: Sum of the squares of their cents.
        recent: Cents spent of late: an hour later a third of them still counts.
        last: Time of the last one.
    """

    count: int = 0
    total: int = 0
    squares: int = 0
    recent: int = 0
    last: int = 0

    def pay(self, cents: int, time: int) -> list[float]:
        """Take a payment; return its features, in the order of `NAMES`.

        One that comes late, after another that was made later, counts as made together with it.
        """
        pause = max(time - self.last, 0) if self.count else LONG_AGO
        mean = self.total / max(self.count, 1)
        spread = math.sqrt(max(self.squares / max(self.count, 1) - mean * mean, 0.0))
        unusual = (cents - mean) / (spread + 500.0) if self.count else 0.0
        self.recent = int(self.recent * math.exp(-pause / 3600.0)) + cents
        self.count += 1
        self.total += cents
        self.squares += cents * cents
        self.last = max(self.last, time)
        return [
            math.log(1.0 + cents),
            min(max(unusual, -10.0), 10.0),
            math.log(1.0 + pause),
            math.log(1.0 + self.count),
            math.log(1.0 + self.recent),
        ]


def features(payments: Sequence[Payment]) -> NDArray[np.float32]:
    """Return the features of payments in the order of their times, a row for each."""
    cards: dict[int, Card] = {}
    rows = [
        cards.setdefault(payment.card, Card()).pay(payment.cents, payment.time)
        for payment in payments
    ]
    return np.array(rows, np.float32)
