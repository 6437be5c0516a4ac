"""Workers of Tensorkeep that are processes: the entry point `processes` of `tensorkeep.workers`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep.isolation import Isolation, WorkerOptions

__all__ = ["start"]


def start(options: WorkerOptions, plugins: Mapping[str, str] | None = None) -> Isolation:
    """Returns a kind of worker whose workers are processes; starts none yet.

    Args:
        options: What workers are told, and their limits.
        plugins: Where plugins are that no entry point names: `module:attribute`, by backend.

    Raises:
        RuntimeError: This is no Linux.
    """
    if sys.platform != "linux":
        raise RuntimeError(f"workers in processes need Linux, not {sys.platform}")
    from tensorkeep_workers_process.isolation import ProcessIsolation  # noqa: PLC0415 - as it says

    return ProcessIsolation(options, plugins)
