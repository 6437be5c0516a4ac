"""What a key may hold after crashes: which of its versions, and how much of it may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAY_MISS = {"always": 0.0, "everysec": 2.0, "no": float("inf")}
"""Seconds of acknowledged changes that may be missing after a crash, for each policy.

With `everysec` it is one second as long as the disk is quick. While an fsync is under way, the
engine puts off what it writes by up to two.
"""


class Wrong(Exception):
    """Something that must not be."""


@dataclass
class History:
    """The versions of one key, written one after another; 0 is that there is no such key.

    Attributes:
        acknowledged: Those that were acknowledged, and when they were sent.
        unsure: One sent last whose reply never came, or 0.
    """

    acknowledged: list[tuple[int, float]] = field(default_factory=lambda: [(0, float("-inf"))])
    unsure: int = 0

    @property
    def newest(self) -> int:
        """The newest version that was acknowledged."""
        return self.acknowledged[-1][0]

    def acknowledge(self, version: int, sent: float) -> None:
        """Notes that a version was acknowledged, with the time when it was sent."""
        self.acknowledged.append((version, sent))
        self.unsure = 0

    def settle(self, version: int, crashes: Sequence[float], may_miss: float) -> float:
        """Takes the version that was found after crashes; from there it goes on.

        Args:
            version: What was found.
            crashes: When they were, in order.
            may_miss: Seconds of acknowledged changes that may be missing.

        Returns:
            How long before the crash the oldest change was sent that is missing, in seconds; 0.0
            if nothing that was acknowledged is missing.

        Raises:
            Wrong: This must not have been found.
        """
        missing = 0.0
        if version not in {self.newest, self.unsure or self.newest}:
            missing = self._missing(version, crashes)
            if missing > may_miss:
                raise Wrong(
                    f"version {version} was found, {self.newest} was acknowledged; the oldest"
                    f" missing change was sent {missing:.3f} s before a crash"
                )
        self.acknowledged = [(version, float("-inf"))]
        self.unsure = 0
        return missing

    def _missing(self, version: int, crashes: Sequence[float]) -> float:
        versions = [known for known, _ in self.acknowledged]
        if version not in versions:
            raise Wrong(f"version {version} was found, which is none of {versions[-5:]}")
        _, sent = self.acknowledged[versions.index(version) + 1]
        crash = next((at for at in crashes if at >= sent), None)
        if crash is None:
            raise Wrong(f"version {version} was found, {self.newest} is gone without a crash")
        return crash - sent
