"""What people are told that a model or script is called, in the log and in errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.bounded_log import shown
from tensorkeep.model import Model

if TYPE_CHECKING:
    from tensorkeep.model import Runnable


def kind_of(runnable: Runnable) -> str:
    """Returns whether something is a model or a script."""
    return "model" if isinstance(runnable, Model) else "script"


def named(runnable: Runnable) -> str:
    """Returns a model or script by its kind and key."""
    return f"{kind_of(runnable)} {shown(runnable.stats.key) or 'without a key'}"
