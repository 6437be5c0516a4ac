"""How many clients a server has, asked over a connection: also where INFO is an engine's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorkeep_server.testing import Wire


def connected(wire: Wire) -> int:
    """Returns how many clients are connected, this one included."""
    return _clients(wire, "connected")


def blocked(wire: Wire) -> int:
    """Returns how many clients wait for a run, or for a model to be built."""
    return _clients(wire, "blocked")


def _clients(wire: Wire, state: str) -> int:
    told = bytes(wire.read("INFO")).decode()
    ours = re.search(rf"^tensorkeep_{state}_clients:(\d+)", told, re.MULTILINE)
    found = ours or re.search(rf"^{state}_clients:(\d+)", told, re.MULTILINE)
    assert found is not None, told
    return int(found[1])
