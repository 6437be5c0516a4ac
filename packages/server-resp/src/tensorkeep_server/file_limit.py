"""How many clients the system's limit on open files allows, and raising that limit.

Each connection is an open file. Beyond the limit none can be taken, and whoever waits to be taken
would learn nothing.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

if sys.platform != "win32":
    import resource

_log = logging.getLogger(__name__)

RESERVE: Final = 128
"""Files kept for what is no connection: libraries and files of frameworks, sockets, logs."""


def clients_within(limit: int) -> int:
    """Returns how many clients a limit on open files has room for, at least one."""
    return max(limit - RESERVE, limit // 2, 1)


def clients_possible(wanted: int) -> int:
    """Raises the limit on open files as far as it is needed and allowed.

    Args:
        wanted: A number of clients.

    Returns:
        That number, or the lower one that the limit has room for.
    """
    if sys.platform == "win32":  # which has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if most > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError) as error:  # a lower limit of the system's that is not told
            _log.warning("the limit on open files stays at %d: %s", soft, error)
        else:
            soft = most
    return min(wanted, clients_within(soft))
