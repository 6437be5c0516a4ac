"""Commands about the connection itself: PING, ECHO, HELLO, AUTH, SELECT and the like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tensorkeep.commands.args import SYNTAX, Args, keyword, text
from tensorkeep.commands.command import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_AUTH,
    NOSCRIPT,
    STALE,
    Command,
    command,
    nothing,
)
from tensorkeep.commands.databases import read_database
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, RESP2, Map, Simple
from tensorkeep.rights.users import DEFAULT
from tensorkeep_server.allowed import WRONG_PASSWORD, has_to_authenticate, note_wrong_password
from tensorkeep_server.commands.operations.modules import modules
from tensorkeep_server.identity import REDIS_VERSION

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply, Version
    from tensorkeep_server.state import Client

_PONG: Final = Simple("PONG")
_RESET: Final = Simple("RESET")
_VERSIONS: Final[dict[int, Version]] = {2: 2, 3: 3}
_ANY_TIME: Final = (NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY)

# A name must fit into a line of CLIENT LIST.
PRINTABLE: Final = re.compile(rb"[!-~]*")
_BAD_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."
_SAY_FIRST: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH"
    " <user> <pass> option can be used to authenticate the client and select the RESP protocol"
    " version at the same time"
)
_NOTHING_TO_CHECK: Final = (
    "ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)


# --------------------------------------------------------------------------- PING, ECHO
def parse_ping(args: Args) -> bytes | None:
    """Parses PING [message]."""
    if len(args) > 1:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    return args.take() if len(args) else None


def ping(client: Client, message: bytes | None) -> Reply:
    """Returns PONG, or the message; a subscriber that speaks RESP2 expects a message's form."""
    if client.subscribed and client.version == RESP2:
        return (b"pong", message or b"")
    return _PONG if message is None else message


def echo(_: Client, message: bytes) -> Reply:
    """Returns the message."""
    return message


# --------------------------------------------------------------------------- HELLO, AUTH
_Credentials: TypeAlias = "tuple[Argument, bytes, bytes]"


class Hello(NamedTuple):
    """HELLO [version [AUTH user password] [SETNAME name]].

    Attributes:
        version: The RESP version to speak from now on, None for no change.
        name: The connection's new name, None for no change.
        credentials: The command's name, user and password, if the client says who it is.
    """

    version: Version | None
    name: bytes | None
    credentials: _Credentials | None


def parse_hello(args: Args) -> Hello:
    """Parses HELLO; the last of several equal options counts."""
    version = name = credentials = None
    if len(args):
        wanted = args.take_integer("ERR Protocol version is not an integer or out of range")
        version = _VERSIONS.get(wanted)
        if version is None:
            raise CommandError("NOPROTO unsupported protocol version")
    while len(args):
        option = args.take()
        if keyword(option) == b"AUTH" and len(args) > 1:
            credentials = args.items[0], args.take(), args.take()
        elif keyword(option) == b"SETNAME" and len(args):
            name = check_name(args.take())
        else:
            raise CommandError(f"ERR Syntax error in HELLO option '{text(option)}'")
    return Hello(version, name, credentials)


def check_name(name: bytes) -> bytes:
    """Makes sure that a connection may have a name.

    Raises:
        CommandError: It has a blank, a line break or another character that is not plain ASCII.
    """
    if not PRINTABLE.fullmatch(name):
        raise CommandError(_BAD_NAME)
    return name


def hello(client: Client, request: Hello) -> Reply:
    """Sets what was asked for, and tells what the server is."""
    if request.credentials is not None:
        _authenticate(client, request.credentials)
    if has_to_authenticate(client):
        raise CommandError(_SAY_FIRST)
    if request.name is not None:
        client.name = text(request.name)
    if request.version is not None:
        client.version = request.version
    return Map(
        (
            (b"server", b"redis"),
            (b"version", REDIS_VERSION.encode()),
            (b"proto", client.version),
            (b"id", client.id),
            (b"mode", b"standalone"),
            (b"role", b"master"),
            (b"modules", modules()),
        )
    )


def parse_auth(args: Args) -> tuple[Argument, bytes | None, bytes]:
    """Parses AUTH [user] password; returns the command's name, and both."""
    if len(args) > 2:  # noqa: PLR2004 - user and password
        raise CommandError(SYNTAX)
    name = args.take() if len(args) > 1 else None
    return args.items[0], name, args.take()


def auth(client: Client, request: tuple[Argument, bytes | None, bytes]) -> Reply:
    """Lets a client in as a user; who names none is the default user."""
    command, name, password = request
    if name is None:
        if client.server.users.default.rights.any_password:
            raise CommandError(_NOTHING_TO_CHECK)
        name = DEFAULT
    _authenticate(client, (command, name, password))
    return OK


def _authenticate(client: Client, credentials: _Credentials) -> None:
    """Lets a client in as a user.

    Raises:
        CommandError: The password is another one, or there is no such user.
    """
    command, name, password = credentials
    user = client.server.users.authenticate(name, password)
    if user is None:
        note_wrong_password(client, name, command)
        raise CommandError(WRONG_PASSWORD)
    client.become(user)
    if client.server.audit is not None:
        client.server.audit.let_in(client, text(bytes(command)).lower())


# --------------------------------------------------------------------------- SELECT, RESET, QUIT
def select(client: Client, index: int) -> Reply:
    """Selects a database."""
    client.select(index)
    return OK


def reset(client: Client, _: None) -> Reply:
    """Makes the connection what it was when it was new."""
    client.discard()
    client.hear_nothing()
    client.select(0)
    client.become(None)
    client.version = 2
    client.name = ""
    client.muted = False
    client.skips = 0
    client.evictable = client.touches = True
    return _RESET


def parse_quit(args: Args) -> None:
    """Takes any arguments, as Redis does."""


def quit_(client: Client, _: None) -> Reply:
    """Ends the connection after the answer."""
    client.close("QUIT")
    return OK


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ping",
        parse_ping,
        ping,
        summary="Returns PONG, or the message that was sent.",
        group="connection",
        flags=(FAST,),
        syntax="[message]",
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    ),
    command(
        "echo",
        Args.take,
        echo,
        summary="Returns the message that was sent.",
        group="connection",
        arity=2,
        flags=(LOADING, STALE, FAST),
        syntax="message",
    ),
    command(
        "hello",
        parse_hello,
        hello,
        summary="Greets the server, and chooses the version of the protocol.",
        group="connection",
        flags=_ANY_TIME,
        syntax="[protover [AUTH username password] [SETNAME clientname]]",
        since="6.0.0",
    ),
    command(
        "auth",
        parse_auth,
        auth,
        summary="Authenticates the connection.",
        group="connection",
        arity=-2,
        flags=_ANY_TIME,
        syntax="[username] password",
    ),
    command(
        "select",
        read_database,
        select,
        summary="Selects the database that this connection uses.",
        group="connection",
        arity=2,
        flags=(LOADING, STALE, FAST),
        syntax="index",
    ),
    command(
        "reset",
        nothing,
        reset,
        summary="Makes the connection what it was when it was new.",
        group="connection",
        arity=1,
        flags=_ANY_TIME,
        since="6.2.0",
    ),
    command(
        "quit",
        parse_quit,
        quit_,
        summary="Ends the connection.",
        group="connection",
        flags=_ANY_TIME,
    ),
)
