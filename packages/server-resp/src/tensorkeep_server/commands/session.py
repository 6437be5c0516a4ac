"""Commands about the connection itself: PING, ECHO, SELECT and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_server.command import FAST, Command, command
from tensorkeep_server.reply import Simple

if TYPE_CHECKING:
    from tensorkeep_server.args import Args
    from tensorkeep_server.reply import Reply
    from tensorkeep_server.state import Client

_PONG: Final = Simple("PONG")


def parse_ping(args: Args) -> bytes | None:
    """Parses PING [message]."""
    if len(args) > 1:
        raise args.wrong_arity()
    return args.take() if len(args) else None


def ping(_: Client, message: bytes | None) -> Reply:
    """Answers PONG, or the message."""
    return _PONG if message is None else message


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ping",
        parse_ping,
        ping,
        summary="Answers PONG, or the message that was sent.",
        group="connection",
        flags=(FAST,),
        syntax="[message]",
    ),
)
