"""How much memory a process takes."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

_PAGE: Final = resource.getpagesize()


def own_memory(process: int | str = "self") -> int:
    """Returns the bytes of memory that a process has for itself; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    resident, shared = int(fields[1]), int(fields[2])
    return (resident - shared) * _PAGE


def machine_memory() -> int:
    """Returns the bytes of memory that the machine has."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory it has")
