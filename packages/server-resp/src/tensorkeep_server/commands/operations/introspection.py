"""COMMAND: the table of commands, as clients read it.

Everything is read from the table; nothing about any command stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import SYNTAX, Args, text
from tensorkeep.commands.command import (
    LOADING,
    MODULE,
    PUBSUB,
    READONLY,
    STALE,
    WRITE,
    Command,
    Difference,
    command,
    container,
    nothing,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.glob import compile_glob
from tensorkeep.commands.keys import keys_of
from tensorkeep.commands.reply import Map, Set, Simple
from tensorkeep.rights.categories import categories_of
from tensorkeep_server.syntax import read_syntax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorkeep.commands.args import Request
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client
    from tensorkeep_server.syntax import Parameter

_ORDERED_ANYHOW: Final = ("nondeterministic_output_order",)
_ANY_TIME: Final = (LOADING, STALE)


# --------------------------------------------------------------------------- COMMAND, COMMAND INFO
def parse_names(args: Args) -> list[bytes]:
    """Parses any number of commands' names."""
    return args.take_rest()


def show_all(client: Client, _: object) -> Reply:
    """Describes all commands."""
    return descriptions(client.server.commands)


def show_some(client: Client, names: list[bytes]) -> Reply:
    """Describes the commands that are named, or all when none is."""
    table = client.server.commands
    if not names:
        return show_all(client, None)
    found = [table.named(name) for name in names]
    return [None if item is None else _description(item) for item in found]


def descriptions(items: Iterable[Command]) -> list[Reply]:
    """Returns what COMMAND says of some commands."""
    return [_description(item) for item in items]


def _description(item: Command) -> Reply:
    subcommands: list[Reply] = [_description(sub) for sub in item.subcommands]
    return (
        item.full_name.encode(),
        item.arity,
        _words(item.flags),
        *_shown_keys(item),
        _words(f"@{category}" for category in categories_of(item)),
        Set(tuple(tip.encode() for tip in item.tips)),
        Set(tuple(_key_specs(item))),
        subcommands or Set(()),
    )


def _words(words: Iterable[str]) -> Set:
    return Set(tuple(Simple(word) for word in words))


def _shown_keys(item: Command) -> tuple[int, int, int]:
    return item.keys if isinstance(item.keys, tuple) else item.shown_keys


def _key_specs(item: Command) -> Iterator[Reply]:
    """Describes the positions of a command's keys, if they are fixed."""
    first, last, step = _shown_keys(item)
    if not first:
        return
    flags: tuple[str, ...] = ("RO",)  # WATCH reads and writes nothing
    if READONLY in item.flags:
        flags = ("RO", "access")
    elif WRITE in item.flags:
        flags = ("RW", "access", "update")
    elif PUBSUB in item.flags:
        flags = ("not_key",)
    begin = _spec(b"index", ((b"index", first),))
    keys = ((b"lastkey", last - first if last > 0 else last), (b"keystep", step), (b"limit", 0))
    yield Map(
        (
            (b"flags", _words(flags)),
            (b"begin_search", begin),
            (b"find_keys", _spec(b"range", keys)),
        )
    )


def _spec(kind: bytes, values: tuple[tuple[Reply, Reply], ...]) -> Reply:
    return Map(((b"type", kind), (b"spec", Map(values))))


# --------------------------------------------------------------------------- COUNT, LIST
def count(client: Client, _: None) -> Reply:
    """Returns how many commands there are, a container counting once."""
    return len(client.server.commands)


def parse_list(args: Args) -> Callable[[Command], bool]:
    """Parses COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]."""
    if not len(args):
        return lambda _: True
    if len(args) != 3 or args.take_keyword() != b"FILTERBY":  # noqa: PLR2004 - and two words
        raise CommandError(SYNTAX)
    kind, word = args.take_keyword(), args.take()
    match kind:
        case b"MODULE":
            return lambda item: MODULE in item.flags and word == b"ai"
        case b"ACLCAT":
            category = text(word).lower()
            return lambda item: category in categories_of(item)
        case b"PATTERN":
            fits = compile_glob(word.lower()).fullmatch
            return lambda item: fits(item.full_name.encode()) is not None
        case _:
            raise CommandError(SYNTAX)


def list_(client: Client, wanted: Callable[[Command], bool]) -> Reply:
    """Returns the names of commands."""
    table = client.server.commands
    return [item.full_name.encode() for item in table.everything() if wanted(item)]


# --------------------------------------------------------------------------- DOCS
def docs(client: Client, names: list[bytes]) -> Reply:
    """Documents the commands that are named, or all when none is; unknown ones are left out."""
    table = client.server.commands
    found = [table.named(name) for name in names] if names else table
    return Map(documentation(item for item in found if item))


def documentation(items: Iterable[Command]) -> tuple[tuple[Reply, Reply], ...]:
    """Returns what COMMAND DOCS says of some commands, by their names."""
    return tuple((item.full_name.encode(), _docs(item)) for item in items)


def _docs(item: Command) -> Map:
    pairs: list[tuple[Reply, Reply]] = [
        (b"summary", item.summary.encode()),
        (b"since", item.since.encode()),
        (b"group", item.group.encode()),
    ]
    if MODULE in item.flags:
        pairs.append((b"module", b"ai"))
    if item.syntax:
        pairs.append((b"arguments", _arguments(read_syntax(item.syntax))))
    if item.subcommands:
        subs = tuple((sub.full_name.encode(), _docs(sub)) for sub in item.subcommands)
        pairs.append((b"subcommands", Map(subs)))
    return Map(tuple(pairs))


def _arguments(items: Iterable[Parameter]) -> Reply:
    return [_argument(item) for item in items]


def _argument(item: Parameter) -> Reply:
    pairs: list[tuple[Reply, Reply]] = [
        (b"name", item.name.encode()),
        (b"type", item.kind.encode()),
    ]
    if item.token:
        pairs.append((b"token", item.token.encode()))
    flags = {
        "optional": item.optional,
        "multiple": item.multiple,
        "multiple_token": item.repeats_token,
    }
    if any(flags.values()):
        pairs.append((b"flags", _words(flag for flag, is_set in flags.items() if is_set)))
    if item.arguments:
        pairs.append((b"arguments", _arguments(item.arguments)))
    return Map(tuple(pairs))


# --------------------------------------------------------------------------- GETKEYS
def parse_get_keys(args: Args) -> Request:
    """Parses COMMAND GETKEYS command [argument…]: the rest is a whole request."""
    return args.items[args.at :]


def get_keys(client: Client, request: Request) -> Reply:
    """Returns the keys of a request that is not done."""
    table = client.server.commands
    found = table.get(request[0])
    if found is not None and found.subcommands and len(request) > 1:
        found = table.subcommand(request[0], request[1])
    if found is None:
        raise CommandError("ERR Invalid command specified")
    if found.keys == (0, 0, 0):
        raise CommandError("ERR The command has no key arguments")
    if len(request) < abs(found.arity) or 0 < found.arity != len(request):
        raise CommandError("ERR Invalid number of arguments specified for command")
    keys: list[Reply] = list(keys_of(found, request))
    if not keys:
        raise CommandError("ERR Invalid arguments specified for command")
    return keys


COMMANDS: Final[tuple[Command, ...]] = (
    container(
        command(
            "command",
            nothing,
            show_all,
            summary="Describes commands.",
            group="server",
            flags=_ANY_TIME,
            since="2.8.13",
            categories=("connection",),
            tips=_ORDERED_ANYHOW,
        ),
        (
            command(
                "count",
                nothing,
                count,
                summary="Returns the number of commands.",
                group="server",
                arity=2,
                flags=_ANY_TIME,
                since="2.8.13",
                categories=("connection",),
            ),
            command(
                "docs",
                parse_names,
                docs,
                summary="Documents commands.",
                differences=(
                    Difference(
                        "Knows of RedisAI's commands their group and module only.",
                        "Says of them what it says of others: what they do, and their arguments.",
                        "redis-cli shows it while one types.",
                    ),
                ),
                group="server",
                arity=-2,
                flags=_ANY_TIME,
                syntax="[command-name ...]",
                since="7.0.0",
                categories=("connection",),
                tips=_ORDERED_ANYHOW,
            ),
            command(
                "getkeys",
                parse_get_keys,
                get_keys,
                summary="Returns the keys of a request.",
                differences=(
                    Difference(
                        "Leaves out the last OUTPUTS of AI.SCRIPTEXECUTE.",
                        "Has them.",
                        "They are keys; no client relies on their absence.",
                    ),
                ),
                group="server",
                arity=-4,
                flags=_ANY_TIME,
                syntax="command [arg ...]",
                since="2.8.13",
                categories=("connection",),
            ),
            command(
                "info",
                parse_names,
                show_some,
                summary="Describes commands by name.",
                differences=(
                    Difference(
                        "RedisAI's commands have no categories: a user may do them by `+@all`, or"
                        " by their names.",
                        "They have `@tensor`, `@model`, `@script` and `@run`, and those of Redis"
                        " that follow from their flags.",
                        "That somebody may run models and not store them is one rule, `+@run`.",
                    ),
                ),
                group="server",
                arity=-2,
                flags=_ANY_TIME,
                syntax="[command-name ...]",
                since="2.8.13",
                categories=("connection",),
                tips=_ORDERED_ANYHOW,
            ),
            command(
                "list",
                parse_list,
                list_,
                summary="Returns the names of commands.",
                group="server",
                arity=-2,
                flags=_ANY_TIME,
                syntax="[FILTERBY (MODULE module-name | ACLCAT category | PATTERN pattern)]",
                since="7.0.0",
                categories=("connection",),
                tips=_ORDERED_ANYHOW,
            ),
        ),
    ),
)
