"""INFO: asks the operating system, and lets `info` write."""

from __future__ import annotations

import os
import resource
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep_server.args import text
from tensorkeep_server.command import LOADING, STALE, Command, command
from tensorkeep_server.info import CpuTimes, Process, info_text
from tensorkeep_server.reply import Verbatim

if TYPE_CHECKING:
    from tensorkeep_server.args import Args
    from tensorkeep_server.reply import Reply
    from tensorkeep_server.state import Client

_STATM: Final = Path("/proc/self/statm")
_KIBIBYTE: Final = 1024


def parse_info(args: Args) -> list[str]:
    """Parses INFO [section…]."""
    return [text(word).lower() for word in args.take_rest()]


def info(client: Client, words: list[str]) -> Reply:
    """Describes the server."""
    return Verbatim(info_text(words, client.server, _this_process()))


def _this_process() -> Process:
    own = resource.getrusage(resource.RUSAGE_SELF)
    peak = own.ru_maxrss * _KIBIBYTE
    return Process(
        time=time.time(),
        pid=os.getpid(),
        memory=_memory(peak),
        peak_memory=peak,
        machine_memory=_machine_memory(),
        own=_times(own),
        main_thread=_times(resource.getrusage(resource.RUSAGE_THREAD)),
        children=_times(resource.getrusage(resource.RUSAGE_CHILDREN)),
    )


def _times(usage: resource.struct_rusage) -> CpuTimes:
    return CpuTimes(usage.ru_utime, usage.ru_stime)


def _memory(otherwise: int) -> int:
    """Returns the memory in use; off Linux, which alone tells without more libraries, the peak."""
    if not _STATM.exists():
        return otherwise
    pages = int(_STATM.read_text().split()[1])
    return pages * resource.getpagesize()


@lru_cache
def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "info",
        parse_info,
        info,
        summary="Describes the server, in sections.",
        group="server",
        flags=(LOADING, STALE),
        syntax="[section ...]",
        categories=("dangerous",),
        tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    ),
)
