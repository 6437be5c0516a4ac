"""What a request may be just now: done, queued for EXEC, or refused.

Nothing here does a command; that is the business of `calls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import keyword
from tensorkeep.commands.command import NO_MULTI
from tensorkeep.commands.errors import Refused
from tensorkeep.commands.reply import RESP2, Error, Simple
from tensorkeep_server.client_memory import size_of
from tensorkeep_server.codec import Unread
from tensorkeep_server.errors import NO_MEMORY
from tensorkeep_server.room import check_room

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args, Request
    from tensorkeep.commands.command import Command
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client, Transaction

NEVER_QUEUED: Final = frozenset({"multi", "exec", "discard", "watch", "quit", "reset"})
"""What is done at once even between MULTI and EXEC."""

_QUEUED_BYTES: Final = 230  # of a command that waits, besides its arguments
_QUEUED: Final = Simple("QUEUED")
# What a subscriber may do that speaks RESP2, where nothing tells a message from a reply.
_WHILE_SUBSCRIBED: Final = frozenset(
    {
        *("subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"),
        *("ping", "quit", "reset"),
    }
)
# What browsers send to whatever address a page names. Its body would be obeyed as commands.
_OF_HTTP: Final = frozenset({b"POST", b"HOST:"})
_LEAST_OF_HTTP: Final = min(map(len, _OF_HTTP))  # a glance at the length is cheap


def check_subscriber(client: Client, name: str) -> None:
    """Makes sure that a subscriber will be able to tell the reply from a message.

    Args:
        client: A subscriber.
        name: The full name of the command that it asks for.

    Raises:
        Refused: It would not be.
    """
    if client.version == RESP2 and name not in _WHILE_SUBSCRIBED:
        raise Refused(
            f"ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT"
            " / RESET are allowed in this context"
        )


def queue(client: Client, transaction: Transaction, command: Command, args: Args) -> Reply:
    """Keeps a command for EXEC, unless it is known that nothing will be done then.

    Raises:
        Refused: The command cannot be part of a transaction.
    """
    if NO_MULTI in command.flags:
        raise Refused("ERR Command not allowed inside a transaction")
    check_room(command, args)
    if not transaction.failed and not client.watch.changed:
        transaction.queue.append((command, args))
        transaction.size += size_of(args.items) + _QUEUED_BYTES
    return _QUEUED


def is_http(request: Request) -> bool:
    """Returns whether a request, which is no command of ours, is a line of HTTP."""
    word = request[0]
    return len(word) >= _LEAST_OF_HTTP and keyword(word) in _OF_HTTP


def refuse(client: Client, request: Request, line: str) -> Error:
    """Returns the error for a command that is not even tried, which spoils a transaction.

    Args:
        client: Who asked for it.
        request: What was sent.
        line: Why it is not tried; not looked at where there was no memory for the request.
    """
    if type(request) is Unread:
        line = NO_MEMORY
    command = client.server.commands.get(request[0])
    if command is not None and command.name == "exec":
        client.discard()
        reason = line.removeprefix("ERR ")
        return Error(f"EXECABORT Transaction discarded because of: {reason}")
    if client.transaction is not None:
        client.transaction.failed = True
    return Error(line)
