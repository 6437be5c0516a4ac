"""What the end of a worker means, in words."""

from __future__ import annotations

import os
import signal


def cause_of(status: int) -> str:
    """Returns of what a process died.

    Args:
        status: What `os.waitpid` gave.
    """
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        return f"signal {-code}"
