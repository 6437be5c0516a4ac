"""CLIENT: what the server knows of its connections, and what a client may set of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX, Args, keyword, text
from tensorkeep.commands.command import (
    ADMIN,
    LOADING,
    NOSCRIPT,
    STALE,
    Command,
    Difference,
    command,
    container,
    nothing,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Verbatim
from tensorkeep_server.client_line import client_line
from tensorkeep_server.commands.connections import client_kill, tracking
from tensorkeep_server.commands.connections.client_kill import kind_of, take_kind
from tensorkeep_server.commands.connections.session import PRINTABLE, check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_PLAIN: Final = (NOSCRIPT, LOADING, STALE)
_ADMIN: Final = (ADMIN, *_PLAIN)
_CHANGING: Final = ("nondeterministic_output",)


# --------------------------------------------------------------------------- what is known
def client_id(client: Client, _: None) -> Reply:
    """Returns the connection's number."""
    return client.id


def get_name(client: Client, _: None) -> Reply:
    """Returns the connection's name, nothing when it has none."""
    return client.name.encode() or None


def client_info(client: Client, _: None) -> Reply:
    """Describes the connection that asks."""
    return Verbatim(_lines((client,)))


class ClientList(NamedTuple):
    """CLIENT LIST [TYPE kind | ID id…].

    Attributes:
        kind: Only connections of this kind, None for any.
        ids: Only connections with these numbers, None for all.
    """

    kind: bytes | None
    ids: frozenset[int] | None


def parse_list(args: Args) -> ClientList:
    """Parses CLIENT LIST."""
    if not len(args):
        return ClientList(None, None)
    option = args.take_keyword()
    if option == b"TYPE" and len(args) == 1:
        return ClientList(take_kind(args), None)
    if option != b"ID" or not len(args):
        raise CommandError(SYNTAX)
    ids = [args.take_integer("ERR Invalid client ID") for _ in range(len(args))]
    return ClientList(None, frozenset(ids))


def client_list(client: Client, request: ClientList) -> Reply:
    """Describes connections, one line each."""
    return Verbatim(
        _lines(
            other
            for other in client.server.clients.values()
            if request.kind in {None, kind_of(other)}
            and (request.ids is None or other.id in request.ids)
        )
    )


def _lines(clients: Iterable[Client]) -> str:
    now = time.time()
    return "".join(f"{client_line(client, now)}\n" for client in clients)


# --------------------------------------------------------------------------- what may be set
def parse_set_name(args: Args) -> bytes:
    """Parses CLIENT SETNAME name."""
    return check_name(args.take())


def set_name(client: Client, name: bytes) -> Reply:
    """Names the connection; an empty name takes the name away."""
    client.name = text(name)
    return OK


def parse_set_info(args: Args) -> tuple[str, str]:
    """Parses CLIENT SETINFO LIB-NAME name, or LIB-VER version."""
    option, value = args.take(), args.take()
    if keyword(option) not in {b"LIB-NAME", b"LIB-VER"}:
        raise CommandError(f"ERR Unrecognized option '{text(option)}'")
    if not PRINTABLE.fullmatch(value):
        raise CommandError(
            f"ERR {text(option)} cannot contain spaces, newlines or special characters."
        )
    return text(option).lower(), text(value)


def set_info(client: Client, request: tuple[str, str]) -> Reply:
    """Notes which library the client uses."""
    attribute, value = request
    client.library[attribute] = value
    return OK


def parse_reply(args: Args) -> bytes:
    """Parses CLIENT REPLY ON | OFF | SKIP."""
    mode = args.take_keyword()
    if mode not in {b"ON", b"OFF", b"SKIP"}:
        raise CommandError(SYNTAX)
    return mode


def reply_mode(client: Client, mode: bytes) -> Reply:
    """Sets which replies are sent; ON is the only mode that is answered."""
    if mode == b"SKIP":
        client.skips = 0 if client.muted else 2  # this reply and the next one
    else:
        client.muted = mode == b"OFF"
        client.skips = 0
    return OK


def parse_switch(args: Args) -> bool:
    """Parses ON | OFF."""
    word = args.take_keyword()
    if word not in {b"ON", b"OFF"}:
        raise CommandError(SYNTAX)
    return word == b"ON"


def no_evict(client: Client, on: bool) -> Reply:  # noqa: FBT001 - what the request says
    """Sets whether the connection may be ended to save memory."""
    client.evictable = not on
    return OK


def no_touch(client: Client, on: bool) -> Reply:  # noqa: FBT001 - what the request says
    """Sets whether reading a key counts as use of it."""
    client.touches = not on
    return OK


COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands(
            "client", summary="Commands about connections.", group="connection", since="2.4.0"
        ),
        (
            command(
                "getname",
                nothing,
                get_name,
                summary="Returns the connection's name.",
                group="connection",
                arity=2,
                flags=_PLAIN,
                since="2.6.9",
            ),
            command(
                "id",
                nothing,
                client_id,
                summary="Returns the connection's number.",
                group="connection",
                arity=2,
                flags=_PLAIN,
                since="5.0.0",
            ),
            command(
                "info",
                nothing,
                client_info,
                summary="Describes the connection.",
                group="connection",
                arity=2,
                flags=_PLAIN,
                since="6.2.0",
                tips=_CHANGING,
            ),
            command(
                "list",
                parse_list,
                client_list,
                summary="Describes connections, one line each.",
                group="connection",
                arity=-2,
                flags=_ADMIN,
                syntax="[TYPE (NORMAL | MASTER | REPLICA | PUBSUB)] [ID client-id ...]",
                since="2.4.0",
                tips=_CHANGING,
                differences=(
                    Difference(
                        "A connection keeps buffers while nothing is in them: `qbuf-free`, `rbs`.",
                        "`qbuf-free` is what is still to come of a large argument; `rbs`, `rbp` and"
                        " `obl` are 0, and `omem` has all that waits to be read.",
                        "All connections receive into one buffer, and replies are sent as they"
                        " lie.",
                    ),
                ),
            ),
            command(
                "no-evict",
                parse_switch,
                no_evict,
                summary="Sets whether the connection may be ended to save memory.",
                group="connection",
                arity=3,
                flags=_ADMIN,
                syntax="ON | OFF",
                since="7.0.0",
            ),
            command(
                "no-touch",
                parse_switch,
                no_touch,
                summary="Sets whether reading a key leaves the time of its last use as it is.",
                group="connection",
                arity=3,
                flags=_PLAIN,
                syntax="ON | OFF",
                since="7.2.0",
                differences=(
                    Difference(
                        "Redis 7.0 does not know it, 7.2 does.",
                        "Known.",
                        "Clients send it unasked.",
                    ),
                ),
            ),
            command(
                "reply",
                parse_reply,
                reply_mode,
                summary="Sets which replies are sent.",
                group="connection",
                arity=3,
                flags=_PLAIN,
                syntax="ON | OFF | SKIP",
                since="3.2.0",
            ),
            command(
                "setinfo",
                parse_set_info,
                set_info,
                summary="Notes which library the client uses.",
                group="connection",
                arity=4,
                flags=_PLAIN,
                syntax="LIB-NAME libname | LIB-VER libver",
                since="7.2.0",
                differences=(
                    Difference(
                        "Redis 7.0 does not know it, 7.2 does.",
                        "Known.",
                        "Clients send it unasked.",
                    ),
                ),
            ),
            command(
                "setname",
                parse_set_name,
                set_name,
                summary="Names the connection.",
                group="connection",
                arity=3,
                flags=_PLAIN,
                syntax="connection-name",
                since="2.6.9",
            ),
            *client_kill.SUBCOMMANDS,
            *tracking.SUBCOMMANDS,
        ),
    ),
)
