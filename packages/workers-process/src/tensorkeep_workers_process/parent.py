"""Processes that end with the process that started them, in whatever way that ends."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LATER: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_prctl: Final = ctypes.CDLL(None, use_errno=True).prctl


def end_with(parent: int) -> None:
    """Ends this process as soon as its parent ends.

    Strictly, as soon as that thread of the parent ends that started this process.

    Args:
        parent: The parent's process; if it has ended already, so does this one.
    """
    if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if os.getppid() != parent:
        os._exit(0)


def leave_signals_to_the_server() -> None:
    """Takes no notice of what is sent to the server and all that belongs to it, such as Ctrl-C.

    The server goes on for a while then, and still needs its workers.
    """
    for each in _LATER:
        signal.signal(each, signal.SIG_IGN)
