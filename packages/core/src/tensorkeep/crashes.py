"""How often a model or script has ended its worker, and when it is run no more.

A worker that died is replaced, which costs time and whoever waits for it a little patience. What
ends it over and over is refused, until it is stored again.
"""

from __future__ import annotations

from typing import Final

MOST_RUNNING: Final = 3
"""Times that a model may end its worker without a run in between that went well."""


class Crashes:
    """The crashes of one model or script.

    Kept by the threads that run it, and read by the loop's.

    Attributes:
        total: Number of its runs that ended their worker.
        running: How many of them since a run went well.
        cause: Of what its worker died last, empty when it never did.
        refused: Whether it is to be run no more.
    """

    __slots__ = ("_untold", "cause", "refused", "running", "total")

    def __init__(self) -> None:
        self.total = 0
        self.running = 0
        self.cause = ""
        self.refused = False
        self._untold: list[str] = []

    def died(self, cause: str) -> None:
        """Notes that a run has ended its worker.

        Args:
            cause: Of what it died, for people.
        """
        self.total += 1
        self.running += 1
        self.cause = cause
        self.refused = self.refused or self.running >= MOST_RUNNING
        self._untold.append(cause)

    def went_well(self) -> None:
        """Notes that a run has not ended its worker, whatever else came of it."""
        self.running = 0

    def news(self) -> list[str]:
        """Returns the causes of those that nobody was told of, once."""
        untold, self._untold = self._untold, []
        return untold
