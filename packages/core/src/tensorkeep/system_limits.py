"""How much memory the system lets this process take, and how much it has taken.

Three limits are known: of addresses (`ulimit -v`), of data (`ulimit -d`), and of the cgroup that
the process is in, with those around it. On a system that tells nothing there is none.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_CGROUPS: Final = Path("/sys/fs/cgroup")
# What a cgroup may take, what it takes, and what of that is a cache of files, which the system
# takes back before it refuses anything: of version 2 and 1.
_CGROUP_FILES: Final = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_STATM: Final = Path("/proc/self/statm")


class Limit(NamedTuple):
    """One limit of memory.

    Attributes:
        name: What sets it, for people.
        most: Bytes that may be taken.
        taken: Returns how many are.
        touched_only: Whether memory counts once it is touched, and not when it is asked for.
    """

    name: str
    most: int
    taken: Callable[[], int]
    touched_only: bool = False


def limits() -> list[Limit]:
    """Returns the limits that hold for this process."""
    return [*_of_process(), *_of_cgroups()]


def machine_memory() -> int:
    """Returns the bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# --------------------------------------------------------------------------- free inside
class _Mallinfo(ctypes.Structure):
    """What glibc tells of its heap; all are bytes or counts."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


class Heap(NamedTuple):
    """Memory that the C library has taken from the system.

    Attributes:
        taken: Bytes of it.
        free: Bytes of it that were freed and are kept for what is asked for next. They lie between
            others that are in use, so that they may not do for something large.
    """

    taken: int
    free: int


def heap() -> Heap:
    """Returns what is known of the heap; nothing where the library does not tell."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # not glibc, or an old one
        return Heap(0, 0)
    ask.restype = _Mallinfo
    told = ask()
    return Heap(told.arena + told.hblkhd, told.fordblks)


# --------------------------------------------------------------------------- of the process
def _of_process() -> Iterator[Limit]:
    if sys.platform != "linux" or not _STATM.exists():
        return
    import resource  # noqa: PLC0415 - not on every system

    page = os.sysconf("SC_PAGE_SIZE")
    fields = (("ulimit -v", resource.RLIMIT_AS, 0), ("ulimit -d", resource.RLIMIT_DATA, 5))
    for name, number, field in fields:
        most, _ = resource.getrlimit(number)
        if most != resource.RLIM_INFINITY:
            yield Limit(name, most, _reader_of_statm(field, page))


def _reader_of_statm(field: int, page: int) -> Callable[[], int]:
    # Kept open: at the limit there may be no file to be had, and it is read often.
    file = os.open(_STATM, os.O_RDONLY)

    def taken() -> int:
        return int(os.pread(file, 256, 0).split()[field]) * page

    return taken


def allow_more_data(size: int) -> None:
    """Lets this process ask for so many bytes more, and for none beyond, until it is called again.

    A cgroup that is full ends a process. A process that is refused what it asks for goes on. Where
    whoever started it has set such a limit, that one stays.
    """
    if sys.platform != "linux" or not _STATM.exists():
        return
    import resource  # noqa: PLC0415 - not on every system

    global _own_limit  # noqa: PLW0603 - the process has one such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft not in {resource.RLIM_INFINITY, _own_limit}:
        return
    pages = int(_STATM.read_text(encoding="ascii").split()[5])
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + size
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
        _own_limit = wanted


_own_limit = -2  # the limit on data that was set here; no limit is like it


# --------------------------------------------------------------------------- of cgroups
def _of_cgroups() -> Iterator[Limit]:
    with suppress(OSError):
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        yield from limits_of_folders(cgroup_folders(own), machine_memory())


def cgroup_folders(lines: Iterable[str], root: Path = _CGROUPS) -> Iterator[Path]:
    """Gives the folders that may tell how much memory a process may take, and those around them.

    Args:
        lines: What `/proc/self/cgroup` says.
        root: Where cgroups are mounted.
    """
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        own = top / path.strip().lstrip("/")
        yield from (own, *(each for each in own.parents if each.is_relative_to(top)))


def limits_of_folders(folders: Iterable[Path], machine: int) -> Iterator[Limit]:
    """Gives the limits of cgroups that have one.

    Args:
        folders: Those that may.
        machine: Bytes that the machine has: a limit beyond it is none.
    """
    for folder in folders:
        for most_file, taken_file, cache in _CGROUP_FILES:
            with suppress(OSError):
                text = (folder / most_file).read_text(encoding="ascii").strip()
                if text.isdecimal() and int(text) < machine:  # otherwise "max"
                    taken = _reader_of_cgroup(folder, taken_file, cache)
                    yield Limit(f"the cgroup {folder}", int(text), taken, touched_only=True)


def _reader_of_cgroup(folder: Path, taken_file: str, cache: str) -> Callable[[], int]:
    def taken() -> int:
        used = int((folder / taken_file).read_text(encoding="ascii"))
        stat = _fields((folder / "memory.stat").read_text(encoding="ascii"))
        return used - stat.get(cache, 0)

    return taken


def _fields(text: str) -> Mapping[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}
