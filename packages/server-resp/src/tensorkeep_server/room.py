"""Whether there is memory for what a command may take, where the system limits this process'.

What stores is refused first, then what only reads. What removes, and what tells how the server is,
is always done: without it nothing would ever be free again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import DENYOOM, PUBSUB, READONLY
from tensorkeep.commands.errors import Refused
from tensorkeep.headroom import HEADROOM, READING, WRITING
from tensorkeep.leftovers import sweep
from tensorkeep_server.errors import NO_MEMORY

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep.commands.command import Command

_ARGUMENT: Final = 256  # bytes that each may take where it is stored, beside its own


def check_room(command: Command, args: Args) -> None:
    """Makes sure that there is memory for a command.

    Args:
        command: The command.
        args: Its request.

    Raises:
        Refused: There is none, or too little would be left.
    """
    if not HEADROOM.limited:
        return
    flags = command.flags
    if DENYOOM in flags:
        size, part = _ARGUMENT * len(args.items), WRITING
    elif READONLY in flags or PUBSUB in flags:
        size, part = 0, READING
    else:
        return
    if not (HEADROOM.has(size, part) or (_freed() and HEADROOM.has(size, part))):
        raise Refused(NO_MEMORY)


def _freed() -> int:
    """Frees at once what was removed and is freed bit by bit otherwise; returns how much."""
    return sweep(sys.maxsize)
