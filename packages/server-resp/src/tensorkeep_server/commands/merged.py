"""Commands over a remote store that both the engine and this server have something to say to.

The engine is asked, and what is ours is put to its reply: INFO, COMMAND, HELLO and
MODULE LIST. SHUTDOWN ends this server, and no engine that is not its own.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

from tensorkeep.commands.args import Args, keyword, text
from tensorkeep.commands.command import LOADING, STALE, Command, command
from tensorkeep.commands.reply import Error, Map, Set, Verbatim
from tensorkeep.errors import StoreError
from tensorkeep_server.commands.operations import introspection, modules, server
from tensorkeep_server.decoding import decode
from tensorkeep_server.info import text_of_ours
from tensorkeep_server.later import Later
from tensorkeep_server.process import this_process
from tensorkeep_server.remote_calls import session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import CommandTable
    from tensorkeep.commands.reply import Reply
    from tensorkeep.store import Result
    from tensorkeep_server.state import Client

_MODULES_TITLE: Final = "# Modules\r\n"


def is_merged(table: CommandTable, request: Request) -> bool:
    """Returns whether we have something to say to a request that the engine knows, too.

    Args:
        table: The commands that are ours.
        request: One of INFO, COMMAND, HELLO, MODULE or SHUTDOWN.
    """
    word = keyword(request[1]) if len(request) > 1 else b""
    match keyword(request[0]):
        case b"COMMAND" if word in {b"INFO", b"DOCS"}:
            return len(request) == 2 or any(_is_ours(table, name) for name in request[2:])  # noqa: PLR2004 - no names
        case b"COMMAND" if word == b"GETKEYS":
            return len(request) > 2 and _is_ours(table, request[2])  # noqa: PLR2004 - a name
        case b"COMMAND":
            return word in {b"", b"COUNT", b"LIST"}
        case b"MODULE":
            return word == b"LIST"
        case _:
            return True


def _is_ours(table: CommandTable, name: bytes | memoryview) -> bool:
    return bytes(name[:3]).upper() == b"AI." and table.get(name) is not None


def _ours(client: Client) -> list[Command]:
    return [each for each in client.server.commands if each.name.startswith("ai.")]


# --------------------------------------------------------------------------- asking the engine
def _ask(client: Client, request: Request, make: Callable[[Any], Reply]) -> Later:
    """Asks the engine, and makes a reply of its own."""
    later = Later()
    session_of(client).ask(request, lambda reply: later.resolve(lambda: make(reply())))
    return later


def _fetch(client: Client, request: Request, make: Callable[[Reply], Reply]) -> Later:
    """Asks the engine, and makes a reply of its own that has each part in the engine's form."""
    later = Later()

    def came(encoded: Result[bytes]) -> None:
        def made() -> Reply:
            reply = decode(encoded())
            return reply if type(reply) is Error else make(reply)

        later.resolve(made)

    session_of(client).fetch(request, came)
    return later


def _reply(value: Any) -> Reply:  # noqa: ANN401 - what the engine's reply is made of
    """Returns a reply of the engine's as one of ours."""
    match value:
        case dict():
            return Map(tuple((_reply(key), _reply(item)) for key, item in value.items()))
        case set() | frozenset():
            return Set(tuple(map(_reply, value)))
        case list() | tuple():
            return [_reply(item) for item in value]
        case str():
            return value.encode("utf-8", "surrogateescape")
        case bool() | int() | float() | bytes() | None:
            return value
        case _:
            return str(value).encode()


# --------------------------------------------------------------------------- INFO
def info(client: Client, words: list[bytes]) -> Later:
    """Describes the engine and, behind it, this server."""
    names = [text(word).lower() for word in words]

    def merged(reply: Any) -> Reply:  # noqa: ANN401 - bytes, or text of RESP3
        told = str(reply, "utf-8", "surrogateescape") if isinstance(reply, bytes) else str(reply)
        told = told.replace(_MODULES_TITLE, f"{_MODULES_TITLE}{modules.INFO_LINE}\r\n", 1)
        ours = text_of_ours(names, client.server, this_process())
        return Verbatim(f"{told}\r\n{ours}" if told and ours else told or ours)

    return _ask(client, [b"INFO", *words], merged)


# --------------------------------------------------------------------------- COMMAND
def describe(client: Client, request: Request) -> Reply | Later:
    """Describes the engine's commands and ours."""
    word = keyword(request[1]) if len(request) > 1 else b""
    match word:
        case b"":
            return _describe_some(client, request)
        case b"COUNT":
            return _ask(client, request, lambda count: int(count) + len(_ours(client)))
        case b"LIST":
            return _list(client, request)
        case b"INFO":
            return _describe_some(client, request)
        case b"DOCS":
            return _document(client, request)
        case _:
            return introspection.get_keys(client, request[2:])


def _list(client: Client, request: Request) -> Later:
    wanted = introspection.parse_list(Args(request, 2))
    names: list[Reply] = [each.full_name.encode() for each in _ours(client) if wanted(each)]

    def merged(found: Any) -> Reply:  # noqa: ANN401 - a list
        return [*map(_reply, found), *names]

    return _ask(client, request, merged)


def _describe_some(client: Client, request: Request) -> Later:
    names = [bytes(name) for name in request[2:]]
    if not names:
        ours = introspection.descriptions(_ours(client))

        def joined(found: Reply) -> Reply:
            items = _items(found)
            return [*items, *ours] if items else items  # to COMMAND INFO, Redis 6.2 names none

        return _fetch(client, request, joined)

    def merged(found: Reply) -> Reply:
        table = client.server.commands
        mine = [table.get(name) if _is_ours(table, name) else None for name in names]
        return [
            introspection.descriptions([each])[0] if each is not None else theirs
            for each, theirs in zip(mine, _items(found), strict=True)
        ]

    return _fetch(client, request, merged)


def _document(client: Client, request: Request) -> Later:
    table = client.server.commands
    names = [bytes(name) for name in request[2:]]
    mine = [table.get(name) for name in names if _is_ours(table, name)] if names else _ours(client)
    ours = introspection.documentation([each for each in mine if each is not None])

    def merged(found: Reply) -> Reply:
        if isinstance(found, Map):
            return Map((*found.pairs, *ours))
        return [*_items(found), *chain.from_iterable(ours)]  # RESP2 has no maps

    return _fetch(client, request, merged)


def _items(found: Reply) -> list[Reply]:
    if not isinstance(found, list):
        raise StoreError(f"ERR the engine's description of its commands is no list: {found!r:.80}")
    return cast("list[Reply]", found)


# --------------------------------------------------------------------------- MODULE LIST
def list_modules(client: Client, _: Request) -> Later:
    """Lists the engine's modules, and the AI commands as one more."""

    def merged(found: Any) -> Reply:  # noqa: ANN401 - a list
        return [*map(_reply, found), modules.ai_module()]

    return _ask(client, [b"MODULE", b"LIST"], merged)


# --------------------------------------------------------------------------- HELLO
def greet(client: Client, request: Request) -> Later:
    """Greets the engine; the reply names the AI commands among the modules."""

    def merged(found: Any) -> Reply:  # noqa: ANN401 - a dict
        listed = [*map(_reply, found.get(b"modules", ())), modules.ai_module()]
        return Map(
            tuple(
                (_reply(name), listed if name == b"modules" else _reply(value))
                for name, value in found.items()
            )
        )

    return _ask(client, request, merged)


def _whole(args: Args) -> Request:
    return args.items


_FLAGS: Final = (LOADING, STALE)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "info",
        Args.take_rest,
        info,
        summary="Describes the server.",
        group="server",
        flags=_FLAGS,
    ),
    command(
        "command",
        _whole,
        describe,
        summary="Describes commands.",
        group="server",
        flags=_FLAGS,
    ),
    command(
        "hello",
        _whole,
        greet,
        summary="Greets the server, and chooses the version of the protocol.",
        group="connection",
        flags=_FLAGS,
    ),
    command(
        "module",
        _whole,
        list_modules,
        summary="Lists the modules.",
        group="server",
        flags=_FLAGS,
    ),
    *(each for each in server.COMMANDS if each.name == "shutdown"),
)
