"""Which worker does what: plain decisions about workers that wait for work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

LOOKS_EVERY: Final = 0.05
"""Seconds after which a run that waits for a worker looks whether it was cancelled."""


class Idle(Protocol):
    """A worker that waits for work.

    Attributes:
        number: Its number.
        holds: The models and scripts that it holds, and the bytes of each.
        since: Since when it waits, in seconds on any clock.
    """

    @property
    def number(self) -> int:
        """See above."""

    @property
    def holds(self) -> Mapping[int, int]:
        """See above."""

    @property
    def since(self) -> float:
        """See above."""


def chosen(idle: Collection[Idle], runnable: int | None) -> int | None:
    """Returns the worker that does the next call; None where another one has to be started.

    One that holds what is to be run is best, and of those the one that worked last: its memory is
    still in the processor's caches. To build something, the one that holds least is best.

    Args:
        idle: Workers that wait for work.
        runnable: The model or script that is to be run; None to build one, or for other calls.
    """
    if not idle:
        return None
    return max(idle, key=lambda each: _fitness(each, runnable)).number


def _fitness(worker: Idle, runnable: int | None) -> tuple[bool, float]:
    if runnable in worker.holds:
        return True, worker.since
    return False, -sum(worker.holds.values())


def dropped(holds: Mapping[int, int], adding: int, limit: int) -> list[int]:
    """Returns which models and scripts a worker has to free before it builds another one.

    Args:
        holds: What it holds, the one that was used longest ago first, and the bytes of each.
        adding: Bytes of what is to be built.
        limit: Bytes that all of them may have together; a single one may have more.
    """
    total = sum(holds.values()) + adding
    gone = []
    for runnable, size in holds.items():
        if total <= limit:
            break
        gone.append(runnable)
        total -= size
    return gone


def surplus(
    idle: Sequence[Idle], others: Iterable[Mapping[int, int]], keep: int, before: float
) -> list[int]:
    """Returns the workers that may end: idle for long, and not needed.

    A model is built again where it was lost, which takes its time, so a worker stays that is the
    only one to hold some model.

    Args:
        idle: Workers that wait for work.
        others: What each of the others holds.
        keep: How many workers there are to be at least, busy ones counted.
        before: Only workers that have been waiting since before then.
    """
    staying = [set(each) for each in others]
    waiting = sorted(idle, key=lambda each: each.since)
    count = len(staying) + len(waiting)
    ended = []
    for position, each in enumerate(waiting):
        elsewhere = set().union(*staying, *(later.holds for later in waiting[position + 1 :]))
        if count > keep and each.since < before and elsewhere.issuperset(each.holds):
            ended.append(each.number)
            count -= 1
        else:
            staying.append(set(each.holds))
    return ended
