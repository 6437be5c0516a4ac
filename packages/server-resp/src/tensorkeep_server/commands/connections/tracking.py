"""CLIENT TRACKING and what belongs to it, which is refused: clients that cache must know.

A client that believes that it will be told of changes, and is not, works with old values for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    LOADING,
    NOSCRIPT,
    STALE,
    Command,
    Difference,
    command,
    nothing,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Map, Set

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_FLAGS: Final = (NOSCRIPT, LOADING, STALE)
_NOT_TRACKED: Final = -1
_REFUSAL: Final = (
    "ERR CLIENT {} is not supported: this server does not tell clients which of the keys that they"
    " have cached were changed"
)


def track(_client: Client, words: list[bytes]) -> Reply:
    """Refuses to track anything; to stop it is easy."""
    if words[0].upper() == b"OFF":
        return OK
    raise CommandError(_REFUSAL.format("TRACKING"))


def set_caching(_client: Client, _request: bytes) -> Reply:
    """Refuses to be told what will be cached."""
    raise CommandError(_REFUSAL.format("CACHING"))


def redirection(_client: Client, _request: None) -> Reply:
    """Says that nothing is tracked, so that nobody is told of it."""
    return _NOT_TRACKED


def tracking_info(_client: Client, _request: None) -> Reply:
    """Tells that nothing is tracked."""
    return Map(((b"flags", Set((b"off",))), (b"redirect", _NOT_TRACKED), (b"prefixes", ())))


_DIFFERENCES: Final = (
    Difference(
        "Tells a client when a key changes whose value it has read.",
        "Refuses; OFF is answered OK.",
        "It is not built. A client that believes to be told would work with old values for ever.",
    ),
)

SUBCOMMANDS: Final[tuple[Command, ...]] = (
    command(
        "caching",
        Args.take,
        set_caching,
        summary="Refuses: nobody is told of changes to cached keys.",
        group="connection",
        arity=3,
        flags=_FLAGS,
        syntax="YES | NO",
        since="6.0.0",
        differences=_DIFFERENCES,
    ),
    command(
        "getredir",
        nothing,
        redirection,
        summary="Returns -1: nobody is told of changes to cached keys.",
        group="connection",
        arity=2,
        flags=_FLAGS,
        since="6.0.0",
    ),
    command(
        "tracking",
        Args.take_rest,
        track,
        summary="Refuses ON: nobody is told of changes to cached keys.",
        group="connection",
        arity=-3,
        flags=_FLAGS,
        syntax="ON | OFF",
        since="6.0.0",
        differences=_DIFFERENCES,
    ),
    command(
        "trackinginfo",
        nothing,
        tracking_info,
        summary="Says that it is off.",
        group="connection",
        arity=2,
        flags=_FLAGS,
        since="6.2.0",
    ),
)
