"""What the operating system says of the server's process."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Processor time in seconds.

    Attributes:
        user: In the program.
        system: In the operating system on its behalf.
    """

    user: float
    system: float


@dataclass(frozen=True, slots=True)
class Process:
    """What the operating system says of the server's process.

    Attributes:
        time: Unix time in seconds.
        pid: Its number.
        memory: Bytes of memory that it occupies.
        peak_memory: The most that it ever occupied.
        machine_memory: Bytes of memory of the machine.
        own: Processor time of all threads.
        main_thread: Processor time of the thread that serves clients.
        children: Processor time of processes that it started.
    """

    time: float
    pid: int
    memory: int
    peak_memory: int
    machine_memory: int
    own: CpuTimes
    main_thread: CpuTimes
    children: CpuTimes


if sys.platform == "linux":
    import resource

    _STATM: Final = Path("/proc/self/statm")
    _KIBIBYTE: Final = 1024

    def this_process() -> Process:
        """Returns what the operating system says of this process."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        memory = int(_STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
        return Process(
            time=time.time(),
            pid=os.getpid(),
            memory=memory,
            # The system notes the peak from time to time only.
            peak_memory=max(own.ru_maxrss * _KIBIBYTE, memory),
            machine_memory=_machine_memory(),
            own=_times(own),
            main_thread=_times(resource.getrusage(resource.RUSAGE_THREAD)),
            children=_times(resource.getrusage(resource.RUSAGE_CHILDREN)),
        )

    def _times(usage: resource.struct_rusage) -> CpuTimes:
        return CpuTimes(usage.ru_utime, usage.ru_stime)

    @lru_cache
    def _machine_memory() -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

else:

    def this_process() -> Process:
        """Knows what Python tells on every system: no memory, nothing of a single thread."""
        times = os.times()
        own = CpuTimes(times.user, times.system)
        children = CpuTimes(times.children_user, times.children_system)
        return Process(time.time(), os.getpid(), 0, 0, 0, own, own, children)
