"""Room for a request where memory is limited: keys go for it, or the request is refused.

As in Redis, all commands make room, and only those are refused that may take memory (`denyoom` in
COMMAND) and, between MULTI and EXEC, all that would be kept.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import DENYOOM
from tensorkeep.commands.errors import Refused
from tensorkeep.memory_limit import Outcome

if TYPE_CHECKING:
    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command
    from tensorkeep.memory_limit import MemoryLimit
    from tensorkeep_server.state import Client

_EVICT_FOR: Final = 0.002  # seconds of a turn of the loop

_REFUSAL: Final = "OOM command not allowed when used memory > 'maxmemory'."
_NEVER_REFUSED: Final = frozenset({"discard", "quit", "reset"})  # between MULTI and EXEC


def check_memory(client: Client, command: Command, request: Request) -> None:
    """Makes room for a request, whose own bytes nobody else counts.

    Raises:
        Refused: The limit is reached, and nothing may be given up.
    """
    memory = client.server.memory
    size = sum(map(len, request))
    if memory.has_room(size):
        return
    if make_room(memory, size) is Outcome.FULL and _takes_memory(client, command):
        raise Refused(_REFUSAL)


def make_room(memory: MemoryLimit, size: int) -> Outcome:
    """Gives up keys until so many bytes may be taken, for as long as others can wait."""
    until = perf_counter() + _EVICT_FOR
    return memory.make_room(size, lambda: perf_counter() <= until)


def _takes_memory(client: Client, command: Command) -> bool:
    if DENYOOM in command.flags:
        return True
    transaction = client.transaction
    if transaction is None:
        return False
    if command.name == "exec":
        return any(DENYOOM in queued.flags for queued, _ in transaction.queue)
    return command.name not in _NEVER_REFUSED
