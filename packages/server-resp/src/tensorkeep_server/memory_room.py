"""Room for a request where memory is limited: keys go for it, or the request is refused.

As in Redis, all commands make room, and only those are refused that may take memory (`denyoom` in
COMMAND) and, between MULTI and EXEC, all that would be kept.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import DENYOOM
from tensorkeep.commands.errors import CommandError, Refused
from tensorkeep.memory_limit import Outcome
from tensorkeep.store import is_remote
from tensorkeep.tensor import owner_of

if TYPE_CHECKING:
    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command
    from tensorkeep.memory_limit import MemoryLimit
    from tensorkeep_server.state import Client, Server

_EVICT_FOR: Final = 0.002  # seconds of a turn of the loop

_REFUSAL: Final = "OOM command not allowed when used memory > 'maxmemory'."
_NEVER_REFUSED: Final = frozenset({"discard", "quit", "reset"})  # between MULTI and EXEC


def check_memory(client: Client, command: Command, request: Request) -> None:
    """Makes room for a request, whose own bytes nobody else counts.

    Raises:
        Refused: The limit is reached, and nothing may be given up.
    """
    server = client.server
    memory = server.memory
    size = sum(map(len, request))
    if memory.has_room(size):
        return
    memory.shared = shared_bytes(server)
    if make_room(memory, size) is Outcome.FULL and _takes_memory(client, command):
        raise Refused(_REFUSAL)


def check_value(client: Client, size: int) -> None:
    """Makes room for a value, which may have many more bytes than the request that it came of.

    Raises:
        CommandError: The limit is reached, and nothing may be given up.
    """
    memory = client.server.memory
    if not memory.has_room(size) and make_room(memory, size) is Outcome.FULL:
        raise CommandError(_REFUSAL)


def shared_bytes(server: Server) -> int:
    """Returns the bytes of what clients hold that are counted elsewhere.

    What is sent as it lies may be a stored value's memory, and several clients may wait for it.
    """
    if is_remote(server.store):
        return 0
    lent = [buffer for client in server.clients_memory.filled for buffer in client.lent]
    alone = {id(owner_of(each)): len(each) for each in lent if not server.store.holds(each)}
    return sum(map(len, lent)) - sum(alone.values())


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
