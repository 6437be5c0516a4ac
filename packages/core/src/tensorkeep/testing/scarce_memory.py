"""Memory that runs out at a chosen moment: at any line of some modules.

`failing_at(n, ...)` raises `MemoryError` where the n-th line would be executed, and never again.
With every n, one after the other, each place is tried at which memory could be missing.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

_END = 10_000  # lines that a test may have: more would be an endless one


class Scarce:
    """What became of it.

    Attributes:
        failed: Whether so many lines were executed, and the error was raised.
        where: The function and the line where.
    """

    def __init__(self) -> None:
        self.failed = False
        self.where = ""


@contextmanager
def failing_at(number: int, *packages: str, spared: Container[str] = ()) -> Iterator[Scarce]:
    """Raises `MemoryError` once, where a line would be executed.

    Args:
        number: Which line, from 1 on, of those that are executed in the packages.
        *packages: Beginnings of the names of modules whose lines count.
        spared: Names of functions in them whose lines do not.
    """
    scarce = Scarce()
    left = number

    def line(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401 - as `settrace` wants it
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                scarce.failed = True
                scarce.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                raise MemoryError
        return line

    def call(frame: FrameType, _event: str, _arg: Any) -> Any:  # noqa: ANN401 - likewise
        if frame.f_code.co_qualname in spared:
            return None
        return line if frame.f_globals.get("__name__", "").startswith(packages) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield scarce
    finally:
        sys.settrace(before)


@contextmanager
def _noted(
    made: list[Scarce], number: int, packages: tuple[str, ...], spared: Container[str]
) -> Iterator[Scarce]:
    with failing_at(number, *packages, spared=spared) as scarce:
        made.append(scarce)
        yield scarce


def at_each_line(
    *packages: str, every: int = 1, spared: Container[str] = ()
) -> Iterator[Callable[[], AbstractContextManager[Scarce]]]:
    """Gives, for each line that may be executed, what makes memory missing there.

    It ends once the last one given was not reached.

    Args:
        *packages: See `failing_at`.
        every: To try one line of so many.
        spared: See `failing_at`.
    """
    for number in range(1, _END, every):
        made: list[Scarce] = []

        yield partial(_noted, made, number, packages, spared)
        if made and not made[0].failed:
            return
    raise AssertionError("there is no end to the lines")
