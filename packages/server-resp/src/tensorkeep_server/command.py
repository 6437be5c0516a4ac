"""What a command is, and the table of all of them.

A command is a pure parser, which turns arguments into a frozen request, and a handler, which does
the request. The table is a value: nothing registers itself, the order is visible, and COMMAND, the
documentation and the test that every command is tested all read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from tensorkeep_server.args import Args, keyword, text
from tensorkeep_server.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorkeep_server.codec import Argument, Request
    from tensorkeep_server.later import Later
    from tensorkeep_server.reply import Reply
    from tensorkeep_server.state import Client

_T = TypeVar("_T")

Keys: TypeAlias = "Callable[[Sequence[Argument]], list[Argument]] | tuple[int, int, int]"

WRITE: Final = "write"
READONLY: Final = "readonly"
FAST: Final = "fast"
DENYOOM: Final = "denyoom"
ADMIN: Final = "admin"
LOADING: Final = "loading"
STALE: Final = "stale"
NOSCRIPT: Final = "noscript"
MODULE: Final = "module"
MOVABLE: Final = "movablekeys"

NO_KEYS: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or one subcommand of a container such as CLIENT.

    Attributes:
        name: Lower case, as COMMAND shows it; a subcommand's own word only.
        parse: Turns arguments into a request; raises `CommandError`.
        handle: Does the request; returns the reply, or a `Later`.
        summary: One line for COMMAND DOCS and the documentation.
        group: Family for COMMAND DOCS: `module` for the AI commands, else as in Redis.
        arity: Arguments with the name, negative for "at least"; -1 when the parser checks.
        flags: As COMMAND shows them.
        keys: First, last and step of the key arguments, or a function that finds them.
        syntax: Arguments as people write them, for the documentation and hints.
        since: First version of Redis (of RedisAI for AI commands) that had it.
        subcommands: Of a container; its own parser and handler are never called.
    """

    name: str
    parse: Callable[[Args], Any]
    handle: Callable[[Client, Any], Reply | Later]
    summary: str
    group: str
    arity: int
    flags: tuple[str, ...]
    keys: Keys
    syntax: str
    since: str
    subcommands: tuple[Command, ...] = ()


def command(  # noqa: PLR0913 - by keyword, one line per command in a table
    name: str,
    parse: Callable[[Args], _T],
    handle: Callable[[Client, _T], Reply | Later],
    *,
    summary: str,
    group: str,
    arity: int = -1,
    flags: tuple[str, ...] = (),
    keys: Keys = NO_KEYS,
    syntax: str = "",
    since: str = "1.0.0",
) -> Command:
    """Makes a command; being generic, it lets the type checker match parser and handler."""
    return Command(name, parse, handle, summary, group, arity, flags, keys, syntax, since)


def container(name: str, summary: str, group: str, subcommands: tuple[Command, ...]) -> Command:
    """Makes a command that only has subcommands."""

    def never(*_: object) -> Any:  # noqa: ANN401 - it does not return
        raise AssertionError(name)

    return Command(
        name, never, never, summary, group, -2, (), NO_KEYS, "", "1.0.0", subcommands
    )


class CommandTable:
    """All commands, found by name whatever its case.

    Args:
        commands: The commands, in the order in which COMMAND shows them.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands = tuple(commands)
        self._by_name: dict[Argument, Command] = {}
        self._subcommands: dict[tuple[str, bytes], Command] = {}
        for item in self._commands:
            name = item.name.encode()
            self._by_name[name] = self._by_name[name.upper()] = item
            for sub in item.subcommands:
                self._subcommands[item.name, sub.name.encode().upper()] = sub

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands)

    def __len__(self) -> int:
        """Returns the number of commands, a container counting once."""
        return len(self._commands)

    def get(self, name: Argument) -> Command | None:
        """Returns a command by name, None when there is none."""
        return self._by_name.get(name) or self._by_name.get(bytes(name).upper())

    def find(self, request: Request) -> tuple[Command, Args]:
        """Returns the command that a request asks for, and a cursor at its first argument.

        Raises:
            CommandError: There is no such command or subcommand, or the arity is wrong.
        """
        found = self._by_name.get(request[0]) or self.get(request[0])
        if found is None:
            raise _unknown(request)
        arity = found.arity
        if arity != -1 and (len(request) < -arity if arity < 0 else len(request) != arity):
            raise CommandError(f"ERR wrong number of arguments for '{found.name}' command")
        if not found.subcommands:
            return found, Args(request)
        return self._find_subcommand(found, request), Args(request, 2)

    def _find_subcommand(self, found: Command, request: Request) -> Command:
        word = keyword(request[1])
        sub = self._subcommands.get((found.name, word))
        if sub is None:
            name, parent = text(request[1]), found.name.upper()
            raise CommandError(f"ERR unknown subcommand '{name[:128]}'. Try {parent} HELP.")
        arity = sub.arity
        if arity != -1 and (len(request) < -arity if arity < 0 else len(request) != arity):
            name = f"{found.name}|{sub.name}"
            raise CommandError(f"ERR wrong number of arguments for '{name}' command")
        return sub


def _unknown(request: Request) -> CommandError:
    """Returns Redis' own error: the name and the beginnings of the first arguments."""
    shown = ""
    for argument in request[1:]:
        if len(shown) >= 128:  # noqa: PLR2004 - Redis' own limits
            break
        shown += f"'{text(argument)[: 128 - len(shown)]}' "
    name = text(request[0])[:128]
    return CommandError(f"ERR unknown command '{name}', with args beginning with: {shown}")
