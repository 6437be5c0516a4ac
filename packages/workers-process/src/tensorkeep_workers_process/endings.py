"""Whether a worker has ended, and what its end means, in words."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tensorkeep_workers_process.memory_limit import beyond, lacks_memory


def is_running(pid: int) -> bool:
    """Returns whether a process has not ended: one that nobody has asked for its end yet has."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return fields.rpartition(")")[2].split()[0] not in {"Z", "X"}


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
