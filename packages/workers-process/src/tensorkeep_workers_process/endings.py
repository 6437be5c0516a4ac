"""What the end of a worker means, in words."""

from __future__ import annotations

import os
import signal

from tensorkeep_workers_process.memory_limit import beyond, lacks_memory


def cause_of(status: int, printed: str = "", limit: int = 0) -> str:
    """Returns of what a process died.

    Args:
        status: What `os.waitpid` gave.
        printed: What it printed last.
        limit: Bytes of memory that it might take; 0 for any number.
    """
    code = os.waitstatus_to_exitcode(status)
    if code and lacks_memory(printed):
        return beyond(limit) if limit else f"{_signal(-code)}: there was no memory left"
    if code == -signal.SIGKILL:
        return f"{_signal(signal.SIGKILL)}, as the system sends it when no memory is left"
    if code >= 0:
        return f"it exited with code {code}"
    return _signal(-code)


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return f"signal {number}"
