"""Workers of Tensorkeep that are processes: the entry point `processes` of `tensorkeep.workers`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorkeep.isolation import Isolation, WorkerOptions

__all__ = ["start"]


def start(options: WorkerOptions) -> Isolation:
    """Returns a kind of worker whose workers are processes; starts none yet.

    Args:
        options: What workers are told, and their limits.

    Raises:
        RuntimeError: This is no Linux, or (for now) the workers are not written yet.
    """
    if sys.platform != "linux":
        raise RuntimeError(f"workers in processes need Linux, not {sys.platform}")
    raise RuntimeError(f"workers in processes are not there yet; they would be told {options}")
