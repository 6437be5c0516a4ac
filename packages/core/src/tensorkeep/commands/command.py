"""What a command is, and the table of all of them.

A command is a pure parser, which turns arguments into a frozen request, and a handler, which does
the request. The table is a value: nothing registers itself, the order is visible, and COMMAND, the
documentation and the test that every command is tested all read it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from tensorkeep.commands.args import Args, text
from tensorkeep.commands.errors import Refused
from tensorkeep.commands.reply import Simple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.commands.reply import Reply
    from tensorkeep.commands.wanted import Wanted

_T = TypeVar("_T")
_C = TypeVar("_C")

Keys: TypeAlias = "Callable[[Sequence[Argument]], list[Argument]] | tuple[int, int, int]"
Access: TypeAlias = (
    "Callable[[Sequence[Argument]], Iterable[tuple[Argument, int]]] | tuple[int, ...]"
)

WRITE: Final = "write"
READONLY: Final = "readonly"
FAST: Final = "fast"
DENYOOM: Final = "denyoom"
ADMIN: Final = "admin"
LOADING: Final = "loading"
STALE: Final = "stale"
NOSCRIPT: Final = "noscript"
NO_AUTH: Final = "no_auth"
NO_ASYNC_LOADING: Final = "no_async_loading"
NO_MULTI: Final = "no_multi"
SKIP_SLOWLOG: Final = "skip_slowlog"
ALLOW_BUSY: Final = "allow_busy"
PUBSUB: Final = "pubsub"
MODULE: Final = "module"
MOVABLE: Final = "movablekeys"

NO_KEYS: Final = (0, 0, 0)
ONE_KEY: Final = (1, 1, 1)
_KEY_AND_VALUE: Final = 3  # arguments, the name counted

TO_READ: Final = 1
"""Of a key: what is stored there is read."""

TO_CHANGE: Final = 2
"""Of a key: what is stored there is changed."""

NEITHER: Final = (0,)
"""Of a command's keys: at most whether they are there, and of what kind or length."""

_SHOWN: Final = 128  # bytes that errors repeat of what was sent, as in Redis


class Channels(NamedTuple):
    """Which arguments of a command name channels of messages.

    Attributes:
        first: Position of the first.
        last: Position of the last, negative from the end.
        patterns: Whether they are patterns of names.
    """

    first: int
    last: int
    patterns: bool = False


class Difference(NamedTuple):
    """Where a client can notice that this is not the original; for the documentation.

    Attributes:
        original: What RedisAI does, or Redis where the command is its own.
        ours: What is done here.
        reason: Why.
    """

    original: str
    ours: str
    reason: str


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
        categories: ACL categories beyond those that follow from group and flags.
        tips: What COMMAND shows as tips.
        shown_keys: What COMMAND shows as first, last and step where a function finds the keys.
        subcommands: Of a container, with HELP last; the container's own parser and handler are
            called only when its arity allows it to stand alone.
        parent: Of a subcommand: the container's name.
        prepare: Of a command that may take long: begins the work without changing anything that
            clients see, None if there is none. A transaction waits for it before it does all of
            its commands in one go; the reply that comes of it then stands for the handler's.
        wanted: Of a command that reads values of a store: which, by the whole request. Reading more
            than is needed does no harm, and a mistake in the request is nothing to tell here.
        runs: Whether it runs models or scripts, which a transaction cannot.
        access: What is done with the keys: with the first, with the second and so on, the last of
            them with all further ones; empty for what the flags say. A function finds keys and what
            is done with them, by the whole request, where they are not at fixed positions: it finds
            all that the parser finds, whatever else it makes of a request that is wrong.
        channels: Which arguments name channels.
        inner: Of a command that does others: the names of those, by the whole request.
        differences: Where it is not as in the original: few, and each for a reason.
        full_name: The name as COMMAND shows it: `ping`, `client|kill`.
        one_key: Up to how many arguments, the name counted, a request's first one alone says which
            key is used, and how; 0 for never. Behind a key and a value, options may ask for more.
    """

    name: str
    parse: Callable[[Args], Any]
    handle: Callable[[Any, Any], Any]
    summary: str
    group: str
    arity: int
    flags: tuple[str, ...]
    keys: Keys
    syntax: str
    since: str
    categories: tuple[str, ...] = ()
    tips: tuple[str, ...] = ()
    shown_keys: tuple[int, int, int] = NO_KEYS
    subcommands: tuple[Command, ...] = ()
    parent: str = ""
    prepare: Callable[[Any, Any], Any] | None = None
    wanted: Callable[[Request], Sequence[Wanted]] | None = None
    runs: bool = False
    access: Access = ()
    channels: Channels | None = None
    inner: Callable[[Request], Iterable[Argument]] | None = None
    differences: tuple[Difference, ...] = ()
    full_name: str = field(init=False, repr=False, compare=False)
    one_key: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = f"{self.parent}|{self.name}" if self.parent else self.name
        object.__setattr__(self, "full_name", name)
        one_key = 0
        if self.keys == ONE_KEY and PUBSUB not in self.flags:
            one_key = sys.maxsize if isinstance(self.access, tuple) else _KEY_AND_VALUE
        object.__setattr__(self, "one_key", one_key)


def command(  # noqa: PLR0913 - by keyword, one line per command in a table
    name: str,
    parse: Callable[[Args], _T],
    handle: Callable[[_C, _T], object],
    *,
    summary: str,
    group: str,
    arity: int = -1,
    flags: tuple[str, ...] = (),
    keys: Keys = NO_KEYS,
    syntax: str = "",
    since: str = "1.0.0",
    categories: tuple[str, ...] = (),
    tips: tuple[str, ...] = (),
    shown_keys: tuple[int, int, int] = NO_KEYS,
    prepare: Callable[[_C, _T], object] | None = None,
    wanted: Callable[[Request], Sequence[Wanted]] | None = None,
    runs: bool = False,
    access: Access = (),
    channels: Channels | None = None,
    inner: Callable[[Request], Iterable[Argument]] | None = None,
    differences: tuple[Difference, ...] = (),
) -> Command:
    """Makes a command; being generic, it lets the type checker match parser and handler."""
    return Command(
        name,
        parse,
        handle,
        summary,
        group,
        arity,
        flags,
        keys,
        syntax,
        since,
        categories,
        tips,
        shown_keys,
        prepare=prepare,
        wanted=wanted,
        runs=runs,
        access=access,
        channels=channels,
        inner=inner,
        differences=differences,
    )


def nothing(args: Args) -> None:
    """Parses a command without arguments; the table's arity has made sure of it."""


def container(
    base: Command, subcommands: Iterable[Command], *, help_since: str = "5.0.0"
) -> Command:
    """Makes a command with subcommands, and gives it a HELP that is read from them.

    Args:
        base: The command itself.
        subcommands: All but HELP.
        help_since: First version of Redis that had its HELP.
    """
    subs = tuple(subcommands)

    def show_help(_client: object, _request: None) -> Reply:
        return tuple(map(Simple, lines))

    extra = command(
        "help",
        nothing,
        show_help,
        summary="Prints this help.",
        group=base.group,
        arity=2,
        flags=(LOADING, STALE),
        since=help_since,
        categories=base.categories,
    )
    lines = [f"{base.name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for sub in (*subs, extra):
        lines += (f"{sub.name.upper()} {sub.syntax}".rstrip(), f"    {sub.summary}")
    named = tuple(replace(sub, parent=base.name) for sub in (*subs, extra))
    return replace(base, subcommands=named)


def only_subcommands(name: str, *, summary: str, group: str, since: str) -> Command:
    """Makes the base of a container that does nothing by itself."""

    def never(*_: object) -> Any:  # noqa: ANN401 - it does not return
        raise AssertionError(name)

    return command(name, never, never, summary=summary, group=group, arity=-2, since=since)


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
                self._subcommands[item.name, sub.name.upper().encode()] = sub

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands)

    def __len__(self) -> int:
        """Returns the number of commands, a container counting once."""
        return len(self._commands)

    def get(self, name: Argument) -> Command | None:
        """Returns a command by name, None when there is none."""
        name = bytes(name)  # a view cannot be looked up
        return self._by_name.get(name) or self._by_name.get(name.upper())

    def named(self, name: Argument) -> Command | None:
        """Returns a command or, by `container|word`, a subcommand; None when there is none."""
        parent, bar, word = bytes(name).partition(b"|")
        return self.subcommand(parent, word) if bar else self.get(parent)

    def everything(self) -> Iterator[Command]:
        """Iterates over all commands, the subcommands of each after it."""
        for item in self._commands:
            yield item
            yield from item.subcommands

    def subcommand(self, name: Argument, word: Argument) -> Command | None:
        """Returns a subcommand by its container's name and its own, None when there is none."""
        found = self.get(name)
        return found and self._subcommands.get((found.name, bytes(word).upper()))

    def find(self, request: Request) -> tuple[Command, Args]:
        """Returns the command that a request asks for, and a cursor at its first argument.

        Raises:
            Refused: There is no such command or subcommand, or the arity is wrong.
        """
        found = self._by_name.get(request[0]) or self.get(request[0])
        if found is None:
            raise _unknown(request)
        _check_arity(found, request)
        if not found.subcommands or len(request) == 1:
            return found, Args(request)
        sub = self._subcommands.get((found.name, bytes(request[1]).upper()))
        if sub is None:
            name, parent = _beginning(request[1]), found.name.upper()
            raise Refused(f"ERR unknown subcommand '{text(name)}'. Try {parent} HELP.")
        _check_arity(sub, request)
        return sub, Args(request, 2)


def _check_arity(found: Command, request: Request) -> None:
    arity = found.arity
    if arity != -1 and (len(request) < -arity if arity < 0 else len(request) != arity):
        raise Refused(f"ERR wrong number of arguments for '{found.full_name}' command")


def _unknown(request: Request) -> Refused:
    """Returns Redis' own error: the name and the beginnings of the first arguments."""
    shown = b""
    for argument in request[1:]:
        if len(shown) >= _SHOWN:
            break
        shown += b"'%b' " % _beginning(argument, _SHOWN - len(shown))
    name = text(_beginning(request[0]))
    return Refused(f"ERR unknown command '{name}', with args beginning with: {text(shown)}")


def _beginning(argument: Argument, size: int = _SHOWN) -> bytes:
    """Returns the first bytes of an argument, which end at a NUL as C's strings do."""
    return bytes(argument[:size]).partition(b"\0")[0]
