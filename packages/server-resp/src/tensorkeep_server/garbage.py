"""What Python's garbage collector looks at: never twice at what is stored.

Reference counts free nearly everything. The collector is there for objects that refer to each other
in a circle. To find them it looks at every object: with a million tensors that takes half a second,
again and again while they come, and nobody is served meanwhile. So what a full collection has
looked at is set aside, and the next one looks at what is new.

What was set aside may become garbage in a circle all the same, an old connection for instance. So
now and then everything is looked at, if possible while nobody asks for anything.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorkeep_server.state import Server

_OLDEST: Final = 2  # the generation whose collection is a full one
_LOOK: Final = 10.0  # seconds between two looks whether it is time
_QUIET: Final = 1.0  # seconds without a request after which another second is likely
_EARLIEST: Final = 600.0  # seconds from one look at everything to the next
_LATEST: Final = 6 * 3600.0


def set_aside() -> None:
    """Sets aside what there is, and from now on whatever a full collection has looked at.

    For a process that does nothing but serve: it holds for the whole process.
    """
    gc.freeze()
    gc.callbacks.append(_after)


def _after(phase: str, info: Mapping[str, int]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST:
        gc.freeze()


@contextmanager
def collector_waits() -> Iterator[None]:
    """Keeps the collector from looking at anything meanwhile, and sets aside what was made.

    For the import of a framework: it makes objects that stay, up to a million of them, and to look
    at them again and again as they become more holds the interpreter for 0.2 s at a time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def is_due(since_last: float, since_request: float) -> bool:
    """Returns whether everything is to be looked at.

    Args:
        since_last: Seconds since that was done.
        since_request: Seconds since a client asked for anything.
    """
    return since_last >= _LATEST or (since_last >= _EARLIEST and since_request >= _QUIET)


async def collect_now_and_then(server: Server) -> None:
    """Looks at everything when it is time to, for as long as the server runs."""
    last = time.time()
    while True:
        await asyncio.sleep(_LOOK)
        now = time.time()
        asked = max((client.active_at for client in server.clients.values()), default=0.0)
        if is_due(now - last, now - asked):
            last = now
            gc.unfreeze()
            gc.collect()
