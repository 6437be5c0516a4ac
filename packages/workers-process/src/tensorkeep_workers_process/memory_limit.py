"""The memory that a worker may take: set in the kernel, and read out of what frameworks then say.

What a worker asks for beyond its limit the kernel refuses it, so nothing of the machine's memory is
touched. Frameworks then fail with an error of their own, or end the process; both leave words. What
the worker shares with the process that it was forked from does not count.
"""

from __future__ import annotations

import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from tensorkeep.system_limits import cgroup_folders, limits_of_folders, machine_memory

SETTING: Final = "--worker-memory"

_MEGABYTE: Final = 1_000_000
_MOST_FILES: Final = 1024  # open at once
_KILLED_FIRST: Final = "1000"

# What frameworks, C++ and Python say when there is no memory. Not "memory" alone, of which other
# errors speak as well.
_NO_MEMORY: Final = re.compile(
    r"bad_alloc|bad allocation|out of memory|OOM when allocating|MemoryError"
    r"|(can't|cannot|could not|unable to|failed to) (re)?allocate (memory|\d)"
    r"|not enough (host )?memory|(allocation of \d+ bytes|memory allocation( still)?) failed"
    r"|\[Errno 27\]"
    r"|(can't|cannot) start new thread|Resource temporarily unavailable",
    re.IGNORECASE,
)


# --------------------------------------------------------------------------- in the worker
def offer_to_be_killed() -> None:
    """Has the kernel kill this process before others when the machine has no memory left.

    The server holds the data, a worker can be had again.
    """
    with suppress(OSError):  # a system that forbids it has its own order
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST, encoding="ascii")


def limit_memory(limit: int) -> None:
    """Limits what this process takes from now on, for ever.

    What it asks for counts, whether it touches it or not: a thread counts for its stack of 8 MB.
    Shared memory does not, but no file in memory may be larger than the limit.

    Args:
        limit: Bytes beyond what it has now; 0 sets no limit.
    """
    # A process that ends because of a model is nothing to be examined, and large to be written. One
    # byte, for none would not keep it from a program that takes such files, as systemd has one.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    # What waits in pipes, and descriptors on their way to the server, count nowhere.
    files = min(_MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if not limit:
        return
    most = _own_data() + limit
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _own_data() -> int:
    """Returns the bytes that count for `RLIMIT_DATA`."""
    for line in (
        Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory this process has")


# --------------------------------------------------------------------------- what went wrong
def lacks_memory(text: str) -> bool:
    """Returns whether a text, such as an error or what a process printed, says so."""
    return bool(_NO_MEMORY.search(text))


def with_limit(text: str, limit: int) -> str:
    """Returns an error's text; with the limit, if the error comes from it.

    Args:
        text: What the plugin raised.
        limit: Bytes that the worker may take; 0 for any number.
    """
    if not limit or not lacks_memory(text) or SETTING in text:
        return text
    return f"{text.rstrip().removesuffix('.')} ({beyond(limit)})"


def beyond(limit: int) -> str:
    """Returns that a limit was reached, for people."""
    return f"it needed more memory than {SETTING} allows: {limit / _MEGABYTE:.10g} MB"


# --------------------------------------------------------------------------- the default
def default_limit() -> int:
    """Returns the bytes that a worker may take by default: half of what this process may have.

    That is the machine's memory, or what its cgroup or one around it may take.
    """
    machine = machine_memory()
    own = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    found = limits_of_folders(cgroup_folders(own), machine)
    return min([machine, *(limit.most for limit in found)]) // 2
