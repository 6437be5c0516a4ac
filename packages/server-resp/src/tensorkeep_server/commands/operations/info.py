"""INFO: asks the operating system, and lets `info` write."""

from __future__ import annotations

import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import text
from tensorkeep.commands.command import (
    LOADING,
    STALE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.reply import Verbatim
from tensorkeep_server.info import CpuTimes, Process, info_text

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client


def parse_info(args: Args) -> list[str]:
    """Parses INFO [section…]."""
    return [text(word).lower() for word in args.take_rest()]


def info(client: Client, words: list[str]) -> Reply:
    """Describes the server."""
    return Verbatim(info_text(words, client.server, this_process()))


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


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "info",
        parse_info,
        info,
        summary="Describes the server, in sections.",
        differences=(
            Difference(
                "`ai_TensorFlowLite_version` and `ai_Torch_version` are `NA`.",
                "The version.",
                "It is known.",
            ),
            Difference(
                "`ai_onnxruntime_memory` is what ONNX Runtime's allocator holds, and beside"
                " it stands how often it was asked.",
                "The bytes of the models' weights, and no such count.",
                "ONNX Runtime does not tell Python.",
            ),
            Difference(
                "Has many fields of what Redis does in C: allocator, persistence,"
                " replication, statistics of commands.",
                "Has those that mean something here, and beside them sections `backends` and"
                " `devices`.",
                "A made-up number is worse than none.",
            ),
        ),
        group="server",
        flags=(LOADING, STALE),
        syntax="[section ...]",
        categories=("dangerous",),
        tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    ),
)
