"""Which models of TORCH are harmless: no input can make them end, block or fill this process.

Found by entry point in the group `tensorkeep.harmless`. torch is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tensorkeep.model import ModelSpec

LIGHT: Final = False
"""To import torch keeps others waiting."""


def why_isolated(spec: ModelSpec, blob: bytes) -> str:  # noqa: ARG001 - all are the same yet
    """Returns why a model is not to run in the process that serves clients.

    Args:
        spec: What the user says of the model.
        blob: The model.

    Returns:
        The first reason that was found, for people; empty for a harmless model.
    """
    return "no list of operators of TORCH known to be harmless was made yet"
