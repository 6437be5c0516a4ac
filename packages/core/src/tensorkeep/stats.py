"""What is counted of the runs of one model or script."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

SCRIPT_SAMPLES: Final = -1  # scripts have no batch axis; RedisAI shows -1 for them, and keeps it
_SHAPES: Final = 64  # input shapes to remember the usual time of; more would only be a leak


@dataclass(slots=True)
class RunStats:
    """Counters of one model or script, changed only by the thread that owns the engine.

    Attributes:
        calls: Finished runs, failed ones included.
        errors: Failed runs.
        duration_us: Microseconds in the backend, summed over successful runs. Each member of a
            batch is charged the whole batch.
        key: The key under which it was stored, for the log; empty before it was.
        samples: Rows of the first output, summed over successful runs; -1 for scripts.
    """

    calls: int = 0
    errors: int = 0
    duration_us: int = 0
    samples: int = 0
    key: bytes = b""
    _usual: dict[Hashable, float] = field(default_factory=dict, repr=False)

    def succeed(self, seconds: float, samples: int) -> None:
        """Counts a run that ended well."""
        self.calls += 1
        self.duration_us += int(seconds * 1e6)
        if self.samples >= 0:
            self.samples += samples

    def fail(self) -> None:
        """Counts a run that failed."""
        self.calls += 1
        self.errors += 1

    def reset(self) -> None:
        """Sets the counters back to what they were when the model was stored."""
        self.calls = self.errors = self.duration_us = 0
        self.samples = min(0, self.samples)

    def usual(self, shapes: Hashable) -> float:
        """Returns the seconds that a run with inputs of these shapes usually takes.

        Infinite when no such run was seen yet.
        """
        return self._usual.get(shapes, float("inf"))

    def note(self, shapes: Hashable, seconds: float) -> None:
        """Notes how long a run with inputs of these shapes took.

        A faster run counts at once, a slower one bit by bit: what makes a run look slow (another
        thread held the interpreter, the machine was busy) is mostly not its own doing.
        """
        usual = self._usual.get(shapes)
        if usual is None and len(self._usual) >= _SHAPES:
            self._usual.clear()
        if usual is not None and seconds > usual:
            seconds = min(usual + (seconds - usual) / 8, usual * 1.25)
        self._usual[shapes] = seconds
