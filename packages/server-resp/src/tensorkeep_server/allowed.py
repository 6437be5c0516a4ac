"""Whether a client may do what it asks for; what is refused is noted.

The rights themselves are `tensorkeep.rights`' business. The connection asks here only for clients
that may not do everything.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import text
from tensorkeep.commands.command import MODULE, NO_AUTH
from tensorkeep.commands.errors import Refused
from tensorkeep.rights.denial_log import Entry
from tensorkeep.rights.selector import CHANNEL, COMMAND, KEY, Denial
from tensorkeep_server.client_line import client_line

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.commands.command import Command
    from tensorkeep.rights.user import Rights
    from tensorkeep_server.state import Client

TOP_LEVEL: Final = "toplevel"
IN_MULTI: Final = "multi"
IN_SCRIPT: Final = "lua"  # Redis' word, which tools know

WRONG_PASSWORD: Final = "WRONGPASS invalid username-password pair or user is disabled."  # noqa: S105 - a text
NOT_AUTHENTICATED: Final = "NOAUTH Authentication required."
_AUTH: Final = "auth"

_COUNTED: Final = {COMMAND: "cmd", KEY: "key", CHANNEL: "channel", _AUTH: "auth"}


def check_allowed(client: Client, command: Command, request: Request) -> None:
    """Makes sure that a client may do what it asks for, or have it queued for EXEC.

    Args:
        client: The client.
        command: The command, or the subcommand.
        request: The whole request.

    Raises:
        Refused: It may not, or has to say who it is first.
    """
    denial = denied(client, command, request, _context_of(client))
    if denial is not None:
        raise Refused(refusal(denial))


def denied(client: Client, command: Command, request: Request, context: str) -> Denial | None:
    """Returns why a client may not do what it asks for, None if it may; notes it.

    Args:
        client: The client.
        command: The command, or the subcommand.
        request: The whole request.
        context: Where it is asked for.

    Raises:
        Refused: It has to say who it is first.
    """
    if has_to_authenticate(client) and NO_AUTH not in command.flags:
        raise Refused(NOT_AUTHENTICATED)
    denial = client.user.rights.denial(client.server.commands, command, request)
    if denial is not None:
        note_denial(client, command.full_name, denial, context)
    return denial


def note_denial(client: Client, what: str, denial: Denial, context: str) -> None:
    """Notes that something was not allowed.

    Args:
        client: Who asked for it.
        what: The command that was asked for.
        denial: Why it was not allowed.
        context: Where it was asked for.
    """
    _note(client, what, denial, context, client.user.name)


def check_over_engine(client: Client, command: Command, request: Request) -> None:
    """Makes sure that a user of the engine may do an AI command, as far as that is not its to say.

    Args:
        client: The client, which has a session.
        command: The command.
        request: The whole request.

    Raises:
        Refused: It may not, as the file of users has it.
    """
    rights = rights_over_engine(client)
    if rights is not None and MODULE in command.flags:
        denial = rights.denial(client.server.commands, command, request)
        if denial is not None:
            line, audit = refusal(denial), client.server.audit
            if audit is not None and client.session is not None:
                audit.refused(client, command.full_name, line, user=client.session.user)
            raise Refused(line)


def rights_over_engine(client: Client) -> Rights | None:
    """Returns what a user of the engine may do with AI commands, None if nothing is said of it."""
    session = client.session
    return None if session is None else client.server.engine_rights.get(session.user)


def has_to_authenticate(client: Client) -> bool:
    """Returns whether a client may do nothing before it has said who it is."""
    return not client.authenticated and client.server.users.first() is None


def note_wrong_password(client: Client, user: bytes, command: Argument) -> None:
    """Notes that somebody was not let in.

    Args:
        client: Who tried.
        user: As whom.
        command: By which command, as it was sent.
    """
    name = text(bytes(command)).lower()
    _note(client, name, Denial(_AUTH, bytes(command)), _context_of(client), user)


def _context_of(client: Client) -> str:
    """Returns where a client asks for something: alone, or at EXEC."""
    return TOP_LEVEL if client.transaction is None else IN_MULTI


def refusal(denial: Denial) -> str:
    """Returns the error line for what is not allowed."""
    match denial.reason:
        case "command":
            return f"NOPERM this user has no permissions to run the '{text(denial.what)}' command"
        case "key":
            return "NOPERM this user has no permissions to access one of the keys used as arguments"
        case _:
            return (
                "NOPERM this user has no permissions to access one of the channels used as"
                " arguments"
            )


def _note(client: Client, command: str, denial: Denial, context: str, user: bytes) -> None:
    server = client.server
    server.counters[f"acl_access_denied_{_COUNTED[denial.reason]}"] += 1
    now = time.time()
    line = client_line(client, now).encode("utf-8", "surrogateescape")
    if server.audit is not None:
        why = refusal(denial) if denial.reason != _AUTH else WRONG_PASSWORD
        server.audit.refused(client, command, why, user=user)
    server.denials.add(Entry(denial.reason, context, denial.what, user, line, now))
