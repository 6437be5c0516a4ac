"""What follows from a score: which payments are suspicious, and the figures of many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from payments import Payment

SUSPICIOUS = 0.5


class Verdict(NamedTuple):
    """What was said of a payment, and how long that took."""

    payment: Payment
    score: float
    seconds: float


def summary(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the figures of a run."""
    stolen = [verdict for verdict in verdicts if verdict.payment.stolen]
    honest = [verdict for verdict in verdicts if not verdict.payment.stolen]
    milliseconds = np.array([verdict.seconds for verdict in verdicts]) * 1e3
    return {
        "payments": len(verdicts),
        "stolen": len(stolen),
        "caught": sum(verdict.score >= SUSPICIOUS for verdict in stolen),
        "honest_but_suspected": sum(verdict.score >= SUSPICIOUS for verdict in honest),
        "median_ms": round(float(np.median(milliseconds)), 3),
    }
