"""CLIENT KILL and CLIENT UNBLOCK: what one connection may do to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX, Args, keyword, parse_integer, text
from tensorkeep.commands.command import ADMIN, LOADING, NOSCRIPT, STALE, Command, command
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_FLAGS: Final = (ADMIN, NOSCRIPT, LOADING, STALE)

# The kinds of connections that Redis tells apart; there are no replicas here.
_NORMAL: Final = b"NORMAL"
_PUBSUB: Final = b"PUBSUB"
_KINDS: Final = (_NORMAL, b"MASTER", b"REPLICA", b"SLAVE", _PUBSUB)


def take_kind(args: Args) -> bytes:
    """Takes the next argument as a kind of connections, in upper case.

    Raises:
        CommandError: There is no such kind.
    """
    word = args.take()
    if keyword(word) not in _KINDS:
        raise CommandError(f"ERR Unknown client type '{text(word)}'")
    return keyword(word)


def kind_of(client: Client) -> bytes:
    """Returns the kind that a connection is of."""
    return _PUBSUB if client.subscribed else _NORMAL


# --------------------------------------------------------------------------- CLIENT KILL
class Kill(NamedTuple):
    """Which connections to end: those that fit all that is given.

    Attributes:
        address: Their peer's address.
        local_address: Our address.
        id: Their number.
        kind: Their kind.
        user: The name of the user that they are.
        skip_me: Whether the connection that asks is spared.
        simple: Whether the old form was used, which names exactly one connection.
    """

    address: str | None = None
    local_address: str | None = None
    id: int | None = None
    kind: bytes | None = None
    user: bytes | None = None
    skip_me: bool = True
    simple: bool = False


def parse_kill(args: Args) -> Kill:
    """Parses CLIENT KILL address, or pairs of an option and its value."""
    if len(args) == 1:
        return Kill(address=text(args.take()), skip_me=False, simple=True)
    kill = Kill()
    while len(args):
        option = args.take_keyword()
        if not len(args):
            raise CommandError(SYNTAX)
        kill = _with_option(kill, option, args)
    return kill


def _with_option(kill: Kill, option: bytes, args: Args) -> Kill:
    match option:
        case b"ID":
            return kill._replace(id=_take_id(args))
        case b"TYPE":
            return kill._replace(kind=take_kind(args))
        case b"ADDR":
            return kill._replace(address=text(args.take()))
        case b"LADDR":
            return kill._replace(local_address=text(args.take()))
        case b"USER":
            return kill._replace(user=args.take())
        case b"SKIPME":
            return kill._replace(skip_me=_take_yes_or_no(args))
        case _:
            raise CommandError(SYNTAX)


def _take_id(args: Args) -> int:
    number = parse_integer(args.take())
    if number is None or number < 1:
        raise CommandError("ERR client-id should be greater than 0")
    return number


def _take_yes_or_no(args: Args) -> bool:
    word = args.take_keyword()
    if word not in {b"YES", b"NO"}:
        raise CommandError(SYNTAX)
    return word == b"YES"


def kill_(client: Client, request: Kill) -> Reply:
    """Ends connections; returns how many, or in the old form OK.

    A connection that ends itself is answered first.
    """
    if request.user is not None and client.server.users.get(request.user) is None:
        raise CommandError(f"ERR No such user '{text(request.user)}'")
    victims = [other for other in client.server.clients.values() if _fits(other, client, request)]
    for victim in victims:
        if victim is client:
            victim.close("CLIENT KILL")
        else:
            victim.drop("CLIENT KILL")
    if not request.simple:
        return len(victims)
    if not victims:
        raise CommandError("ERR No such client")
    return OK


def _fits(other: Client, client: Client, request: Kill) -> bool:
    return (
        request.address in {None, other.address}
        and request.local_address in {None, other.local_address}
        and request.id in {None, other.id}
        and request.kind in {None, kind_of(other)}
        and request.user in {None, other.user.name}
        and not (request.skip_me and other is client)
    )


# --------------------------------------------------------------------------- CLIENT UNBLOCK
def parse_unblock(args: Args) -> None:
    """Parses CLIENT UNBLOCK id [TIMEOUT | ERROR]."""
    word = args.items[args.at + 1] if len(args) > 1 else b"TIMEOUT"
    if len(args) > 2:  # noqa: PLR2004 - number and word
        raise args.wrong_subcommand()
    if keyword(word) not in {b"TIMEOUT", b"ERROR"}:
        raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    args.take_integer()


def unblock(_client: Client, _request: None) -> Reply:
    """Says that nobody was let go: who waits for a run goes on waiting, as in RedisAI."""
    return 0


SUBCOMMANDS: Final[tuple[Command, ...]] = (
    command(
        "kill",
        parse_kill,
        kill_,
        summary="Ends connections.",
        group="connection",
        arity=-3,
        flags=_FLAGS,
        syntax="ip:port | [ID client-id] [TYPE (NORMAL | MASTER | REPLICA | PUBSUB)]"
        " [ADDR ip:port] [LADDR ip:port] [USER username] [SKIPME (YES | NO)]",
        since="2.4.0",
    ),
    command(
        "unblock",
        parse_unblock,
        unblock,
        summary="Returns 0: nothing waits that could be told to stop.",
        group="connection",
        arity=-3,
        flags=_FLAGS,
        syntax="client-id [TIMEOUT | ERROR]",
        since="5.0.0",
    ),
)
