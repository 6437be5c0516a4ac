"""Commands on single keys, whatever type their values are of: DEL, RENAME, COPY and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX, Args
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    NEITHER,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.databases import read_database
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Simple
from tensorkeep.errors import KeyMissing
from tensorkeep.leftovers import leave_large
from tensorkeep.store import NEW
from tensorkeep_memory.values.kinds import type_of

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_NONE: Final = Simple("none")

_SAME: Final = "ERR source and destination objects are the same"
_NOT_COPIED: Final = "ERR not supported for this module key"


# --------------------------------------------------------------------------- arguments
class Pair(NamedTuple):
    """A key, and the name that it is to get."""

    source: bytes
    target: bytes


class Copy(NamedTuple):
    """COPY source destination [DB database] [REPLACE].

    Attributes:
        source: The key.
        target: The name of its copy.
        database: Number of the database for the copy, None for the client's own.
        replace: Whether the copy replaces what is under its name.
    """

    source: bytes
    target: bytes
    database: int | None
    replace: bool


class Move(NamedTuple):
    """MOVE key database."""

    key: bytes
    database: int


def parse_pair(args: Args) -> Pair:
    """Parses two keys."""
    return Pair(args.take(), args.take())


def parse_copy(args: Args) -> Copy:
    """Parses COPY, whose options come in any order, the last of a kind counting."""
    source, target = args.take(), args.take()
    database, replace = None, False
    while len(args):
        if args.optional(b"REPLACE"):
            replace = True
        elif args.optional(b"DB") and len(args):
            database = read_database(args)
        else:
            raise CommandError(SYNTAX)
    return Copy(source, target, database, replace)


def parse_move(args: Args) -> Move:
    """Parses MOVE."""
    return Move(args.take(), read_database(args))


# --------------------------------------------------------------------------- commands
def delete(client: Client, keys: list[bytes]) -> Reply:
    """Removes keys; returns how many there were.

    A tensor's memory goes back at once, that of several large ones bit by bit. A model is freed, on
    another thread, when its last run is done. So UNLINK is the same command.
    """
    if len(keys) > 1:
        leave_large(map(client.keys.peek, keys))
    return client.keys.delete_many(keys)


def exists(client: Client, keys: list[bytes]) -> Reply:
    """Returns how many of the keys there are; one that is named twice counts twice."""
    return sum(value is not None for value in client.keys.get_many(keys, touch=False))


def touch(client: Client, keys: list[bytes]) -> Reply:
    """Marks keys as used; returns how many of them there are."""
    return sum(value is not None for value in client.keys.get_many(keys))


def type_name(client: Client, key: bytes) -> Reply:
    """Returns the type of the value under a key, or `none`."""
    value = client.keys.get(key, touch=False)
    return _NONE if value is None else Simple(type_of(value).name)


def rename(client: Client, names: Pair) -> Reply:
    """Renames a key, with its expiry, replacing what is under the new name.

    Statistics of a model stay under the name by which it was stored.
    """
    client.keys.rename(names.source, names.target)
    return OK


def rename_to_new(client: Client, names: Pair) -> Reply:
    """Renames a key unless the new name is taken; returns whether it was renamed."""
    keys = client.keys
    if names.source not in keys:
        raise KeyMissing(names.source)
    if names.target in keys:
        return 0
    keys.rename(names.source, names.target)
    return 1


def copy(client: Client, request: Copy) -> Reply:
    """Copies a value with its expiry; returns whether it was copied.

    Raises:
        CommandError: Source and target are the same, or such values cannot be copied.
    """
    database = client.database if request.database is None else request.database
    if database == client.database and request.source == request.target:
        raise CommandError(_SAME)
    target = client.server.databases[database]
    entry = client.keys.entry(request.source)
    if entry is None or (request.target in target and not request.replace):
        return 0
    duplicate = type_of(entry.value).copy
    if duplicate is None:
        raise CommandError(_NOT_COPIED)
    target.set(request.target, duplicate(entry.value), entry.expires_at, NEW)
    target.changed(request.target, "copy_to")
    return 1


def move(client: Client, request: Move) -> Reply:
    """Moves a key, with its expiry, to another database; returns whether it was moved."""
    source, target = client.keys, client.server.databases[request.database]
    if source is target:
        raise CommandError(_SAME)
    entry = source.entry(request.key)
    if entry is None or request.key in target:
        return 0
    target.set(request.key, entry.value, entry.expires_at)
    source.delete(request.key, "move_from")
    target.changed(request.key, "move_to")
    return 1


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "del",
        Args.take_rest,
        delete,
        summary="Deletes keys.",
        group="generic",
        arity=-2,
        flags=(WRITE,),
        keys=(1, -1, 1),
        syntax="key [key ...]",
        tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    ),
    command(
        "unlink",
        Args.take_rest,
        delete,
        summary="Deletes keys; here the same as DEL.",
        differences=(
            Difference(
                "Frees large values in another thread.",
                "Frees large values bit by bit, as DEL does here too.",
                "Another thread would hold the interpreter just as long.",
            ),
        ),
        group="generic",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, -1, 1),
        syntax="key [key ...]",
        since="4.0.0",
        tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    ),
    command(
        "exists",
        Args.take_rest,
        exists,
        summary="Returns how many of the keys there are.",
        group="generic",
        arity=-2,
        flags=(READONLY, FAST),
        keys=(1, -1, 1),
        access=NEITHER,
        syntax="key [key ...]",
        tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    ),
    command(
        "touch",
        Args.take_rest,
        touch,
        summary="Marks keys as used and returns how many of them there are.",
        group="generic",
        arity=-2,
        flags=(READONLY, FAST),
        keys=(1, -1, 1),
        access=NEITHER,
        syntax="key [key ...]",
        since="3.2.1",
        tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    ),
    command(
        "type",
        Args.take,
        type_name,
        summary="Returns the type of the value under a key.",
        group="generic",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key",
    ),
    command(
        "rename",
        parse_pair,
        rename,
        summary="Renames a key, replacing what is under the new name.",
        group="generic",
        arity=3,
        flags=(WRITE,),
        keys=(1, 2, 1),
        access=(TO_READ | TO_CHANGE, TO_CHANGE),
        syntax="key newkey",
    ),
    command(
        "renamenx",
        parse_pair,
        rename_to_new,
        summary="Renames a key unless the new name is taken.",
        group="generic",
        arity=3,
        flags=(WRITE, FAST),
        keys=(1, 2, 1),
        access=(TO_READ | TO_CHANGE, TO_CHANGE),
        syntax="key newkey",
    ),
    command(
        "copy",
        parse_copy,
        copy,
        summary="Copies a value to another key. Tensors, models and scripts cannot be copied.",
        group="generic",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, 2, 1),
        access=(TO_READ, TO_CHANGE),
        syntax="source destination [DB destination-db] [REPLACE]",
        since="6.2.0",
    ),
    command(
        "move",
        parse_move,
        move,
        summary="Moves a key to another database.",
        group="generic",
        arity=3,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key db",
    ),
)
