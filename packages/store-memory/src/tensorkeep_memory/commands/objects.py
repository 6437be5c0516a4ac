"""OBJECT: what can be told of a key besides its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    READONLY,
    Command,
    Difference,
    command,
    container,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep_memory.values.kinds import type_of

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_NO_FREQUENCY: Final = (
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that"
    " when switching between policies at runtime LRU and LFU data will take some time to adjust."
)


def encoding(client: Client, key: bytes) -> Reply:
    """Returns how a value is kept."""
    value = client.keys.get(key, touch=False)
    return None if value is None else type_of(value).encoding(value)


def reference_count(client: Client, key: bytes) -> Reply:
    """Returns 1: what else refers to a value is nobody's business."""
    return 1 if key in client.keys else None


def idle_time(client: Client, key: bytes) -> Reply:
    """Returns the seconds since a key was last used."""
    entry = client.keys.entry(key)
    return None if entry is None else max(int(client.keys.time() - entry.touched), 0)


def frequency(client: Client, key: bytes) -> Reply:
    """Says that how often a key is used is not counted, as Redis does unless told to.

    Raises:
        CommandError: The key is there.
    """
    if key not in client.keys:
        return None
    raise CommandError(_NO_FREQUENCY)


_OBJECT: Final = (
    command(
        "encoding",
        Args.take,
        encoding,
        summary="Returns how the value under a key is kept.",
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        syntax="key",
        since="2.2.3",
        tips=("nondeterministic_output",),
    ),
    command(
        "freq",
        Args.take,
        frequency,
        summary="Returns an error: how often a key is used is not counted.",
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        syntax="key",
        since="4.0.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "idletime",
        Args.take,
        idle_time,
        summary="Returns the seconds since a key was last used.",
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        syntax="key",
        since="2.2.3",
        tips=("nondeterministic_output",),
    ),
    command(
        "refcount",
        Args.take,
        reference_count,
        summary="Returns 1 for every key.",
        differences=(
            Difference(
                "2147483647 for small integers, which are one object wherever they stand.",
                "1 for every key.",
                "Nothing is shared so.",
            ),
        ),
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        syntax="key",
        since="2.2.3",
        tips=("nondeterministic_output",),
    ),
)
COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands("object", summary="Tells about keys.", group="generic", since="2.2.3"),
        _OBJECT,
        help_since="6.2.0",
    ),
)
