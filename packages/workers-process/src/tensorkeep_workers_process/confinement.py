"""Keeps a worker to its own work: no file but the framework's, no network, no other process.

Two layers of Linux, each of which does without the other: Landlock says which files may be read,
and a filter of system calls (seccomp) what else may be done. What the kernel does not offer is
left out, and said. A worker is confined right after it was forked, while it has one thread, for
ever.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import landlockpy
from landlockpy import AccessFS, RestrictFlag, Scope

from tensorkeep_workers_process import system_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep_workers_process.readable_files import Plan

_READ: Final = AccessFS.READ_FILE | AccessFS.READ_DIR
_DRIVE: Final = _READ | AccessFS.WRITE_FILE | AccessFS.IOCTL_DEV
_ITSELF: Final = Path("/proc/self")
_NO_HOME: Final = "/nonexistent"  # libraries stop at settings that are there and cannot be read

# Linux makes these files anew, without their rules, once it dropped them because memory got short;
# what is open it does not drop.
_FORGOTTEN: Final = Path("/proc")

# The first version of Landlock's interface that has each.
_TCP: Final = 4
_SIGNALS: Final = 6


@dataclass(frozen=True, slots=True)
class Confinement:
    """What keeps a worker to its own work. False when nothing does; its text is for people.

    Attributes:
        landlock: Version of Landlock's interface; 0 where it does not hold.
        system_calls: Whether the filter of system calls holds.
        missing: Why a layer does not hold, a text for each that does not.
    """

    landlock: int
    system_calls: bool
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.landlock or self.system_calls)

    def __str__(self) -> str:
        """Returns what holds, by what, and why not more does, in one line."""
        layers = [f"Landlock {self.landlock}"] if self.landlock else []
        layers += ["seccomp"] if self.system_calls else []
        holds = f"{', '.join(self._held())} ({', '.join(layers)})" if self else "nothing"
        return "; ".join((holds, *self.missing))

    def _held(self) -> Iterator[str]:
        if self.landlock:
            yield "no files but the framework's"
        elif self.system_calls:
            yield "no writing of files"
        if self.system_calls:
            yield "no network"
            yield "no other processes"
            return
        yield "no programs"
        if self.landlock >= _TCP:
            yield "no TCP"
        if self.landlock >= _SIGNALS:
            yield "no signals to other processes"


def available() -> Confinement:
    """Returns how workers can be confined here, as far as the system says; confines nothing."""
    version, no_landlock = _landlock()
    no_filter = system_calls.why_missing()
    return Confinement(version, not no_filter, _reasons(no_landlock, no_filter))


def confine(plan: Plan) -> Confinement:
    """Confines this process, and all threads that it starts, for ever.

    It must have one thread, as after a fork: Linux confines threads. What is open stays open, so
    close what the worker does not need.

    Args:
        plan: What may be read.

    Returns:
        What holds from now on.

    Raises:
        RuntimeError: There are several threads.
    """
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        raise RuntimeError("a process with several threads cannot be confined")
    os.environ["HOME"] = _NO_HOME
    version, no_landlock = _landlock()
    if version:
        try:
            _restrict_files(plan)
        except OSError as error:
            version, no_landlock = 0, str(error)
    no_filter = system_calls.why_missing()
    if not no_filter:
        try:
            system_calls.restrict(devices=bool(plan.devices))
        except OSError as error:
            no_filter = str(error)
    return Confinement(version, not no_filter, _reasons(no_landlock, no_filter))


def _landlock() -> tuple[int, str]:
    """Returns the version of Landlock's interface, or 0 and why there is none."""
    try:
        version = landlockpy.abi_version()
    except landlockpy.LandlockError as error:  # as in a container that forbids to ask
        return 0, str(error)
    return version, "" if version else f"Linux {platform.release()} does not offer it"


def _reasons(no_landlock: str, no_filter: str) -> tuple[str, ...]:
    reasons = {"Landlock": no_landlock, "seccomp": no_filter}
    return tuple(f"without {layer}: {why}" for layer, why in reasons.items() if why)


def _restrict_files(plan: Plan) -> None:
    with landlockpy.Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as rules:
        for path in (_ITSELF, *plan.readable):
            _allow(rules, path, _READ)
        for path in plan.devices:
            _allow(rules, path, _DRIVE)
        # A model that tries for ever would fill the system's log of what was denied.
        rules.restrict(RestrictFlag.LOG_SAME_EXEC_OFF)


def _allow(rules: landlockpy.Ruleset, path: Path, access: AccessFS) -> None:
    if not path.is_dir():
        access &= ~AccessFS.READ_DIR
    with suppress(FileNotFoundError):  # gone since the plan was made
        rules.allow_path(path, access)
        if path.is_relative_to(_FORGOTTEN):
            os.open(path, os.O_PATH | os.O_CLOEXEC)  # for as long as the process lives
