"""Which files a confined worker may read: what Python and the framework consist of, and no data.

Lists of paths, made before a worker is confined. Nothing here restricts anything.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LIBRARIES: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/etc/ld.so.cache", "/etc/ld.so.preload"),
)
_LANGUAGES_AND_TIMES: Final = ("/usr/share/locale", "/usr/share/zoneinfo", "/etc/localtime")
# How many processors there are and how much memory, by which frameworks choose their threads and
# buffers. Of /proc only what is named: the command lines of other processes are there as well.
_MACHINE: Final = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems"),
    *("/proc/sys/vm", "/proc/sys/kernel", "/sys/devices", "/sys/class/drm", "/sys/fs/cgroup"),
    *("/sys/kernel/mm", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
)
_GPUS: Final = ("nvidia*", "kfd", "dri")  # in /dev
_ABOUT_GPUS: Final = (
    *("/proc/devices", "/proc/modules", "/proc/driver/nvidia", "/sys/bus/pci", "/sys/module"),
    *("/usr/share/nvidia", "/usr/local/cuda", "/opt/rocm"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is left when it is confined.

    Attributes:
        readable: Files, and folders with all that is in them, that it may read.
        devices: Devices and folders of devices that it may drive, such as GPUs.
    """

    readable: tuple[Path, ...]
    devices: tuple[Path, ...] = ()


def plan() -> Plan:
    """Returns what workers need that are forked from this process, or import what it would.

    That is what Python imports from, the shared libraries of the system and those that were loaded
    from elsewhere, and what tells of the machine. The folder that the server was started in is
    left out, though Python may look for modules there: it has people's files.
    """
    devices = tuple(path for name in _GPUS for path in sorted(Path("/dev").glob(name)))
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    found = (
        *imported_from([each for each in sys.path if each not in {"", os.getcwd()}], sys.modules),  # noqa: PTH109 - compared as text
        *(Path(each, "lib") for each in (sys.prefix, sys.base_prefix)),
        *loaded_from(maps.splitlines()),
        *map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))),
        *map(Path, (*_LIBRARIES, *_LANGUAGES_AND_TIMES, *_MACHINE)),
        *map(Path, _ABOUT_GPUS if devices else ()),
    )
    return Plan(outermost(each.resolve() for each in found if each.exists()), devices)


def imported_from(path: Iterable[str], modules: Mapping[str, object]) -> Iterator[Path]:
    """Gives where modules come from: Python's path, and the packages found in other ways.

    Args:
        path: Folders and archives, as in `sys.path`.
        modules: What was imported, as in `sys.modules`.
    """
    yield from map(Path, path)
    for name, module in list(modules.items()):
        if "." not in name:
            yield from map(Path, getattr(module, "__path__", ()))


def loaded_from(maps: Iterable[str]) -> Iterator[Path]:
    """Gives the folders of the shared libraries that are loaded: others there are loaded later.

    Args:
        maps: The lines of `/proc/self/maps`.
    """
    for line in maps:
        _, slash, path = line.partition("/")
        library = Path(slash + path)
        if ".so" in library.suffixes:
            yield library.parent


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Returns those of some paths that are in no other one, each once."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not (kept and path.is_relative_to(kept[-1])):
            kept.append(path)
    return tuple(kept)
