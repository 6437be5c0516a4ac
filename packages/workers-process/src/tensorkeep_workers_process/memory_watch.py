"""What a worker takes while it works, seen from the server, for what no limit of the kernel counts.

The kernel limits what a worker asks for itself. Files in memory it does not count, nor threads; and
a worker that dies for want of memory does not always say so. Both are seen from outside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tensorkeep_workers_process.memory_limit import SETTING, beyond

MOST_THREADS: Final = 4096
"""Threads of one worker; frameworks start a few for each core."""

# Its own may reach the limit, where the kernel holds it; tensors on their way come on top.
_IN_ALL: Final = 1.25
_NEARLY: Final = 0.75  # of a limit: what died then may have died of it
_MEGABYTE: Final = 1_000_000
_BLOCK: Final = 512  # bytes that `st_blocks` counts


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes.

    Attributes:
        asked: Bytes of its own that it asked for, touched or not: what the kernel limits.
        own: Bytes of its own that it touched.
        shared: Bytes of files in memory, mapped or held open.
        threads: Its threads.
    """

    asked: int
    own: int
    shared: int
    threads: int


def usage(pid: int) -> Usage | None:
    """Returns what a process takes; None when it is gone, or not ours to look at."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        files = _files_in_memory(pid)
    except OSError:
        return None
    said = dict(line.split(":", 1) for line in lines)
    if "VmData" not in said:  # it has ended, and nobody has asked how
        return None
    mapped = _bytes(said["RssShmem"])
    return Usage(
        _bytes(said["VmData"]), _bytes(said["RssAnon"]), max(mapped, files), int(said["Threads"])
    )


def _bytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _files_in_memory(pid: int) -> int:
    """Returns the bytes of the files without a name that a process holds open."""
    sizes: dict[int, int] = {}
    for each in os.scandir(f"/proc/{pid}/fd"):
        try:
            found = each.stat()  # of the file itself, not of the link
        except OSError:  # closed meanwhile
            continue
        if not found.st_nlink:
            sizes[found.st_ino] = found.st_blocks * _BLOCK
    return sum(sizes.values())


# --------------------------------------------------------------------------- what follows
def excess(first: Usage, now: Usage, limit: int) -> str:
    """Returns why a worker has to be ended; empty when it has not.

    Args:
        first: What it took when it was new.
        now: What it takes now.
        limit: Bytes that it may take.
    """
    if now.own - first.own + now.shared > _IN_ALL * limit:
        return beyond(limit)
    if now.threads > MOST_THREADS:
        return f"it started more than {MOST_THREADS} threads"
    return ""


def grown(first: Usage, now: Usage) -> int:
    """Returns the bytes that a worker takes more than when it was new."""
    return max(0, now.asked - first.asked) + now.shared


def with_memory(cause: str, peak: int, limit: int) -> str:
    """Returns of what a worker died; with the memory that it took, if that may be the reason.

    Args:
        cause: Of what it died, as far as that is known.
        peak: Bytes that it took at most.
        limit: Bytes that it might take; 0 for any number.
    """
    if not limit or peak < _NEARLY * limit or SETTING in cause:
        return cause
    took, may = (f"{each / _MEGABYTE:.4g}" for each in (min(peak, limit), limit))
    return f"{cause}; it had taken {took} of the {may} MB that {SETTING} allows"
